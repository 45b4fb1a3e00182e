//! What a node says of its load, and when: to its master, or, if it is one, to its own placement.
//!
//! The role's actor looks at it again and again; and whichever arbiter sees a job of the pool's end tells that at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Node;
use super::cell::lock;
use super::link::Link;
use super::load::Sampler;
use crate::core::pace::Pace;
use crate::term::LoadReport;
use crate::wire::Control;
use crate::wire::greeting::Part;

/// That of one node; its arbiters share it with the role.
pub(crate) struct Reporter {
    reporting: Mutex<Reporting>,
    /// Ends of jobs are told at once, as far as was known at the last look (PC-3).
    is_prompt: AtomicBool,
    /// A job has ended, and nobody has looked since then.
    ended: AtomicBool,
}

struct Reporting {
    sampler: Sampler,
    pace: Pace,
}

impl Reporter {
    pub(super) fn new(sampler: Sampler) -> Reporter {
        let reporting = Mutex::new(Reporting { sampler, pace: Pace::default() });
        Reporter { reporting, is_prompt: AtomicBool::new(false), ended: AtomicBool::new(false) }
    }

    /// Looks, and tells what there is to tell; when to look again.
    pub(super) fn look(&self, node: &Arc<Node>) -> Duration {
        let (now, members) = (node.now(), node.peers().known());
        let mut reporting = lock(&self.reporting);
        let Reporting { sampler, pace } = &mut *reporting;
        let mut report = sampler.look(now, node.accepted());
        if let Some(hearer) = Hearer::of(node)
            && pace.due(now, &mut report, members)
        {
            hearer.hear(node, report, now);
        }
        self.is_prompt.store(report.prompt, Ordering::Relaxed);
        let gap = pace.gap(now, members);
        drop(reporting);
        self.tell_ends(node);
        gap
    }

    /// The same, of an arbiter on which a job of the pool's has ended.
    pub(super) fn job_ended(&self, node: &Arc<Node>) {
        if self.is_prompt.load(Ordering::Relaxed) {
            self.ended.store(true, Ordering::SeqCst);
            self.tell_ends(node);
        }
    }

    /// Nobody waits for a thread that is at it: that comes here afterwards.
    fn tell_ends(&self, node: &Arc<Node>) {
        while self.ended.load(Ordering::SeqCst)
            && let Ok(mut reporting) = self.reporting.try_lock()
        {
            self.ended.store(false, Ordering::SeqCst);
            let Reporting { sampler, pace } = &mut *reporting;
            let now = node.now();
            let mut report = sampler.sample(node.accepted());
            if let Some(hearer) = Hearer::of(node)
                && pace.ended(now, &mut report, node.peers().known())
            {
                hearer.hear(node, report, now);
            }
        }
    }

    /// Who is told is another one now: the next look tells all.
    pub(super) fn begin_anew(&self) {
        lock(&self.reporting).pace = Pace::default();
    }
}

/// Who is told: nobody, while there is no connection to a master.
enum Hearer {
    Itself,
    Master(Arc<Link>),
}

impl Hearer {
    fn of(node: &Node) -> Option<Hearer> {
        match node.config.part {
            Part::Master => Some(Hearer::Itself),
            _ => {
                let link = node.peers().get(node.peers().master()?)?;
                Some(Hearer::Master(link))
            }
        }
    }

    fn hear(self, node: &Node, report: LoadReport, now: Duration) {
        match self {
            // PL-4: the master hears of itself as it does of the others, and no more often: jobs shorter than the time between
            // two reports would all be its own otherwise.
            Hearer::Itself => {
                node.choices().placement().report(node.name, report, now);
            }
            Hearer::Master(link) => {
                link.push_urgent(&Control::Load(report));
                link.flush(); // this thread may have others' turns to do before it comes to that
            }
        }
    }
}

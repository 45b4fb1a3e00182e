//! Pace: when a node tells the master its load.
//!
//! It is pushed when it changes, not asked for: the choice of a node is only as good as the
//! numbers are fresh, and a node on which nothing happens should cost nothing.

use std::time::Duration;

use crate::term::LoadReport;

/// Which report was sent last, and when; and when work was last given here.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    sent: Option<(LoadReport, Duration)>,
    /// How many spawns were accepted, and when that changed.
    accepted: (u64, Option<Duration>),
}

impl Pace {
    /// Whether to send this report now; if so, it counts as sent, and says whether ends of jobs are told at once. The pool has
    /// so many members.
    ///
    /// PC-1: never sooner than the [`gap`](Pace::gap) after the last one; then at once if something
    /// worth telling has changed, at [`GAP_CHANGING`] if anything has, at [`KEEP_ALIVE`] in any case.
    pub(crate) fn due(&mut self, now: Duration, report: &mut LoadReport, members: usize) -> bool {
        report.prompt = Pace::is_prompt(report, members);
        if report.accepted != self.accepted.0 {
            self.accepted = (report.accepted, Some(now));
        }
        let due = self.sent.is_none_or(|(sent, at)| {
            let gap = match Change::between(&sent, report) {
                Change::Telling => self.gap(now, members),
                Change::Slight => GAP_CHANGING,
                Change::None => KEEP_ALIVE,
            };
            now.saturating_sub(at) >= gap
        });
        if due {
            self.sent = Some((*report, now));
        }
        due
    }

    /// The same, to whoever has just seen a job of the pool's end here.
    ///
    /// PC-3: that is told at once, as a core that is idle can be given work then. There are no more such reports than jobs; but not where
    /// those are shorter than [`PROMPT_JOB_MIN`], or [`PROMPT_MEMBER`] for each core of so many members: most would have ended
    /// before the master hears of the first, or it would hear of more than it can.
    pub(crate) fn ended(&mut self, now: Duration, report: &mut LoadReport, members: usize) -> bool {
        report.prompt = Pace::is_prompt(report, members);
        let due = report.prompt
            && self
                .sent
                .is_some_and(|(sent, _)| matches!(Change::between(&sent, report), Change::Telling));
        if due {
            self.sent = Some((*report, now));
        }
        due
    }

    fn is_prompt(report: &LoadReport, members: usize) -> bool {
        let cores = members as f32 * report.cores as f32;
        let least = PROMPT_JOB_MIN.max(PROMPT_MEMBER.mul_f32(cores));
        report.job >= least.as_secs_f32() // 0 where that is not known
    }

    /// Between two reports, at least; and so often a node looks whether there is something to tell.
    ///
    /// PC-2: while the pool gives work to this node it is as short as the master can stand with so
    /// many members, [`GAP_MEMBER`] for each: what the choice of a node needs to know is old after a
    /// job's length. The first such work has it look at once. Otherwise it is [`GAP_MIN`], also for what actors do among themselves.
    pub(crate) fn gap(&self, now: Duration, members: usize) -> Duration {
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        match self.accepted.1 {
            Some(at) if now.saturating_sub(at) < BUSY_FOR => {
                GAP_MEMBER.saturating_mul(members).clamp(GAP_BUSY, GAP_MIN)
            }
            _ => GAP_MIN,
        }
    }
}

/// How much has changed since the last report.
enum Change {
    /// A job more or less, a tenth of the work, or a spawn that the master waits to see.
    Telling,
    /// An estimate has moved.
    Slight,
    None,
}

impl Change {
    fn between(sent: &LoadReport, report: &LoadReport) -> Change {
        let counted = |r: &LoadReport| (r.runnable, r.running, r.blocking, r.cores, r.accepted);
        let moved = (sent.pressure() - report.pressure()).abs();
        if counted(sent) != counted(report) || moved >= sent.work().max(1.0) * TELLING_SHARE {
            Change::Telling
        } else if moved >= SLIGHT {
            Change::Slight
        } else {
            Change::None
        }
    }
}

/// Between two reports of a node that gets no work from the pool, at least.
pub(crate) const GAP_MIN: Duration = Duration::from_millis(20);

/// Between two reports of one that does, at least.
const GAP_BUSY: Duration = Duration::from_millis(1);

/// The share of each member in the reports' time: with these the master hears 100,000 a second.
const GAP_MEMBER: Duration = Duration::from_micros(10);

/// The ends of shorter jobs are not told at once,
const PROMPT_JOB_MIN: Duration = Duration::from_micros(200);

/// nor are those of more than two million a second in the whole pool, which nobody can place.
const PROMPT_MEMBER: Duration = Duration::from_nanos(500);

/// How long after a spawn by placement a node counts as one that gets work.
const BUSY_FOR: Duration = Duration::from_millis(50);

/// Between two reports while an estimate moves, at most.
pub(crate) const GAP_CHANGING: Duration = Duration::from_millis(100);

/// Between two reports while nothing changes, at most.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// The share of the work by which an estimate must move to be told at once.
const TELLING_SHARE: f64 = 0.1;

/// In threads; less is noise, which would keep an idle node talking.
const SLIGHT: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::members::IDLE;

    #[test]
    fn the_first_report_is_due_at_once_and_an_unchanged_one_each_second() {
        let mut pace = Pace::default();
        let sent = due_times(&mut pace, 0..2_500, |_| IDLE);
        assert_eq!(sent, [0, 1_000, 2_000], "PC-1");
    }

    #[test]
    fn a_change_is_told_at_once_but_not_twice_within_the_gap() {
        let changes: [fn(&mut LoadReport); 4] =
            [|r| r.runnable += 1, |r| r.running -= 1, |r| r.blocking += 1, |r| r.foreign += 1.0];
        for change in changes {
            let before = LoadReport { running: 4, ..IDLE };
            let mut after = before;
            change(&mut after);
            let mut pace = Pace::default();
            let sent = due_times(&mut pace, 0..60, |t| if t < 10 { before } else { after });
            assert_eq!(sent, [0, 20], "PC-1: within the gap");
            assert_eq!(due_times(&mut pace, 60..90, |_| before), [60], "PC-1: at once");
        }
    }

    #[test]
    fn what_changes_all_the_time_is_told_every_twenty_milliseconds() {
        let report = |t| LoadReport { runnable: t as u32, ..IDLE };
        assert_eq!(due_times(&mut Pace::default(), 0..100, report), [0, 20, 40, 60, 80], "PC-1");
    }

    #[test]
    fn an_estimate_that_moves_by_less_than_a_tenth_waits_a_little() {
        let report = |foreign| LoadReport { running: 10, foreign, ..IDLE };
        let mut pace = Pace::default();
        let sent = due_times(&mut pace, 0..400, |t| report(if t < 10 { 0.0 } else { 0.5 }));
        assert_eq!(sent, [0, 100], "PC-1");
        let noise = |t: u64| report(0.5 + (t % 10) as f32 / 200.0);
        assert_eq!(due_times(&mut pace, 400..1_050, noise), [] as [u64; 0], "noise");
    }

    #[test]
    fn while_it_is_given_work_a_node_tells_every_change_as_often_as_the_master_can_hear() {
        let given = |t| LoadReport { accepted: t / 10, running: (t % 3) as u32, ..IDLE };
        let mut pace = Pace::default();
        let sent = due_times(&mut pace, 0..100, given);
        assert_eq!(sent.len(), 91, "PC-2: from the first that it was given on, each millisecond");
        let quiet = |t: u64| LoadReport { accepted: 9, running: (t % 3) as u32, ..IDLE };
        let sent = due_times(&mut pace, 100..200, quiet);
        assert_eq!(sent.iter().filter(|&&t| t >= 140).count(), 3, "PC-2: no more work: {sent:?}");
        let now = Duration::from_millis(100);
        let gaps = [2, 50, 100, 1_000, 5_000].map(|members| pace.gap(now, members).as_millis());
        assert_eq!(gaps, [1, 1, 1, 10, 20], "PC-2");
    }

    #[test]
    fn the_end_of_a_job_is_told_at_once_unless_jobs_are_too_short_for_that_many_members() {
        let mut pace = Pace::default();
        let at = |running, job| LoadReport { running, job, cores: 4, ..IDLE };
        let (ms, us) = (Duration::from_millis, Duration::from_micros);
        assert!(!pace.ended(ms(0), &mut at(1, 0.01), 4), "it has not introduced itself");
        assert!(pace.due(ms(0), &mut at(2, 0.01), 4));
        let mut report = at(1, 0.01);
        assert!(pace.ended(us(1), &mut report, 4) && report.prompt, "PC-3");
        assert!(!pace.ended(us(2), &mut at(1, 0.01), 4), "nothing to tell");
        assert!(!pace.due(us(3), &mut at(2, 0.01), 4), "PC-1");
        let is_told = |pace: &mut Pace, job, members| {
            pace.due(ms(5_000), &mut at(3, job), members);
            let mut report = at(2, job);
            (pace.ended(ms(5_000), &mut report, members), report.prompt)
        };
        for (job, members, told) in [
            (0.0, 2, false),
            (199e-6, 2, false),
            (201e-6, 2, true),
            (1.9e-3, 1_000, false),
            (2.1e-3, 1_000, true),
        ] {
            let mut pace = Pace::default();
            assert_eq!(is_told(&mut pace, job, members), (told, told), "PC-3: {job} {members}");
        }
    }

    fn due_times(
        pace: &mut Pace,
        millis: std::ops::Range<u64>,
        report: impl Fn(u64) -> LoadReport,
    ) -> Vec<u64> {
        millis.filter(|&t| pace.due(Duration::from_millis(t), &mut report(t), 4)).collect()
    }
}

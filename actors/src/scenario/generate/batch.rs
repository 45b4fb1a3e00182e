//! Batches that can end in one way only.
//!
//! What one process sends to another arrives in the order sent; nothing else is ordered. So once a signal
//! ends its receiver, and with it all who are doomed with it, nobody knows when the others end, nor when
//! the acting process hears of it. From then on nothing may be done that this would decide.

use std::collections::BTreeSet;

use super::world::World;
use super::{Action, Node, Target};

/// Actions of one process, in one go.
pub(super) struct Batch {
    by: String,
    /// As things will stand when all of the actions have had their effect.
    world: World,
    /// The same, but nobody has ended: who ends may do so late, and be tied to others until then.
    before: World,
    actions: Vec<Action>,
    /// Those who end because of the signals so far.
    doomed: BTreeSet<String>,
    /// Those of them to whom the signal was sent: what is sent to them later finds them dead.
    struck: BTreeSet<String>,
    /// Those from whom an exit signal is on its way: the doomed who were linked with the acting process, the
    /// dead to whom it has linked itself, and itself if it traps its own.
    answering: BTreeSet<String>,
    /// Those to whom it has sent a link or a monitor in this batch.
    tied: BTreeSet<String>,
    /// Monitors that fire at some time soon.
    firing: BTreeSet<String>,
    /// Lost nodes of which a nodedown is on its way.
    owing: BTreeSet<Node>,
    /// Whether nothing should follow.
    is_over: bool,
    /// Whether the acting process has ended itself.
    has_ended: bool,
}

/// What becomes of a batch with one more action.
enum Verdict {
    /// It has one outcome, and more may follow.
    Goes,
    /// It has one outcome if nothing follows: the acting process ends at some time soon.
    MayEnd,
    /// It has one outcome: the acting process ends at once.
    Ends,
    /// It has more than one outcome.
    Wavers,
}

impl Batch {
    /// An empty one.
    pub(super) fn new(world: World, by: &str) -> Batch {
        Batch {
            by: by.to_owned(),
            before: world.clone(),
            world,
            actions: Vec::new(),
            doomed: BTreeSet::new(),
            struck: BTreeSet::new(),
            answering: BTreeSet::new(),
            tied: BTreeSet::new(),
            firing: BTreeSet::new(),
            owing: BTreeSet::new(),
            is_over: false,
            has_ended: false,
        }
    }

    /// Adds an action, unless the batch would have more than one outcome then; says whether it has.
    pub(super) fn try_push(&mut self, action: Action) -> bool {
        if self.has_ended {
            // Nothing that follows is done.
            self.actions.push(action);
            return true;
        }
        if self.is_over {
            return false;
        }
        // A dead process's batch is skipped as a whole, and so is one about somebody who never was.
        let is_skipped = !self.world.is_alive(&self.by)
            || action.about().is_some_and(|name| self.world.never_was(name));
        if is_skipped {
            self.actions.push(action);
            self.is_over = self.actions.len() > 1;
            return true;
        }
        match self.judge(&action) {
            Verdict::Wavers => return false,
            Verdict::Goes => {}
            Verdict::MayEnd => self.is_over = true,
            Verdict::Ends => {
                self.is_over = true;
                self.has_ended = true;
            }
        }
        let dead = self.world.dead().len();
        self.world.act(&self.by, &action);
        if self.world.dead().len() == dead {
            self.before.act(&self.by, &action);
        }
        self.actions.push(action);
        true
    }

    fn judge(&mut self, action: &Action) -> Verdict {
        match action {
            // To the doomed it makes no difference: what came in their last step is not told.
            Action::Send { .. } | Action::Whereis { .. } => Verdict::Goes,
            Action::Link { to } => self.link(&to.clone()),
            Action::Unlink { to } => {
                let is_late = self.doomed.contains(to) || self.answering.contains(to);
                if is_late { Verdict::Wavers } else { Verdict::Goes }
            }
            Action::Monitor { to, reference } => self.monitor(&to.clone(), &reference.clone()),
            Action::Demonitor { reference } => {
                let watched = self.world.watched_by(&self.by, reference);
                let is_late = self.firing.contains(reference)
                    || watched.is_some_and(|watched| self.doomed.contains(watched));
                // The world forgets monitors on those who have ended, so all are too late now.
                if is_late || !self.doomed.is_empty() { Verdict::Wavers } else { Verdict::Goes }
            }
            Action::Exit { to, reason } => self.exit(&to.clone(), &reason.clone()),
            Action::Die(death) => self.die(&death.seen_as()),
            Action::Trap { .. } => {
                let is_calm = self.doomed.is_empty() && self.answering.is_empty();
                if is_calm { Verdict::Goes } else { Verdict::Wavers }
            }
            // A doomed process's name may be free already, and it may be dead already.
            Action::Register { .. } | Action::Unregister { .. } => {
                if self.doomed.is_empty() {
                    Verdict::Goes
                } else {
                    Verdict::Wavers
                }
            }
            Action::MonitorNode { node, on } => {
                if !on && self.owing.contains(node) {
                    return Verdict::Wavers;
                }
                if *on && self.world.is_lost(*node) {
                    self.owing.insert(*node);
                }
                Verdict::Goes
            }
        }
    }

    fn link(&mut self, to: &str) -> Verdict {
        if to == self.by {
            return Verdict::Goes;
        }
        // A second link before the answer to the first is none; after it, it is one more.
        if self.answering.contains(to) || self.is_doomed_by_others(to) {
            return Verdict::Wavers;
        }
        if self.world.is_alive(to) {
            self.tied.insert(to.to_owned());
            return Verdict::Goes;
        }
        if self.world.traps(&self.by) {
            self.answering.insert(to.to_owned());
            return Verdict::Goes;
        }
        match self.die("noproc") {
            Verdict::Ends => Verdict::MayEnd,
            verdict => verdict,
        }
    }

    fn monitor(&mut self, to: &Target, reference: &str) -> Verdict {
        // By a name that a doomed process had it is the same as by the process: the world has taken the
        // name away from it already, so the two cannot be told apart here.
        if let (Target::Name { .. }, false) = (to, self.doomed.is_empty()) {
            return Verdict::Wavers;
        }
        match self.world.holder(to) {
            Some(watched) if watched == self.by => {}
            Some(watched) if self.is_doomed_by_others(&watched) => return Verdict::Wavers,
            Some(watched) if self.world.is_alive(&watched) => {
                self.tied.insert(watched);
            }
            Some(_) | None => {
                self.firing.insert(reference.to_owned());
            }
        }
        Verdict::Goes
    }

    fn exit(&mut self, to: &str, reason: &str) -> Verdict {
        if to == self.by {
            let ends = reason == "kill" || !self.world.traps(to);
            return match (ends, reason) {
                (false, _) => {
                    // The signal may not have become a message yet when the trap is turned off.
                    self.answering.insert(to.to_owned());
                    Verdict::Goes
                }
                (true, "kill") => self.die("killed"),
                (true, reason) => self.die(reason),
            };
        }
        if self.is_doomed_by_others(to) {
            return Verdict::Wavers;
        }
        let ends = reason == "kill" || (reason != "normal" && !self.world.traps(to));
        if !ends || !self.world.is_alive(to) {
            return Verdict::Goes;
        }
        let doomed = self.before.doomed_with(to);
        // Whether a tie came before the end of somebody who is doomed with the receiver, nobody knows.
        let is_tied = doomed.iter().any(|name| name != to && self.tied.contains(name));
        if is_tied || !doomed.is_disjoint(&self.doomed) {
            return Verdict::Wavers;
        }
        let ends_itself = doomed.contains(&self.by);
        self.struck.insert(to.to_owned());
        for name in &doomed {
            if self.before.is_linked(&self.by, name) {
                self.answering.insert(name.clone());
            }
        }
        self.doomed.extend(doomed);
        if ends_itself { Verdict::MayEnd } else { Verdict::Goes }
    }

    /// The acting process ends; so do those who are doomed with it, if the reason is not normal.
    fn die(&mut self, reason: &str) -> Verdict {
        let mut concerned = self.before.doomed_with(&self.by);
        concerned.extend(self.before.partners(&self.by));
        if reason != "normal" && !concerned.is_disjoint(&self.doomed) {
            return Verdict::Wavers;
        }
        // An EXIT that is on its way may or may not come before the end, and is not told either way; but
        // a partner that has ended must not count as one who hears of this end.
        if !self.answering.is_empty() {
            return Verdict::Wavers;
        }
        Verdict::Ends
    }

    /// Whether it ends because of the signals so far, but not by the acting process's own.
    fn is_doomed_by_others(&self, name: &str) -> bool {
        self.doomed.contains(name) && !self.struck.contains(name)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn len(&self) -> usize {
        self.actions.len()
    }

    pub(super) fn into_actions(self) -> Vec<Action> {
        self.actions
    }
}

//! The pool's directory: names that are unique in the whole pool, and groups of processes.
//!
//! Requests and ends go in; answers and news of groups come out.

use std::collections::{BTreeMap, BTreeSet};

use crate::term::{Pid, Ref};

/// Who has which name, and who is in which group.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    names: BTreeMap<String, Pid>,
    /// In order of joining; who has joined twice is there twice.
    groups: BTreeMap<String, Vec<Pid>>,
    /// Who hears of a group's changes, under which reference.
    watchers: BTreeMap<String, BTreeMap<Ref, Pid>>,
    /// Who is noted anywhere above.
    known: BTreeSet<Pid>,
}

/// Something that follows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Watch this process: its end matters from now on.
    Watch(Pid),
    /// Tell `to` that these have joined or left a group.
    Tell { to: Pid, watch: Ref, group: String, joined: bool, pids: Vec<Pid> },
}

impl Directory {
    /// Gives a name to a process, unless another one has it: then says who. DI-1: a name has one holder;
    /// whoever knows that `instead_of` is dead may take it over before the directory has heard so.
    pub(crate) fn register(
        &mut self,
        name: String,
        pid: Pid,
        instead_of: Option<Pid>,
        out: &mut Vec<Effect>,
    ) -> Result<(), Pid> {
        match self.names.get(&name) {
            Some(by) if Some(*by) != instead_of => Err(*by),
            Some(_) | None => {
                self.names.insert(name, pid);
                self.know(pid, out);
                Ok(())
            }
        }
    }

    /// Takes a name back, whoever has it.
    pub(crate) fn unregister(&mut self, name: &str) -> bool {
        self.names.remove(name).is_some()
    }

    pub(crate) fn whereis(&self, name: &str) -> Option<Pid> {
        self.names.get(name).copied()
    }

    /// All names, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    /// Takes a process into a group, once more if it is in already.
    pub(crate) fn join(&mut self, group: String, pid: Pid, out: &mut Vec<Effect>) {
        self.tell(&group, true, &[pid], out);
        self.groups.entry(group).or_default().push(pid);
        self.know(pid, out);
    }

    /// Lets it leave, once; false if it was not in.
    pub(crate) fn leave(&mut self, group: &str, pid: Pid, out: &mut Vec<Effect>) -> bool {
        let Some(members) = self.groups.get_mut(group) else { return false };
        let Some(at) = members.iter().position(|member| *member == pid) else { return false };
        members.remove(at);
        if members.is_empty() {
            self.groups.remove(group);
        }
        self.tell(group, false, &[pid], out);
        true
    }

    pub(crate) fn members(&self, group: &str) -> Vec<Pid> {
        self.groups.get(group).cloned().unwrap_or_default()
    }

    /// All groups that have members, in order.
    pub(crate) fn groups(&self) -> Vec<String> {
        self.groups.keys().cloned().collect()
    }

    /// Lets `pid` hear of the group's changes from now on; returns who is in it now.
    pub(crate) fn watch(
        &mut self,
        group: String,
        pid: Pid,
        watch: Ref,
        out: &mut Vec<Effect>,
    ) -> Vec<Pid> {
        let members = self.members(&group);
        self.watchers.entry(group).or_default().insert(watch, pid);
        self.know(pid, out);
        members
    }

    /// No longer.
    pub(crate) fn unwatch(&mut self, watch: Ref) {
        self.watchers.retain(|_, watchers| {
            watchers.remove(&watch);
            !watchers.is_empty()
        });
    }

    /// A process has ended. DI-2: nothing is kept of the dead.
    pub(crate) fn ended(&mut self, pid: Pid, out: &mut Vec<Effect>) {
        self.known.remove(&pid);
        self.names.retain(|_, holder| *holder != pid);
        self.watchers.retain(|_, watchers| {
            watchers.retain(|_, watcher| *watcher != pid);
            !watchers.is_empty()
        });
        for group in self.groups() {
            let members = self.groups.get_mut(&group).expect("it was listed");
            let left: Vec<Pid> = members.extract_if(.., |member| *member == pid).collect();
            if members.is_empty() {
                self.groups.remove(&group);
            }
            if !left.is_empty() {
                self.tell(&group, false, &left, out);
            }
        }
    }

    fn know(&mut self, pid: Pid, out: &mut Vec<Effect>) {
        if self.known.insert(pid) {
            out.push(Effect::Watch(pid));
        }
    }

    fn tell(&self, group: &str, joined: bool, pids: &[Pid], out: &mut Vec<Effect>) {
        for (watch, to) in self.watchers.get(group).into_iter().flatten() {
            let (group, pids) = (group.to_owned(), pids.to_vec());
            out.push(Effect::Tell { to: *to, watch: *watch, group, joined, pids });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::term::{Incarnation, NodeName};

    #[test]
    fn a_second_claim_is_refused_until_the_first_holder_is_dead_di1() {
        let mut directory = Directory::default();
        let out = &mut Vec::new();
        assert_eq!(directory.register("x".into(), pid(1), None, out), Ok(()));
        assert_eq!(*out, [Effect::Watch(pid(1))]);
        assert_eq!(directory.register("x".into(), pid(2), None, out), Err(pid(1)));
        assert_eq!(directory.register("x".into(), pid(2), Some(pid(3)), out), Err(pid(1)));
        assert_eq!(directory.register("x".into(), pid(2), Some(pid(1)), out), Ok(()));
        directory.ended(pid(1), out);
        assert_eq!(directory.whereis("x"), Some(pid(2)), "its end is old news");
        directory.ended(pid(2), out);
        assert_eq!(directory.whereis("x"), None);
    }

    #[test]
    fn who_has_joined_twice_leaves_twice_and_watchers_hear_of_each() {
        let mut directory = Directory::default();
        let (out, watch) = (&mut Vec::new(), Ref::new(node(), Incarnation(1), 9));
        assert!(directory.watch("g".into(), pid(7), watch, out).is_empty());
        directory.join("g".into(), pid(1), out);
        directory.join("g".into(), pid(1), out);
        assert_eq!(directory.members("g"), [pid(1), pid(1)]);
        assert!(directory.leave("g", pid(1), out));
        out.clear();
        directory.ended(pid(1), out);
        let (to, group, pids) = (pid(7), "g".to_owned(), vec![pid(1)]);
        assert_eq!(*out, [Effect::Tell { to, watch, group, joined: false, pids }]);
        assert!(!directory.leave("g", pid(1), out));
        assert!(directory.groups().is_empty());
    }

    #[derive(Clone, Debug)]
    enum Act {
        Register(u8, u64),
        Join(u8, u64),
        Leave(u8, u64),
        Watch(u8, u64),
        End(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        let (of, who) = (0..3u8, 0..5u64);
        prop_oneof![
            (of.clone(), who.clone()).prop_map(|(of, who)| Act::Register(of, who)),
            (of.clone(), who.clone()).prop_map(|(of, who)| Act::Join(of, who)),
            (of.clone(), who.clone()).prop_map(|(of, who)| Act::Leave(of, who)),
            (of, who.clone()).prop_map(|(of, who)| Act::Watch(of, who)),
            who.prop_map(Act::End),
        ]
    }

    proptest! {
        /// DI-2: once everybody has ended nothing is left; and what a watcher was told adds up to what
        /// the group is.
        #[test]
        fn nothing_is_kept_of_the_dead(acts in prop::collection::vec(act(), 0..80)) {
            let mut directory = Directory::default();
            let mut out = Vec::new();
            let all = Ref::new(node(), Incarnation(1), 0);
            directory.watch("0".into(), pid(99), all, &mut out);
            let mut told: Vec<Pid> = Vec::new();
            for (number, act) in acts.into_iter().enumerate() {
                match act {
                    Act::Register(of, who) => {
                        let _ = directory.register(of.to_string(), pid(who), None, &mut out);
                    }
                    Act::Join(of, who) => directory.join(of.to_string(), pid(who), &mut out),
                    Act::Leave(of, who) => { directory.leave(&of.to_string(), pid(who), &mut out); }
                    Act::Watch(of, who) => {
                        let watch = Ref::new(node(), Incarnation(1), number as u64 + 1);
                        directory.watch(of.to_string(), pid(who), watch, &mut out);
                    }
                    Act::End(who) => directory.ended(pid(who), &mut out),
                }
                for effect in out.drain(..) {
                    if let Effect::Tell { to, joined, pids, .. } = effect && to == pid(99) {
                        for pid in pids {
                            match joined {
                                true => told.push(pid),
                                false => {
                                    let at = told.iter().position(|member| *member == pid);
                                    told.remove(at.expect("who leaves was in"));
                                }
                            }
                        }
                    }
                }
                let (mut told, mut members) = (told.clone(), directory.members("0"));
                told.sort_unstable();
                members.sort_unstable();
                prop_assert_eq!(told, members);
            }
            for who in (0..5).chain([99]) {
                directory.ended(pid(who), &mut out);
            }
            prop_assert!(directory.names.is_empty() && directory.groups.is_empty());
            prop_assert!(directory.watchers.is_empty() && directory.known.is_empty());
        }
    }

    fn node() -> NodeName {
        "n@h".parse().unwrap()
    }

    fn pid(number: u64) -> Pid {
        Pid::new(node(), Incarnation(1), number)
    }
}

//! The OS processes of this machine, as `/proc` shows them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal,
};

/// One OS process. The time of its start tells it from a later one with the same pid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) zombie: bool,
    pub(super) started: u64,
    pub(super) name: String,
}

impl Process {
    /// The living and the dead below us, parents before their children.
    ///
    /// No promise to see everyone: who forks and dies while we look may slip through. Nobody, if
    /// `/proc` is missing or belongs to another PID namespace: the pids it shows would not be the
    /// ones that we may signal.
    pub(super) fn descendants() -> Vec<Process> {
        let own = getpid().as_raw_nonzero().get();
        if !fs::read_link("/proc/self").is_ok_and(|pid| pid.as_os_str() == own.to_string().as_str())
        {
            return Vec::new();
        }
        // Most kernels list the children of each thread (CONFIG_PROC_CHILDREN). To look at everyone
        // instead takes 8 ms where there are 1,500, time in which others fork.
        if Path::new("/proc/thread-self/children").exists() {
            below(own, Process::children)
        } else {
            let mut all: HashMap<i32, Vec<Process>> = HashMap::new();
            for process in pids_in("/proc").filter_map(Process::read) {
                all.entry(process.parent).or_default().push(process);
            }
            // Read at different instants, the lines may contradict each other; to take the children
            // out as we go ends the walk even then.
            below(own, |parent| all.remove(&parent).unwrap_or_default())
        }
    }

    /// Sends `signal`; whoever has got the pid meanwhile is left alone ([`Errno::SRCH`]).
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Errno> {
        let pid = Pid::from_raw(self.pid).ok_or(Errno::SRCH)?;
        // GD-5: a handle stays with the process it was opened for. If that pid still has the start
        // time we know, the handle, opened before this look, is that of the process we mean.
        let handle = pidfd_open(pid, PidfdFlags::empty());
        if Process::read(self.pid).is_none_or(|now| now.started != self.started) {
            return Err(Errno::SRCH);
        }
        match handle {
            Ok(handle) => pidfd_send_signal(handle, signal),
            // Kernels before 5.3, and sandboxes that know no pidfd.
            Err(_) => kill_process(pid, signal),
        }
    }

    fn children(parent: i32) -> Vec<Process> {
        let tasks = format!("/proc/{parent}/task");
        let lists = pids_in(&tasks)
            .filter_map(|task| fs::read_to_string(format!("{tasks}/{task}/children")).ok());
        let lists: String = lists.collect();
        lists.split_ascii_whitespace().filter_map(|pid| Process::read(pid.parse().ok()?)).collect()
    }

    fn read(pid: i32) -> Option<Process> {
        // The fields we want end well before this; the kernel gives the line in one read.
        let mut line = [0; 1024];
        let bytes = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut line).ok()?;
        Process::parse(&line[..bytes])
    }

    /// Reads a line of `/proc/PID/stat`: `pid (name) state parent ...`, where the name may hold
    /// blanks, parentheses and bytes that are no UTF-8.
    fn parse(line: &[u8]) -> Option<Process> {
        let open = line.iter().position(|&byte| byte == b'(')?;
        let close = line.iter().rposition(|&byte| byte == b')')?;
        let pid = str::from_utf8(&line[..open]).ok()?.trim().parse().ok()?;
        let name = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
        let mut fields = str::from_utf8(&line[close + 1..]).ok()?.split_ascii_whitespace();
        let zombie = matches!(fields.next()?, "Z" | "X" | "x");
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(STARTED_AFTER_PARENT)?.parse().ok()?;
        Some(Process { pid, parent, zombie, started, name })
    }
}

/// Those that descend from `root`, without itself, parents first.
fn below(root: i32, mut children: impl FnMut(i32) -> Vec<Process>) -> Vec<Process> {
    let mut found = children(root);
    let mut at = 0;
    while let Some(parent) = found.get(at)
        && at < WALK_MAX
    {
        found.extend(children(parent.pid));
        at += 1;
    }
    found
}

fn pids_in(directory: &str) -> impl Iterator<Item = i32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// How many to ask for their children in one walk: some may fork as fast as we walk.
const WALK_MAX: usize = 10_000;

/// The start time is field 22 of the line, the parent field 4.
const STARTED_AFTER_PARENT: usize = 22 - 4 - 1;

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"4711 (sleep) S 12 4711 4711 0 -1 4194304 105 0 0 0 0 0 0 0 20 0 1 0 \
        8812345 2838528 417 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n";

    fn process(pid: i32, parent: i32) -> Process {
        Process { pid, parent, zombie: false, started: 0, name: String::new() }
    }

    #[test]
    fn a_line_of_proc_is_read() {
        let read = Process::parse(LINE).unwrap();
        let sleep = Process { started: 8_812_345, name: "sleep".to_owned(), ..process(4711, 12) };
        assert_eq!(read, sleep);
    }

    #[test]
    fn a_name_may_look_like_the_rest_of_the_line() {
        for name in [&b"a b"[..], b"(sd-pam)", b") Z 1 (", b"x) S 99 1 1", b"\xff\xfe", b""] {
            let line = [b"4711 (", name, &LINE[b"4711 (sleep".len()..]].concat();
            let read = Process::parse(&line).unwrap();
            assert_eq!((read.pid, read.parent, read.started), (4711, 12, 8_812_345), "{name:?}");
            assert_eq!(read.name, String::from_utf8_lossy(name));
            assert!(!read.zombie);
        }
    }

    #[test]
    fn what_is_no_such_line_is_refused() {
        for line in [&b""[..], b"4711", b")(", b"x (a) S 1", b"1 (a)", b"1 (a) S", b"1 (a) S x 1"] {
            assert_eq!(Process::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn we_find_ourselves_in_proc() {
        let own = getpid().as_raw_nonzero().get();
        let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        let read = Process::read(own).unwrap();
        assert_eq!((read.pid, read.parent, read.zombie), (own, parent, false));
    }

    #[test]
    fn the_tree_below_a_process_is_all_of_it_and_nothing_else() {
        let all = [(9, 5), (2, 1), (5, 3), (3, 1), (4, 2), (8, 7), (7, 0), (1, 0)];
        let found = below(1, |parent| {
            let children = all.iter().filter(|&&(_, of)| of == parent);
            children.map(|&(pid, of)| process(pid, of)).collect()
        });
        let pids: Vec<i32> = found.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [2, 3, 4, 5, 9]);
    }

    #[test]
    fn a_tree_that_grows_as_fast_as_we_walk_does_not_trap_us() {
        assert_eq!(below(1, |parent| vec![process(parent + 1, parent)]).len(), WALK_MAX + 1);
    }

    #[test]
    fn our_children_are_seen_whichever_thread_started_them() {
        let start = || std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let mut sleepers = [start(), std::thread::spawn(start).join().unwrap()];
        let found = Process::descendants();
        for sleeper in &mut sleepers {
            let pid = i32::try_from(sleeper.id()).unwrap();
            assert!(found.iter().any(|process| process.pid == pid), "{pid} in {found:?}");
            sleeper.kill().unwrap();
            sleeper.wait().unwrap();
        }
    }

    // GD-5
    #[test]
    fn a_later_process_with_the_same_pid_is_left_alone() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let now = Process::read(pid).unwrap();
        let former = Process { started: now.started - 1, ..now.clone() };
        assert_eq!(former.signal(Signal::KILL), Err(Errno::SRCH));
        assert_eq!(child.try_wait().unwrap(), None);
        assert_eq!(now.signal(Signal::KILL), Ok(()));
        child.wait().unwrap();
        assert_eq!(now.signal(Signal::KILL), Err(Errno::SRCH));
    }
}

//! The stock binary as a person runs it: in OS processes, each test with a home of its own.
//!
//! Tests wait for lines, for ends of OS processes and for `/proc`, never for time. Each wait has a
//! deadline, and says what was seen when it passes.
#![allow(dead_code, reason = "each test file uses its part")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A person's account: `$HOME`, `$XDG_RUNTIME_DIR`, a current directory. All OS processes that come of
/// what is run here, however far they go, are found by a mark in their environment, and are gone
/// after the test, also after one that fails.
pub(crate) struct Account {
    folder: tempfile::TempDir,
    mark: String,
}

impl Account {
    pub(crate) fn new() -> Account {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let folder = tempfile::Builder::new().prefix("pspawn-test").tempdir().unwrap();
        for name in ["home", "run", "work"] {
            fs::DirBuilder::new().mode(0o700).create(folder.path().join(name)).unwrap();
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Account { folder, mark: format!("{MARK}=m{}.{number}.", std::process::id()) }
    }

    /// The current directory of what is run.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.work().join(name), text).unwrap();
    }

    /// A command of this account.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let (name, value) = self.mark.split_once('=').unwrap();
        command
            .current_dir(self.work())
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", self.folder.path().join("run"))
            .env(name, value)
            .env_remove("PSPAWN_LOG")
            .stdin(Stdio::null());
        command
    }

    /// Runs `pspawn` to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.start(args).wait()
    }

    /// Starts `pspawn`.
    pub(crate) fn start(&self, args: &[&str]) -> Started {
        let mut command = self.command(PSPAWN);
        command.args(args);
        Started::new(command)
    }

    /// Starts a pool and waits until it is up.
    pub(crate) fn pool(&self, args: &[&str]) -> Started {
        let mut pool = self.start(&[&["start"], args].concat());
        pool.line_with("is up: ");
        pool
    }

    /// The OS processes of this account.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(Process::read).filter(|process| process.has(&self.mark)).collect()
    }

    /// Those that were started with this argument.
    pub(crate) fn with_arg(&self, arg: &str) -> Vec<Process> {
        self.processes().into_iter().filter(|it| it.args.iter().any(|it| it == arg)).collect()
    }

    /// Waits until `count` OS processes have been started with this argument.
    pub(crate) fn until_with_arg(&self, arg: &str, count: usize) -> Vec<Process> {
        until(|| {
            let found = self.with_arg(arg);
            if found.len() >= count {
                Ok(found)
            } else {
                Err(format!("{count} x {arg}: {found:?}"))
            }
        })
    }

    /// Waits until no OS process is left, but those in `but`; returns for how long.
    pub(crate) fn until_nothing_is_left(&self, but: &[u32]) -> Duration {
        let begin = Instant::now();
        until(|| {
            let left = self.processes();
            let left: Vec<_> = left.iter().filter(|left| !but.contains(&left.pid)).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("left: {left:#?}")) }
        });
        begin.elapsed()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // Whoever forks while we look is met at the next look.
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for process in left {
                let _ = kill_process(pid(process.pid), Signal::KILL);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// A living OS process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) args: Vec<String>,
    environment: String,
}

impl Process {
    pub(crate) fn read(pid: u32) -> Option<Process> {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
        let text = |name| Some(String::from_utf8_lossy(&read(name)?).into_owned());
        let environment = text("environ")?;
        let stat = text("stat")?;
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        let args = text("cmdline")?.split_terminator('\0').map(str::to_owned).collect();
        Some(Process { pid, parent, args, environment: environment + "\0" })
    }

    fn has(&self, mark: &str) -> bool {
        self.environment.split('\0').any(|variable| variable == mark)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(self.pid), signal).unwrap();
    }

    /// Its process group, its session, and its terminal: 0 if it has none.
    pub(crate) fn group_session_terminal(&self) -> [i64; 3] {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(2);
        let fields: Vec<i64> = fields.take(3).map(|field| field.parse().unwrap()).collect();
        fields.try_into().unwrap()
    }
}

/// An OS process of which the lines come as they are written. Dropping it kills it.
pub(crate) struct Started {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    ended: Option<ExitStatus>,
}

/// One that has ended: its exit code, its standard output and standard error.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Started {
    pub(crate) fn new(mut command: Command) -> Started {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = channel();
        let out: Box<dyn Read + Send> = Box::new(child.stdout.take().unwrap());
        let err: Box<dyn Read + Send> = Box::new(child.stderr.take().unwrap());
        for (from, name) in [(out, "out"), (err, "err")] {
            let tell = tell.clone();
            thread::spawn(move || {
                for line in BufReader::new(from).lines().map_while(Result::ok) {
                    let _ = tell.send(format!("{name}: {line}"));
                }
            });
        }
        Started { child, lines, seen: Vec::new(), ended: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(self.pid()), signal).unwrap();
    }

    /// Types this, where standard input is a pipe.
    pub(crate) fn types(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits for a line with this in it, on either stream.
    pub(crate) fn line_with(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        if let Some(line) = self.seen.iter().find(|line| line.contains(part)) {
            return line.clone();
        }
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no line with {part:?}, only {:#?}", self.seen)
                }
            }
        }
    }

    /// Waits for its end, which must come by itself.
    pub(crate) fn wait(mut self) -> Ended {
        let status = until(|| match self.child.try_wait().unwrap() {
            Some(status) => Ok(status),
            None => {
                self.seen.extend(self.lines.try_iter());
                Err(format!("{} has not ended: {:#?}", self.pid(), self.seen))
            }
        });
        self.ended = Some(status);
        let (mut out, mut err) = (String::new(), String::new());
        let rest = std::iter::from_fn(|| self.lines.recv_timeout(PATIENCE).ok());
        for line in self.seen.clone().into_iter().chain(rest) {
            let (name, line) = line.split_once(": ").unwrap();
            let to = if name == "out" { &mut out } else { &mut err };
            to.push_str(line);
            to.push('\n');
        }
        Ended { code: status.code(), signal: status.signal(), out, err }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Ended {
        assert!(self.err.contains(part), "no {part:?} in {self:#?}");
        self
    }

    /// The data, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {self:#?}"))
    }
}

/// Looks again and again until there is what is looked for.
#[track_caller]
pub(crate) fn until<T>(mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => panic!("not within {PATIENCE:?}: {seen}"),
            Err(_) => thread::sleep(LOOK_AGAIN),
        }
    }
}

pub(crate) fn pid(of: u32) -> Pid {
    Pid::from_raw(i32::try_from(of).unwrap()).unwrap()
}

/// The test's own executable, which is a slave when it is started as one: with `-- PROGRAM` it runs
/// what a test registers.
pub(crate) fn this_executable() -> String {
    let path: &Path = &std::env::current_exe().unwrap();
    path.to_str().unwrap().to_owned()
}

pub(crate) const PSPAWN: &str = env!("CARGO_BIN_EXE_pspawn");
pub(crate) const WORKER: &str = "--pspawn-worker";
pub(crate) const GUARD: &str = "--pspawn-guard";

const MARK: &str = "PSPAWN_TEST_ACCOUNT";
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

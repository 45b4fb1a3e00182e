//! The pretend hosts of `tests/hosts/net.sh`, from a test.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::support::{Ended, PSPAWN, Process, Started, pid, until};

/// Hosts `h1` to `hN`, each with processes, network and homes of its own. All that runs on them ends when this is
/// dropped, and also if the test is killed.
pub(crate) struct Hosts {
    holder: Child,
    /// What the holder is told, and what it answers; none when it is asked to end.
    talk: Mutex<Option<(ChildStdin, Lines<BufReader<ChildStdout>>)>>,
    folder: PathBuf,
    count: usize,
}

impl Hosts {
    /// So many hosts, or none, said aloud, where that is not possible.
    pub(crate) fn up(count: usize) -> Option<Hosts> {
        if !able(&["net.sh"], "the tests on several hosts") {
            return None;
        }
        let mut holder = script("net.sh")
            .args(["hold", &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C is for the test; the holder hears of its end.
            .process_group(0)
            .spawn()
            .unwrap();
        let to = holder.stdin.take().unwrap();
        let mut from = BufReader::new(holder.stdout.take().unwrap()).lines();
        let ready = from.next().expect("the holder says why on standard error").unwrap();
        let folder = PathBuf::from(ready.strip_prefix("ready ").expect(&ready));
        let hosts = Hosts { holder, talk: Mutex::new(Some((to, from))), folder, count };
        hosts.install("pspawn", stripped(Path::new(PSPAWN), "pspawn"));
        Some(hosts)
    }

    /// The names from this one on: `h2`, `h3` for 2 of 3 hosts.
    pub(crate) fn from(&self, first: usize) -> Vec<String> {
        (first..=self.count).map(|number| format!("h{number}")).collect()
    }

    /// Tells the holder what is to happen to hosts, packets or power: `cut h2`.
    #[track_caller]
    pub(crate) fn now(&self, command: &str) {
        let mut talk = self.talk();
        let (to, from) = talk.as_mut().unwrap();
        writeln!(to, "{command}").unwrap();
        let answer = from.next().unwrap().unwrap();
        assert_eq!(answer, "ok", "{command}");
    }

    /// Puts a program into the `PATH` of h1, and of no other host.
    pub(crate) fn install(&self, name: &str, program: &Path) {
        fs::copy(program, self.folder.join("bin").join(name)).unwrap();
    }

    /// Where an installed program is, on h1.
    pub(crate) fn installed(name: &str) -> String {
        format!("/run/net/bin/{name}")
    }

    /// The folder of this set of hosts, on the machine that they are on.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The home of root on a host, from outside; what is mounted there later is not seen.
    pub(crate) fn home(&self, host: &str) -> PathBuf {
        self.folder.join(host).join("root")
    }

    /// Writes a file into the home of root.
    pub(crate) fn write(&self, host: &str, name: &str, text: &str) {
        fs::write(self.home(host).join(name), text).unwrap();
    }

    /// A command in the home of root on a host.
    pub(crate) fn command(&self, host: &str, args: &[&str]) -> Command {
        self.command_of("root", host, args)
    }

    /// A command of root or ann, as if they had logged in: nothing of the test's environment is there.
    pub(crate) fn command_of(&self, user: &str, host: &str, args: &[&str]) -> Command {
        let first = self.first_process(host).unwrap_or_else(|| panic!("{host} is down"));
        let mut command = Command::new("nsenter");
        command.args(["-t", &first.to_string(), "-m", "-u", "-n", "-p", "--"]);
        if user != "root" {
            command.args(["setpriv", "--reuid", ANN, "--regid", ANN, "--clear-groups", "--"]);
        }
        let login = format!(
            "export HOME=\"$(getent passwd {user} | cut -d: -f6)\" USER={user} LOGNAME={user}; cd && exec \"$@\""
        );
        command.args(["env", "-i", PATH, "LANG=C.UTF-8", "sh", "-c", &login, "sh"]);
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, host: &str, args: &[&str]) -> Ended {
        self.start(host, args).wait()
    }

    /// Starts it.
    pub(crate) fn start(&self, host: &str, args: &[&str]) -> Started {
        Started::new(self.command(host, args))
    }

    /// What root does on a host by hand, which must work.
    #[track_caller]
    pub(crate) fn sh(&self, host: &str, script: &str) -> String {
        self.run(host, &["sh", "-ec", script]).with_code(0).out
    }

    /// Starts a pool on h1, of these hosts, and waits until it is up.
    pub(crate) fn pool(&self, slaves: &[&str], more: &[&str]) -> Started {
        let lines: String = slaves.iter().map(|host| format!("{host}.\n")).collect();
        self.write("h1", ".hosts.erlang", &lines);
        let mut pool = self.start("h1", &[&["pspawn", "start", "w"], more].concat());
        pool.line_with("is up: ");
        pool
    }

    /// Stops the pool, and waits until nothing is left of it anywhere.
    #[track_caller]
    pub(crate) fn stop(&self, pool: Started) {
        self.run("h1", &["pspawn", "stop"]).with_code(0);
        pool.wait().with_code(0);
        self.until_nothing_is_left(&self.from(1));
    }

    /// The nodes of the pool that h1 is the master of, sorted.
    #[track_caller]
    pub(crate) fn nodes(&self) -> Vec<String> {
        let nodes = self.run("h1", &["pspawn", "nodes", "--json"]).with_code(0).json();
        let names = nodes.as_array().unwrap().iter();
        let mut names: Vec<String> =
            names.map(|node| node["node"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// Waits until these slaves are in the pool, and no others.
    #[track_caller]
    pub(crate) fn until_slaves(&self, hosts: &[&str]) {
        let wanted: Vec<String> = hosts.iter().map(|host| format!("w@{host}")).collect();
        until(|| {
            let slaves = self.nodes().into_iter().filter(|node| !node.contains("master"));
            let slaves: Vec<String> = slaves.collect();
            if slaves == wanted { Ok(()) } else { Err(format!("{slaves:?}, not {wanted:?}")) }
        });
    }

    /// A function has run on this slave, and its result is right.
    #[track_caller]
    pub(crate) fn computes(&self, host: &str) {
        let node = format!("w@{host}");
        let spawn = ["pspawn", "spawn", "math", "cube_of", "[7]", "--node", &node];
        assert_eq!(self.run("h1", &spawn).with_code(0).out, "343\n");
    }

    /// Starts a shell command on a slave of a pool that allows it, and leaves it running.
    #[track_caller]
    pub(crate) fn leave_running(&self, host: &str, script: &str) {
        let (node, args) = (format!("w@{host}"), serde_json::json!([script]).to_string());
        let spawn = ["pspawn", "spawn", "shell", "run", &args, "--node", &node, "--no-wait"];
        self.run("h1", &spawn).with_code(0);
    }

    /// The first process of a host, which all others end with; none if its power is off.
    pub(crate) fn first_process(&self, host: &str) -> Option<u32> {
        fs::read_to_string(self.folder.join(host).join("pid")).ok()?.trim().parse().ok()
    }

    /// The processes on a host, but those that are always there, and `but`.
    pub(crate) fn processes(&self, host: &str) -> Vec<Process> {
        let Some(first) = self.first_process(host) else { return Vec::new() };
        let space = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let Some(of_host) = space(first) else { return Vec::new() };
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let here = pids.filter(|pid| *pid != first && space(*pid).as_ref() == Some(&of_host));
        let ours = |process: &Process| {
            // Of one that has ended and is not buried yet there is no command line.
            let name = process.args.first();
            name.is_some_and(|name| !DAEMONS.iter().any(|daemon| name.contains(daemon)))
        };
        here.filter_map(Process::read).filter(ours).collect()
    }

    /// Those on a host that were started with this argument.
    pub(crate) fn with_arg(&self, host: &str, arg: &str) -> Vec<Process> {
        let processes = self.processes(host).into_iter();
        processes.filter(|process| process.args.iter().any(|it| it == arg)).collect()
    }

    /// Waits until something on a host has been started with this argument.
    #[track_caller]
    pub(crate) fn until_with_arg(&self, host: &str, arg: &str) {
        until(|| match self.with_arg(host, arg).len() {
            0 => Err(format!("no {arg} on {host}: {:?}", self.processes(host))),
            _ => Ok(()),
        });
    }

    /// Waits until nothing but daemons is left on these hosts; returns for how long.
    #[track_caller]
    pub(crate) fn until_nothing_is_left(&self, hosts: &[impl AsRef<str>]) -> Duration {
        let begin = Instant::now();
        until(|| {
            let left = hosts.iter().map(|host| (host.as_ref(), self.processes(host.as_ref())));
            let left: Vec<_> = left.filter(|(_, left)| !left.is_empty()).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("left: {left:#?}")) }
        });
        begin.elapsed()
    }

    /// Sends a signal to what was started on a host, not to the command that entered the host.
    pub(crate) fn signal(&self, started: &Started, signal: Signal) {
        kill_process(pid(Self::inside(started)), signal).unwrap();
        if signal == Signal::CONT {
            started.signal(signal); // which had stopped as well
        }
    }

    fn inside(started: &Started) -> u32 {
        until(|| {
            let pids = fs::read_dir("/proc").unwrap().flatten();
            let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            let child = pids.find(|pid| {
                Process::read(*pid).is_some_and(|process| process.parent == started.pid())
            });
            child.ok_or_else(|| "nothing was started".to_owned())
        })
    }

    fn talk(&self) -> MutexGuard<'_, Option<(ChildStdin, Lines<BufReader<ChildStdout>>)>> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        drop(self.talk().take()); // its input ends
        let _ = self.holder.wait();
    }
}

/// A hosts file, from names.
pub(crate) fn hosts_file(hosts: &[&str]) -> String {
    hosts.iter().map(|host| format!("{host}.\n")).collect()
}

/// How many tiles of the demo's picture this node has drawn, as its table says.
pub(crate) fn tiles(demo: &Ended, node: &str) -> u32 {
    let said = demo.out.lines().chain(demo.err.lines());
    let mut words = said.map(|line| line.split_whitespace().collect::<Vec<_>>());
    words
        .find_map(|words| (words.first() == Some(&node)).then(|| words.get(1)?.parse().ok())?)
        .unwrap_or(0)
}

/// Whether a script of `tests/hosts/` can work here; if not, what is skipped is said where no harness hides it.
pub(crate) fn able(words: &[&str], skipped: &str) -> bool {
    static SWEEP: Once = Once::new();
    let answer =
        script(words[0]).arg("able").args(&words[1..]).stderr(Stdio::piped()).output().unwrap();
    if answer.status.success() {
        SWEEP.call_once(|| drop(script("net.sh").arg("sweep").status()));
        return true;
    }
    assert_eq!(answer.status.code(), Some(77), "{answer:?}");
    let why = String::from_utf8_lossy(&answer.stderr);
    let _ = write!(std::io::stderr(), "\n!! SKIPPED: {skipped}: {why}");
    false
}

pub(crate) fn script(name: &str) -> Command {
    let mut command = Command::new("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hosts").join(name));
    command
}

/// The test's own executable, as it is shipped.
pub(crate) fn this_program() -> &'static Path {
    static HERE: OnceLock<PathBuf> = OnceLock::new();
    HERE.get_or_init(|| strip(&std::env::current_exe().unwrap(), "tests"))
}

/// Executables are shipped without their symbols, and so is the one under test.
fn stripped(program: &Path, name: &str) -> &'static Path {
    static HERE: OnceLock<PathBuf> = OnceLock::new();
    HERE.get_or_init(|| strip(program, name))
}

fn strip(program: &Path, name: &str) -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let stripped = Command::new("strip").arg("-o").arg(&to).arg(program).status();
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(program, &to).unwrap();
    }
    // Under a name of its own until it is whole: tests of another run may read it.
    let whole = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::rename(&to, &whole).unwrap();
    whole
}

/// What runs on a host at all times.
const DAEMONS: &[&str] = &["sshd", "munged", "slurmctld", "slurmd", "slurmstepd", "slurmscriptd"];
const PATH: &str = "PATH=/run/net/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
/// The second user's number, as in `net.sh`.
const ANN: &str = "4242";

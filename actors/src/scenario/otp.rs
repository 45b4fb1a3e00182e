//! Real Erlang/OTP as a child: scenarios and traces go in, outcomes come out.
//!
//! The Erlang sources are part of this library. They are compiled into a directory of their own and run by
//! the `erl` of this machine, which starts the nodes it needs as OS processes and ends them with itself.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, error, fmt, fs, process, thread};

use serde::{Deserialize, Serialize};

use super::format::{Outcome, Scenario, Trace, TraceOutcome};

/// An installation of Erlang/OTP.
#[derive(Clone, Debug)]
pub struct Erlang {
    pub(crate) erl: PathBuf,
    pub(crate) erlc: PathBuf,
}

/// A running Erlang node that carries scenarios and traces out.
///
/// It answers in the order asked, and several may be asked before the first answer is taken: it works
/// on some of them at the same time. When it is dropped, it and all nodes that it has started end.
#[derive(Debug)]
pub struct Otp {
    child: Child,
    /// Closed by its end only: nothing is asked then.
    input: ChildStdin,
    lines: Receiver<io::Result<String>>,
    asked: VecDeque<Asked>,
    said: Arc<Mutex<String>>,
    /// Its other end is dropped when nobody has the standard error any more: neither it nor its nodes.
    gone: Receiver<()>,
    /// Dropped last, when nobody needs it.
    _home: Home,
}

/// What Erlang made of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of a scenario.
    Scenario(Outcome),
    /// Of a trace.
    Trace(TraceOutcome),
}

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum OtpError {
    /// Something of the operating system's did not work.
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        source: io::Error,
    },
    /// The sources could not be compiled.
    NotCompiled {
        /// What `erlc` said.
        said: String,
    },
    /// Erlang has ended.
    Ended {
        /// What it said on its standard error.
        said: String,
    },
    /// Erlang did not answer in time.
    Silent {
        /// The scenario's or trace's id.
        id: String,
        /// How long it was waited for.
        after: Duration,
        /// What it said on its standard error.
        said: String,
    },
    /// Erlang could not carry it out, or it did not come to rest.
    Failed {
        /// The scenario's or trace's id.
        id: String,
        /// In Erlang's words.
        why: String,
    },
    /// The answer is none.
    NotUnderstood {
        /// The scenario's or trace's id.
        id: String,
        /// The line.
        line: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What was asked.
#[derive(Debug)]
enum Asked {
    Scenario(String),
    Trace(String),
}

impl Erlang {
    /// Starts it.
    ///
    /// # Errors
    /// [`OtpError::Io`] and [`OtpError::NotCompiled`]. That it ends at once is told by the first answer.
    pub fn start(&self) -> Result<Otp, OtpError> {
        let home = Home::new("pspawn-otp")?;
        let at = &home.0;
        let mut sources = Vec::new();
        for (name, text) in FILES {
            let path = at.join(name);
            fs::write(&path, text).map_err(io_error(|| format!("write {}", path.display())))?;
            if path.extension() == Some(OsStr::new("erl")) {
                sources.push(path);
            }
        }
        let compiled =
            Command::new(&self.erlc).current_dir(at).arg("-o").arg(at).args(&sources).output();
        let compiled = compiled.map_err(io_error(|| format!("run {}", self.erlc.display())))?;
        if !compiled.status.success() {
            let said = [compiled.stdout, compiled.stderr].concat();
            return Err(OtpError::NotCompiled {
                said: String::from_utf8_lossy(&said).into_owned(),
            });
        }
        let mut child = Command::new(&self.erl)
            // The nodes' cookie is in there, and nothing of the user's is read.
            .env("HOME", at)
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            .current_dir(at)
            .arg("-args_file")
            .arg(at.join("erl.args"))
            .arg("-pa")
            .arg(at)
            .args(["-name", "n0@127.0.0.1", "-s", "runner", "main", "-extra", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io_error(|| format!("run {}", self.erl.display())))?;
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        thread::spawn(move || output.lines().try_for_each(|line| sender.send(line)));
        let said = Arc::new(Mutex::new(String::new()));
        let (alive, gone) = mpsc::channel();
        let error = child.stderr.take().expect("it is a pipe");
        let heard = Arc::clone(&said);
        thread::spawn(move || {
            listen(error, &heard);
            drop(alive);
        });
        let input = child.stdin.take().expect("it is a pipe");
        Ok(Otp { child, input, lines, asked: VecDeque::new(), said, gone, _home: home })
    }
}

impl Otp {
    /// The installation that the `PATH` leads to, if there is one.
    pub fn find() -> Option<Erlang> {
        Some(Erlang { erl: on_path("erl")?, erlc: on_path("erlc")? })
    }

    /// Asks for a scenario's outcome.
    ///
    /// # Errors
    /// [`OtpError::Ended`].
    pub fn ask(&mut self, scenario: &Scenario) -> Result<(), OtpError> {
        self.write(scenario)?;
        self.asked.push_back(Asked::Scenario(scenario.id.clone()));
        Ok(())
    }

    /// Asks for a trace's outcome.
    ///
    /// # Errors
    /// [`OtpError::Ended`].
    pub fn ask_trace(&mut self, trace: &Trace) -> Result<(), OtpError> {
        self.write(trace)?;
        self.asked.push_back(Asked::Trace(trace.id.clone()));
        Ok(())
    }

    /// The answer to the oldest question that has had none, or nothing if all have had theirs.
    ///
    /// # Errors
    /// Any but those of the start. After [`OtpError::Failed`] it goes on with the next one; after the
    /// others it is of no use any more.
    pub fn answer(&mut self) -> Result<Option<Answer>, OtpError> {
        let Some(asked) = self.asked.pop_front() else { return Ok(None) };
        let (Asked::Scenario(id) | Asked::Trace(id)) = &asked;
        let line = match self.lines.recv_timeout(ANSWER_WITHIN) {
            Ok(Ok(line)) => line,
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
            Err(RecvTimeoutError::Timeout) => {
                let (id, said) = (id.clone(), self.said());
                return Err(OtpError::Silent { id, after: ANSWER_WITHIN, said });
            }
        };
        if let Ok(Failure { error }) = serde_json::from_str(&line) {
            return Err(OtpError::Failed { id: id.clone(), why: error });
        }
        let answer = match &asked {
            Asked::Scenario(_) => serde_json::from_str(&line).map(Answer::Scenario),
            Asked::Trace(_) => serde_json::from_str(&line).map(Answer::Trace),
        };
        match answer {
            Ok(answer) if answer.id() == id => Ok(Some(answer)),
            Ok(_) => Err(not_understood(id, line, "it is another one's")),
            Err(why) => Err(not_understood(id, line, &why.to_string())),
        }
    }

    /// A scenario's outcome.
    ///
    /// # Errors
    /// As for [`answer`](Otp::answer).
    ///
    /// # Panics
    /// If an earlier question has not had its answer yet.
    pub fn outcome(&mut self, scenario: &Scenario) -> Result<Outcome, OtpError> {
        assert!(self.asked.is_empty(), "{} questions wait for their answer", self.asked.len());
        self.ask(scenario)?;
        match self.answer()? {
            Some(Answer::Scenario(outcome)) => Ok(outcome),
            Some(Answer::Trace(_)) | None => unreachable!("a scenario was asked for"),
        }
    }

    /// A trace's outcome.
    ///
    /// # Errors
    /// As for [`answer`](Otp::answer).
    ///
    /// # Panics
    /// If an earlier question has not had its answer yet.
    pub fn trace_outcome(&mut self, trace: &Trace) -> Result<TraceOutcome, OtpError> {
        assert!(self.asked.is_empty(), "{} questions wait for their answer", self.asked.len());
        self.ask_trace(trace)?;
        match self.answer()? {
            Some(Answer::Trace(outcome)) => Ok(outcome),
            Some(Answer::Scenario(_)) | None => unreachable!("a trace was asked for"),
        }
    }

    /// Erlang takes all that is written without waiting for its answers to be read.
    fn write(&mut self, question: &impl Serialize) -> Result<(), OtpError> {
        let mut line = serde_json::to_string(question).expect("scenarios can be written");
        line.push('\n');
        self.input.write_all(line.as_bytes()).map_err(|_| self.ended())
    }

    fn ended(&mut self) -> OtpError {
        // What it said last may be on its way still.
        let _ = self.gone.recv_timeout(END_WITHIN);
        OtpError::Ended { said: self.said() }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Otp {
    fn drop(&mut self) {
        // Its nodes end when they lose it. Nothing here can fail in a way that anybody could mend.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.gone.recv_timeout(END_WITHIN);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Answer {
    /// The scenario's or trace's id.
    pub fn id(&self) -> &str {
        match self {
            Answer::Scenario(outcome) => &outcome.id,
            Answer::Trace(outcome) => &outcome.id,
        }
    }

    /// The one line that equal answers share, byte for byte.
    pub fn canonical(&self) -> String {
        match self {
            Answer::Scenario(outcome) => outcome.canonical(),
            Answer::Trace(outcome) => outcome.canonical(),
        }
    }
}

impl fmt::Display for OtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OtpError::Io { what, source } => write!(f, "cannot {what}: {source}"),
            OtpError::NotCompiled { said } => write!(f, "erlc: {said}"),
            OtpError::Ended { said } => write!(f, "Erlang has ended: {}", or_nothing(said)),
            OtpError::Silent { id, after, said } => {
                let said = or_nothing(said);
                write!(f, "Erlang gave no answer for {id} in {after:?}: {said}")
            }
            OtpError::Failed { id, why } => write!(f, "Erlang could not carry {id} out: {why}"),
            OtpError::NotUnderstood { id, line, why } => {
                write!(f, "Erlang's answer for {id} is none: {why}: {line}")
            }
        }
    }
}

impl error::Error for OtpError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            OtpError::Io { source, .. } => Some(source),
            OtpError::NotCompiled { .. }
            | OtpError::Ended { .. }
            | OtpError::Silent { .. }
            | OtpError::Failed { .. }
            | OtpError::NotUnderstood { .. } => None,
        }
    }
}

/// The line in the place of an outcome that there is not.
#[derive(Deserialize)]
struct Failure {
    error: String,
}

/// A directory that nobody else may read.
#[derive(Debug)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// A new one, for what is called so.
    pub(crate) fn new(what: &str) -> Result<Home, OtpError> {
        let all = env::temp_dir();
        for number in 0..HOMES_MAX {
            let path = all.join(format!("{what}.{}.{number}", process::id()));
            // One that is there already is another value's, or was left by an OS process of this number.
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Home(path)),
                Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => {
                    return Err(OtpError::Io { what: format!("make {}", path.display()), source });
                }
            }
        }
        let what = format!("make a directory in {}", all.display());
        Err(OtpError::Io { what, source: io::ErrorKind::AlreadyExists.into() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// Keeps the last of what is said, until nobody can say anything any more.
fn listen(mut error: impl Read, said: &Mutex<String>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = error.read(&mut bytes) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.push_str(&String::from_utf8_lossy(&bytes[..count]));
        if let Some(over) = said.len().checked_sub(SAID_BYTES_MAX) {
            let from = said.ceil_char_boundary(over);
            said.drain(..from);
        }
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn io_error(what: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> OtpError {
    |source| OtpError::Io { what: what(), source }
}

fn not_understood(id: &str, line: String, why: &str) -> OtpError {
    OtpError::NotUnderstood { id: id.to_owned(), line, why: why.to_owned() }
}

fn or_nothing(said: &str) -> &str {
    if said.is_empty() { "it said nothing" } else { said.trim_end() }
}

/// What Erlang needs to be there.
const FILES: &[(&str, &str)] = &[
    ("erl.args", include_str!("../../../tests/otp/erl.args")),
    ("otp_actor.erl", include_str!("../../../tests/otp/otp_actor.erl")),
    ("otp_agent.erl", include_str!("../../../tests/otp/otp_agent.erl")),
    ("otp_json.erl", include_str!("../../../tests/otp/otp_json.erl")),
    ("otp_names.erl", include_str!("../../../tests/otp/otp_names.erl")),
    ("otp_nodes.erl", include_str!("../../../tests/otp/otp_nodes.erl")),
    ("otp_scenario.erl", include_str!("../../../tests/otp/otp_scenario.erl")),
    ("otp_trace.erl", include_str!("../../../tests/otp/otp_trace.erl")),
    ("runner.erl", include_str!("../../../tests/otp/runner.erl")),
];

/// Longer than Erlang itself waits for a scenario to come to rest.
const ANSWER_WITHIN: Duration = Duration::from_secs(150);

/// How long the nodes may take to end.
const END_WITHIN: Duration = Duration::from_secs(10);

/// How much of what Erlang says is kept.
const SAID_BYTES_MAX: usize = 16 * 1024;

/// How many directories of one OS process there may be.
const HOMES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::super::generate;
    use super::*;

    #[test]
    fn erlang_answers_in_the_order_asked_and_leaves_nothing() {
        let Some(erlang) = Otp::find() else {
            eprintln!("no Erlang here: skipped");
            return;
        };
        let mut otp = erlang.start().unwrap_or_else(|why| panic!("{why}"));
        for index in 0..30 {
            otp.ask(&generate::scenario(1, index)).unwrap();
            otp.ask_trace(&generate::trace(1, index)).unwrap();
        }
        for index in 0..30 {
            let answer = otp.answer().unwrap_or_else(|why| panic!("{why}")).unwrap();
            assert_eq!(answer.id(), generate::scenario(1, index).id);
            let answer = otp.answer().unwrap_or_else(|why| panic!("{why}")).unwrap();
            assert_eq!(answer.id(), generate::trace(1, index).id);
        }
        assert_eq!(otp.answer().unwrap(), None);
        let again = otp.outcome(&generate::scenario(1, 0)).unwrap();
        assert_eq!(again.id, generate::scenario(1, 0).id);
        let home = otp._home.0.clone();
        let files = fs::read_dir(&home).unwrap().flatten().map(|file| file.file_name());
        let nodes = files.filter(|name| name.to_string_lossy().ends_with(".port")).count();
        assert!(nodes > 2, "{nodes} nodes have started");
        drop(otp);
        assert!(!home.exists());
        // The nodes' command lines name their home.
        let home = home.display().to_string();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&line).contains(&home), "{entry:?} is left");
        }
    }

    #[test]
    fn what_erlang_says_is_in_the_error() {
        let Some(erlang) = Otp::find() else { return };
        let mut otp = erlang.start().unwrap_or_else(|why| panic!("{why}"));
        let mut wrong = generate::scenario(1, 0);
        wrong.nodes = 0;
        let why = otp.outcome(&wrong).unwrap_err();
        assert!(matches!(&why, OtpError::Failed { id, .. } if *id == wrong.id), "{why}");
        // It goes on, until it is gone.
        otp.outcome(&generate::scenario(1, 1)).unwrap();
        otp.child.kill().unwrap();
        let why = otp.outcome(&generate::scenario(1, 1)).unwrap_err();
        assert!(matches!(why, OtpError::Ended { .. }), "{why}");
        let missing = Erlang { erl: PathBuf::from("/nowhere/erl"), ..erlang };
        let why = missing.start().unwrap_err();
        assert!(why.to_string().contains("/nowhere/erl"), "{why}");
    }
}

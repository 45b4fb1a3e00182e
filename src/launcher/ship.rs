//! The dialogue that brings the executable to a host, from both sides: what the script is told, and what it says.
//!
//! ```text
//! master                                  a shell on the host
//!   the script, one line           ->       `sh` reads it
//!                                  <-       SHELL Linux x86_64
//!                                  <-       HAVE, or NEED, or NO step why
//!   after NEED: the executable     ->
//!                                  <-       DONE, or NO step why
//!   the slave's letter             ->       it is the slave's guard now
//! ```
//! One session, and when the executable is there one round trip. The cache is addressed by content: a file
//! appears under its name whole and checked, or not at all, so that an interrupted copy is never run. The one on
//! the way is tried out first (`--pspawn-check`): what cannot run there is said before it is the slave that ends.

use super::{StartFault, StartStep};
use crate::term::NodeName;

/// What the guard of a slave of this name is started with.
pub(super) fn guard_words(node: NodeName, args: &[String]) -> Vec<String> {
    let mut words = vec![GUARD_FLAG.to_owned(), node.to_string()];
    words.extend_from_slice(args);
    words
}

/// The script, with what it has to know, as one line for a shell that reads its commands from standard input.
///
/// One line, because such a shell takes what it needs of its input in pieces of its own liking: what the script itself
/// reads must not have been read with it. So nothing may be sent after this line before the script has asked for it.
///
/// # Errors
/// An argument or the folder has a NUL byte in it, which no command line can have.
pub(crate) fn first_line(
    sha256: &str,
    bytes: u64,
    folder: Option<&str>,
    node: NodeName,
    args: &[String],
) -> Result<Vec<u8>, StartFault> {
    let quoted = |word: &str| {
        shlex::try_quote(word).map(String::from).map_err(|_| {
            StartFault::new(StartStep::Launch, format!("{word:?} cannot be on a command line"))
        })
    };
    let words: Vec<String> =
        guard_words(node, args).iter().map(|word| quoted(word)).collect::<Result<_, _>>()?;
    let dir = quoted(folder.unwrap_or_default())?;
    let set = format!("sha={sha256} size={bytes} dir={dir}\nset -- {}\n", words.join(" "));
    let script = format!("{set}{SCRIPT}").replace('\\', r"\\").replace('\n', r"\n");
    Ok(format!("eval \"$(printf %b {})\"\n", quoted(&script)?).into_bytes())
}

/// What the script says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// There is a shell, on this operating system and processor.
    Shell { system: String, machine: String },
    /// The executable is there.
    Have,
    /// It is to be sent.
    Need,
    /// It has come, and can run.
    Done,
    /// It goes no further.
    No(StartFault),
}

impl Told {
    /// Reads a line of its standard output; none for what something else has written: a login that greets people, say.
    pub(crate) fn of(line: &str) -> Option<Told> {
        let words = line.trim_end().strip_prefix("pspawn-ship 1 ")?;
        let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
        match verb {
            "SHELL" => {
                let (system, machine) = rest.split_once(' ')?;
                Some(Told::Shell { system: system.to_owned(), machine: machine.to_owned() })
            }
            "HAVE" => Some(Told::Have),
            "NEED" => Some(Told::Need),
            "DONE" => Some(Told::Done),
            "NO" => {
                let (step, why) = rest.split_once(' ').unwrap_or((rest, ""));
                Some(Told::No(fault(step, why.trim())))
            }
            _ => None,
        }
    }
}

fn fault(step: &str, why: &str) -> StartFault {
    const OTHER_FOLDER: &str = "name a folder that exists on the host, has room, and from which programs may be \
                                run: --cache DIR, or PoolBuilder::remote_cache";
    match step {
        "shell" => StartFault::new(StartStep::Shell, why)
            .remedy("install coreutils there, or mend the PATH in the shell's start-up files"),
        "cache" if why.contains("space") || why.contains("free in") => {
            StartFault::new(StartStep::Cache, why).remedy(format!("make room there, or {OTHER_FOLDER}"))
        }
        "cache" => StartFault::new(StartStep::Cache, why).remedy(OTHER_FOLDER),
        "run" if why.contains("ermission denied") => {
            StartFault::new(StartStep::Cache, format!("programs may not be run from there: {why}"))
                .remedy(format!("the folder's file system is mounted noexec: {OTHER_FOLDER}"))
        }
        "run" => StartFault::new(StartStep::Platform, format!("the executable cannot run there: {why}"))
            .remedy(
                "it needs another C library, or an older one: build it for the host, on the oldest of the hosts \
                 or with --target x86_64-unknown-linux-musl, and start that (-- PROGRAM, or PoolBuilder::program)",
            ),
        _ => StartFault::new(StartStep::Ship, why).remedy("the connection was lost on the way: start it again"),
    }
}

/// The first argument of a guard, before the node's name.
pub(crate) const GUARD_FLAG: &str = "--pspawn-guard";

const SCRIPT: &str = include_str!("ship.sh");

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_script_says_what_we_read_and_leaves_the_rest_of_its_input_alone() {
        let folder = tempfile::tempdir().unwrap();
        let program = b"#!/bin/sh\n[ \"$1\" = --pspawn-check ] && exit 0\nprintf '<%s>' \"$(umask)\" \"$@\"; echo; exec cat\n";
        let cache = folder.path().join("it's a \\n cache");
        let ends = "<--pspawn-guard><w@h><a b><\\n>\nthe letter";
        let cold = Host::new(&cache, program).args(&["a b", r"\n"]).ship(program);
        assert_eq!(cold.told[1..], [Told::Need, Told::Done], "{cold:?}");
        assert!(cold.rest.ends_with(ends), "{cold:?}");
        let mask = Command::new("sh").args(["-c", "umask"]).output().unwrap().stdout;
        let mask = String::from_utf8(mask).unwrap();
        assert!(cold.rest.starts_with(&format!("<{}>", mask.trim())), "{cold:?}");

        let warm = Host::new(&cache, program).args(&["a b", r"\n"]).ship(b"");
        assert_eq!(warm.told[1..], [Told::Have], "{warm:?}");
        assert!(warm.rest.ends_with(ends), "{warm:?}");
        let entries = std::fs::read_dir(own(&cache)).unwrap();
        assert_eq!(entries.count(), 1, "nothing else is left there");
    }

    #[test]
    fn an_interrupted_or_a_damaged_copy_is_never_run() {
        let folder = tempfile::tempdir().unwrap();
        let program = b"#!/bin/sh\necho it runs\n";
        let cases = [
            (&program[..9], "9 of 23 bytes have come"),
            (b"#!/bin/sh\necho it Runs\n", "its SHA-256 differs"),
        ];
        for (sent, why) in cases {
            let shipped = Host::new(folder.path(), program).ship(sent);
            let Some(Told::No(fault)) = shipped.told.last() else { panic!("{shipped:?}") };
            assert!(fault.step == StartStep::Ship && fault.why.contains(why), "{fault:?}");
            assert_eq!(std::fs::read_dir(own(folder.path())).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_nobody_has_used_for_long_is_swept_and_nothing_that_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let own = own(folder.path());
        std::fs::create_dir_all(own.join("deep")).unwrap();
        let at = |path: std::path::PathBuf, days: u32| {
            let file = std::fs::File::create(path).unwrap();
            let day = std::time::Duration::from_secs(24 * 3600);
            file.set_modified(file.metadata().unwrap().modified().unwrap() - day * days).unwrap();
        };
        at(folder.path().join("pspawn-results"), 400);
        at(own.join("deep/pspawn-results"), 400);
        at(own.join("pspawn-old"), 40);
        at(own.join("pspawn-young"), 20);
        at(own.join(".ship.left"), 1);
        at(own.join(".ship.busy"), 0);
        at(own.join("notes"), 400);
        let program = b"#!/bin/sh\nexit 0\n";
        let shipped = Host::new(folder.path(), program).ship(program);
        assert_eq!(shipped.told.last(), Some(&Told::Done), "{shipped:?}");
        let entries = std::fs::read_dir(&own).unwrap();
        let mut left: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let new = format!("pspawn-{}", sha256(program));
        assert_eq!(left, [".ship.busy", "deep", "notes", &new, "pspawn-young"]);
        assert!(own.join("deep/pspawn-results").exists());
        assert!(folder.path().join("pspawn-results").exists());
    }

    #[test]
    fn a_cache_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let program = b"#!/bin/sh\nexit 0\n";
        std::fs::create_dir_all(own(folder.path()).join(format!("pspawn-{}", sha256(program))))
            .unwrap();
        let shipped = Host::new(folder.path(), program).ship(program);
        let Some(Told::No(fault)) = shipped.told.last() else { panic!("{shipped:?}") };
        assert!(fault.step == StartStep::Cache && fault.why.ends_with("is a folder"), "{fault:?}");
        let shipped = Host::new("/dev/null".as_ref(), program).ship(program);
        let Some(Told::No(fault)) = shipped.told.last() else { panic!("{shipped:?}") };
        assert_eq!(fault.step, StartStep::Cache, "{fault:?}");
    }

    /// A shell that plays a host, told to keep this program in this folder.
    struct Host<'a> {
        folder: &'a std::path::Path,
        program: &'a [u8],
        args: Vec<String>,
    }

    /// What came of it.
    #[derive(Debug)]
    struct Shipped {
        told: Vec<Told>,
        /// What was said after it.
        rest: String,
    }

    impl<'a> Host<'a> {
        fn new(folder: &'a std::path::Path, program: &'a [u8]) -> Host<'a> {
            Host { folder, program, args: Vec::new() }
        }

        fn args(mut self, args: &[&str]) -> Host<'a> {
            self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
            self
        }

        /// Plays the master, who sends this as the program, and a letter.
        fn ship(&self, sent: &[u8]) -> Shipped {
            let (node, bytes) = ("w@h".parse().unwrap(), self.program.len() as u64);
            let folder = self.folder.to_str();
            let line = first_line(&sha256(self.program), bytes, folder, node, &self.args).unwrap();
            let mut shell =
                Command::new("sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut to = shell.stdin.take();
            let mut from = BufReader::new(shell.stdout.take().unwrap());
            to.as_mut().unwrap().write_all(&line).unwrap();
            let (mut told, mut rest) = (Vec::new(), String::new());
            loop {
                let mut line = String::new();
                if from.read_line(&mut line).unwrap() == 0 {
                    break;
                }
                let Some(said) = Told::of(&line) else {
                    continue;
                };
                told.push(said.clone());
                let answer = match said {
                    Told::Shell { .. } | Told::No(_) => continue,
                    Told::Need => sent,
                    Told::Have | Told::Done => b"the letter",
                };
                let mut end = to.take().unwrap();
                let _ = end.write_all(answer); // a program that takes no letter may have ended
                if said == Told::Need && sent.len() == self.program.len() {
                    to = Some(end);
                } else if said != Told::Need {
                    drop(end);
                    from.read_to_string(&mut rest).unwrap();
                }
            }
            shell.wait().unwrap();
            Shipped { told, rest }
        }
    }

    /// Our own folder in one that was named.
    fn own(folder: &std::path::Path) -> std::path::PathBuf {
        folder.join(format!("pspawn-{}", rustix::process::getuid().as_raw()))
    }

    #[test]
    fn what_a_login_says_is_none_of_ours() {
        for line in
            ["", "Welcome!", "pspawn-ship 2 HAVE", "pspawn-ship 1 DANCE", "pspawn-ship 1 SHELL x"]
        {
            assert_eq!(Told::of(line), None, "{line:?}");
        }
    }

    fn sha256(bytes: &[u8]) -> String {
        use sha2::Digest;
        sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

//! The dialogue that brings the executable to a host, from both sides: what the script is told, and what it says.
//!
//! ```text
//! master                                  a shell on the host
//!   the script, one line           ->
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

/// Waits for the script as one line of standard input, and not a byte more is read: `read` of a shell takes one byte at
/// a time for just that reason. Simple enough for each shell that may have to hand it on.
pub(super) const READ_SCRIPT: &str = r#"read -r s; eval "$(printf %b "$s")""#;

/// What the guard of a slave of this name is started with.
pub(super) fn guard_words(node: NodeName, args: &[String]) -> Vec<String> {
    let mut words = vec![GUARD_FLAG.to_owned(), node.to_string()];
    words.extend_from_slice(args);
    words
}

/// The script, with what it has to know, as the line that [`READ_SCRIPT`] waits for.
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
    Ok(format!("{script}\n").into_bytes())
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

pub(crate) const GUARD_FLAG: &str = "--pspawn-guard";

const SCRIPT: &str = include_str!("ship.sh");

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_script_says_what_we_read_and_leaves_the_rest_of_its_input_alone() {
        let folder = tempfile::tempdir().unwrap();
        let program = b"#!/bin/sh\n[ \"$1\" = --pspawn-check ] && exit 0\nprintf '<%s>' \"$@\"; echo; exec cat\n";
        let sha256 = sha256(program);
        let cache = folder.path().join("it's a \\n cache");
        let run = |program: &[u8]| {
            let (node, args) = ("w@h".parse().unwrap(), ["a b".to_owned(), r"\n".to_owned()]);
            let bytes = program.len() as u64;
            let line = first_line(&sha256, bytes, cache.to_str(), node, &args).unwrap();
            let mut shell = Command::new("sh")
                .args(["-c", READ_SCRIPT])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut to = shell.stdin.take().unwrap();
            to.write_all(&[&line, program, b"the letter"].concat()).unwrap();
            drop(to);
            String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap()
        };
        let cold = run(program);
        let told: Vec<Option<Told>> = cold.lines().map(Told::of).collect();
        assert!(matches!(told[0], Some(Told::Shell { .. })), "{cold}");
        assert_eq!(told[1..3], [Some(Told::Need), Some(Told::Done)], "{cold}");
        assert!(cold.ends_with("<--pspawn-guard><w@h><a b><\\n>\nthe letter"), "{cold}");

        let warm = run(b"");
        assert_eq!(warm.lines().map(Told::of).nth(1), Some(Some(Told::Have)), "{warm}");
        assert!(warm.ends_with("the letter"), "{warm}");
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn an_interrupted_or_a_damaged_copy_is_never_run() {
        let folder = tempfile::tempdir().unwrap();
        let program = b"#!/bin/sh\necho it runs\n";
        let cases = [
            (&program[..9], program.len(), "9 of 23 bytes have come"),
            (b"#!/bin/sh\necho it Runs\n", program.len(), "its SHA-256 differs"),
        ];
        for (sent, bytes, why) in cases {
            let line = first_line(
                &sha256(program),
                bytes as u64,
                folder.path().to_str(),
                "w@h".parse().unwrap(),
                &[],
            )
            .unwrap();
            let mut shell = Command::new("sh")
                .args(["-c", READ_SCRIPT])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut to = shell.stdin.take().unwrap();
            to.write_all(&[&line, sent].concat()).unwrap();
            drop(to);
            let said = String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap();
            let last = said.lines().last().and_then(Told::of);
            let Some(Told::No(fault)) = last else { panic!("{said}") };
            assert!(fault.step == StartStep::Ship && fault.why.contains(why), "{fault:?}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_nobody_has_used_for_long_is_swept_when_there_is_something_new() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, days: u32| {
            let file = std::fs::File::create(folder.path().join(name)).unwrap();
            let day = std::time::Duration::from_secs(24 * 3600);
            file.set_modified(file.metadata().unwrap().modified().unwrap() - day * days).unwrap();
        };
        at("pspawn-old", 40);
        at("pspawn-young", 20);
        at(".ship.left", 1);
        at(".ship.busy", 0);
        at("notes", 400);
        let program = b"#!/bin/sh\nexit 0\n";
        let (bytes, node) = (program.len() as u64, "w@h".parse().unwrap());
        let sha256 = sha256(program);
        let line = first_line(&sha256, bytes, folder.path().to_str(), node, &[]).unwrap();
        let mut shell = Command::new("sh")
            .args(["-c", READ_SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(&[&line[..], program].concat()).unwrap();
        assert!(shell.wait().unwrap().success());
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut left: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, [".ship.busy", "notes", &format!("pspawn-{sha256}"), "pspawn-young"]);
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

//! Runtime files: how a command in a second terminal finds the pool that runs in the first.
//!
//! Each running pool has a file `<pool name>.json` in `$XDG_RUNTIME_DIR/pspawn/` or, where there is
//! no such place, in `/tmp/pspawn-<uid>/`. It holds the cookie, so folder and file are for their
//! owner alone.
//!
//! * **RF-1** A file counts only while the OS process in it lives: the same pid *and* start time,
//!   as pids are used again. The file of a dead process is stale; whoever meets it may remove it.
//! * **RF-2** Files change only under the folder's lock, and only after another look under it. So
//!   of two pools of one name one wins, and nobody removes a file that has just become good.
//! * **RF-3** A file appears under its name whole or not at all; readers need no lock.

use std::env;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::cookie::Cookie;

/// A running pool: what one has to know to talk to it.
#[derive(Clone, Debug)]
pub struct RunningPool {
    /// The name of the pool: letters, digits and `-_.`, not a dot first.
    pub name: String,
    /// The node name of its master, `name@host`.
    pub master: String,
    /// Where the master listens.
    pub address: SocketAddr,
    /// The OS process of the master.
    pub os_pid: u32,
    /// The secret that the master asks for.
    pub cookie: Cookie,
    /// Its [heartbeat](crate::PoolBuilder::heartbeat), if it is not the default.
    pub heartbeat: Option<(Duration, Duration)>,
}

impl RunningPool {
    /// Lets commands in other terminals find this pool, until the result is dropped.
    ///
    /// The file that a dead pool of this name left behind is replaced.
    ///
    /// # Errors
    /// [`RuntimeFileError::AlreadyRunning`] if a pool of this name runs,
    /// [`RuntimeFileError::BadName`] if the name makes no file name, and those of the folder and
    /// its files.
    pub fn publish(self) -> Result<Published, RuntimeFileError> {
        self.publish_in(&folder())
    }

    /// As [`RunningPool::publish`], in `folder`.
    ///
    /// # Errors
    /// As [`RunningPool::publish`].
    pub fn publish_in(self, folder: &Path) -> Result<Published, RuntimeFileError> {
        let path = file_of(folder, &self.name)?;
        let os_start = match os_process_start(self.os_pid) {
            Ok(Some(os_start)) => os_start,
            Ok(None) => return Err(RuntimeFileError::NoProcess { os_pid: self.os_pid }),
            Err(source) => return Err(failed(&proc_stat(self.os_pid), source)),
        };
        let entry = Entry {
            name: self.name,
            master: self.master,
            address: self.address,
            os_pid: self.os_pid,
            os_start,
            cookie: self.cookie,
            heartbeat: self.heartbeat,
        };
        let text = serde_json::to_string_pretty(&entry)
            .map_err(|error| failed(&path, io::Error::from(error)))?;

        create_folder(folder)?;
        check_folder(folder)?;
        let _lock = Lock::take(folder)?;
        if let Some(other) = Entry::read(&path)?.filter(Entry::is_alive) {
            return Err(RuntimeFileError::AlreadyRunning {
                name: other.name,
                os_pid: other.os_pid,
            });
        }
        // Only the holder of the lock writes drafts, so one name does for all; one that a crash has
        // left there is done with.
        let draft = folder.join(DRAFT_NAME);
        let replaced = remove_if_there(&draft)
            .and_then(|()| write_private(&draft, &text))
            .and_then(|()| fs::rename(&draft, &path));
        replaced.map_err(|source| failed(&path, source))?;
        Ok(Published { path, text })
    }

    /// The running pool called `name`, or without a name the only one that runs.
    ///
    /// Files of dead pools met on the way are removed.
    ///
    /// # Errors
    /// [`RuntimeFileError::NoneRunning`], [`RuntimeFileError::Several`] without a name,
    /// [`RuntimeFileError::NotRunning`], [`RuntimeFileError::BadName`] with one, and those of the
    /// folder and its files.
    pub fn find(name: Option<&str>) -> Result<RunningPool, RuntimeFileError> {
        RunningPool::find_in(&folder(), name)
    }

    /// As [`RunningPool::find`], in `folder`.
    ///
    /// # Errors
    /// As [`RunningPool::find`].
    pub fn find_in(folder: &Path, name: Option<&str>) -> Result<RunningPool, RuntimeFileError> {
        let named = match name {
            Some(name) => Some((name, file_of(folder, name)?)),
            None => None,
        };
        let there = check_folder(folder)?;
        if let Some((name, path)) = named {
            let found = if there { live_entry(folder, &path)? } else { None };
            let not_running = || RuntimeFileError::NotRunning { name: name.to_owned() };
            return found.map(RunningPool::from).ok_or_else(not_running);
        }

        let mut found = Vec::new();
        for path in if there { files_in(folder)? } else { Vec::new() } {
            found.extend(live_entry(folder, &path)?);
        }
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(RunningPool::from(only)),
            (Some(last), false) => {
                let mut names: Vec<String> = found.into_iter().map(|entry| entry.name).collect();
                names.push(last.name);
                names.sort();
                Err(RuntimeFileError::Several { names })
            }
            (None, _) => Err(RuntimeFileError::NoneRunning { looked_in: folder.to_owned() }),
        }
    }
}

/// A pool that can be found; dropping it removes the file, if it is still ours.
#[must_use = "dropping it takes the pool's file away again"]
pub struct Published {
    path: PathBuf,
    text: String,
}

impl Published {
    /// The pool's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // Whatever fails here leaves a file behind that is stale once we have ended (RF-1).
        let Some(folder) = self.path.parent() else { return };
        let Ok(_lock) = Lock::take(folder) else { return };
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl fmt::Debug for Published {
    // Not the text: the cookie is in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why a pool was not published, or not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeFileError {
    /// A pool of this name runs already.
    #[error(
        "a pool named {name} is already running, as OS process {os_pid}: stop it, or use \
         another name"
    )]
    AlreadyRunning {
        /// The name of both.
        name: String,
        /// The OS process of the one that runs.
        os_pid: u32,
    },
    /// No pool runs here.
    #[error("no pool is running: looked in {}", looked_in.display())]
    NoneRunning {
        /// The folder that would have its file.
        looked_in: PathBuf,
    },
    /// Several pools run, and none was asked for by name.
    #[error("several pools are running ({}): use --pool NAME", names.join(", "))]
    Several {
        /// Their names, sorted.
        names: Vec<String>,
    },
    /// No pool of this name runs.
    #[error("no pool named {name} is running")]
    NotRunning {
        /// The name asked for.
        name: String,
    },
    /// The name cannot be that of a file.
    #[error(
        "{name:?} is no pool name: expected 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' and \
         '.', not a '.' first"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// The OS process to publish is not alive.
    #[error("there is no OS process {os_pid} to publish a pool for")]
    NoProcess {
        /// The pid.
        os_pid: u32,
    },
    /// Others could read or plant files in the folder.
    #[error("will not use {}: it is {fault}; remove it", path.display())]
    UnsafeFolder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The file is not one that this version of pspawn writes.
    #[error(
        "{}:{line}:{column}: not a pool's file; remove it if no pool of that name runs",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line of the fault; the first is 1.
        line: usize,
        /// The column of it.
        column: usize,
    },
    /// Another OS process keeps the folder locked, though nobody needs it for long.
    #[error("{} is locked by another OS process", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    master: String,
    address: SocketAddr,
    os_pid: u32,
    /// When the OS process began, in clock ticks since the machine did.
    os_start: u64,
    cookie: Cookie,
    heartbeat: Option<(Duration, Duration)>,
}

impl Entry {
    /// The entry in the file at `path`, if there is one.
    fn read(path: &Path) -> Result<Option<Entry>, RuntimeFileError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(path, source)),
        };
        // The place alone: the parser's own words may quote the cookie.
        serde_json::from_slice(&bytes).map(Some).map_err(|error| RuntimeFileError::Malformed {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
        })
    }

    /// RF-1. What cannot be looked at counts as alive, so that nobody removes it.
    fn is_alive(&self) -> bool {
        os_process_start(self.os_pid).map_or(true, |start| start == Some(self.os_start))
    }
}

impl From<Entry> for RunningPool {
    fn from(entry: Entry) -> RunningPool {
        let Entry { name, master, address, os_pid, os_start: _, cookie, heartbeat } = entry;
        RunningPool { name, master, address, os_pid, cookie, heartbeat }
    }
}

/// The lock of a folder (RF-2), held until dropped.
struct Lock {
    folder: File,
}

impl Lock {
    /// Waits for the lock for a second at most; everyone holds it for a few system calls only.
    fn take(folder: &Path) -> Result<Lock, RuntimeFileError> {
        let file = File::open(folder).map_err(|source| failed(folder, source))?;
        for _ in 0..LOCK_TRIES_MAX {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock { folder: file }),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    thread::sleep(LOCK_PAUSE);
                }
                Err(errno) => return Err(failed(folder, errno.into())),
            }
        }
        Err(RuntimeFileError::Locked { path: folder.to_owned() })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file alone would not do: a child that another thread is starting just now has
        // a copy of it until its exec.
        let _ = rustix::fs::flock(&self.folder, FlockOperation::Unlock);
    }
}

/// The entry at `path` if its pool is alive; a stale file is removed.
fn live_entry(folder: &Path, path: &Path) -> Result<Option<Entry>, RuntimeFileError> {
    match Entry::read(path)? {
        Some(entry) if entry.is_alive() => return Ok(Some(entry)),
        Some(_) => {}
        None => return Ok(None),
    }
    // RF-2: a new pool may have replaced the file since we read it. Without the lock the stale file
    // stays, which does no harm.
    let Ok(_lock) = Lock::take(folder) else { return Ok(None) };
    match Entry::read(path)? {
        Some(entry) if entry.is_alive() => Ok(Some(entry)),
        Some(_) => remove_if_there(path).map(|()| None).map_err(|source| failed(path, source)),
        None => Ok(None),
    }
}

/// The files of pools in `folder`, drafts left out.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, RuntimeFileError> {
    let mut files = Vec::new();
    for item in fs::read_dir(folder).map_err(|source| failed(folder, source))? {
        let path = item.map_err(|source| failed(folder, source))?.path();
        let is_json = path.extension().is_some_and(|extension| extension == FILE_EXTENSION);
        if is_json && path.file_stem().and_then(|stem| stem.to_str()).is_some_and(fits_file_name) {
            files.push(path);
        }
    }
    Ok(files)
}

fn file_of(folder: &Path, name: &str) -> Result<PathBuf, RuntimeFileError> {
    if !fits_file_name(name) {
        return Err(RuntimeFileError::BadName { name: name.to_owned() });
    }
    Ok(folder.join(format!("{name}.{FILE_EXTENSION}")))
}

fn fits_file_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// The folder of this user's runtime files.
fn folder() -> PathBuf {
    folder_for(env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from))
}

fn folder_for(xdg_runtime_dir: Option<PathBuf>) -> PathBuf {
    // The rule of XDG: a path that is not absolute is to be ignored. One that does not exist, as
    // after su or in a container, serves nobody either.
    match xdg_runtime_dir.filter(|path| path.is_absolute() && path.is_dir()) {
        Some(path) => path.join("pspawn"),
        None => PathBuf::from(format!("/tmp/pspawn-{}", rustix::process::geteuid().as_raw())),
    }
}

fn create_folder(folder: &Path) -> Result<(), RuntimeFileError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(folder, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether the folder is there; an error if others have a say in what is in it.
///
/// In `/tmp` anyone could have made it before us. Once it is seen to be ours it stays so: the
/// sticky bit keeps others from replacing it.
fn check_folder(folder: &Path) -> Result<bool, RuntimeFileError> {
    // Of the name itself, not of what a symbolic link leads to.
    let facts = match fs::symlink_metadata(folder) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(failed(folder, source)),
    };
    let fault = if facts.is_symlink() {
        "a symbolic link".to_owned()
    } else if !facts.is_dir() {
        "not a directory".to_owned()
    } else if facts.uid() != rustix::process::geteuid().as_raw() {
        format!("owned by another user, {}", facts.uid())
    } else if facts.mode() & OTHERS_MASK != 0 {
        format!("open to other users (mode {:04o})", facts.mode() & 0o7777)
    } else {
        return Ok(true);
    };
    Err(RuntimeFileError::UnsafeFolder { path: folder.to_owned(), fault })
}

/// Writes a new file that only its owner can read; fails if there is one.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// When the OS process began, in clock ticks since the machine did; none if it is not alive.
fn os_process_start(os_pid: u32) -> io::Result<Option<u64>> {
    match fs::read(proc_stat(os_pid)) {
        Ok(stat) => match state_and_start(&String::from_utf8_lossy(&stat)) {
            // Ended, and waits only for its parent to notice.
            Some(("Z" | "X" | "x", _)) => Ok(None),
            Some((_, start)) => Ok(Some(start)),
            None => Err(io::Error::other("not the status of an OS process")),
        },
        // No such process: before the open, or between the open and the read. But where there is
        // no /proc at all nothing is known of anyone.
        Err(error) if is_gone(&error) && Path::new("/proc/self/stat").exists() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Fields 3 and 22 of the text of `/proc/<pid>/stat`: the state and the start time.
fn state_and_start(stat: &str) -> Option<(&str, u64)> {
    // Field 2 is the program's name in parentheses, and may have spaces and parentheses itself.
    let mut from_third = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    Some((from_third.next()?, from_third.nth(18)?.parse().ok()?))
}

fn proc_stat(os_pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{os_pid}/stat"))
}

fn is_gone(error: &io::Error) -> bool {
    let no_process = rustix::io::Errno::SRCH.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(no_process)
}

fn failed(path: &Path, source: io::Error) -> RuntimeFileError {
    RuntimeFileError::Io { path: path.to_owned(), source }
}

const FILE_EXTENSION: &str = "json";
/// Begins with a dot, as no pool name does.
const DRAFT_NAME: &str = ".draft";

/// The bits of a mode that let the group or others do anything at all.
const OTHERS_MASK: u32 = 0o077;

/// A file name has at most 255 bytes.
const NAME_BYTES_MAX: usize = 200;

const LOCK_TRIES_MAX: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::{self, Command, Stdio};

    use super::*;

    fn pool(name: &str, os_pid: u32) -> RunningPool {
        RunningPool {
            name: name.to_owned(),
            master: format!("{name}@localhost"),
            address: "[::1]:4369".parse().unwrap(),
            os_pid,
            cookie: Cookie::new("topsecret"),
            heartbeat: None,
        }
    }

    fn own(name: &str) -> RunningPool {
        pool(name, process::id())
    }

    /// A place where the folder can be made, and the folder.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("pspawn");
        (place, folder)
    }

    /// An OS process that waits until it is killed.
    fn sleeper() -> process::Child {
        Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap()
    }

    /// Leaves the file of a pool whose OS process has ended since.
    fn leave_stale_file(folder: &Path, name: &str) -> PathBuf {
        let mut child = sleeper();
        let published = pool(name, child.id()).publish_in(folder).unwrap();
        let path = published.path().to_owned();
        std::mem::forget(published);
        child.kill().unwrap();
        child.wait().unwrap();
        path
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_published_pool_is_found_until_it_is_dropped() {
        let (_place, folder) = place();
        let published = own("demo").publish_in(&folder).unwrap();
        assert_eq!(published.path(), folder.join("demo.json"));
        assert_eq!((mode(&folder), mode(published.path())), (0o700, 0o600));
        assert!(!format!("{published:?}").contains("topsecret"));
        for name in [None, Some("demo")] {
            let found = RunningPool::find_in(&folder, name).unwrap();
            assert_eq!((found.name.as_str(), found.master.as_str()), ("demo", "demo@localhost"));
            assert_eq!(
                (found.address, found.os_pid),
                ("[::1]:4369".parse().unwrap(), process::id())
            );
            assert_eq!(found.cookie.bytes(), b"topsecret");
        }
        drop(published);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing stays behind");
        let error = RunningPool::find_in(&folder, None).unwrap_err();
        assert!(error.to_string().contains(folder.to_str().unwrap()), "{error}");
    }

    #[test]
    fn where_no_pool_ever_ran_none_runs() {
        let (_place, folder) = place();
        assert!(matches!(
            RunningPool::find_in(&folder, None),
            Err(RuntimeFileError::NoneRunning { looked_in }) if looked_in == folder
        ));
        assert!(matches!(
            RunningPool::find_in(&folder, Some("demo")),
            Err(RuntimeFileError::NotRunning { name }) if name == "demo"
        ));
        assert!(!folder.exists(), "looking makes no folder");
    }

    #[test]
    fn among_several_pools_one_is_found_by_name() {
        let (_place, folder) = place();
        let _b = own("b").publish_in(&folder).unwrap();
        let _a = own("a").publish_in(&folder).unwrap();
        let error = RunningPool::find_in(&folder, None).unwrap_err();
        assert_eq!(error.to_string(), "several pools are running (a, b): use --pool NAME");
        assert_eq!(RunningPool::find_in(&folder, Some("a")).unwrap().name, "a");
        assert!(matches!(
            RunningPool::find_in(&folder, Some("c")),
            Err(RuntimeFileError::NotRunning { .. })
        ));
    }

    #[test]
    fn a_name_is_taken_while_its_process_lives() {
        let (_place, folder) = place();
        let first = own("demo").publish_in(&folder).unwrap();
        match own("demo").publish_in(&folder) {
            Err(RuntimeFileError::AlreadyRunning { name, os_pid }) => {
                assert_eq!((name.as_str(), os_pid), ("demo", process::id()));
            }
            other => panic!("{other:?}"),
        }
        assert!(RunningPool::find_in(&folder, Some("demo")).is_ok());
        drop(first);
        assert!(own("demo").publish_in(&folder).is_ok());
    }

    #[test]
    fn rf_1_the_file_of_a_dead_process_is_replaced_or_removed() {
        let (_place, folder) = place();
        leave_stale_file(&folder, "demo");
        let published = own("demo").publish_in(&folder).unwrap();
        assert_eq!(RunningPool::find_in(&folder, None).unwrap().os_pid, process::id());
        drop(published);

        for name in [None, Some("demo")] {
            let path = leave_stale_file(&folder, "demo");
            assert!(RunningPool::find_in(&folder, name).is_err());
            assert!(!path.exists());
        }
    }

    #[test]
    fn rf_1_a_pid_that_was_used_again_is_not_the_pool() {
        let (_place, folder) = place();
        let published = own("demo").publish_in(&folder).unwrap();
        let mut entry = Entry::read(published.path()).unwrap().unwrap();
        entry.os_start += 1;
        fs::write(published.path(), serde_json::to_string(&entry).unwrap()).unwrap();
        assert!(RunningPool::find_in(&folder, None).is_err());
        assert!(!published.path().exists());
    }

    #[test]
    fn rf_1_a_process_that_nobody_has_waited_for_is_dead() {
        let (_place, folder) = place();
        let mut child = sleeper();
        let _published = pool("demo", child.id()).publish_in(&folder).unwrap();
        assert!(RunningPool::find_in(&folder, None).is_ok());
        child.kill().unwrap();
        // Waits for the end without taking the zombie away.
        let pid = rustix::process::Pid::from_child(&child);
        let options =
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
        let found = RunningPool::find_in(&folder, None);
        child.wait().unwrap();
        assert!(matches!(found, Err(RuntimeFileError::NoneRunning { .. })), "{found:?}");
    }

    #[test]
    fn rf_2_of_many_pools_of_one_name_one_wins() {
        let (_place, folder) = place();
        leave_stale_file(&folder, "demo");
        let outcomes: Vec<_> = thread::scope(|scope| {
            let publish = || own("demo").publish_in(&folder);
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(publish)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        assert!(
            lost.iter().all(|o| matches!(o, Err(RuntimeFileError::AlreadyRunning { .. }))),
            "{lost:?}"
        );
    }

    #[test]
    fn drop_leaves_a_file_that_is_no_longer_ours() {
        let (_place, folder) = place();
        let published = own("demo").publish_in(&folder).unwrap();
        fs::remove_file(published.path()).unwrap();
        let mut other = own("demo");
        other.address = "127.0.0.1:1".parse().unwrap();
        let other = other.publish_in(&folder).unwrap();
        drop(published);
        assert!(other.path().exists());
    }

    #[test]
    fn a_draft_that_a_crash_left_is_no_hindrance() {
        let (_place, folder) = place();
        create_folder(&folder).unwrap();
        fs::write(folder.join(DRAFT_NAME), "half").unwrap();
        fs::write(folder.join("README"), "not ours").unwrap();
        let _published = own("demo").publish_in(&folder).unwrap();
        assert_eq!(RunningPool::find_in(&folder, None).unwrap().name, "demo");
        assert!(!folder.join(DRAFT_NAME).exists());
    }

    #[test]
    fn a_folder_that_others_could_use_is_refused() {
        #[track_caller]
        fn refused(folder: &Path, fault: &str) {
            for error in [
                own("demo").publish_in(folder).unwrap_err(),
                RunningPool::find_in(folder, None).unwrap_err(),
                RunningPool::find_in(folder, Some("demo")).unwrap_err(),
            ] {
                assert!(matches!(error, RuntimeFileError::UnsafeFolder { .. }), "{error:?}");
                assert!(error.to_string().contains(folder.to_str().unwrap()), "{error}");
                assert!(error.to_string().contains(fault), "{error}");
            }
        }
        let (place, folder) = place();
        create_folder(&folder).unwrap();
        let link = place.path().join("link");
        symlink(&folder, &link).unwrap();
        refused(&link, "a symbolic link");
        for mode in [0o750, 0o705, 0o777] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            refused(&folder, &format!("mode {mode:04o}"));
        }
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        refused(&file, "not a directory");
        // Only root can give a folder away.
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
            std::os::unix::fs::chown(&folder, Some(12345), None).unwrap();
            refused(&folder, "owned by another user, 12345");
        }
    }

    #[test]
    fn names_that_make_no_file_name_are_refused() {
        let (_place, folder) = place();
        for name in ["", ".", "..", ".a", "a/b", "../a", "a b", "é", "a\0", &"x".repeat(201)] {
            let published = own(name).publish_in(&folder);
            assert!(matches!(published, Err(RuntimeFileError::BadName { .. })), "{name:?}");
            let found = RunningPool::find_in(&folder, Some(name));
            assert!(matches!(found, Err(RuntimeFileError::BadName { .. })), "{name:?}");
        }
        assert!(own("a-b_c.d9").publish_in(&folder).is_ok());
    }

    #[test]
    fn a_file_that_is_not_ours_is_named_and_not_quoted() {
        let (_place, folder) = place();
        let published = own("demo").publish_in(&folder).unwrap();
        let path = published.path();
        fs::write(path, "{\n  \"cookie\": \"topsecret\"\n}").unwrap();
        for error in [
            RunningPool::find_in(&folder, None).unwrap_err(),
            RunningPool::find_in(&folder, Some("demo")).unwrap_err(),
            own("demo").publish_in(&folder).unwrap_err(),
        ] {
            assert!(error.to_string().starts_with(&format!("{}:2:", path.display())), "{error}");
            assert!(!format!("{error:?} {error}").contains("topsecret"), "{error:?}");
        }
    }

    #[test]
    fn a_dead_process_has_no_pool_to_publish() {
        let (_place, folder) = place();
        let mut child = sleeper();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(
            pool("demo", child.id()).publish_in(&folder),
            Err(RuntimeFileError::NoProcess { os_pid }) if os_pid == child.id()
        ));
    }

    #[test]
    fn the_start_time_is_field_22_whatever_the_program_is_called() {
        let tail = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        assert_eq!(state_and_start(&format!("7 (a) R 1) S {tail}")), Some(("S", 4242)));
        for broken in ["", "7 (a", "7 (a)", "7 (a) S 1 2 3", "7 (a) S x x"] {
            assert_eq!(state_and_start(broken), None, "{broken:?}");
        }
        assert!(os_process_start(process::id()).unwrap().is_some());
    }

    #[test]
    fn the_folder_is_in_the_runtime_dir_or_in_tmp() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().to_owned();
        assert_eq!(folder_for(Some(path.clone())), path.join("pspawn"));
        let uid = rustix::process::geteuid().as_raw();
        let tmp = PathBuf::from(format!("/tmp/pspawn-{uid}"));
        for useless in [None, Some(""), Some("relative"), Some("/no/such/place")] {
            assert_eq!(folder_for(useless.map(PathBuf::from)), tmp);
        }
    }
}

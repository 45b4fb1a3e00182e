//! Which directories a master opens to its pool, and how what is below them is reached.
//!
//! FI-1: a path leads to nothing but what is below a shared directory, whoever moves links and directories
//! about meanwhile: the kernel resolves it, in one step, from a directory that was opened when the pool
//! started.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, ftruncate, openat2, statat,
};
use rustix::io::Errno;

use super::cell::lock;
use crate::term::{FileEntry, FileInfo, FileKind, NodeName, Refusal};

/// The directories that a node opens to its pool, in the order in which they were named. A slave has none.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    dirs: Vec<Share>,
    /// How many files each node of the pool has open.
    in_use: Mutex<HashMap<NodeName, usize>>,
}

#[derive(Debug)]
struct Share {
    /// What it is called: its own absolute path, and that by which it was named.
    names: Vec<PathBuf>,
    dir: OwnedFd,
    writable: bool,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// Made, or emptied.
    Create,
    /// Made, or written on from its end.
    Append,
}

impl Shares {
    /// Opens the directories; each may be written to or not.
    ///
    /// # Errors
    /// The one that cannot be opened, and why.
    pub(crate) fn open(dirs: &[(PathBuf, bool)]) -> Result<Shares, (PathBuf, io::Error)> {
        let open = |(path, writable): &(PathBuf, bool)| {
            Share::open(path, *writable).map_err(|why| (path.clone(), why))
        };
        let dirs = dirs.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Shares { dirs, in_use: Mutex::default() })
    }

    /// The right of a node to have one file more open, until it is dropped.
    ///
    /// FI-4: so no node uses up the descriptors that the master talks to all the others with.
    pub(crate) fn admit(self: &Arc<Self>, node: NodeName) -> Result<InUse, Refusal> {
        let mut in_use = lock(&self.in_use);
        let count = in_use.entry(node).or_default();
        if *count >= OPEN_MAX {
            return Err(Refusal::TooMany { max: OPEN_MAX as u64 });
        }
        *count += 1;
        Ok(InUse { shares: self.clone(), node })
    }

    /// Opens a regular file; what is none is refused, and does not keep anybody waiting.
    pub(crate) fn file(&self, path: &Path, access: Access) -> Result<File, Refusal> {
        let (share, rest) = self.place(path)?;
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Create | Access::Append if !share.writable => return Err(Refusal::ReadOnly),
            Access::Create => OFlags::WRONLY | OFlags::CREATE,
            Access::Append => OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND,
        };
        // Looked at before it is opened: to open a device may already do something.
        match self.resolve(share, rest, OFlags::PATH) {
            Ok(there) => regular(&there)?,
            Err(Refusal::NotFound) if access != Access::Read => {}
            Err(why) => return Err(why),
        }
        let file = self.resolve(share, rest, flags | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        regular(&file)?;
        if access == Access::Create {
            ftruncate(&file, 0)?;
        }
        Ok(File::from(file))
    }

    /// Opens a directory to be listed.
    pub(crate) fn listing(&self, path: &Path) -> Result<Listing, Refusal> {
        let (share, rest) = self.place(path)?;
        let dir = self.resolve(share, rest, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Listing(Dir::new(dir)?))
    }

    /// Says what is there.
    pub(crate) fn stat(&self, path: &Path) -> Result<FileInfo, Refusal> {
        let (share, rest) = self.place(path)?;
        let stat = fstat(self.resolve(share, rest, OFlags::PATH)?)?;
        let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
        let since = Duration::from_secs(stat.st_mtime.unsigned_abs());
        let nanos = Duration::from_nanos(nanos.into());
        let modified = match stat.st_mtime {
            0.. => UNIX_EPOCH.checked_add(since + nanos),
            _ => UNIX_EPOCH.checked_sub(since).and_then(|time| time.checked_add(nanos)),
        };
        Ok(FileInfo {
            kind: kind(&stat),
            len: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: modified.unwrap_or(UNIX_EPOCH),
            shared_for_writing: share.writable,
        })
    }

    /// The share that a path is below, and the path from there.
    fn place<'a>(&self, path: &'a Path) -> Result<(&Share, &'a Path), Refusal> {
        let names: Vec<&[PathBuf]> = self.dirs.iter().map(|share| &share.names[..]).collect();
        let (share, rest) = place(&names, path).ok_or_else(|| self.not_allowed())?;
        Ok((&self.dirs[share], rest))
    }

    fn resolve(&self, share: &Share, rest: &Path, flags: OFlags) -> Result<OwnedFd, Refusal> {
        let mode = match flags.contains(OFlags::CREATE) {
            true => Mode::from_raw_mode(NEW_FILE_MODE),
            false => Mode::empty(),
        };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..ATTEMPTS_MAX {
            match openat2(&share.dir, rest, flags | OFlags::CLOEXEC, mode, beneath) {
                Ok(fd) => return Ok(fd),
                // Something was renamed on the way: the kernel cannot vouch for the path.
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::XDEV) => return Err(self.not_allowed()),
                Err(why) => return Err(why.into()),
            }
        }
        Err(Errno::AGAIN.into())
    }

    fn not_allowed(&self) -> Refusal {
        let name = |share: &Share| share.names[0].display().to_string();
        Refusal::NotAllowed { shared: self.dirs.iter().map(name).collect() }
    }
}

impl Share {
    fn open(path: &Path, writable: bool) -> io::Result<Share> {
        let own = std::fs::canonicalize(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&own, flags, Mode::empty())?;
        let mut names = vec![own];
        let named = std::path::absolute(path)?;
        if named != names[0] {
            names.push(named);
        }
        Ok(Share { names, dir, writable })
    }
}

/// A file that a node has open, as it is counted.
#[derive(Debug)]
pub(crate) struct InUse {
    shares: Arc<Shares>,
    node: NodeName,
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = lock(&self.shares.in_use).entry(self.node) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// An open directory.
pub(crate) struct Listing(Dir);

impl Listing {
    /// The next entries, in the order of the file system; fewer than `entries_max` are the last.
    pub(crate) fn next(&mut self, entries_max: usize) -> Result<Vec<FileEntry>, Refusal> {
        let mut entries = Vec::new();
        while entries.len() < entries_max {
            let Some(entry) = self.0.read() else { break };
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            match statat(self.0.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entries.push(FileEntry {
                    name: name.to_owned(),
                    kind: kind(&stat),
                    len: u64::try_from(stat.st_size).unwrap_or_default(),
                }),
                Err(Errno::NOENT) => {} // removed meanwhile
                Err(why) => return Err(why.into()),
            }
        }
        Ok(entries)
    }
}

/// Of shares with these names the one that a path is below, and the path from there; none if it is
/// below none of them, or goes up. A relative one is below the first.
fn place<'a>(shares: &[&[PathBuf]], path: &'a Path) -> Option<(usize, &'a Path)> {
    if path.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    let (share, rest) = if path.is_absolute() {
        let named =
            shares.iter().enumerate().flat_map(|(at, names)| names.iter().map(move |n| (at, n)));
        let below = named.filter_map(|(at, name)| Some((at, path.strip_prefix(name).ok()?)));
        // The innermost, if one is below another.
        below.min_by_key(|(_, rest)| rest.as_os_str().len())?
    } else {
        (0, path)
    };
    let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
    (share < shares.len()).then_some((share, rest))
}

fn regular(fd: impl AsFd) -> Result<(), Refusal> {
    match kind(&fstat(fd)?) {
        FileKind::File => Ok(()),
        other => Err(Refusal::NotAFile(other)),
    }
}

fn kind(stat: &Stat) -> FileKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => FileKind::Other,
    }
}

impl From<Errno> for Refusal {
    fn from(why: Errno) -> Refusal {
        match why {
            Errno::NOENT => Refusal::NotFound,
            Errno::ROFS => Refusal::ReadOnly,
            why => Refusal::Os(why.raw_os_error()),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(why: io::Error) -> Refusal {
        Errno::from_io_error(&why).unwrap_or(Errno::IO).into()
    }
}

/// Files and directories that one node may have open at a time.
const OPEN_MAX: usize = 256;
/// What a new file may be used for, less what the master's umask takes away.
const NEW_FILE_MODE: u32 = 0o666;
/// As often a path is resolved anew whose directories are renamed at that moment.
const ATTEMPTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_the_first_share_or_the_one_it_names_fi1() {
        let shares: [&[PathBuf]; 3] =
            [&["/a".into(), "/link".into()], &["/a/b".into()], &["/c".into()]];
        let at =
            |path| place(&shares, Path::new(path)).map(|(at, rest)| (at, rest.to_str().unwrap()));
        assert_eq!(at("x/y"), Some((0, "x/y")));
        assert_eq!(at(""), Some((0, ".")));
        assert_eq!(at("/a"), Some((0, ".")));
        assert_eq!(at("/a/x"), Some((0, "x")));
        assert_eq!(at("/link/x"), Some((0, "x")));
        assert_eq!(at("/a/b/x"), Some((1, "x")), "the innermost");
        assert_eq!(at("/a/bc"), Some((0, "bc")));
        assert_eq!(at("/c/./x"), Some((2, "x")));
        assert_eq!(at("/d/x"), None);
        assert_eq!(at("/"), None);
        assert_eq!(at("../x"), None);
        assert_eq!(at("x/../y"), None, "it may go up, if x is a link");
        assert_eq!(at("/a/../etc"), None);
        assert_eq!(place(&[], Path::new("x")), None, "nothing is shared");
    }

    #[test]
    fn each_node_has_so_many_files_open_and_no_more_fi4() {
        let shares = Arc::<Shares>::default();
        let [one, other] = ["a@here", "b@here"].map(|name| name.parse::<NodeName>().unwrap());
        let mut open: Vec<InUse> =
            (0..OPEN_MAX).map(|_| shares.admit(one).expect("one more")).collect();
        assert_eq!(shares.admit(one).err(), Some(Refusal::TooMany { max: 256 }));
        let _others = shares.admit(other).expect("it has its own");
        open.pop();
        open.push(shares.admit(one).expect("one was closed"));
        assert!(shares.admit(one).is_err());
        open.clear();
        assert_eq!(lock(&shares.in_use).len(), 1, "nothing is kept of who has none open");
    }
}

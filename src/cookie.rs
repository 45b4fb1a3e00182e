//! The cookie: the secret that the nodes of one pool share.

use std::env;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The secret that the nodes of one pool share: whoever knows it may join and start actors.
///
/// It is not printed by `Debug`, and has no `==`: two nodes find out whether theirs are equal by
/// the handshake, which gives nothing away.
#[derive(Clone, Serialize, Deserialize)]
pub struct Cookie(Vec<u8>);

impl Cookie {
    /// A cookie of exactly these bytes.
    ///
    /// Nothing is checked: that the secret is long enough to be one is up to the caller.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Cookie {
        Cookie(bytes.into())
    }

    /// A fresh cookie: 32 random bytes, written as 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`CookieError::NoRandomness`] if the operating system has no random bytes to give.
    pub fn random() -> Result<Cookie, CookieError> {
        let secret: [u8; RANDOM_BYTES] = random_bytes()?;
        Ok(Cookie(hex(&secret).into_bytes()))
    }

    /// The cookie in the file at `path`, without one newline at its end.
    ///
    /// # Errors
    /// [`CookieError::Exposed`] if anyone but the file's owner may read or write it,
    /// [`CookieError::TooShort`] and [`CookieError::TooLong`] if the content cannot be meant as a
    /// cookie, [`CookieError::Unreadable`] if there is no such file or it may not be read.
    pub fn from_file(path: &Path) -> Result<Cookie, CookieError> {
        let unreadable = |source| CookieError::Unreadable { path: path.to_owned(), source };
        // Not blocking: the open of a named pipe would wait for a writer before we could refuse it.
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file =
            OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(unreadable)?;
        // Of the open file, not of the path, which may have become another file meanwhile.
        let facts = file.metadata().map_err(unreadable)?;
        if !facts.is_file() {
            return Err(unreadable(io::Error::other("not a regular file")));
        }
        if facts.mode() & OTHERS_MASK != 0 {
            return Err(CookieError::Exposed {
                path: path.to_owned(),
                mode: facts.mode() & 0o7777,
            });
        }

        let mut bytes = Vec::new();
        file.take(COOKIE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > COOKIE_BYTES_MAX {
            return Err(CookieError::TooLong { path: path.to_owned() });
        }
        if bytes.pop_if(|last| *last == b'\n').is_some() {
            bytes.pop_if(|last| *last == b'\r');
        }
        if bytes.len() < COOKIE_BYTES_MIN {
            return Err(CookieError::TooShort { path: path.to_owned(), bytes: bytes.len() });
        }
        Ok(Cookie(bytes))
    }

    /// The cookie in `$HOME/.pspawn.cookie`; the first to ask makes the file, with a random cookie
    /// and mode 0600.
    ///
    /// Of several OS processes that ask at once, all get the same one.
    ///
    /// # Errors
    /// [`CookieError::NoHome`] if `$HOME` is not set, [`CookieError::NotCreated`] if the file is
    /// missing and cannot be made, else as [`Cookie::from_file`].
    pub fn from_home() -> Result<Cookie, CookieError> {
        let home = env::var_os("HOME").filter(|home| !home.is_empty());
        Cookie::from_home_in(Path::new(&home.ok_or(CookieError::NoHome)?))
    }

    /// As [`Cookie::from_home`], with `home` in the place of `$HOME`.
    ///
    /// # Errors
    /// As [`Cookie::from_home`].
    pub fn from_home_in(home: &Path) -> Result<Cookie, CookieError> {
        let path = home.join(FILE_NAME);
        match Cookie::from_file(&path) {
            Err(CookieError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Cookie::random()?.create_file(&path)?;
                // Read back, also by the one who made it: the file is what all agree on.
                Cookie::from_file(&path)
            }
            found => found,
        }
    }

    /// The secret itself.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Makes the file at `path` with this cookie, unless there is one by now.
    fn create_file(&self, path: &Path) -> Result<(), CookieError> {
        let not_created = |source| CookieError::NotCreated { path: path.to_owned(), source };
        let suffix: [u8; 8] = random_bytes()?;
        let draft = path.with_file_name(format!("{FILE_NAME}.{}", hex(&suffix)));

        // CO-1: the file appears under its name whole or not at all, and is never replaced: a link
        // to a finished draft fails if there is a file, where a rename would put a second secret in
        // the place of one that others have read.
        let linked = write_private(&draft, &self.0).and_then(|()| fs::hard_link(&draft, path));
        // Also after a failed write. A draft that stays behind is private and hurts nobody.
        let _ = fs::remove_file(&draft);
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(not_created(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(..)")
    }
}

/// Why there is no cookie.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// Others than its owner may read or write the file.
    #[error(
        "{0} is open to other users (mode {mode:04o}): run chmod 600 {0}",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is empty, or too short for a secret.
    #[error(
        "the cookie in {} has {bytes} bytes: write {COOKIE_BYTES_MIN} or more, or remove the file",
        path.display()
    )]
    TooShort {
        /// The file.
        path: PathBuf,
        /// How many bytes it has, the newline at the end not counted.
        bytes: usize,
    },
    /// The file is too long to be a cookie.
    #[error("{} is no cookie file: it has more than {COOKIE_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file is not there, is no file, or may not be read.
    #[error("cannot read the cookie in {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file was missing, and making it failed.
    #[error("cannot create the cookie file {}: {source}", path.display())]
    NotCreated {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// `$HOME` is not set, so there is no place for the cookie.
    #[error("no place for the cookie file ~/{FILE_NAME}: HOME is not set")]
    NoHome,
    /// The operating system gives no random bytes.
    #[error("cannot make a random cookie: {source}")]
    NoRandomness {
        /// What the operating system says.
        source: io::Error,
    },
}

fn random_bytes<const N: usize>() -> Result<[u8; N], CookieError> {
    let mut bytes = [0; N];
    // As a text: the crate's own error type stays out of our interface.
    getrandom::fill(&mut bytes).map_err(|error| CookieError::NoRandomness {
        source: io::Error::other(error.to_string()),
    })?;
    Ok(bytes)
}

/// Writes a new file that only its owner can read; fails if there is one.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.write_all(b"\n")?;
    // Before the name appears: after a loss of power an empty cookie would lock everyone out.
    file.sync_all()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const FILE_NAME: &str = ".pspawn.cookie";

/// The bits of a file's mode that let the group or others do anything at all.
const OTHERS_MASK: u32 = 0o077;

const RANDOM_BYTES: usize = 32;
const COOKIE_BYTES_MIN: usize = 8;
const COOKIE_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    use super::*;

    fn file_with(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cookie");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[track_caller]
    fn secret(content: &[u8]) -> Vec<u8> {
        let (_folder, path) = file_with(content, 0o600);
        Cookie::from_file(&path).unwrap().bytes().to_owned()
    }

    #[test]
    fn debug_never_shows_the_secret() {
        assert_eq!(format!("{:?}", Cookie::new("topsecret")), "Cookie(..)");
        assert!(!format!("{:#?}", Some(Cookie::new("s"))).contains('s'));
    }

    #[test]
    fn random_cookies_are_64_hex_digits_and_differ() {
        let (a, b) = (Cookie::random().unwrap(), Cookie::random().unwrap());
        assert_eq!(a.bytes().len(), 64);
        assert!(a.bytes().iter().all(u8::is_ascii_hexdigit));
        assert_ne!(a.bytes(), b.bytes());
    }

    #[test]
    fn one_newline_at_the_end_is_not_part_of_the_cookie() {
        for content in ["12345678", "12345678\n", "12345678\r\n"] {
            assert_eq!(secret(content.as_bytes()), b"12345678");
        }
        assert_eq!(secret(b"12345678\n\n"), b"12345678\n");
        assert_eq!(secret(b"\xFF\x002345678"), b"\xFF\x002345678");
    }

    #[test]
    fn a_file_open_to_others_is_refused_and_says_what_to_do() {
        for mode in [0o640, 0o604, 0o620, 0o644, 0o677] {
            let (_folder, path) = file_with(b"12345678", mode);
            let said = Cookie::from_file(&path).unwrap_err().to_string();
            assert!(said.contains(&format!("chmod 600 {}", path.display())), "{said}");
            assert!(said.contains(&format!("{mode:04o}")), "{said}");
        }
        let (_folder, path) = file_with(b"12345678", 0o400);
        assert!(Cookie::from_file(&path).is_ok());
    }

    #[test]
    fn files_that_hold_no_cookie_are_refused_by_name() {
        for (content, bytes) in [(&b""[..], 0), (b"\n", 0), (b"1234567\n", 7)] {
            let (_folder, path) = file_with(content, 0o600);
            let error = Cookie::from_file(&path).unwrap_err();
            assert!(error.to_string().contains(path.to_str().unwrap()));
            assert!(matches!(error, CookieError::TooShort { bytes: b, .. } if b == bytes));
        }
        let (_folder, path) = file_with(&[b'x'; COOKIE_BYTES_MAX + 1], 0o600);
        assert!(matches!(Cookie::from_file(&path), Err(CookieError::TooLong { .. })));
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [pipe, folder.path().to_owned(), folder.path().join("gone")] {
            let error = Cookie::from_file(&path).unwrap_err();
            assert!(error.to_string().contains(path.to_str().unwrap()));
            assert!(matches!(error, CookieError::Unreadable { .. }));
        }
    }

    #[test]
    fn the_home_cookie_is_made_once_and_private() {
        let home = tempfile::tempdir().unwrap();
        let first = Cookie::from_home_in(home.path()).unwrap();
        let second = Cookie::from_home_in(home.path()).unwrap();
        assert_eq!(first.bytes(), second.bytes());
        assert_eq!(first.bytes().len(), 64);
        let names: Vec<_> = fs::read_dir(home.path()).unwrap().map(|e| e.unwrap()).collect();
        assert_eq!(names.len(), 1, "no draft stays behind: {names:?}");
        assert_eq!(names[0].file_name(), ".pspawn.cookie");
        assert_eq!(names[0].metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn co_1_all_who_ask_at_once_get_the_same_cookie() {
        for _ in 0..20 {
            let home = tempfile::tempdir().unwrap();
            let asked: Vec<Vec<u8>> = thread::scope(|scope| {
                let ask = || Cookie::from_home_in(home.path()).unwrap().bytes().to_owned();
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(asked.windows(2).all(|pair| pair[0] == pair[1]));
        }
    }

    #[test]
    fn a_home_cookie_that_is_broken_or_cannot_be_made_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let gone = home.path().join("gone");
        assert!(matches!(Cookie::from_home_in(&gone), Err(CookieError::NotCreated { .. })));

        // A link to nowhere: nothing to read, and nothing we may put in its place.
        let path = home.path().join(".pspawn.cookie");
        std::os::unix::fs::symlink(&gone, &path).unwrap();
        assert!(matches!(Cookie::from_home_in(home.path()), Err(CookieError::Unreadable { .. })));

        fs::remove_file(&path).unwrap();
        fs::write(&path, "short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(Cookie::from_home_in(home.path()), Err(CookieError::TooShort { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"short");
    }

    #[test]
    fn a_cookie_survives_being_handed_over() {
        let cookie = Cookie::new(*b"\x00\xFF34567890");
        let text = serde_json::to_string(&cookie).unwrap();
        let back: Cookie = serde_json::from_str(&text).unwrap();
        assert_eq!(back.bytes(), cookie.bytes());
    }
}

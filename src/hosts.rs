//! `.hosts.erlang`: the hosts that a pool starts its slaves on, found and read as Erlang does.
//!
//! The file is a list of host names, each an Erlang atom or string with a full stop behind it:
//!
//! ```text
//! % The machines of the lab.
//! localhost.
//! 'build-1.example.org'.
//! "ops@[2001:db8::7]:2222".
//! ```
//!
//! Rules with an H are those of `SEMANTICS.md`. Two things differ from Erlang on purpose. A term
//! that cannot be a host name is refused here, with its place in the file, while Erlang hands it on
//! and fails in the middle of starting slaves (H4, H13). And `"a" "b".` is not taken as `"ab".`:
//! far more often it is a forgotten full stop.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A `.hosts.erlang` that was found and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsFile {
    path: PathBuf,
    hosts: Vec<HostEntry>,
}

impl HostsFile {
    /// The first `.hosts.erlang` among: the current directory, `$HOME`, the directory of the
    /// running executable.
    ///
    /// The first file found is the only one read, even when it is empty or broken (H8). "Current"
    /// is what it is at the time of the call (H10).
    ///
    /// # Errors
    /// [`HostsError::NotFound`] when none of the places has one, else as [`HostsFile::read`].
    pub fn find() -> Result<HostsFile, HostsError> {
        let here = env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let home = env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        // H9: Erlang looks in the root directory of its installation last; for us that is where
        // the executable is.
        let root = env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));

        let mut folders: Vec<PathBuf> = Vec::new();
        for folder in [Some(here), home, root].into_iter().flatten() {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        HostsFile::find_in(&folders)
    }

    /// The first `.hosts.erlang` among `folders`, in their order.
    ///
    /// # Errors
    /// As [`HostsFile::find`].
    pub fn find_in(folders: &[PathBuf]) -> Result<HostsFile, HostsError> {
        let mut searched = Vec::new();
        for folder in folders {
            let path = folder.join(FILE_NAME);
            match HostsFile::read(&path) {
                // H11: only a name that is not there lets the search go on. What is there and
                // cannot be read was meant to be read.
                Err(HostsError::Unreadable { path, source }) if is_absence(&source) => {
                    searched.push(path);
                }
                found => return found,
            }
        }
        Err(HostsError::NotFound { searched })
    }

    /// The hosts in the file at `path`.
    ///
    /// # Errors
    /// [`HostsError::Unreadable`] if there is no such file, it is a directory, or may not be read;
    /// [`HostsError::Malformed`] if it is not UTF-8, else as [`HostsFile::parse`].
    pub fn read(path: &Path) -> Result<HostsFile, HostsError> {
        let bytes = fs::read(path)
            .map_err(|source| HostsError::Unreadable { path: path.to_owned(), source })?;
        match str::from_utf8(&bytes) {
            Ok(text) => HostsFile::parse(path, text),
            Err(error) => {
                let (good, bad) = bytes.split_at(error.valid_up_to());
                let mut scanner = Scanner::new(path, str::from_utf8(good).unwrap_or_default());
                while scanner.take().is_some() {}
                let byte = bad.first().copied().unwrap_or_default();
                Err(scanner.malformed(scanner.at, "UTF-8 text", format!("the byte {byte:#04x}")))
            }
        }
    }

    /// The hosts in `text`; `path` only names the file in the result and in errors.
    ///
    /// Order and repeats are kept (H1). A text with comments alone has no hosts, and is fine (H2).
    ///
    /// # Errors
    /// [`HostsError::Malformed`] at the first thing that is not a host name with a full stop behind
    /// it; the good part before it is not used either (H5).
    pub fn parse(path: &Path, text: &str) -> Result<HostsFile, HostsError> {
        let mut scanner = Scanner::new(path, text);
        let mut hosts = Vec::new();
        scanner.skip_blanks();
        while !scanner.rest.is_empty() {
            hosts.push(scanner.entry()?);
            scanner.skip_blanks();
        }
        Ok(HostsFile { path: path.to_owned(), hosts })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The hosts, in the order of the file, repeats included.
    #[must_use]
    pub fn hosts(&self) -> &[HostEntry] {
        &self.hosts
    }
}

/// One host of a [`HostsFile`]: `host`, `user@host`, `host:port` or `user@host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    host: String,
    user: Option<String>,
    port: Option<u16>,
    line: usize,
}

impl HostEntry {
    /// A host by its name alone, whatever is in it.
    pub(crate) fn named(host: &str) -> HostEntry {
        HostEntry { host: host.to_owned(), user: None, port: None, line: 0 }
    }

    /// The name or address of the host; an IPv6 address comes without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The user to log in as, where the file names one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The port of the remote shell, where the file names one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The line of the file that the entry begins on; the first is 1, and 0 is that of no file.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Takes `user@host:port` apart. The error says what was expected instead.
    fn from_name(name: &str, line: usize) -> Result<HostEntry, &'static str> {
        // As ssh does it: a user name may have an '@', a host name may not.
        let (user, address) = match name.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, name),
        };
        let (host, port) = if let Some(bracketed) = address.strip_prefix('[') {
            let (host, behind) =
                bracketed.split_once(']').ok_or("a ']' behind the IPv6 address")?;
            if !is_ipv6(host) {
                return Err("an IPv6 address between '[' and ']'");
            }
            match behind.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if behind.is_empty() => (host, None),
                None => return Err("nothing or ':' and a port behind the ']'"),
            }
        } else if is_ipv6(address) {
            (address, None)
        } else {
            match address.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => {
                    return Err("one ':' before the port, and IPv6 addresses as in '[::1]:22'");
                }
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            }
        };
        if host.is_empty() {
            return Err("a host name that is not empty");
        }
        if user.is_some_and(str::is_empty) {
            return Err("a user name before the '@'");
        }
        // Both end up on the command line of a remote shell, where a leading dash makes an option:
        // a .hosts.erlang that came with somebody's archive must not be able to run programs here.
        if host.starts_with('-') || user.is_some_and(|user| user.starts_with('-')) {
            return Err("host and user names that do not begin with a dash");
        }
        let port = match port {
            Some(digits) => Some(port_number(digits).ok_or("a port from 1 to 65535")?),
            None => None,
        };
        Ok(HostEntry { host: host.to_owned(), user: user.map(str::to_owned), port, line })
    }
}

impl fmt::Display for HostEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.user.iter().try_for_each(|user| write!(f, "{user}@"))?;
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl FromStr for HostEntry {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<HostEntry, BadHost> {
        HostEntry::from_name(text, 0)
            .map_err(|expected| BadHost { text: text.to_owned(), expected })
    }
}

/// A text that names no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no host: expected {expected}, as in h2, ops@h2, h2:2222 or ops@[2001:db8::7]:2222"
)]
pub struct BadHost {
    text: String,
    expected: &'static str,
}

/// Why there is no list of hosts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostsError {
    /// None of the places has a `.hosts.erlang` (H7).
    #[error(
        "no .hosts.erlang: looked for {}; write one, e.g. echo \"localhost.\" > .hosts.erlang, \
         or start slaves on this machine alone: --local N, or Pool::builder(name).local(N)",
        listed(searched)
    )]
    NotFound {
        /// The files looked for, in the order of the search.
        searched: Vec<PathBuf>,
    },
    /// The file is there but cannot be read; also when the name is that of a directory (H11).
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is not a list of host names.
    #[error("{}:{line}:{column}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line of the fault; the first is 1.
        line: usize,
        /// The character of that line; the first is 1.
        column: usize,
        /// What may stand there.
        expected: String,
        /// What does, and a hint what to write instead where there is one.
        found: String,
    },
}

/// Whether `host` means the machine we run on: `localhost`, a loopback address, or the machine's
/// own host name, short or full, in any case.
///
/// No name server is asked, so a full name is only known where the machine itself was given it.
#[must_use]
pub fn is_this_host(host: &str) -> bool {
    let mut own = vec![rustix::system::uname().nodename().to_string_lossy().into_owned()];
    if let Ok(text) = fs::read_to_string("/etc/hostname") {
        own.push(text.trim().to_owned());
    }
    means_one_of(host, &own)
}

/// The name of this machine for use in node names; `localhost` if it has none that fits there.
#[must_use]
pub fn own_host_name() -> String {
    let uname = rustix::system::uname();
    match uname.nodename().to_str() {
        Ok(name) if fits_node_name(name) => name.to_owned(),
        Ok(_) | Err(_) => "localhost".to_owned(),
    }
}

/// Reads terms off the front of `rest` and knows where in the file that is.
struct Scanner<'a> {
    path: &'a Path,
    rest: &'a str,
    at: Place,
}

/// A line and a character of it, both counted from 1.
#[derive(Clone, Copy)]
struct Place {
    line: usize,
    column: usize,
}

impl<'a> Scanner<'a> {
    fn new(path: &'a Path, text: &'a str) -> Scanner<'a> {
        Scanner { path, rest: text, at: Place { line: 1, column: 1 } }
    }

    /// One host name and its full stop.
    fn entry(&mut self) -> Result<HostEntry, HostsError> {
        let at = self.at;
        let term = self.rest;
        let name = match self.peek() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote)?,
            Some(first) if is_atom_start(first) => {
                let word = self.take_while(is_atom_part);
                if RESERVED.split(' ').any(|reserved| reserved == word) {
                    let found = format!("the reserved word {word}: quote it, '{word}'.");
                    return Err(self.malformed(at, HOST_EXPECTED, found));
                }
                word.to_owned()
            }
            Some(_) | None => return Err(self.no_host_name()),
        };
        self.full_stop(term)?;
        HostEntry::from_name(&name, at.line)
            .map_err(|expected| self.malformed(at, expected, format!("{:?}", shortened(&name))))
    }

    /// An atom or a string in quotes, without them.
    fn quoted(&mut self, quote: char) -> Result<String, HostsError> {
        let opened = self.at;
        self.take();
        let mut name = String::new();
        loop {
            match self.take() {
                Some(c) if c == quote => return Ok(name),
                Some('\\') if !self.rest.is_empty() => name.push(self.escaped()?),
                Some(c) => name.push(c),
                // The place of the opening quote: the end of the file is far from the fault.
                None => {
                    let expected = format!("a closing {quote} for the name that begins here");
                    return Err(self.malformed(opened, expected, END_OF_FILE));
                }
            }
        }
    }

    /// What an escape stands for; its backslash has been taken, and is not the file's last byte.
    fn escaped(&mut self) -> Result<char, HostsError> {
        let at = self.at;
        let sequence = self.rest;
        let code = match self.take() {
            Some('n') => Some(0x0A),
            Some('t') => Some(0x09),
            Some('r') => Some(0x0D),
            Some('s') => Some(0x20),
            Some('b') => Some(0x08),
            Some('d') => Some(0x7F),
            Some('e') => Some(0x1B),
            Some('f') => Some(0x0C),
            Some('v') => Some(0x0B),
            Some('x') if self.peek() == Some('{') => {
                self.take();
                let code = code_point(self.take_while(|c| c.is_ascii_hexdigit()), 16);
                if self.take() == Some('}') { code } else { None }
            }
            Some('x') => {
                let digits = self.take_at_most(2, |c| c.is_ascii_hexdigit());
                if digits.len() == 2 { code_point(digits, 16) } else { None }
            }
            Some(digit @ '0'..='7') => {
                let more = self.take_at_most(2, |c| matches!(c, '0'..='7'));
                code_point(&format!("{digit}{more}"), 8)
            }
            // The control characters, \^A to \^_ and delete.
            Some('^') => match self.take() {
                Some('?') => Some(0x7F),
                Some(c @ ('@'..='_' | 'a'..='z')) => Some(c as u32 & 0x1F),
                Some(_) | None => None,
            },
            Some(c) => Some(c as u32),
            None => None,
        };
        code.and_then(char::from_u32).ok_or_else(|| {
            let taken = &sequence[..sequence.len() - self.rest.len()];
            let expected = r"an escape as \n, \', \\, \101, \x41 or \x{41}";
            self.malformed(at, expected, format!("\"\\{}\"", shortened(taken)))
        })
    }

    /// The full stop behind the host name that the text `term` began with.
    fn full_stop(&mut self, term: &'a str) -> Result<(), HostsError> {
        let name = &term[..term.len() - self.rest.len()];
        self.skip_blanks();
        let spaced = term.len() - self.rest.len() > name.len();

        let mut ahead = self.rest.chars();
        let next = ahead.next();
        let behind = ahead.next();
        // H1, H3: white space, a comment or the end of the file makes a dot a full stop.
        if next == Some('.') && behind.is_none_or(|c| c == '%' || is_blank(c)) {
            self.take();
            return Ok(());
        }

        let forgotten = "end every host name with a full stop";
        let Some(next) = next else {
            return Err(self.malformed(
                self.at,
                STOP_EXPECTED,
                format!("{END_OF_FILE}: {forgotten}"),
            ));
        };
        // H6: `my-host.` and `a.b.c.` are no atoms. Show what the author meant.
        let meant = word_at(term);
        let hint = if spaced {
            format!(": {forgotten}")
        } else if meant.len() > name.len() {
            format!(": quote names with dots or dashes, '{meant}'.")
        } else {
            String::new()
        };
        let (expected, found) = match (next, behind) {
            ('.', Some(behind)) => {
                ("'.' and white space after the host name", format!("{:?}", format!(".{behind}")))
            }
            (next, _) if next.is_alphanumeric() => {
                (STOP_EXPECTED, format!("{:?}", word_at(self.rest)))
            }
            (next, _) => (STOP_EXPECTED, format!("{:?}", next.to_string())),
        };
        Err(self.malformed(self.at, expected, found + &hint))
    }

    /// The error for a term that begins like no host name; says which sort of term it is.
    fn no_host_name(&self) -> HostsError {
        let word = word_at(self.rest);
        let mut ahead = self.rest.chars();
        let found = match (ahead.next(), ahead.next()) {
            (Some('0'..='9'), _) | (Some('-' | '+'), Some('0'..='9')) => {
                if let Some(digits) = self.rest[word.len()..].strip_prefix('#') {
                    format!("the number {word}#{}", word_at(digits))
                } else if word.parse::<f64>().is_ok() {
                    format!("the number {word}")
                } else {
                    format!("{word:?}: quote names that begin with a digit, '{word}'.")
                }
            }
            (Some('{'), _) => "a tuple".to_owned(),
            (Some('['), _) => "a list".to_owned(),
            (Some('#'), Some('{')) => "a map".to_owned(),
            (Some('<'), Some('<')) => "a binary".to_owned(),
            (Some('$'), Some(_)) => "a character".to_owned(),
            (Some('\u{FEFF}'), _) => {
                "a byte order mark: save the file as UTF-8 without one".to_owned()
            }
            (Some(first), _) if first == '_' || first.is_uppercase() => {
                format!("the variable {word}: quote names that begin so, '{word}'.")
            }
            (Some(first), _) => format!("{:?}", first.to_string()),
            (None, _) => END_OF_FILE.to_owned(),
        };
        self.malformed(self.at, HOST_EXPECTED, found)
    }

    /// Skips white space and comments.
    fn skip_blanks(&mut self) {
        while let Some(next) = self.peek() {
            if next == '%' {
                self.take_while(|c| c != '\n');
            } else if is_blank(next) {
                self.take();
            } else {
                break;
            }
        }
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        self.take_at_most(usize::MAX, fits)
    }

    fn take_at_most(&mut self, chars_max: usize, fits: impl Fn(char) -> bool) -> &'a str {
        let before = self.rest;
        let mut taken = 0;
        while taken < chars_max && self.peek().is_some_and(&fits) {
            self.take();
            taken += 1;
        }
        &before[..before.len() - self.rest.len()]
    }

    fn take(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.rest = &self.rest[next.len_utf8()..];
        if next == '\n' {
            self.at = Place { line: self.at.line + 1, column: 1 };
        } else {
            self.at.column += 1;
        }
        Some(next)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn malformed(
        &self,
        at: Place,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> HostsError {
        HostsError::Malformed {
            path: self.path.to_owned(),
            line: at.line,
            column: at.column,
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// White space as Erlang's scanner has it.
fn is_blank(c: char) -> bool {
    matches!(c, '\0'..=' ' | '\u{80}'..='\u{A0}')
}

/// What an atom without quotes may begin with: the small letters of Latin-1.
fn is_atom_start(c: char) -> bool {
    matches!(c, 'a'..='z' | 'ß'..='ö' | 'ø'..='ÿ')
}

/// What an atom without quotes may go on with.
fn is_atom_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ÿ')
}

/// The front of `text` that its author most likely meant as one host name or number.
fn word_at(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && !"-_.@:+".contains(c));
    shortened(text[..end.unwrap_or(text.len())].trim_end_matches(['.', ':', '-']))
}

/// At most the first characters of `text`, for a message of a length one can read.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(FOUND_CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}

/// The number that `digits` write; none if there are no digits, or too many for any character.
fn code_point(digits: &str, radix: u32) -> Option<u32> {
    u32::from_str_radix(digits, radix).ok()
}

fn is_ipv6(address: &str) -> bool {
    // The zone, as in fe80::1%eth0, is the remote shell's to check.
    let (digits, zone) = address.split_once('%').unwrap_or((address, "none"));
    !zone.is_empty() && digits.parse::<Ipv6Addr>().is_ok()
}

fn port_number(digits: &str) -> Option<u16> {
    let only_digits = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|&port| only_digits && port > 0)
}

/// Whether the error means that there is no such file, as opposed to one that cannot be read.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn listed(paths: &[PathBuf]) -> String {
    let texts: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    texts.join(", then ")
}

/// Whether `host` is a loopback name or address, or one of the names that a machine has.
fn means_one_of(host: &str, own: &[String]) -> bool {
    // The dot of the root of all names.
    let host = host.strip_suffix('.').unwrap_or(host);
    if let Ok(address) = host.parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let is_own = |name: &String| {
        // "box" for "box.example.org", but not the other way round: there may be a "box" elsewhere.
        let short = name.split_once('.').map_or(name.as_str(), |(short, _)| short);
        host.eq_ignore_ascii_case(name) || host.eq_ignore_ascii_case(short)
    };
    !host.is_empty() && (host.eq_ignore_ascii_case("localhost") || own.iter().any(is_own))
}

fn fits_node_name(host: &str) -> bool {
    !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

const FILE_NAME: &str = ".hosts.erlang";

const HOST_EXPECTED: &str = "a host name as atom or string";
const STOP_EXPECTED: &str = "'.' after the host name";
const END_OF_FILE: &str = "the end of the file";

/// The longest piece of the file that an error shows: as long as a host name may be.
const FOUND_CHARS_MAX: usize = 255;

/// Words that Erlang keeps for itself; as atoms they need quotes.
const RESERVED: &str = "after and andalso band begin bnot bor bsl bsr bxor case catch cond div end \
                        fun if let not of or orelse receive rem try when xor";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<HostsFile, HostsError> {
        HostsFile::parse(Path::new("/x/.hosts.erlang"), text)
    }

    #[track_caller]
    fn names(text: &str) -> Vec<String> {
        parse(text).unwrap().hosts().iter().map(|entry| entry.host().to_owned()).collect()
    }

    /// The message without the path in front.
    #[track_caller]
    fn refusal(text: &str) -> String {
        let error = parse(text).unwrap_err().to_string();
        error.strip_prefix("/x/.hosts.erlang:").unwrap().to_owned()
    }

    #[track_caller]
    fn only_entry(text: &str) -> (Option<String>, String, Option<u16>) {
        let file = parse(text).unwrap();
        let [entry] = file.hosts() else { panic!("{text:?} has {:?}", file.hosts()) };
        (entry.user().map(str::to_owned), entry.host().to_owned(), entry.port())
    }

    fn write(folder: &Path, text: &[u8]) -> PathBuf {
        let path = folder.join(".hosts.erlang");
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn h1_terms_end_with_a_dot_and_blank_and_order_and_repeats_are_kept() {
        let text = "% the lab\nlocalhost. 'b.c'.%note\n\"d\" .\r\n'b.c'\n.\ta1_B@c.";
        assert_eq!(names(text), ["localhost", "b.c", "d", "b.c", "c"]);
        let lines: Vec<usize> = parse(text).unwrap().hosts().iter().map(HostEntry::line).collect();
        assert_eq!(lines, [2, 2, 3, 4, 5]);
        assert_eq!(parse(text).unwrap().path(), Path::new("/x/.hosts.erlang"));
    }

    #[test]
    fn h2_empty_or_comments_alone_are_no_hosts() {
        for text in ["", "\n \t\r\n", "% nothing", "% nothing\n%\n\u{A0}"] {
            assert!(names(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn h3_the_last_dot_may_be_the_last_byte_but_must_be_there() {
        assert_eq!(names("a. b."), ["a", "b"]);
        let said = "expected '.' after the host name, found the end of the file: \
                    end every host name with a full stop";
        assert_eq!(refusal("a. b"), format!("1:5: {said}"));
        assert_eq!(refusal("a.\n'b' % x"), format!("2:8: {said}"));
    }

    #[test]
    fn h4_h13_other_terms_are_refused_by_what_they_are() {
        for (text, found) in [
            ("5.", "the number 5"),
            ("-1.5.", "the number -1.5"),
            ("16#ff.", "the number 16#ff"),
            ("{a, b}.", "a tuple"),
            ("[a].", "a list"),
            ("#{}.", "a map"),
            ("<<\"a\">>.", "a binary"),
            ("$a.", "a character"),
            ("(a).", "\"(\""),
            (".", "\".\""),
            ("end.", "the reserved word end: quote it, 'end'."),
            ("127.0.0.1.", "\"127.0.0.1\": quote names that begin with a digit, '127.0.0.1'."),
            ("\u{FEFF}a.", "a byte order mark: save the file as UTF-8 without one"),
        ] {
            let expected = format!("2:2: expected a host name as atom or string, found {found}");
            assert_eq!(refusal(&format!("a.\n {text}")), expected, "{text:?}");
        }
    }

    #[test]
    fn h5_an_error_anywhere_refuses_the_whole_file() {
        assert!(parse("a. b. c d. e.").is_err());
        assert_eq!(
            refusal("a\nlocalhost."),
            "2:1: expected '.' after the host name, found \"localhost\": \
             end every host name with a full stop"
        );
        assert!(refusal("\"a\" \"b\".").contains("end every host name with a full stop"));
    }

    #[test]
    fn h6_dots_dashes_and_capitals_need_quotes() {
        assert_eq!(
            parse("a.\nb.\n    my-host.").unwrap_err().to_string(),
            "/x/.hosts.erlang:3:7: expected '.' after the host name, found \"-\": \
             quote names with dots or dashes, 'my-host'."
        );
        assert_eq!(
            refusal("a.b.c."),
            "1:2: expected '.' and white space after the host name, found \".b\": \
             quote names with dots or dashes, 'a.b.c'."
        );
        assert_eq!(
            refusal("X."),
            "1:1: expected a host name as atom or string, found the variable X: \
             quote names that begin so, 'X'."
        );
        assert!(refusal("'a''b'.").ends_with("found \"'\""));
        assert!(refusal("a.'b'.").ends_with("found \".'\""));
    }

    #[test]
    fn h7_no_file_anywhere_names_every_place_and_the_next_step() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = b.path().join("file");
        fs::write(&file, "").unwrap();
        let folders = [a.path().to_owned(), b.path().to_owned(), file, a.path().join("gone")];
        let error = HostsFile::find_in(&folders).unwrap_err();
        let said = error.to_string();
        let HostsError::NotFound { searched } = error else { panic!("{error:?}") };
        assert_eq!(searched, folders.map(|folder| folder.join(".hosts.erlang")));
        assert!(searched.iter().all(|path| said.contains(path.to_str().unwrap())), "{said}");
        assert!(said.contains("echo \"localhost.\" > .hosts.erlang, or start slaves on this machine alone: --local N, or Pool::builder(name).local(N)"), "{said}");
    }

    #[test]
    fn h8_the_first_file_found_is_the_only_one_read() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = [a.path().to_owned(), b.path().to_owned()];
        let second = write(b.path(), b"b.");
        assert_eq!(HostsFile::find_in(&folders).unwrap().path(), second);

        let first = write(a.path(), b"");
        let found = HostsFile::find_in(&folders).unwrap();
        assert_eq!((found.path(), found.hosts()), (first.as_path(), &[][..]));

        write(a.path(), b"broken");
        assert!(matches!(HostsFile::find_in(&folders), Err(HostsError::Malformed { .. })));
    }

    #[test]
    fn h11_a_directory_of_that_name_ends_the_search() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = a.path().join(".hosts.erlang");
        fs::create_dir(&folder).unwrap();
        write(b.path(), b"b.");
        match HostsFile::find_in(&[a.path().to_owned(), b.path().to_owned()]) {
            Err(HostsError::Unreadable { path, source }) => {
                assert_eq!((path, source.kind()), (folder, io::ErrorKind::IsADirectory));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn h14_strings_and_quoted_atoms_have_erlangs_escapes() {
        for (escape, meant) in [
            (r"\n", "\n"),
            (r"\t\r\s\b\d\e\f\v", "\t\r \u{8}\u{7F}\u{1B}\u{C}\u{B}"),
            (r"\'", "'"),
            (r#"\""#, "\""),
            (r"\\", "\\"),
            (r"\x41\x{1F600}\x{0041}", "A\u{1F600}A"),
            (r"\101\0\18\1011", "A\0\u{1}8A1"),
            (r"\^a\^A\^?", "\u{1}\u{1}\u{7F}"),
            (r"\q\.", "q."),
            ("\\\nb\nc", "\nb\nc"),
        ] {
            assert_eq!(names(&format!("'h{escape}'.")), [format!("h{meant}")], "{escape:?}");
            assert_eq!(names(&format!("\"h{escape}\".")), [format!("h{meant}")], "{escape:?}");
        }
        for escape in [r"\x4", r"\xg1", r"\x{}", r"\x{41", r"\x{110000}", r"\x{d800}", r"\^é"] {
            let said = refusal(&format!("'h{escape}'."));
            assert!(said.starts_with("1:4: expected an escape as"), "{said}");
        }
    }

    #[test]
    fn an_error_quotes_no_more_than_a_host_name_is_long() {
        let long = "x".repeat(100_000);
        for text in [format!("a {long}"), format!("'-{long}'."), format!("9{long}.")] {
            assert!(refusal(&text).len() < 1000);
        }
    }

    #[test]
    fn an_open_quote_is_named_by_where_it_opens() {
        for text in ["a.\n 'b.\nc.\n", "a.\n 'b\\'", "a.\n 'b\\"] {
            let said = "2:2: expected a closing ' for the name that begins here, \
                        found the end of the file";
            assert_eq!(refusal(text), said);
        }
    }

    #[test]
    fn a_name_may_carry_user_and_port() {
        let entry =
            |user: Option<&str>, host: &str, port| (user.map(str::to_owned), host.to_owned(), port);
        for (text, expected) in [
            ("'a.b:22'.", entry(None, "a.b", Some(22))),
            ("\"ops@a.b\".", entry(Some("ops"), "a.b", None)),
            ("'ops@a.b:2222'.", entry(Some("ops"), "a.b", Some(2222))),
            ("'ops@corp@a.b'.", entry(Some("ops@corp"), "a.b", None)),
            ("ops@localhost.", entry(Some("ops"), "localhost", None)),
            ("'::1'.", entry(None, "::1", None)),
            ("'[::1]'.", entry(None, "::1", None)),
            ("'ops@[fe80::1%eth0]:65535'.", entry(Some("ops"), "fe80::1%eth0", Some(65535))),
        ] {
            assert_eq!(only_entry(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_host_is_refused() {
        for (text, expected) in [
            ("''.", "a host name that is not empty"),
            ("\"\".", "a host name that is not empty"),
            ("'ops@'.", "a host name that is not empty"),
            ("':22'.", "a host name that is not empty"),
            ("'@a'.", "a user name before the '@'"),
            ("'a:'.", "a port from 1 to 65535"),
            ("'a:0'.", "a port from 1 to 65535"),
            ("'a:+1'.", "a port from 1 to 65535"),
            ("'a:65536'.", "a port from 1 to 65535"),
            ("'a:b:1'.", "one ':' before the port, and IPv6 addresses as in '[::1]:22'"),
            ("'[::1'.", "a ']' behind the IPv6 address"),
            ("'[a]'.", "an IPv6 address between '[' and ']'"),
            ("'[::1]22'.", "nothing or ':' and a port behind the ']'"),
            ("'-oProxyCommand=x'.", "host and user names that do not begin with a dash"),
            ("'-l@a'.", "host and user names that do not begin with a dash"),
        ] {
            let said = refusal(&format!("\n {text}"));
            assert!(said.starts_with(&format!("2:2: expected {expected}, found \"")), "{said}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_with_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), b"a.\n'\xC3\xA9' % \xFF\n");
        let said = HostsFile::read(&path).unwrap_err().to_string();
        assert_eq!(
            said,
            format!("{}:2:7: expected UTF-8 text, found the byte 0xff", path.display())
        );
    }

    #[test]
    fn loopback_and_own_names_are_this_host() {
        let own = ["box.Example.org".to_owned()];
        for host in ["localhost", "LocalHost", "localhost.", "127.0.0.1", "127.9.9.9", "::1"] {
            assert!(means_one_of(host, &own) && is_this_host(host), "{host}");
        }
        assert!(["box", "BOX", "BOX.example.org"].iter().all(|host| means_one_of(host, &own)));
        for host in ["", ".", "128.0.0.1", "::2", "bo", "box.example", "example.org", "0.0.0.0"] {
            assert!(!means_one_of(host, &own), "{host}");
        }
        assert!(!means_one_of("box.example.org", &["box".to_owned(), String::new()]));
    }

    #[test]
    fn the_own_host_name_is_this_host_and_fits_a_node_name() {
        assert!(is_this_host(&own_host_name()));
        assert!(fits_node_name(&own_host_name()));
        assert!(!fits_node_name("") && !fits_node_name("a b") && !fits_node_name("é"));
    }

    /// Any text that is a host name by itself: no user, no port, no option.
    fn host_names() -> impl Strategy<Value = String> {
        any::<String>().prop_map(|text| {
            let text: String = text.chars().filter(|c| !"@:[".contains(*c)).collect();
            format!("h{text}")
        })
    }

    fn rendered(host: &str, quote: char, hex: bool) -> String {
        let mut text = String::from(quote);
        for c in host.chars() {
            if c == quote || c == '\\' {
                text.extend(['\\', c]);
            } else if hex && !c.is_ascii_alphanumeric() {
                text.push_str(&format!("\\x{{{:x}}}", c as u32));
            } else {
                text.push(c);
            }
        }
        text.push(quote);
        text
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn texts_of_the_syntaxs_own_characters_are_parsed_or_refused(
            text in r#"[ab@:.%'"\\xX{}0-9 \n\[\]é#+^-]{0,40}"#
        ) {
            let _ = parse(&text);
        }

        #[test]
        fn rendered_hosts_parse_back(
            hosts in prop::collection::vec(
                (host_names(), prop::sample::select(vec!['\'', '"']), any::<bool>()), 0..8
            )
        ) {
            let render = |(host, quote, hex): &(String, char, bool)| rendered(host, *quote, *hex);
            let text: String = hosts.iter().map(|host| render(host) + ". ").collect();
            let written: Vec<String> = hosts.into_iter().map(|(host, ..)| host).collect();
            prop_assert_eq!(names(&text), written);
        }
    }
}

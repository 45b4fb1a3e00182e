//! The one message on a slave's standard input: what the guard must know, then what is the worker's.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::{self, Errno};

use super::timer::Timer;
use super::{GuardError, wait_for};

/// What a master writes to its guard, and the guard to its worker. All numbers are big-endian:
///
/// | bytes | what |
/// |---|---|
/// | 4 | length of all that follows, 8 to 1 MiB |
/// | 4 | how long the master may be silent, in milliseconds, not 0 |
/// | 4 | 0 from the master; the guard puts its own pid here for the worker |
/// | rest | the body, which the guard does not look into |
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) silence_max: Duration,
    pub(super) guard: u32,
    pub(super) body: Vec<u8>,
}

impl Letter {
    /// Takes one letter from `from`, and not a byte after it.
    pub(super) fn read(from: impl AsFd, within: Duration) -> Result<Letter, GuardError> {
        let timer = Timer::new().map_err(GuardError::system("a timer"))?;
        timer.start(within);
        let mut length = [0; 4];
        fill(&mut length, &from, &timer, within)?;
        let bytes = u32::from_be_bytes(length) as usize;
        if !(HEAD_BYTES..=LETTER_BYTES_MAX).contains(&bytes) {
            return Err(GuardError::BadLength { bytes });
        }
        let mut letter = vec![0; bytes];
        fill(&mut letter, &from, &timer, within)?;
        let body = letter.split_off(HEAD_BYTES);
        let (silence_ms, guard) = (be_u32(&letter[..4]), be_u32(&letter[4..]));
        if silence_ms == 0 {
            return Err(GuardError::NoLimit);
        }
        Ok(Letter { silence_max: Duration::from_millis(silence_ms.into()), guard, body })
    }

    /// The letter as it goes over a pipe.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, GuardError> {
        let bytes = HEAD_BYTES + self.body.len();
        let length = u32::try_from(bytes).ok().filter(|_| bytes <= LETTER_BYTES_MAX);
        let length = length.ok_or(GuardError::BadLength { bytes })?;
        let silence_ms = u32::try_from(self.silence_max.as_millis()).unwrap_or(u32::MAX);
        if silence_ms == 0 {
            return Err(GuardError::NoLimit);
        }
        let head = [length, silence_ms, self.guard];
        let head = head.iter().flat_map(|number| number.to_be_bytes());
        Ok(head.chain(self.body.iter().copied()).collect())
    }
}

fn fill(
    mut into: &mut [u8],
    from: impl AsFd,
    timer: &Timer,
    within: Duration,
) -> Result<(), GuardError> {
    while !into.is_empty() {
        let mut fds = [PollFd::new(&from, PollFlags::IN), PollFd::new(timer, PollFlags::IN)];
        wait_for(&mut fds, None).map_err(GuardError::system("waiting for the letter"))?;
        if fds[0].revents().is_empty() {
            if timer.fired() {
                return Err(GuardError::TimedOut { after: within });
            }
            continue;
        }
        match io::read(&from, &mut *into) {
            Ok(0) => return Err(GuardError::Closed),
            Ok(bytes) => into = &mut into[bytes..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(GuardError::system("reading the letter")(errno)),
        }
    }
    Ok(())
}

fn be_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

/// The two numbers before the body.
const HEAD_BYTES: usize = 8;

/// The longest letter, without its length.
const LETTER_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn through_a_pipe(bytes: &[u8]) -> (Result<Letter, GuardError>, Vec<u8>) {
        let (from, to) = rustix::pipe::pipe().unwrap();
        io::write(&to, bytes).unwrap();
        drop(to);
        let letter = Letter::read(&from, Duration::from_secs(5));
        let mut rest = [0; 64];
        let left = io::read(&from, &mut rest).unwrap();
        (letter, rest[..left].to_vec())
    }

    #[test]
    fn a_letter_arrives_as_it_was_sent_and_what_follows_stays_in_the_pipe() {
        let letter =
            Letter { silence_max: Duration::from_millis(1500), guard: 7, body: b"abc".to_vec() };
        let mut bytes = letter.to_bytes().unwrap();
        assert_eq!(bytes, *b"\0\0\0\x0b\0\0\x05\xdc\0\0\0\x07abc");
        bytes.extend(b"q");
        let (read, rest) = through_a_pipe(&bytes);
        assert_eq!(read.unwrap(), letter);
        assert_eq!(rest, b"q");
    }

    #[test]
    fn garbage_is_refused() {
        let read = |bytes: &[u8]| through_a_pipe(bytes).0.unwrap_err();
        assert!(matches!(read(b""), GuardError::Closed));
        assert!(matches!(read(b"\0\0\0\x09\0\0\0\x01\0\0"), GuardError::Closed));
        assert!(matches!(read(b"\0\0\0\x07\0\0\0"), GuardError::BadLength { bytes: 7 }));
        assert!(matches!(read(b"hello, guard"), GuardError::BadLength { .. }));
        assert!(matches!(read(b"\0\0\0\x08\0\0\0\0\0\0\0\0"), GuardError::NoLimit));
    }

    #[test]
    fn a_letter_too_long_or_without_limit_is_not_sent() {
        let letter = |silence_max, bytes| Letter { silence_max, guard: 0, body: vec![0; bytes] };
        let second = Duration::from_secs(1);
        assert!(letter(second, LETTER_BYTES_MAX - HEAD_BYTES).to_bytes().is_ok());
        let long = letter(second, LETTER_BYTES_MAX).to_bytes();
        assert!(matches!(long, Err(GuardError::BadLength { .. })));
        assert!(matches!(letter(Duration::ZERO, 0).to_bytes(), Err(GuardError::NoLimit)));
    }

    #[test]
    fn a_letter_that_does_not_come_is_not_waited_for_beyond_the_deadline() {
        let (from, _to) = rustix::pipe::pipe().unwrap();
        let letter = Letter::read(&from, Duration::from_millis(1));
        assert!(matches!(letter, Err(GuardError::TimedOut { .. })));
    }
}

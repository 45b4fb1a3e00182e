//! The log: slog records with the keys `node`, `pid`, `kind`, `reason`.
//!
//! Records are made on any thread, also on a node's IO thread; they are written by a thread of their own. As
//! long as standard error takes them, whoever makes one waits until it is written, so that the last words of an
//! OS process are not lost. Once it takes nothing, as a terminal that was stopped, nobody waits for it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slog::{Drain, Level, LevelFilter, Logger, o};

/// A logger that writes to standard error: warnings and worse, or what `PSPAWN_LOG` says (`error`,
/// `warning`, `info`, `debug`).
pub(crate) fn to_stderr() -> Logger {
    let asked = std::env::var("PSPAWN_LOG").ok();
    let level = asked.and_then(|level| level.parse().ok()).unwrap_or(Level::Warning);
    let decorator = slog_term::PlainSyncDecorator::new(Records::to(io::stderr()));
    let format = slog_term::FullFormat::new(decorator).build();
    Logger::root(LevelFilter::new(Mutex::new(format).ignore_res(), level).fuse(), o!())
}

/// Takes records for a thread that writes them; it ends with the last who has one of these.
struct Records {
    shared: Arc<Shared>,
    /// What of a record has come.
    part: Vec<u8>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    more: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// How many records came, and how many of them are done.
    taken: u64,
    done: u64,
    /// Records that found no room.
    lost: u64,
    /// Standard error takes nothing.
    stalled: bool,
    ended: bool,
}

impl Records {
    fn to(mut stderr: impl Write + Send + 'static) -> Records {
        let shared = Arc::<Shared>::default();
        let writer = shared.clone();
        let thread = std::thread::Builder::new().name("log".to_owned());
        if thread.spawn(move || writer.run(&mut stderr)).is_err() {
            shared.lock().ended = true; // no thread, no records
        }
        Records { shared, part: Vec::new() }
    }
}

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// The record is complete.
    fn flush(&mut self) -> io::Result<()> {
        self.shared.put(std::mem::take(&mut self.part));
        Ok(())
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.more.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, record: Vec<u8>) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        if state.bytes > WAITING_BYTES_MAX {
            state.lost += 1;
            return;
        }
        state.bytes += record.len();
        state.waiting.push_back(record);
        state.taken += 1;
        let mine = state.taken;
        self.more.notify_one();
        if state.stalled {
            return;
        }
        let unwritten = |state: &mut State| state.done < mine && !state.stalled;
        let waited = self.written.wait_timeout_while(state, PATIENCE, unwritten);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.done < mine && !state.stalled {
            state.stalled = true;
            self.written.notify_all(); // the others need not find out by themselves
        }
    }

    fn run(&self, to: &mut impl Write) {
        let mut state = self.lock();
        loop {
            if let Some(record) = state.waiting.pop_front() {
                drop(state);
                let _ = to.write_all(&record).and_then(|()| to.flush());
                state = self.lock();
                state.bytes -= record.len();
                state.done += 1;
                self.written.notify_all();
                continue;
            }
            state.stalled = false;
            match std::mem::take(&mut state.lost) {
                0 if state.ended => return,
                0 => state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner),
                lost => {
                    let text =
                        format!("{lost} log records were lost: standard error took nothing\n");
                    state.taken += 1;
                    state.bytes += text.len();
                    state.waiting.push_back(text.into_bytes());
                }
            }
        }
    }
}

/// How long a record may take until standard error counts as stalled.
const PATIENCE: Duration = Duration::from_millis(50);
/// What waits for a standard error that takes nothing, at most.
const WAITING_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    #[test]
    fn a_record_is_written_when_it_is_made_and_nobody_waits_for_one_who_takes_nothing() {
        let (go, may) = channel();
        let (written, lines) = channel();
        let mut records = Records::to(Paper { may, written });
        go.send(()).unwrap();
        records.record("one");
        assert_eq!(lines.try_recv().as_deref(), Ok("one\n"), "it was waited for");

        // Nobody reads. What has no room is counted.
        for _ in 0..10_000 {
            records.record(&"x".repeat(99));
        }
        let state = records.shared.lock();
        assert!(state.stalled && state.lost > 5_000 && state.bytes <= WAITING_BYTES_MAX + 100);
        drop(state);
        for _ in 0..10_000 {
            let _ = go.send(());
        }
        drop(records);
        let last = lines.iter().last().unwrap();
        assert!(last.ends_with("log records were lost: standard error took nothing\n"), "{last}");
    }

    /// Standard error that takes a line when it may.
    struct Paper {
        may: Receiver<()>,
        written: Sender<String>,
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.may.recv();
            let _ = self.written.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Records {
        fn record(&mut self, text: &str) {
            self.write_all(format!("{text}\n").as_bytes()).and_then(|()| self.flush()).unwrap();
        }
    }
}

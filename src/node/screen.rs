//! The screen: a thread that shows the lines which have come to this node, so that nobody else waits for a
//! slow terminal.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;
use slog::{Logger, warn};
use tokio::sync::Notify;

use super::cell::lock;
use super::clock::Clock;
use super::link::Link;
use super::outlet::Outlet;
use super::output::{OutputLine, Sink, lost_lines};
use crate::core::spool::{Next, Spool};
use crate::term::NodeName;
use crate::wire::{Control, Stream};

/// Where lines wait until they are shown.
pub(crate) struct Screen {
    node: NodeName,
    /// What actors of this node print here.
    pub(crate) own: Arc<Outlet>,
    state: Mutex<State>,
    /// There is something to show, or the end has come.
    more: Condvar,
    /// All is shown.
    done: Condvar,
    /// A line less waits.
    room: Notify,
}

struct State {
    spool: Spool<Waiting>,
    /// A line, or what is left to tell of earlier ones, is being written.
    writing: bool,
    /// How many lines were shown.
    shown: u64,
    /// Somebody wants to see all, repetitions included.
    settle: bool,
    closed: bool,
    /// The thread has ended, and nobody shows anything any more.
    gone: bool,
}

struct Waiting {
    line: OutputLine,
    source: Source,
}

/// Who is told that a line was shown.
pub(crate) enum Source {
    /// Nobody: a slave's pipe, which is not read while too much waits.
    Pipe,
    /// Actors of this node.
    Own,
    /// The node at the other end.
    Peer(Arc<Link>),
}

impl Screen {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the operating system says if it gives none.
    pub(crate) fn start(node: NodeName, sink: Sink, log: Logger) -> std::io::Result<Arc<Screen>> {
        let screen = Arc::new(Screen {
            node,
            own: Arc::default(),
            state: Mutex::new(State {
                spool: Spool::new(),
                writing: false,
                shown: 0,
                settle: false,
                closed: false,
                gone: false,
            }),
            more: Condvar::new(),
            done: Condvar::new(),
            room: Notify::new(),
        });
        let shown = screen.clone();
        std::thread::Builder::new()
            .name(format!("out {}", node.name()))
            .spawn(move || shown.run(&sink, &log))?;
        Ok(screen)
    }

    /// A line has come from this node.
    pub(crate) fn push(&self, from: NodeName, line: OutputLine, source: Source) {
        let bytes = line.line.len();
        let mut state = lock(&self.state);
        let pushed = match state.closed {
            true => return,
            false => state.spool.push(from, bytes, Waiting { line, source }),
        };
        drop(state);
        match pushed {
            Ok(()) => self.more.notify_one(),
            // It is done with: who counts what is under way is not to wait for it.
            Err(Waiting { source, .. }) => self.acknowledge(&source, bytes),
        }
    }

    /// Waits while too much of this node waits here.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn room(&self, from: NodeName) {
        if !self.is(|state| state.spool.is_high(from)) {
            return;
        }
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if self.is(|state| state.closed || state.spool.is_low(from)) {
                return;
            }
            room.await;
        }
    }

    /// Waits until all is shown that has come; false if nothing moves for [`STALLED`], or it never ends.
    pub(crate) fn settle(&self, rounds: u32) -> bool {
        let mut state = lock(&self.state);
        state.settle = true;
        self.more.notify_one();
        for _ in 0..rounds {
            let before = state.shown;
            let pending = |state: &mut State| !state.is_done() && !state.gone;
            let waited = self.done.wait_timeout_while(state, STALLED, pending);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.is_done() || state.shown == before {
                break;
            }
        }
        state.is_done()
    }

    /// The same, of async code.
    pub(crate) async fn settled(self: &Arc<Self>) -> bool {
        let (tell, told) = oneshot::channel();
        let screen = self.clone();
        let waiting = std::thread::Builder::new()
            .name(format!("wait {}", self.node.name()))
            .spawn(move || tell.send(screen.settle(ROUNDS_MAX)));
        waiting.is_ok() && told.await.unwrap_or_default()
    }

    /// Takes no more lines; the thread ends when it has shown those that wait.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.own.close();
        self.more.notify_one();
        self.room.notify_waiters();
    }

    fn is(&self, what: impl FnOnce(&State) -> bool) -> bool {
        what(&lock(&self.state))
    }

    /// All that the thread does.
    fn run(&self, sink: &Sink, log: &Logger) {
        let _gone = GoneOnDrop(self);
        let clock = Clock::start();
        let mut ticked = clock.now();
        let mut broken = false;
        let mut careful = |act: &mut dyn FnMut()| {
            // A sink of the user's that panics loses the line, and not all that come after it.
            if catch_unwind(AssertUnwindSafe(act)).is_err() && !broken {
                warn!(log, "panics: who shows the output");
                broken = true;
            }
        };
        while let Some(todo) = self.next(sink.waits()) {
            match todo {
                Todo::Show(Next::Line { bytes, line: Waiting { line, source } }) => {
                    careful(&mut || sink.show(&line));
                    self.acknowledge(&source, bytes);
                }
                Todo::Show(Next::Lost { from, lines }) => {
                    let line = lost_lines(from, lines);
                    let line = OutputLine { node: from, pid: None, stream: Stream::Err, line };
                    careful(&mut || sink.show(&line));
                }
                Todo::Tick => {}
                Todo::Settle => careful(&mut || sink.settle()),
            }
            self.room.notify_waiters();
            let now = clock.now();
            if sink.waits() && now >= ticked + TICK {
                careful(&mut || sink.tick());
                ticked = now;
            }
        }
        careful(&mut || sink.settle());
    }

    /// Waits for something to do; none at the end.
    fn next(&self, ticks: bool) -> Option<Todo> {
        let mut state = lock(&self.state);
        state.shown += u64::from(state.writing);
        state.writing = false;
        loop {
            let todo = match state.spool.next() {
                Some(next) => Some(Todo::Show(next)),
                None if std::mem::take(&mut state.settle) => Some(Todo::Settle),
                None => None,
            };
            if todo.is_some() {
                state.writing = true;
                return todo;
            }
            self.done.notify_all();
            if state.closed {
                return None;
            }
            if ticks {
                let waited = self.more.wait_timeout(state, TICK);
                let (woken, late) = waited.unwrap_or_else(PoisonError::into_inner);
                state = woken;
                if late.timed_out() {
                    return Some(Todo::Tick);
                }
            } else {
                state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn acknowledge(&self, source: &Source, bytes: usize) {
        match source {
            Source::Pipe => {}
            Source::Own => {
                if let Some(line) = self.own.shown(1, bytes, |lost| lost_lines(self.node, lost)) {
                    let node = self.node;
                    let line = OutputLine { node, pid: None, stream: Stream::Err, line };
                    self.push(node, line, Source::Own);
                }
            }
            Source::Peer(link) => {
                if let Some((lines, bytes)) = link.count_shown(bytes) {
                    link.tell(&Control::Shown { lines: lines as u64, bytes: bytes as u64 });
                }
            }
        }
    }
}

impl State {
    fn is_done(&self) -> bool {
        // Before its end the thread has shown repetitions too, whoever asks for them only now.
        self.spool.is_empty() && !self.writing && (!self.settle || self.gone)
    }
}

/// Says that the thread has ended, however it did.
struct GoneOnDrop<'a>(&'a Screen);

impl Drop for GoneOnDrop<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).gone = true;
        self.0.done.notify_all();
    }
}

enum Todo {
    Show(Next<Waiting>),
    /// Time has passed.
    Tick,
    Settle,
}

/// The moments in which repetitions are counted.
const TICK: Duration = Duration::from_millis(500);
/// A terminal that shows nothing for this long is not waited for.
pub(crate) const STALLED: Duration = Duration::from_secs(1);
/// One that shows a little is waited for as many times as long.
const ROUNDS_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_waits_for_a_screen_that_has_ended_does_not_wait() {
        let node: NodeName = "a@here".parse().unwrap();
        // It goes with the thread, which is the last to hold it.
        let (held, ended) = mpsc::channel::<()>();
        let sink = Sink::closure(move |_| drop(held.clone()));
        let screen = Screen::start(node, sink, Logger::root(slog::Discard, slog::o!())).unwrap();
        screen.close();
        assert!(ended.recv().is_err());
        assert!(screen.settle(ROUNDS_MAX), "all that has come is shown");
        assert!(screen.settle(1), "and stays it");
    }
}

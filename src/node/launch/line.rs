//! The master's end of what `guard/channel.rs` describes: a slave's life line, its output, and its tunnel.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::future::select;
use futures::{SinkExt, StreamExt};
use slog::warn;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, WriteHalf};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::timeout;

use super::{Said, pump};
use crate::node::Node;
use crate::node::connection::accept_tunnel;
use crate::node::guard::channel::{OUTPUT_QUANTUM, OUTPUT_QUANTUMS, Parser, Type, head};
use crate::node::stream::ByteStream;
use crate::term::Via;
use crate::wire::Stream;

/// A guard's standard input. Dropping it ends the slave and all that descends from it.
pub(crate) struct Line {
    orders: mpsc::Sender<ToGuard>,
    _open: oneshot::Sender<()>,
}

enum ToGuard {
    Frame(Vec<u8>),
    /// Everything before it has been written.
    Written(oneshot::Sender<()>),
}

impl Line {
    /// Asks the guard to end at once, and lets go of it.
    pub(crate) async fn end(mut self, within: Duration) {
        let (written, all_written) = oneshot::channel();
        let asked = async {
            self.orders.send(frame(Type::Quit, &[])).await.ok()?;
            self.orders.send(ToGuard::Written(written)).await.ok()?;
            all_written.await.ok()
        };
        let _ = timeout(within, asked).await; // that it is let go of says the same
    }
}

/// Takes over a guard's standard input and output. The future hands on all that it says, to its end.
pub(super) fn attach(
    node: Arc<Node>,
    said: Arc<Said>,
    to_guard: ChildStdin,
    from_guard: ChildStdout,
) -> (Line, impl Future<Output = ()> + 'static) {
    let (orders, taken) = mpsc::channel(WAITING_MAX);
    let (open, closed) = oneshot::channel();
    actix_rt::spawn(async move {
        select(Box::pin(write(to_guard, taken)), closed).await;
    });
    let hearing = hear(node, said, from_guard, orders.clone());
    (Line { orders, _open: open }, hearing)
}

async fn write(mut to_guard: ChildStdin, mut orders: mpsc::Receiver<ToGuard>) {
    while let Some(order) = orders.next().await {
        match order {
            ToGuard::Frame(frame) => {
                if to_guard.write_all(&frame).await.is_err() {
                    return;
                }
            }
            ToGuard::Written(tell) => drop(tell.send(())),
        }
    }
}

/// Hands on what a guard says. What is for the terminal never holds up the tunnel: the guard sends no more of it than
/// there is room for.
async fn hear(
    node: Arc<Node>,
    said: Arc<Said>,
    mut from_guard: ChildStdout,
    orders: mpsc::Sender<ToGuard>,
) {
    let taken = Rc::new(Cell::new(0));
    let shown = |stream| {
        let (output, lines) = tokio::io::duplex(OUTPUT_QUANTUM * OUTPUT_QUANTUMS);
        let lines = Counted { lines, taken: taken.clone(), orders: orders.clone() };
        (output, actix_rt::spawn(pump(lines, said.clone(), stream)))
    };
    let ((mut output, output_pumped), (mut errors, errors_pumped)) =
        (shown(Stream::Out), shown(Stream::Err));
    let mut tunnel: Option<WriteHalf<DuplexStream>> = None;
    let (mut parser, mut read, mut heard) = (Parser::default(), vec![0; 64 << 10], Vec::new());
    'hearing: loop {
        let bytes = match from_guard.read(&mut read).await {
            Ok(0) | Err(_) => break,
            Ok(bytes) => bytes,
        };
        let parsed = parser.take(&read[..bytes], |kind, piece| heard.push((kind, piece.to_vec())));
        for (kind, piece) in heard.drain(..) {
            match kind {
                // Neither waits: there is as much room as the guard was told of.
                Type::Output | Type::Errors => {
                    let to = if kind == Type::Output { &mut output } else { &mut errors };
                    if to.write_all(&piece).await.is_err() {
                        break 'hearing;
                    }
                }
                Type::Tunnel if piece.is_empty() => {
                    if let Some(mut tunnel) = tunnel.take() {
                        let _ = tunnel.shutdown().await; // nobody reads it any more
                    }
                }
                Type::Tunnel => {
                    let tunnel = tunnel.get_or_insert_with(|| open(&node, &said, orders.clone()));
                    let _ = tunnel.write_all(&piece).await; // its connection's end is noticed there
                }
                Type::Quit | Type::More => {}
            }
        }
        if let Err(why) = parsed {
            // It would go on without ever hearing that there is room again.
            warn!(node.log, "something else than its guard writes to a slave's standard output: ended"; "slave" => %said.slave, "reason" => %why);
            let _ = orders.clone().send(frame(Type::Quit, &[])).await; // who is let go of ends all the same
            break;
        }
    }
    drop((output, errors));
    let _ = futures::join!(output_pumped, errors_pumped);
}

/// A tunnel begins: a connection that comes in over the launch channel.
fn open(
    node: &Arc<Node>,
    said: &Said,
    mut orders: mpsc::Sender<ToGuard>,
) -> WriteHalf<DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(TUNNEL_BYTES);
    let origin = format!("{}, through its launcher", said.slave);
    let stream = ByteStream::whole(Via::Launcher, theirs);
    actix_rt::spawn(accept_tunnel(node.clone(), stream, said.slave, origin));
    let (mut from, to) = tokio::io::split(ours);
    actix_rt::spawn(async move {
        let mut read = vec![0; TUNNEL_BYTES];
        while let Ok(bytes @ 1..) = from.read(&mut read).await {
            if orders.send(frame(Type::Tunnel, &read[..bytes])).await.is_err() {
                return;
            }
        }
    });
    to
}

fn frame(kind: Type, payload: &[u8]) -> ToGuard {
    let mut frame = head(kind, payload.len()).to_vec();
    frame.extend_from_slice(payload);
    ToGuard::Frame(frame)
}

/// A reader that tells the guard when there is room for more.
struct Counted {
    lines: DuplexStream,
    /// Of both streams together.
    taken: Rc<Cell<usize>>,
    orders: mpsc::Sender<ToGuard>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.taken.get() >= OUTPUT_QUANTUM {
            match self.orders.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    self.taken.set(self.taken.get() - OUTPUT_QUANTUM);
                    let _ = self.orders.start_send(frame(Type::More, &[])); // it is ready
                }
                Poll::Ready(Err(_)) => self.taken.set(0), // the guard is let go of
                Poll::Pending => return Poll::Pending,
            }
        }
        let before = into.filled().len();
        let polled = Pin::new(&mut self.lines).poll_read(cx, into);
        self.taken.set(self.taken.get() + into.filled().len() - before);
        polled
    }
}

/// Frames that wait to be written to a guard.
const WAITING_MAX: usize = 4;
/// What waits in a tunnel, in each direction.
const TUNNEL_BYTES: usize = 64 << 10;

//! Accepts peers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use slog::{error, warn};
use tokio::net::TcpListener;

use super::{Node, connection};

/// Accepts peers until the node stops.
pub(crate) async fn listen(node: Arc<Node>, listener: std::net::TcpListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(why) => return error!(node.log, "cannot listen"; "reason" => %why),
    };
    let strangers = Rc::<RefCell<Strangers>>::default();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let (number, pushed_out) = strangers.borrow_mut().take_in();
                let (node, strangers) = (node.clone(), strangers.clone());
                actix_rt::spawn(async move {
                    connection::accept(node, stream, from, pushed_out, move || {
                        strangers.borrow_mut().let_go(number);
                    })
                    .await;
                });
            }
            Err(why) => {
                // Out of file descriptors, most likely: some of them come back.
                warn!(node.log, "cannot accept"; "reason" => %why);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Connections that have not proved anything yet, oldest first.
///
/// LS-1: each costs a small buffer until its greeting's deadline, and there are at most
/// [`STRANGERS_MAX`]. One more pushes the oldest out: a greeting takes a moment, so the oldest is most
/// likely one that says nothing, and those must not keep the others out.
#[derive(Default)]
struct Strangers {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Strangers {
    /// Takes one more; what is returned comes true when it is pushed out.
    fn take_in(&mut self) -> (u64, oneshot::Receiver<()>) {
        if self.waiting.len() >= STRANGERS_MAX {
            self.waiting.pop_first();
        }
        let (stay, pushed_out) = oneshot::channel();
        self.next += 1;
        self.waiting.insert(self.next, stay);
        (self.next, pushed_out)
    }

    fn let_go(&mut self, number: u64) {
        self.waiting.remove(&number);
    }
}

/// Connections at a time that have not yet proved anything.
const STRANGERS_MAX: usize = 256;
/// Before the next try when the operating system refuses to accept.
const PAUSE: Duration = Duration::from_millis(50);

//! Accepts peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use slog::{error, warn};
use tokio::net::TcpListener;

use super::{Node, connection};

/// Accepts peers until the node stops.
pub(crate) async fn listen(node: Arc<Node>, listener: std::net::TcpListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(why) => return error!(node.log, "cannot listen"; "reason" => %why),
    };
    let strangers = Arc::new(AtomicUsize::new(0));
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // Each stranger costs a small buffer until its greeting's deadline: bounded.
                if strangers.fetch_add(1, Ordering::AcqRel) >= STRANGERS_MAX {
                    strangers.fetch_sub(1, Ordering::AcqRel);
                    warn!(node.log, "refused: too many connections without a greeting"; "from" => %from);
                    continue;
                }
                let (node, strangers) = (node.clone(), strangers.clone());
                actix_rt::spawn(async move {
                    connection::accept(node, stream, from, move || {
                        strangers.fetch_sub(1, Ordering::AcqRel);
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

/// Connections at a time that have not yet proved anything.
const STRANGERS_MAX: usize = 256;
/// Before the next try when the operating system refuses to accept.
const PAUSE: Duration = Duration::from_millis(50);

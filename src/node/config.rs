//! A node's settings: every deadline and every bound in one place.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use slog::Logger;

use super::guard::LifeLine;
use super::launch::Launching;
use super::output::Sink;
use super::shares::Shares;
use super::tls::Authority;
use crate::cookie::Cookie;
use crate::term::{HostId, NodeName};
use crate::wire::Credentials;
use crate::wire::greeting::Part;

/// What a node is started with.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) name: NodeName,
    pub(crate) part: Part,
    pub(crate) cookie: Cookie,
    /// Where it listens for nodes of this host: on loopback, not encrypted.
    pub(crate) listen: SocketAddr,
    /// Where it listens for nodes of other hosts, by TLS; none: nowhere.
    pub(crate) listen_tls: Option<SocketAddr>,
    /// An address at which nodes of other hosts most likely reach it, if it listens at all of its own.
    pub(crate) likely_ip: Option<IpAddr>,
    /// Which nodes share its loopback.
    pub(crate) host: HostId,
    /// What it proves itself with to nodes of other hosts, from the start.
    pub(crate) credentials: Option<Credentials>,
    /// The pool's authority: on a master.
    pub(crate) authority: Option<Arc<Authority>>,
    /// Arbiters for actors of the user's.
    pub(crate) workers: usize,
    /// Guarded modules that may be started here.
    pub(crate) allow: Vec<String>,
    /// The only modules that are started here for other nodes; none: all.
    pub(crate) only: Option<Vec<String>>,
    pub(crate) times: Times,
    /// The longest frame that is sent or taken.
    pub(crate) frame_bytes_max: usize,
    pub(crate) log: Logger,
    pub(crate) output: Sink,
    /// A slave's way to tell its guard that it hears its master.
    pub(crate) life_line: Option<Arc<LifeLine>>,
    /// What a master starts as slaves; none: the running executable.
    pub(crate) program: Option<PathBuf>,
    /// What the pool was started with as arguments for its slaves.
    pub(crate) args: Vec<String>,
    pub(crate) launching: Launching,
    /// The directories whose files the pool may reach; only a master has any.
    pub(crate) shares: Arc<Shares>,
}

/// How long a node waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Times {
    /// A heartbeat goes over each connection this often.
    pub(crate) tick: Duration,
    /// A peer that is silent for this long is down.
    pub(crate) silence_max: Duration,
    /// A `send` that awaits an answer (rule G1).
    pub(crate) call: Duration,
    /// A spawn on any node, and a question about the pool.
    pub(crate) spawn: Duration,
    /// From dialing to the end of the greeting.
    pub(crate) greeting: Duration,
    /// From the launch of a slave until it is in the pool (rule P3).
    pub(crate) start: Duration,
    /// From the signal that ends an actor until it counts as ended, though its code has not stopped.
    pub(crate) zombie: Duration,
    /// From the order to end until the last OS process is gone; then by force.
    pub(crate) stop: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            tick: Duration::from_millis(500),
            silence_max: Duration::from_secs(3),
            call: Duration::from_secs(5),
            spawn: Duration::from_secs(10),
            greeting: Duration::from_secs(5),
            start: Duration::from_secs(32),
            zombie: Duration::from_secs(5),
            stop: Duration::from_secs(5),
        }
    }
}

/// The longest frame unless the pool says otherwise.
pub(crate) const FRAME_BYTES_MAX: usize = 64 << 20;

/// As many arbiters as this node may use cores.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

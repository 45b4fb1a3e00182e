//! Free nodes: started on their own, to be attached to a pool.

use std::net::SocketAddr;

use super::{Pool, PoolBuilder, StartError};
use crate::cookie::Cookie;
use crate::term::Fingerprint;

/// A node that was started on its own and waits to be attached to a pool: what `pspawn node` runs.
#[derive(Debug)]
pub struct FreeNode(Pool);

impl FreeNode {
    pub(super) fn of(pool: Pool) -> FreeNode {
        FreeNode(pool)
    }

    /// Starts a node named `name@host` that listens on `listen`: on loopback in plain, for nodes of its
    /// own host; on any other address by TLS, and for its own host on loopback too. Settings beyond these
    /// are those of [`PoolBuilder::start_free`].
    ///
    /// # Errors
    /// [`StartError`] if it cannot listen there, or has no cookie.
    pub async fn start(
        name: &str,
        listen: SocketAddr,
        cookie: Option<Cookie>,
        allow: Vec<String>,
    ) -> Result<FreeNode, StartError> {
        let mut builder = PoolBuilder::new(name);
        if let Some(cookie) = cookie {
            builder = builder.cookie(cookie);
        }
        for module in allow {
            builder = builder.allow(module);
        }
        builder.start_free(listen).await
    }

    /// The pool from this node's point of view, once it is in one.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.0
    }

    /// What it is attached by from other hosts; none if it listens on loopback only.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.0.node.own_certificate().map(|own| own.fingerprint)
    }

    /// Ends the node, as if its OS process had ended.
    pub fn stop(&self) {
        self.0.node.stop();
    }
}

/// What came of attaching a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// False if it was in the pool already.
    pub newly: bool,
    /// What it can start that the pool's master cannot, and the other way round, a line each.
    pub differences: Vec<String>,
}

//! Free nodes: started on their own, to be attached to a pool.

use std::net::SocketAddr;

use super::{Pool, PoolBuilder, StartError};
use crate::cookie::Cookie;

/// A node that was started on its own and waits to be attached to a pool: what `pspawn node` runs.
#[derive(Debug)]
pub struct FreeNode(Pool);

impl FreeNode {
    pub(super) fn of(pool: Pool) -> FreeNode {
        FreeNode(pool)
    }

    /// Starts a node named `name@host` that listens on `listen`.
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

    /// Ends the node, as if its OS process had ended.
    pub fn stop(&self) {
        self.0.node.stop();
    }
}

//! The nodes that scenarios are run on: this OS process as the master, and slaves that are OS processes of
//! their own. They are used again for the next scenario, but for those that were killed.

use std::cell::{Cell, RefCell};

use pspawn::prelude::*;
use pspawn::{Cookie, Error};

/// A pool for scenarios.
pub(super) struct Nodes {
    pub(super) pool: Pool,
    /// Slaves that scenarios share in which no node is lost.
    shared: RefCell<Vec<NodeName>>,
    /// Slaves that are nobody's at the moment.
    free: RefCell<Vec<NodeName>>,
    started: Cell<u32>,
}

impl Nodes {
    pub(super) async fn start() -> Result<Nodes, Error> {
        let name = format!("scenario-{}", std::process::id());
        let mut builder = Pool::builder(&name)
            .local(0)
            .cookie(Cookie::random()?)
            // Long waits, so that a machine with other work fails no scenario.
            .heartbeat(Duration::from_millis(500), Duration::from_secs(30))
            .spawn_timeout(Duration::from_secs(30));
        if std::env::var_os("PSPAWN_LOG").is_none() {
            // Everything that ends here is meant to.
            builder = builder.logger(slog::Logger::root(slog::Discard, slog::o!())).output(|_| {});
        }
        let pool = builder.start().await?;
        let (shared, free) = (RefCell::default(), RefCell::default());
        Ok(Nodes { pool, shared, free, started: Cell::new(0) })
    }

    /// The master and slaves for a scenario of this many nodes. If it loses nodes they are its own until
    /// they are given back.
    pub(super) async fn take(&self, nodes: usize, loses: bool) -> Result<Vec<NodeName>, Error> {
        let slaves = nodes.saturating_sub(1);
        let mut taken = vec![self.pool.here()];
        if loses {
            while taken.len() <= slaves {
                let free = self.free.borrow_mut().pop();
                taken.push(match free {
                    Some(node) => node,
                    None => self.one_more().await?,
                });
            }
        } else {
            while self.shared.borrow().len() < slaves {
                let node = self.one_more().await?;
                self.shared.borrow_mut().push(node);
            }
            taken.extend(self.shared.borrow().iter().take(slaves));
        }
        Ok(taken)
    }

    /// Gives a slave back that was a scenario's own, and lives.
    pub(super) fn give_back(&self, node: NodeName) {
        self.free.borrow_mut().push(node);
    }

    pub(super) async fn stop(self) -> Result<(), Error> {
        self.pool.stop().await
    }

    async fn one_more(&self) -> Result<NodeName, Error> {
        let number = self.started.get() + 1;
        self.started.set(number);
        let name = format!("s{number}-{}", std::process::id());
        let host = self.pool.here().host();
        self.pool.start_slave(host, &name).await.map_err(|why| Error::from(why.to_string()))
    }
}

//! The nodes of a pool of this machine, for one measurement.

use pspawn::{Cookie, Error, NodeName, Pool, StartError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A pool whose slaves talk to each other.
pub(super) struct Pair {
    pub(super) pool: Pool,
    /// Where whatever measures runs.
    pub(super) near: NodeName,
    /// Where what is talked to runs; the same, if there is one only.
    pub(super) far: NodeName,
}

impl Pair {
    /// Starts one for a measurement, and stops it.
    pub(super) async fn with<R>(
        slaves: usize,
        measure: impl AsyncFnOnce(&Pair) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let pair = Pair::start(slaves).await?;
        let measured = measure(&pair).await;
        let stopped = pair.pool.stop().await;
        let measured = measured?; // the first thing that went wrong
        stopped?;
        Ok(measured)
    }

    async fn start(slaves: usize) -> Result<Pair, Error> {
        let cookie = Cookie::random().map_err(StartError::from)?;
        let pool =
            Pool::builder("bench").cookie(cookie).local(slaves).output(|_| {}).start().await?;
        let nodes = pool.nodes().await?;
        let mut slaves = nodes.into_iter().filter(|&node| node != pool.here());
        let near = slaves.next().ok_or("the slave was lost before it had anything to do")?;
        let far = slaves.next().unwrap_or(near);
        Ok(Pair { pool, near, far })
    }

    /// Runs one of our functions on the near node, and gives its result.
    pub(super) async fn near<R>(&self, function: &str, args: impl Serialize) -> Result<R, Error>
    where
        R: DeserializeOwned + 'static,
    {
        Ok(self.pool.call_on(self.near, "bench", function, args).await?.await?)
    }
}

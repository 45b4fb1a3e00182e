//! Pools for tests.

use pspawn::prelude::*;
use pspawn::{Cookie, Error};

/// Runs a test on a pool of two slaves, which are this test executable, and stops it afterwards.
pub(crate) fn on_pool<F>(test: impl FnOnce(Pool) -> F)
where
    F: Future<Output = Result<(), Error>>,
{
    let done = pspawn::run(|| async {
        let pool = Pool::builder("t").cookie(Cookie::random().unwrap()).local(2).start().await?;
        test(pool.clone()).await?;
        pool.stop().await
    });
    assert_eq!(done, ExitCode::SUCCESS);
}

//! Blocking work: what would keep an arbiter's thread runs on a thread of its own, counted as load.

use std::panic::resume_unwind;
use std::sync::Arc;

use super::cell::current;
use super::load::Blocking;

/// Runs a function that blocks or computes for long on a thread of its own, so that the neighbours of
/// the running actor have their turns meanwhile. It counts as load of the node (not so outside of an
/// actor).
///
/// # Panics
/// If the function panics, in the caller, with the function's own panic; or outside of a tokio runtime.
/// # Cancel safety
/// A function that has begun runs to its end, whatever becomes of the future or of the actor: nothing
/// can stop a thread. One that has not begun is given up.
pub async fn blocking<R, F>(work: F) -> R
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let counted = current().map(|cell| Queued::count(cell.node.blocking()));
    let job = tokio::task::spawn_blocking(move || {
        let _running = counted.map(Queued::start);
        work()
    });
    match Given(job).await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => panic!("the arbiter stopped before the work had begun"),
        },
    }
}

/// A job that is given up when nobody waits for it any more.
struct Given<R>(tokio::task::JoinHandle<R>);

impl<R> Future for Given<R> {
    type Output = Result<R, tokio::task::JoinError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx)
    }
}

impl<R> Drop for Given<R> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A job that waits for a thread.
struct Queued(Option<Arc<Blocking>>);

impl Queued {
    fn count(pool: Arc<Blocking>) -> Queued {
        pool.queued();
        Queued(Some(pool))
    }

    fn start(mut self) -> Option<Started> {
        let pool = self.0.take()?;
        pool.started();
        Some(Started(pool))
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if let Some(pool) = &self.0 {
            pool.dropped_while_queued();
        }
    }
}

struct Started(Arc<Blocking>);

impl Drop for Started {
    fn drop(&mut self) {
        self.0.ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_counts_until_it_ends_and_one_given_up_does_not() {
        let pool = Arc::<Blocking>::default();
        let (first, second) = (Queued::count(pool.clone()), Queued::count(pool.clone()));
        assert_eq!(pool.len(), 2);
        let running = first.start();
        drop(second);
        assert_eq!(pool.len(), 1);
        drop(running);
        assert_eq!(pool.len(), 0);
    }
}

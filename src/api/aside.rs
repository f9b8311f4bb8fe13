//! Work on a large request or a large result, on a thread of its own: reading and writing JSON takes milliseconds for each megabyte.
//!
//! Runs in the supervisor. A worker has many clients' requests in its hands and must never be held up by one of them. What is small
//! is done on the spot: handing it over would take longer.

use std::panic::resume_unwind;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// From so many bytes on a request or a result is a large one. The rest is done within a few hundred microseconds.
pub(super) const LARGE: usize = 64 * 1024;

/// Threads for large work, so many at once.
#[derive(Debug, Clone)]
pub(super) struct Aside(Arc<Semaphore>);

impl Aside {
    pub(super) fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// Does `work` as soon as there is a thread for it. Where nobody waits for it any more, it is not begun.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let permit = Arc::clone(&self.0).acquire_owned().await;
        let done = spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        match done.await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(done) => done,
            Err(Ok(panic)) => resume_unwind(panic),
            // The runtime is ending, and this task with it.
            Err(Err(_)) => std::future::pending().await,
        }
    }
}

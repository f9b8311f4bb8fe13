//! Who may run now, who waits, who is sent away.
//!
//! Runs in the supervisor. A place is held from before the child is taken until after it is killed.

use crate::outcome::Refusal;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts places and the queue before them.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
}

/// A place; dropping it lets the next one in.
#[derive(Debug)]
pub struct Permit {
    _place: OwnedSemaphorePermit,
}

/// Leaves the queue again, however the waiting ends.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    /// `places` scripts at once, and `queue` requests waiting.
    #[must_use]
    pub fn new(places: usize, queue: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), waiting: AtomicUsize::new(0), queue }
    }

    /// A place at once, or after waiting in line.
    ///
    /// # Errors
    /// [`Refusal::QueueFull`] at once when the queue is full, [`Refusal::Draining`] after [`Self::close`].
    pub async fn enter(&self) -> Result<Permit, Refusal> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Permit { _place: place });
        }
        if self.places.is_closed() {
            return Err(Refusal::Draining);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::QueueFull);
        }
        let _waiting = Waiting(&self.waiting);
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Refusal::Draining)?;
        Ok(Permit { _place: place })
    }

    /// Lets nobody in any more; who waits is sent away.
    pub fn close(&self) {
        self.places.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_a_freed_place_admits() {
        let admission = Admission::new(1, 0);
        let first = admission.enter().await.expect("a free place");
        assert_eq!(admission.enter().await.err(), Some(Refusal::QueueFull));
        drop(first);
        assert!(admission.enter().await.is_ok());
    }

    #[tokio::test]
    async fn closing_sends_those_who_wait_away() {
        let admission = Arc::new(Admission::new(1, 1));
        let _first = admission.enter().await.expect("a free place");
        let second = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.enter().await.err() }
        });
        tokio::task::yield_now().await;
        admission.close();
        assert_eq!(second.await.ok().flatten(), Some(Refusal::Draining));
    }
}

//! Who may run now, who waits, who is sent away.
//!
//! Runs in the supervisor. A place is held from before the child is taken until after it is killed.
//!
//! The queue is for bursts. One that does not get empty while many are let in from it is of no use: as many leave as come, and each
//! waits for all before it. It stands. Then only as many may wait as there are places, so that waiting takes no longer than
//! running, until places were free for many in a row. All of this counts requests, not seconds: it holds for short scripts and long.

use crate::outcome::Refusal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts places and the queue before them.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    queue: Queue,
    /// How many places there are.
    size: usize,
}

#[derive(Debug)]
struct Queue {
    waiting: AtomicUsize,
    /// Let in from the queue since it was last empty.
    passed: AtomicUsize,
    /// Let in since somebody last had to wait.
    unhindered: AtomicUsize,
    stands: AtomicBool,
    /// The most that may wait in a burst.
    length: usize,
}

/// How many times its own length must have passed through a queue that was never empty before it stands.
const STANDING: usize = 4;

/// A place; dropping it lets the next one in.
#[derive(Debug)]
pub struct Permit {
    _place: OwnedSemaphorePermit,
}

/// Leaves the queue again, however the waiting ends.
struct Waiting<'a>(&'a Queue);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.passed.store(0, Ordering::Relaxed);
        }
    }
}

impl Queue {
    /// A place in it, unless it is full.
    fn join(&self, places: usize) -> Option<Waiting<'_>> {
        self.unhindered.store(0, Ordering::Relaxed);
        let most = if self.stands.load(Ordering::Relaxed) { self.length.min(places) } else { self.length };
        let waiting = Waiting(self);
        (self.waiting.fetch_add(1, Ordering::Relaxed) < most).then_some(waiting)
    }

    /// Notes that somebody who waited was let in.
    fn note_passed(&self) {
        if self.passed.fetch_add(1, Ordering::Relaxed) >= self.length.saturating_mul(STANDING) {
            self.stands.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that somebody was let in who did not have to wait.
    fn note_unhindered(&self) {
        if self.unhindered.fetch_add(1, Ordering::Relaxed) >= self.length {
            self.stands.store(false, Ordering::Relaxed);
        }
    }
}

impl Admission {
    /// `places` scripts at once, and `queue` requests waiting.
    #[must_use]
    pub fn new(places: usize, queue: usize) -> Self {
        let count = || AtomicUsize::new(0);
        let queue = Queue {
            waiting: count(),
            passed: count(),
            unhindered: count(),
            stands: AtomicBool::new(false),
            length: queue,
        };
        Self { places: Arc::new(Semaphore::new(places)), queue, size: places }
    }

    /// A place at once, or after waiting in line.
    ///
    /// # Errors
    /// [`Refusal::QueueFull`] at once when the queue is full, [`Refusal::Draining`] after [`Self::close`].
    pub async fn enter(&self) -> Result<Permit, Refusal> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            self.queue.note_unhindered();
            return Ok(Permit { _place: place });
        }
        if self.places.is_closed() {
            return Err(Refusal::Draining);
        }
        let _waiting = self.queue.join(self.size).ok_or(Refusal::QueueFull)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Refusal::Draining)?;
        self.queue.note_passed();
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

    type Waiter = tokio::task::JoinHandle<Result<Permit, Refusal>>;

    /// Somebody who asks for a place, and has joined the queue when this returns.
    async fn ask(admission: &Arc<Admission>) -> Waiter {
        let admission = Arc::clone(admission);
        let waiter = tokio::spawn(async move { admission.enter().await });
        tokio::task::yield_now().await;
        waiter
    }

    async fn place(waiter: Waiter) -> Permit {
        waiter.await.expect("it ends").expect("a place")
    }

    #[tokio::test]
    async fn a_queue_that_does_not_get_empty_takes_in_as_many_as_there_are_places_and_then_recovers() {
        let length = 3;
        let admission = Arc::new(Admission::new(1, length));
        let mut held = admission.enter().await.expect("a free place");
        let mut next = ask(&admission).await;
        for _ in 0..=length * STANDING {
            let after = ask(&admission).await;
            drop(held);
            held = place(next).await;
            next = after;
        }
        assert_eq!(
            admission.enter().await.err(),
            Some(Refusal::QueueFull),
            "one runs, and one waits of three that could"
        );

        drop(held);
        drop(place(next).await);
        for _ in 0..=length {
            assert!(admission.enter().await.is_ok());
        }
        let mut held = admission.enter().await.expect("a free place");
        let mut burst = Vec::new();
        for _ in 0..length {
            burst.push(ask(&admission).await);
        }
        assert_eq!(admission.enter().await.err(), Some(Refusal::QueueFull), "three wait");
        for waiter in burst {
            drop(held);
            held = place(waiter).await;
        }
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

//! Who may run now, who waits, who is sent away.
//!
//! Runs in the supervisor. A place is held from before the child is taken until after it is killed.
//!
//! The queue is for bursts. One that goes on growing while others are let in is of no use: each waits for all before it, and more
//! come than leave. It stands. Then only as many may wait as there are places, so that waiting takes no longer than running, until
//! places were free for many in a row. All of this counts requests, not seconds: it holds for short scripts and long.

use crate::outcome::Refusal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts places and the queue before them.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    queue: Queue,
}

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    /// The most that may wait in a burst.
    length: usize,
    /// The most that may wait when it stands: as many as there are places. A longer queue is long.
    short: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    /// While it is long: let in since it was last looked at.
    let_in: usize,
    /// How long it was then.
    before: usize,
    /// Whether somebody was sent away since then.
    refused: bool,
    /// How many times in a row it had grown.
    grown: usize,
    /// Let in since somebody last had to wait.
    unhindered: usize,
    stands: bool,
}

/// A long queue is looked at whenever half as many were let in as there are places, and stands when it has grown this many times in
/// a row: by half as many again, which clients that wait for their answers can't make it do, or by more than it takes.
const GROWN: usize = 3;

/// A place; dropping it lets the next one in.
#[derive(Debug)]
pub struct Permit {
    _place: OwnedSemaphorePermit,
}

/// Leaves the queue again, however the waiting ends.
struct Waiting<'a>(&'a Queue);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let short = self.0.short;
        let mut state = self.0.lock();
        state.waiting -= 1;
        if state.waiting <= short {
            *state = State { waiting: state.waiting, stands: state.stands, ..State::default() };
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place in it, unless it is full.
    fn join(&self) -> Option<Waiting<'_>> {
        let mut state = self.lock();
        state.unhindered = 0;
        let most = if state.stands { self.length.min(self.short) } else { self.length };
        if state.waiting >= most {
            state.refused = true;
            return None;
        }
        state.waiting += 1;
        Some(Waiting(self))
    }

    /// Notes that somebody who waited is let in.
    fn note_let_in(&self) {
        let mut state = self.lock();
        if state.waiting <= self.short {
            return;
        }
        state.let_in += 1;
        let look = self.short.div_ceil(2);
        if state.let_in < look {
            return;
        }
        let has_grown = state.refused || state.waiting >= state.before.max(self.short) + look.div_ceil(2);
        let grown = if has_grown { state.grown + 1 } else { 0 };
        let before = state.waiting;
        *state = State { let_in: 0, before, refused: false, grown, stands: state.stands || grown >= GROWN, ..*state };
    }

    /// Notes that somebody was let in who did not have to wait.
    fn note_unhindered(&self) {
        let mut state = self.lock();
        state.unhindered += 1;
        if state.unhindered > self.length {
            state.stands = false;
        }
    }
}

impl Admission {
    /// `places` scripts at once, and `queue` requests waiting.
    #[must_use]
    pub fn new(places: usize, queue: usize) -> Self {
        let queue = Queue { state: Mutex::default(), length: queue, short: places };
        Self { places: Arc::new(Semaphore::new(places)), queue }
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
        let _waiting = self.queue.join().ok_or(Refusal::QueueFull)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Refusal::Draining)?;
        self.queue.note_let_in();
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
    use std::collections::VecDeque;

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

    /// One is let in, and `more` come.
    async fn go_on(admission: &Arc<Admission>, held: &mut Option<Permit>, queue: &mut VecDeque<Waiter>, more: usize) {
        drop(held.take());
        *held = Some(place(queue.pop_front().expect("somebody waits")).await);
        for _ in 0..more {
            queue.push_back(ask(admission).await);
        }
    }

    #[tokio::test]
    async fn a_queue_that_goes_on_growing_gets_short_and_then_recovers() {
        let length = 10;
        let admission = Arc::new(Admission::new(1, length));
        let mut held = Some(admission.enter().await.expect("a free place"));
        let mut queue = VecDeque::from([ask(&admission).await, ask(&admission).await, ask(&admission).await]);
        for _ in 0..=GROWN {
            go_on(&admission, &mut held, &mut queue, 2).await;
        }
        assert_eq!(admission.enter().await.err(), Some(Refusal::QueueFull), "it is longer than there are places");
        while let Some(waiter) = queue.pop_front() {
            drop(held.take());
            held = waiter.await.expect("it ends").ok();
        }
        drop(held.take());
        held = admission.enter().await.ok();
        let one = ask(&admission).await;
        assert_eq!(
            admission.enter().await.err(),
            Some(Refusal::QueueFull),
            "one runs, and one waits of ten that could"
        );
        drop(held);
        drop(place(one).await);

        for _ in 0..=length {
            assert!(admission.enter().await.is_ok());
        }
        burst(&admission, length).await;
    }

    /// As many as may wait come at once, and all are served.
    async fn burst(admission: &Arc<Admission>, length: usize) {
        let mut held = Some(admission.enter().await.expect("a free place"));
        let mut queue = VecDeque::new();
        for _ in 0..length {
            queue.push_back(ask(admission).await);
        }
        assert_eq!(admission.enter().await.err(), Some(Refusal::QueueFull), "as many wait as may");
        while !queue.is_empty() {
            go_on(admission, &mut held, &mut queue, 0).await;
        }
    }

    #[tokio::test]
    async fn a_burst_is_served_to_its_end_and_so_is_the_next() {
        let admission = Arc::new(Admission::new(1, 5));
        for _ in 0..3 {
            burst(&admission, 5).await;
        }
    }

    #[tokio::test]
    async fn clients_that_wait_for_their_answers_are_served_however_many_they_are() {
        let admission = Arc::new(Admission::new(1, 5));
        let mut held = Some(admission.enter().await.expect("a free place"));
        let mut queue = VecDeque::new();
        for _ in 0..5 {
            queue.push_back(ask(&admission).await);
        }
        for _ in 0..100 {
            go_on(&admission, &mut held, &mut queue, 1).await;
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

//! An answer that is sent in pieces as they come, to a client that may be slow, or gone.
//!
//! Runs in the supervisor. Whoever makes the pieces never waits for the client: there is room for so many bytes that the client has
//! not taken, and beyond that a piece is refused. It is a task of its own, which ends when the client goes away. As long as bytes
//! are there, the client has so long to take some; that time begins anew with each piece that it took.

use super::budget::{Budget, Held};
use super::line::Spent;
use super::presence::{Busy, Delivery, Presence};
use crate::errors::Refused;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Where the pieces are put.
pub struct Pieces(Arc<Shared>);

/// There is no room for the piece: the client has not taken what was sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// What became of an answer that was sent in pieces, for the log.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    /// The status that it comes to, which is not always the one it began with.
    pub status: u16,
    /// The word for it.
    pub code: &'static str,
    /// Where the time went, where a script ran.
    pub spent: Option<Spent>,
}

/// Where hyper takes them from. Dropping it ends the task that makes them.
pub(super) struct Source {
    shared: Arc<Shared>,
    task: AbortHandle,
}

/// What comes next.
pub(super) enum Piece {
    Bytes(Bytes),
    End(Ending),
}

struct Shared {
    state: Mutex<State>,
    /// The most bytes that the client may not have taken.
    most: usize,
    budget: Arc<Budget>,
    /// How long the client may take for the next piece.
    time: Duration,
    presence: Arc<Presence>,
}

struct State {
    queue: VecDeque<Bytes>,
    /// Bytes put and not yet taken by the client, those that hyper holds included.
    outstanding: usize,
    ended: Option<Ending>,
    waker: Option<Waker>,
    /// Until when the client must have taken the next piece; `None` while there is none to take.
    delivery: Option<Delivery>,
    /// Whether the client is still there.
    is_open: bool,
    kept: Kept,
}

/// What lasts as long as the answer does, until the client has its last piece or has left: what keeps the connection from being closed
/// for others, and what the stream counts for.
pub(super) type Kept = (Option<Busy>, Option<Held>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The two ends; `task` is what makes the pieces, by way of the first.
pub(super) fn channel(
    most: usize,
    time: Duration,
    budget: Arc<Budget>,
    presence: Arc<Presence>,
    kept: Kept,
    start: impl FnOnce(Pieces) -> AbortHandle,
) -> Source {
    let (queue, outstanding, ended, waker) = (VecDeque::new(), 0, None, None);
    let state = State { queue, outstanding, ended, waker, delivery: None, is_open: true, kept };
    let shared = Arc::new(Shared { state: Mutex::new(state), most, budget, time, presence });
    let task = start(Pieces(Arc::clone(&shared)));
    Source { shared, task }
}

impl Pieces {
    /// Sends a piece.
    ///
    /// # Errors
    /// [`Full`]: nothing of it is sent.
    pub fn put(&self, piece: Vec<u8>) -> Result<(), Full> {
        let mut state = self.0.lock();
        if state.is_open && (piece.len() > self.0.most.saturating_sub(state.outstanding) || !self.0.budget.has_room()) {
            return Err(Full);
        }
        self.push(&mut state, piece);
        state.wake();
        Ok(())
    }

    /// Ends the answer with a last piece, for which there is always room. What was put before is still sent.
    pub fn end_with(self, last: Vec<u8>, ending: Ending) {
        let mut state = self.0.lock();
        self.push(&mut state, last);
        state.ended = Some(ending);
        state.wake();
    }

    fn push(&self, state: &mut State, piece: Vec<u8>) {
        if piece.is_empty() || !state.is_open {
            // Of a client that is gone, with this task at its next await, what is kept here would keep itself.
            return;
        }
        if state.outstanding == 0 {
            state.delivery = Some(self.0.presence.deliver(Instant::now() + self.0.time));
        }
        state.outstanding += piece.len();
        let held = self.0.budget.count_all(piece.capacity());
        state.queue.push_back(Bytes::from_owner(Outstanding { piece, shared: Arc::clone(&self.0), _held: held }));
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        // Whoever made them is gone, so nothing more comes.
        state.ended.get_or_insert(Ending {
            status: Refused::GivenUp.status(),
            code: Refused::GivenUp.word(),
            spent: None,
        });
        state.wake();
    }
}

/// A piece until the client has it.
struct Outstanding {
    piece: Vec<u8>,
    shared: Arc<Shared>,
    _held: Held,
}

impl AsRef<[u8]> for Outstanding {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.outstanding -= self.piece.len();
        if state.outstanding == 0 {
            state.delivery = None;
            if !state.is_open {
                state.kept = Kept::default();
            }
        } else if let Some(delivery) = &state.delivery {
            delivery.prolong(Instant::now() + self.shared.time);
        }
    }
}

impl Source {
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        let mut state = self.shared.lock();
        if let Some(bytes) = state.queue.pop_front() {
            return Poll::Ready(Piece::Bytes(bytes));
        }
        if let Some(ending) = state.ended {
            return Poll::Ready(Piece::End(ending));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
        let mut state = self.shared.lock();
        state.is_open = false;
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        // Each of them takes the lock.
        drop(queue);
        let mut state = self.shared.lock();
        if state.outstanding == 0 {
            state.kept = Kept::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::ByteSize;
    use std::future::poll_fn;

    const TIME: Duration = Duration::from_secs(1);

    async fn next(source: &mut Source) -> Option<Bytes> {
        match poll_fn(|cx| source.poll_next(cx)).await {
            Piece::Bytes(bytes) => Some(bytes),
            Piece::End(_) => None,
        }
    }

    fn with_runtime(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(test);
    }

    #[test]
    fn what_the_client_has_not_taken_is_bounded_and_watched() {
        with_runtime(async {
            let budget = Arc::new(Budget::new(ByteSize(1000)));
            let presence = Arc::new(Presence::new());
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let kept = (presence.begin(), Some(budget.count_all(1)));
            let mut source = channel(10, TIME, Arc::clone(&budget), Arc::clone(&presence), kept, |pieces| {
                assert!(sender.send(pieces).is_ok());
                tokio::spawn(std::future::pending::<()>()).abort_handle()
            });
            let pieces = receiver.await.expect("it was sent");
            let late = || Instant::now() + TIME;
            assert!(!presence.is_overdue(late()), "nothing is there to take");
            assert_eq!(pieces.put(vec![1; 6]), Ok(()));
            assert_eq!(pieces.put(vec![2; 5]), Err(Full), "what was put before is not taken");
            assert_eq!(pieces.put(vec![3; 4]), Ok(()));
            assert!(presence.is_overdue(late()));
            let first = next(&mut source).await.expect("a piece");
            assert_eq!(pieces.put(vec![4; 1]), Err(Full), "hyper has it, and the client has not");
            drop(first);
            assert_eq!(pieces.put(vec![4; 1]), Ok(()));
            drop((next(&mut source).await, next(&mut source).await));
            assert!(!presence.is_overdue(late()), "all is taken");
            assert!(presence.waiting_since().is_none(), "and more may come");
            pieces.end_with(vec![9], Ending { status: 200, code: "ok", spent: None });
            assert!(next(&mut source).await.is_some(), "there is always room for the last");
            assert_eq!(next(&mut source).await, None);
            drop(source);
            assert!(!budget.holds_anything());
            presence.touch();
            assert!(presence.waiting_since().is_some(), "nobody is busy any more");
        });
    }

    #[test]
    fn a_piece_for_a_client_that_is_gone_is_not_kept() {
        with_runtime(async {
            let budget = Arc::new(Budget::new(ByteSize(1000)));
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let presence = Arc::new(Presence::new());
            let kept = (presence.begin(), Some(budget.count_all(1)));
            let source = channel(10, TIME, Arc::clone(&budget), presence, kept, |pieces| {
                assert!(sender.send(pieces).is_ok());
                tokio::spawn(std::future::pending::<()>()).abort_handle()
            });
            let pieces = receiver.await.expect("it was sent");
            assert_eq!(pieces.put(vec![1; 6]), Ok(()));
            drop(source);
            assert_eq!(pieces.put(vec![2; 1]), Ok(()));
            assert!(!budget.holds_anything(), "neither what was queued before nor after");
        });
    }

    #[test]
    fn the_task_ends_with_the_client() {
        with_runtime(async {
            let budget = Arc::new(Budget::new(ByteSize(1000)));
            let (alive, ended) = tokio::sync::oneshot::channel::<()>();
            let source = channel(10, TIME, budget, Arc::new(Presence::new()), Kept::default(), |pieces| {
                let task = async move {
                    let _ = (pieces.put(vec![1]), &alive);
                    std::future::pending::<()>().await;
                };
                tokio::spawn(task).abort_handle()
            });
            tokio::task::yield_now().await;
            drop(source);
            assert!(ended.await.is_err(), "the task was dropped");
        });
    }
}

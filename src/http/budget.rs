//! How much memory large requests and large answers hold, all clients together.
//!
//! Runs in the supervisor. One client's share is bounded by the size limits; this bounds their sum, so that slow
//! readers and large arguments can't add up to the machine's memory. Small ones are served when there is no room for large ones. Over HTTP/1
//! they are not counted: the connection cap bounds them, one at a time on each connection. Over HTTP/2 a connection has many at once, so
//! each stream is counted from its headers to the last byte of its answer, at a flat cost that covers what is small.

use crate::size::ByteSize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is too small to count over HTTP/1.
pub(super) const SMALL: usize = 64 * 1024;

/// What a stream of HTTP/2 takes with a head, a body and an answer of a few hundred bytes each, and what it is counted for whatever they
/// are: tasks, tables and buffers of ours, of hyper's and of h2's. `GET /capabilities` took 8.5 KB, untaken.
pub(super) const STREAM: usize = 16 * 1024;

/// How much of a head, a body or an answer the flat cost covers.
const COVERED: usize = 2 * 1024;

/// What carries a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// HTTP/1: one request at a time.
    Connection,
    /// HTTP/2: one of many.
    Stream,
}

impl Carrier {
    fn covers(self, bytes: usize) -> bool {
        bytes
            <= match self {
                Self::Connection => SMALL,
                Self::Stream => COVERED,
            }
    }
}

/// The sum of what is held, and the level above which nothing more is let in.
pub(super) struct Budget {
    held: AtomicUsize,
    limit: usize,
}

/// So many bytes are held until this is dropped.
pub(super) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(limit: ByteSize) -> Self {
        Self { held: AtomicUsize::new(0), limit: limit.as_usize() }
    }

    /// Whether something new may begin.
    pub(super) fn has_room(&self) -> bool {
        self.held.load(Ordering::Relaxed) <= self.limit
    }

    /// Counts `bytes` that are already there, room or no room; `None` when they are too few to count.
    pub(super) fn count(self: &Arc<Self>, bytes: usize, carrier: Carrier) -> Option<Held> {
        (!carrier.covers(bytes)).then(|| self.count_all(bytes))
    }

    /// The same, however few.
    pub(super) fn count_all(self: &Arc<Self>, bytes: usize) -> Held {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Held { budget: Arc::clone(self), bytes }
    }

    /// How much is counted.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether anything is.
    #[cfg(test)]
    pub(super) fn holds_anything(&self) -> bool {
        self.held() > 0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        let budget = Arc::new(Budget::new(ByteSize(100_000)));
        assert!(budget.count(SMALL, Carrier::Connection).is_none());
        assert!(budget.count(SMALL, Carrier::Stream).is_some());
        assert!(budget.count(COVERED, Carrier::Stream).is_none());
        let one = budget.count(90_000, Carrier::Connection);
        assert!(budget.has_room());
        let two = budget.count(90_000, Carrier::Connection);
        assert!(!budget.has_room());
        drop(one);
        assert!(budget.has_room());
        drop(two);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}

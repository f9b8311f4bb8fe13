//! How much memory large requests and large answers hold, all clients together.
//!
//! Runs in the supervisor. One client's share is bounded by the size limits; this bounds their sum, so that slow
//! readers and large arguments can't add up to the machine's memory. Small ones are not counted, and are served when there is
//! no room for large ones: the connection cap bounds them, one at a time on each connection of HTTP/1. The many that a connection
//! of HTTP/2 can have at once are counted whatever their size.

use crate::size::ByteSize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is too small to count.
pub(super) const SMALL: usize = 64 * 1024;

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
    pub(super) fn count(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        (bytes > SMALL).then(|| self.count_all(bytes))
    }

    /// The same, however few.
    pub(super) fn count_all(self: &Arc<Self>, bytes: usize) -> Held {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Held { budget: Arc::clone(self), bytes }
    }

    /// Whether anything is counted.
    #[cfg(test)]
    pub(super) fn holds_anything(&self) -> bool {
        self.held.load(Ordering::Relaxed) > 0
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
        assert!(budget.count(SMALL).is_none());
        let one = budget.count(90_000);
        assert!(budget.has_room());
        let two = budget.count(90_000);
        assert!(!budget.has_room());
        drop(one);
        assert!(budget.has_room());
        drop(two);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}

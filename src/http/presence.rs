//! What a connection is doing, as seen from outside: waiting for its client, or busy for it.
//!
//! Runs in the supervisor. `listen` closes those that waited longest when there are too many; a connection
//! that is busy is never closed that way. Over HTTP/2 it also knows which answers the client has yet to take.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// One connection's state.
pub(super) struct Presence(Mutex<State>);

struct State {
    /// Requests that were read completely and whose answers are not yet delivered.
    busy: usize,
    /// When the client last did something that counts: sent a request, took an answer. `None` until its task has looked
    /// at the connection once: what nobody has looked at may hold a whole request.
    last: Option<Instant>,
    /// Set by [`Presence::evict`]; nothing new begins after it.
    evicted: bool,
    /// For each answer handed to an HTTP/2 connection: its number, and until when the client must have taken it.
    deliveries: Vec<(u64, Instant)>,
    next_delivery: u64,
}

/// A request in work. Dropped when its answer has left our hands, or when it was given up.
pub(super) struct Busy(Arc<Presence>);

/// An answer, or a piece of one, that is the client's to take until a point in time. Dropped when it was taken, or given up.
pub(super) struct Delivery {
    presence: Arc<Presence>,
    number: u64,
}

impl Presence {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { busy: 0, last: None, evicted: false, deliveries: Vec::new(), next_delivery: 0 }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client did something, or was looked at first.
    pub(super) fn touch(&self) {
        self.state().last = Some(Instant::now());
    }

    /// Begins a request; `None` when the connection was just evicted.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Busy> {
        let mut state = self.state();
        if state.evicted {
            return None;
        }
        state.busy += 1;
        drop(state);
        Some(Busy(Arc::clone(self)))
    }

    /// From now on there is something for the client to take, until `until`.
    pub(super) fn deliver(self: &Arc<Self>, until: Instant) -> Delivery {
        let mut state = self.state();
        let number = state.next_delivery;
        state.next_delivery += 1;
        state.deliveries.push((number, until));
        drop(state);
        Delivery { presence: Arc::clone(self), number }
    }

    /// Since when the connection waits for its client; `None` while it is busy, or may be.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        state.last.filter(|_| state.busy == 0 && !state.evicted)
    }

    /// Marks the connection as closed, unless it became busy meanwhile.
    pub(super) fn evict(&self) -> bool {
        let mut state = self.state();
        state.evicted |= state.busy == 0;
        state.evicted
    }

    /// Whether there is an answer that the client has yet to take.
    pub(super) fn has_something_to_take(&self) -> bool {
        !self.state().deliveries.is_empty()
    }

    /// Whether an answer is still not taken although its time is up.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.state().deliveries.iter().any(|(_, until)| *until <= now)
    }
}

impl Delivery {
    /// The client took a part, and has until `until` for the next.
    pub(super) fn prolong(&self, until: Instant) {
        let mut state = self.presence.state();
        if let Some(delivery) = state.deliveries.iter_mut().find(|(number, _)| *number == self.number) {
            delivery.1 = until;
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let mut state = self.presence.state();
        state.deliveries.retain(|(other, _)| *other != self.number);
        state.last = Some(Instant::now());
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy -= 1;
        state.last = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_busy_connection_is_not_evicted() {
        let presence = Arc::new(Presence::new());
        assert!(presence.waiting_since().is_none());
        presence.touch();
        assert!(presence.waiting_since().is_some());
        let busy = presence.begin().expect("not evicted");
        assert!(presence.waiting_since().is_none());
        assert!(!presence.evict());
        drop(busy);
        assert!(presence.waiting_since().is_some());
        assert!(presence.evict());
        assert!(presence.begin().is_none());
    }

    #[test]
    fn an_answer_is_overdue_until_it_is_taken() {
        let presence = Arc::new(Presence::new());
        let now = Instant::now();
        let delivery = presence.deliver(now + Duration::from_secs(1));
        assert!(!presence.is_overdue(now));
        assert!(presence.is_overdue(now + Duration::from_secs(1)));
        delivery.prolong(now + Duration::from_secs(2));
        assert!(!presence.is_overdue(now + Duration::from_secs(1)), "the time began anew");
        let other = presence.deliver(now + Duration::from_secs(1));
        drop(delivery);
        assert!(presence.is_overdue(now + Duration::from_secs(1)), "the other is still there");
        drop(other);
        assert!(!presence.is_overdue(now + Duration::from_secs(9)));
    }
}

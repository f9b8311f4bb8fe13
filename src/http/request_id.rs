//! Request ids: the client's own where it is fit to be echoed and logged, else 128 bits that no other request has.
//!
//! Runs in the supervisor. An id is for finding a request in a log; nothing may depend on its being secret.

use hyper::header::HeaderValue;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest id of a client's own that is echoed, in characters.
const LONGEST: usize = 128;

/// Makes ids without a system call: two hashes of a counter, under keys drawn when the process started.
pub(super) struct RequestIds {
    next: AtomicU64,
    keys: [RandomState; 2],
}

impl RequestIds {
    pub(super) fn new() -> Self {
        Self { next: AtomicU64::new(0), keys: [RandomState::new(), RandomState::new()] }
    }

    /// A new id: 32 hexadecimal digits.
    pub(super) fn make(&self) -> HeaderValue {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let [high, low] = [self.keys[0].hash_one(count), self.keys[1].hash_one(count)];
        let text = format!("{high:016x}{low:016x}");
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }

    /// The client's id if it is 1 to 128 visible ASCII characters, else a new one.
    pub(super) fn take(&self, given: Option<&HeaderValue>) -> HeaderValue {
        match given {
            Some(id) if is_fit(id.as_bytes()) => id.clone(),
            _ => self.make(),
        }
    }
}

fn is_fit(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fit_id_is_echoed_and_another_is_replaced() {
        let ids = RequestIds::new();
        let given = HeaderValue::from_static("a-1/b");
        assert_eq!(ids.take(Some(&given)), given);
        let long = HeaderValue::try_from("x".repeat(129)).expect("a header value");
        for unfit in [HeaderValue::from_static(""), HeaderValue::from_static("a b"), long] {
            let made = ids.take(Some(&unfit));
            assert_eq!(made.len(), 32);
            assert!(made.as_bytes().iter().all(u8::is_ascii_hexdigit));
        }
        assert_ne!(ids.take(None), ids.take(None));
    }
}

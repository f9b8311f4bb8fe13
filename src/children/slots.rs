//! Slots: numbers that no two living children share, from which their ids follow.
//!
//! Runs in the supervisor. A slot comes back only when its child is reaped, so no process ever runs under the ids of
//! another that still lives.

use std::sync::{Arc, Mutex, PoisonError};

/// Hands out the smallest free number.
#[derive(Debug, Clone, Default)]
pub struct Slots {
    free: Arc<Mutex<Free>>,
}

#[derive(Debug, Default)]
struct Free {
    returned: std::collections::BinaryHeap<std::cmp::Reverse<u32>>,
    next: u32,
}

/// A number in use; dropping it gives it back.
#[derive(Debug)]
pub struct Slot {
    number: u32,
    home: Slots,
}

impl Slots {
    /// Takes a free number.
    #[must_use]
    pub fn take(&self) -> Slot {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let number = free.returned.pop().map_or_else(
            || {
                let number = free.next;
                free.next += 1;
                number
            },
            |returned| returned.0,
        );
        Slot { number, home: self.clone() }
    }
}

impl Slot {
    /// The number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut free = self.home.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.returned.push(std::cmp::Reverse(self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shared_by_no_two_and_come_back() {
        let slots = Slots::default();
        let (first, second) = (slots.take(), slots.take());
        assert_eq!((first.number(), second.number()), (0, 1));
        drop(first);
        assert_eq!(slots.take().number(), 0);
        drop(second);
    }
}

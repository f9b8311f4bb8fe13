//! Whether memory is so short that new work must wait, before the kernel has to kill somebody.
//!
//! Runs in the supervisor. Only a script that runs for a while can take much memory, so whoever watches one looks here too; while
//! memory is short, whoever asks looks again. It must never cost a short script anything but reading a flag.

use crate::machine::memory::Memory;
use crate::size::ByteSize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what was seen holds.
const FRESH: Duration = Duration::from_millis(20);

/// Memory is short when less than one part in so many is left, or less than this.
const PART: u64 = 16;
const ENOUGH: ByteSize = ByteSize::mebibytes(256);

/// The memory there is, looked at now and then.
#[derive(Debug)]
pub struct Shortage {
    memory: Memory,
    bound: ByteSize,
    is_short: AtomicBool,
    /// When it was last looked at.
    looked: Mutex<Instant>,
}

impl Shortage {
    /// Of this machine. Where little is left from the start, it is the server's own, or others have it for good: then it is short when
    /// most of that is gone.
    #[must_use]
    pub fn new(memory: Memory) -> Self {
        let part = |all: Option<ByteSize>, of: u64| all.map_or(ENOUGH.0, |ByteSize(all)| all / of);
        let bound = ENOUGH.0.min(part(memory.total(), PART)).min(part(memory.available(), 4));
        Self { memory, bound: ByteSize(bound), is_short: AtomicBool::new(false), looked: Mutex::new(Instant::now()) }
    }

    /// Whether it was short when somebody last looked, and still is.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.is_short.load(Ordering::Relaxed) && self.look()
    }

    /// Looks, unless somebody just did.
    pub fn look(&self) -> bool {
        // Who finds somebody looking does not wait for what he sees.
        if let Ok(mut looked) = self.looked.try_lock().or_else(|error| match error {
            std::sync::TryLockError::Poisoned(poisoned) => Ok(PoisonError::into_inner(poisoned)),
            std::sync::TryLockError::WouldBlock => Err(()),
        }) && looked.elapsed() >= FRESH
        {
            *looked = Instant::now();
            // A kernel that does not tell has no shortage that could be seen.
            let left = self.memory.available();
            let is_short = left.is_some_and(|left| left.0 < self.bound.0);
            if self.is_short.swap(is_short, Ordering::Relaxed) != is_short {
                let left = left.map_or(0, |left| left.0 >> 20);
                if is_short {
                    tracing::warn!(left_mb = left, "memory is short; new requests are refused until it is back");
                } else {
                    tracing::info!(left_mb = left, "memory is back");
                }
            }
        }
        self.is_short.load(Ordering::Relaxed)
    }
}

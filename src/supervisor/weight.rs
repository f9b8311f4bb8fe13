//! How much a script weighs on the processors: as one, however many threads it has, and less than what must be quick.
//!
//! Runs in the supervisor, as a part of each run. The kernel shares the processors out by thread. Without this a script of 63 threads leaves
//! one beside it a 64th, and thirty scripts leave the supervisor and the zygotes so little that nobody is answered. A script that has
//! run for a moment is made to yield, and the more the more threads it has. Most scripts are over by then, and cost nothing here.
//!
//! A process that yields also ends slowly, and it holds its memory and its place until then. So it gets its share back when it is to end; and
//! where the kernel does not allow that, it yields a little, whatever threads it has.
//!
//! It is a help and no limit: where the kernel refuses it, nothing is lost but the help.

use crate::children::child::Meter;
use crate::sys::priority::{LEAST, can_be_lowered, own_niceness};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::Instant;

/// For so long a script is new. Then it is looked at in growing intervals, up to the longest.
const NEW: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(160);

/// A script that is not new yields by so much. One step of nice is a quarter of a share: it weighs a third of the supervisor's thread.
const OLD: i32 = 5;

/// The same for its session, where the kernel shares out by session first (`CONFIG_SCHED_AUTOGROUP`): a ninth of the supervisor's, for
/// there are many of them, and threads count no more.
const OLD_SESSION: i32 = 10;

/// The weight of a running script. Dropping it gives the script its share back.
#[derive(Debug)]
pub struct Weight {
    meter: Meter,
    /// Whether the script was given a nice value.
    yields: bool,
    /// When it is looked at next, and how long after the last time; `None` when it is settled.
    next: Option<(Instant, Duration)>,
}

impl Weight {
    /// Of a script that began then.
    #[must_use]
    pub fn new(meter: Meter, began: Instant) -> Self {
        Self { meter, yields: false, next: Some((began + NEW, NEW)) }
    }

    /// Makes the script yield, now and then, as it has so many threads; `None` where the kernel does not tell. Call it each time that
    /// what the script holds is looked at.
    pub fn adjust(&mut self, now: Instant, threads: Option<u64>) {
        let Some((due, pause)) = self.next.filter(|(due, _)| *due <= now) else { return };
        let pause = (pause * 2).min(LONGEST);
        self.next = Some((due + pause, pause));
        let threads = if is_taken_back() { threads } else { Some(1) };
        let Some(wanted) = threads.map(|threads| niceness(own(), threads)) else { return };
        if !std::mem::replace(&mut self.yields, true) {
            self.meter.set_session(OLD_SESSION);
        }
        // Also where it is the same: a thread that was being made meanwhile has the value of before.
        if self.meter.set_niceness(wanted).is_err() || !is_taken_back() {
            self.next = None;
        }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        if self.yields && is_taken_back() {
            self.meter.set_session(0);
            // It may have ended.
            let _ = self.meter.set_niceness(own());
        }
    }
}

/// The server's own nice value, which a script begins with.
fn own() -> i32 {
    static OWN: OnceLock<i32> = OnceLock::new();
    *OWN.get_or_init(own_niceness)
}

/// Whether a script that yields can be given its share back.
fn is_taken_back() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(can_be_lowered)
}

/// The value at which so many threads weigh about as one: each step divides a weight by 1.25 (`sched_prio_to_weight`, Linux).
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a small number of threads")]
fn niceness(own: i32, threads: u64) -> i32 {
    let steps = (threads.max(1) as f64).log(1.25).round() as i32;
    (own + OLD + steps).min(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_weigh_as_one_as_far_as_nice_values_go() {
        assert_eq!(
            [0, 1, 2, 3, 10, 23, 64, 1_000_000].map(|threads| niceness(0, threads)),
            [5, 5, 8, 10, 15, 19, 19, 19]
        );
        assert_eq!(niceness(10, 1), 15);
        assert_eq!(niceness(19, 1), 19);
        assert_eq!(niceness(-5, 64), 19);
    }
}

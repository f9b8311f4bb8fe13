//! How many lines of one kind are let through.
//!
//! Runs in the supervisor. A kind is a place in the source that logs, and for requests also what became of them. A request whose
//! script has run is always let through: it cost a process, so processors bound how many there are. Everything else costs a
//! stranger next to nothing, and could fill a disk.

use super::queue::Queue;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context as LayerContext;

/// Lines of one kind that are let through at once.
const BURST: u32 = 200;

/// Then one each this long: a hundred a second, some 25 KB.
const EACH: Duration = Duration::from_millis(10);

/// The field of a request's line that says what became of it.
const CODE: &str = "code";

/// The field that a request's line has only when its script has run.
const RUN: &str = "run_ms";

#[derive(Debug)]
pub(super) struct Rate {
    queue: &'static Queue,
    kinds: Mutex<HashMap<(Identifier, String), Kind>>,
}

#[derive(Debug)]
struct Kind {
    name: String,
    allowance: Allowance,
    left_out: u64,
}

/// Full at first, and refilled by time: when this instant lies `BURST` steps ahead of now, it is used up.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    used_until: Instant,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        let used_until = self.used_until.max(now) + EACH;
        let is_let_through = used_until <= now + EACH * BURST;
        if is_let_through {
            self.used_until = used_until;
        }
        is_let_through
    }
}

/// What of an event matters here.
#[derive(Default)]
struct Seen {
    code: String,
    message: String,
    has_run: bool,
}

impl Visit for Seen {
    fn record_f64(&mut self, field: &Field, _: f64) {
        self.has_run |= field.name() == RUN;
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == CODE {
            value.clone_into(&mut self.code);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

impl Rate {
    pub(super) fn new(queue: &'static Queue) -> Self {
        Self { queue, kinds: Mutex::default() }
    }

    fn lets_through(&self, event: &Event<'_>) -> bool {
        let mut seen = Seen::default();
        event.record(&mut seen);
        if seen.has_run {
            return true;
        }
        let now = Instant::now();
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kinds.entry((event.metadata().callsite(), seen.code.clone())).or_insert_with(|| Kind {
            name: [seen.message, seen.code].join(" ").trim_end().to_owned(),
            allowance: Allowance { used_until: now },
            left_out: 0,
        });
        let is_let_through = kind.allowance.take(now);
        if !is_let_through {
            kind.left_out += 1;
            drop(kinds);
            self.queue.leave_out();
        }
        is_let_through
    }

    /// Says in the log how many lines of which kind were left out since it was last called.
    pub(super) fn tell(&self) {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out: Vec<(String, u64)> = kinds
            .values_mut()
            .filter(|kind| kind.left_out > 0)
            .map(|kind| (kind.name.clone(), std::mem::take(&mut kind.left_out)))
            .collect();
        // The lines that follow come back here.
        drop(kinds);
        for (kind, lines) in left_out {
            tracing::warn!(kind, lines, "log lines of one kind were left out");
        }
    }
}

/// As a layer of its own and not as a layer's filter: `tracing-subscriber` 0.3.23 trips over a filter that refuses an event by its
/// fields (an assertion of debug builds).
impl<S: Subscriber> Layer<S> for &'static Rate {
    fn event_enabled(&self, event: &Event<'_>, _: LayerContext<'_, S>) -> bool {
        self.lets_through(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_a_burst_and_then_a_rate() {
        let now = Instant::now();
        let mut allowance = Allowance { used_until: now };
        let at = |allowance: &mut Allowance, now| (0..1000).filter(|_| allowance.take(now)).count();
        assert_eq!(at(&mut allowance, now), 200);
        assert_eq!(at(&mut allowance, now), 0);
        assert_eq!(at(&mut allowance, now + EACH * 50), 50);
        assert_eq!(at(&mut allowance, now + EACH * 10_000), 200);
    }
}

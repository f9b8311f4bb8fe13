//! A deadline that may move at every request and costs a timer only when a client is slow.
//!
//! Runs in the supervisor. The timer underneath is armed at most once per idle period: when it fires too early for
//! the deadline now in force, it is armed again. It must never fire late.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep, sleep_until};

/// A point in time after which something is given up.
#[derive(Default)]
pub(super) struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// From now on, `at` counts.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = Some(at);
    }

    /// From now on, `at` counts if it is sooner.
    pub(super) fn bring_forward(&mut self, at: Instant) {
        self.at = Some(self.at.map_or(at, |before| before.min(at)));
    }

    /// Nothing is waited for.
    pub(super) fn clear(&mut self) {
        self.at = None;
    }

    /// Whether a deadline is in force.
    pub(super) fn is_set(&self) -> bool {
        self.at.is_some()
    }

    /// Whether the deadline has passed; if not, the task is woken when it does.
    pub(super) fn poll_passed(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.at else { return false };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            match timer.as_mut().poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(()) if timer.deadline() >= at => return true,
                Poll::Ready(()) => timer.as_mut().reset(at),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    async fn passed(deadline: &mut Deadline) {
        poll_fn(|cx| if deadline.poll_passed(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    fn with_runtime(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(test);
    }

    #[test]
    fn it_follows_a_move_in_both_directions() {
        with_runtime(async {
            let start = Instant::now();
            let mut deadline = Deadline::default();
            deadline.set(start + Duration::from_millis(20));
            let _ = tokio::time::timeout(Duration::from_millis(5), passed(&mut deadline)).await;
            deadline.set(start + Duration::from_millis(60));
            passed(&mut deadline).await;
            assert!(start.elapsed() >= Duration::from_millis(60));

            deadline.set(start + Duration::from_secs(60));
            let _ = tokio::time::timeout(Duration::from_millis(5), passed(&mut deadline)).await;
            let sooner = Instant::now() + Duration::from_millis(10);
            deadline.set(sooner);
            passed(&mut deadline).await;
            assert!(Instant::now() < sooner + Duration::from_secs(5));
        });
    }
}

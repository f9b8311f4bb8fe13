//! The keeper of a pool: a zygote, its children, and the next zygote when that one is lost or old.
//!
//! Runs in the supervisor, as a task of each pool.

use super::{Shared, Waiter};
use crate::children::child::{Child, StillBorn};
use crate::children::slots::Slot;
use crate::children::zygote::{Zygote, ZygoteError};
use crate::jail::{ChildLimits, JailError, Step};
use crate::job::Limits;
use crate::orders::{Purpose, Spawn};
use crate::outcome::Refusal;
use crate::wire::Hello;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a cloned child may take to be jailed and ready: about a millisecond, tens under gVisor and load.
const READY_TIME: Duration = Duration::from_secs(10);

/// How often an idle pool is looked through for children that somebody killed.
const ROUND: Duration = Duration::from_secs(2);

/// The pause after a failed start or child: doubled each time, from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// How many children a zygote is asked for ahead, so that after each it has its next order at once.
const AHEAD: usize = 4;

/// A pause that grows with each failure in a row.
struct Pause(Duration);

impl Pause {
    async fn take(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LAST_PAUSE);
    }

    fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }
}

/// The keeper: a zygote, and after it the next one, as long as the service lives.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut pause = Pause(FIRST_PAUSE);
    loop {
        let zygote = match shared.start_zygote().await {
            Ok(zygote) => zygote,
            Err(error) => {
                shared.failed.store(true, Ordering::Relaxed);
                tracing::error!(zygote = shared.kind.name, %error, "a zygote did not start; trying again");
                shared.disappoint(refusal(&error));
                pause.take().await;
                continue;
            }
        };
        let error = serve_children(&shared, zygote, &mut pause).await;
        shared.warm.send_replace(None);
        tracing::error!(zygote = shared.kind.name, %error, "a zygote was lost; starting another");
        pause.take().await;
    }
}

fn refusal(error: &ZygoteError) -> Refusal {
    match error {
        ZygoteError::Jail(error) => Refusal::Jail { step: error.step.as_str(), errno: error.errno },
        _ => Refusal::NoZygote,
    }
}

/// A child that the zygote was asked for.
struct Ordered {
    limits: Limits,
    slot: Slot,
    waiter: Option<Waiter>,
}

/// Makes children until the zygote is lost. What it owes then, the next one is asked for.
async fn serve_children(shared: &Arc<Shared>, zygote: Zygote, pause: &mut Pause) -> ZygoteError {
    let mut ordered = VecDeque::new();
    let error = order_children(shared, zygote, pause, &mut ordered).await;
    for Ordered { waiter, .. } in ordered.into_iter().rev() {
        shared.take_back(waiter);
    }
    error
}

/// Orders children as they are wanted, replacing the zygote without a gap when it is old.
async fn order_children(
    shared: &Arc<Shared>,
    mut zygote: Zygote,
    pause: &mut Pause,
    ordered: &mut VecDeque<Ordered>,
) -> ZygoteError {
    let mut born = Instant::now();
    let mut forks = 0;
    let mut generation = next_generation(shared);
    loop {
        let old = born.elapsed() >= shared.kind.renew_after;
        if (old || forks >= shared.kind.renew_forks) && ordered.is_empty() {
            match shared.start_zygote().await {
                Ok(fresh) => {
                    zygote = fresh;
                    generation = next_generation(shared);
                    if old {
                        shared.lock().oldest = generation;
                    }
                }
                // The one at hand still works: it goes on until the next time.
                Err(error) => {
                    tracing::error!(zygote = shared.kind.name, %error, "can't renew a zygote; the old one stays");
                }
            }
            (born, forks) = (Instant::now(), 0);
            continue;
        }
        while !old
            && forks < shared.kind.renew_forks
            && ordered.len() < AHEAD
            && let Some((limits, waiter)) = shared.next_order()
        {
            forks += 1;
            let slot = shared.slots.take();
            let spawn = spawn(&slot, &limits);
            ordered.push_back(Ordered { limits, slot, waiter });
            if let Err(error) = zygote.order(spawn).await {
                return error;
            }
        }
        let Some(Ordered { limits, slot, waiter }) = ordered.pop_front() else {
            let renewal = shared.kind.renew_after.saturating_sub(born.elapsed());
            let round = renewal.min(ROUND);
            tokio::select! {
                () = shared.bell.notified() => {}
                () = zygote.gone() => return ZygoteError::Gone,
                () = tokio::time::sleep(round) => shared.bury_the_dead(),
            }
            continue;
        };
        match next_child(shared, &mut zygote, limits, slot).await {
            Ok(child) => {
                pause.reset();
                tokio::spawn(raise(Arc::clone(shared), child, generation, waiter));
            }
            Err(error) => {
                give_bad_news(shared, waiter, refusal(&error));
                match error {
                    ZygoteError::Jail(JailError { step, errno }) => {
                        tracing::error!(zygote = shared.kind.name, %step, errno, "can't make a child");
                    }
                    ZygoteError::Descriptors => {
                        tracing::error!(zygote = shared.kind.name, %error, "can't make a child");
                    }
                    _ => return error,
                }
                pause.take().await;
            }
        }
    }
}

fn next_generation(shared: &Shared) -> u64 {
    let mut state = shared.lock();
    state.generation += 1;
    state.generation
}

fn spawn(slot: &Slot, limits: &Limits) -> Spawn {
    let cpu_seconds = ChildLimits::whole_seconds(limits.cpu);
    Spawn { slot: slot.number(), memory: limits.memory.0, cpu_seconds, purpose: Purpose::Job }
}

async fn next_child(shared: &Shared, zygote: &mut Zygote, limits: Limits, slot: Slot) -> Result<Child, ZygoteError> {
    let newborn = zygote.newborn().await?;
    let mut child = Child::new(newborn, slot, shared.reaper.clone()).map_err(ZygoteError::Start)?;
    child.memory = limits.memory.0;
    child.cpu_seconds = ChildLimits::whole_seconds(limits.cpu);
    child.address_space = zygote.warm().address_space;
    Ok(child)
}

fn give_bad_news(shared: &Shared, waiter: Option<Waiter>, refusal: Refusal) {
    match waiter {
        Some(waiter) => drop(waiter.child.send(Err(refusal))),
        None => shared.give_up(refusal),
    }
}

/// Sees a child through its jail.
async fn raise(shared: Arc<Shared>, mut child: Child, generation: u64, waiter: Option<Waiter>) {
    let hello = tokio::time::timeout(READY_TIME, child.hello()).await.unwrap_or(Err(StillBorn::Silent));
    match (hello, waiter) {
        (Ok(Hello::Ready { .. }), None) => shared.deliver(child, generation),
        (Ok(Hello::Ready { .. }), Some(waiter)) => drop(waiter.child.send(Ok(child))),
        (hello, waiter) => {
            let refusal = if let Err(StillBorn::Jail(step, errno)) = hello {
                let step = Step::from_index(step).map_or("unknown", Step::as_str);
                tracing::error!(zygote = shared.kind.name, step, errno, "a step of a child's jail failed");
                Refusal::Jail { step, errno }
            } else {
                tracing::error!(zygote = shared.kind.name, "a child ended before it was ready");
                Refusal::NoZygote
            };
            drop(child);
            // Not at once again: a jail that fails for one will fail for the next.
            tokio::time::sleep(FIRST_PAUSE).await;
            give_bad_news(&shared, waiter, refusal);
            shared.bell.notify_one();
        }
    }
}

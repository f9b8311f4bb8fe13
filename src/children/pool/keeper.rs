//! The keeper of a pool: a zygote, its children, and the next zygote when that one is lost or old.
//!
//! Runs in the supervisor, as a task of each pool.

use super::{For, Shared};
use crate::children::child::{Child, Made, NotReady};
use crate::children::slots::Slot;
use crate::children::zygote::{Zygote, ZygoteError};
use crate::jail::JailError;
use crate::orders::Spawn;
use crate::wire::Hello;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a cloned child may take to be jailed and ready: about a millisecond, tens under gVisor and load.
const READY_TIME: Duration = Duration::from_secs(10);

/// How often an idle pool is looked through for children that somebody killed.
const ROUND: Duration = Duration::from_secs(2);

/// The pause after a failed start or child: doubled each time, from the first to the last. Refusals end so long after their cause,
/// and a child that can't be made costs a millisecond each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// The same for a zygote, whose start takes a second of a processor.
const LAST_PAUSE_OF_ZYGOTE: Duration = Duration::from_secs(5);

/// How many children a zygote is asked for ahead, so that after each it has its next order at once.
const AHEAD: usize = 4;

/// A pause that grows with each failure in a row.
struct Pause(Duration);

impl Pause {
    async fn take(&mut self) {
        self.take_within(LAST_PAUSE).await;
    }

    async fn take_within(&mut self, most: Duration) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(most);
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
                shared.note_trouble();
                tracing::error!(zygote = shared.recipe.name, %error, "a zygote did not start; trying again");
                shared.refuse_next((&error).into());
                pause.take_within(LAST_PAUSE_OF_ZYGOTE).await;
                continue;
            }
        };
        let error = serve_children(&shared, zygote, &mut pause).await;
        shared.warm.send_replace(None);
        if shared.is_draining() {
            // Whoever ends the server may end all its processes, as a service manager does.
            tracing::info!(zygote = shared.recipe.name, %error, "a zygote ended while the server drains");
            shared.is_waited_for().await;
        } else {
            tracing::error!(zygote = shared.recipe.name, %error, "a zygote was lost; starting another");
        }
        pause.take().await;
    }
}

/// A child that the zygote was asked for.
struct Ordered {
    spawn: Spawn,
    slot: Slot,
    wanted_by: For,
}

/// Makes children until the zygote is lost. What it owes then, the next one is asked for.
async fn serve_children(shared: &Arc<Shared>, zygote: Zygote, pause: &mut Pause) -> ZygoteError {
    let mut ordered = VecDeque::new();
    let error = order_children(shared, zygote, pause, &mut ordered).await;
    for Ordered { wanted_by, .. } in ordered.into_iter().rev() {
        shared.take_back(wanted_by);
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
        // The last zygote is good enough for what still runs.
        let is_last = shared.is_draining();
        let old = !is_last && born.elapsed() >= shared.recipe.renew_after;
        let most_forks = if is_last { u64::MAX } else { shared.recipe.renew_forks };
        if (old || forks >= most_forks) && ordered.is_empty() {
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
                    tracing::error!(zygote = shared.recipe.name, %error, "can't renew a zygote; the old one stays");
                }
            }
            (born, forks) = (Instant::now(), 0);
            continue;
        }
        // In trouble, one child is asked for, to see whether the cause is over.
        let ahead = if shared.lock().trouble.is_some() { 1 } else { AHEAD };
        while !old
            && forks < most_forks
            && ordered.len() < ahead
            && let Some((limits, wanted_by)) = shared.next_order()
        {
            forks += 1;
            let slot = match shared.slots.take(&shared.recipe.plan) {
                Ok(slot) => slot,
                Err(error) => {
                    tracing::error!(zygote = shared.recipe.name, %error, "a child's control group could not be made");
                    shared.refuse(wanted_by, (&ZygoteError::Jail(error)).into());
                    shared.note_trouble();
                    pause.take().await;
                    continue;
                }
            };
            let spawn = Spawn::for_job(slot.number(), limits.memory.0, limits.cpu);
            let told = zygote.order(spawn, &slot).await;
            ordered.push_back(Ordered { spawn, slot, wanted_by });
            if let Err(error) = told {
                return error;
            }
        }
        let Some(Ordered { spawn, slot, wanted_by }) = ordered.pop_front() else {
            let renewal = shared.recipe.renew_after.saturating_sub(born.elapsed());
            let round = if is_last { ROUND } else { renewal.min(ROUND) };
            tokio::select! {
                () = shared.wanted.notified() => {}
                () = zygote.gone() => return ZygoteError::Gone,
                () = tokio::time::sleep(round) => shared.drop_ended(),
            }
            continue;
        };
        match next_child(shared, &mut zygote, spawn, slot).await {
            Ok(child) => {
                // What was ordered before the trouble says nothing of whether it is over.
                if ordered.is_empty() || shared.lock().trouble.is_none() {
                    pause.reset();
                }
                tokio::spawn(see_ready(Arc::clone(shared), child, generation, wanted_by));
            }
            Err(error) => {
                shared.refuse(wanted_by, (&error).into());
                match error {
                    ZygoteError::Jail(JailError { step, errno }) => {
                        tracing::error!(zygote = shared.recipe.name, %step, errno, "a child could not be made");
                    }
                    ZygoteError::Descriptors => {
                        tracing::error!(zygote = shared.recipe.name, %error, "a child could not be made");
                    }
                    _ => return error,
                }
                shared.note_trouble();
                // What was asked for ahead fails for the same cause: it is cleared away first, then there is one pause.
                if ordered.is_empty() {
                    pause.take().await;
                }
            }
        }
    }
}

fn next_generation(shared: &Shared) -> u64 {
    let mut state = shared.lock();
    state.generation += 1;
    state.generation
}

async fn next_child(shared: &Shared, zygote: &mut Zygote, spawn: Spawn, slot: Slot) -> Result<Child, ZygoteError> {
    let newborn = zygote.newborn().await?;
    let made = Made::by(spawn, zygote.warm().address_space);
    let child = Child::new(newborn, slot, shared.reaper.clone(), made).map_err(ZygoteError::Start)?;
    child.join(&shared.launcher).await.map_err(ZygoteError::Jail)?;
    Ok(child)
}

/// Sees a child through its jail.
async fn see_ready(shared: Arc<Shared>, mut child: Child, generation: u64, wanted_by: For) {
    let hello = tokio::time::timeout(READY_TIME, child.hello()).await.unwrap_or(Err(NotReady::Silent));
    let why = match hello {
        Ok(Hello::Ready { .. }) => {
            shared.lock().trouble = None;
            match wanted_by {
                For::Pool(coming) => shared.deliver(child, generation, coming),
                For::Waiter(waiter) => drop(waiter.child.send(Ok(child))),
            }
            return;
        }
        Ok(Hello::Failed { .. } | Hello::Verified { .. }) => NotReady::Silent,
        Err(why) => why,
    };
    match why {
        NotReady::Jail(JailError { step, errno }) => {
            tracing::error!(zygote = shared.recipe.name, %step, errno, "a child's jail failed");
        }
        NotReady::Silent => tracing::error!(zygote = shared.recipe.name, "a child ended before it was ready"),
    }
    shared.note_trouble();
    drop(child);
    // Not at once again: a jail that fails for one will fail for the next.
    tokio::time::sleep(FIRST_PAUSE).await;
    shared.refuse(wanted_by, (&ZygoteError::from(why)).into());
    shared.wanted.notify_one();
}

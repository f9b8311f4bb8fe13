//! A zygote, kept alive, and its children, kept ready.
//!
//! Runs in the supervisor. Two halves share a state: `take` hands a child to a request, the keeper, a task of its own,
//! orders new ones, replaces a zygote that is gone and renews one that is old. A child in the pool is jailed, has seen
//! nothing of any request, and is handed out once.

mod keeper;

use super::child::Child;
use super::command::command;
use super::launcher::Launcher;
use super::reaper::Reaper;
use super::slots::Slots;
use super::zygote::{Zygote, ZygoteError};
use crate::jail::Plan;
use crate::job::Limits;
use crate::orders::{Role, Warm};
use crate::outcome::Refusal;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot, watch};

/// How long a request waits for a child before it is told to come again.
const TAKE_TIME: Duration = Duration::from_secs(10);

/// How long an answer waits for new children, where it has to: some milliseconds each under gVisor.
const REFILL_TIME: Duration = Duration::from_millis(200);

/// What a zygote, and so each child of it, is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seed {
    /// These modules, on top of the common part of the standard library.
    Modules(Vec<String>),
}

/// How a pool makes children.
#[derive(Debug)]
pub struct Recipe {
    /// As it stands in the log: `lean`, `loaded`.
    pub name: &'static str,
    /// What its zygote is made of.
    pub seed: Seed,
    /// The jail.
    pub plan: Plan,
    /// How many children to keep ready.
    pub ready: usize,
    /// The limits that ready children are made with.
    pub limits: Limits,
    /// Children after which the zygote is replaced.
    pub renew_forks: u64,
    /// Age at which it is replaced.
    pub renew_after: Duration,
}

/// A zygote and its ready children.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    warm: watch::Receiver<Option<Warm>>,
}

#[derive(Debug)]
struct Shared {
    recipe: Recipe,
    launcher: Launcher,
    reaper: Reaper,
    slots: Slots,
    state: Mutex<State>,
    /// Told when children are wanted.
    wanted: Notify,
    /// Told when a child became ready.
    delivered: Notify,
    warm: watch::Sender<Option<Warm>>,
    failed: AtomicBool,
    /// The service is about to end: children are made for those who wait, and for nobody else.
    draining: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<(u64, Child)>,
    /// Ordered and not yet ready.
    coming: usize,
    /// Since when no zygote or no child that was ordered could be made. Then one is ordered at a time, to see whether the cause is over.
    trouble: Option<Instant>,
    waiting: VecDeque<Waiter>,
    /// Counts zygotes.
    generation: u64,
    /// Children of zygotes before this one are too old: they are let go as younger ones become ready.
    oldest: u64,
}

#[derive(Debug)]
struct Waiter {
    /// Limits that no ready child could be given, so that one must be made with them.
    special: Option<Limits>,
    child: oneshot::Sender<Result<Child, Refusal>>,
}

/// A child that was ordered to be ready; it counts until this is dropped, whatever becomes of it.
#[derive(Debug)]
struct Coming(Arc<Shared>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.lock().coming -= 1;
    }
}

/// Who a child is made for.
#[derive(Debug)]
enum For {
    /// Whoever comes.
    Pool(Coming),
    /// This one alone.
    Waiter(Waiter),
}

impl Pool {
    /// Starts the keeper; the first zygote is started at once.
    #[must_use]
    pub fn start(recipe: Recipe, launcher: Launcher, reaper: Reaper, slots: Slots) -> Self {
        let (sender, warm) = watch::channel(None);
        let shared = Arc::new(Shared {
            recipe,
            launcher,
            reaper,
            slots,
            state: Mutex::default(),
            wanted: Notify::new(),
            delivered: Notify::new(),
            warm: sender,
            failed: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        });
        tokio::spawn(keeper::keep(Arc::clone(&shared)));
        Self { shared, warm }
    }

    /// What the zygote said of itself; `None` while there is none.
    #[must_use]
    pub fn warm(&self) -> Option<Warm> {
        self.warm.borrow().clone()
    }

    /// Whether there is a zygote.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.warm.borrow().is_some()
    }

    /// Whether the last attempt to start a zygote failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Whether a job that came now would get a child: one is ready, or there is no sign that none can be made.
    #[must_use]
    pub fn can_serve(&self) -> bool {
        let state = self.shared.lock();
        !state.ready.is_empty() || (self.is_warm() && state.trouble.is_none())
    }

    /// For how long every attempt to make a child has failed, and none is left.
    #[must_use]
    pub fn has_failed_for(&self) -> Duration {
        let state = self.shared.lock();
        state.trouble.filter(|_| state.ready.is_empty()).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// From now on nothing is made that nobody waits for: neither children to be ready nor a zygote.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// What its children are made of.
    #[must_use]
    pub fn seed(&self) -> &Seed {
        &self.shared.recipe.seed
    }

    /// Waits until there is a zygote.
    pub async fn wait_warm(&self) {
        let _ = self.warm.clone().wait_for(Option::is_some).await;
    }

    /// A ready child, or the next one to be.
    ///
    /// # Errors
    /// [`Refusal::NoZygote`] when none came in time, [`Refusal::Jail`] when its jail failed.
    pub async fn take(&self) -> Result<Child, Refusal> {
        let waiting = {
            let mut state = self.shared.lock();
            match Shared::first_alive(&mut state) {
                Some(child) => {
                    // Making children and running this one at the same time would slow both down: most often it can wait.
                    self.shared.order_if_at_most(&state, self.shared.recipe.ready / 4);
                    return Ok(child);
                }
                None => Shared::wait_in_line(&mut state, None),
            }
        };
        self.await_child(waiting).await
    }

    /// Orders replacements once half the ready children are used. Call it after the answer was sent.
    pub fn refill(&self) {
        self.shared.order_if_at_most(&self.shared.lock(), self.shared.recipe.ready / 2);
    }

    /// Waits until enough children are ready for the next requests, for a while at most.
    pub async fn refilled(&self) {
        let enough = async {
            loop {
                let delivered = self.shared.delivered.notified();
                if self.shared.lock().ready.len() > self.shared.recipe.ready / 2 {
                    return;
                }
                self.shared.wanted.notify_one();
                delivered.await;
            }
        };
        // A zygote that is being replaced must not hold an answer back.
        let _ = tokio::time::timeout(REFILL_TIME, enough).await;
    }

    /// A child made with these limits.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub async fn take_special(&self, limits: Limits) -> Result<Child, Refusal> {
        let waiting = Shared::wait_in_line(&mut self.shared.lock(), Some(limits));
        self.await_child(waiting).await
    }

    async fn await_child(&self, waiting: oneshot::Receiver<Result<Child, Refusal>>) -> Result<Child, Refusal> {
        self.shared.wanted.notify_one();
        match tokio::time::timeout(TAKE_TIME, waiting).await {
            Ok(Ok(result)) => result,
            _ => Err(Refusal::NoZygote),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if something ever did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Returns when somebody waits for a child.
    async fn is_waited_for(&self) {
        while self.lock().waiting.iter().all(|waiter| waiter.child.is_closed()) {
            self.wanted.notified().await;
        }
    }

    fn note_trouble(&self) {
        self.lock().trouble.get_or_insert_with(Instant::now);
    }

    /// Wakes the keeper where so few are ready or coming.
    fn order_if_at_most(&self, state: &State, few: usize) {
        if state.ready.len() + state.coming <= few {
            self.wanted.notify_one();
        }
    }

    /// Short of memory, the kernel kills one ready child after the other: each has little to give.
    fn first_alive(state: &mut State) -> Option<Child> {
        let mut ready = std::iter::from_fn(|| state.ready.pop_front());
        ready.find_map(|(_, child)| (!child.has_ended()).then_some(child))
    }

    fn wait_in_line(state: &mut State, special: Option<Limits>) -> oneshot::Receiver<Result<Child, Refusal>> {
        let (child, waiting) = oneshot::channel();
        state.waiting.push_back(Waiter { special, child });
        waiting
    }

    /// What to make next: for a waiter with special limits, for other waiters, or to be ready.
    fn next_order(self: &Arc<Self>) -> Option<(Limits, For)> {
        let mut state = self.lock();
        state.waiting.retain(|waiter| !waiter.child.is_closed());
        if let Some(place) = state.waiting.iter().position(|waiter| waiter.special.is_some()) {
            let waiter = state.waiting.remove(place)?;
            return Some((waiter.special?, For::Waiter(waiter)));
        }
        let ready = if self.is_draining() { 0 } else { self.recipe.ready };
        let wanted = state.waiting.len() + ready;
        let young = state.ready.iter().filter(|(born, _)| *born >= state.oldest).count();
        if young + state.coming < wanted {
            state.coming += 1;
            return Some((self.recipe.limits, For::Pool(Coming(Arc::clone(self)))));
        }
        None
    }

    /// Undoes [`Self::next_order`], where the zygote was lost before it came to it.
    fn take_back(&self, wanted_by: For) {
        match wanted_by {
            For::Waiter(waiter) => self.lock().waiting.push_front(waiter),
            For::Pool(coming) => drop(coming),
        }
    }

    /// Hands a child that just became ready to whoever waits, or keeps it ready.
    fn deliver(&self, mut child: Child, generation: u64, coming: Coming) {
        drop(coming);
        let mut state = self.lock();
        while let Some(waiter) = state.waiting.iter().position(|waiter| waiter.special.is_none()) {
            let Some(waiter) = state.waiting.remove(waiter) else { break };
            match waiter.child.send(Ok(child)) {
                Err(Ok(returned)) => child = returned,
                Ok(()) | Err(Err(_)) => return,
            }
        }
        let oldest = state.oldest;
        if let Some(old) = state.ready.iter().position(|(born, _)| *born < oldest) {
            state.ready.remove(old);
        }
        state.ready.push_back((generation, child));
        drop(state);
        self.delivered.notify_waiters();
    }

    /// Lets go of ready children that have ended: nobody but the kernel, short of memory, or a person kills them.
    fn drop_ended(&self) {
        self.lock().ready.retain(|(_, child)| !child.has_ended());
    }

    /// A child will not come. Whoever it was for, or waits longest, is told so. One failure is one refusal: the next child may do.
    fn refuse(&self, wanted_by: For, refusal: Refusal) {
        let waiter = match wanted_by {
            For::Waiter(waiter) => Some(waiter),
            For::Pool(coming) => {
                drop(coming);
                self.lock().waiting.pop_front()
            }
        };
        if let Some(waiter) = waiter {
            let _ = waiter.child.send(Err(refusal));
        }
    }

    /// No child can be made now: whoever waits longest is told so.
    fn refuse_next(&self, refusal: Refusal) {
        let waiter = self.lock().waiting.pop_front();
        if let Some(waiter) = waiter {
            let _ = waiter.child.send(Err(refusal));
        }
    }

    async fn start_zygote(&self) -> Result<Zygote, ZygoteError> {
        let Seed::Modules(preload) = self.recipe.seed.clone();
        let role = Role::Warm { preload };
        let command = command(&self.recipe.plan, &role);
        let began = Instant::now();
        let plan = &self.recipe.plan;
        let group = self.slots.group_of_zygotes(plan);
        let zygote = Zygote::start(&self.launcher, &self.reaper, plan, role, command, group).await?;
        let warm = zygote.warm();
        for (module, why) in &warm.missing {
            tracing::warn!(zygote = self.recipe.name, module, why, "a module could not be preloaded");
        }
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (python, pinned) = (&warm.python, warm.pinned);
        tracing::info!(zygote = self.recipe.name, ms, python, pinned, "warm");
        self.warm.send_replace(Some(warm.clone()));
        self.failed.store(false, Ordering::Relaxed);
        Ok(zygote)
    }
}

//! Who may run now, who waits, who is sent away.
//!
//! Runs in the supervisor. A place is a promise about resources: it is held from before the child is taken until its process is gone.
//! A process that was killed is gone within a millisecond or so: as many may wait for such places beyond the queue, so that a
//! client that has its answer is not refused the place that it leaves.
//!
//! Clients wait in lines of their own: who floods waits behind himself. A free place goes to a client that holds fewest, and among such
//! the lines take turns. A client may hold all places but a few, which are left for those who hold none. When the queue is full,
//! somebody from a shorter line takes the last place of the longest one.
//!
//! The queue is for bursts. One that goes on growing while others are let in is of no use: each waits for all before it, and more
//! come than leave. It stands. Then only as many may wait as there are places, so that waiting takes no longer than running, until a
//! second has passed in which nobody was sent away.

use crate::children::reaper::{Place, Wanted};
use crate::client::Network;
use crate::outcome::Refusal;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A long queue is looked at whenever half as many were let in as there are places, and stands when it has grown this many times in
/// a row: by half as many again, which clients that wait for their answers can't make it do, or by more than it takes.
const GROWN: usize = 3;

/// How long a queue that stood stays short after somebody was last sent away.
const CALM: Duration = Duration::from_secs(1);

/// One in so many places is left for clients that hold none.
const LEFT_FOR_OTHERS: usize = 8;

/// Places, and the queue before them.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    places: usize,
    /// The most that may wait in a burst.
    queue: usize,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Each client that holds a place or waits for one.
    clients: HashMap<Network, Line>,
    /// Those of them that wait, in the order of their turns.
    turns: VecDeque<Network>,
    waiting: usize,
    /// Places whose script is over and whose process is about to be gone.
    leaving: usize,
    closed: bool,
    burst: Burst,
    /// The number of who waits last.
    next: u64,
}

/// A client's.
#[derive(Debug, Default)]
struct Line {
    holds: usize,
    waiting: VecDeque<(u64, oneshot::Sender<Permit>)>,
}

/// Whether the queue is a burst's, or stands.
#[derive(Debug, Default, Clone, Copy)]
struct Burst {
    /// While it is long: let in since it was last looked at.
    let_in: usize,
    /// How long it was then.
    before: usize,
    /// Whether somebody was sent away since then.
    refused: bool,
    /// How many times in a row it had grown.
    grown: usize,
    /// Until when it stands.
    stands: Option<Instant>,
}

/// A place; dropping it lets the next one in.
#[derive(Debug)]
pub struct Permit {
    /// `None` once it was given up.
    home: Option<(Arc<Shared>, Network)>,
    /// Whether it counts as [`State::leaving`]; written under the lock.
    is_leaving: AtomicBool,
}

impl Permit {
    /// Gives it up without letting anybody in.
    fn void(mut self) {
        self.home = None;
    }

    fn set_leaving(&self, is_leaving: bool) {
        let Some((home, _)) = &self.home else { return };
        let mut state = home.lock();
        let was_leaving = self.is_leaving.swap(is_leaving, Ordering::Relaxed);
        state.leaving = state.leaving - usize::from(was_leaving) + usize::from(is_leaving);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.set_leaving(false);
        if let Some((home, client)) = self.home.take() {
            let mut state = home.lock();
            state.give_back(client);
            home.let_in(&mut state);
        }
    }
}

impl Place for Permit {
    /// Also when places are about to run short: who comes next must not find one taken by a script that is over.
    fn wanted(&self) -> Wanted {
        self.home.as_ref().map_or(Wanted::Later, |(home, _)| {
            let state = home.lock();
            match () {
                () if state.waiting > 0 || state.taken >= home.places => Wanted::Now,
                () if 2 * state.taken >= home.places => Wanted::Soon,
                () => Wanted::Later,
            }
        })
    }

    fn stays(&self) {
        self.set_leaving(false);
    }
}

/// What a request has of its place while its script runs. When it is dropped the script is over, and the place is free as soon as the
/// processes are gone that share it.
#[derive(Debug)]
pub struct Stay(Arc<Permit>);

impl Stay {
    /// Begins with the script.
    #[must_use]
    pub fn new(permit: Permit) -> Self {
        Self(Arc::new(permit))
    }

    /// The place, for a process to keep.
    #[must_use]
    pub fn place(&self) -> Arc<dyn Place> {
        Arc::clone(&self.0) as Arc<dyn Place>
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.set_leaving(true);
    }
}

/// Leaves its line again, however the waiting ends.
struct Waiting<'a> {
    home: &'a Shared,
    client: Network,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.home.lock();
        let Some(line) = state.clients.get_mut(&self.client) else { return };
        let before = line.waiting.len();
        line.waiting.retain(|(number, _)| *number != self.number);
        let left = before - line.waiting.len();
        state.waiting -= left;
        state.forget_if_idle(self.client);
        state.calm_down(self.home.places);
    }
}

impl State {
    fn give_back(&mut self, client: Network) {
        self.taken -= 1;
        if let Some(line) = self.clients.get_mut(&client) {
            line.holds -= 1;
        }
        self.forget_if_idle(client);
    }

    fn forget_if_idle(&mut self, client: Network) {
        if self.clients.get(&client).is_some_and(|line| line.holds == 0 && line.waiting.is_empty()) {
            self.clients.remove(&client);
            self.turns.retain(|turn| *turn != client);
        }
    }

    /// Somebody who waited was let in, or left.
    fn calm_down(&mut self, places: usize) {
        if self.waiting <= places {
            self.burst = Burst { stands: self.burst.stands, ..Burst::default() };
        }
    }

    /// Notes that somebody who waited is let in.
    fn note_let_in(&mut self, places: usize) {
        self.calm_down(places);
        if self.waiting <= places {
            return;
        }
        let (waiting, burst) = (self.waiting, &mut self.burst);
        burst.let_in += 1;
        let look = places.div_ceil(2);
        if burst.let_in < look {
            return;
        }
        let has_grown = burst.refused || waiting >= burst.before.max(places) + look.div_ceil(2);
        let grown = if has_grown { burst.grown + 1 } else { 0 };
        let stands = if grown >= GROWN { Some(Instant::now() + CALM) } else { burst.stands };
        *burst = Burst { let_in: 0, before: waiting, refused: false, grown, stands };
    }

    /// Whether so many may wait that one more may.
    fn has_room(&self, places: usize, queue: usize) -> bool {
        let stands = self.burst.stands.is_some_and(|until| Instant::now() < until);
        self.waiting < self.leaving + if stands { queue.min(places) } else { queue }
    }

    /// Notes that somebody is sent away.
    fn note_refused(&mut self) {
        self.burst.refused = true;
        if let Some(until) = &mut self.burst.stands {
            let now = Instant::now();
            // Over is over: a queue that is long again gets short only by growing.
            if now < *until {
                *until = now + CALM;
            } else {
                self.burst.stands = None;
            }
        }
    }

    /// The last of the longest line, if that is longer than one that has `length`.
    fn someone_from_a_longer_line(&mut self, length: usize) -> Option<oneshot::Sender<Permit>> {
        let (_, line) = self.clients.iter_mut().max_by_key(|(_, line)| line.waiting.len())?;
        if line.waiting.len() <= length + 1 {
            return None;
        }
        self.waiting -= 1;
        line.waiting.pop_back().map(|(_, waiter)| waiter)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a place for a client that holds so many.
    fn has_place(&self, taken: usize, holds: usize) -> bool {
        let left = if holds == 0 { 0 } else { self.places / LEFT_FOR_OTHERS };
        taken + left < self.places
    }

    fn take(self: &Arc<Self>, state: &mut State, client: Network) -> Permit {
        state.taken += 1;
        state.clients.entry(client).or_default().holds += 1;
        Permit { home: Some((Arc::clone(self), client)), is_leaving: AtomicBool::new(false) }
    }

    /// Who is let in next, as a place in the order of turns: of those who hold fewest, whoever's turn comes first.
    fn next_turn(&self, state: &State) -> Option<usize> {
        let waiting = state.turns.iter().enumerate().filter_map(|(turn, client)| {
            let line = state.clients.get(client).filter(|line| !line.waiting.is_empty())?;
            Some((line.holds, turn))
        });
        let (holds, turn) = waiting.min()?;
        self.has_place(state.taken, holds).then_some(turn)
    }

    /// Lets in those who wait, as long as there are places for them.
    fn let_in(self: &Arc<Self>, state: &mut State) {
        while let Some(client) = self.next_turn(state).and_then(|turn| state.turns.remove(turn)) {
            state.turns.push_back(client);
            let Some((_, waiter)) = state.clients.get_mut(&client).and_then(|line| line.waiting.pop_front()) else {
                continue;
            };
            state.waiting -= 1;
            let permit = self.take(state, client);
            match waiter.send(permit) {
                Ok(()) => state.note_let_in(self.places),
                Err(unwanted) => {
                    unwanted.void();
                    state.give_back(client);
                }
            }
        }
    }
}

impl Admission {
    /// `places` scripts at once, and `queue` requests waiting.
    #[must_use]
    pub fn new(places: usize, queue: usize) -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), places, queue }))
    }

    /// A place at once, or after waiting in line.
    ///
    /// # Errors
    /// [`Refusal::QueueFull`] when the queue is full, at once or when others have more right to wait; [`Refusal::Draining`] after
    /// [`Self::close`].
    pub async fn enter(&self, client: Network) -> Result<Permit, Refusal> {
        let (waiting, place) = {
            let mut state = self.0.lock();
            if state.closed {
                return Err(Refusal::Draining);
            }
            let (holds, length) = state.clients.get(&client).map_or((0, 0), |line| (line.holds, line.waiting.len()));
            if length == 0 && self.0.has_place(state.taken, holds) {
                return Ok(self.0.take(&mut state, client));
            }
            if !state.has_room(self.0.places, self.0.queue) {
                state.note_refused();
                // Whose sender is dropped learns that it is sent away.
                drop(state.someone_from_a_longer_line(length).ok_or(Refusal::QueueFull)?);
            }
            let (sender, place) = oneshot::channel();
            state.next += 1;
            let number = state.next;
            state.clients.entry(client).or_default().waiting.push_back((number, sender));
            state.waiting += 1;
            if !state.turns.contains(&client) {
                state.turns.push_back(client);
            }
            (Waiting { home: &self.0, client, number }, place)
        };
        let permit = place.await;
        drop(waiting);
        permit.map_err(|_| if self.0.lock().closed { Refusal::Draining } else { Refusal::QueueFull })
    }

    /// Lets nobody in any more; who waits is sent away.
    pub fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.waiting = 0;
        let lines: Vec<_> = state.clients.values_mut().map(|line| std::mem::take(&mut line.waiting)).collect();
        drop(state);
        drop(lines);
    }

    /// How many places are taken, and how many requests wait.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        let state = self.0.lock();
        (state.taken, state.waiting)
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;

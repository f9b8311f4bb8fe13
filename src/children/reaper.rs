//! Reaps every process the supervisor started or was given, one thread for all.
//!
//! Runs in the supervisor. A process is handed over once, after it was killed or was seen to be ending; until it is
//! reaped its pid can't be used again, so nothing here can hit a stranger. Its slot, and the place of its script, are free only
//! then: what a process holds is given back by its end, not by the signal.
//!
//! Nothing here waits for one process while others are dead. A process that waits for a disk does not end before the disk has
//! answered, whatever signal it got: it keeps its own place, is counted, and delays nobody.
//!
//! Nobody waits for most of the dead, so they are looked for in batches: waking a thread for each costs more than the call. The
//! sooner one of them is wanted, or its place, the smaller is its batch. None is looked at when it comes: a killed process takes a
//! while to end.

use super::nsjail;
use super::slots::Slot;
use crate::sys::{self, Ended};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::fmt::Debug;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a process that nobody waits for may stay a zombie while others join it.
const BATCH_TIME: Duration = Duration::from_millis(10);

/// How soon a process is looked at that is wanted so much: a killed one is gone in 0.1 to 0.5 ms, a large one in more. From look to
/// look the interval doubles, up to [`BATCH_TIME`].
fn first_look(wanted: Wanted) -> Duration {
    match wanted {
        Wanted::Now => Duration::from_micros(100),
        Wanted::Soon => Duration::from_millis(1),
        Wanted::Later => BATCH_TIME,
    }
}

/// How often strays are looked for, and how old one is at least: older than a child that a zygote may still tell of.
const ROUND: Duration = Duration::from_secs(5);

/// A killed process that is not gone after this counts as one that does not end.
const OVERDUE: Duration = Duration::from_secs(1);

/// How much somebody wants a process to be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// Somebody waits for it.
    Now,
    /// Somebody may wait for it before long.
    Soon,
    /// Nobody does.
    Later,
}

/// Where a script runs, until its process is gone. Dropping it frees the place.
pub trait Place: Debug + Send + Sync {
    /// How much it is wanted.
    fn wanted(&self) -> Wanted;

    /// Its process does not end: nobody should wait for it.
    fn stays(&self);
}

/// The way to the thread.
#[derive(Debug, Clone)]
pub struct Reaper {
    queue: Arc<Queue>,
    thread: Arc<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// Processes that were killed and do not end.
    overdue: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    dying: Vec<Dying>,
    /// When the first of them is to be looked at.
    due: Option<Instant>,
    /// Until when the thread sleeps, unless it is woken.
    sleeps_until: Option<Instant>,
    /// Processes that somebody will hand over in the end.
    expected: HashSet<Pid>,
}

/// A process that was killed, or is ending.
#[derive(Debug)]
struct Dying {
    pid: Pid,
    /// Where `pid` is an nsjail: the child in it.
    inside: Option<Pid>,
    /// Dropped, and so freed, when the process is gone.
    slot: Option<Slot>,
    /// The same.
    place: Option<Arc<dyn Place>>,
    ended: Option<oneshot::Sender<Ended>>,
    since: Instant,
    is_overdue: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, dying: Dying) {
        let due = dying.since + first_look(dying.wanted());
        let mut waiting = self.lock();
        waiting.due = Some(waiting.due.map_or(due, |before| before.min(due)));
        waiting.dying.push(dying);
        let wake = waiting.sleeps_until.is_some_and(|until| due < until);
        if wake {
            // Whoever comes next finds it awake.
            waiting.sleeps_until = Some(due);
        }
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Sleeps until `look`, or until somebody who comes meanwhile is to be looked at; takes those.
    fn next(&self, look: Instant, dying: &mut Vec<Dying>) {
        let mut waiting = self.lock();
        loop {
            let due = waiting.due.map_or(look, |due| due.min(look));
            let now = Instant::now();
            if due <= now {
                break;
            }
            waiting.sleeps_until = Some(due);
            waiting = self.wake.wait_timeout(waiting, due - now).unwrap_or_else(PoisonError::into_inner).0;
        }
        (waiting.due, waiting.sleeps_until) = (None, None);
        dying.append(&mut waiting.dying);
    }

    /// Looks at each process once; those that are gone are reaped and left out.
    fn look(&self, dying: &mut Vec<Dying>) {
        let now = Instant::now();
        let mut at = 0;
        while let Some(one) = dying.get_mut(at) {
            // Under the lock: once it is reaped its number may be another's, and expected.
            let mut waiting = self.lock();
            let reaped = match one.inside {
                Some(inside) => nsjail::try_reap(one.pid, inside),
                None => sys::try_reap(one.pid),
            };
            if reaped != Ok(None) {
                waiting.expected.remove(&one.pid);
            }
            drop(waiting);
            if reaped == Ok(None) {
                if !one.is_overdue && now.saturating_duration_since(one.since) >= OVERDUE {
                    one.is_overdue = true;
                    if let Some(place) = &one.place {
                        place.stays();
                    }
                    self.overdue.fetch_add(1, Ordering::Relaxed);
                    let pid = one.pid.as_raw();
                    tracing::warn!(pid, "a killed process does not end; its place stays taken until it does");
                }
                at += 1;
                continue;
            }
            let one = dying.swap_remove(at);
            if one.is_overdue {
                self.overdue.fetch_sub(1, Ordering::Relaxed);
            }
            one.finish(reaped);
        }
    }

    /// Reaps children that nobody expects: their zygote ended after making them and before telling. One that is older than a
    /// zygote may take to tell would be expected by now.
    fn reap_strays(&self) {
        while let Some(pid) = sys::some_zombie() {
            let waiting = self.lock();
            if waiting.expected.contains(&pid) || sys::age_of(pid).is_none_or(|age| age < ROUND) {
                break;
            }
            // Its end is of no interest to anybody.
            let _ = sys::try_reap(pid);
        }
    }

    /// The thread's whole life.
    fn serve(&self) {
        let (mut dying, mut pause, mut round) = (Vec::new(), BATCH_TIME, Instant::now() + ROUND);
        loop {
            let look = if dying.is_empty() { round } else { round.min(Instant::now() + pause) };
            let before = dying.len();
            self.next(look, &mut dying);
            let has_come = dying.len() > before;
            let all = dying.len();
            self.look(&mut dying);
            let wanted = dying.iter().map(Dying::wanted).min().unwrap_or(Wanted::Later);
            let has_moved = has_come || dying.len() < all;
            pause = if has_moved { first_look(wanted) } else { (pause * 2).clamp(first_look(wanted), BATCH_TIME) };
            if Instant::now() >= round {
                self.reap_strays();
                round = Instant::now() + ROUND;
            }
        }
    }
}

impl Dying {
    fn wanted(&self) -> Wanted {
        match (&self.ended, &self.place) {
            (Some(_), _) => Wanted::Now,
            (None, Some(place)) => place.wanted(),
            (None, None) => Wanted::Later,
        }
    }

    fn finish(self, reaped: Result<Option<Ended>, nix::errno::Errno>) {
        let Self { pid, slot, place, ended, .. } = self;
        if slot.is_none() {
            // It may have been an nsjail that never came to tell of its child.
            nsjail::reap_left_behind(pid);
        }
        // Before anybody is told: who is told may want them.
        drop((slot, place));
        match (reaped, ended) {
            // Nobody may want to know any more.
            (Ok(Some(how)), Some(ended)) => drop(ended.send(how)),
            // Whoever waits for the end learns of it by getting none.
            (Ok(_), _) | (Err(_), Some(_)) => {}
            (Err(errno), None) => tracing::error!(pid = pid.as_raw(), %errno, "a process could not be reaped"),
        }
    }
}

impl Reaper {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start() -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let own = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name("reaper".to_owned()).spawn(move || own.serve())?;
        Ok(Self { queue, thread: Arc::new(thread) })
    }

    /// Whether it still reaps.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    /// How many processes were killed a second ago or more, and have not ended.
    #[must_use]
    pub fn overdue(&self) -> usize {
        self.queue.overdue.load(Ordering::Relaxed)
    }

    /// Notes a process that will be handed over in the end.
    pub fn expect(&self, pid: Pid) {
        self.queue.lock().expected.insert(pid);
    }

    /// Reaps a process that was killed, whenever it is gone.
    pub fn reap_later(&self, pid: Pid) {
        self.add(pid, None, None, None, None);
    }

    /// Reaps a child that was killed, and frees its slot and its place. `inside` is the child where `pid` is its nsjail.
    pub fn reap_child_later(&self, pid: Pid, inside: Option<Pid>, slot: Slot, place: Option<Arc<dyn Place>>) {
        self.add(pid, inside, Some(slot), place, None);
    }

    /// The same, and tells how it ended, if that is known within `patience`.
    pub async fn reap_child(
        &self,
        pid: Pid,
        inside: Option<Pid>,
        slot: Slot,
        place: Option<Arc<dyn Place>>,
        patience: Duration,
    ) -> Option<Ended> {
        let (ended, answer) = oneshot::channel();
        self.add(pid, inside, Some(slot), place, Some(ended));
        tokio::time::timeout(patience, answer).await.ok()?.ok()
    }

    fn add(
        &self,
        pid: Pid,
        inside: Option<Pid>,
        slot: Option<Slot>,
        place: Option<Arc<dyn Place>>,
        ended: Option<oneshot::Sender<Ended>>,
    ) {
        self.queue.add(Dying { pid, inside, slot, place, ended, since: Instant::now(), is_overdue: false });
    }
}

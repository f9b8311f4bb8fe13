//! Reaps every process the supervisor started or was given, one thread for all.
//!
//! Runs in the supervisor. A process is handed over once, after it was killed or was seen to be ending; until it is
//! reaped its pid can't be used again, so nothing here can hit a stranger. Its slot is free only then.
//!
//! Nobody waits for most of the dead, so they are reaped in batches: waking a thread for each costs more than the call.

use super::nsjail;
use super::slots::Slot;
use crate::sys::{self, Ended};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a process that nobody waits for may stay a zombie while others join it.
const BATCH_TIME: Duration = Duration::from_millis(10);

/// How long there must be nothing to do before strays are looked for; longer than a zygote may take to tell of a child.
const ROUND: Duration = Duration::from_secs(5);

/// The way to the thread.
#[derive(Debug, Clone)]
pub struct Reaper {
    grave: Arc<Grave>,
}

#[derive(Debug, Default)]
struct Grave {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    orders: Vec<Order>,
    /// Somebody waits for one of them.
    urgent: bool,
    /// Processes that somebody will hand over in the end.
    expected: HashSet<Pid>,
}

#[derive(Debug)]
struct Order {
    pid: Pid,
    /// Where `pid` is an nsjail: the child in it.
    inside: Option<Pid>,
    /// Dropped, and so freed, when the process is gone.
    slot: Option<Slot>,
    ended: Option<oneshot::Sender<Ended>>,
}

impl Grave {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch: whoever came within [`BATCH_TIME`] of the first, or sooner if somebody waits. None after a while
    /// without any.
    fn next_batch(&self) -> Vec<Order> {
        let waiting = self.lock();
        let idle = |waiting: &mut Waiting| waiting.orders.is_empty();
        let waited = self.bell.wait_timeout_while(waiting, ROUND, idle);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        if waiting.orders.is_empty() {
            return Vec::new();
        }
        if !waiting.urgent {
            let waited = self.bell.wait_timeout_while(waiting, BATCH_TIME, |waiting| !waiting.urgent);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        waiting.urgent = false;
        std::mem::take(&mut waiting.orders)
    }

    fn add(&self, order: Order) {
        let mut waiting = self.lock();
        let urgent = order.ended.is_some();
        let wake = urgent || waiting.orders.is_empty();
        waiting.urgent |= urgent;
        waiting.orders.push(order);
        drop(waiting);
        if wake {
            self.bell.notify_one();
        }
    }
}

/// Reaps a child that nobody expects: its zygote ended after making it and before telling. `suspect` is one that was found
/// a round ago; by now it would be expected if its zygote lived.
fn reap_strays(grave: &Grave, suspect: &mut Option<Pid>) {
    while let Some(pid) = sys::some_zombie() {
        if grave.lock().expected.contains(&pid) {
            break;
        }
        if *suspect != Some(pid) {
            *suspect = Some(pid);
            break;
        }
        // Its end is of no interest to anybody.
        let _ = sys::reap(pid);
    }
}

fn reap(Order { pid, inside, slot, ended }: Order) {
    let how = match inside {
        Some(inside) => nsjail::reap(pid, inside),
        None => sys::reap(pid),
    };
    if slot.is_none() {
        // It may have been an nsjail that never came to tell of its child.
        nsjail::reap_left_behind(pid);
    }
    match (how, ended) {
        // Nobody may want to know any more.
        (Ok(how), Some(ended)) => drop(ended.send(how)),
        // Whoever waits for the end learns of it by getting none.
        (Ok(_), None) | (Err(_), Some(_)) => {}
        (Err(errno), None) => tracing::error!(pid = pid.as_raw(), %errno, "can't reap a process"),
    }
    drop(slot);
}

impl Reaper {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start() -> io::Result<Self> {
        let grave = Arc::new(Grave::default());
        let own = Arc::clone(&grave);
        std::thread::Builder::new().name("reaper".to_owned()).spawn(move || {
            let mut suspect = None;
            loop {
                let batch = own.next_batch();
                if batch.is_empty() {
                    reap_strays(&own, &mut suspect);
                }
                for order in batch {
                    // Before it is reaped: from then on the number may be another's.
                    own.lock().expected.remove(&order.pid);
                    reap(order);
                }
            }
        })?;
        Ok(Self { grave })
    }

    /// Notes a process that will be handed over in the end.
    pub fn expect(&self, pid: Pid) {
        self.grave.lock().expected.insert(pid);
    }

    /// Reaps a process that was killed, whenever it is gone.
    pub fn bury(&self, pid: Pid) {
        self.grave.add(Order { pid, inside: None, slot: None, ended: None });
    }

    /// Reaps a child that was killed, and frees its slot. `inside` is the child where `pid` is its nsjail.
    pub fn bury_child(&self, pid: Pid, inside: Option<Pid>, slot: Slot) {
        self.grave.add(Order { pid, inside, slot: Some(slot), ended: None });
    }

    /// Reaps a child that was killed or is ending, frees its slot, and tells how it ended.
    pub async fn await_child(&self, pid: Pid, inside: Option<Pid>, slot: Slot) -> Option<Ended> {
        let (ended, answer) = oneshot::channel();
        self.grave.add(Order { pid, inside, slot: Some(slot), ended: Some(ended) });
        answer.await.ok()
    }
}

//! Reaps every process the supervisor started or was given, one thread for all.
//!
//! Runs in the supervisor. A process is handed over once, after it was killed or was seen to be ending; until it is
//! reaped its pid can't be used again, so nothing here can hit a stranger. Its slot is free only then.

use super::slots::Slot;
use crate::sys::{self, Ended};
use nix::unistd::Pid;
use std::io;
use std::sync::mpsc::{Sender, channel};
use tokio::sync::oneshot;

/// The way to the thread.
#[derive(Debug, Clone)]
pub struct Reaper {
    orders: Sender<Order>,
}

struct Order {
    pid: Pid,
    /// Dropped, and so freed, when the process is gone.
    slot: Option<Slot>,
    ended: Option<oneshot::Sender<Ended>>,
}

impl Reaper {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start() -> io::Result<Self> {
        let (orders, incoming) = channel::<Order>();
        std::thread::Builder::new().name("reaper".to_owned()).spawn(move || {
            for Order { pid, slot, ended } in incoming {
                match sys::reap(pid) {
                    Ok(how) => {
                        if let Some(ended) = ended {
                            // Nobody may want to know any more.
                            let _ = ended.send(how);
                        }
                    }
                    // Whoever waits for the end learns of it by getting none.
                    Err(_) if ended.is_some() => {}
                    Err(errno) => tracing::error!(pid = pid.as_raw(), %errno, "a process could not be reaped"),
                }
                drop(slot);
            }
        })?;
        Ok(Self { orders })
    }

    /// Reaps a process that was killed, whenever it is gone.
    pub fn bury(&self, pid: Pid) {
        self.send(Order { pid, slot: None, ended: None });
    }

    /// Reaps a child that was killed, and frees its slot.
    pub fn bury_child(&self, pid: Pid, slot: Slot) {
        self.send(Order { pid, slot: Some(slot), ended: None });
    }

    /// Reaps a child that was killed or is ending, frees its slot, and tells how it ended.
    pub async fn await_child(&self, pid: Pid, slot: Slot) -> Option<Ended> {
        let (ended, answer) = oneshot::channel();
        self.send(Order { pid, slot: Some(slot), ended: Some(ended) });
        answer.await.ok()
    }

    fn send(&self, order: Order) {
        if let Err(unsent) = self.orders.send(order) {
            // The thread ends with the process only; should it be gone, blocking here beats a zombie.
            let _ = sys::reap(unsent.0.pid);
        }
    }
}

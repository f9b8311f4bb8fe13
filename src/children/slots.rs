//! Slots: numbers that no two living children share, from which their ids follow.
//!
//! Runs in the supervisor. A slot comes back only when its child is reaped, so no process ever runs under the ids of
//! another that still lives, and none is in a control group with another.

use super::cgroups::{Cgroup, Cgroups};
use crate::fault::supervisor_leaves_out;
use crate::jail::{JailError, Joining, Plan, Step};
use crate::layer::Layer;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// Hands out the smallest free number.
#[derive(Debug, Clone, Default)]
pub struct Slots {
    free: Arc<Mutex<Free>>,
    groups: Option<Cgroups>,
}

#[derive(Debug, Default)]
struct Free {
    returned: std::collections::BinaryHeap<std::cmp::Reverse<u32>>,
    next: u32,
}

/// A number in use; dropping it gives it back.
#[derive(Debug)]
pub struct Slot {
    number: u32,
    home: Slots,
    group: Option<Group>,
}

/// The control group of a slot.
#[derive(Debug)]
struct Group {
    home: Arc<Cgroup>,
    joining: Joining,
    /// Size of the child's /tmp, in bytes.
    tmp: u64,
}

impl Slots {
    /// With a control group for each, where there are any.
    #[must_use]
    pub fn new(groups: Option<Cgroups>) -> Self {
        Self { groups, ..Self::default() }
    }

    /// The control groups, where there are any.
    #[must_use]
    pub fn groups(&self) -> Option<&Cgroups> {
        self.groups.as_ref()
    }

    /// The control group of zygotes of `plan`.
    #[must_use]
    pub fn group_of_zygotes(&self, plan: &Plan) -> Option<Arc<Cgroup>> {
        self.groups.as_ref().filter(|_| plan.joining != Joining::No).map(Cgroups::zygotes)
    }

    /// Takes a free number, for a child of `plan`.
    ///
    /// # Errors
    /// When its control group can't be made. Try again after a while.
    pub fn take(&self, plan: &Plan) -> Result<Slot, JailError> {
        let mut slot = Slot { number: self.number(), home: self.clone(), group: None };
        if let Some(groups) = self.groups.as_ref().filter(|_| plan.joining != Joining::No) {
            let home = groups.of_slot(slot.number, plan).map_err(failed)?;
            // A process of the last child may have been killed in it, and nobody asked.
            let _ = home.ran_out_of_memory();
            let tmp = if plan.has_tmp() { plan.tmp_bytes } else { 0 };
            slot.group = Some(Group { home, joining: plan.joining, tmp });
        }
        Ok(slot)
    }

    fn number(&self) -> u32 {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.returned.pop().map_or_else(
            || {
                let number = free.next;
                free.next += 1;
                number
            },
            |returned| returned.0,
        )
    }
}

fn failed(errno: Errno) -> JailError {
    JailError { step: Step::Clone, errno: errno as i32 }
}

impl Slot {
    /// The number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its control group's directory, where its child is to be cloned into it.
    #[must_use]
    pub fn to_clone_into(&self) -> Option<BorrowedFd<'_>> {
        let group = self.group.as_ref().filter(|group| group.joining == Joining::Cloned)?;
        Some(group.home.directory().as_fd())
    }

    /// Its control group, where its child is to be moved into it.
    #[must_use]
    pub fn to_move_into(&self) -> Option<Arc<Cgroup>> {
        let group = self.group.as_ref().filter(|group| group.joining == Joining::Moved)?;
        if supervisor_leaves_out(Layer::OwnCgroup) {
            return None;
        }
        Some(Arc::clone(&group.home))
    }

    /// Whether a process is in its control group, where there is one.
    #[must_use]
    pub fn has(&self, pid: Pid) -> bool {
        self.group.as_ref().is_none_or(|group| group.home.has(pid))
    }

    /// Bounds what its child holds, in its control group: `memory` beside the `own` of its interpreter, in bytes.
    ///
    /// # Errors
    /// None is known.
    pub fn bound(&self, memory: u64, own: u64) -> Result<(), JailError> {
        self.group.as_ref().map_or(Ok(()), |group| group.home.bound(memory, own, group.tmp).map_err(failed))
    }

    /// Whether the kernel killed its child because it held more than its control group may; asked once.
    #[must_use]
    pub fn ran_out_of_memory(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.home.ran_out_of_memory())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut free = self.home.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.returned.push(std::cmp::Reverse(self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shared_by_no_two_and_come_back() {
        let slots = Slots::default();
        let take = || Slot { number: slots.number(), home: slots.clone(), group: None };
        let (first, second) = (take(), take());
        assert_eq!((first.number(), second.number()), (0, 1));
        drop(first);
        assert_eq!(take().number(), 0);
        drop(second);
    }
}

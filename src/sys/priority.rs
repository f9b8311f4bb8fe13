//! How the kernel shares the processors out: nice values.
//!
//! Used in the supervisor.
#![expect(unsafe_code, reason = "a part of `sys`, the one place for raw system calls")]

use super::check;
use nix::errno::Errno;
use nix::unistd::Pid;

/// The least share there is, of 40 (setpriority(2)).
pub const LEAST: i32 = 19;

/// The nice value of the calling thread.
#[must_use]
pub fn own_niceness() -> i32 {
    // SAFETY: it takes two numbers. An error can't be told from -1, and there is none for the caller itself.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Sets the nice value of every thread of every process in a group, of one process where that leads a group of its own.
///
/// # Errors
/// `ESRCH` when there is no such group; `EPERM`, `EACCES` when the kernel does not let the caller.
pub fn set_niceness_of_group(leader: Pid, niceness: i32) -> Result<(), Errno> {
    let group = libc::id_t::try_from(leader.as_raw()).map_err(|_| Errno::ESRCH)?;
    if group == 0 {
        // That would be the caller's own.
        return Err(Errno::ESRCH);
    }
    // SAFETY: it takes three numbers.
    check(unsafe { libc::setpriority(libc::PRIO_PGRP, group, niceness) }.into()).map(drop)
}

/// Whether a nice value that was raised can be lowered again. It is tried: a nice value is one thread's, and this one is back at once.
#[must_use]
pub fn can_be_lowered() -> bool {
    let own = own_niceness();
    let set = |niceness| {
        // SAFETY: it takes three numbers.
        check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) }.into()).is_ok()
    };
    set(own - 1) && set(own)
}

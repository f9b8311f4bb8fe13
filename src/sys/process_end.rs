//! How processes end, and what they used: waiting, and processor clocks.
//!
//! Used in the supervisor, and in the child for its own clock.
#![expect(unsafe_code, reason = "a part of `sys`, the one place for raw system calls")]

use super::check;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::mem::MaybeUninit;
use std::time::Duration;

/// How a process ended, and what it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Exit status or signal.
    pub how: How,
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Most memory resident at once, in bytes.
    pub peak_memory: u64,
    /// Page faults served without reading from a disk.
    pub minor_faults: u64,
}

/// The two ways a process can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// `_exit` with this status.
    Exited(i32),
    /// Killed by this signal number.
    Signalled(i32),
}

/// A child that has ended and is not reaped yet, if there is one. It is left as it is.
#[must_use]
pub fn some_zombie() -> Option<Pid> {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT).ok()?.pid()
}

/// Waits for a child to end and reaps it.
///
/// # Errors
/// `ECHILD` when it is no child of this process, or already reaped.
pub fn reap(pid: Pid) -> Result<Ended, Errno> {
    wait(pid, 0)?.ok_or(Errno::EAGAIN)
}

/// Reaps a child if it has ended; `None` while it has not.
///
/// # Errors
/// As [`reap`].
pub fn try_reap(pid: Pid) -> Result<Option<Ended>, Errno> {
    wait(pid, libc::WNOHANG)
}

fn wait(pid: Pid, options: libc::c_int) -> Result<Option<Ended>, Errno> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let reaped = loop {
        // SAFETY: the kernel writes one int and one rusage.
        match check(unsafe { libc::wait4(pid.as_raw(), &raw mut status, options, usage.as_mut_ptr()) }.into()) {
            Ok(reaped) => break reaped,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    };
    if reaped == 0 {
        return Ok(None);
    }
    // SAFETY: zeroed at first, which is a valid rusage, and written by a successful wait4.
    let usage = unsafe { usage.assume_init() };
    let how = if libc::WIFSIGNALED(status) {
        How::Signalled(libc::WTERMSIG(status))
    } else {
        How::Exited(libc::WEXITSTATUS(status))
    };
    Ok(Some(Ended {
        how,
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        peak_memory: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        minor_faults: u64::try_from(usage.ru_minflt).unwrap_or(0),
    }))
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_micros(u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec).unwrap_or(0))
}

/// How long ago a process was made; `None` when it can't be told.
#[must_use]
pub fn age_of(pid: Pid) -> Option<Duration> {
    use nix::unistd::{SysconfVar, sysconf};
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold anything: the state is the first field, the time of the start the twentieth, in ticks since the
    // system's own.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let per_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    let started = Duration::from_millis(ticks.checked_mul(1000)?.checked_div(per_second)?);
    clock_reading(libc::CLOCK_BOOTTIME)?.checked_sub(started)
}

/// Processor time that a process has used so far, all threads together; `None` when it can't be told.
#[must_use]
pub fn cpu_time_of(pid: Pid) -> Option<Duration> {
    let mut clock = 0;
    // SAFETY: glibc writes one clock id.
    if unsafe { libc::clock_getcpuclockid(pid.as_raw(), &raw mut clock) } != 0 {
        return None;
    }
    clock_reading(clock)
}

/// Processor time that this process has used so far.
#[must_use]
pub fn own_cpu_time() -> Duration {
    clock_reading(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default()
}

fn clock_reading(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return None;
    }
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_an_age() {
        let age = |pid| age_of(pid).expect("it is there");
        let (own, first) = (age(Pid::this()), age(Pid::from_raw(1)));
        assert!(own < Duration::from_secs(24 * 3600), "{own:?}");
        assert!(first + Duration::from_millis(10) >= own, "{first:?} {own:?}");
        assert_eq!(age_of(Pid::from_raw(i32::MAX)), None);
    }
}

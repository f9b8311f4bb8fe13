//! The fence around unsafe system calls: each function here is one call that no crate offers safely.
//!
//! Used in every process. It decides nothing: policy lives in `jail`, `worker`, `children` and `supervisor`. Who calls a safe function
//! here owes it nothing: what must hold is checked, or proved by a parameter that only `sys` makes.
#![expect(unsafe_code, reason = "this is the one place for raw system calls")]

pub mod beneath;
mod clone;
mod descriptors;
pub mod memory;
pub mod message;
pub mod own_proc;
pub mod pins;
pub mod priority;
mod process_end;

pub use clone::{
    ByAnother, Cloned, NewProcess, ThreadIdAddress, bare_fork, can_fork, clone_by_another, clone_into, clone_process,
    thread_id_address,
};
pub use descriptors::{HandedIn, OneWay, to_the_end};
pub use process_end::{Ended, How, age_of, cpu_time_of, own_cpu_time, reap, some_zombie, try_reap};

use crate::handover;
use libc::{c_int, c_long, c_ulong};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A `sock_filter` as the kernel takes it.
pub type Instruction = libc::sock_filter;

fn check(result: c_long) -> Result<c_long, Errno> {
    if result == -1 { Err(Errno::last()) } else { Ok(result) }
}

/// Installs one filter program; it can't be taken back.
///
/// # Errors
/// `EACCES` without `no_new_privs`, `EINVAL` for a malformed program or a kernel without seccomp.
pub fn install_filter(program: &[Instruction]) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads `len` instructions from `filter` and copies them.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) }).map(drop)
}

/// Makes this process the parent of descendants whose own parent ends.
///
/// # Errors
/// None is known since Linux 3.4.
pub fn adopt_orphans() -> Result<(), Errno> {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes one integer.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }.into()).map(drop)
}

/// Puts a Landlock ruleset in force for the calling thread, for good.
///
/// # Errors
/// `EPERM` without `no_new_privs`, `E2BIG` for a seventeenth ruleset.
pub fn restrict_by_landlock(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: it takes a descriptor number and a flags word.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) }).map(drop)
}

/// Empties the calling thread's effective, permitted and inheritable capability sets.
///
/// # Errors
/// None is known for emptying.
pub fn drop_capabilities() -> Result<(), Errno> {
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    let header = Header { version: VERSION_3, pid: 0 };
    let nothing = [0u32; 6];
    // SAFETY: version 3 reads two blocks of three 32-bit words, as given.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, nothing.as_ptr()) }).map(drop)
}

/// The calling thread's effective capabilities, as a bit set.
///
/// # Errors
/// None is known.
pub fn effective_capabilities() -> Result<u64, Errno> {
    let header: [u32; 2] = [0x2008_0522, 0];
    let mut sets = [0u32; 6];
    // SAFETY: version 3 writes two blocks of three 32-bit words.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) })?;
    Ok(u64::from(sets[0]) | u64::from(sets[3]) << 32)
}

/// Drops one capability from the bounding set; `false` when the kernel knows no capability of this number.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn drop_bounding(capability: u32) -> Result<bool, Errno> {
    // SAFETY: PR_CAPBSET_DROP takes one integer.
    match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, c_ulong::from(capability), 0, 0, 0) }.into()) {
        Ok(_) => Ok(true),
        Err(Errno::EINVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Sets a limit of another process, soft and hard alike.
///
/// # Errors
/// `EPERM` when the kernel does not let this process, `ESRCH` when the process is gone.
pub fn set_limit_of(pid: Pid, resource: nix::sys::resource::Resource, value: u64) -> Result<(), Errno> {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: the kernel reads one rlimit and writes none.
    check(
        unsafe {
            libc::prlimit(pid.as_raw(), resource as libc::__rlimit_resource_t, &raw const limit, std::ptr::null_mut())
        }
        .into(),
    )
    .map(drop)
}

/// Puts every signal back to its default action, `SIGPIPE` to ignored (as `CPython` has it), and unblocks all.
///
/// # Errors
/// None is known for signals that can be caught.
pub fn reset_signals() -> Result<(), Errno> {
    for signal in Signal::iterator() {
        if matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            continue;
        }
        let action = if signal == Signal::SIGPIPE { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: no handler of ours is installed, only the two constant dispositions.
        if unsafe { libc::signal(signal as c_int, action) } == libc::SIG_ERR {
            return Err(Errno::last());
        }
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()
}

/// Lets the program that `command` starts find `descriptor` under `number`. All numbers passed to one command must differ
/// and lie below 10.
///
/// # Errors
/// `EMFILE`.
pub fn pass(command: &mut Command, descriptor: &OwnedFd, number: RawFd) -> std::io::Result<()> {
    /// From here on, so that no descriptor on its way has a number that another is to get.
    const ASIDE: RawFd = 10;
    let aside = nix::fcntl::fcntl(descriptor, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(ASIDE))?;
    // SAFETY: it was just made, and nothing else owns it.
    let aside = unsafe { OwnedFd::from_raw_fd(aside) };
    // SAFETY: between fork and exec only dup2 runs, which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            check(libc::dup2(aside.as_raw_fd(), number).into())?;
            Ok(())
        });
    }
    Ok(())
}

/// Makes the program that `command` starts, and what it starts in turn, the first that the kernel kills when memory runs out.
pub fn sacrifice(command: &mut Command) {
    // SAFETY: between fork and exec only open, write and close run, which are async-signal-safe and allocate nothing.
    unsafe {
        command.pre_exec(|| {
            let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            check(file.into())?;
            let written = check(libc::write(file, c"1000".as_ptr().cast(), 4) as c_long);
            libc::close(file);
            Ok(written.map(drop)?)
        });
    }
}

/// Starts `command` with `control` as its descriptor [`handover::CONTROL`], to be killed when the calling thread ends.
///
/// It gets a process group of its own: a terminal's Ctrl-C, which goes to the whole group in the foreground, is meant for the caller,
/// who decides what else ends.
///
/// # Errors
/// What `fork` and `execve` give.
pub fn spawn_with_control(mut command: Command, control: OwnedFd) -> std::io::Result<Pid> {
    pass(&mut command, &control, handover::CONTROL)?;
    drop(control);
    command.process_group(0);
    // SAFETY: between fork and exec only prctl runs, which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0).into())?;
            Ok(())
        });
    }
    let child = command.spawn()?;
    // With the command goes the last copy of `control`: when the process ends, the other end shows it.
    Ok(Pid::from_raw(i32::try_from(child.id()).map_err(std::io::Error::other)?))
}

/// Writes all of it, whatever signals come in between.
///
/// # Errors
/// The first that `write(2)` gives; a part may be written by then.
pub fn write_all(to: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match nix::unistd::write(&to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Ends the process at once, with no clean-up of any kind.
pub fn exit_now(status: c_int) -> ! {
    // SAFETY: it does not return and runs no handler.
    unsafe { libc::_exit(status) }
}

/// Lets the event loop watch a descriptor.
///
/// # Errors
/// When the event loop takes no more.
pub fn watch(fd: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>, (OwnedFd, std::io::Error)> {
    // SAFETY: an `OwnedFd` is the same open descriptor until it is dropped, and nothing takes it out of the `AsyncFd` while
    // that watches it.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(tokio::io::unix::AsyncFdRegisterError::into_parts)
}

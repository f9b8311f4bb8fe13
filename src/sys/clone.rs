//! Processes made by a bare `clone`, with flags that no library's `fork` takes.
//!
//! Used in the zygote, which has one thread.
#![expect(unsafe_code, reason = "a part of `sys`, the one place for raw system calls")]

use super::own_proc::Alone;
use super::{check, exit_now};
use libc::{c_int, c_long, c_ulong};
use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::Pid;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Who goes on after a clone.
#[derive(Debug)]
pub enum Cloned<T> {
    /// The process that asked for it, with what it learnt.
    Parent(T),
    /// The clone.
    Child(NewProcess),
}

impl<T> Cloned<T> {
    /// `None` in the clone.
    #[must_use]
    pub fn parent(self) -> Option<T> {
        match self {
            Self::Parent(learnt) => Some(learnt),
            Self::Child(_) => None,
        }
    }
}

/// Proof that this process was just made: a copy of one that was [`Alone`].
#[derive(Debug)]
pub struct NewProcess(());

/// Flags that leave a clone's memory, descriptors and signal handlers its own.
const ALLOWED: CloneFlags = CloneFlags::CLONE_PARENT
    .union(CloneFlags::CLONE_NEWUSER)
    .union(CloneFlags::CLONE_NEWPID)
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWCGROUP);

/// As the kernel takes them, with what a fork has besides.
fn as_fork(flags: CloneFlags) -> Result<c_int, Errno> {
    let added = libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
    if ALLOWED.contains(flags) { Ok(flags.bits() | added) } else { Err(Errno::EINVAL) }
}

/// Clones the calling process like `fork`, with `flags` on top.
///
/// glibc's `fork` can't take flags. Going round it leaves glibc's record of the thread's id stale, which `raise`,
/// `abort` and recursive mutexes rely on; `thread_id` says where the kernel shall write the new id, as
/// `fork` does.
///
/// # Errors
/// What `clone(2)` gives: EPERM, EINVAL, ENOSPC, EAGAIN, ENOMEM … `EINVAL` also for flags by which something would be shared.
pub fn clone_process(_: &Alone, flags: CloneFlags, thread_id: ThreadIdAddress) -> Result<Cloned<Pid>, Errno> {
    let flags = c_ulong::from(as_fork(flags)?.cast_unsigned());
    #[cfg(target_arch = "x86_64")]
    // SAFETY: without CLONE_VM the child gets its own copy of memory, so a null stack (keep the current one) is
    // sound; the address was verified to be this thread's id. There is no other thread, as `Alone` proves.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, thread_id.0, 0usize) };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; aarch64 takes the tls argument before the child's thread id.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, thread_id.0) };
    cloned(check(pid)?)
}

/// As [`clone_process`], into the control group that has this directory.
///
/// # Errors
/// As there; `ENOSYS` before Linux 5.3 and where a filter around the server knows no `clone3`, `E2BIG` before Linux 5.7, `EACCES` where
/// this process may not write to the `cgroup.procs` of the group or of one that is above it and its own, `EBUSY` for a group that limits
/// others, `EAGAIN` where the group has as many processes as it may.
pub fn clone_into(
    _: &Alone,
    flags: CloneFlags,
    thread_id: ThreadIdAddress,
    group: BorrowedFd<'_>,
) -> Result<Cloned<Pid>, Errno> {
    /// Of `<linux/sched.h>`: it has no room in the flags of the older call.
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let as_u64 = |number: c_int| u64::from(number.cast_unsigned());
    // A sibling's signal at its end is this process's own.
    let signal = if flags.contains(CloneFlags::CLONE_PARENT) { 0 } else { libc::SIGCHLD };
    let arguments = CloneArguments {
        flags: as_u64(as_fork(flags)? & !libc::SIGCHLD) | CLONE_INTO_CGROUP,
        child_tid: thread_id.0 as u64,
        exit_signal: as_u64(signal),
        cgroup: as_u64(group.as_raw_fd()),
        ..CloneArguments::default()
    };
    // SAFETY: as in `clone_process`: a copy of all memory, on the stack that it has. The kernel reads as many bytes as are named.
    cloned(check(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) })?)
}

/// The kernel's `struct clone_args` up to the member that came with Linux 5.7.
#[repr(C)]
#[derive(Debug, Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

fn cloned(pid: c_long) -> Result<Cloned<Pid>, Errno> {
    match pid {
        0 => Ok(Cloned::Child(NewProcess(()))),
        pid => Ok(Cloned::Parent(Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?))),
    }
}

/// What [`clone_by_another`] made.
#[derive(Debug)]
pub struct ByAnother {
    /// The process in between: ended, and to be reaped.
    pub between: Pid,
    /// The clone.
    pub made: Result<Pid, Errno>,
}

/// As [`clone_process`], but by a process in between that ends at once, so that the clone's parent is whoever adopts orphans.
///
/// The process in between shares this one's memory, and this one waits until it has ended, as with `vfork(2)`: copying memory for
/// it would take as long as for the clone itself.
///
/// # Errors
/// What `clone(2)` gives for the process in between, and `EINVAL` as [`clone_process`].
pub fn clone_by_another(_: &Alone, flags: CloneFlags, thread_id: ThreadIdAddress) -> Result<Cloned<ByAnother>, Errno> {
    let flags = c_long::from(as_fork(flags)?);
    let sharing = c_long::from(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD);
    let mut made: c_long = 0;
    let answer: c_long;
    // All in one piece, so that the process in between touches nothing of the stack that it shares, and ends in here. It stores
    // what its own clone gave at `made`. Each of the three comes to label 2 with its own registers.
    //
    // SAFETY: two processes return from here, each with memory that is its own: the caller, once the process in between has ended;
    // and the clone, for which what `clone_process` says holds. The registers that the kernel may change are named.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rax, r13",
            "mov rdi, r12",
            "mov r10, r9",
            "syscall",
            "test rax, rax",
            "jz 2f",
            "mov [r14], rax",
            "xor edi, edi",
            "mov eax, 60",
            "syscall",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone => answer,
            inlateout("rdi") sharing => _,
            in("rsi") 0,
            in("rdx") 0,
            inlateout("r10") 0_i64 => _,
            in("r8") 0,
            in("r9") thread_id.0,
            in("r12") flags,
            in("r13") libc::SYS_clone,
            in("r14") &raw mut made,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x0, x9",
            "mov x4, x10",
            "svc #0",
            "cbz x0, 2f",
            "str x0, [x11]",
            "mov x0, #0",
            "mov x8, #93",
            "svc #0",
            "udf #0",
            "2:",
            inlateout("x0") sharing => answer,
            in("x1") 0,
            in("x2") 0,
            in("x3") 0,
            inlateout("x4") 0_i64 => _,
            inlateout("x8") libc::SYS_clone => _,
            in("x9") flags,
            in("x10") thread_id.0,
            in("x11") &raw mut made,
            options(nostack),
        );
    }
    let pid = |answer: c_long| match i32::try_from(answer).map_err(|_| Errno::EOVERFLOW)? {
        errno @ ..0 => Err(Errno::from_raw(-errno)),
        pid => Ok(Pid::from_raw(pid)),
    };
    match answer {
        0 => Ok(Cloned::Child(NewProcess(()))),
        between => Ok(Cloned::Parent(ByAnother { between: pid(between)?, made: pid(made) })),
    }
}

/// Clones the calling process the plain way, for a copy that soon ends: glibc's record of the thread's id stays the parent's there.
///
/// # Errors
/// What `clone(2)` gives.
pub fn bare_fork(_: &Alone) -> Result<Cloned<Pid>, Errno> {
    cloned(bare_clone()?)
}

/// Whether a process can be made. One that is made ends at once.
#[must_use]
pub fn can_fork() -> bool {
    match bare_clone() {
        Ok(0) => exit_now(0),
        Ok(_) => true,
        Err(_) => false,
    }
}

/// 0 in the clone. Where there are other threads, it may only end.
fn bare_clone() -> Result<c_long, Errno> {
    let flags = c_ulong::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: as in `clone_process`; the two callers see to what the clone may do.
    check(unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize) })
}

/// Where glibc keeps the id of the calling (main) thread.
#[derive(Debug, Clone, Copy)]
pub struct ThreadIdAddress(usize);

/// Finds glibc's record of the calling thread's id.
///
/// `PR_GET_TID_ADDRESS` tells where the kernel clears the id when the thread ends, which is that record; where the
/// kernel lacks it (`CONFIG_CHECKPOINT_RESTORE` off, gVisor), the thread's control block is searched for the id.
///
/// # Errors
/// `ENOENT` when neither finds exactly one such place.
pub fn thread_id_address() -> Result<ThreadIdAddress, Errno> {
    const PR_GET_TID_ADDRESS: c_int = 40;
    /// Larger than glibc's `struct pthread` up to `tid` on x86-64 (0x2d0) and aarch64, smaller than the mapping
    /// around it.
    const SEARCHED_BYTES: usize = 0x400;
    let id = nix::unistd::gettid().as_raw();
    let mut address = 0usize;
    // SAFETY: the kernel writes one pointer to `address`.
    let told = unsafe { libc::prctl(PR_GET_TID_ADDRESS, &raw mut address, 0, 0, 0) };
    if told == 0 && address != 0 {
        // SAFETY: the kernel was given this address by glibc as an int to clear, so it is readable.
        let stored = unsafe { *(address as *const c_int) };
        if stored == id {
            return Ok(ThreadIdAddress(address));
        }
    }
    // SAFETY: it takes no arguments.
    let Ok(block) = usize::try_from(unsafe { libc::pthread_self() }) else { return Err(Errno::ENOENT) };
    let mut found = None;
    for offset in (0..SEARCHED_BYTES).step_by(size_of::<c_int>()) {
        let candidate = block + offset;
        // SAFETY: on x86-64 and aarch64 glibc's `pthread_self` points to the control block, which is longer than
        // the range searched; every aligned int in it can be read.
        if unsafe { *(candidate as *const c_int) } == id {
            if found.is_some() {
                return Err(Errno::ENOENT);
            }
            found = Some(candidate);
        }
    }
    found.map(ThreadIdAddress).ok_or(Errno::ENOENT)
}

//! The fence around unsafe system calls: each function here is one call that no crate offers safely.
//!
//! Used in every process. It decides nothing: policy lives in `jail`, `zygote`, `child` and `supervisor`.
#![expect(unsafe_code, reason = "this is the one place for raw system calls")]

pub mod beneath;
pub mod memory;
pub mod message;
pub mod pins;
mod process_end;

pub use process_end::{Ended, How, cpu_time_of, own_cpu_time, reap, some_zombie};

use libc::{c_int, c_long, c_ulong};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A `sock_filter` as the kernel takes it.
pub type Instruction = libc::sock_filter;

fn check(result: c_long) -> Result<c_long, Errno> {
    if result == -1 { Err(Errno::last()) } else { Ok(result) }
}

/// Clones the calling process like `fork`, with `flags` on top; `None` in the child.
///
/// glibc's `fork` can't take flags. Going round it leaves glibc's record of the thread's id stale, which `raise`,
/// `abort` and recursive mutexes rely on; `thread_id` says where the kernel shall write the new id, as
/// `fork` does.
///
/// # Errors
/// What `clone(2)` gives: EPERM, EINVAL, ENOSPC, EAGAIN, ENOMEM …
pub fn clone_process(flags: c_int, thread_id: ThreadIdAddress) -> Result<Option<Pid>, Errno> {
    let flags = flags | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
    let flags = c_ulong::from(flags.cast_unsigned());
    #[cfg(target_arch = "x86_64")]
    // SAFETY: without CLONE_VM the child gets its own copy of memory, so a null stack (keep the current one) is
    // sound; the address was verified to be this thread's id. The caller upholds that the process has one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, thread_id.0, 0usize) };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; aarch64 takes the tls argument before the child's thread id.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, thread_id.0) };
    match check(pid)? {
        0 => Ok(None),
        pid => Ok(Some(Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?))),
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

/// As [`clone_process`], but by a process in between that ends at once, so that the clone's parent is whoever adopts orphans;
/// `None` in the clone.
///
/// The process in between shares this one's memory, and this one waits until it has ended, as with `vfork(2)`: copying memory for
/// it would take as long as for the clone itself.
///
/// # Errors
/// What `clone(2)` gives for the process in between.
pub fn clone_by_another(flags: c_int, thread_id: ThreadIdAddress) -> Result<Option<ByAnother>, Errno> {
    let flags = c_long::from(flags | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD);
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
        0 => Ok(None),
        between => Ok(Some(ByAnother { between: pid(between)?, made: pid(made) })),
    }
}

/// Makes a process the plain way; `None` in the child, which may make system calls and must end by `exit_now`.
///
/// # Errors
/// What `clone(2)` gives; `EPERM` from the filter.
pub fn bare_fork() -> Result<Option<Pid>, Errno> {
    let flags = c_ulong::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: as in `clone_process`; the child, which runs no library code that looks at its thread's id, soon ends.
    match check(unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize) })? {
        0 => Ok(None),
        pid => Ok(Some(Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?))),
    }
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

/// Closes every descriptor from `first` on.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
pub fn close_from(first: RawFd) -> Result<(), Errno> {
    // SAFETY: only callers that own no descriptor above `first` call this (the zygote at start, the child).
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_int::MAX, 0) }).map(drop)
}

/// Takes over a descriptor that the process was started with.
///
/// # Errors
/// `EBADF` when it is not open.
pub fn inherited(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: F_GETFD reads a flag of a descriptor number; any number may be given.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) }.into())?;
    // SAFETY: it is open, and by the convention of `mayfly zygote` and `mayfly child` nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes `fd` also reachable as descriptor number `number`, replacing what was there.
///
/// # Errors
/// `EBADF`, `EINTR`.
pub fn duplicate_onto(fd: BorrowedFd<'_>, number: RawFd) -> Result<(), Errno> {
    // SAFETY: the child calls this for 0 to 4 only, which nothing in it owns as an `OwnedFd` that will be closed.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) }.into()).map(drop)
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

/// Starts `command` with `control` as its descriptor 3, to be killed when the calling thread ends.
///
/// # Errors
/// What `fork` and `execve` give.
pub fn spawn_with_control(mut command: Command, control: OwnedFd) -> std::io::Result<Pid> {
    pass(&mut command, &control, 3)?;
    drop(control);
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

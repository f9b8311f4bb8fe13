//! Opening files below one directory and nowhere else, for a process that has no root of its own and no privilege to get one.
//!
//! Runs in the child. A filter sees the address of a path and not the path, so it can't tell one file from another. But
//! `openat2(2)` takes, at a second address, the *terms* on which it opens, and `RESOLVE_IN_ROOT` is one: the path is followed as
//! if the directory that it starts from were the root, `..`, absolute paths and links included. The boundary is this, and the
//! filter `beneath` makes it one:
//!
//! - no call follows a path but `openat2`, and that only on terms at [`TERMS`], of the right size;
//! - what is at [`TERMS`] says `RESOLVE_IN_ROOT` and `O_RDONLY`, and is mapped for reading. No call that the filter allows can
//!   write to it, unmap it, move it, or map something over it: those that name an address refuse every one below 2 MiB, and a
//!   range that begins above does not reach it;
//! - the working directory is the jail root and can't be changed, and so is, or lies in it, every directory that is open.
//!
//! The rest of this file is no boundary. libc, the dynamic loader and `CPython` call `openat` and `newfstatat`; the filter answers
//! both with SIGSYS, and the handler makes the call that is allowed in their place. (Chromium's sandbox does the same, for the same
//! reason: since glibc 2.33 even `fstat` is a `newfstatat`.) It runs in the script's own process with the script's own rights: a
//! script that breaks it, or goes round it, opens nothing else.

use super::check;
use libc::{c_int, c_long, c_void};
use nix::errno::Errno;
use std::os::fd::RawFd;
use std::sync::OnceLock;

/// Where the terms are: above what Linux keeps processes from mapping (`vm.mmap_min_addr`, 64 KiB), below every program and library.
/// `seccomp/common.json` knows the number too.
pub const TERMS: usize = 0x10_0000;

/// As the kernel's `struct open_how`, and room up to the next: which of the four it is, two bits of the address say.
#[repr(C)]
#[derive(Clone, Copy)]
struct Terms {
    flags: u64,
    mode: u64,
    resolve: u64,
    _next: u64,
}

/// `sizeof(struct open_how)`: what `openat2` is told.
const SIZE: usize = 24;

/// How often a path is followed that the kernel could not be sure of. Once more nearly always does.
const MOST_TRIES: usize = 1000;

/// The flags that a caller may choose, by bit.
const CHOICES: [c_int; 2] = [libc::O_DIRECTORY, libc::O_NOFOLLOW];

/// A path that begins so stands for one below a directory.
#[derive(Debug)]
pub struct Below {
    /// The beginning, without a slash at its end.
    pub name: Vec<u8>,
    /// What the rest starts from.
    pub directory: RawFd,
}

static NAMES: OnceLock<Vec<Below>> = OnceLock::new();

/// Maps the terms, for good.
///
/// # Errors
/// `EEXIST` when something is mapped there; `EPERM` where Linux keeps processes from mapping so low.
pub fn lay_down_terms() -> Result<(), Errno> {
    let page = super::memory::page_size();
    let place = std::ptr::with_exposed_provenance_mut::<c_void>(TERMS);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: it replaces no other mapping.
    let mapped = unsafe { libc::mmap(place, page, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    if mapped != place {
        return Err(Errno::EEXIST);
    }
    for number in 0..1usize << CHOICES.len() {
        let chosen = CHOICES.iter().enumerate().filter(|(bit, _)| number >> bit & 1 == 1);
        let flags = chosen.fold(libc::O_RDONLY | libc::O_CLOEXEC, |flags, (_, choice)| flags | choice);
        let terms = Terms {
            flags: u64::from(flags.unsigned_abs()),
            mode: 0,
            resolve: libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS,
            _next: 0,
        };
        // SAFETY: the page was just mapped for writing, is aligned, and holds far more than four.
        unsafe { mapped.cast::<Terms>().add(number).write(terms) };
    }
    // SAFETY: the page is this function's own.
    check(unsafe { libc::mprotect(mapped, page, libc::PROT_READ) }.into()).map(drop)
}

/// Has `openat` and `newfstatat` answered where the filter refuses them with SIGSYS. `names` is what paths may begin with besides.
///
/// # Errors
/// `EALREADY` the second time.
pub fn answer(names: Vec<Below>) -> Result<(), Errno> {
    NAMES.set(names).map_err(|_| Errno::EALREADY)?;
    // SAFETY: all zeroes are a valid sigaction, with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_refused as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for, and makes only calls that a handler may make.
    check(unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) }.into()).map(drop)
}

/// Opens the directory itself on the terms.
///
/// # Errors
/// `ENOSYS` where there is no `openat2`, `EPERM` where it is refused.
pub fn try_in(directory: RawFd) -> Result<(), Errno> {
    let opened = open(directory, c"/".as_ptr().cast(), libc::O_DIRECTORY);
    if opened < 0 {
        return Err(Errno::last());
    }
    // SAFETY: it was just opened, and nothing else owns it.
    check(unsafe { libc::syscall(libc::SYS_close, opened) }).map(drop)
}

/// `openat2` on the terms that these flags choose: -1 and errno, as libc has it.
fn open(directory: RawFd, path: *const u8, flags: c_int) -> c_long {
    let chosen = CHOICES.iter().enumerate().filter(|(_, choice)| flags & **choice == **choice);
    let number = chosen.fold(0, |number, (bit, _)| number | 1 << bit);
    let terms = TERMS + number * size_of::<Terms>();
    let mut tries = 0;
    loop {
        tries += 1;
        // SAFETY: the kernel reads a path, at an address that it checks, and the terms.
        let opened = unsafe { libc::syscall(libc::SYS_openat2, directory, path, terms, SIZE) };
        // Something was renamed or mounted somewhere on the machine while a `..` was followed.
        if opened != -1 || Errno::last_raw() != libc::EAGAIN || tries == MOST_TRIES {
            return opened;
        }
    }
}

/// A path as it was given, as the directory to start from and a path to follow from there.
///
/// # Safety
/// `path` is null, in the first page, or ends with NUL.
unsafe fn resolved(directory: RawFd, path: *const u8) -> (RawFd, *const u8) {
    const FIRST_PAGE: usize = 4096;
    if path.addr() < FIRST_PAGE {
        return (directory, path);
    }
    // SAFETY: it ends with NUL, by the contract, and so has a first byte.
    if unsafe { *path } != b'/' {
        return (directory, path);
    }
    for below in NAMES.get().into_iter().flatten() {
        let length = below.name.len();
        // SAFETY: a string that is equal so far has not ended, so it has one byte more.
        let begins = (0..length).all(|at| unsafe { *path.add(at) } == below.name[at]);
        if begins {
            // SAFETY: as above.
            let rest = unsafe { path.add(length) };
            // SAFETY: as above.
            match unsafe { *rest } {
                b'/' => return (below.directory, rest),
                0 => return (below.directory, c"/".as_ptr().cast()),
                _ => {}
            }
        }
    }
    (libc::AT_FDCWD, path)
}

/// Called in place of a call that the filter refused with SIGSYS, on the thread that made it.
extern "C" fn on_refused(_signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO the interrupted registers, which nobody else has a reference to.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
    let (number, args) = call(registers);
    // SAFETY: each thread has an errno, which the interrupted function sets only after its call.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    // SAFETY: the arguments are those of a call to the kernel: where an address is bad, the script's process ends, as it would
    // by using it itself.
    let result = unsafe { substitute(number, args) };
    // SAFETY: as above.
    let result = if result == -1 { -c_long::from(unsafe { *errno }) } else { result };
    // SAFETY: as above.
    unsafe { *errno = before };
    give(registers, result);
}

/// What was called, and with what.
#[cfg(target_arch = "x86_64")]
fn call(registers: &libc::mcontext_t) -> (c_long, [c_long; 4]) {
    let at = |register: c_int| registers.gregs[register.unsigned_abs() as usize];
    (at(libc::REG_RAX), [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10].map(at))
}

/// What the call returns.
#[cfg(target_arch = "x86_64")]
fn give(registers: &mut libc::mcontext_t, result: c_long) {
    registers.gregs[libc::REG_RAX.unsigned_abs() as usize] = result;
}

/// What was called, and with what.
#[cfg(target_arch = "aarch64")]
fn call(registers: &libc::mcontext_t) -> (c_long, [c_long; 4]) {
    let at = |register: usize| registers.regs[register].cast_signed();
    (at(8), [0, 1, 2, 3].map(at))
}

/// What the call returns.
#[cfg(target_arch = "aarch64")]
fn give(registers: &mut libc::mcontext_t, result: c_long) {
    registers.regs[0] = result.cast_unsigned();
}

/// Does what the call asks for as far as it is allowed: -1 and errno, or what it returns.
///
/// # Safety
/// Paths are null, in the first page, or end with NUL.
unsafe fn substitute(number: c_long, args: [c_long; 4]) -> c_long {
    let int = |value: c_long| {
        #[expect(clippy::cast_possible_truncation, reason = "the kernel reads an int too")]
        let value = value as c_int;
        value
    };
    let directory = int(args[0]);
    let path = std::ptr::with_exposed_provenance::<u8>(usize::from_ne_bytes(args[1].to_ne_bytes()));
    match number {
        libc::SYS_openat => {
            // SAFETY: by this function's contract.
            let (directory, path) = unsafe { resolved(directory, path) };
            open(directory, path, int(args[2]))
        }
        libc::SYS_newfstatat => {
            let flags = int(args[3]);
            // SAFETY: by this function's contract.
            let is_empty = flags & libc::AT_EMPTY_PATH != 0 && (path.is_null() || unsafe { *path } == 0);
            if is_empty && directory >= 0 {
                // SAFETY: the kernel checks the address that it writes to.
                return unsafe { libc::syscall(libc::SYS_fstat, directory, args[2]) };
            }
            // SAFETY: by this function's contract.
            let (directory, path) = unsafe { resolved(directory, path) };
            let follow = if flags & libc::AT_SYMLINK_NOFOLLOW == 0 { 0 } else { libc::O_NOFOLLOW };
            let opened = open(directory, if is_empty { c".".as_ptr().cast() } else { path }, follow);
            if opened == -1 {
                return -1;
            }
            // SAFETY: the kernel checks the address that it writes to.
            let result = unsafe { libc::syscall(libc::SYS_fstat, opened, args[2]) };
            let errno = Errno::last_raw();
            // SAFETY: it was opened above, and nothing else owns it.
            unsafe { libc::syscall(libc::SYS_close, opened) };
            Errno::set_raw(errno);
            result
        }
        _ => {
            Errno::set_raw(libc::ENOSYS);
            -1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::arch::asm;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    /// What the filter does, done by an instruction that traps: it needs no filter, and so no process of its own.
    extern "C" fn on_trap(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        on_refused(signal, info, context);
        // SAFETY: as in `on_refused`.
        let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
        // The kernel goes on behind a call, and at the instruction that trapped: behind it is 2 bytes, or 4, further on.
        #[cfg(target_arch = "x86_64")]
        {
            registers.gregs[libc::REG_RIP.unsigned_abs() as usize] += 2;
        }
        #[cfg(target_arch = "aarch64")]
        {
            registers.pc += 4;
        }
    }

    /// A call with its number and arguments in the registers where the kernel looks for them.
    fn trapped(number: c_long, args: [c_long; 4]) -> c_long {
        let result;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `on_trap` answers it, changes RAX alone, and writes where the arguments say.
        unsafe {
            asm!("ud2", inlateout("rax") number => result, in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3]);
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above, with X0.
        unsafe {
            asm!("udf #0", inlateout("x0") args[0] => result, in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x8") number);
        }
        result
    }

    #[test]
    fn a_call_is_read_from_the_registers_and_answered_there() {
        // SAFETY: all zeroes are a valid sigaction, and a valid stat.
        let (mut action, mut stat): (libc::sigaction, libc::stat) = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_trap as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: as in `answer`; no other test has an illegal instruction.
        assert_eq!(unsafe { libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut()) }, 0);

        let file = std::fs::File::open("/proc/self/exe").expect("this program");
        let address = |pointer: *const c_void| c_long::from_ne_bytes(pointer.expose_provenance().to_ne_bytes());
        let (path, place) = (address(c"".as_ptr().cast()), address((&raw mut stat).cast()));
        let args = [file.as_raw_fd().into(), path, place, libc::AT_EMPTY_PATH.into()];
        Errno::set_raw(libc::EDOM);
        assert_eq!(trapped(libc::SYS_newfstatat, args), 0);
        assert_eq!(stat.st_ino, file.metadata().expect("its metadata").ino());
        assert_eq!(trapped(libc::SYS_getpid, args), -c_long::from(libc::ENOSYS));
        assert_eq!(Errno::last_raw(), libc::EDOM, "errno is the interrupted function's");
    }
}

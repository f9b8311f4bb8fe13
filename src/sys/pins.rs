//! Pages that a clone copies at once.
//!
//! Used in the zygote. A clone shares pages, and each is copied by a fault when one of the two writes to it. A page that is
//! pinned, because a device might write to it, is not shared: the kernel copies it during the clone (`copy_present_page` in
//! `mm/memory.c`, since Linux 5.9), for about half of what the fault costs. Pages are pinned here by being registered as buffers
//! of an `io_uring` that is never used: it is made disabled, so that it takes no requests, and no memory of it is mapped.
#![expect(unsafe_code, reason = "a part of `sys`, the one place for raw system calls")]

use super::check;
use super::memory::WritablePages;
use libc::{c_long, c_uint, c_void, iovec};
use nix::errno::Errno;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What keeps pages pinned, as long as it lives. A child's copy of the descriptor pins nothing of the child's.
#[derive(Debug)]
pub struct Pins(OwnedFd);

impl Pins {
    /// Made with `CAP_IPC_LOCK`, what is pinned later does not count against `RLIMIT_MEMLOCK`.
    ///
    /// # Errors
    /// `ENOSYS` where the kernel has no `io_uring` (gVisor), `EPERM` where it or a filter around the server refuses it (Docker's
    /// default profile since Docker 25), `EINVAL` before Linux 5.10.
    pub fn new() -> Result<Self, Errno> {
        const ENTRIES: c_uint = 1;
        /// `struct io_uring_params` in 32-bit words; its flags are the third.
        const WORDS: usize = 30;
        const FLAGS: usize = 2;
        const IORING_SETUP_R_DISABLED: u32 = 1 << 6;
        let mut parameters = [0u32; WORDS];
        parameters[FLAGS] = IORING_SETUP_R_DISABLED;
        // SAFETY: the kernel reads and writes the parameters, 120 bytes.
        let ring = check(unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, parameters.as_mut_ptr()) })?;
        let ring = i32::try_from(ring).map_err(|_| Errno::EBADF)?;
        // SAFETY: new, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(ring) }))
    }

    /// Pins these pages; once.
    ///
    /// # Errors
    /// `ENOMEM` where more would be locked than `RLIMIT_MEMLOCK` allows all processes of this user, `EINVAL` for more ranges than the
    /// kernel takes (16,384; before Linux 5.13 1,024).
    pub fn hold(&self, pages: &WritablePages) -> Result<(), Errno> {
        const IORING_REGISTER_BUFFERS: c_long = 0;
        let as_buffer = |range: &Range<usize>| iovec { iov_base: range.start as *mut c_void, iov_len: range.len() };
        let buffers: Vec<iovec> = pages.ranges().iter().map(as_buffer).collect();
        let ring = self.0.as_raw_fd();
        // SAFETY: the kernel reads the list. Nothing is ever read from or written to the buffers: a disabled ring takes no requests.
        check(unsafe {
            libc::syscall(libc::SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, buffers.as_ptr(), buffers.len())
        })
        .map(drop)
    }
}

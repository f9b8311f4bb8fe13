//! Descriptors by their numbers: those that a process was started with, and those that a child keeps.
//!
//! Used in the zygote and in the child. To take, replace or close a number is sound only if nobody else owns it; each function here
//! asks for a proof of that, and must never take a number on its caller's word.
#![expect(unsafe_code, reason = "a part of `sys`, the one place for raw system calls")]

use super::check;
use libc::c_int;
use nix::errno::Errno;
use std::convert::Infallible;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The descriptors that this process was started with, but for 0, 1 and 2. There is one of these in a process.
#[derive(Debug)]
pub struct HandedIn {
    taken: Vec<RawFd>,
}

impl HandedIn {
    /// `None` the second time.
    #[must_use]
    pub fn once() -> Option<Self> {
        static EXISTS: AtomicBool = AtomicBool::new(false);
        (!EXISTS.swap(true, Ordering::Relaxed)).then_some(Self { taken: Vec::new() })
    }

    /// Takes one over.
    ///
    /// # Errors
    /// `EBADF` when it was not handed in, or was taken before.
    pub fn take(&mut self, number: RawFd) -> Result<OwnedFd, Errno> {
        let is_free = number > libc::STDERR_FILENO && !self.taken.contains(&number);
        if !is_free || was_opened_here(number)? {
            return Err(Errno::EBADF);
        }
        self.taken.push(number);
        // SAFETY: it is open, no code of this process opened it, and nobody took it before: there is one `self`.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }

    /// Closes all from `first` on.
    ///
    /// # Errors
    /// `EBUSY` when one of them belongs to code of this process, `ENOSYS` before Linux 5.9.
    pub fn close_from(&mut self, first: RawFd) -> Result<(), Errno> {
        /// The kernel gives the lowest numbers first, so what this process opened has one of these.
        const LOOKED_AT: RawFd = 64;
        let was_taken = self.taken.iter().any(|number| *number >= first);
        if was_taken || (first..first + LOOKED_AT).any(|number| was_opened_here(number) == Ok(true)) {
            return Err(Errno::EBUSY);
        }
        // SAFETY: nobody owns one of them, as was just seen.
        unsafe { close_all(first) }
    }
}

/// Whether code of this process made a descriptor: Rust's sets `FD_CLOEXEC` on each, and what has it set does not come through an
/// exec.
fn was_opened_here(number: RawFd) -> Result<bool, Errno> {
    // SAFETY: F_GETFD reads a flag of a descriptor number; any number may be given.
    let flags = check(unsafe { libc::fcntl(number, libc::F_GETFD) }.into())?;
    Ok(flags & i64::from(libc::FD_CLOEXEC) != 0)
}

/// # Safety
/// Nobody uses or drops what owns a descriptor from `first` on.
unsafe fn close_all(first: RawFd) -> Result<(), Errno> {
    // SAFETY: by this function's contract.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_int::MAX, 0) }).map(drop)
}

/// Proof that this process goes one way: it never comes back to those who called [`to_the_end`], so what they own is never used and
/// never dropped. Whoever has it uses only the descriptors that it moved here, once it has closed the others.
#[derive(Debug)]
pub struct OneWay(());

/// Spends the rest of this process's life on `life`.
pub fn to_the_end(life: impl FnOnce(OneWay) -> Infallible) -> ! {
    match life(OneWay(())) {}
}

impl OneWay {
    /// Moves a descriptor to `number`, in place of what is there. The old number stays open, and is nobody's:
    /// [`Self::close_after`] closes it with all others, where closing each would be a call more.
    ///
    /// # Errors
    /// `EBADF`, `EINTR`.
    pub fn place(&self, descriptor: OwnedFd, number: RawFd) -> Result<OwnedFd, Errno> {
        // SAFETY: who owned `number` before is never run again.
        check(unsafe { libc::dup2(descriptor.as_raw_fd(), number) }.into())?;
        let _ = descriptor.into_raw_fd();
        // SAFETY: it was made just now. Were it the same number, it was given up just now.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }

    /// Closes every descriptor with a higher number than `last` has.
    ///
    /// # Errors
    /// `ENOSYS` before Linux 5.9.
    pub fn close_after(&self, last: &OwnedFd) -> Result<(), Errno> {
        // SAFETY: who owned one of them is never run again.
        unsafe { close_all(last.as_raw_fd() + 1) }
    }

    /// What is at `number`: for who has to report that this process can't go on.
    ///
    /// # Errors
    /// `EBADF` when nothing is.
    pub fn reach(&self, number: RawFd) -> Result<BorrowedFd<'_>, Errno> {
        was_opened_here(number)?;
        // SAFETY: it is open. The process ends with this report, and closes nothing before.
        Ok(unsafe { BorrowedFd::borrow_raw(number) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_handed_in_can_be_taken() {
        let mut handed_in = HandedIn::once().expect("the first");
        assert!(HandedIn::once().is_none(), "there is one");
        let own = std::fs::File::open("/dev/null").expect("a file");
        assert_eq!(handed_in.take(own.as_raw_fd()).err(), Some(Errno::EBADF), "it is the file's");
        assert_eq!(handed_in.take(libc::STDOUT_FILENO).err(), Some(Errno::EBADF), "it is everybody's");
        assert_eq!(handed_in.take(999).err(), Some(Errno::EBADF), "it is not open");
        assert_eq!(handed_in.close_from(own.as_raw_fd()), Err(Errno::EBUSY), "it is the file's");
        // As one that came through an exec.
        let number = nix::unistd::dup(&own).expect("another").into_raw_fd();
        assert!(handed_in.take(number).is_ok());
        assert_eq!(handed_in.take(number).err(), Some(Errno::EBADF), "it was taken");
    }
}

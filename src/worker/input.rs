//! Puts a job's standard input where programs look for it: on descriptor 0.
//!
//! Runs in the child, in the jail, before the script and only when there is input: without, descriptor 0 stays /dev/null. What
//! the filter leaves to do it with is a file of the child's own, and where it may have none, a socket.

use crate::jail::Plan;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use nix::sys::stat::Mode;
use nix::unistd::{close, unlink, write};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

/// Standard input's number.
const INPUT: RawFd = 0;

/// The file's name, for as long as it has one: no text, as the names of a job's own files are.
const FILE: &[u8] = b"/tmp/\xff";

/// Has descriptor 0 yield `text`, and then the end.
///
/// # Errors
/// What kept it from holding all of that: `ENOSPC` from a /tmp that is too small, `EAGAIN` from a socket that is. Descriptor 0 is
/// closed then, so that nobody takes a part of the input, or none, for the whole.
pub fn place(plan: &Plan, text: &str) -> Result<(), Errno> {
    // What is opened next gets the lowest number that is free.
    close(INPUT)?;
    let reading = if plan.has_tmp() { in_a_file(plan, text.as_bytes())? } else { in_a_socket(text.as_bytes())? };
    if reading.as_raw_fd() != INPUT {
        return Err(Errno::EBADF);
    }
    let _ = reading.into_raw_fd();
    Ok(())
}

fn in_a_file(plan: &Plan, mut rest: &[u8]) -> Result<OwnedFd, Errno> {
    if rest.len() as u64 > plan.tmp_bytes {
        // Files may not be longer than /tmp is large, and who tries is ended by SIGXFSZ.
        return Err(Errno::ENOSPC);
    }
    let reading = open(FILE, OFlag::O_RDONLY | OFlag::O_CREAT | OFlag::O_EXCL, Mode::S_IRUSR | Mode::S_IWUSR)?;
    // Another, so that neither has to be wound back.
    let writing = open(FILE, OFlag::O_WRONLY, Mode::empty());
    unlink(FILE)?;
    let writing = writing?;
    while !rest.is_empty() {
        let written = write(&writing, rest)?;
        rest = &rest[written..];
    }
    Ok(reading)
}

/// A socket holds what the kernel keeps for one that nobody reads from (`net.core.wmem_default`, some 200 kB): this must not wait.
fn in_a_socket(mut rest: &[u8]) -> Result<OwnedFd, Errno> {
    let (reading, writing) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty())?;
    while !rest.is_empty() {
        let sent = send(writing.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?;
        rest = &rest[sent..];
    }
    Ok(reading)
}

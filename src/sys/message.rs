//! One packet of a socket, and what came along with it: descriptors, and who sent it.
//!
//! Used in the supervisor and in the zygote. Here rather than by a crate's safe call because of one case: where this process has no numbers left
//! for all the descriptors of a packet, the kernel hands over those that fit, and they must be closed and not forgotten.
#![expect(unsafe_code, reason = "a part of `sys`, the one place for raw system calls")]

use super::check;
use libc::{c_int, c_void};
use nix::errno::Errno;
use nix::unistd::Pid;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Room for three descriptors and the sender's credentials, aligned as control messages are.
const SPACE: usize = 128;

/// The size of a descriptor's number, and of a pid.
const NUMBER: usize = size_of::<c_int>();

/// What was received besides the bytes.
#[derive(Debug)]
pub struct Received {
    /// How many bytes; 0 at the end.
    pub length: usize,
    /// In the order in which they were sent.
    pub descriptors: Vec<OwnedFd>,
    /// The kernel's word, as a pid of this process's namespace; `None` where it was not asked to tell.
    pub sender: Option<Pid>,
    /// False where descriptors were left out: this process may have no more.
    pub is_complete: bool,
}

/// Receives one packet without waiting.
///
/// # Errors
/// What `recvmsg(2)` gives: EAGAIN where there is none.
pub fn receive(socket: RawFd, bytes: &mut [u8]) -> Result<Received, Errno> {
    receive_with(socket, bytes, libc::MSG_DONTWAIT)
}

/// Waits for one packet.
///
/// # Errors
/// What `recvmsg(2)` gives.
pub fn wait_for(socket: RawFd, bytes: &mut [u8]) -> Result<Received, Errno> {
    receive_with(socket, bytes, 0)
}

fn receive_with(socket: RawFd, bytes: &mut [u8], waiting: c_int) -> Result<Received, Errno> {
    let mut space = [0u64; SPACE / size_of::<u64>()];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast::<c_void>(), iov_len: bytes.len() };
    // SAFETY: all zeroes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = space.as_mut_ptr().cast();
    message.msg_controllen = SPACE as _;
    let flags = waiting | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the message names one part of `bytes` and `space`, each with its own length.
    let length = check(unsafe { libc::recvmsg(socket, &raw mut message, flags) } as libc::c_long)?;
    let mut received = Received {
        length: usize::try_from(length).unwrap_or(0),
        descriptors: Vec::new(),
        sender: None,
        is_complete: message.msg_flags & libc::MSG_CTRUNC == 0,
    };
    // SAFETY: the kernel filled in `message`, which still names `space`.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: a control message that the kernel wrote, within `space`.
        let (kind, length, data) = unsafe { ((*header).cmsg_type, (*header).cmsg_len, libc::CMSG_DATA(header)) };
        // SAFETY: it takes a length and has no effect.
        let length = length.saturating_sub(unsafe { libc::CMSG_LEN(0) } as usize);
        // SAFETY: callers ask for what lies within `length`.
        let number =
            |index: usize| c_int::from_ne_bytes(unsafe { data.add(index * NUMBER).cast::<[u8; NUMBER]>().read() });
        match kind {
            libc::SCM_RIGHTS => received.descriptors.extend((0..length / NUMBER).map(|index| {
                // SAFETY: the kernel made it for this process just now, and nothing else owns it.
                unsafe { OwnedFd::from_raw_fd(number(index)) }
            })),
            // A `struct ucred`, which begins with the pid.
            libc::SCM_CREDENTIALS if length >= NUMBER => received.sender = Some(Pid::from_raw(number(0))),
            _ => {}
        }
        // SAFETY: as for the first.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
    use std::io::IoSlice;
    use std::os::fd::AsRawFd;

    #[test]
    fn descriptors_come_along_in_order() {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .expect("a pair of sockets");
        let ends = [one.as_raw_fd(), other.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&ends)];
        sendmsg::<()>(one.as_raw_fd(), &[IoSlice::new(b"two")], &rights, MsgFlags::empty(), None).expect("sent");
        let mut bytes = [0; 16];
        let received = receive(other.as_raw_fd(), &mut bytes).expect("received");
        assert_eq!((received.length, &bytes[..3]), (3, &b"two"[..]));
        assert!(received.is_complete && received.sender.is_none());
        let same = |number: RawFd, copy: &OwnedFd| {
            let inode = |fd: RawFd| std::fs::read_link(format!("/proc/self/fd/{fd}")).expect("a link");
            inode(number) == inode(copy.as_raw_fd())
        };
        assert!(received.descriptors.len() == 2);
        assert!(ends.iter().zip(&received.descriptors).all(|(number, copy)| same(*number, copy)));
        assert_eq!(receive(other.as_raw_fd(), &mut bytes).map(|_| ()), Err(Errno::EAGAIN));
    }
}

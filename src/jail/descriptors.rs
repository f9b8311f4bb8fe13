//! The child's descriptors: four stay, all others are closed.
//!
//! Runs in the child. `O_CLOEXEC` would do nothing here, since nothing execs.

use super::{ChildDescriptors, Ruleset};
use crate::handover::{CONTROL, RULESET};
use crate::sys::OneWay;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::os::fd::{IntoRawFd, OwnedFd};

/// Moves the channel to [`CONTROL`], the outputs to 1 and 2 and the ruleset to [`RULESET`]. Descriptor 0 is /dev/null, opened anew:
/// the flags of the zygote's own, which `fcntl` sets, would be those of all its children.
pub fn place(
    one_way: &OneWay,
    given: ChildDescriptors,
    ruleset: Option<Ruleset>,
) -> Result<(OwnedFd, Option<Ruleset>), Errno> {
    let ChildDescriptors { channel, stdout, stderr } = given;
    let nothing = open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    for (descriptor, number) in [(nothing, 0), (stdout, 1), (stderr, 2)] {
        // Everybody knows these by their numbers, and nobody closes them.
        let _ = one_way.place(descriptor, number)?.into_raw_fd();
    }
    let channel = one_way.place(channel, CONTROL)?;
    let ruleset = ruleset.map(|Ruleset(descriptor)| one_way.place(descriptor, RULESET).map(Ruleset)).transpose()?;
    Ok((channel, ruleset))
}

/// Closes the rest.
pub fn close_others(one_way: &OneWay, channel: &OwnedFd, ruleset: Option<&Ruleset>) -> Result<(), Errno> {
    one_way.close_after(ruleset.map_or(channel, |Ruleset(descriptor)| descriptor))
}

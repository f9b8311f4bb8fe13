//! The child's descriptors: four stay, all others are closed.
//!
//! Runs in the child. `O_CLOEXEC` would do nothing here, since nothing execs.

use super::{ChildDescriptors, JailError, Ruleset, Step, Steps};
use crate::handover::{CONTROL, RULESET};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};

/// Moves the channel to [`CONTROL`], the outputs to 1 and 2 and the ruleset to [`RULESET`], and closes the rest. Descriptor 0 is
/// /dev/null, opened anew: the flags of the zygote's own, which `fcntl` sets, would be those of all its children.
pub fn keep(
    steps: Steps<'_>,
    given: ChildDescriptors,
    ruleset: Option<Ruleset>,
) -> Result<(OwnedFd, Option<Ruleset>), JailError> {
    let failed = |errno: Errno| JailError { step: Step::Descriptors, errno: errno as i32 };
    let ChildDescriptors { channel, stdout, stderr } = given;
    let moved = || -> Result<(), Errno> {
        let nothing = open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        sys::duplicate_onto(nothing.as_fd(), 0)?;
        let _ = nothing.into_raw_fd();
        sys::duplicate_onto(stdout.as_fd(), 1)?;
        sys::duplicate_onto(stderr.as_fd(), 2)?;
        sys::duplicate_onto(channel.as_fd(), CONTROL)
    };
    moved().map_err(failed)?;
    // The originals are closed with everything else below; closing them here would cost three calls more.
    for original in [channel, stdout, stderr] {
        let _ = original.into_raw_fd();
    }
    let kept = match ruleset {
        None => None,
        Some(Ruleset(descriptor)) => {
            sys::duplicate_onto(descriptor.as_fd(), RULESET).map_err(failed)?;
            let _ = descriptor.into_raw_fd();
            Some(Ruleset(sys::inherited(RULESET).map_err(failed)?))
        }
    };
    let last = if kept.is_some() { RULESET } else { CONTROL };
    steps.take(Step::Descriptors, || sys::close_from(last + 1))?;
    Ok((sys::inherited(CONTROL).map_err(failed)?, kept))
}

//! The numbers of the descriptors that one of our processes hands to another, each in one place.
//!
//! Used in every process. A number here is agreed between whoever places a descriptor and whoever takes it over; it must
//! never be written as a digit anywhere else. `seccomp/nsjail.cfg` names three of them, and a test in
//! `children/nsjail.rs` compares.

use std::os::fd::RawFd;

/// What a zygote and a cold child are started with: their end of the control socket. In a jailed child: its channel.
pub const CONTROL: RawFd = 3;

/// In a child, from its first step until Landlock is in force: the ruleset.
pub const RULESET: RawFd = 4;

/// Under nsjail: a directory of /proc, for the zygote's own process, since inside there is no /proc. The child's ruleset
/// has the same number later, and level `nsjail` has no ruleset.
pub const PROC: RawFd = 4;

/// Under nsjail: where nsjail reads its configuration.
pub const CONFIGURATION: RawFd = 5;

/// Under nsjail: the program that nsjail executes.
pub const PROGRAM: RawFd = 6;

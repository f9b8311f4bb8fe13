//! Faults that tests ask for: a jail step that fails, or a layer that is left out.
//!
//! Used in every process. Each function has two bodies: `fault/asked.rs` in test builds (feature `fault-injection`), `fault/none.rs` in
//! all others, so that callers ask without caring which; a test proves that a release build can't be asked.
//!
//! `MAYFLY_FAULT=step:errno` makes a step fail, in every process that takes it; `step:errno:count` in the first so many only, so that
//! what comes after a fault can be seen. `MAYFLY_WITHOUT=name,name` leaves out steps, layers that are no steps, and what a kernel
//! may lack ([`Facility`]).

#[cfg(feature = "fault-injection")]
mod asked;
#[cfg(not(feature = "fault-injection"))]
mod none;

#[cfg(feature = "fault-injection")]
pub use self::asked::{Faults, can_leave_out, count_child, reads, supervisor_leaves_out};
#[cfg(not(feature = "fault-injection"))]
pub use self::none::{Faults, can_leave_out, count_child, reads, supervisor_leaves_out};

/// What to do with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Take it.
    None,
    /// Pretend it was taken.
    LeaveOut,
    /// Pretend its call gave this error number.
    Fail(i32),
}

/// What is no layer and can be missing too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Facility {
    /// The check at start that the jail holds, so that a server without a layer serves at all.
    Verification,
    /// What a kernel does that heeds `CLONE_PARENT`.
    CloneParent,
    /// Landlock, in the kernel.
    Landlock,
    /// A `chroot` that the kernel grants.
    Chroot,
}

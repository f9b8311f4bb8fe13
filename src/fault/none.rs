//! No faults, whatever the environment says: in every build that is not for tests.
//!
//! The same functions as in `asked.rs`, with bodies that the compiler sees through: what a caller would do without a layer is not in
//! the program. Nothing here may ever depend on anything.

use super::{Facility, Fault};
use crate::layer::Layer;
use crate::step::Step;
use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};

/// None.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {}

/// Nothing.
pub const fn count_child() {}

/// No.
#[must_use]
pub const fn supervisor_leaves_out(_: Layer) -> bool {
    false
}

/// No.
#[must_use]
pub const fn reads(_: &str) -> bool {
    false
}

/// Nothing.
#[must_use]
pub const fn can_leave_out() -> Option<(&'static str, Vec<&'static str>)> {
    None
}

impl Faults {
    /// None.
    #[must_use]
    pub const fn for_next_zygote(&self) -> Self {
        Self {}
    }

    /// None.
    #[must_use]
    pub const fn from_environment() -> Self {
        Self {}
    }

    /// None.
    #[must_use]
    pub const fn left_out() -> Self {
        Self {}
    }

    /// Take it.
    #[must_use]
    pub const fn at(&self, _: Step) -> Fault {
        Fault::None
    }

    /// No.
    #[must_use]
    pub const fn leaves_out(&self, _: Layer) -> bool {
        false
    }

    /// No.
    #[must_use]
    pub const fn lacks(&self, _: Facility) -> bool {
        false
    }

    /// None.
    #[must_use]
    pub const fn flags_left_out(&self) -> CloneFlags {
        CloneFlags::empty()
    }
}

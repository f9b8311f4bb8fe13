//! How a step of the jail is taken.
//!
//! Runs in the zygote and in the child. Test builds can leave a step out or make it fail here, and nowhere else.

use super::{JailError, Plan, Step};
use crate::fault::Fault;
use nix::errno::Errno;
use nix::sched::CloneFlags;

/// Takes steps for one plan.
#[derive(Debug, Clone, Copy)]
pub struct Steps<'a> {
    plan: &'a Plan,
}

impl<'a> Steps<'a> {
    /// For `plan`.
    #[must_use]
    pub fn new(plan: &'a Plan) -> Self {
        Self { plan }
    }

    /// Takes one step.
    ///
    /// # Errors
    /// The step with the error number its call gave.
    pub fn take(&self, step: Step, call: impl FnOnce() -> Result<(), Errno>) -> Result<(), JailError> {
        match self.plan.faults.at(step) {
            Fault::None => call().map_err(|errno| JailError { step, errno: errno as i32 }),
            Fault::LeaveOut => Ok(()),
            Fault::Fail(errno) => Err(JailError { step, errno }),
        }
    }

    /// Takes the first part of a step: what the part gives is needed even where a test build leaves the step out.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn part<T>(&self, step: Step, call: impl FnOnce() -> Result<T, Errno>) -> Result<T, JailError> {
        call().map_err(|errno| JailError { step, errno: errno as i32 })
    }

    /// Takes a step that gives something.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn value<T>(&self, step: Step, call: impl FnOnce() -> Result<T, Errno>) -> Result<T, JailError> {
        self.proof(step, call, || None)
    }

    /// Takes a step that proves something; `pretended` stands for the proof where a test build leaves the step out.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn proof<T>(
        &self,
        step: Step,
        call: impl FnOnce() -> Result<T, Errno>,
        pretended: impl FnOnce() -> Option<T>,
    ) -> Result<T, JailError> {
        let mut proved = None;
        self.take(step, || {
            proved = Some(call()?);
            Ok(())
        })?;
        proved.or_else(pretended).ok_or(JailError { step, errno: Errno::ENOSYS as i32 })
    }

    /// The flags of an `unshare` or a `clone`: all that are given, but for those a test build leaves out.
    #[must_use]
    pub fn flags(&self, flags: CloneFlags) -> CloneFlags {
        flags.difference(self.plan.faults.flags_left_out())
    }
}

//! Landlock: at level `seccomp`, reading below the jail root and nothing else.
//!
//! The zygote makes the ruleset, which opens files; the child enforces it, which is one call.

use super::Plan;
use crate::sys;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope,
};
use nix::errno::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// A ruleset, made and not yet in force: a descriptor that the child keeps until it has used it.
#[derive(Debug)]
pub struct Ruleset(pub(super) OwnedFd);

/// The oldest Landlock that will do: its rights cover reading and every kind of writing that a path can suffer but
/// truncation, and that needs a descriptor opened for writing, which it refuses too.
const FLOOR: ABI = ABI::V1;

/// The newest that is asked for; what the kernel lacks of it is left out.
const WISHED: ABI = ABI::V6;

/// Makes the ruleset.
///
/// # Errors
/// `EOPNOTSUPP` where the kernel has no Landlock that will do. A root that can't be opened is left out: nothing below it may
/// be read then.
pub fn make(plan: &Plan) -> Result<Ruleset, Errno> {
    let made = || -> Result<RulesetCreated, landlock::RulesetError> {
        let mut created = landlock::Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(FLOOR))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(WISHED))?
            .handle_access(AccessNet::from_all(WISHED))?
            .scope(Scope::from_all(WISHED))?
            .create()?;
        let readable = AccessFs::ReadFile | AccessFs::ReadDir;
        let mut roots = vec![plan.root_inside()];
        if plan.packages.is_some() {
            roots.push(plan.packages_inside());
        }
        for root in roots {
            if let Ok(directory) = PathFd::new(root) {
                created = created.add_rule(PathBeneath::new(directory, readable))?;
            }
        }
        Ok(created)
    };
    let created = made().map_err(|_| Errno::EOPNOTSUPP)?;
    Option::<OwnedFd>::from(created).map(Ruleset).ok_or(Errno::EOPNOTSUPP)
}

/// Puts the ruleset in force for this process, for good.
pub fn enforce(ruleset: Option<Ruleset>) -> Result<(), Errno> {
    let Ruleset(descriptor) = ruleset.ok_or(Errno::EOPNOTSUPP)?;
    sys::restrict_by_landlock(descriptor.as_fd())
}

//! Which isolation this machine grants, found by trying.
//!
//! Runs in the supervisor, at start and for `mayfly doctor`. A level counts only when a throw-away child, jailed as every
//! other will be, tried to get out and failed. Nothing is concluded from names, versions or sysctls.

use super::manifest::Manifest;
use crate::children::child::{Child, Made, NotReady};
use crate::children::command::command;
use crate::children::launcher::Launcher;
use crate::children::nsjail::Wrapper;
use crate::children::reaper::Reaper;
use crate::children::slots::{Slot, Slots};
use crate::children::zygote::{Zygote, ZygoteError};
use crate::config::{Config, Wanted};
use crate::fault::{Facility, Faults};
use crate::jail::verify::{Check, failed_checks};
use crate::jail::{Counting, Ids, JailError, Joining, Parentage, Paths, Plan, Step, TMP_INODES};
use crate::level::Level;
use crate::orders::{Purpose, Role, Spawn};
use crate::wire::Hello;
use nix::errno::Errno;
use std::fmt;
use std::process::Command;
use std::time::Duration;

/// The ids children get where the server may hand out ids: far above any that people, services or containers have.
const HIGH_RANGE: Ids = Ids::Range { first: 0x7000_0000, count: 65_536 };

/// The same for a server inside a user namespace that has only the usual 65,536 ids.
const LOW_RANGE: Ids = Ids::Range { first: 50_000, count: 10_000 };

/// How long the throw-away child may take.
const VERIFY_TIME: Duration = Duration::from_secs(10);

/// Why a level is not available.
#[derive(Debug)]
pub enum Unavailable {
    /// A step was refused.
    Step(JailError),
    /// The jail was entered, but from inside these did not hold.
    Leaky(Vec<Check>),
    /// The zygote's process failed otherwise.
    Zygote(ZygoteError),
    /// The child was not made the supervisor's own.
    NotOurs,
    /// There is no nsjail to run.
    NoNsjail,
    /// nsjail gave up: why, in its own words.
    Nsjail(String),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(JailError { step, errno }) => {
                write!(f, "step {step} failed: {}", Errno::from_raw(*errno))
            }
            Self::Leaky(checks) => {
                let names: Vec<&str> = checks.iter().map(|check| check.as_str()).collect();
                write!(f, "the jail was entered, but this did not hold: {}", names.join("; "))
            }
            Self::Zygote(error) => error.fmt(f),
            Self::NotOurs => f.write_str("the supervisor can't wait for the children that a zygote makes"),
            Self::NoNsjail => f.write_str("there is no nsjail program on PATH"),
            Self::Nsjail(told) => write!(f, "nsjail failed: {told}"),
        }
    }
}

impl From<ZygoteError> for Unavailable {
    fn from(error: ZygoteError) -> Self {
        match error {
            ZygoteError::Jail(error) => Self::Step(error),
            ZygoteError::IdMap(error) => {
                Self::Step(JailError { step: Step::IdMap, errno: error.raw_os_error().unwrap_or(0) })
            }
            ZygoteError::NotOurs => Self::NotOurs,
            other => Self::Zygote(other),
        }
    }
}

/// What was tried and how it went.
#[derive(Debug)]
pub struct Attempt {
    /// The level.
    pub level: Level,
    /// The plan that verified, or why none did.
    pub result: Result<Plan, Unavailable>,
    /// At level `seccomp`: what single layers said.
    pub found: Option<crate::orders::Found>,
}

/// The means to try.
#[derive(Debug)]
pub struct Tools<'a> {
    /// The settings.
    pub config: &'a Config,
    /// What the jail root holds.
    pub manifest: &'a Manifest,
    /// Starts processes.
    pub launcher: &'a Launcher,
    /// Reaps them.
    pub reaper: &'a Reaper,
    /// Numbers for children.
    pub slots: &'a Slots,
}

/// Whether the system was only short of something just now, which is no reason for a weaker jail.
fn is_passing(errno: i32) -> bool {
    let passing = [Errno::EAGAIN, Errno::ENOMEM, Errno::EMFILE, Errno::ENFILE, Errno::EINTR];
    passing.contains(&Errno::from_raw(errno))
}

/// Who counts threads, by what was found.
fn counting(found: &crate::orders::Found) -> Counting {
    if found.counting.is_none() { Counting::Alone } else { Counting::Together }
}

/// The next variant of a plan to try after it failed so; `None` when there is none.
fn adapted(plan: &Plan, why: &Unavailable) -> Option<Plan> {
    let mut other = plan.clone();
    match why {
        Unavailable::Step(JailError { step: Step::IdMap | Step::ZygoteIds | Step::Ids, errno })
            if !is_passing(*errno) =>
        {
            other.ids = match plan.ids {
                HIGH_RANGE => LOW_RANGE,
                Ids::Range { .. } => {
                    // Whether the kernel counts alone where ids are shared was not tried.
                    other.counting = Counting::Together;
                    Ids::Shared
                }
                Ids::Shared => return None,
            };
        }
        Unavailable::Step(JailError { step: Step::PrivateTmp, errno }) if *errno == Errno::EINVAL as i32 => {
            other.tmp_inodes = None;
        }
        Unavailable::Step(JailError { step: Step::OwnUserNamespace, errno }) if !is_passing(*errno) => {
            other.counting = Counting::Together;
        }
        Unavailable::Step(JailError { step: Step::Clone, errno })
            if plan.joining != Joining::No && !is_passing(*errno) =>
        {
            other.joining = if plan.joining == Joining::Cloned { Joining::Moved } else { Joining::No };
        }
        Unavailable::NotOurs => {
            other.parentage = Parentage::Adopted;
            // The process in between is not told of any group.
            if plan.joining == Joining::Cloned {
                other.joining = Joining::Moved;
            }
        }
        _ => return None,
    }
    (other != *plan).then_some(other)
}

impl Tools<'_> {
    fn plan(&self, level: Level, ids: Ids, paths: Paths, counting: Counting) -> Plan {
        Plan {
            level,
            root: self.config.root.clone(),
            stdlib: self.manifest.stdlib.clone().into(),
            packages: self.config.packages.clone(),
            ids,
            counting,
            paths,
            parentage: Parentage::Sibling,
            joining: match (self.slots.groups(), level) {
                (None, _) => Joining::No,
                // The process that becomes the child is moved as soon as it is started.
                (Some(_), Level::Nsjail) => Joining::Moved,
                (Some(_), _) => Joining::Cloned,
            },
            tmp_bytes: self.config.tmp_size.0,
            tmp_inodes: Some(TMP_INODES),
            faults: Faults::left_out(),
        }
    }

    /// Tries levels in order until one verifies; all attempts are returned, the last is the one that counts.
    pub async fn choose(&self, wanted: Wanted) -> Vec<Attempt> {
        let levels = match wanted {
            Wanted::Auto => &[Level::Full, Level::Seccomp][..],
            Wanted::Only(Level::Full) => &[Level::Full],
            Wanted::Only(Level::Seccomp) => &[Level::Seccomp],
            Wanted::Only(Level::Nsjail) => &[Level::Nsjail],
        };
        let mut attempts = Vec::new();
        for level in levels {
            let attempt = self.attempt(*level).await;
            let verified = attempt.result.is_ok();
            attempts.push(attempt);
            if verified {
                break;
            }
        }
        attempts
    }

    /// Tries one level, with the strongest ids that it can have.
    pub async fn attempt(&self, level: Level) -> Attempt {
        let none = Paths { chroot: false, landlock: false, beneath: false };
        match level {
            Level::Full => {
                let ids = if nix::unistd::geteuid().is_root() { HIGH_RANGE } else { Ids::Shared };
                // Outside of any namespace ids are as at that level.
                let probe = self.plan(Level::Seccomp, HIGH_RANGE, none, Counting::Alone);
                let result = match Zygote::probe(self.launcher, self.reaper, &probe).await {
                    Ok(found) => self.verify_adapting(self.plan(level, ids, none, counting(&found))).await,
                    Err(error) => Err(error.into()),
                };
                Attempt { level, result, found: None }
            }
            Level::Seccomp => {
                let probe = self.plan(level, HIGH_RANGE, none, Counting::Alone);
                match Zygote::probe(self.launcher, self.reaper, &probe).await {
                    Ok(found) => {
                        // Packages elsewhere can't be seen after a chroot, and nothing can be mounted at this level.
                        let chroot = found.chroot.is_none() && self.config.packages.is_none();
                        let landlock = found.landlock.is_none();
                        let beneath = landlock && !chroot && found.beneath.is_none();
                        let paths = Paths { chroot, landlock, beneath };
                        let ids = if found.ids.is_none() { HIGH_RANGE } else { Ids::Shared };
                        let plan = self.plan(level, ids, paths, counting(&found));
                        let result = self.verify_adapting(plan).await;
                        Attempt { level, result, found: Some(found) }
                    }
                    Err(error) => Attempt { level, result: Err(error.into()), found: None },
                }
            }
            Level::Nsjail => {
                let result = match Wrapper::find() {
                    Some(wrapper) => self.verify_nsjail(&wrapper).await,
                    None => Err(Unavailable::NoNsjail),
                };
                Attempt { level, result, found: None }
            }
        }
    }

    /// Verifies `plan`, or the strongest variant of it that this kernel can do.
    async fn verify_adapting(&self, mut plan: Plan) -> Result<Plan, Unavailable> {
        loop {
            let slot = self.slots.take(&plan).map_err(Unavailable::Step)?;
            let why = match self.verify(plan.clone(), slot, command(&plan, &Role::Bare)).await {
                Ok(plan) => return Ok(plan),
                Err(why) => why,
            };
            match adapted(&plan, &why) {
                Some(other) => plan = other,
                None => return Err(why),
            }
        }
    }

    /// nsjail with an id for each slot where the server may hand them out, else with the server's own.
    async fn verify_nsjail(&self, wrapper: &Wrapper) -> Result<Plan, Unavailable> {
        let none = Paths { chroot: false, landlock: false, beneath: false };
        let candidates =
            if nix::unistd::geteuid().is_root() { &[HIGH_RANGE, LOW_RANGE, Ids::Shared][..] } else { &[Ids::Shared] };
        let mut result = Err(Unavailable::NoNsjail);
        for ids in candidates {
            // nsjail makes a user namespace for each child; whether the kernel counts in it is not tried.
            let counting = if *ids == Ids::Shared { Counting::Together } else { Counting::Alone };
            result = self.verify_one_nsjail(wrapper, self.plan(Level::Nsjail, *ids, none, counting)).await;
            // Whether it was the ids that it could not take, nsjail does not tell in a way to rely on.
            if !matches!(result, Err(Unavailable::Nsjail(_))) {
                break;
            }
        }
        result
    }

    async fn verify_one_nsjail(&self, wrapper: &Wrapper, plan: Plan) -> Result<Plan, Unavailable> {
        let slot = self.slots.take(&plan).map_err(Unavailable::Step)?;
        let (command, complaints) = wrapper.command(&plan, slot.number()).map_err(ZygoteError::Start)?;
        match self.verify(plan, slot, command).await {
            Err(Unavailable::Zygote(ZygoteError::Gone)) => {
                Err(Unavailable::Nsjail(complaints.told().await.unwrap_or_else(|| "it gave no reason".to_owned())))
            }
            result => result,
        }
    }

    /// Jails a throw-away child under `plan`, made by `command`, and lets it try to get out.
    async fn verify(&self, plan: Plan, slot: Slot, command: Command) -> Result<Plan, Unavailable> {
        let not_joined = |errno: Errno| Unavailable::Step(JailError { step: Step::Clone, errno: errno as i32 });
        if let Some(groups) = self.slots.groups() {
            groups.give_to_zygotes(&plan).map_err(not_joined)?;
        }
        let group = match plan.level {
            Level::Nsjail => slot.to_move_into(),
            Level::Full | Level::Seccomp => self.slots.group_of_zygotes(&plan),
        };
        let mut zygote = Zygote::start(self.launcher, self.reaper, &plan, Role::Bare, command, group).await?;
        let spawn = Spawn {
            slot: slot.number(),
            memory: self.config.limits.memory.0,
            cpu_seconds: 2,
            purpose: Purpose::Verify,
        };
        let newborn = zygote.spawn(spawn, &slot).await?;
        let made = Made::by(spawn, zygote.warm().address_space);
        let mut child = Child::new(newborn, slot, self.reaper.clone(), made).map_err(ZygoteError::Start)?;
        child.join(self.launcher).await.map_err(Unavailable::Step)?;
        if !child.has_joined() && !plan.faults.lacks(Facility::Verification) {
            return Err(not_joined(Errno::ENOENT));
        }
        let hello = tokio::time::timeout(VERIFY_TIME, child.hello()).await.unwrap_or(Err(NotReady::Silent));
        child.kill();
        match hello {
            // It must be the supervisor's to reap, or nobody could tell how a script ended.
            Ok(Hello::Verified { failed: 0 }) => match child.end(VERIFY_TIME).await {
                Some(_) => Ok(plan),
                None => Err(Unavailable::NotOurs),
            },
            Ok(Hello::Verified { .. }) if plan.faults.lacks(Facility::Verification) => {
                child.end(VERIFY_TIME).await.map(|_| plan).ok_or(Unavailable::NotOurs)
            }
            Ok(Hello::Verified { failed }) => Err(Unavailable::Leaky(failed_checks(failed))),
            Err(NotReady::Jail(error)) => Err(Unavailable::Step(error)),
            Ok(_) | Err(NotReady::Silent) => Err(Unavailable::Zygote(ZygoteError::Gone)),
        }
    }
}

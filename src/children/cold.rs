//! Children that start by themselves: a process for each job, with an interpreter of its own.
//!
//! Runs in the supervisor. The slow way that proves that the warm one changes nothing but time, and the only way
//! through nsjail.

use super::child::{Child, Made};
use super::command::command;
use super::launcher::Launcher;
use super::nsjail::Wrapper;
use super::reaper::Reaper;
use super::slots::{Slot, Slots};
use super::zygote::{Zygote, ZygoteError};
use crate::jail::Plan;
use crate::job::Limits;
use crate::level::Level;
use crate::orders::{Role, Spawn};
use crate::outcome::Refusal;
use crate::wire::Hello;
use std::process::Command;
use std::time::Duration;

/// How long a child may take from its start to being ready: 30 ms of interpreter, a second of imports, nsjail.
const READY_TIME: Duration = Duration::from_secs(30);

/// Makes cold children.
#[derive(Debug)]
pub struct ColdStart {
    plan: Plan,
    launcher: Launcher,
    reaper: Reaper,
    slots: Slots,
}

impl ColdStart {
    /// For children under `plan`.
    #[must_use]
    pub fn new(plan: Plan, launcher: Launcher, reaper: Reaper, slots: Slots) -> Self {
        Self { plan, launcher, reaper, slots }
    }

    /// A child made for one job, with the modules it names imported.
    ///
    /// # Errors
    /// [`Refusal::Jail`] or [`Refusal::NoZygote`]: the script has not run.
    pub async fn make(&self, preload: Vec<String>, limits: Limits) -> Result<Child, Refusal> {
        match tokio::time::timeout(READY_TIME, self.start(preload, limits)).await {
            Ok(Ok(child)) => Ok(child),
            Ok(Err(error)) => {
                tracing::error!(%error, "can't make a cold child");
                Err((&error).into())
            }
            Err(_) => {
                tracing::error!("a cold child was not ready in time");
                Err(Refusal::NoZygote)
            }
        }
    }

    async fn start(&self, preload: Vec<String>, limits: Limits) -> Result<Child, ZygoteError> {
        let role = Role::Cold { preload };
        let slot = self.slots.take(&self.plan).map_err(ZygoteError::Jail)?;
        let (command, complaints) = match self.plan.level {
            Level::Nsjail => {
                let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "no nsjail program on PATH");
                let wrapper = Wrapper::find().ok_or_else(|| ZygoteError::Start(missing()))?;
                let (command, complaints) = wrapper.command(&self.plan, slot.number()).map_err(ZygoteError::Start)?;
                (command, Some(complaints))
            }
            Level::Full | Level::Seccomp => (command(&self.plan, &role), None),
        };
        let made = self.bring_up(role, command, slot, limits).await;
        if let (Err(_), Some(complaints)) = (&made, complaints)
            && let Some(told) = complaints.told().await
        {
            tracing::error!("nsjail: {told}");
        }
        made
    }

    async fn bring_up(&self, role: Role, command: Command, slot: Slot, limits: Limits) -> Result<Child, ZygoteError> {
        let group = match self.plan.level {
            // The process becomes the child itself.
            Level::Nsjail => slot.to_move_into(),
            Level::Full | Level::Seccomp => self.slots.group_of_zygotes(&self.plan),
        };
        let mut parent = Zygote::start(&self.launcher, &self.reaper, &self.plan, role, command, group).await?;
        let spawn = Spawn::for_job(slot.number(), limits.memory.0, limits.cpu);
        // The interpreter that it starts is not there yet, and its size is not known here.
        let made = Made::by(spawn, 0);
        let (launcher, reaper) = (self.launcher.clone(), self.reaper.clone());
        // In a task of its own, to its end: a client that goes away in between must not leave a child that nobody knows of.
        let born = tokio::spawn(async move {
            let newborn = parent.spawn(spawn, &slot).await?;
            let child = Child::new(newborn, slot, reaper, made).map_err(ZygoteError::Start)?;
            child.join(&launcher).await.map_err(ZygoteError::Jail)?;
            Ok::<Child, ZygoteError>(child)
        });
        let mut child = born.await.map_err(|_| ZygoteError::Gone)??;
        match child.hello().await? {
            Hello::Ready { .. } => Ok(child),
            Hello::Failed { .. } | Hello::Verified { .. } => Err(ZygoteError::Gone),
        }
    }
}

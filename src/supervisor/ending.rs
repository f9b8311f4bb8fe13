//! How the service ends: first nothing new is run, then what still runs is given up.
//!
//! Runs in the supervisor. Each stage is entered once and never left. It must never end a script whose client is not told so: a run
//! that is given up is refused, and a refusal has an answer.

use super::Supervisor;
use crate::outcome::{Refusal, Report};
use std::future::Future;
use tokio::sync::watch;

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It has not begun.
    Serving,
    /// What runs goes on; nothing else is run.
    Draining,
    /// What runs is refused.
    GivingUp,
}

/// The stage that the service is in.
#[derive(Debug)]
pub(super) struct Ending(watch::Sender<Stage>);

impl Default for Ending {
    fn default() -> Self {
        Self(watch::Sender::new(Stage::Serving))
    }
}

impl Ending {
    pub(super) fn has_begun(&self) -> bool {
        *self.0.borrow() != Stage::Serving
    }

    /// What `run` comes to; or its refusal, and the end of its child, if what runs is given up meanwhile.
    pub(super) async fn unless_given_up(
        &self,
        run: impl Future<Output = Result<Report, Refusal>>,
    ) -> Result<Report, Refusal> {
        let mut stage = self.0.subscribe();
        tokio::select! {
            biased;
            result = run => result,
            _ = stage.wait_for(|stage| *stage == Stage::GivingUp) => Err(Refusal::GivenUp),
        }
    }
}

impl Supervisor {
    /// Refuses new jobs from now on; those that run go on. No zygote is started or renewed unless one of those needs it. Returns how
    /// many run.
    pub fn drain(&self) -> usize {
        self.ending.0.send_replace(Stage::Draining);
        self.admission.close();
        self.source.drain();
        self.admission.load().0
    }

    /// Refuses the jobs that still run: their children are killed.
    pub fn give_up(&self) {
        self.ending.0.send_replace(Stage::GivingUp);
    }
}

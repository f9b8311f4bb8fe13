//! The supervisor: admits jobs, finds each a child, drives it, decides what became of it.
//!
//! Runs in `mayfly serve` and `mayfly run`, many threads, no Python. It never trusts a child: what happened is decided from
//! its own clock, its own kills and the kernel's word.

pub mod admission;
pub mod advice;
pub mod drive;
mod ending;
pub mod exit;
mod files;
pub mod hint;
pub mod output;
pub mod routing;
mod shortage;
mod start_error;
pub mod verdict;
mod weight;

use self::admission::{Admission, Stay};
use self::drive::Terms;
use self::ending::Ending;
use self::hint::Place;
use self::shortage::Shortage;
pub use self::start_error::StartError;
use crate::capabilities::Capabilities;
use crate::children::cgroups::{Cgroups, Refused};
use crate::children::child::Child;
use crate::children::cold::ColdStart;
use crate::children::launcher::Launcher;
use crate::children::pool::{Pool, Recipe, Seed};
use crate::children::pools::Pools;
use crate::children::reaper::Reaper;
use crate::children::slots::Slots;
use crate::client::Client;
use crate::config::{Config, Refill, StartPath};
use crate::events::Listener;
use crate::fault::Faults;
use crate::jail::{ChildLimits, Ids, Joining, MAX_THREADS, Plan, TMP_INODES};
use crate::job::{Job, Limits};
use crate::level::Level;
use crate::outcome::{Refusal, Report, Timing};
use crate::service::Service;
use crate::survey::isolation::{Attempt, Tools, Unavailable};
use crate::survey::layers::layers;
use crate::survey::manifest::{Manifest, top};
use crate::wire::{self, Down, JobFrame};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A service that could make no child for so long is not alive: what a process has gathered may be the cause.
const STUCK: Duration = Duration::from_secs(30);

/// Where children come from.
#[derive(Debug)]
enum Source {
    /// Forked from warm zygotes.
    Warm(Pools),
    /// Each is a process of its own from its start.
    Cold(ColdStart),
}

impl Source {
    /// See [`Pool::drain`].
    fn drain(&self) {
        if let Self::Warm(pools) = self {
            pools.iter().for_each(Pool::drain);
        }
    }
}

/// The service, but for its front.
#[derive(Debug)]
pub struct Supervisor {
    config: Config,
    plan: Plan,
    attempts: Vec<Attempt>,
    manifest: Manifest,
    /// Modules that the loaded zygote has and the lean one has not.
    heavy: BTreeSet<String>,
    admission: Admission,
    shortage: Shortage,
    source: Source,
    launcher: Launcher,
    reaper: Reaper,
    /// The control groups of children, or why there are none.
    cgroups: Result<Cgroups, Refused>,
    ending: Ending,
}

impl Supervisor {
    /// Finds the isolation level and starts the zygotes; scripts are served as soon as one of them is warm.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let launcher = Launcher::start().map_err(StartError::Thread)?;
        let reaper = Reaper::start().map_err(StartError::Thread)?;
        let manifest = Manifest::read(&config).map_err(StartError::Manifest)?;
        let linked = crate::python::linked_version();
        if linked != manifest.python {
            return Err(StartError::Mismatch { linked, root: manifest.python });
        }
        // For kernels where a zygote's children become the supervisor's only by adoption.
        crate::sys::adopt_orphans().map_err(|errno| StartError::Thread(errno.into()))?;
        // Before any process is started, which would be in a group that is to have no members.
        let cgroups = Cgroups::prepare();
        let slots = Slots::new(cgroups.as_ref().ok().cloned());
        let tools = Tools { config: &config, manifest: &manifest, launcher: &launcher, reaper: &reaper, slots: &slots };
        let attempts = tools.choose(config.isolation).await;
        let Some(Ok(plan)) = attempts.last().map(|attempt| attempt.result.as_ref()) else {
            if let Ok(cgroups) = &cgroups {
                cgroups.remove();
            }
            return Err(StartError::Isolation(attempts));
        };
        let plan = plan.clone();
        let plan = Plan { faults: Faults::from_environment(), ..plan };
        let preload: Vec<String> =
            config.preload.iter().filter(|module| manifest.has_module(module)).cloned().collect();
        let source = if config.start == StartPath::Cold || plan.level == Level::Nsjail {
            Source::Cold(ColdStart::new(plan.clone(), launcher.clone(), reaper.clone(), slots))
        } else {
            let pool = |name, modules: Vec<String>| {
                let recipe = Recipe {
                    name,
                    seed: Seed::Modules(modules),
                    plan: plan.clone(),
                    ready: config.ready,
                    limits: config.limits,
                    renew_forks: config.renew_forks,
                    renew_after: config.renew_after,
                };
                Pool::start(recipe, launcher.clone(), reaper.clone(), slots.clone())
            };
            let standard = routing::STANDARD_WHEN_LOADED.iter().map(|&name| name.to_owned());
            let loaded: Vec<String> = standard.chain(preload.iter().cloned()).collect();
            Source::Warm(match (preload.is_empty(), plan.has_files()) {
                (true, _) => Pools::new(pool("lean", Vec::new()), Vec::new()),
                // Where the jail has no files to import from, only what was preloaded can be imported.
                (false, false) => Pools::new(pool("loaded", loaded), Vec::new()),
                (false, true) => Pools::new(pool("lean", Vec::new()), vec![pool("loaded", loaded)]),
            })
        };
        Ok(Self {
            admission: Admission::new(config.concurrency, config.queue),
            shortage: Shortage::new(crate::machine::memory::Memory::here()),
            plan,
            attempts,
            heavy: (manifest.modules.iter().map(String::as_str))
                .chain(routing::STANDARD_WHEN_LOADED)
                .chain(config.preload.iter().map(|module| top(module)))
                .filter(|module| !crate::python::is_always_loaded(module))
                .map(str::to_owned)
                .collect(),
            manifest,
            source,
            launcher,
            reaper,
            cgroups,
            ending: Ending::default(),
            config,
        })
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The isolation level in force.
    #[must_use]
    pub fn level(&self) -> Level {
        self.plan.level
    }

    /// Whether each child has an id of its own, rather than the server's.
    #[must_use]
    pub fn has_own_ids(&self) -> bool {
        self.plan.ids != Ids::Shared
    }

    /// Whether each child has a control group of its own.
    #[must_use]
    pub fn has_own_cgroups(&self) -> bool {
        self.plan.joining != Joining::No
    }

    /// The control groups of zygotes and children, to be removed when those are gone.
    #[must_use]
    pub fn cgroups(&self) -> Option<Cgroups> {
        self.cgroups.as_ref().ok().cloned()
    }

    /// Levels that were tried and are not available, and why.
    pub fn refused(&self) -> impl Iterator<Item = (Level, &Unavailable)> {
        self.attempts.iter().filter_map(|attempt| Some((attempt.level, attempt.result.as_ref().err()?)))
    }

    /// What the jail root holds.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Waits until a first script can be served.
    pub async fn wait_ready(&self) {
        match &self.source {
            Source::Warm(pools) => pools.wait_warm().await,
            Source::Cold(_) => {}
        }
    }

    /// Runs one job for `client`. Dropping the future kills its child.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn run(&self, job: Job, client: Client, listener: &mut dyn Listener) -> Result<Report, Refusal> {
        let arrived = Instant::now();
        self.refuse_if_short()?;
        // Shared with each child that runs the job: free when the last of them is gone.
        let stay = Stay::new(self.admission.enter(client.network()).await?);
        let admitted = Instant::now();
        // It may have become so while others ran.
        self.refuse_if_short()?;
        let told = self.tell(&job, listener.is_there())?;
        let limits = job.limits();
        let mut terms = Terms {
            limits,
            counting: self.plan.counting,
            shortage: &self.shortage,
            include: job.include(),
            result_size: self.config.result_size.as_usize(),
        };
        // What nsjail tells of a kill, a script can have it tell.
        let mut may_retry = !listener.is_there() && self.plan.level != Level::Nsjail;
        let pool = self.route(job.script());
        loop {
            let mut child = self.child_for(pool, job.script(), terms.limits).await?;
            child.occupy(stay.place());
            files::place(&mut child, &job).await?;
            let cpu_seconds = child.cpu_seconds();
            let started = Instant::now();
            let driven = drive::drive(child, &terms, &told, listener).await;
            if may_retry && verdict::may_run_again(&driven.stop, &limits, cpu_seconds, driven.cpu, driven.memory) {
                self.refuse_if_short()?;
                // Nothing a script does is seen outside, so it can run again, in the time that is left.
                may_retry = false;
                terms.limits.wall = terms.limits.wall.saturating_sub(driven.wall);
                continue;
            }
            match (self.config.refill, pool) {
                (Refill::BeforeAnswer, Some(pool)) => pool.refilled().await,
                (_, Some(pool)) => pool.refill(),
                (_, None) => {}
            }
            let timing = Timing { queue: admitted - arrived, start: started - admitted, run: driven.wall };
            let mode = job.manner().mode;
            let (outcome, exit) = exit::judge(mode, driven.stop, &limits, &self.place(), cpu_seconds, driven.cpu);
            return Ok(Report {
                outcome: advice::add(outcome, advice::Sent::with(&job, &self.manifest.modules)),
                exit,
                timing,
                stdout: driven.stdout,
                stderr: driven.stderr,
                usage: driven.usage,
            });
        }
    }

    /// Memory comes back when scripts end: more of them would have the kernel end one.
    fn refuse_if_short(&self) -> Result<(), Refusal> {
        if self.shortage.is_there() { Err(Refusal::NoMemory) } else { Ok(()) }
    }

    /// All that the child is told, as it crosses the wire.
    fn tell(&self, job: &Job, is_heard: bool) -> Result<Vec<u8>, Refusal> {
        let frame = JobFrame {
            script: job.script().to_owned(),
            args: job.args().tokens().to_vec(),
            kwargs: job.kwargs().tokens().to_vec(),
            result_bytes: self.config.result_size.0,
            captured: is_heard || job.include().stdout || job.include().stderr,
            manner: job.manner().clone(),
        };
        let mut told = Vec::new();
        let mut add = |message: &Down| {
            // A job is bounded by the request body, far below a frame's cap.
            let frame = wire::encode(message).map_err(|error| {
                tracing::error!(%error, "a job could not be written for its child");
                Refusal::NotTold
            })?;
            told.extend_from_slice(&frame);
            Ok::<(), Refusal>(())
        };
        if !job.stdin().is_empty() {
            add(&Down::Input(job.stdin().to_owned()))?;
        }
        add(&Down::Job(frame))?;
        Ok(told)
    }

    /// What scripts find, for hints.
    fn place(&self) -> Place {
        Place {
            tmp: self.plan.has_tmp().then_some(self.config.tmp_size),
            tmp_files: TMP_INODES.into(),
            threads: MAX_THREADS,
            result: self.config.result_size,
        }
    }

    /// The pool that a script's child comes from; `None` where each child is started for its own job.
    fn route(&self, script: &str) -> Option<&Pool> {
        match &self.source {
            Source::Warm(pools) => Some(routing::choose(!routing::named(script, &self.heavy).is_empty(), pools)),
            Source::Cold(_) => None,
        }
    }

    /// A child that fits the limits.
    async fn child_for(&self, pool: Option<&Pool>, script: &str, limits: Limits) -> Result<Child, Refusal> {
        match (&self.source, pool) {
            (Source::Cold(start), _) => {
                let named = routing::named(script, &self.heavy);
                let preload = self.config.preload.iter().filter(|module| named.contains(top(module)));
                start.make(preload.cloned().collect(), limits).await
            }
            (Source::Warm(pools), pool) => {
                let pool = pool.unwrap_or_else(|| pools.lightest());
                let mut child = pool.take().await?;
                match child.adjust(&limits, ChildLimits::whole_seconds(limits.cpu)) {
                    Ok(()) => Ok(child),
                    Err(_) => pool.take_special(limits).await,
                }
            }
        }
    }
}

impl Service for Supervisor {
    fn run(
        &self,
        job: Job,
        client: Client,
        listener: &mut dyn Listener,
    ) -> impl Future<Output = Result<Report, Refusal>> + Send {
        self.ending.unless_given_up(self.run(job, client, listener))
    }

    fn ready(&self) -> bool {
        let can_serve = match &self.source {
            Source::Warm(pools) => pools.iter().any(Pool::can_serve),
            Source::Cold(_) => true,
        };
        can_serve && !self.shortage.is_there() && !self.ending.has_begun()
    }

    fn alive(&self) -> bool {
        let can_make = match &self.source {
            Source::Warm(pools) => pools.iter().any(|pool| pool.has_failed_for() < STUCK),
            Source::Cold(_) => true,
        };
        let has_places = self.reaper.overdue() < self.config.concurrency;
        can_make && has_places && self.launcher.is_alive() && self.reaper.is_alive()
    }

    fn capabilities(&self) -> Capabilities {
        let layers = layers(&self.plan, &self.attempts, &self.cgroups);
        let tmp_bytes = if self.plan.has_tmp() { self.config.tmp_size.0 } else { 0 };
        Capabilities::new(
            &self.config,
            &self.manifest,
            self.plan.level.as_str(),
            layers,
            tmp_bytes,
            self.reaper.overdue(),
        )
    }

    fn isolation(&self) -> &'static str {
        self.plan.level.as_str()
    }
}

//! The supervisor: admits jobs, finds each a child, drives it, decides what became of it.
//!
//! Runs in `mayfly serve` and `mayfly run`, many threads, no Python. It never trusts a child: what happened is decided from
//! its own clock, its own kills and the kernel's word.

pub mod admission;
pub mod drive;
pub mod output;
pub mod routing;
pub mod verdict;

use self::admission::Admission;
use crate::capabilities::Capabilities;
use crate::children::child::Child;
use crate::children::cold::Nursery;
use crate::children::launcher::Launcher;
use crate::children::pool::{Kind, Pool};
use crate::children::reaper::Reaper;
use crate::children::slots::Slots;
use crate::client::Client;
use crate::config::{Config, Refill, StartPath};
use crate::fault::Faults;
use crate::jail::{ChildLimits, Ids, Plan};
use crate::job::{Job, Limits};
use crate::level::Level;
use crate::outcome::{Refusal, Report, Timing};
use crate::service::Service;
use crate::survey::isolation::{Attempt, Tools, Unavailable};
use crate::survey::layers::layers;
use crate::survey::manifest::{Manifest, top};
use crate::wire::{self, JobFrame};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Why the supervisor can't start.
#[derive(Debug)]
pub enum StartError {
    /// A thread could not be made.
    Thread(io::Error),
    /// The jail root's manifest can't be read.
    Manifest(io::Error),
    /// The program and the jail root belong to different `CPython`s: extension modules would not load.
    Mismatch {
        /// The program's.
        linked: String,
        /// The jail root's.
        root: String,
    },
    /// No level that was asked for is available: what was tried.
    Isolation(Vec<Attempt>),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(error) => write!(f, "can't start a thread: {error}"),
            Self::Manifest(error) => {
                write!(f, "can't read the jail root's mayfly.json: {error}; run `make build` to make a new jail root")
            }
            Self::Mismatch { linked, root } => write!(
                f,
                "this program embeds CPython {linked}, but the jail root was made for {root}; run `make build` to rebuild both"
            ),
            Self::Isolation(attempts) => {
                f.write_str("this machine doesn't provide the isolation asked for")?;
                for attempt in attempts {
                    if let Err(why) = &attempt.result {
                        write!(f, "; {}: {why}", attempt.level)?;
                    }
                }
                f.write_str("; run `mayfly doctor` for what to change")
            }
        }
    }
}

impl std::error::Error for StartError {}

/// Where children come from.
#[derive(Debug)]
enum Source {
    /// Forked from warm zygotes: scripts that name a preloaded module go to the loaded one.
    Warm { lean: Option<Pool>, loaded: Option<Pool> },
    /// Each started by itself.
    Cold(Nursery),
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
    source: Source,
    draining: AtomicBool,
}

impl Supervisor {
    /// Finds the isolation level and starts the zygotes; scripts are served as soon as one of them is warm.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let launcher = Launcher::start().map_err(StartError::Thread)?;
        let reaper = Reaper::start().map_err(StartError::Thread)?;
        let slots = Slots::default();
        let manifest = Manifest::read(&config).map_err(StartError::Manifest)?;
        let linked = crate::python::linked_version();
        if linked != manifest.python {
            return Err(StartError::Mismatch { linked, root: manifest.python });
        }
        // For kernels where a zygote's children become the supervisor's only by adoption.
        crate::sys::adopt_orphans().map_err(|errno| StartError::Thread(errno.into()))?;
        let tools = Tools { config: &config, manifest: &manifest, launcher: &launcher, reaper: &reaper, slots: &slots };
        let attempts = tools.choose(config.isolation).await;
        let Some(Ok(plan)) = attempts.last().map(|attempt| attempt.result.as_ref()) else {
            return Err(StartError::Isolation(attempts));
        };
        let plan = plan.clone();
        let plan = Plan { faults: Faults::from_environment(), ..plan };
        let preload: Vec<String> =
            config.preload.iter().filter(|module| manifest.has_module(module)).cloned().collect();
        let source = if config.start == StartPath::Cold || plan.level == Level::Nsjail {
            Source::Cold(Nursery::new(plan.clone(), launcher, reaper, slots))
        } else {
            let pool = |name, preload: Vec<String>| {
                let kind = Kind {
                    name,
                    plan: plan.clone(),
                    preload,
                    ready: config.ready,
                    limits: config.limits,
                    renew_forks: config.renew_forks,
                    renew_after: config.renew_after,
                };
                Pool::start(kind, launcher.clone(), reaper.clone(), slots.clone())
            };
            let has_files = plan.has_files();
            Source::Warm {
                // Where the jail has no files to import from, only what was preloaded can be imported.
                lean: (has_files || preload.is_empty()).then(|| pool("lean", Vec::new())),
                loaded: (!preload.is_empty()).then(|| {
                    let standard = routing::STANDARD_WHEN_LOADED.iter().map(|&name| name.to_owned());
                    pool("loaded", standard.chain(preload.iter().cloned()).collect())
                }),
            }
        };
        Ok(Self {
            admission: Admission::new(config.concurrency, config.queue),
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
            draining: AtomicBool::new(false),
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
            Source::Warm { lean: Some(lean), loaded: Some(loaded) } => {
                tokio::select! { () = lean.wait_warm() => {}, () = loaded.wait_warm() => {} }
            }
            Source::Warm { lean: Some(only), .. } | Source::Warm { loaded: Some(only), .. } => only.wait_warm().await,
            Source::Warm { lean: None, loaded: None } | Source::Cold(_) => {}
        }
    }

    /// Refuses new jobs from now on; those that run go on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.admission.close();
    }

    /// Runs one job. Dropping the future kills its child.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn run(&self, job: Job, _client: Client) -> Result<Report, Refusal> {
        let arrived = Instant::now();
        let _permit = self.admission.enter().await?;
        let admitted = Instant::now();
        let frame = self.encode(&job);
        let limits = job.limits();
        let mut left = limits;
        let mut retried = false;
        let source = self.route(&job);
        loop {
            let child = self.child_for(source, job.script(), left).await?;
            let cpu_seconds = child.cpu_seconds;
            let started = Instant::now();
            let driven = drive::drive(
                child,
                left,
                self.plan.counting,
                job.include(),
                &frame,
                self.config.result_size.as_usize(),
            )
            .await;
            if !retried && verdict::was_killed_from_outside(&driven.stop, cpu_seconds, driven.cpu) {
                // Nothing a script does is seen outside, so it can run again, in the time that is left.
                retried = true;
                left.wall = left.wall.saturating_sub(driven.wall);
                continue;
            }
            match (self.config.refill, source) {
                (Refill::BeforeAnswer, Some(pool)) => pool.refilled().await,
                (_, Some(pool)) => pool.refill(),
                (_, None) => {}
            }
            let timing = Timing { queue: admitted - arrived, start: started - admitted, run: driven.wall };
            return Ok(Report {
                outcome: verdict::decide(driven.stop, &limits, cpu_seconds, driven.cpu),
                timing,
                stdout: driven.stdout,
                stderr: driven.stderr,
                usage: driven.usage,
            });
        }
    }

    fn encode(&self, job: &Job) -> Vec<u8> {
        let frame = JobFrame {
            script: job.script().to_owned(),
            args: job.args().tokens().to_vec(),
            kwargs: job.kwargs().tokens().to_vec(),
            stdin: job.stdin().to_owned(),
            result_bytes: self.config.result_size.0,
            captured: job.include().stdout || job.include().stderr,
        };
        // A job is bounded by the request body, far below a frame's cap.
        wire::encode(&frame).unwrap_or_default()
    }

    /// The pool that a job's child comes from; `None` where each child is started by itself.
    fn route(&self, job: &Job) -> Option<&Pool> {
        match &self.source {
            Source::Warm { lean: Some(lean), loaded: Some(loaded) } => {
                let heavy = !routing::named(job.script(), &self.heavy).is_empty();
                match (heavy, lean.is_warm(), loaded.is_warm()) {
                    (false, false, true) => Some(loaded),
                    (true, ..) if !loaded.has_failed() => Some(loaded),
                    _ => Some(lean),
                }
            }
            Source::Warm { lean, loaded } => lean.as_ref().or(loaded.as_ref()),
            Source::Cold(_) => None,
        }
    }

    /// A child that fits the job's limits.
    async fn child_for(&self, pool: Option<&Pool>, script: &str, limits: Limits) -> Result<Child, Refusal> {
        let pool = match (&self.source, pool) {
            (_, Some(pool)) => pool,
            (Source::Cold(nursery), None) => {
                let named = routing::named(script, &self.heavy);
                let preload = self.config.preload.iter().filter(|module| named.contains(top(module)));
                return nursery.make(preload.cloned().collect(), limits).await;
            }
            (Source::Warm { .. }, None) => return Err(Refusal::NoZygote),
        };
        let cpu_seconds = ChildLimits::whole_seconds(limits.cpu);
        let mut child = pool.take().await?;
        match child.adjust(&limits, cpu_seconds) {
            Ok(()) => Ok(child),
            Err(_) => pool.take_special(limits).await,
        }
    }
}

impl Service for Supervisor {
    fn run(&self, job: Job, client: Client) -> impl Future<Output = Result<Report, Refusal>> + Send {
        self.run(job, client)
    }

    fn ready(&self) -> bool {
        let warm = match &self.source {
            Source::Warm { lean, loaded } => [lean, loaded].into_iter().flatten().any(Pool::is_warm),
            Source::Cold(_) => true,
        };
        warm && !self.draining.load(Ordering::Relaxed)
    }

    fn alive(&self) -> bool {
        true
    }

    fn capabilities(&self) -> Capabilities {
        let layers = layers(&self.plan, &self.attempts);
        let tmp_bytes = if self.plan.has_tmp() { self.config.tmp_size.0 } else { 0 };
        Capabilities::new(&self.config, &self.manifest, self.plan.level.as_str(), layers, tmp_bytes)
    }

    fn isolation(&self) -> &'static str {
        self.plan.level.as_str()
    }
}

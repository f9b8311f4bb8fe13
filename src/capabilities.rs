//! What this instance can do: the body of `GET /capabilities`.
//!
//! Made in the supervisor, from what the survey at start found and from the settings; shown by `api`. Its fields are in the order of the
//! alphabet, which is the order in which they are written.

use crate::config::Config;
use crate::files;
use crate::job::Limits;
use crate::manner::Mode;
use crate::survey::layers::Finding;
use crate::survey::manifest::Manifest;
use serde::Serialize;
use std::collections::BTreeMap;

/// All that a client can learn before it asks for anything.
#[derive(Debug, Clone, Serialize)]
pub struct Capabilities {
    /// How long the texts of `argv` may be together, in bytes.
    pub argv_bytes: u64,
    /// How many texts `argv` may have.
    pub argv_count: usize,
    /// Largest request body, in bytes.
    pub body_bytes: u64,
    /// Scripts that run at once.
    pub concurrency: usize,
    /// How long names and values of `env` may be together, in bytes.
    pub env_bytes: u64,
    /// How many names `env` may have.
    pub env_count: usize,
    /// Whether a request may bring files, and what they are held to.
    pub files: Files,
    /// The isolation level in force.
    pub isolation: &'static str,
    /// Each layer of the jail by its name.
    pub layers: BTreeMap<&'static str, LayerState>,
    /// What a job gets that asks for nothing.
    pub limits: Shown,
    /// Whether a program's source is a file, `main.py`, in its working directory.
    pub main_py: bool,
    /// The most a job may ask for.
    pub maxima: Shown,
    /// What can be done with a script.
    pub modes: [&'static str; 3],
    /// Distributions that scripts can import from, with their versions.
    pub packages: BTreeMap<String, String>,
    /// Modules that are imported before a script runs.
    pub preload: Vec<String>,
    /// `CPython`'s version, as `3.11.2`.
    pub python: String,
    /// Requests that may wait for a place.
    pub queue: usize,
    /// Largest result as JSON, in bytes.
    pub result_bytes: u64,
    /// Largest script, in bytes of UTF-8.
    pub script_bytes: u64,
    /// Size of a run's private /tmp, in bytes; 0 where it has none.
    pub tmp_bytes: u64,
    /// Processes of scripts that were killed and have not ended, as those that wait for a disk. Each keeps its place.
    pub unending: usize,
    /// Mayfly's version.
    pub version: &'static str,
}

/// Whether a layer is in force.
#[derive(Debug, Clone, Serialize)]
pub struct LayerState {
    /// It is.
    pub granted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What `files` may hold.
#[derive(Debug, Clone, Serialize)]
pub struct Files {
    /// Bytes of all files together.
    pub all_bytes: u64,
    /// Files.
    pub count: usize,
    /// Names in a path.
    pub depth: usize,
    /// Bytes of one file.
    pub each_bytes: u64,
    /// Whether there may be any.
    pub granted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl From<&files::Bounds> for Files {
    fn from(bounds: &files::Bounds) -> Self {
        let files::Caps { count, depth, each, all } = bounds.brought;
        let why = bounds.room.is_none().then(|| files::Wrong::NoPlace.to_string());
        Self { all_bytes: all.0, count, depth, each_bytes: each.0, granted: why.is_none(), why }
    }
}

/// Limits, in the units of a request.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Shown {
    /// Processor time, in milliseconds.
    pub cpu_ms: u64,
    /// Memory, in MiB.
    pub memory_mb: u64,
    /// Of stdout and of stderr, in bytes.
    pub output_bytes: u64,
    /// Wall-clock time, in milliseconds.
    pub wall_ms: u64,
}

impl From<&Limits> for Shown {
    fn from(limits: &Limits) -> Self {
        let milliseconds = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            cpu_ms: milliseconds(limits.cpu),
            memory_mb: limits.memory.0 / 1024 / 1024,
            output_bytes: limits.output.0,
            wall_ms: milliseconds(limits.wall),
        }
    }
}

impl Capabilities {
    /// Of an instance with these settings, this jail root and these layers; `tmp_bytes` is the size of a run's /tmp,
    /// `unending` the number of processes that were killed and have not ended.
    #[must_use]
    pub fn new(
        config: &Config,
        manifest: &Manifest,
        isolation: &'static str,
        layers: Vec<Finding<'_>>,
        tmp_bytes: u64,
        unending: usize,
    ) -> Self {
        let state = |Finding { layer, missing }: Finding<'_>| {
            let why = missing.map(|why| why.to_string());
            (layer.as_str(), LayerState { granted: why.is_none(), why })
        };
        Self {
            argv_bytes: config.manner.argv.bytes.0,
            argv_count: config.manner.argv.count,
            body_bytes: config.body_size.0,
            concurrency: config.concurrency,
            env_bytes: config.manner.env.bytes.0,
            env_count: config.manner.env.count,
            files: (&files::Bounds { room: config.files.room.filter(|_| tmp_bytes > 0), ..config.files }).into(),
            isolation,
            layers: layers.into_iter().map(state).collect(),
            limits: (&config.limits).into(),
            main_py: tmp_bytes > 0,
            maxima: (&config.maxima).into(),
            modes: Mode::ALL.map(Mode::as_str),
            packages: manifest.packages.clone(),
            preload: config.preload.iter().filter(|module| manifest.has_module(module)).cloned().collect(),
            python: manifest.python.clone(),
            queue: config.queue,
            result_bytes: config.result_size.0,
            script_bytes: config.script_size.0,
            tmp_bytes,
            unending,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

//! What this instance can do, as `GET /capabilities` and `mayfly doctor` tell it.
//!
//! Runs in the supervisor. It reads the jail root's manifest, which `make build` wrote, and the outcome of the attempts at start.

use super::Supervisor;
use super::isolation::Attempt;
use crate::config::{Config, Level};
use crate::jail::{Ids, Plan};
use crate::job::Limits;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::{fs, io};

/// What the jail root holds.
#[derive(Debug, Clone, Default)]
pub struct Manifest {
    /// As `3.11.2`.
    pub python: String,
    /// The standard library's path inside.
    pub stdlib: String,
    /// Distributions and their versions.
    pub packages: BTreeMap<String, String>,
    /// Modules that those distributions let a script import.
    pub modules: BTreeSet<String>,
}

/// `mayfly.json`, as `tools/jail_root.py` writes it.
#[derive(Deserialize)]
struct Written {
    python: String,
    stdlib: String,
    packages: BTreeMap<String, String>,
    modules: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads the manifest of the jail root, and looks into the packages' directory when it lies elsewhere.
    ///
    /// # Errors
    /// When it is missing or is no such manifest.
    pub fn read(config: &Config) -> io::Result<Self> {
        let text = fs::read(config.root.join("mayfly.json"))?;
        let written: Written = serde_json::from_slice(&text)?;
        let mut manifest = Self {
            python: written.python,
            stdlib: written.stdlib,
            packages: written.packages,
            modules: written.modules.into_keys().collect(),
        };
        if let Some(directory) = &config.packages {
            manifest.packages.clear();
            manifest.modules.clear();
            for entry in fs::read_dir(directory)? {
                manifest.note(&entry?.file_name().to_string_lossy());
            }
        }
        Ok(manifest)
    }

    /// Takes one name of a packages directory: `numpy`, `six.py`, `numpy-2.3.5.dist-info`.
    fn note(&mut self, name: &str) {
        if let Some(described) = name.strip_suffix(".dist-info") {
            if let Some((package, version)) = described.split_once('-') {
                self.packages.insert(package.to_owned(), version.to_owned());
            }
        } else if let Some(module) =
            name.split('.').next().filter(|module| !module.is_empty() && !module.starts_with('_'))
        {
            self.modules.insert(module.to_owned());
        }
    }

    /// Whether a module, by its dotted name, comes with a package or could be of the standard library.
    #[must_use]
    pub fn has_module(&self, name: &str) -> bool {
        let top = super::routing::top(name);
        // Whether the standard library has it, the interpreter will say; only third-party names are known here.
        self.modules.contains(top) || !THIRD_PARTY_DEFAULTS.contains(&top)
    }
}

/// Preloaded where they are installed, and passed over without a word where not.
const THIRD_PARTY_DEFAULTS: [&str; 2] = ["numpy", "pandas"];

fn limits(limits: &Limits) -> Value {
    json!({
        "wall_ms": u64::try_from(limits.wall.as_millis()).unwrap_or(u64::MAX),
        "cpu_ms": u64::try_from(limits.cpu.as_millis()).unwrap_or(u64::MAX),
        "memory_mb": limits.memory.0 / 1024 / 1024,
        "output_bytes": limits.output.0,
    })
}

/// One layer of the jail and whether it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name.
    pub name: &'static str,
    /// `None` is in force; else why not.
    pub missing: Option<String>,
}

/// Every layer, with the reason where one is not in force under `plan`.
#[must_use]
pub fn layers(plan: &Plan, attempts: &[Attempt]) -> Vec<Layer> {
    let why_not_full = || {
        attempts
            .iter()
            .find(|attempt| attempt.level == Level::Full)
            .and_then(|attempt| attempt.result.as_ref().err().map(ToString::to_string))
            .unwrap_or_else(|| "not part of this level".to_owned())
    };
    let found = attempts.iter().find_map(|attempt| attempt.found);
    let namespaces = plan.level != Level::Seccomp;
    let errno = |number: Option<i32>| {
        number.map_or_else(
            || "not part of this level".to_owned(),
            |number| nix::errno::Errno::from_raw(number).to_string(),
        )
    };
    let when = |in_force: bool, why: &dyn Fn() -> String| (!in_force).then(why);
    let mut layers: Vec<Layer> = [
        "user-namespace",
        "pid-namespace",
        "mount-namespace",
        "network-namespace",
        "ipc-namespace",
        "uts-namespace",
        "cgroup-namespace",
        "private-tmp",
    ]
    .into_iter()
    .map(|name| Layer { name, missing: when(namespaces, &why_not_full) })
    .collect();
    let why = || if namespaces { "the kernel's tmpfs has no nr_inodes".to_owned() } else { why_not_full() };
    layers.push(Layer { name: "tmp-inode-cap", missing: when(namespaces && plan.tmp_inodes.is_some(), &why) });
    let own_root = namespaces || plan.paths.chroot;
    layers.push(Layer { name: "own-root", missing: when(own_root, &|| errno(found.and_then(|found| found.chroot))) });
    let landlock = plan.paths.landlock;
    let why = || {
        if namespaces {
            "not needed: the mount namespace holds".to_owned()
        } else {
            errno(found.and_then(|found| found.landlock))
        }
    };
    layers.push(Layer { name: "landlock", missing: when(landlock, &why) });
    let why = || match (namespaces, plan.paths.chroot) {
        (true, _) => "not needed: the mount namespace holds".to_owned(),
        (_, true) => "not needed: the root is its own".to_owned(),
        _ => match found.and_then(|found| found.beneath) {
            None => "without Landlock no path is followed".to_owned(),
            number => errno(number),
        },
    };
    layers.push(Layer { name: "paths-below-root", missing: when(plan.paths.beneath, &why) });
    let own_ids = plan.ids != Ids::Shared;
    let why = || match found.and_then(|found| found.ids) {
        Some(number) => errno(Some(number)),
        None => "the server may not hand out ids".to_owned(),
    };
    layers.push(Layer { name: "own-ids", missing: when(own_ids, &why) });
    for name in ["no-new-privileges", "no-capabilities", "resource-limits", "descriptors", "watchdog", "seccomp-filter"]
    {
        layers.push(Layer { name, missing: None });
    }
    layers
}

/// The body of `GET /capabilities`.
#[must_use]
pub fn describe(supervisor: &Supervisor) -> Value {
    let config = &supervisor.config;
    let layers: serde_json::Map<String, Value> = layers(&supervisor.plan, &supervisor.attempts)
        .into_iter()
        .map(|layer| {
            let state = match layer.missing {
                None => json!({ "granted": true }),
                Some(why) => json!({ "granted": false, "why": why }),
            };
            (layer.name.to_owned(), state)
        })
        .collect();
    json!({
        "isolation": supervisor.plan.level.as_str(),
        "layers": layers,
        "limits": limits(&config.limits),
        "maxima": limits(&config.maxima),
        "script_bytes": config.script_size.0,
        "result_bytes": config.result_size.0,
        "body_bytes": config.body_size.0,
        "tmp_bytes": if supervisor.plan.has_tmp() { config.tmp_size.0 } else { 0 },
        "concurrency": config.concurrency,
        "queue": config.queue,
        "python": supervisor.manifest.python,
        "packages": supervisor.manifest.packages,
        "preload": config.preload.iter().filter(|module| supervisor.manifest.has_module(module)).collect::<Vec<_>>(),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

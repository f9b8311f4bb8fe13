//! What the jail root holds: its interpreter, its packages, its modules.
//!
//! Read once at start, in the supervisor, from the manifest that `make build` wrote. What a package is called is a file's
//! name here and is only shown and compared.

use crate::config::Config;
use serde::Deserialize;
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
        let top = top(name);
        // Whether the standard library has it, the interpreter will say; only third-party names are known here.
        self.modules.contains(top) || !THIRD_PARTY_DEFAULTS.contains(&top)
    }
}

/// Preloaded where they are installed, and passed over without a word where not.
const THIRD_PARTY_DEFAULTS: [&str; 2] = ["numpy", "pandas"];

/// The module that has to be imported first: `scipy` of `scipy.stats`.
#[must_use]
pub fn top(module: &str) -> &str {
    module.split_once('.').map_or(module, |(top, _)| top)
}

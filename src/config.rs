//! Every setting: its name, default, range and meaning, once.
//!
//! Read once at start, in the supervisor. The command line and `docs/settings.md` are made from [`SETTINGS`]; nothing
//! else in the code names a default or a range. A value that does not fit is a [`ConfigError`], and the process ends with
//! status 78.

mod reader;
mod settings;

use reader::Reader;
pub use settings::{Group, Range, SETTINGS, Setting, Subcommand};

use crate::files;
use crate::hosts::Hosts;
use crate::job::{Bounds, Limits};
use crate::level::Level;
use crate::manner::{MannerBounds, Texts};
use crate::proxies::Proxies;
use crate::size::ByteSize;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Which isolation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The strongest that verifies.
    Auto,
    /// This one or no start.
    Only(Level),
}

/// How children start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPath {
    /// Forked from a zygote whose interpreter is warm.
    Warm,
    /// A process of its own that initialises the interpreter inside the jail.
    Cold,
}

/// When the children that a request used are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refill {
    /// While or after the answer is sent.
    AfterAnswer,
    /// First, and the answer waits for it: a place that stops the processor between requests gives no other time.
    BeforeAnswer,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to serve.
    pub listen: SocketAddr,
    /// The names that are answered to, and the pages that may post.
    pub hosts: Hosts,
    /// The proxies whose word on who asks is taken.
    pub proxies: Proxies,
    /// The level asked for.
    pub isolation: Wanted,
    /// How children start.
    pub start: StartPath,
    /// Modules for the loaded zygote.
    pub preload: Vec<String>,
    /// A directory of packages in place of the jail root's own.
    pub packages: Option<PathBuf>,
    /// The jail root.
    pub root: PathBuf,
    /// Limits of a job that asks for none.
    pub limits: Limits,
    /// The most a job may ask for.
    pub maxima: Limits,
    /// Largest result as JSON.
    pub result_size: ByteSize,
    /// Largest script.
    pub script_size: ByteSize,
    /// How scripts may be run.
    pub manner: MannerBounds,
    /// Largest request body.
    pub body_size: ByteSize,
    /// What the files of a request are held to, where a run has a /tmp.
    pub files: files::Bounds,
    /// Size of a run's private /tmp.
    pub tmp_size: ByteSize,
    /// Scripts running at once.
    pub concurrency: usize,
    /// Requests waiting for a place.
    pub queue: usize,
    /// Ready children per zygote.
    pub ready: usize,
    /// When ready children are replaced.
    pub refill: Refill,
    /// Children after which a zygote is replaced.
    pub renew_forks: u64,
    /// Age at which a zygote is replaced.
    pub renew_after: Duration,
    /// Open connections.
    pub connections: usize,
    /// Time for a first byte, and for headers.
    pub header_time: Duration,
    /// Time for a body, and for taking an answer.
    pub body_time: Duration,
    /// Time an idle connection is kept.
    pub idle_time: Duration,
    /// Time for running scripts after SIGTERM.
    pub drain_time: Duration,
    /// Form of the log.
    pub log: LogForm,
}

/// A setting whose value does not fit: its name, the value, and what would fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The setting.
    pub name: &'static str,
    /// What was given; `None` if nothing was, and the default does not fit this machine.
    pub value: Option<String>,
    /// What is expected; or, without a value, what is missing.
    pub expected: String,
}

impl ConfigError {
    fn out_of_range(setting: &Setting, value: String) -> Self {
        Self { name: setting.name, value: Some(value), expected: setting.range.to_string() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} is {value:?}: expected {}", self.name, self.expected),
            None => write!(f, "{} is not set, and {}", self.name, self.expected),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// What jobs are held to.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds {
            limits: self.limits,
            maxima: self.maxima,
            script: self.script_size,
            files: self.files,
            manner: self.manner,
        }
    }

    /// Reads and checks all settings; `given` answers with the value of one name, if it was given at all.
    ///
    /// # Errors
    /// The first setting that does not fit.
    pub fn read(given: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let read = Reader::new(given);
        let limits = Limits {
            wall: read.milliseconds("MAYFLY_WALL_MS")?,
            cpu: read.milliseconds("MAYFLY_CPU_MS")?,
            memory: read.mebibytes("MAYFLY_MEMORY_MB")?,
            output: read.bytes("MAYFLY_OUTPUT_BYTES")?,
        };
        let maxima = Limits {
            wall: read.maximum("MAYFLY_MAX_WALL_MS", Reader::milliseconds, "MAYFLY_WALL_MS")?,
            cpu: read.maximum("MAYFLY_MAX_CPU_MS", Reader::milliseconds, "MAYFLY_CPU_MS")?,
            memory: read.maximum("MAYFLY_MAX_MEMORY_MB", Reader::mebibytes, "MAYFLY_MEMORY_MB")?,
            output: read.maximum("MAYFLY_MAX_OUTPUT_BYTES", Reader::bytes, "MAYFLY_OUTPUT_BYTES")?,
        };
        let cores = crate::machine::cores();
        let concurrency = crate::machine::concurrency(cores, limits.memory);
        Ok(Self {
            listen: read.listen()?,
            hosts: read.hosts()?,
            proxies: read.proxies()?,
            isolation: read.choice("MAYFLY_ISOLATION", |word| match word {
                "auto" => Some(Wanted::Auto),
                "full" => Some(Wanted::Only(Level::Full)),
                "seccomp" => Some(Wanted::Only(Level::Seccomp)),
                "nsjail" => Some(Wanted::Only(Level::Nsjail)),
                _ => None,
            })?,
            start: read.choice("MAYFLY_START", |word| match word {
                "warm" => Some(StartPath::Warm),
                "cold" => Some(StartPath::Cold),
                _ => None,
            })?,
            preload: read.preload()?,
            packages: read.directory("MAYFLY_PACKAGES")?,
            root: read.root()?,
            limits,
            maxima,
            result_size: read.bytes("MAYFLY_RESULT_BYTES")?,
            script_size: read.bytes("MAYFLY_SCRIPT_BYTES")?,
            manner: MannerBounds {
                argv: Texts { count: read.size("MAYFLY_ARGV_COUNT")?, bytes: read.bytes("MAYFLY_ARGV_BYTES")? },
                env: Texts { count: read.size("MAYFLY_ENV_COUNT")?, bytes: read.bytes("MAYFLY_ENV_BYTES")? },
            },
            body_size: read.bytes("MAYFLY_BODY_BYTES")?,
            files: read.files()?,
            tmp_size: read.mebibytes("MAYFLY_TMP_MB")?,
            concurrency: read.size_or("MAYFLY_CONCURRENCY", concurrency)?,
            queue: read.size("MAYFLY_QUEUE")?,
            ready: read.size_or("MAYFLY_READY", (cores * 4).min(64))?,
            refill: read.refill()?,
            renew_forks: read.number("MAYFLY_RENEW_FORKS")?,
            renew_after: Duration::from_secs(read.number("MAYFLY_RENEW_MINUTES")? * 60),
            connections: read.size("MAYFLY_CONNECTIONS")?,
            header_time: read.milliseconds("MAYFLY_HEADER_MS")?,
            body_time: read.milliseconds("MAYFLY_BODY_MS")?,
            idle_time: read.milliseconds("MAYFLY_IDLE_MS")?,
            drain_time: read.milliseconds("MAYFLY_DRAIN_MS")?,
            log: read.choice("MAYFLY_LOG", |word| match word {
                "text" => Some(LogForm::Text),
                "json" => Some(LogForm::Json),
                _ => None,
            })?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the settings with these values, in a place that has a jail root.
    fn read(values: &[(&str, &str)]) -> Result<Config, ConfigError> {
        struct Root(PathBuf);
        impl Drop for Root {
            fn drop(&mut self) {
                let _ = std::fs::remove_dir_all(&self.0);
            }
        }
        let name = format!("mayfly-config-{}-{:?}", std::process::id(), std::thread::current().id());
        let root = Root(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&root.0).expect("a directory");
        std::fs::write(root.0.join("mayfly.json"), "{}").expect("a file");
        let root = root.0.display().to_string();
        Config::read(&|name| match values.iter().find(|(given, _)| *given == name) {
            Some((_, value)) => Some((*value).to_owned()),
            None => (name == "MAYFLY_ROOT").then(|| root.clone()),
        })
    }

    #[test]
    fn every_number_of_the_range_fits_and_no_other() {
        for setting in SETTINGS {
            let Range::Number { least, most } = setting.range else { continue };
            for number in [least, most] {
                let number = number.to_string();
                // A maximum goes with a limit that is no larger.
                let limit = setting.name.replace("_MAX_", "_");
                let values = [(limit.as_str(), number.as_str()), (setting.name, &number)];
                assert!(read(&values).is_ok(), "{} = {number}", setting.name);
            }
            let beyond = u128::from(most) + 1;
            let outside = [Some(beyond), least.checked_sub(1).map(u128::from)];
            for number in outside.into_iter().flatten().map(|number| number.to_string()) {
                let error = read(&[(setting.name, &number)]).expect_err("it does not fit");
                let said = error.to_string();
                assert!(said.contains(setting.name) && said.contains(&setting.range.to_string()), "{said}");
            }
        }
    }

    #[test]
    fn a_maximum_is_no_lower_than_its_limit() {
        let maxima = SETTINGS.iter().filter_map(|setting| Some((setting, setting.name.strip_prefix("MAYFLY_MAX_")?)));
        let mut pairs = 0;
        for (setting, rest) in maxima {
            let limit = format!("MAYFLY_{rest}");
            let row = SETTINGS.iter().find(|setting| setting.name == limit).expect("each maximum is a limit's");
            let below = (row.default.parse::<u64>().expect("a number") - 1).to_string();
            let error = read(&[(setting.name, &below)]).expect_err("it is below its limit").to_string();
            for piece in [setting.name, below.as_str(), &limit, row.default] {
                assert!(error.contains(piece), "{piece} is not in {error}");
            }
            assert!(read(&[(setting.name, &below), (&limit, &below)]).is_ok(), "{}", setting.name);
            assert!(read(&[(setting.name, row.default)]).is_ok(), "{}", setting.name);
            let above = (setting.default.parse::<u64>().expect("a number") + 1).to_string();
            assert!(read(&[(&limit, &above)]).is_ok(), "{limit} alone raises its maximum");
            assert!(
                read(&[(&limit, &above), (setting.name, setting.default)]).is_err(),
                "{limit} and {}",
                setting.name
            );
            pairs += 1;
        }
        assert_eq!(pairs, 4);
    }

    #[test]
    fn every_word_of_the_range_is_known() {
        for setting in SETTINGS {
            let Range::Words(words) = setting.range else { continue };
            for word in words {
                assert!(read(&[(setting.name, word)]).is_ok(), "{} = {word}", setting.name);
            }
            let error = read(&[(setting.name, "other")]).expect_err("it does not fit");
            assert!(error.to_string().ends_with(&words.join(", ")), "{error}");
        }
    }

    #[test]
    fn a_default_is_in_its_range() {
        for setting in SETTINGS.iter().filter(|setting| !setting.default.starts_with('(')) {
            assert!(read(&[(setting.name, setting.default)]).is_ok(), "{}", setting.name);
        }
    }

    #[test]
    fn hosts_are_names_and_origins() {
        assert!(read(&[("MAYFLY_HOSTS", "")]).is_ok_and(|config| config.hosts == Hosts::default()));
        assert!(read(&[("MAYFLY_HOSTS", "*")]).is_ok_and(|config| config.hosts.serve("any.example")));
        let error = read(&[("MAYFLY_HOSTS", "http//a")]).expect_err("it does not fit");
        assert!(error.to_string().contains("https://app.example.com"), "{error}");
    }

    #[test]
    fn cloud_run_is_known_by_what_the_reader_answers() {
        let refill = |values: &[(&str, &str)]| read(values).expect("it fits").refill;
        assert_eq!(refill(&[]), Refill::AfterAnswer);
        assert_eq!(refill(&[("K_SERVICE", "mayfly")]), Refill::BeforeAnswer);
        assert_eq!(refill(&[("K_SERVICE", "mayfly"), ("MAYFLY_REFILL", "after")]), Refill::AfterAnswer);
    }
}

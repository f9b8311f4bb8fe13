//! Every setting: its name, default, range and meaning, once.
//!
//! Read once at start, in the supervisor. The command line, the README's table and `GET /capabilities` are made from
//! [`SETTINGS`]; nothing else in the code names a default. A value that does not fit is a [`ConfigError`], and the
//! process ends with exit 78.

mod settings;

pub use settings::{SETTINGS, Setting};

use crate::job::{Bounds, Limits};
use crate::level::Level;
use crate::size::ByteSize;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
    /// Largest request body.
    pub body_size: ByteSize,
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
    /// What was given.
    pub value: String,
    /// What is expected.
    pub expected: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {:?}: expected {}", self.name, self.value, self.expected)
    }
}

impl std::error::Error for ConfigError {}

/// Looks settings up and checks them; `given` answers for one name.
struct Reader<'a> {
    given: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    fn text(&self, name: &'static str) -> Option<String> {
        (self.given)(name).filter(|value| !value.is_empty())
    }

    fn default_of(name: &'static str) -> &'static str {
        SETTINGS.iter().find(|setting| setting.name == name).map_or("", |setting| setting.default)
    }

    fn or_default(&self, name: &'static str) -> String {
        self.text(name).unwrap_or_else(|| Self::default_of(name).to_owned())
    }

    fn number(&self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> Result<u64, ConfigError> {
        Self::parse_number(name, self.or_default(name), range)
    }

    fn parse_number(
        name: &'static str,
        value: String,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        match value.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(ConfigError {
                name,
                value,
                expected: format!("a whole number from {} to {}", range.start(), range.end()),
            }),
        }
    }

    fn count(
        &self,
        name: &'static str,
        found: usize,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<usize, ConfigError> {
        match self.text(name) {
            None => Ok(found),
            Some(value) => {
                Self::parse_number(name, value, range).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
            }
        }
    }

    fn size(&self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> Result<usize, ConfigError> {
        self.number(name, range).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }

    fn milliseconds(&self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> Result<Duration, ConfigError> {
        self.number(name, range).map(Duration::from_millis)
    }

    fn choice<T: Copy>(&self, name: &'static str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        // Set but empty is nothing that anybody chose: a template's variable that was not set, perhaps.
        let value = (self.given)(name).unwrap_or_else(|| Self::default_of(name).to_owned());
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == value) {
            return Ok(*choice);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        Err(ConfigError { name, value, expected: format!("one of {}", words.join(", ")) })
    }

    fn listen(&self) -> Result<SocketAddr, ConfigError> {
        const EXPECTED: &str = "an IP address and a port, as 127.0.0.1:8080 or [::1]:8080";
        if self.text("MAYFLY_LISTEN").is_none()
            && let Some(port) = self.text("PORT")
        {
            let port = Self::parse_number("PORT", port, 0..=65_535)?;
            return Ok(SocketAddr::from(([0, 0, 0, 0], u16::try_from(port).unwrap_or(0))));
        }
        let value = self.or_default("MAYFLY_LISTEN");
        value.parse().map_err(|_| ConfigError { name: "MAYFLY_LISTEN", value, expected: EXPECTED.to_owned() })
    }

    /// Cloud Run sets `K_SERVICE`, and by default gives no processor time between requests. Knative sets it too and
    /// does give it: `deploy/knative.yaml` says `after`.
    fn refill(&self) -> Result<Refill, ConfigError> {
        const NAME: &str = "MAYFLY_REFILL";
        match (self.text(NAME), std::env::var_os("K_SERVICE")) {
            (None, None) => Ok(Refill::AfterAnswer),
            (None, Some(_)) => Ok(Refill::BeforeAnswer),
            (Some(_), _) => self.choice(NAME, &[("after", Refill::AfterAnswer), ("before", Refill::BeforeAnswer)]),
        }
    }

    fn preload(&self) -> Result<Vec<String>, ConfigError> {
        // Set but empty means: nothing.
        let value = (self.given)("MAYFLY_PRELOAD").unwrap_or_else(|| Self::default_of("MAYFLY_PRELOAD").to_owned());
        let modules: Vec<String> =
            value.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        let is_name = |name: &String| {
            name.split('.').all(|part| {
                !part.is_empty()
                    && !part.starts_with(|first: char| first.is_ascii_digit())
                    && part.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
            })
        };
        if modules.iter().all(is_name) {
            Ok(modules)
        } else {
            Err(ConfigError { name: "MAYFLY_PRELOAD", value, expected: "module names separated by commas".to_owned() })
        }
    }

    fn directory(&self, name: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match Path::new(&value).canonicalize() {
            Ok(path) if path.is_dir() => Ok(Some(path)),
            _ => Err(ConfigError { name, value, expected: "a directory that exists".to_owned() }),
        }
    }

    fn root(&self) -> Result<PathBuf, ConfigError> {
        let expected = |what: &str| format!("{what}; `make build` makes one");
        if let Some(given) = self.directory("MAYFLY_ROOT")? {
            if given.join("mayfly.json").is_file() {
                return Ok(given);
            }
            return Err(ConfigError {
                name: "MAYFLY_ROOT",
                value: given.display().to_string(),
                expected: expected("a jail root (a directory tree with a file mayfly.json)"),
            });
        }
        let program = std::env::current_exe().unwrap_or_default();
        let beside = program.parent().unwrap_or(Path::new("/"));
        let candidates = [beside.join("../jail"), beside.join("../lib/mayfly/jail")];
        for candidate in &candidates {
            if candidate.join("mayfly.json").is_file()
                && let Ok(path) = candidate.canonicalize()
            {
                return Ok(path);
            }
        }
        Err(ConfigError {
            name: "MAYFLY_ROOT",
            value: String::new(),
            expected: expected(&format!("a jail root, and there is none at {}", candidates[0].display())),
        })
    }
}

impl Config {
    /// What jobs are held to.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds { limits: self.limits, maxima: self.maxima, script: self.script_size }
    }

    /// Reads and checks all settings; `given` answers with the value of one name, if it was given at all.
    ///
    /// # Errors
    /// The first setting that does not fit.
    pub fn read(given: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        const WALL: std::ops::RangeInclusive<u64> = 1..=3_600_000;
        const MEMORY: std::ops::RangeInclusive<u64> = 16..=1_048_576;
        const SIZE: std::ops::RangeInclusive<u64> = 0..=33_554_432;
        /// As a frame it is up to two and a half times as large (`1e1,` takes ten bytes), and a frame has 64 MiB.
        const LARGEST_BODY: u64 = 25_165_824;
        let read = Reader { given };
        let mebibytes = |name, range| read.number(name, range).map(ByteSize::mebibytes);
        let bytes = |name, range| read.number(name, range).map(ByteSize);

        let limits = Limits {
            wall: read.milliseconds("MAYFLY_WALL_MS", WALL)?,
            cpu: read.milliseconds("MAYFLY_CPU_MS", WALL)?,
            memory: mebibytes("MAYFLY_MEMORY_MB", MEMORY)?,
            output: bytes("MAYFLY_OUTPUT_BYTES", SIZE)?,
        };
        // A default above the built-in maximum raises it: whoever sets MAYFLY_WALL_MS=120000 wants that to hold.
        let maxima = Limits {
            wall: read.milliseconds("MAYFLY_MAX_WALL_MS", WALL)?.max(limits.wall),
            cpu: read.milliseconds("MAYFLY_MAX_CPU_MS", WALL)?.max(limits.cpu),
            memory: mebibytes("MAYFLY_MAX_MEMORY_MB", MEMORY)?.max(limits.memory),
            output: bytes("MAYFLY_MAX_OUTPUT_BYTES", SIZE)?.max(limits.output),
        };
        let cores = crate::machine::cores();
        let concurrency = crate::machine::concurrency(cores, limits.memory);
        Ok(Self {
            listen: read.listen()?,
            isolation: read.choice(
                "MAYFLY_ISOLATION",
                &[
                    ("auto", Wanted::Auto),
                    ("full", Wanted::Only(Level::Full)),
                    ("seccomp", Wanted::Only(Level::Seccomp)),
                    ("nsjail", Wanted::Only(Level::Nsjail)),
                ],
            )?,
            start: read.choice("MAYFLY_START", &[("warm", StartPath::Warm), ("cold", StartPath::Cold)])?,
            preload: read.preload()?,
            packages: read.directory("MAYFLY_PACKAGES")?,
            root: read.root()?,
            limits,
            maxima,
            result_size: bytes("MAYFLY_RESULT_BYTES", 1..=33_554_432)?,
            script_size: bytes("MAYFLY_SCRIPT_BYTES", 1..=16_777_216)?,
            body_size: bytes("MAYFLY_BODY_BYTES", 1..=LARGEST_BODY)?,
            tmp_size: mebibytes("MAYFLY_TMP_MB", 1..=65_536)?,
            concurrency: read.count("MAYFLY_CONCURRENCY", concurrency, 1..=10_000)?,
            queue: read.size("MAYFLY_QUEUE", 0..=1_000_000)?,
            ready: read.count("MAYFLY_READY", (cores * 4).min(64), 1..=1000)?,
            refill: read.refill()?,
            renew_forks: read.number("MAYFLY_RENEW_FORKS", 1..=u64::MAX)?,
            renew_after: Duration::from_secs(read.number("MAYFLY_RENEW_MINUTES", 1..=1_000_000)? * 60),
            connections: read.size("MAYFLY_CONNECTIONS", 1..=100_000)?,
            header_time: read.milliseconds("MAYFLY_HEADER_MS", WALL)?,
            body_time: read.milliseconds("MAYFLY_BODY_MS", WALL)?,
            idle_time: read.milliseconds("MAYFLY_IDLE_MS", WALL)?,
            drain_time: read.milliseconds("MAYFLY_DRAIN_MS", 0..=3_600_000)?,
            log: read.choice("MAYFLY_LOG", &[("text", LogForm::Text), ("json", LogForm::Json)])?,
        })
    }
}

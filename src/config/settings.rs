//! The table of settings: name, default, range and meaning of each.
//!
//! Used in the supervisor. The command line, `docs/settings.md` and the check of every value are made from it.

use std::fmt;

/// What a setting is about: a heading of `--help` and of `docs/settings.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The service: connections, how many scripts at once, the log.
    Server,
    /// How scripts run: the jail, the interpreter, packages.
    Run,
    /// How much a script and a request may use.
    Limits,
}

impl Group {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Server, Self::Run, Self::Limits];

    /// The heading.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Run => "Run",
            Self::Limits => "Limits",
        }
    }
}

/// A command of the program that takes settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subcommand {
    /// `mayfly serve`
    Serve,
    /// `mayfly run`
    Run,
    /// `mayfly doctor`
    Doctor,
    /// `mayfly healthcheck`
    Healthcheck,
}

/// Which values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// A whole number, both ends included.
    Number {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// One of these words.
    Words(&'static [&'static str]),
    /// An IP address and a port.
    Address,
    /// Names of modules.
    Modules,
    /// Host names and origins of web pages.
    Hosts,
    /// Addresses and networks.
    Networks,
    /// A directory.
    Directory,
}

impl Range {
    /// What stands for a value in `--help`.
    #[must_use]
    pub fn placeholder(self) -> String {
        match self {
            Self::Number { .. } => "NUMBER".to_owned(),
            Self::Words(words) => words.join("|"),
            Self::Address => "ADDRESS".to_owned(),
            Self::Modules => "MODULES".to_owned(),
            Self::Hosts => "HOSTS".to_owned(),
            Self::Networks => "NETWORKS".to_owned(),
            Self::Directory => "DIRECTORY".to_owned(),
        }
    }
}

/// As it stands in a sentence that says what is expected.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { least, most: u64::MAX } => write!(f, "a whole number from {least} on"),
            Self::Number { least, most } => write!(f, "a whole number from {least} to {most}"),
            Self::Words(words) => write!(f, "one of {}", words.join(", ")),
            Self::Address => f.write_str("an IP address and a port, as 127.0.0.1:8080 or [::1]:8080"),
            Self::Modules => f.write_str("module names separated by commas"),
            Self::Hosts => f.write_str(
                "host names and origins separated by commas, as mayfly.example.com, *.example.com or https://app.example.com; or *",
            ),
            Self::Networks => f.write_str(
                "IP addresses and networks separated by commas, as 192.0.2.7, 10.0.0.0/8 or fd00::/8",
            ),
            Self::Directory => f.write_str("a directory that exists"),
        }
    }
}

/// One setting: `name` is the environment variable, the flag is derived from it.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// `MAYFLY_…`, or `PORT`.
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
    /// The commands in which it does something, and whose flag it is.
    pub used_by: &'static [Subcommand],
    /// As it would be written; words in parentheses stand for a value found at start.
    pub default: &'static str,
    /// The values that it takes.
    pub range: Range,
    /// What it does, with its unit.
    pub about: &'static str,
}

impl Setting {
    /// The command-line flag, without the dashes: `MAYFLY_WALL_MS` is `--wall-ms`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.trim_start_matches("MAYFLY_").to_ascii_lowercase().replace('_', "-")
    }
}

/// The service alone.
const SERVE: &[Subcommand] = &[Subcommand::Serve];
/// Whatever runs a script.
const SCRIPTS: &[Subcommand] = &[Subcommand::Serve, Subcommand::Run];
/// Whatever makes a jail: `doctor` makes one to try it.
const JAILS: &[Subcommand] = &[Subcommand::Serve, Subcommand::Run, Subcommand::Doctor];
/// The server, and who asks it how it is.
const ADDRESS: &[Subcommand] = &[Subcommand::Serve, Subcommand::Healthcheck];

/// A time, in milliseconds: up to an hour.
const TIME: Range = Range::Number { least: 1, most: 3_600_000 };
/// Memory, in MiB: up to a TiB.
const MEMORY: Range = Range::Number { least: 16, most: 1_048_576 };
/// Output that is kept, in bytes.
const OUTPUT: Range = Range::Number { least: 0, most: 33_554_432 };
/// A request's body, in bytes. As a frame it is up to two and a half times as large (`1e1,` takes ten bytes), and a frame has
/// 64 MiB.
const BODY: Range = Range::Number { least: 1, most: 25_165_824 };

/// Files, in bytes: up to a GiB.
const FILES: Range = Range::Number { least: 0, most: 1_073_741_824 };

const fn number(least: u64, most: u64) -> Range {
    Range::Number { least, most }
}

const fn setting(
    group: Group,
    used_by: &'static [Subcommand],
    name: &'static str,
    default: &'static str,
    range: Range,
    about: &'static str,
) -> Setting {
    Setting { name, group, used_by, default, range, about }
}

const fn server(name: &'static str, default: &'static str, range: Range, about: &'static str) -> Setting {
    setting(Group::Server, SERVE, name, default, range, about)
}

const fn address(name: &'static str, default: &'static str, range: Range, about: &'static str) -> Setting {
    setting(Group::Server, ADDRESS, name, default, range, about)
}

const fn script(name: &'static str, default: &'static str, range: Range, about: &'static str) -> Setting {
    setting(Group::Run, SCRIPTS, name, default, range, about)
}

const fn jail(name: &'static str, default: &'static str, range: Range, about: &'static str) -> Setting {
    setting(Group::Run, JAILS, name, default, range, about)
}

const fn limit(
    used_by: &'static [Subcommand],
    name: &'static str,
    default: &'static str,
    range: Range,
    about: &'static str,
) -> Setting {
    setting(Group::Limits, used_by, name, default, range, about)
}

/// All settings, in the order in which they are shown.
pub const SETTINGS: &[Setting] = &[
    address(
        "MAYFLY_LISTEN",
        "127.0.0.1:8080",
        Range::Address,
        "address and port to serve on; if only PORT is set: that port on all addresses",
    ),
    address("PORT", "(unset)", number(0, 65_535), "port to serve on, on all addresses; MAYFLY_LISTEN wins over it"),
    server(
        "MAYFLY_HOSTS",
        "(none)",
        Range::Hosts,
        "host names that the server answers to besides localhost and IP addresses (`*.example.com`: all below it), and origins \
         (`https://app.example.com`) whose web pages may post besides its own; `*` turns both checks off",
    ),
    server(
        "MAYFLY_PROXIES",
        "(none)",
        Range::Networks,
        "proxies in front of the server: on a connection from one of these, the client is the last address in `X-Forwarded-For` \
         that is no proxy. On all others, the header is ignored",
    ),
    server(
        "MAYFLY_CONCURRENCY",
        "(16 a core, fewer if memory is short)",
        number(1, 10_000),
        "most scripts that run at once",
    ),
    server(
        "MAYFLY_QUEUE",
        "256",
        number(0, 1_000_000),
        "requests that may wait for a place; beyond it, 503. Under lasting overload it shrinks to MAYFLY_CONCURRENCY",
    ),
    server("MAYFLY_READY", "(4 a core, at most 64)", number(1, 1000), "ready children that each zygote keeps"),
    server(
        "MAYFLY_REFILL",
        "(after; before if K_SERVICE is set)",
        Range::Words(&["after", "before"]),
        "replace used children after the answer, or before it. `before` is for platforms that stop the processor between \
         requests, as Cloud Run does",
    ),
    server("MAYFLY_RENEW_FORKS", "100000", number(1, u64::MAX), "children after which a zygote is replaced"),
    server("MAYFLY_RENEW_MINUTES", "60", number(1, 1_000_000), "age at which a zygote is replaced, in minutes"),
    server(
        "MAYFLY_CONNECTIONS",
        "1024",
        number(1, 100_000),
        "most open connections; at the limit the longest-idle 1/32 are closed to make room",
    ),
    server(
        "MAYFLY_HEADER_MS",
        "10000",
        TIME,
        "time for a connection's first byte, and then for a request's headers, in milliseconds",
    ),
    server(
        "MAYFLY_BODY_MS",
        "20000",
        TIME,
        "time for a request's body, and for the client to take its answer, in milliseconds",
    ),
    server("MAYFLY_IDLE_MS", "60000", TIME, "how long an idle connection is kept, in milliseconds"),
    server(
        "MAYFLY_DRAIN_MS",
        "8000",
        number(0, 3_600_000),
        "how long running scripts may take after SIGTERM, in milliseconds",
    ),
    server("MAYFLY_LOG", "text", Range::Words(&["text", "json"]), "form of the log on stderr"),
    script(
        "MAYFLY_ISOLATION",
        "auto",
        Range::Words(&["auto", "full", "seccomp", "nsjail"]),
        "isolation level. `auto` takes full, or else seccomp; if a level named here isn't available, Mayfly doesn't start",
    ),
    script(
        "MAYFLY_START",
        "warm",
        Range::Words(&["warm", "cold"]),
        "warm: fork children from a warm interpreter; cold: start an interpreter for each script",
    ),
    script(
        "MAYFLY_PRELOAD",
        "numpy,pandas",
        Range::Modules,
        "modules to import before the first request; of the default, those not installed are left out. Empty: none",
    ),
    jail(
        "MAYFLY_PACKAGES",
        "(in the jail root)",
        Range::Directory,
        "directory of the third-party packages that scripts can import",
    ),
    jail("MAYFLY_ROOT", "(beside the program)", Range::Directory, "the jail root: the directory tree that scripts see"),
    limit(SCRIPTS, "MAYFLY_WALL_MS", "5000", TIME, "wall-clock limit of a run, in milliseconds"),
    limit(SCRIPTS, "MAYFLY_CPU_MS", "5000", TIME, "processor-time limit of a run, in milliseconds"),
    limit(JAILS, "MAYFLY_MEMORY_MB", "256", MEMORY, "address space that a run may add, in MiB"),
    limit(SCRIPTS, "MAYFLY_OUTPUT_BYTES", "65536", OUTPUT, "how much of stdout and of stderr is kept, in bytes each"),
    limit(SCRIPTS, "MAYFLY_RESULT_BYTES", "1048576", number(1, 33_554_432), "largest result, as JSON, in bytes"),
    limit(SCRIPTS, "MAYFLY_SCRIPT_BYTES", "10240", number(1, 16_777_216), "largest script, in bytes of UTF-8"),
    limit(SCRIPTS, "MAYFLY_ARGV_COUNT", "256", number(0, 10_000), "most arguments in a request's argv"),
    limit(
        SCRIPTS,
        "MAYFLY_ARGV_BYTES",
        "65536",
        number(0, 1_048_576),
        "how long the arguments of a request's argv may be together, in bytes",
    ),
    limit(SCRIPTS, "MAYFLY_ENV_COUNT", "128", number(0, 10_000), "most names in a request's env"),
    limit(
        SCRIPTS,
        "MAYFLY_ENV_BYTES",
        "65536",
        number(0, 1_048_576),
        "how long names and values of a request's env may be together, in bytes",
    ),
    limit(
        SCRIPTS,
        "MAYFLY_BODY_BYTES",
        "2097152",
        BODY,
        "largest request body, and the most that is piped into mayfly run, in bytes",
    ),
    limit(
        JAILS,
        "MAYFLY_TMP_MB",
        "16",
        number(1, 65_536),
        "size of a run's private /tmp, in MiB; it holds at most 1,024 files",
    ),
    limit(SERVE, "MAYFLY_FILES", "256", number(0, 900), "most files that a request may bring"),
    limit(SERVE, "MAYFLY_FILES_DEPTH", "16", number(1, 64), "most names in the path of such a file, its own included"),
    limit(SERVE, "MAYFLY_FILE_BYTES", "8388608", FILES, "largest such file, in bytes"),
    limit(
        SERVE,
        "MAYFLY_FILES_BYTES",
        "12582912",
        FILES,
        "all such files of a request together, in bytes; never more than MAYFLY_TMP_MB",
    ),
    limit(SERVE, "MAYFLY_MAX_WALL_MS", "60000", TIME, "most that a request may ask for as limits.wall_ms"),
    limit(SERVE, "MAYFLY_MAX_CPU_MS", "60000", TIME, "most that a request may ask for as limits.cpu_ms"),
    limit(SERVE, "MAYFLY_MAX_MEMORY_MB", "1024", MEMORY, "most that a request may ask for as limits.memory_mb"),
    limit(
        SERVE,
        "MAYFLY_MAX_OUTPUT_BYTES",
        "1048576",
        OUTPUT,
        "most that a request may ask for as limits.output_bytes",
    ),
];

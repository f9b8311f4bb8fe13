//! The table of settings: names, defaults and meanings.
//!
//! Used in the supervisor. The command line and the README's table are made from it.

/// One setting: `name` is the environment variable, the flag is derived from it.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// `MAYFLY_…`, or `PORT`.
    pub name: &'static str,
    /// As it would be written; words in parentheses stand for a value found at start.
    pub default: &'static str,
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

const fn setting(name: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { name, default, about }
}

/// All settings, in the order of the README's table.
pub const SETTINGS: &[Setting] = &[
    setting("MAYFLY_LISTEN", "127.0.0.1:8080", "address and port to serve on; 0.0.0.0 and its port when PORT is set"),
    setting("PORT", "(unset)", "port to serve on, on all addresses; MAYFLY_LISTEN wins"),
    setting(
        "MAYFLY_ISOLATION",
        "auto",
        "auto, full, seccomp or nsjail; a named level that can't be had ends the start",
    ),
    setting("MAYFLY_START", "warm", "warm: children forked from a warm interpreter; cold: a fresh interpreter each"),
    setting(
        "MAYFLY_PRELOAD",
        "numpy,pandas",
        "modules that the loaded zygote imports; those not installed are left out",
    ),
    setting("MAYFLY_PACKAGES", "(in the jail root)", "directory of third-party packages that scripts can import"),
    setting("MAYFLY_ROOT", "(beside the program)", "the jail root: the directory tree that scripts see"),
    setting("MAYFLY_WALL_MS", "5000", "wall-clock limit of a run, in milliseconds"),
    setting("MAYFLY_CPU_MS", "5000", "processor-time limit of a run, in milliseconds"),
    setting("MAYFLY_MEMORY_MB", "256", "address space a run may add, in MiB"),
    setting("MAYFLY_OUTPUT_BYTES", "65536", "how much of stdout and of stderr is kept, in bytes"),
    setting("MAYFLY_RESULT_BYTES", "1048576", "largest result, as JSON, in bytes"),
    setting("MAYFLY_SCRIPT_BYTES", "10240", "largest script, in bytes of UTF-8"),
    setting("MAYFLY_BODY_BYTES", "2097152", "largest request body, in bytes"),
    setting("MAYFLY_MAX_WALL_MS", "60000", "most that a request may ask for as limits.wall_ms"),
    setting("MAYFLY_MAX_CPU_MS", "60000", "most that a request may ask for as limits.cpu_ms"),
    setting("MAYFLY_MAX_MEMORY_MB", "1024", "most that a request may ask for as limits.memory_mb"),
    setting("MAYFLY_MAX_OUTPUT_BYTES", "1048576", "most that a request may ask for as limits.output_bytes"),
    setting("MAYFLY_TMP_MB", "16", "size of a run's private /tmp, in MiB; its files may number 1024"),
    setting("MAYFLY_CONCURRENCY", "(16 a core, fewer if memory is short)", "scripts running at once"),
    setting(
        "MAYFLY_QUEUE",
        "256",
        "requests waiting for a place before new ones get 503; as many as places when more keep coming than are served",
    ),
    setting("MAYFLY_READY", "(4 a core, at most 64)", "ready children kept by each zygote"),
    setting(
        "MAYFLY_REFILL",
        "(after; before where K_SERVICE is set)",
        "when used children are replaced: after the answer, or before it, for places that stop the processor between requests, as Cloud Run does",
    ),
    setting("MAYFLY_RENEW_FORKS", "100000", "children after which a zygote is replaced"),
    setting("MAYFLY_RENEW_MINUTES", "60", "minutes after which a zygote is replaced"),
    setting(
        "MAYFLY_CONNECTIONS",
        "1024",
        "open connections; beyond it one in 32 of them is closed, those that waited longest for their clients",
    ),
    setting(
        "MAYFLY_HEADER_MS",
        "10000",
        "time for a connection's first byte and for a request's headers, in milliseconds",
    ),
    setting(
        "MAYFLY_BODY_MS",
        "20000",
        "time for a request's body, and for a client to take its answer, in milliseconds",
    ),
    setting("MAYFLY_IDLE_MS", "60000", "how long an idle connection is kept, in milliseconds"),
    setting("MAYFLY_DRAIN_MS", "8000", "how long running scripts may take after SIGTERM, in milliseconds"),
    setting("MAYFLY_LOG", "text", "text or json: the form of the log on stderr"),
];

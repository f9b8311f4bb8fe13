//! What a client asked for: a draft as a protocol read it, and the job that it becomes once it is checked.
//!
//! Built in the supervisor, by every protocol and by `mayfly run`. A [`Job`] that exists can be run: [`Job::new`] is the one place
//! that makes one, and it checks everything against the server's bounds.

use crate::files::{self, Files};
use crate::manner::{self, Manner, MannerBounds, Mode};
use crate::size::ByteSize;
use crate::value::{Token, Value};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What one run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the moment the child is handed its job to its reply.
    pub wall: Duration,
    /// Processor time of all the child's threads together, over the same span.
    pub cpu: Duration,
    /// Address space on top of what the warm interpreter has when the child is made.
    pub memory: ByteSize,
    /// How much of stdout and of stderr is kept, each.
    pub output: ByteSize,
}

/// What the response holds besides the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Include {
    /// The text written to stdout.
    pub stdout: bool,
    /// The text written to stderr.
    pub stderr: bool,
    /// Times and peak memory.
    pub usage: bool,
    /// The isolation level the script ran under.
    pub isolation: bool,
}

/// What jobs are held to. Every value comes from `config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Limits of a job that asks for none.
    pub limits: Limits,
    /// The most a job may ask for.
    pub maxima: Limits,
    /// Largest script, in bytes of UTF-8.
    pub script: ByteSize,
    /// How it may be run.
    pub manner: MannerBounds,
    /// What files are held to.
    pub files: files::Bounds,
}

/// The limits that a request asks for, as the numbers that it names; `None` is the server's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// Wall-clock time, in milliseconds.
    pub wall_ms: Option<u64>,
    /// Processor time, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// Memory, in MiB.
    pub memory_mb: Option<u64>,
    /// Of stdout and of stderr, in bytes.
    pub output_bytes: Option<u64>,
}

/// One of the limits, by its name in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `wall_ms`
    Wall,
    /// `cpu_ms`
    Cpu,
    /// `memory_mb`
    Memory,
    /// `output_bytes`
    Output,
}

impl Limit {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wall => "wall_ms",
            Self::Cpu => "cpu_ms",
            Self::Memory => "memory_mb",
            Self::Output => "output_bytes",
        }
    }
}

/// What a client is told of a script that is too long begins with this.
pub const SCRIPT_TOO_LARGE: &str = "Script too large.";

/// Why a draft is no job. The client is told so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// The script is longer than this.
    ScriptTooLarge(ByteSize),
    /// The arguments are no list.
    ArgsNoList,
    /// The keyword arguments are no map.
    KwargsNoMap,
    /// A limit is above its maximum.
    LimitTooLarge(Limit, u64),
    /// A limit is none of the numbers that there are.
    LimitNotInRange(Limit, RangeInclusive<u64>),
    /// It is not run in such a manner.
    Manner(manner::Wrong),
    /// The files can't be brought.
    Files(files::Wrong),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ScriptTooLarge(most) => write!(f, "{SCRIPT_TOO_LARGE} Max size allowed is {most}."),
            Self::ArgsNoList => f.write_str("'args' must be a list"),
            Self::KwargsNoMap => f.write_str("'kwargs' must be an object"),
            Self::Files(wrong) => wrong.fmt(f),
            Self::LimitTooLarge(limit, most) => {
                write!(f, "'limits.{}' is too large: the maximum is {most}", limit.as_str())
            }
            Self::LimitNotInRange(limit, range) => {
                let (name, least, most) = (limit.as_str(), range.start(), range.end());
                write!(f, "'limits.{name}' must be a whole number from {least} to {most}")
            }
            Self::Manner(wrong) => wrong.fmt(f),
        }
    }
}

impl std::error::Error for Wrong {}

impl Bounds {
    /// Whether a script may be so long.
    ///
    /// # Errors
    /// [`Wrong::ScriptTooLarge`].
    pub fn check_script(&self, script: &str) -> Result<(), Wrong> {
        if script.len() as u64 > self.script.0 { Err(Wrong::ScriptTooLarge(self.script)) } else { Ok(()) }
    }

    /// The numbers that a request may ask for, in the limit's own unit.
    #[must_use]
    pub fn range(&self, limit: Limit) -> RangeInclusive<u64> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match limit {
            Limit::Wall => 1..=milliseconds(self.maxima.wall),
            Limit::Cpu => 1..=milliseconds(self.maxima.cpu),
            Limit::Memory => 1..=self.maxima.memory.0 / ByteSize::mebibytes(1).0,
            Limit::Output => 0..=self.maxima.output.0,
        }
    }

    /// The limits that a job gets which asks for these.
    ///
    /// # Errors
    /// [`Wrong::LimitTooLarge`], [`Wrong::LimitNotInRange`].
    pub fn limits(&self, asked: Asked) -> Result<Limits, Wrong> {
        let checked = |limit, asked: Option<u64>| match asked {
            None => Ok(None),
            Some(number) => self.check_limit(limit, number).map(|()| Some(number)),
        };
        let Limits { wall, cpu, memory, output } = self.limits;
        Ok(Limits {
            wall: checked(Limit::Wall, asked.wall_ms)?.map_or(wall, Duration::from_millis),
            cpu: checked(Limit::Cpu, asked.cpu_ms)?.map_or(cpu, Duration::from_millis),
            memory: checked(Limit::Memory, asked.memory_mb)?.map_or(memory, ByteSize::mebibytes),
            output: checked(Limit::Output, asked.output_bytes)?.map_or(output, ByteSize),
        })
    }

    /// Whether a request may ask for so much.
    ///
    /// # Errors
    /// [`Wrong::LimitTooLarge`], [`Wrong::LimitNotInRange`].
    pub fn check_limit(&self, limit: Limit, number: u64) -> Result<(), Wrong> {
        let range = self.range(limit);
        match number {
            _ if range.contains(&number) => Ok(()),
            _ if number > *range.end() => Err(Wrong::LimitTooLarge(limit, *range.end())),
            _ => Err(Wrong::LimitNotInRange(limit, range)),
        }
    }
}

/// A run as a protocol read it. Nothing of it is checked yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Python source text.
    pub script: String,
    /// Positional arguments of `main`.
    pub args: Value,
    /// Keyword arguments of `main`.
    pub kwargs: Value,
    /// What `sys.stdin` yields.
    pub stdin: String,
    /// What it may use.
    pub limits: Asked,
    /// What else the client wants to see.
    pub include: Include,
    /// How it is run.
    pub manner: Manner,
    /// What is in the working directory before the script runs: a name as it was given, and what is in it.
    pub files: Vec<(String, Vec<u8>)>,
}

/// One run: a script and what it is given.
///
/// What was checked can be read:
///
/// ```no_run
/// fn limits_of(job: &mayfly::job::Job) -> mayfly::job::Limits {
///     job.limits()
/// }
/// ```
///
/// And it stays as it was checked:
///
/// ```compile_fail
/// fn with_other_limits(mut job: mayfly::job::Job, limits: mayfly::job::Limits) -> mayfly::job::Job {
///     job.limits = limits;
///     job
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    script: String,
    args: Value,
    kwargs: Value,
    stdin: String,
    limits: Limits,
    include: Include,
    manner: Manner,
    files: Files,
}

impl Job {
    /// Checks a draft against the server's bounds.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn new(draft: Draft, bounds: &Bounds) -> Result<Self, Wrong> {
        let Draft { script, args, kwargs, stdin, limits, include, files, manner } = draft;
        bounds.check_script(&script)?;
        if !matches!(args.tokens(), [Token::List(_), ..]) {
            return Err(Wrong::ArgsNoList);
        }
        if !matches!(kwargs.tokens(), [Token::Map(_), ..]) {
            return Err(Wrong::KwargsNoMap);
        }
        let limits = bounds.limits(limits)?;
        let manner = manner.settled(&script);
        manner.check(&bounds.manner).map_err(Wrong::Manner)?;
        let given = [("args", args.tokens().len() > 1), ("kwargs", kwargs.tokens().len() > 1)];
        if let Some((field, _)) = given.iter().find(|(_, is_given)| *is_given && manner.mode == Mode::Program) {
            return Err(Wrong::Manner(manner::Wrong::NotInProgram(field)));
        }
        let files = Files::new(files, &script, &bounds.files).map_err(Wrong::Files)?;
        Ok(Self { script, args, kwargs, stdin, limits, include, manner, files })
    }

    /// Python source text, at most the configured number of bytes.
    #[must_use]
    pub fn script(&self) -> &str {
        &self.script
    }

    /// How much memory it takes, in bytes.
    #[must_use]
    pub fn size_in_memory(&self) -> usize {
        let texts = self.script.capacity() + self.stdin.capacity();
        texts
            + self.args.size_in_memory()
            + self.kwargs.size_in_memory()
            + self.manner.size_in_memory()
            + self.files.size_in_memory()
    }

    /// Positional arguments of `main`: a list.
    #[must_use]
    pub fn args(&self) -> &Value {
        &self.args
    }

    /// Keyword arguments of `main`: a map.
    #[must_use]
    pub fn kwargs(&self) -> &Value {
        &self.kwargs
    }

    /// What `sys.stdin` yields.
    #[must_use]
    pub fn stdin(&self) -> &str {
        &self.stdin
    }

    /// Within the server's maxima.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What else the client wants to see.
    #[must_use]
    pub fn include(&self) -> Include {
        self.include
    }

    /// How it is run.
    #[must_use]
    pub fn manner(&self) -> &Manner {
        &self.manner
    }

    /// What is in the working directory before the script runs.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manner::Texts;

    const BOUNDS: Bounds = Bounds {
        limits: Limits {
            wall: Duration::from_secs(5),
            cpu: Duration::from_secs(5),
            memory: ByteSize::mebibytes(256),
            output: ByteSize(65_536),
        },
        maxima: Limits {
            wall: Duration::from_secs(60),
            cpu: Duration::from_secs(60),
            memory: ByteSize::mebibytes(1024),
            output: ByteSize::mebibytes(1),
        },
        script: ByteSize(10),
        manner: MannerBounds {
            argv: Texts { count: 1, bytes: ByteSize(10) },
            env: Texts { count: 1, bytes: ByteSize(10) },
        },
        files: files::Bounds {
            brought: files::Caps { count: 1, depth: 1, each: ByteSize(1), all: ByteSize(1) },
            room: None,
        },
    };

    fn draft() -> Draft {
        Draft {
            script: "x".to_owned(),
            args: Value::empty_list(),
            kwargs: Value::empty_map(),
            stdin: String::new(),
            limits: Asked::default(),
            include: Include::default(),
            manner: Manner::default(),
            files: Vec::new(),
        }
    }

    #[track_caller]
    fn wrong(draft: Draft, expected: &str) {
        let wrong = Job::new(draft, &BOUNDS).expect_err("it is wrong");
        assert_eq!(wrong.to_string(), expected);
    }

    #[test]
    fn what_is_left_out_is_the_servers_own() {
        assert_eq!(Job::new(draft(), &BOUNDS).expect("it is right").limits(), BOUNDS.limits);
    }

    #[test]
    fn a_draft_beyond_the_bounds_is_no_job() {
        wrong(Draft { script: "x".repeat(11), ..draft() }, "Script too large. Max size allowed is 10 bytes.");
        wrong(Draft { args: Value::empty_map(), ..draft() }, "'args' must be a list");
        wrong(Draft { kwargs: Value::empty_list(), ..draft() }, "'kwargs' must be an object");
        let asked = |asked| Draft { limits: asked, ..draft() };
        let none = Asked::default();
        wrong(asked(Asked { wall_ms: Some(0), ..none }), "'limits.wall_ms' must be a whole number from 1 to 60000");
        wrong(asked(Asked { cpu_ms: Some(60_001), ..none }), "'limits.cpu_ms' is too large: the maximum is 60000");
        wrong(
            asked(Asked { memory_mb: Some(u64::MAX), ..none }),
            "'limits.memory_mb' is too large: the maximum is 1024",
        );
        wrong(
            asked(Asked { output_bytes: Some(1_048_577), ..none }),
            "'limits.output_bytes' is too large: the maximum is 1048576",
        );
    }
}

//! The embedded interpreter: started once, warmed, forked, and given one script in each child.
//!
//! Runs in a zygote and in its children; a cold child does all of it by itself. Only this module and those below it
//! know `PyO3`. The zygote's half (`start`, `preload`, `freeze`, `fork`) must never see a byte of a request; the
//! child's half (`reseed`, `rehearse`, `run`) runs user code, and what it answers is a claim, not a fact.
//!
//! The thread that calls `start` holds the interpreter's lock from then on, in children too, but for the time that
//! Python code itself gives it away. After `run` no other thread of the script gets it back.

#![expect(unsafe_code, reason = "CPython is a C library; see the SAFETY note at each use")]

mod arenas;
mod captured;
mod closures;
mod config;
mod decode;
mod encode;
mod execute;
mod heap;
mod keys;
mod library;
mod memory;
mod open;
mod path;
mod place;
mod preload;
mod private;
mod program;
mod refuse;
mod report;
mod workspace;

pub use preload::is_always_loaded;
pub use report::{no_memory_for_the_job, no_room_for_the_script};

use crate::jail::Jailed;
use crate::manner::Manner;
use crate::sys::Cloned;
use crate::sys::memory::extend_stack;
use crate::wire::{JobFrame, Reply};
use captured::{Captured, capture};
use pyo3::ffi;
use pyo3::prelude::*;
use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::fmt;

/// The name under which a script is compiled, and which tracebacks show: that of its file, where it is one.
pub use crate::files::SCRIPT;

/// Memory set aside for what comes after the script, when that has used all the job may have: describing a failure, or
/// framing a result. It is address space only, never written to. Encoding itself asks before it takes.
const RESERVE: usize = 16 * 1024 * 1024;

/// What a script's main thread can count on of its 8 MiB of stack, whatever it did to its memory: to take a deeply nested list apart
/// or to describe a failure.
const STACK: usize = 1024 * 1024;

/// How often a zygote rehearses before it is frozen: `CPython` specialises code it has run a few times, which writes
/// to it. Done before the fork, those pages stay shared.
const REHEARSALS: usize = 20;

/// The same for a package's own script, which takes longer.
const PACKAGE_REHEARSALS: usize = 10;

/// Where Python finds things, as paths inside the jail root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The standard library: `/usr/lib/python3.11`.
    pub stdlib: String,
    /// Directories of third-party packages: `/packages`.
    pub packages: Vec<String>,
}

/// Why there is no interpreter. The process is of no use any more: end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PythonError {
    /// `CPython` did not initialise; its own words.
    Start(String),
    /// The Python part of Mayfly did not run; the exception.
    Runner(String),
}

impl fmt::Display for PythonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(reason) => write!(f, "CPython did not start: {reason}"),
            Self::Runner(reason) => write!(f, "the runner did not load: {reason}"),
        }
    }
}

impl std::error::Error for PythonError {}

/// The process's interpreter.
#[derive(Debug)]
pub struct Interpreter {
    captured: Captured,
    reserve: RefCell<Option<Vec<u8>>>,
    /// What gives a new child random state of its own; empty before `freeze`.
    renewals: RefCell<Vec<Py<PyAny>>>,
    /// Whether it was readied for clones.
    is_frozen: Cell<bool>,
}

/// The version of the `CPython` this program is linked with, as `3.11.2`. Needs no interpreter.
#[must_use]
pub fn linked_version() -> String {
    // SAFETY: the function gives a static, null-terminated string, and may be called before initialisation.
    let text = unsafe { CStr::from_ptr(ffi::Py_GetVersion()) };
    text.to_string_lossy().split_whitespace().next().unwrap_or_default().to_owned()
}

/// Starts the interpreter, in a process with one thread.
///
/// # Errors
/// [`PythonError`]; the process can't try again.
pub fn start(setup: &Setup) -> Result<Interpreter, PythonError> {
    // SAFETY: a zygote and a cold child start it in their only thread, and the stack may have 8 MiB.
    unsafe { extend_stack(STACK) };
    memory::install();
    arenas::install();
    heap::align();
    config::initialise(setup)?;
    // SAFETY: the interpreter is up and this thread attached. Collections before `freeze` would be wasted work.
    unsafe { ffi::PyGC_Disable() };
    let captured = Python::attach(|py| {
        capture(py, setup).map_err(|error| {
            let reason = error.to_string();
            error.display(py);
            PythonError::Runner(reason)
        })
    })?;
    // A script whose time zones are not found is told by its own import; nothing else depends on them.
    let _ = Python::attach(|py| library::find_time_zones(py, setup));
    Ok(Interpreter {
        captured,
        reserve: RefCell::new(Some(Vec::with_capacity(RESERVE))),
        renewals: RefCell::default(),
        is_frozen: Cell::new(false),
    })
}

impl Interpreter {
    /// The interpreter's version, as `3.11.2`.
    #[must_use]
    pub fn version(&self) -> String {
        linked_version()
    }

    /// Imports what most scripts import, then `modules`; says of each of these whether it worked.
    ///
    /// A module that fails is reported and left out: a script that needs it will be told by its own import.
    #[must_use]
    pub fn preload(&self, modules: &[String]) -> Vec<(String, Result<(), String>)> {
        let import = |py: Python<'_>, name: &str| py.import(name).map(drop).map_err(|error| error.to_string());
        Python::attach(|py| {
            for name in preload::STANDARD.split_whitespace() {
                let _ = import(py, name);
            }
            let outcomes = modules.iter().map(|name| (name.clone(), import(py, name))).collect();
            // A zygote that lacks one of these modules has nothing to put right there.
            let _ = library::use_poll(py);
            let _ = library::let_interrupt(py);
            let _ = library::do_without_proc(py);
            // What they wrote, a warning mostly, is for whoever runs the service, and would be the first output of every script.
            execute::flush(py, &self.captured);
            outcomes
        })
    }

    /// Ends the warming: everything loaded so far is taken out of the garbage collector's sight, so that no collection
    /// in a child touches, and thereby copies, the pages it shares with the zygote. From here on this process runs no Python
    /// any more, only the children it makes by [`Self::fork`] do; so the interpreter is readied for that once.
    ///
    /// # Errors
    /// [`PythonError::Runner`] when children could not be given random state of their own: a zygote is of no use without that.
    pub fn freeze(&self) -> Result<(), PythonError> {
        let collector = |step: &str| {
            Python::attach(|py| {
                // A zygote without its `gc` module would only be slower.
                let _ = py.import("gc").and_then(|gc| gc.call_method0(step));
            });
        };
        // Describing a failure blocks signals for good; a zygote has to go on.
        let signals = report::SignalMask::now();
        let renewals = Python::attach(|py| self.captured.renewals.call0(py).and_then(|list| list.extract(py)));
        self.renewals.replace(renewals.map_err(|error| PythonError::Runner(error.to_string()))?);
        collector("collect");
        for _ in 0..REHEARSALS {
            self.reseed()?;
            for script in preload::OTHERS.iter().chain([&preload::ORDINARY]) {
                self.rehearse_here(script);
            }
        }
        for (package, script) in preload::WITH_PACKAGE {
            if self.has(package) {
                for _ in 0..PACKAGE_REHEARSALS {
                    self.rehearse_here(script);
                }
            }
        }
        collector("collect");
        heap::settle();
        // Once more: what children find free at once, CPython's lists of spare objects above all, then lies together.
        self.rehearse_here(preload::ORDINARY);
        signals.restore();
        arenas::complete();
        collector("freeze");
        collector("enable");
        // SAFETY: attached, in the main thread, which is the only one.
        unsafe { ffi::PyOS_BeforeFork() };
        self.is_frozen.set(true);
        Ok(())
    }

    /// Clones the process by `clone`; in the clone, which gets `None`, the interpreter works again. After [`Self::freeze`].
    ///
    /// # Errors
    /// Those of `clone`.
    ///
    /// # Panics
    /// Before [`Self::freeze`].
    pub fn fork<T, E>(&self, clone: impl FnOnce() -> Result<Cloned<T>, E>) -> Result<Option<T>, E> {
        assert!(self.is_frozen.get(), "an interpreter is frozen before the process is cloned");
        match clone()? {
            Cloned::Parent(learnt) => Ok(Some(learnt)),
            Cloned::Child(_) => {
                // SAFETY: this is the only thread of a process just made, as what `clone` gave proves; a copy of the one that
                // called `PyOS_BeforeFork` in `freeze`. Its counterpart for the parent is never called: what the parent writes
                // to would be copied for each child.
                unsafe { ffi::PyOS_AfterFork_Child() };
                Ok(None)
            }
        }
    }

    /// Gives a new child random state of its own: `random`, `numpy.random`, and the names `tempfile` makes. (`secrets` and
    /// `uuid4` ask the system each time.)
    ///
    /// # Errors
    /// [`PythonError::Runner`] when some state may still be the zygote's; such a child must not run a script.
    pub fn reseed(&self) -> Result<(), PythonError> {
        let renewed = Python::attach(|py| -> PyResult<()> {
            for renew in self.renewals.borrow().iter() {
                renew.call0(py)?;
            }
            let thread_id = nix::unistd::gettid().as_raw();
            self.captured.main_thread.setattr(py, pyo3::intern!(py, "_native_id"), thread_id)
        });
        renewed.map_err(|error| PythonError::Runner(error.to_string()))
    }

    /// Runs a trivial script the way `run` does, so that the pages it writes are this process's own before the job
    /// comes. Leaves nothing behind.
    pub fn rehearse(&self, _jailed: &Jailed) {
        self.rehearse_here(preload::ORDINARY);
    }

    /// The same in a process that is no child, and `then` another script: to see what they write to.
    pub fn try_out(&self, then: Option<&str>) {
        self.rehearse_here(preload::ORDINARY);
        if let Some(script) = then {
            self.rehearse_here(script);
        }
    }

    /// For each package that was preloaded and has them, two scripts that have little in common but the package.
    #[must_use]
    pub fn pairs(&self) -> Vec<[&'static str; 2]> {
        let pairs = preload::PAIRS.iter().filter(|(package, _)| self.has(package));
        pairs.map(|&(_, pair)| pair).collect()
    }

    fn has(&self, module: &str) -> bool {
        Python::attach(|py| self.captured.modules.bind(py).contains(module)).unwrap_or(false)
    }

    /// Runs a script of ours, in a zygote too.
    fn rehearse_here(&self, script: &str) {
        let job = JobFrame {
            script: script.to_owned(),
            args: Vec::new(),
            kwargs: Vec::new(),
            result_bytes: 1 << 20,
            captured: false,
            manner: Manner::default(),
        };
        Python::attach(|py| {
            let (_reply, remains) = execute::execute(py, &self.captured, &job, "", &|| ());
            if let Some(module) = &remains.module {
                // Its functions hold the dict that holds them.
                module.dict().clear();
            }
            for name in ["main", "__main__"] {
                let _ = self.captured.modules.bind(py).del_item(name);
            }
            drop(remains);
        });
    }

    /// Runs the one job of this process, in its jail. When this returns all output was written, and no Python code
    /// runs any more as long as this thread stays out of Python.
    #[must_use]
    pub fn run(&self, _jailed: &Jailed, job: JobFrame, input: String) -> Reply {
        workspace::begin();
        Python::attach(|py| {
            let (reply, remains) = execute::execute(py, &self.captured, &job, &input, &|| self.make_room());
            remains.keep();
            // To free it would be work for nothing.
            std::mem::forget((job, input));
            reply
        })
    }

    /// Has the script import the modules that are in the working directory, where these files are.
    pub fn enter_directory<'a>(&self, files: impl Iterator<Item = &'a str>) {
        let mut names: Vec<&str> = files.filter_map(place::module_of).collect();
        names.sort_unstable();
        names.dedup();
        Python::attach(|py| {
            // A script whose imports fail is told by them.
            let _ = self.captured.enter_directory.call1(py, (place::DIRECTORY, names));
        });
    }

    /// The same for a program, whose main.py is in the directory `home` if that is given. Its threads and exit handlers have come to
    /// their end, too.
    #[must_use]
    pub fn run_program(&self, _jailed: &Jailed, job: JobFrame, input: String, home: Option<&str>) -> Reply {
        workspace::begin();
        Python::attach(|py| {
            let reply = program::run(py, &self.captured, &job, &input, home, &|| self.make_room());
            std::mem::forget((job, input));
            reply
        })
    }

    /// Frees the memory that was set aside for what comes after the script.
    pub fn make_room(&self) {
        drop(self.reserve.take());
    }
}

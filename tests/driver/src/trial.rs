//! How a test is run and told: what went wrong with file and line, what was not run and why, and how long each took.
//!
//! Runs in the test process. Nothing is left out without a word: what this user or machine can't do is listed as ignored, with
//! the reason, and `make test` counts it.

use libtest_mimic::{Arguments, Failed, Trial};
use nix::unistd::geteuid;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::Instant;

/// The whole of a test program's `main`: `trials` are made and run, so many at once when nothing else is asked for; `after` is
/// called when all are done, and what goes wrong there fails the run.
pub fn run(at_once: usize, trials: impl FnOnce() -> Vec<Trial>, after: impl FnOnce()) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(at_once);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let words = panic.payload();
        let words =
            words.downcast_ref::<String>().map(String::as_str).or_else(|| words.downcast_ref::<&str>().copied());
        LAST_WORDS.set(format!("{place}: {}", words.unwrap_or("panicked")));
    }));
    let Ok(trials) = catch_unwind(AssertUnwindSafe(trials)) else {
        eprintln!("{}", LAST_WORDS.take());
        return ExitCode::FAILURE;
    };
    let conclusion = libtest_mimic::run(&arguments, in_order(trials));
    let examined = arguments.list || catch_unwind(AssertUnwindSafe(after)).is_ok();
    crate::places::remove_public_copy();
    if !examined {
        eprintln!("after all tests: {}", LAST_WORDS.take());
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

thread_local! {
    /// What the last panic on this thread said, with file and line.
    static LAST_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Held for reading by every test, and for writing by one that needs the machine for itself.
static MACHINE: RwLock<()> = RwLock::new(());

/// When a test's turn comes: among others, then alone, then after all of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Among,
    Alone,
    Last,
}

/// The tests whose turn comes late, by name.
static LATE: Mutex<Vec<(String, Turn)>> = Mutex::new(Vec::new());

fn put_off(name: &str, turn: Turn) {
    LATE.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), turn));
}

/// Those that need the machine for themselves come one after the other at the end: for each that comes between others, all threads
/// would wait for the longest of these.
fn in_order(mut trials: Vec<Trial>) -> Vec<Trial> {
    let late: HashMap<String, Turn> = LATE.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
    trials.sort_by_key(|trial| late.get(trial.name()).copied().unwrap_or(Turn::Among));
    trials
}

/// A test among others.
pub fn trial(name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Trial {
    let name = name.into();
    Trial::test(name.clone(), move || {
        let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        outcome(&name, test)
    })
}

/// A test that no other of this program runs beside.
pub fn lone_trial(name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Trial {
    let name = name.into();
    put_off(&name, Turn::Alone);
    Trial::test(name.clone(), move || {
        let _alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        outcome(&name, test)
    })
}

/// A test among others that first waits for some of them: nobody is locked out meanwhile.
pub fn trial_after(
    name: impl Into<String>,
    wait: impl FnOnce() + Send + 'static,
    test: impl FnOnce() + Send + 'static,
) -> Trial {
    let name = name.into();
    Trial::test(name.clone(), move || {
        caught(wait)?;
        let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        outcome(&name, test)
    })
}

/// The same, where it waits for tests that need the machine for themselves.
pub fn trial_after_lone(
    name: impl Into<String>,
    wait: impl FnOnce() + Send + 'static,
    test: impl FnOnce() + Send + 'static,
) -> Trial {
    let name = name.into();
    put_off(&name, Turn::Last);
    trial_after(name, wait, test)
}

/// What a test asks of whoever runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// To be root: to look into other users' processes, to become another user, to change the root directory.
    Root,
    /// To be root, or to have a `sudo` that asks for no password: a program is started with it.
    RootOrSudo,
}

impl Needs {
    /// Why a test that needs this can't be run here; `None` if it can.
    pub fn lacking(self) -> Option<&'static str> {
        match self {
            Self::Root if !geteuid().is_root() => Some("needs root"),
            Self::RootOrSudo if !geteuid().is_root() && !has_sudo() => Some("needs root or sudo"),
            _ => None,
        }
    }

    /// The test, or its name and why it is not run.
    pub fn allow(self, trial: Trial) -> Trial {
        let Some(why) = self.lacking() else { return trial };
        // Asked for all the same, by `--include-ignored`, it fails.
        Trial::test(trial.name(), move || Err(why.into())).with_kind(why).with_ignored_flag(true)
    }
}

fn has_sudo() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    let works = || Command::new("sudo").args(["-n", "true"]).output().is_ok_and(|output| output.status.success());
    *HAS.get_or_init(works)
}

/// Runs one function on several threads, each with its number; what goes wrong in any of them goes wrong here.
#[track_caller]
pub fn together(threads: usize, work: impl Fn(usize) + Sync) {
    let work = &work;
    let failed: Vec<String> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn(move || catch_unwind(AssertUnwindSafe(|| work(number))).map_err(|_| LAST_WORDS.take()))
            })
            .collect();
        started.into_iter().filter_map(|thread| thread.join().unwrap_or(Ok(())).err()).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn outcome(name: &str, test: impl FnOnce()) -> Result<(), Failed> {
    let began = Instant::now();
    let result = caught(test);
    write_down(name, began);
    result
}

fn caught(test: impl FnOnce()) -> Result<(), Failed> {
    catch_unwind(AssertUnwindSafe(test)).map_err(|_| Failed::from(LAST_WORDS.take()))
}

/// A line `SECONDS NAME` in the file that `MAYFLY_TEST_TIMES` names.
fn write_down(name: &str, began: Instant) {
    let Some(path) = std::env::var_os("MAYFLY_TEST_TIMES") else { return };
    let file = OpenOptions::new().append(true).create(true).open(path);
    // In one piece: other tests write at the same time.
    let line = format!("{:.3} {name}\n", began.elapsed().as_secs_f64());
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("MAYFLY_TEST_TIMES names a file");
}

/// A test's name in its module's, without that of the test program.
pub fn in_module(path: &str, name: &str) -> String {
    path.split_once("::").map_or_else(|| name.to_owned(), |(_, module)| format!("{module}::{name}"))
}

/// Test functions by name, in their module's name. One that is left out is dead code, which the compiler reports.
#[macro_export]
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        vec![$($crate::trial::trial($crate::trial::in_module(module_path!(), stringify!($name)), $name)),+]
    };
}

/// The same, for tests that need the machine for themselves.
#[macro_export]
macro_rules! lone_tests {
    ($($name:ident),+ $(,)?) => {
        vec![$($crate::trial::lone_trial($crate::trial::in_module(module_path!(), stringify!($name)), $name)),+]
    };
}

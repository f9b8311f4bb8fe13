//! Everything that can be said of Mayfly by driving the real program over HTTP, as one test binary.
//!
//! Each case is a test with a name of its own: `cargo test --test it -- attacks::full` runs the attacks at level `full`,
//! `-- reads-etc-passwd` one of them at every level. Cases are data where there are many of them (`tests/scripts`,
//! `tests/attacks`); cases of one kind share a server, which is examined when the last of them is done.
//!
//! Nothing is skipped without a word: `MAYFLY_EXPECT_LEVELS` says which isolation levels the machine is to grant, and the
//! run fails when it grants others.

mod attacks;
mod cli;
mod cold;
mod contract;
mod corpus;
mod descriptors;
mod exchanges;
mod failures;
mod front;
mod grants;
mod group;
mod held;
mod imports;
mod levels;
mod life;
mod packages;
mod record;
mod refill;
mod server;
mod settings;
mod streams;
mod tour;

use libtest_mimic::{Arguments, Failed, Trial};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};

/// How many tests run at once when nothing else is asked for: most wait for a limit or for a process to start.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let words = panic.payload();
        let words =
            words.downcast_ref::<String>().map(String::as_str).or_else(|| words.downcast_ref::<&str>().copied());
        LAST_WORDS.set(format!("{place}: {}", words.unwrap_or("panicked")));
    }));
    let Ok(trials) = catch_unwind(all) else {
        eprintln!("{}", LAST_WORDS.take());
        return ExitCode::FAILURE;
    };
    let conclusion = libtest_mimic::run(&arguments, trials);
    levels::remove_public_copy();
    conclusion.exit_code()
}

fn all() -> Vec<Trial> {
    let rooms = [
        levels::trials(),
        grants::trials(),
        settings::trials(),
        cli::trials(),
        contract::trials(),
        failures::trials(),
        streams::trials(),
        tour::trials(),
        front::trials(),
        life::trials(),
        descriptors::trials(),
        held::trials(),
        refill::trials(),
        imports::trials(),
        cold::trials(),
        corpus::trials(),
        attacks::trials(),
        exchanges::trials(),
    ];
    rooms.into_iter().flatten().collect()
}

thread_local! {
    static LAST_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Held for reading by every test, and for writing by one that needs the machine for itself, as it measures times.
static MACHINE: RwLock<()> = RwLock::new(());

/// A test among others.
fn trial(name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, || {
        let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        outcome(test)
    })
}

/// A test that no other runs beside.
fn lone_trial(name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Trial {
    lone_trial_after(name, || (), test)
}

/// The same, after waiting for something: it must not be waited for with others locked out.
fn lone_trial_after(
    name: impl Into<String>,
    wait: impl FnOnce() + Send + 'static,
    test: impl FnOnce() + Send + 'static,
) -> Trial {
    Trial::test(name, || {
        outcome(wait)?;
        let _alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        outcome(test)
    })
}

/// Runs one function on several threads, each with its number; what goes wrong in any of them goes wrong here.
#[track_caller]
fn together(threads: usize, work: impl Fn(usize) + Sync) {
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

fn outcome(test: impl FnOnce()) -> Result<(), Failed> {
    catch_unwind(AssertUnwindSafe(test)).map_err(|_| Failed::from(LAST_WORDS.take()))
}

/// Test functions by name, in their module's name. One that is left out is dead code, which the compiler reports.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        vec![$(crate::trial(concat!(module_path!(), "::", stringify!($name)).trim_start_matches("it::"), $name)),+]
    };
}
/// The same, for tests that need the machine for themselves.
macro_rules! lone_tests {
    ($($name:ident),+ $(,)?) => {
        vec![$(crate::lone_trial(concat!(module_path!(), "::", stringify!($name)).trim_start_matches("it::"), $name)),+]
    };
}
use {lone_tests, tests};

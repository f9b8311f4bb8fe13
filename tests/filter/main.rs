//! The seccomp filter, rule by rule, under the real kernel.
//!
//! `numbers`: every system call number and every argument that is looked at meets the fate the policy says. `refusals` and
//! `ways`: what must be refused, written here by hand and not read from the policy. `needs`: what must work, so that each
//! allowed call has something that breaks without it; `beneath`: that paths lead from the root on. `mutants`: that all this notices when a rule is wrong.
//!
//! Each test runs in a process of its own, which has one thread, no privilege and no request to lose, and forks a child for
//! what it tries; the child installs the filter as the jail does. The filter needs no interpreter, so there is none here.
//!
//!     cargo test --test filter                      all of it
//!     cargo test --test filter -- needs::full       by name
//!     cargo test --test filter -- --mutants         docs/measured/mutants-filter.md, on standard output
//!     cargo test --test filter -- --cost            what installing a filter costs
#![expect(unsafe_code, reason = "system calls are made with arguments that no safe wrapper would pass on")]

mod alone;
mod beneath;
mod child;
mod compiler;
mod cost;
mod fates;
mod foreign;
mod library;
mod mutants;
mod needs;
mod numbers;
mod refusals;
mod ways;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

/// `Err` says in words what was not as it must be.
type Verdict = Result<(), String>;

/// Something that must hold. `check` runs alone in its process.
struct Test {
    name: String,
    check: Box<dyn Fn() -> Verdict>,
}

fn test(name: impl Into<String>, check: impl Fn() -> Verdict + 'static) -> Test {
    Test { name: name.into(), check: Box::new(check) }
}

fn tests() -> Vec<Test> {
    let rooms = [
        library::tests(),
        numbers::tests(),
        foreign::tests(),
        refusals::tests(),
        ways::tests(),
        needs::tests(),
        beneath::tests(),
        mutants::tests(),
    ];
    rooms.into_iter().flatten().collect()
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [alone::FLAG, name] => alone::run(name),
        ["--mutants"] => alone::print(mutants::TABLE),
        ["--cost"] => alone::print(cost::TABLE),
        _ => {
            let trial = |test: Test| Trial::test(test.name.clone(), move || Ok(alone::passes(&test.name)?));
            libtest_mimic::run(&Arguments::from_args(), tests().into_iter().map(trial).collect()).exit_code()
        }
    }
}

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
mod files;
mod front;
mod grants;
mod group;
mod held;
mod imports;
mod levels;
mod life;
mod live;
mod log;
mod manner;
mod packages;
mod programs;
mod proxies;
mod record;
mod refill;
mod run;
mod settings;
mod shortage;
mod streams;
mod tour;
mod weight;

use driver::trial;
use libtest_mimic::Trial;
use std::process::ExitCode;

/// How many tests run at once when nothing else is asked for: most wait for a limit or for a process to start.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    trial::run(AT_ONCE, all, || ())
}

fn all() -> Vec<Trial> {
    let rooms = [
        levels::trials(),
        grants::trials(),
        settings::trials(),
        cli::trials(),
        run::trials(),
        contract::trials(),
        failures::trials(),
        files::trials(),
        streams::trials(),
        manner::trials(),
        tour::trials(),
        front::trials(),
        proxies::trials(),
        life::trials(),
        weight::trials(),
        live::trials(),
        log::trials(),
        descriptors::trials(),
        held::trials(),
        shortage::trials(),
        refill::trials(),
        imports::trials(),
        cold::trials(),
        corpus::trials(),
        programs::trials(),
        attacks::trials(),
        exchanges::trials(),
    ];
    rooms.into_iter().flatten().collect()
}

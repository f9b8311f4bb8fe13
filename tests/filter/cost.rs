//! What a filter costs: to install, in every child, and at each call. Ours, one program, beside the stack that seccompiler
//! makes of the same policy, in turn.

use crate::Verdict;
use crate::child::{self, PATIENT, Sheet};
use crate::compiler::{self, Filter, VARIANTS, oracle};
use crate::fates::{Call, raw};
use mayfly::sys;
use std::time::Instant;

/// The name under which [`print`] is asked for.
pub const TABLE: &str = "cost";

/// Children for each.
const CHILDREN: usize = 400;

/// Calls of a kind, one after another.
const CALLS: u32 = 20_000;

/// Writes the table to standard output.
pub fn print() -> Verdict {
    println!(
        "Installation in a forked child, {CHILDREN} each in turn; time of a call, the median of 40 rounds of {CALLS}.\n"
    );
    println!(
        "| policy | filter | programs | instructions | install, median | 10 % to 90 % | getpid | getppid, refused | fcntl F_GETFD |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for policy in VARIANTS {
        let written = compiler::written(policy.name);
        let one = vec![policy.filter.to_vec()];
        let stack: Vec<_> = oracle::stack(&written).iter().map(|program| compiler::installable(program)).collect();
        let measured = measure(&[one, stack])?;
        for (name, row) in ["one program", "seccompiler's stack"].iter().zip(measured) {
            println!("| {} | {name} | {row} |", policy.name);
        }
    }
    Ok(())
}

fn measure(kinds: &[Vec<Filter>; 2]) -> Result<[String; 2], String> {
    let sheet = Sheet::new();
    let mut installs = [Vec::new(), Vec::new()];
    let mut calls = [const { [const { Vec::new() }; 3] }; 2];
    for round in 0..CHILDREN {
        for (kind, filters) in kinds.iter().enumerate() {
            let (_, verdict) = child::run(PATIENT, sheet, || {
                let before = Instant::now();
                for filter in filters {
                    sys::install_filter(filter).map_err(|errno| errno.to_string())?;
                }
                sheet.answer(0, nanoseconds(before));
                // A tenth of the children is enough for these, which vary less.
                if round % 10 == 0 {
                    for (place, call) in CALLED.iter().enumerate() {
                        sheet.answer(place + 1, time_of(call));
                    }
                }
                Ok(())
            });
            verdict.unwrap_or(Err("no verdict".to_owned()))?;
            installs[kind].push(sheet.take(0));
            for (place, times) in calls[kind].iter_mut().enumerate() {
                times.extend(Some(sheet.take(place + 1)).filter(|time| *time > 0));
            }
        }
    }
    Ok([0, 1].map(|kind| {
        let lengths: usize = kinds[kind].iter().map(Vec::len).sum();
        let install = &mut installs[kind];
        let [low, middle, high] = [10, 50, 90].map(|percent| quantile(install, percent) / 1000);
        let [own, parent, flags] = [0, 1, 2].map(|place| quantile(&mut calls[kind][place], 50) / u64::from(CALLS));
        format!(
            "{} | {lengths} | {middle} µs | {low} to {high} µs | {own} ns | {parent} ns | {flags} ns",
            kinds[kind].len()
        )
    }))
}

/// One that the kernel's cache knows to be allowed, one that is refused, one whose arguments are looked at.
const CALLED: [Call; 3] = [
    Call::new(libc::SYS_getpid, [0; 6]),
    Call::new(libc::SYS_getppid, [0; 6]),
    Call::new(libc::SYS_fcntl, [2, libc::F_GETFD.unsigned_abs() as u64, 0, 0, 0, 0]),
];

fn time_of(call: &Call) -> u64 {
    let before = Instant::now();
    for _ in 0..CALLS {
        let _ = raw(call);
    }
    nanoseconds(before)
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn quantile(times: &mut [u64], percent: usize) -> u64 {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

//! Every system call number, and every bit of every argument that a rule looks at: the kernel does what the policy says.

use crate::compiler::{self, VARIANTS, oracle, prove};
use crate::fates::{Call, Mode, fates};
use crate::{Test, Verdict, test};
use mayfly::jail::filter::{Fate, Policy};

/// Beyond the newest system call, 470 in Linux 6.19, with room for some years.
const BEYOND: u32 = 1100;

/// Linux lets these pass by every filter on purpose: a probe's trampoline makes them, and no filter knew of them when they
/// came (Linux 6.11 and 6.18). Made from anywhere else they do nothing, see `foreign::trampoline_calls_do_nothing`.
#[cfg(target_arch = "x86_64")]
pub const PASSED_BY_LINUX: [u32; 2] = [335, 336];
#[cfg(not(target_arch = "x86_64"))]
pub const PASSED_BY_LINUX: [u32; 0] = [];

/// Arguments that do nothing where a call is executed after all: no descriptor, no address, no flags that exist.
const HARMLESS: [u64; 6] = [u64::MAX; 6];

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for policy in VARIANTS {
        let name = policy.name;
        tests.push(test(format!("numbers::{name}::every-number"), || every_number(policy)));
        tests.push(test(format!("numbers::{name}::every-refusal-without-a-witness"), || every_refusal(policy)));
        tests.push(test(format!("numbers::{name}::every-argument"), || every_argument(policy)));
        tests.push(test(format!("numbers::{name}::seccompilers-stack"), || seccompilers_stack(policy)));
        tests.push(test(format!("numbers::{name}::numbers-from-nowhere"), || numbers_from_nowhere(policy)));
    }
    tests
}

fn numbers() -> impl Iterator<Item = u32> {
    (0..=BEYOND).filter(|number| !PASSED_BY_LINUX.contains(number))
}

fn expected(policy: &Policy, call: &Call) -> Fate {
    // The kernel reads an int.
    let number = u32::try_from(call.number & 0xffff_ffff).expect("masked");
    policy.rule(number).map_or(policy.default, |rule| rule.fate(&call.args))
}

fn check(mode: Mode, policy: &Policy, calls: &[Call]) -> Verdict {
    compare(policy, calls, fates(mode, &[policy.filter.to_vec()], calls)?)
}

fn compare(policy: &Policy, calls: &[Call], met: Vec<Fate>) -> Verdict {
    let wrong: Vec<_> = calls
        .iter()
        .zip(met)
        .map(|(call, met)| (call, met, expected(policy, call)))
        .filter(|(_, met, expected)| met != expected)
        .map(|(call, met, expected)| format!("{} {:x?}: {met:?}, not {expected:?}", call.number, call.args))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn every_number(policy: &Policy) -> Verdict {
    let calls: Vec<_> =
        numbers().flat_map(|number| [HARMLESS, [0; 6]].map(|args| Call { number: number.into(), args })).collect();
    check(Mode::Witnessed, policy, &calls)
}

fn every_refusal(policy: &Policy) -> Verdict {
    let calls: Vec<_> = numbers()
        .map(|number| Call { number: number.into(), args: HARMLESS })
        .filter(|call| expected(policy, call) != Fate::Allow)
        .collect();
    check(Mode::Alone, policy, &calls)
}

fn every_argument(policy: &Policy) -> Verdict {
    for rule in compiler::written(policy.name).rules.iter().filter(|rule| !rule.cases.is_empty()) {
        let arguments = prove::telling_arguments(rule);
        let calls: Vec<_> = arguments.into_iter().map(|args| Call { number: rule.number.into(), args }).collect();
        check(Mode::Witnessed, policy, &calls).map_err(|wrong| format!("{}:\n{wrong}", rule.name))?;
    }
    Ok(())
}

/// What the build compares by a machine of its own holds in the kernel: seccompiler's programs, all installed, come to
/// the same as our one.
fn seccompilers_stack(policy: &Policy) -> Verdict {
    let written = compiler::written(policy.name);
    let stack: Vec<_> = oracle::stack(&written).iter().map(|program| compiler::installable(program)).collect();
    let looked_at = written.rules.iter().filter(|rule| !rule.cases.is_empty()).flat_map(|rule| {
        prove::telling_arguments(rule).into_iter().map(|args| Call { number: rule.number.into(), args })
    });
    let calls: Vec<_> =
        numbers().map(|number| Call { number: number.into(), args: HARMLESS }).chain(looked_at).collect();
    compare(policy, &calls, fates(Mode::Witnessed, &stack, &calls)?)
}

/// x32's, negative ones, and the upper half of the register, which the kernel does not read.
fn numbers_from_nowhere(policy: &Policy) -> Verdict {
    const X32: u64 = 0x4000_0000;
    let x32 = numbers().map(|number| X32 | u64::from(number));
    let extremes = (0..64).map(|bit| 1 << bit).chain((0..64).map(|bit| u64::MAX << bit));
    let upper = numbers().map(|number| 0xdead_beef_0000_0000 | u64::from(number));
    let calls: Vec<_> = x32
        .chain(extremes)
        .chain(upper)
        .filter(|number| !numbers_passed(*number))
        .map(|number| Call { number, args: HARMLESS })
        .collect();
    check(Mode::Witnessed, policy, &calls)
}

fn numbers_passed(number: u64) -> bool {
    PASSED_BY_LINUX.iter().any(|passed| u64::from(*passed) == number & 0xffff_ffff)
}

//! Runs the compiled program as the kernel would, beside the policy as it is written and the stack that seccompiler made of
//! it, and fails the build unless all three say the same: for every number up to 1023, the x32 numbers and the extremes,
//! for other ABIs, and for each rule that looks at arguments, with arguments that satisfy each case and with each of
//! their 64 bits flipped, one at a time.

use super::bpf::{self, Call, Instruction};
use super::compile;
use super::oracle;
use super::policy::{Fate, Policy, Rule};

const ARGUMENTS: [[u64; 6]; 3] = [[0; 6], [u64::MAX; 6], [0x0123_4567_89ab_cdef; 6]];

/// i386, arm and nonsense: no policy speaks of them.
const FOREIGN: [u32; 4] = [0x4000_0003, 0x4000_0028, 0, u32::MAX];

pub fn behaves(policy: &Policy, program: &[Instruction]) {
    let stack = oracle::stack(policy);
    let check = |call: Call, expected: Fate| {
        let expected = compile::value(expected);
        let (ours, theirs) = (bpf::run(program, &call), bpf::run_stack(&stack, &call));
        assert!(
            ours == expected && theirs == expected,
            "{} on {}: the policy answers {call:x?} with {expected:#x}, its program with {ours:#x}, seccompiler's with {theirs:#x}",
            policy.variant,
            policy.arch
        );
    };
    let x32 = 0x4000_0000..0x4000_0400;
    for number in (0..0x400).chain(x32).chain([0x7fff_ffff, 0x8000_0000, u32::MAX]) {
        let rule = policy.rules.iter().find(|rule| rule.number == number);
        for args in rule.map_or_else(|| ARGUMENTS.to_vec(), telling_arguments) {
            let fate = rule.map_or(policy.default, |rule| rule.fate(&args));
            check(Call { arch: policy.audit_arch, number, args }, fate);
        }
        for arch in FOREIGN.into_iter().chain([policy.audit_arch ^ 1]) {
            check(Call { arch, number, args: ARGUMENTS[0] }, Fate::Kill);
        }
    }
}

/// Arguments of which at least one set meets each fate the rule has, and one differs from it in a single bit.
pub fn telling_arguments(rule: &Rule) -> Vec<[u64; 6]> {
    let mut all = ARGUMENTS.to_vec();
    for case in &rule.cases {
        for base in ARGUMENTS {
            let mut satisfied = base;
            for condition in &case.conditions {
                let arg = &mut satisfied[usize::from(condition.arg)];
                *arg = *arg & !condition.mask | condition.value;
            }
            all.push(satisfied);
            for condition in &case.conditions {
                all.extend((0..64).map(|bit| {
                    let mut perturbed = satisfied;
                    perturbed[usize::from(condition.arg)] ^= 1 << bit;
                    perturbed
                }));
            }
        }
    }
    all
}

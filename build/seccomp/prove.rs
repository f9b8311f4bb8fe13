//! Runs the compiled program as the kernel would, and fails the build unless it answers as the policy says: for every
//! number up to 1023, the x32 numbers, the extremes, every other ABI; and for each rule that looks at arguments, with
//! arguments that satisfy each case and with each of their 64 bits flipped, one at a time.

use super::compile::{self, Instruction};
use super::policy::{Fate, Policy, Rule};

const ARGUMENTS: [[u64; 6]; 3] = [[0; 6], [u64::MAX; 6], [0x0123_4567_89ab_cdef; 6]];

pub fn behaves(policy: &Policy, program: &[Instruction]) {
    let x32 = 0x4000_0000..0x4000_0400;
    for number in (0..0x400).chain(x32).chain([0x7fff_ffff, 0x8000_0000, u32::MAX]) {
        let rule = policy.rules.iter().find(|rule| rule.number == number);
        let arguments = rule.map_or_else(|| ARGUMENTS.to_vec(), telling_arguments);
        for args in arguments {
            let expected = compile::value(rule.map_or(policy.default, |rule| decide(rule, &args)));
            let answer = run(program, policy.audit_arch, number, &args);
            assert!(answer == expected, "{}: {number} {args:x?}: {answer:#x}, not {expected:#x}", policy.variant);
        }
        for foreign in [0x4000_0003, 0x4000_0028, policy.audit_arch ^ 1] {
            let answer = run(program, foreign, number, &ARGUMENTS[0]);
            assert!(answer == compile::value(Fate::Kill), "{}: ABI {foreign:#x} is let in", policy.variant);
        }
    }
}

fn decide(rule: &Rule, args: &[u64; 6]) -> Fate {
    rule.cases
        .iter()
        .find(|case| case.conditions.iter().all(|c| args[usize::from(c.arg)] & c.mask == c.value))
        .map_or(rule.otherwise, |case| case.fate)
}

fn telling_arguments(rule: &Rule) -> Vec<[u64; 6]> {
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

fn run(program: &[Instruction], arch: u32, number: u32, args: &[u64; 6]) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let branch = |condition| usize::from(if condition { jt } else { jf });
        match code {
            compile::LOAD => accumulator = load(k, arch, number, args),
            compile::AND => accumulator &= k,
            compile::JUMP => at += k as usize,
            compile::JUMP_IF_EQUAL => at += branch(accumulator == k),
            compile::JUMP_IF_AT_LEAST => at += branch(accumulator >= k),
            compile::RETURN => return k,
            other => panic!("instruction {other:#x} is never emitted"),
        }
    }
}

fn load(offset: u32, arch: u32, number: u32, args: &[u64; 6]) -> u32 {
    match offset {
        compile::NUMBER => number,
        compile::ARCH => arch,
        _ => {
            let bytes = args[(offset - compile::ARGS) as usize / 8].to_le_bytes();
            let from = (offset - compile::ARGS) as usize % 8;
            u32::from_le_bytes(bytes[from..from + 4].try_into().expect("four bytes"))
        }
    }
}

//! Policy → one BPF program: check the ABI, find the call's number by binary search, then its fate, or a block that looks
//! at its arguments.
//!
//! The program is built backwards, last instruction first, because BPF only jumps forward: whatever an instruction jumps
//! to exists already, so no jump is ever patched. `Place` counts from the end.

use super::bpf::{
    AND, ARCH, ARGS, Instruction, JUMP, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, LOAD, LONGEST, NUMBER, Program, RETURN,
};
use super::policy::{Fate, Policy, Rule};

/// A conditional jump's offset is one byte; a shared return is used only well inside that, because one or two
/// instructions may still come between.
const NEAR: usize = 250;

type Place = usize;

/// Either an answer or the index of a rule whose arguments must be looked at.
#[derive(Clone, Copy, PartialEq)]
enum Leaf {
    Answer(Fate),
    Look(usize),
}

pub fn program(policy: &Policy) -> Program {
    let mut code = Code::default();
    let search = code.search(&segments(policy), &policy.rules);
    let number = code.push_before(search, LOAD, NUMBER);
    let foreign = code.answer(Fate::Kill);
    // A system call of another ABI (i386 by int 0x80) has other numbers: nothing in the policy speaks of it.
    code.branch(JUMP_IF_EQUAL, policy.audit_arch, number, foreign);
    code.push(LOAD, 0, 0, ARCH);
    code.backwards.reverse();
    assert!(code.backwards.len() <= LONGEST, "the kernel takes at most {LONGEST} instructions");
    code.backwards
}

/// The number line cut where the fate changes; numbers without a rule, x32's (bit 30) and negative ones included, have
/// the default.
fn segments(policy: &Policy) -> Vec<(u32, Leaf)> {
    let mut line = vec![(0, Leaf::Answer(policy.default))];
    let mut cut = |from: u32, leaf: Leaf| {
        if line.last().is_some_and(|last| last.0 == from) {
            line.pop();
        }
        if line.last().is_none_or(|last| last.1 != leaf) {
            line.push((from, leaf));
        }
    };
    for (index, rule) in policy.rules.iter().enumerate() {
        let leaf = if rule.cases.is_empty() { Leaf::Answer(rule.otherwise) } else { Leaf::Look(index) };
        cut(rule.number, leaf);
        cut(rule.number + 1, Leaf::Answer(policy.default));
    }
    line
}

#[derive(Default)]
struct Code {
    backwards: Vec<Instruction>,
}

impl Code {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Place {
        self.backwards.push(Instruction { code, jt, jf, k });
        self.backwards.len() - 1
    }

    /// How many instructions the next one would skip to reach `place`.
    fn distance(&self, place: Place) -> usize {
        self.backwards.len() - 1 - place
    }

    /// An instruction that does not jump, followed by what is at `next`.
    fn push_before(&mut self, next: Place, code: u16, k: u32) -> Place {
        let near = self.distance(next);
        if near > 0 {
            self.push(JUMP, 0, 0, u32::try_from(near).expect("programs are short"));
        }
        self.push(code, 0, 0, k)
    }

    fn branch(&mut self, code: u16, k: u32, when: Place, unless: Place) -> Place {
        let when = self.within_reach(when);
        let unless = self.within_reach(unless);
        let offset = |place| u8::try_from(self.distance(place)).expect("brought within reach above");
        let (jt, jf) = (offset(when), offset(unless));
        self.push(code, jt, jf, k)
    }

    /// `place`, or a jump to it placed here when it is too far for a conditional jump.
    fn within_reach(&mut self, place: Place) -> Place {
        let distance = self.distance(place);
        if distance < NEAR {
            place
        } else {
            self.push(JUMP, 0, 0, u32::try_from(distance).expect("programs are short"))
        }
    }

    /// A return with this fate, shared with an earlier one that is near enough.
    fn answer(&mut self, fate: Fate) -> Place {
        let k = value(fate);
        let shared = self.backwards.iter().rposition(|instruction| instruction.code == RETURN && instruction.k == k);
        match shared {
            Some(place) if self.distance(place) < NEAR => place,
            _ => self.push(RETURN, 0, 0, k),
        }
    }

    fn search(&mut self, line: &[(u32, Leaf)], rules: &[Rule]) -> Place {
        match line {
            [] => unreachable!("the number line is never empty"),
            [(_, Leaf::Answer(fate))] => self.answer(*fate),
            [(_, Leaf::Look(index))] => self.look(&rules[*index]),
            _ => {
                let (low, high) = line.split_at(line.len() / 2);
                let at_least = self.search(high, rules);
                let below = self.search(low, rules);
                self.branch(JUMP_IF_AT_LEAST, high[0].0, at_least, below)
            }
        }
    }

    /// The cases of one rule in order; the first that holds decides.
    fn look(&mut self, rule: &Rule) -> Place {
        let mut next = self.answer(rule.otherwise);
        for case in rule.cases.iter().rev() {
            let mut holds = self.answer(case.fate);
            for condition in case.conditions.iter().rev() {
                let halves = [(0, condition.mask >> 32, condition.value >> 32), (4, condition.mask, condition.value)];
                for (below, mask, wanted) in halves {
                    let (mask, wanted) = (low_half(mask), low_half(wanted));
                    if mask == 0 {
                        continue;
                    }
                    holds = self.branch(JUMP_IF_EQUAL, wanted, holds, next);
                    if mask != u32::MAX {
                        holds = self.push_before(holds, AND, mask);
                    }
                    holds = self.push_before(holds, LOAD, ARGS + 8 * u32::from(condition.arg) + 4 - below);
                }
            }
            next = holds;
        }
        next
    }
}

fn low_half(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).expect("masked to 32 bits")
}

/// What the program returns for a fate: `SECCOMP_RET_ALLOW`, `SECCOMP_RET_ERRNO` with the errno, `SECCOMP_RET_TRAP`,
/// `SECCOMP_RET_KILL_PROCESS`.
pub fn value(fate: Fate) -> u32 {
    match fate {
        Fate::Allow => 0x7fff_0000,
        Fate::Errno(errno) => 0x0005_0000 | u32::from(errno),
        Fate::Trap => 0x0003_0000,
        Fate::Kill => 0x8000_0000,
    }
}

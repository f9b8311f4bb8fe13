//! A second opinion: the same policy compiled by seccompiler, whose authors never saw our compiler, and whose table of
//! system call numbers is not ours.
//!
//! A seccompiler program has two actions, one for the calls it lists and one for all others, so a policy with more
//! fates is a stack of programs. The allow-list goes first and answers everything else with the default; then one
//! program for each other fate, listing what meets it. Where two answer with an errno, the kernel takes the newer one's.
//! All but the last must let the next be installed: the allow-list allows `seccomp`, and the last refuses it.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::bpf::{self, Call, Instruction, Program};
use super::policy::{Case, Condition, Fate, Policy, Rule};

/// System calls of Linux 6.13 to 6.19: seccompiler 0.5.0 has the table of 6.12. `uprobe` it leaves out.
const NEWER: [&str; 9] = [
    "setxattrat",
    "getxattrat",
    "listxattrat",
    "removexattrat",
    "open_tree_attr",
    "file_getattr",
    "file_setattr",
    "listns",
    "uprobe",
];

/// The system call that installs a program.
const INSTALLS: &str = "seccomp";

/// The policy as a stack, in the order of installation.
pub fn stack(policy: &Policy) -> Vec<Program> {
    let mut others = Vec::new();
    for rule in &policy.rules {
        for fate in rule.cases.iter().map(|case| case.fate).chain([rule.otherwise]) {
            if fate != Fate::Allow && fate != policy.default && !others.contains(&fate) {
                others.push(fate);
            }
        }
    }
    let last = policy.rules.iter().find(|rule| rule.name == INSTALLS).map(|rule| rule.otherwise);
    others.sort_by_key(|fate| Some(*fate) == last);
    let allow_list = program(policy, Fate::Allow, policy.default);
    let refusals = others.into_iter().map(|fate| program(policy, fate, Fate::Allow));
    std::iter::once(allow_list).chain(refusals).collect()
}

/// Fails unless each name in our table has the number that seccompiler gives it.
pub fn knows(numbers: &BTreeMap<String, Option<u32>>, arch: &str, audit_arch: u32) {
    let known: Vec<_> = numbers
        .iter()
        .filter_map(|(name, number)| Some((name.as_str(), (*number)?)))
        .filter(|(name, _)| !NEWER.contains(name))
        .collect();
    let filters: serde_json::Map<_, _> = known
        .iter()
        .map(|(name, _)| {
            let only = serde_json::json!([{ "syscall": name }]);
            let filter =
                serde_json::json!({ "mismatch_action": "allow", "match_action": "kill_process", "filter": only });
            ((*name).to_owned(), filter)
        })
        .collect();
    let json = serde_json::Value::Object(filters).to_string();
    let programs = seccompiler::compile_from_json(json.as_bytes(), target(arch))
        .unwrap_or_else(|error| panic!("syscalls.tsv, {arch}: {error}"));
    for (name, number) in known {
        let call = Call { arch: audit_arch, number, args: [0; 6] };
        let answer = bpf::run(&instructions(&programs[name]), &call);
        assert!(answer == value(Fate::Kill), "syscalls.tsv, {arch}: seccompiler does not know {name} as {number}");
    }
}

fn target(arch: &str) -> TargetArch {
    arch.try_into().unwrap_or_else(|error| panic!("{error}"))
}

fn program(policy: &Policy, answer: Fate, to_others: Fate) -> Program {
    let rules: BTreeMap<i64, Vec<SeccompRule>> = policy
        .rules
        .iter()
        .filter_map(|rule| Some((i64::from(rule.number), ways(rule, answer)?)))
        .map(|(number, ways)| (number, ways.into_iter().map(|all| SeccompRule::new(all).expect("not empty")).collect()))
        .collect();
    let compiled: BpfProgram = SeccompFilter::new(rules, action(to_others), action(answer), target(&policy.arch))
        .and_then(TryInto::try_into)
        .unwrap_or_else(|error| panic!("{}, {answer:?}: {error}", policy.variant));
    instructions(&compiled)
}

/// How a call meets this fate: `None` never, an empty list always, else when all conditions of one entry hold.
fn ways(rule: &Rule, fate: Fate) -> Option<Vec<Vec<SeccompCondition>>> {
    if fate == Fate::Allow && rule.name == INSTALLS {
        return Some(Vec::new());
    }
    if rule.cases.is_empty() {
        return (rule.otherwise == fate).then(Vec::new);
    }
    let mut ways: Vec<Vec<_>> = rule
        .cases
        .iter()
        .filter(|case| case.fate == fate)
        .map(|case| case.conditions.iter().map(holds).collect())
        .collect();
    if rule.otherwise == fate {
        // Where a case of this fate holds, the way above has it: what matters is that none of the others does.
        ways.extend(none_holds(rule.cases.iter().filter(|case| case.fate != fate)));
    }
    (!ways.is_empty()).then_some(ways)
}

/// One condition of every case fails.
fn none_holds<'a>(cases: impl Iterator<Item = &'a Case>) -> Vec<Vec<SeccompCondition>> {
    cases.fold(vec![Vec::new()], |ways, case| {
        let failures: Vec<_> = case.conditions.iter().flat_map(fails).collect();
        let with_each = |way: Vec<SeccompCondition>| {
            failures.iter().map(|failure| way.iter().chain([failure]).cloned().collect()).collect::<Vec<_>>()
        };
        ways.into_iter().flat_map(with_each).collect()
    })
}

fn holds(condition: &Condition) -> SeccompCondition {
    compare(condition.arg, condition.mask, condition.value)
}

/// The ways in which a condition fails. seccompiler can say "not equal" of a whole argument, and of a part of it only
/// that one bit is the other way round; that none of the upper bits may be set is "greater" in one.
fn fails(condition: &Condition) -> Vec<SeccompCondition> {
    let Condition { arg, mask, value, .. } = *condition;
    let (length, width) = if mask >> 32 == 0 {
        (SeccompCmpArgLen::Dword, u64::from(u32::MAX))
    } else {
        (SeccompCmpArgLen::Qword, u64::MAX)
    };
    let whole = |operator, value| SeccompCondition::new(arg, length.clone(), operator, value).expect("argument 0 to 5");
    if mask == width {
        return vec![whole(SeccompCmpOp::Ne, value)];
    }
    // Every bit above this one is in the mask.
    let below = u64::MAX >> (!mask & width).leading_zeros();
    let (upper, lower) =
        if value <= below { (Some(whole(SeccompCmpOp::Gt, below)), mask & below) } else { (None, mask) };
    let bits = (0..u64::BITS).map(|bit| 1 << bit).filter(|bit| lower & bit != 0);
    upper.into_iter().chain(bits.map(|bit| compare(arg, bit, !value & bit))).collect()
}

fn compare(arg: u8, mask: u64, value: u64) -> SeccompCondition {
    let length = if mask >> 32 == 0 { SeccompCmpArgLen::Dword } else { SeccompCmpArgLen::Qword };
    SeccompCondition::new(arg, length, SeccompCmpOp::MaskedEq(mask), value).expect("argument 0 to 5")
}

fn action(fate: Fate) -> SeccompAction {
    match fate {
        Fate::Allow => SeccompAction::Allow,
        Fate::Errno(errno) => SeccompAction::Errno(errno.into()),
        Fate::Trap => SeccompAction::Trap,
        Fate::Kill => SeccompAction::KillProcess,
    }
}

fn value(fate: Fate) -> u32 {
    action(fate).into()
}

fn instructions(program: &BpfProgram) -> Program {
    program.iter().map(|one| Instruction { code: one.code, jt: one.jt, jf: one.jf, k: one.k }).collect()
}

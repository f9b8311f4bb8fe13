//! Rules made wrong, one at a time, to see that something turns red: each allowed call and each case without its rule,
//! and each condition on an argument left out.
//!
//! The policy is read and compiled as the build does it, so that a mutant costs a child and not a build. The build can
//! make two of these kinds for good, for the tests that need the whole server: see `MAYFLY_DROP_RULE` in `seccomp/README.md`.

use crate::child::{IMPATIENT, PATIENT, Patience, Sheet};
use crate::compiler::policy::{Fate, Policy, Rule};
use crate::compiler::{self, VARIANTS};
use crate::{Test, Verdict, needs, refusals, test};

/// The name under which [`print`] is asked for.
pub const TABLE: &str = "mutants";

/// Where the table is kept.
const KEPT: &str = include_str!("../../docs/measured/mutants-filter.md");

/// One change for the worse.
struct Mutant {
    /// As the table has it.
    change: String,
    policy: Policy,
    harm: Harm,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// Something that must work is refused: a need turns red.
    Refuses,
    /// Something that must be refused is allowed: a refusal turns red.
    Allows,
}

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for policy in VARIANTS {
        tests.push(test(format!("mutants::{}::each-is-noticed", policy.name), || each_is_noticed(policy.name)));
    }
    tests.push(test("mutants::the-table-has-them-all", the_table_has_them_all));
    tests
}

/// Whether a handler may answer it by case.
fn traps(rule: &Rule) -> bool {
    rule.cases.iter().any(|case| case.fate == Fate::Trap)
}

fn mutants(variant: &str) -> Vec<Mutant> {
    let policy = compiler::written(variant);
    let mut mutants = Vec::new();
    for (index, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| rule.allows() || traps(rule)) {
        let name = &rule.name;
        mutants.push(Mutant {
            change: format!("no rule for `{name}`"),
            policy: policy.clone().without(name),
            harm: Harm::Refuses,
        });
        if !rule.cases.is_empty() {
            let policy = policy.clone().loosened(name);
            mutants.push(Mutant { change: format!("`{name}` with any arguments"), policy, harm: Harm::Allows });
        }
        for (number, case) in rule.cases.iter().enumerate() {
            let told: Vec<_> = case.conditions.iter().map(|condition| condition.written.as_str()).collect();
            let told = told.join(" and ");
            // Where a rule has one case, the rule without it is the mutant before.
            if rule.cases.len() > 1 {
                let mut changed = policy.clone();
                changed.rules[index].cases.remove(number);
                let refuses = matches!(case.fate, Fate::Errno(1..));
                mutants.push(Mutant {
                    change: format!("`{name}` without the case {told}"),
                    policy: changed,
                    harm: if refuses { Harm::Allows } else { Harm::Refuses },
                });
            }
            // A case that answers without executing lets nothing in, however wide it is; a rule of one condition is above.
            let conditions: usize = rule.cases.iter().map(|case| case.conditions.len()).sum();
            if case.fate != Fate::Allow || conditions == 1 {
                continue;
            }
            for (place, condition) in case.conditions.iter().enumerate() {
                let mut changed = policy.clone();
                changed.rules[index].cases[number].conditions.remove(place);
                let change = if case.conditions.len() == 1 {
                    format!("`{name}` with any arguments by the case {told}")
                } else {
                    format!("`{name}` in the case {told}, but for “{}”", condition.written)
                };
                mutants.push(Mutant { change, policy: changed, harm: Harm::Allows });
            }
        }
    }
    mutants
}

/// The tests that the mutant turns red.
fn red(mutant: &Mutant, patience: Patience, sheet: &Sheet) -> Vec<String> {
    let filter = compiler::compiled(&mutant.policy);
    let variant = &mutant.policy.variant;
    match mutant.harm {
        Harm::Refuses => needs::NEEDS
            .iter()
            .filter(|need| need.under <= needs::Files::of(variant))
            .filter(|need| needs::met(patience, sheet, &filter, need).is_err())
            .map(|need| format!("needs: {}", need.name))
            .collect(),
        Harm::Allows => refusals::red(&filter, variant),
    }
}

fn each_is_noticed(variant: &str) -> Verdict {
    let sheet = Sheet::new();
    let unmutated = Mutant { change: "nothing".to_owned(), policy: compiler::written(variant), harm: Harm::Refuses };
    let before = red(&unmutated, PATIENT, sheet);
    if !before.is_empty() {
        return Err(format!("red with nothing changed: {before:?}"));
    }
    let unnoticed: Vec<_> = mutants(variant)
        .into_iter()
        .filter(|mutant| red(mutant, IMPATIENT, sheet).is_empty())
        .map(|mutant| mutant.change)
        .collect();
    if unnoticed.is_empty() { Ok(()) } else { Err(format!("nothing turns red for:\n{}", unnoticed.join("\n"))) }
}

/// On the architecture that the table was made on.
fn the_table_has_them_all() -> Verdict {
    if !cfg!(target_arch = "x86_64") {
        return Ok(());
    }
    let missing: Vec<_> = VARIANTS
        .iter()
        .flat_map(|policy| mutants(policy.name))
        .map(|mutant| mutant.change)
        .filter(|change| !KEPT.contains(&format!("| {} |", in_a_cell(change))))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("run tools/mutants_filter.sh: the table lacks\n{}", missing.join("\n")))
    }
}

fn in_a_cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Writes the table to standard output; an error where a mutant went unnoticed.
pub fn print() -> Verdict {
    let sheet = Sheet::new();
    let mut unnoticed = 0;
    // The same change to another policy is one line with it where it turns the same red.
    let mut lines: Vec<(String, String, Vec<&str>)> = Vec::new();
    for policy in VARIANTS {
        for mutant in mutants(policy.name) {
            let red = red(&mutant, IMPATIENT, sheet).join(", ");
            unnoticed += usize::from(red.is_empty());
            match lines.iter_mut().find(|line| line.0 == mutant.change && line.1 == red) {
                Some(line) => line.2.push(policy.name),
                None => lines.push((mutant.change, red, vec![policy.name])),
            }
        }
    }
    print!("{ABOUT}");
    for (change, red, policies) in lines {
        let red = if red.is_empty() { "**nothing**" } else { &red };
        println!("| {} | {red} | {} |", in_a_cell(&change), policies.join(", "));
    }
    if unnoticed == 0 { Ok(()) } else { Err(format!("{unnoticed} changes turn nothing red")) }
}

const ABOUT: &str = "\
# What notices a wrong filter

Made on x86_64 with glibc 2.36. Each line is one change to a policy of `seccomp/`, compiled as the
build does it and put in force for the tests of `tests/filter`: for what must work (`needs`) where the change refuses something,
for what must be refused (`refusals`) where it allows something. `cargo test --test filter -- mutants` fails if a change turns
nothing red. Beside these, `numbers` and `library` fail for any difference between the files and the filter that is built in.

| change | turns red | policies |
|---|---|---|
";

//! What the library holds is what the policy files say, and what is installed is one program of it.

use crate::child::{self, Sheet};
use crate::compiler::{self, VARIANTS, compile, policy, prove};
use crate::{Test, Verdict, test};
use mayfly::jail::filter::{self, Fate};
use mayfly::sys;
use std::fmt::Debug;
use std::fs::File;
use std::io::{Read, Write};

/// The most system calls that a policy may allow.
const MOST_ALLOWED: usize = 40;

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for policy in VARIANTS {
        let name = policy.name;
        tests.push(test(format!("library::{name}::is-what-the-files-say"), move || is_what_the_files_say(policy)));
        tests.push(test(format!("library::{name}::allows-at-most-forty"), move || allows_at_most_forty(policy)));
        tests.push(test(format!("library::{name}::every-rule-says-why"), move || every_rule_says_why(policy)));
        tests.push(test(format!("library::{name}::one-filter-is-installed"), move || one_filter_is_installed(policy)));
    }
    tests
}

fn is_what_the_files_say(policy: &filter::Policy) -> Verdict {
    let written = compiler::written(policy.name);
    let plain = |one: &libc::sock_filter| (one.code, one.jt, one.jf, one.k);
    let program = compile::program(&written);
    prove::behaves(&written, &program);
    let compiled = compiler::installable(&program);
    same("the program", policy.filter.iter().map(plain), compiled.iter().map(plain))?;
    same("the default", [policy.default], [fate(written.default)])?;
    same(
        "the rules",
        policy.rules.iter().map(|rule| (rule.number, rule.name, rule.comment, rule.otherwise, rule.cases.len())),
        written.rules.iter().map(|rule| {
            (rule.number, rule.name.as_str(), rule.comment.as_str(), fate(rule.otherwise), rule.cases.len())
        }),
    )
}

fn fate(fate: policy::Fate) -> Fate {
    match fate {
        policy::Fate::Allow => Fate::Allow,
        policy::Fate::Errno(errno) => Fate::Errno(errno.into()),
        policy::Fate::Trap => Fate::Trap,
        policy::Fate::Kill => Fate::Kill,
    }
}

fn same<T: PartialEq + Debug>(
    what: &str,
    ours: impl IntoIterator<Item = T>,
    wanted: impl IntoIterator<Item = T>,
) -> Verdict {
    let (ours, wanted): (Vec<_>, Vec<_>) = (ours.into_iter().collect(), wanted.into_iter().collect());
    if ours == wanted { Ok(()) } else { Err(format!("{what}: {ours:?} is built, {wanted:?} is written")) }
}

fn allows_at_most_forty(policy: &filter::Policy) -> Verdict {
    let allowed = policy.allowed().count();
    if allowed <= MOST_ALLOWED { Ok(()) } else { Err(format!("{allowed} system calls are allowed")) }
}

fn every_rule_says_why(policy: &filter::Policy) -> Verdict {
    let silent: Vec<_> = policy.rules.iter().filter(|rule| rule.comment.len() < 8).map(|rule| rule.name).collect();
    if silent.is_empty() { Ok(()) } else { Err(format!("no reason is given for {silent:?}")) }
}

/// The kernel says so, to others: nothing in the jail can read it.
fn one_filter_is_installed(policy: &'static filter::Policy) -> Verdict {
    let before = status_of("self")?;
    let (mut ready, readied) = child::pipe()?;
    let (go, mut let_go) = child::pipe()?;
    let sheet = Sheet::new();
    let pid = child::fork(child::PATIENT, sheet, move || {
        filter::install(policy).map_err(|errno| errno.to_string())?;
        let (mut readied, mut go) = (readied, go);
        readied.write_all(b"!").map_err(|error| error.to_string())?;
        go.read_exact(&mut [0]).map_err(|error| error.to_string())
    });
    ready.read_exact(&mut [0]).map_err(|error| format!("the filter was not installed: {error}"))?;
    let after = status_of(&pid.to_string());
    let_go.write_all(b"!").map_err(|error| error.to_string())?;
    sys::reap(pid).map_err(|errno| errno.to_string())?;
    let expected = Status { no_new_privs: 1, mode: 2, filters: before.filters + 1 };
    let after = after?;
    if after == expected { Ok(()) } else { Err(format!("{after:?}, and {before:?} outside")) }
}

#[derive(PartialEq, Debug)]
struct Status {
    no_new_privs: u32,
    mode: u32,
    filters: u32,
}

fn status_of(process: &str) -> Result<Status, String> {
    let mut text = String::new();
    File::open(format!("/proc/{process}/status"))
        .and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|error| format!("/proc/{process}/status: {error}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.trim().parse().ok()).ok_or(format!("no {name} in /proc/{process}/status"))
    };
    Ok(Status { no_new_privs: field("NoNewPrivs")?, mode: field("Seccomp")?, filters: field("Seccomp_filters")? })
}

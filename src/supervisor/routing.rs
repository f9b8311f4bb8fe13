//! Which zygote a script goes to: a cheap look at the names it mentions.
//!
//! Runs in the supervisor. A wrong guess costs time, never correctness: what was not preloaded is imported from files.

use crate::children::pool::Pool;
use crate::children::pools::Pools;
use std::collections::BTreeSet;

/// Standard modules that the loaded zygote has beside the packages, and the lean one has not. Importing them takes 2 to 25 ms, but
/// in the lean zygote each would make every child slower to make, also for scripts that need none.
pub(crate) const STANDARD_WHEN_LOADED: [&str; 10] =
    ["asyncio", "concurrent", "hashlib", "logging", "pathlib", "secrets", "sqlite3", "tempfile", "uuid", "zoneinfo"];

/// The importable modules that a script's text mentions as whole words, be it in an import or in a string.
#[must_use]
pub fn named(script: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    // A script that imports nothing, most short ones, needs no look at each word.
    if !script.contains("import") {
        return BTreeSet::new();
    }
    script
        .split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
        .filter(|word| modules.contains(*word))
        .map(str::to_owned)
        .collect()
}

/// The pool for a script that names modules which only the heavier pools have, or none. A wrong guess costs time alone, so while
/// one of them is not warm the others serve; but an import that would have to be made anew in each child is waited for.
#[must_use]
pub fn choose(names_heavy: bool, pools: &Pools) -> &Pool {
    let (lightest, heaviest) = (pools.lightest(), pools.heaviest());
    if names_heavy {
        return if heaviest.has_failed() { lightest } else { heaviest };
    }
    if lightest.is_warm() || !heaviest.is_warm() { lightest } else { heaviest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(script: &str, expected: &[&str]) {
        let modules = ["numpy", "pandas"].map(str::to_owned).into();
        let found: Vec<String> = named(script, &modules).into_iter().collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn modules_are_found_wherever_they_are_named() {
        check("import numpy as np", &["numpy"]);
        check("from pandas.core import x\nimport numpy", &["numpy", "pandas"]);
        check("m = __import__('numpy')", &["numpy"]);
        check("import numpyx", &[]);
        check("def main():\n    return 'numpy'", &[]);
    }
}

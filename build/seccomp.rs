//! Compiles the reviewed policies of `seccomp/` into static BPF programs. Runs in the build script, nowhere else:
//! nothing is parsed at run time and no policy file is needed beside the binary.
//!
//!     seccomp/*.json, syscalls.tsv → policy (names, cases) → compile (one program) → prove (interpret it) → emit (Rust)
//!
//! Why not seccompiler: it gives a program two actions, so a policy with the fates allow, EACCES, EPERM, ENOTTY, ENOSYS
//! and kill is a stack of programs, each a linear list in number order. The kernel pays for that at installation, where it
//! runs every program once for every system call number to fill its cache of constant answers: a stack of four took
//! 450–1000 µs per child on the development machine, one binary search with all fates 50–110 µs (Linux 6.18, 300 forks each).
//! What a well-known compiler would have given, trust in its output, comes from `prove`: the build fails unless the
//! program, interpreted, answers as the policy does for every number and for every bit of every argument that matters.

use std::path::Path;
use std::{env, fs};

#[path = "seccomp/compile.rs"]
mod compile;
#[path = "seccomp/emit.rs"]
mod emit;
#[path = "seccomp/policy.rs"]
mod policy;
#[path = "seccomp/prove.rs"]
mod prove;

use policy::Policy;

/// The policies: each is `common.json` and the overlay of this name.
const VARIANTS: [&str; 3] = ["full", "read_only", "no_files"];

/// At most this many system calls may be allowed by a policy, with or without conditions on arguments.
const MOST_ALLOWED: usize = 40;

/// Removes the rule of this system call, so that it meets the default. For the mutation run; a release build refuses it.
const DROP_RULE: &str = "MAYFLY_DROP_RULE";
/// Allows this system call whatever its arguments. For the mutation run; a release build refuses it.
const LOOSEN_RULE: &str = "MAYFLY_LOOSEN_RULE";

/// Writes `out_dir/filters.rs` for `arch` (as in CARGO_CFG_TARGET_ARCH). Reads `seccomp/` under CARGO_MANIFEST_DIR.
///
/// # Panics
/// When a policy is wrong (unknown name, rule given twice, too many allowed), when the compiled program does not behave as
/// the policy says, or when a mutation is asked of a release build. A build script has no better way to say no.
pub fn generate(out_dir: &Path, arch: &str) {
    let source = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR")).join("seccomp");
    println!("cargo::rerun-if-changed={}", source.display());
    println!("cargo::rerun-if-changed=build");

    let dropped = mutation(DROP_RULE);
    let loosened = mutation(LOOSEN_RULE);
    let mut out = String::from(emit::TYPES);
    for variant in VARIANTS {
        let mut policy = policy::load(&source, variant, arch);
        let allowed = policy.allowed();
        assert!(
            allowed <= MOST_ALLOWED,
            "{variant}/{arch}: {allowed} system calls allowed, at most {MOST_ALLOWED} may be"
        );
        if let Some(name) = &dropped {
            drop_rule(&mut policy, name);
        }
        if let Some(name) = &loosened {
            loosen_rule(&mut policy, name);
        }
        let program = compile::program(&policy);
        prove::behaves(&policy, &program);
        emit::policy(&mut out, &policy, &program);
    }
    fs::write(out_dir.join("filters.rs"), out).expect("the build directory is writable");
}

fn mutation(variable: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={variable}");
    let name = env::var(variable).ok()?;
    assert!(
        env::var("PROFILE").as_deref() != Ok("release"),
        "{variable} is set: a release build has no weakened filter"
    );
    println!("cargo::warning={variable}={name}: this build's filter is deliberately wrong");
    Some(name)
}

fn drop_rule(policy: &mut Policy, name: &str) {
    let before = policy.rules.len();
    policy.rules.retain(|rule| rule.name != name);
    assert!(policy.rules.len() < before, "{DROP_RULE}: there is no rule for {name}");
}

fn loosen_rule(policy: &mut Policy, name: &str) {
    let rule = policy.rules.iter_mut().find(|rule| rule.name == name);
    let rule = rule.unwrap_or_else(|| panic!("{LOOSEN_RULE}: there is no rule for {name}"));
    rule.cases.clear();
    rule.otherwise = policy::Fate::Allow;
}

//! Compiles the reviewed policies of `seccomp/` into static BPF programs. Runs in the build script, nowhere else:
//! nothing is parsed at run time and no policy file is needed beside the binary.
//!
//!     seccomp/*.json, syscalls.tsv → policy (names, cases) → compile (one program) ─┬→ prove (interpret both) → emit (Rust)
//!                                                          → oracle (seccompiler)  ─┘
//!
//! Why seccompiler is the judge and not the compiler of what is shipped: it gives a program two actions, so a policy with
//! the fates allow, trap, EACCES, EPERM, ENOTTY, ENOSYS and kill is a stack of programs, each a list that is searched from its
//! beginning. The kernel pays for that in every child, at installation, where it runs each program for every system
//! call number to fill its cache of constant answers; `seccomp/README.md` has the measurement. One binary search with all
//! fates is cheap, but written here, and a compiler that nobody else uses deserves no trust: so the build interprets
//! both, and fails unless they agree with each other and with the policy.

use std::path::Path;
use std::{env, fs};

#[path = "seccomp/bpf.rs"]
mod bpf;
#[path = "seccomp/compile.rs"]
mod compile;
#[path = "seccomp/emit.rs"]
mod emit;
#[path = "seccomp/oracle.rs"]
mod oracle;
#[path = "seccomp/policy.rs"]
mod policy;
#[path = "seccomp/prove.rs"]
mod prove;

/// The policies: each is `common.json` and the overlay of this name.
const VARIANTS: [&str; 4] = ["full", "read_only", "beneath", "no_files"];

/// The architectures: each build checks both, and writes its own.
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

/// At most this many system calls may be allowed by a policy, with or without conditions on arguments.
const MOST_ALLOWED: usize = 40;

/// Removes the rule of this system call, so that it meets the default. For the mutation run; a release build refuses it.
const DROP_RULE: &str = "MAYFLY_DROP_RULE";
/// Allows this system call whatever its arguments. For the mutation run; a release build refuses it.
const LOOSEN_RULE: &str = "MAYFLY_LOOSEN_RULE";

/// Writes `out_dir/filters.rs` for `arch` (as in `CARGO_CFG_TARGET_ARCH`). Reads `seccomp/` under `CARGO_MANIFEST_DIR`.
///
/// # Panics
/// When a policy is wrong (unknown name, rule given twice, too many allowed), when the compiled program does not behave as
/// the policy and seccompiler say, or when a mutation is asked of a release build. A build script has no better way to
/// say no.
pub fn generate(out_dir: &Path, arch: &str) {
    let source = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR")).join("seccomp");
    println!("cargo::rerun-if-changed={}", source.display());
    println!("cargo::rerun-if-changed=build");

    let dropped = mutation(DROP_RULE);
    let loosened = mutation(LOOSEN_RULE);
    let mut out = String::from(emit::TYPES);
    for built in ARCHITECTURES {
        oracle::knows(&policy::numbers(&source, built), built, policy::audit_arch(built));
        for variant in VARIANTS {
            let mut policy = policy::load(&source, variant, built);
            let allowed = policy.allowed();
            assert!(
                allowed <= MOST_ALLOWED,
                "{variant}/{built}: {allowed} system calls allowed, at most {MOST_ALLOWED} may be"
            );
            if built == arch {
                policy = dropped.iter().fold(policy, |policy, name| policy.without(name));
                policy = loosened.iter().fold(policy, |policy, name| policy.loosened(name));
            }
            let program = compile::program(&policy);
            prove::behaves(&policy, &program);
            if built == arch {
                emit::policy(&mut out, &policy, &program);
            }
        }
    }
    assert!(ARCHITECTURES.contains(&arch), "there is no seccomp policy for {arch}");
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

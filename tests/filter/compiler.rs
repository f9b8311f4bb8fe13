//! The build's own policy reader and compilers, so that a test can make the program of a policy that was changed.

#[path = "../../build/seccomp/bpf.rs"]
pub mod bpf;
#[path = "../../build/seccomp/compile.rs"]
pub mod compile;
#[path = "../../build/seccomp/oracle.rs"]
#[expect(dead_code, reason = "the table of numbers is compared by the build alone")]
pub mod oracle;
#[path = "../../build/seccomp/policy.rs"]
#[expect(dead_code, reason = "the build alone counts what is allowed, and looks up a fate by the policy it read")]
pub mod policy;
#[path = "../../build/seccomp/prove.rs"]
pub mod prove;

use mayfly::jail::filter;
use std::path::Path;
use std::sync::LazyLock;

/// The policies as the library has them.
pub const VARIANTS: [&filter::Policy; 4] = [&filter::FULL, &filter::READ_ONLY, &filter::BENEATH, &filter::NO_FILES];

/// What the kernel takes.
pub type Filter = Vec<libc::sock_filter>;

/// The policies as the files say it, read while the files are in reach: the checkout may lie in a directory that is closed to
/// whom a test becomes.
static WRITTEN: LazyLock<Vec<policy::Policy>> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("seccomp");
    VARIANTS.iter().map(|policy| policy::load(&source, policy.name, std::env::consts::ARCH)).collect()
});

/// Reads the policies, for a process that is about to give up its privileges.
pub fn read_policies() {
    LazyLock::force(&WRITTEN);
}

/// The policy of this name, as the files say it.
pub fn written(variant: &str) -> policy::Policy {
    let place = VARIANTS.iter().position(|policy| policy.name == variant).expect("a variant's name");
    WRITTEN[place].clone()
}

/// Its program.
pub fn compiled(policy: &policy::Policy) -> Filter {
    installable(&compile::program(policy))
}

/// A program in the kernel's form.
pub fn installable(program: &[bpf::Instruction]) -> Filter {
    program.iter().map(|one| libc::sock_filter { code: one.code, jt: one.jt, jf: one.jf, k: one.k }).collect()
}

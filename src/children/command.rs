//! The command line and the environment that a zygote process, or a cold child, is started with.
//!
//! Runs in the supervisor.

use crate::jail::Plan;
use crate::layer::Layer;
use crate::level::Level;
use crate::log::stderr_of_others;
use crate::orders::Role;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a zygote process needs besides its plan: environment variables that libraries read when they are loaded. One thread
/// each, or a fork would lose the others; one malloc arena, or each thread would reserve 64 MiB of the child's
/// address space.
pub const ENVIRONMENT: [(&str, &str); 14] = [
    // glibc ends a process whose thread can't register rseq, and the filter refuses it.
    ("GLIBC_TUNABLES", "glibc.pthread.rseq=0"),
    ("HOME", "/tmp"),
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
    // Bound late, each function's first call would write to a page in every child.
    ("LD_BIND_NOW", "1"),
    ("MALLOC_ARENA_MAX", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("NUMEXPR_NUM_THREADS", "1"),
    ("OMP_NUM_THREADS", "1"),
    ("OPENBLAS_NUM_THREADS", "1"),
    ("PATH", "/usr/bin"),
    ("TMPDIR", "/tmp"),
    ("TZ", "UTC"),
    ("USER", "mayfly"),
];

/// The command of a zygote process, `mayfly zygote` or `mayfly child`, with a clean environment.
#[must_use]
pub fn command(plan: &Plan, role: &Role) -> Command {
    let name = if matches!(role, Role::Cold { .. }) { "child" } else { "zygote" };
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(name)
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr_of_others());
    if plan.faults.leaves_out(Layer::CleanEnvironment) {
        command.envs(std::env::vars_os());
    }
    if plan.level == Level::Seccomp && !plan.paths.chroot {
        // Without a root of its own, libraries that packages need are found by this alone.
        command.env("LD_LIBRARY_PATH", library_path(&plan.root));
    }
    command
}

fn library_path(root: &Path) -> String {
    let multiarch = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    root.join(multiarch).display().to_string()
}

//! A process for one test: this program again, with one thread, an empty directory to work in and no privilege.

use crate::compiler;
use crate::{Verdict, cost, mutants, tests};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// `--alone NAME` runs the test of this name right here.
pub const FLAG: &str = "--alone";

/// The user that a root process becomes, so that a filter that lets something through harms nobody.
const NOBODY: u32 = 65_534;

/// Whether the test of this name passes in a process of its own.
pub fn passes(name: &str) -> Verdict {
    let Output { status, stdout, stderr } = spawn(name)?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{status}\n{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// Prints the table of this name.
pub fn print(table: &str) -> ExitCode {
    match spawn(table) {
        Ok(Output { status, stdout, stderr }) => {
            eprint!("{}", String::from_utf8_lossy(&stderr));
            print!("{}", String::from_utf8_lossy(&stdout));
            ExitCode::from(u8::from(!status.success()))
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn spawn(name: &str) -> Result<Output, String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("filter-{}-{number}", std::process::id()));
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).map_err(|error| error.to_string())?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args([FLAG, name])
        .current_dir(&directory)
        // As the zygote's environment has it: glibc ends a process whose new thread can't register rseq.
        .env("GLIBC_TUNABLES", "glibc.pthread.rseq=0")
        .output()
        .map_err(|error| error.to_string());
    fs::remove_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    output
}

/// Runs the test or prints the table of this name.
pub fn run(name: &str) -> ExitCode {
    compiler::read_policies();
    let verdict = become_nobody().and_then(|()| match name {
        mutants::TABLE => mutants::print(),
        cost::TABLE => cost::print(),
        _ => {
            tests().iter().find(|test| test.name == name).map_or(Err("no such test".to_owned()), |test| (test.check)())
        }
    });
    match verdict {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn become_nobody() -> Verdict {
    use nix::sys::resource::{Resource, setrlimit};
    use nix::unistd::{Gid, Uid, getuid, setgroups, setresgid, setresuid};
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let all = || {
        // Many children here are meant to die, and their memory is nothing to look into.
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        if getuid().is_root() {
            setgroups(&[])?;
            setresgid(group, group, group)?;
            setresuid(user, user, user)?;
        }
        nix::sys::prctl::set_no_new_privs()
    };
    all().map_err(|errno| format!("giving up privileges: {errno}"))
}

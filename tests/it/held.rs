//! What slow readers hold adds up to a share of the memory and no more, and who asks for little is served meanwhile.

use driver::client::Connection;
use driver::lone_tests;
use driver::server::{Setup, program};
use libtest_mimic::Trial;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub fn trials() -> Vec<Trial> {
    lone_tests![slow_readers_hold_a_share_of_the_memory]
}

/// The program, in a mount namespace where the files of the control group say what they are made to.
pub struct SmallMachine(pub PathBuf);

impl SmallMachine {
    /// `files`: each file's name and the number in it.
    pub fn new(files: &[(&str, u64)]) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mayfly-small-machine-{}-{number}", std::process::id()));
        let written = files.iter().map(|(name, number)| format!("echo {number} > /sys/fs/cgroup/{name} && "));
        let inside = format!("mount -t tmpfs none /sys/fs/cgroup && {}exec \"$0\" \"$@\"", written.collect::<String>());
        let as_root = if nix::unistd::geteuid().is_root() { "" } else { "--user --map-root-user" };
        let program = program();
        let text = format!(
            "#!/bin/sh\nexec unshare {as_root} --mount --propagation private sh -c '{inside}' '{}' \"$@\"\n",
            program.display()
        );
        // Not written by this process: a program that another test starts just then would have it open, and it could not be executed.
        let mut install = Command::new("install");
        install.args(["-m", "755", "/dev/stdin"]).arg(&path).stdin(Stdio::piped());
        let mut install = install.spawn().expect("install can be started");
        install.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
        assert!(install.wait().expect("a child of ours").success(), "{} can be made", path.display());
        Self(path)
    }
}

impl Drop for SmallMachine {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn slow_readers_hold_a_share_of_the_memory() {
    const READERS: usize = 12;
    let program = SmallMachine::new(&[("memory.max", 128 << 20)]);
    let settings = [("MAYFLY_PRELOAD", ""), ("MAYFLY_BODY_MS", "60000"), ("MAYFLY_CONCURRENCY", "4")];
    let server = Setup::new(&settings).with_program(program.0.clone()).start();
    // 6 MiB as JSON each: a control character takes six bytes.
    let script = "import sys\ndef main():\n    sys.stdout.write('\\x01' * (1 << 20))";
    let request = json!({ "script": script, "include": ["stdout"], "limits": { "output_bytes": 1 << 20 } }).to_string();
    let mut readers: Vec<Connection> = (0..READERS).map(|_| server.connect()).collect();
    for reader in &mut readers {
        let head = format!(
            "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            request.len()
        );
        reader.send(head.as_bytes()).expect("sent");
        reader.send(request.as_bytes()).expect("sent");
    }
    let lines = || server.log().lines().into_iter().filter(|line| line.contains("/execute")).collect::<Vec<_>>();
    driver::server::eventually("all have run", || lines().len() == READERS);
    // Who asks for little is served while nobody takes those.
    let answer = server.execute(&json!({ "script": "def main():\n    return 1" }));
    assert_eq!((answer.status, answer.json()), (200, json!({ "result": 1 })));
    let statuses: Vec<u16> =
        readers.iter_mut().map(|reader| reader.answer().map(|answer| answer.status).expect("an answer")).collect();
    let answered = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 503).count();
    // A quarter of 128 MiB holds five, and the one over which it was full.
    assert!((1..=7).contains(&answered) && answered + refused == READERS, "{statuses:?}");
    assert!(lines().iter().any(|line| line.contains("no_room")), "{:?}", lines());
    let after =
        server.execute(&json!({ "script": script, "include": ["stdout"], "limits": { "output_bytes": 1 << 20 } }));
    assert_eq!(after.status, 200, "there is room again");
}

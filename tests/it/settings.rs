//! The settings: each has its effect, and a bad one ends the start.

use driver::places::expected;
use driver::server::{Server, Setup, manifest};
use driver::tests;
use libtest_mimic::Trial;
use mayfly::config::SETTINGS;
use serde_json::json;
use std::fs;
use std::time::Duration;

pub fn trials() -> Vec<Trial> {
    tests![
        a_bad_value_is_78_and_one_line,
        a_misspelt_name_is_in_the_log,
        an_isolation_that_cannot_be_had_is_78,
        an_address_in_use_is_78,
        a_flag_wins_over_the_environment,
        port_sets_the_port_on_all_addresses,
        listen_wins_over_port,
        capabilities_tell_the_settings_in_force,
        a_preload_that_fails_is_no_reason_not_to_serve,
        what_a_preload_writes_is_in_the_log_and_in_no_answer,
        packages_can_lie_elsewhere,
    ]
}

/// Ends with this status and one line that holds these pieces.
#[track_caller]
fn is_refused(setup: &Setup, arguments: &[&str], status: i32, pieces: &[&str]) {
    let output = setup.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{arguments:?}: {said}");
    for piece in pieces {
        assert!(said.contains(piece), "{arguments:?}: {piece:?} is not in {said}");
    }
}

fn a_bad_value_is_78_and_one_line() {
    let cases = [
        ("MAYFLY_LISTEN", "nowhere"),
        ("MAYFLY_LISTEN", "127.0.0.1"),
        ("MAYFLY_LISTEN", "127.0.0.1:70000"),
        ("PORT", "http"),
        ("PORT", "65536"),
        ("MAYFLY_HOSTS", "exa mple"),
        ("MAYFLY_PROXIES", "proxy.example"),
        ("MAYFLY_PROXIES", "10.0.0.7/8"),
        ("MAYFLY_ISOLATION", "none"),
        ("MAYFLY_ISOLATION", "Full"),
        ("MAYFLY_ISOLATION", ""),
        ("MAYFLY_START", "hot"),
        ("MAYFLY_PRELOAD", "numpy;pandas"),
        ("MAYFLY_PRELOAD", "../numpy"),
        ("MAYFLY_PACKAGES", "/does/not/exist"),
        ("MAYFLY_ROOT", "/does/not/exist"),
        ("MAYFLY_ROOT", "/usr"),
        ("MAYFLY_WALL_MS", "0"),
        ("MAYFLY_WALL_MS", "-5"),
        ("MAYFLY_WALL_MS", "5s"),
        ("MAYFLY_WALL_MS", "99999999999999999999"),
        ("MAYFLY_CPU_MS", "1.5"),
        ("MAYFLY_MEMORY_MB", "0"),
        ("MAYFLY_MEMORY_MB", "256MB"),
        ("MAYFLY_OUTPUT_BYTES", "many"),
        ("MAYFLY_RESULT_BYTES", "0"),
        ("MAYFLY_SCRIPT_BYTES", "10KB"),
        ("MAYFLY_BODY_BYTES", "0"),
        ("MAYFLY_BODY_BYTES", "33554432"),
        ("MAYFLY_MAX_WALL_MS", "x"),
        ("MAYFLY_MAX_CPU_MS", "x"),
        ("MAYFLY_MAX_MEMORY_MB", "x"),
        ("MAYFLY_MAX_OUTPUT_BYTES", "x"),
        ("MAYFLY_TMP_MB", "0"),
        ("MAYFLY_CONCURRENCY", "0"),
        ("MAYFLY_QUEUE", "-1"),
        ("MAYFLY_READY", "0"),
        ("MAYFLY_REFILL", "sometimes"),
        ("MAYFLY_RENEW_FORKS", "0"),
        ("MAYFLY_RENEW_MINUTES", "0"),
        ("MAYFLY_CONNECTIONS", "0"),
        ("MAYFLY_HEADER_MS", "0"),
        ("MAYFLY_BODY_MS", "0"),
        ("MAYFLY_IDLE_MS", "0"),
        ("MAYFLY_DRAIN_MS", "-1"),
        ("MAYFLY_LOG", "xml"),
        ("MAYFLY_ARGV_COUNT", "few"),
        ("MAYFLY_ARGV_BYTES", "64KB"),
        ("MAYFLY_ENV_COUNT", "-1"),
        ("MAYFLY_ENV_BYTES", "64KB"),
        ("MAYFLY_FILES", "all"),
        ("MAYFLY_FILES_DEPTH", "deep"),
        ("MAYFLY_FILE_BYTES", "8MB"),
        ("MAYFLY_FILES_BYTES", "12MB"),
    ];
    for (name, value) in cases {
        is_refused(&Setup::new(&[(name, value)]), &["serve"], 78, &[name, value]);
    }
    let named: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
    let forgotten: Vec<&str> =
        SETTINGS.iter().map(|setting| setting.name).filter(|name| !named.contains(name)).collect();
    assert_eq!(forgotten, [""; 0], "settings without a bad value here");
}

fn a_misspelt_name_is_in_the_log() {
    let settings =
        [("MAYFLY_PRELOAD", ""), ("MAYFLY_ISOLATON", "full"), ("MAYFLY_PORT_8080_TCP", "tcp://10.0.0.1:8080")];
    let server = Setup::new(&settings).start();
    let line = server.log().wait_for(|line| line.contains("misspelt"), Duration::from_secs(10));
    assert!(line.is_some_and(|line| line.contains("MAYFLY_ISOLATON")), "{:?}", server.log().lines());
    assert!(!server.log().lines().iter().any(|line| line.contains("PORT_8080")), "what Kubernetes sets is no setting");
}

fn an_isolation_that_cannot_be_had_is_78() {
    let setup = Setup::new(&[("PATH", "/nowhere"), ("MAYFLY_ISOLATION", "nsjail")]);
    is_refused(&setup, &["serve", "--listen", "127.0.0.1:0"], 78, &["nsjail", "doctor"]);
}

fn an_address_in_use_is_78() {
    let server = Server::start(&[("MAYFLY_PRELOAD", "")]);
    let address = server.address().to_string();
    is_refused(&Setup::new(&[]), &["serve", "--listen", &address], 78, &[&address, "--listen"]);
}

fn a_flag_wins_over_the_environment() {
    is_refused(
        &Setup::new(&[("MAYFLY_WALL_MS", "1000")]),
        &["serve", "--wall-ms", "soon"],
        78,
        &["MAYFLY_WALL_MS", "soon"],
    );
    let flags: Vec<String> = SETTINGS.iter().map(|setting| format!("--{}", setting.flag())).collect();
    let help = Setup::new(&[]).run(&["serve", "--help"]);
    let help = String::from_utf8_lossy(&help.stdout);
    for (flag, setting) in flags.iter().zip(SETTINGS) {
        assert!(help.contains(flag), "{flag} is not in the help");
        assert!(help.contains(setting.name) && help.contains(setting.default), "{} is not in the help", setting.name);
    }
}

fn port_sets_the_port_on_all_addresses() {
    let server = Server::start(&[("PORT", "0"), ("MAYFLY_PRELOAD", "")]);
    assert!(server.address().ip().is_unspecified(), "{}", server.address());
}

fn listen_wins_over_port() {
    let server = Server::start(&[("PORT", "1"), ("MAYFLY_LISTEN", "127.0.0.1:0"), ("MAYFLY_PRELOAD", "")]);
    assert!(server.address().ip().is_loopback(), "{}", server.address());
}

fn capabilities_tell_the_settings_in_force() {
    let server = Server::start(&[
        ("MAYFLY_WALL_MS", "70000"),
        ("MAYFLY_CPU_MS", "1500"),
        ("MAYFLY_MEMORY_MB", "128"),
        ("MAYFLY_OUTPUT_BYTES", "100"),
        ("MAYFLY_MAX_MEMORY_MB", "512"),
        ("MAYFLY_SCRIPT_BYTES", "2048"),
        ("MAYFLY_RESULT_BYTES", "4096"),
        ("MAYFLY_CONCURRENCY", "3"),
        ("MAYFLY_QUEUE", "7"),
        ("MAYFLY_PRELOAD", "numpy"),
    ]);
    let told = server.get("/capabilities").json();
    let wall = json!({ "wall_ms": 70_000, "cpu_ms": 1500, "memory_mb": 128, "output_bytes": 100 });
    assert_eq!(told["limits"], wall);
    // A limit above a maximum that is not set raises it.
    assert_eq!(
        told["maxima"],
        json!({ "wall_ms": 70_000, "cpu_ms": 60_000, "memory_mb": 512, "output_bytes": 1_048_576 })
    );
    assert_eq!((&told["script_bytes"], &told["result_bytes"]), (&json!(2048), &json!(4096)));
    assert_eq!((&told["concurrency"], &told["queue"]), (&json!(3), &json!(7)));
    let manifest = manifest();
    assert_eq!((&told["python"], &told["packages"]), (&manifest["python"], &manifest["packages"]));
    assert_eq!((&told["preload"], &told["version"]), (&json!(["numpy"]), &json!(env!("CARGO_PKG_VERSION"))));
    for (name, layer) in told["layers"].as_object().expect("an object") {
        let explained = layer["granted"] == true || layer["why"].as_str().is_some_and(|why| !why.is_empty());
        assert!(explained, "{name}: {layer}");
    }
}

fn a_preload_that_fails_is_no_reason_not_to_serve() {
    let server = Server::start(&[("MAYFLY_PRELOAD", "json,nosuchmodule")]);
    server.check("import json\ndef main():\n    return json.dumps([1])", &json!("[1]"));
    let line = server.log().wait_for(|line| line.contains("nosuchmodule"), Duration::from_secs(10));
    assert!(line.is_some(), "{:?}", server.log().lines());
}

fn what_a_preload_writes_is_in_the_log_and_in_no_answer() {
    let home = std::env::temp_dir().join(format!("mayfly-talkative-{}", std::process::id()));
    fs::create_dir_all(&home).expect("a directory");
    fs::write(
        home.join("talkative.py"),
        "import sys\nprint('hello', 'from the', 'package', file=sys.stderr)\nprint('more')\n",
    )
    .expect("a file");
    let path = home.display().to_string();
    for place in expected() {
        for start in ["warm", "cold"] {
            if start == "warm" && !place.has_warm() {
                continue;
            }
            let settings = [("MAYFLY_PRELOAD", "talkative"), ("MAYFLY_PACKAGES", &path), ("MAYFLY_START", start)];
            let server = place.setup(&settings).start();
            let script =
                "import sys, talkative\ndef main():\n    print('mine')\n    print('my error', file=sys.stderr)";
            let answer = server.execute(&json!({ "script": script, "include": ["stdout", "stderr"] }));
            let wanted = json!({ "result": null, "stdout": "mine\n", "stderr": "my error\n" });
            assert_eq!(answer.json(), wanted, "{}, {start}", place.as_str());
            // nsjail keeps what a process inside it writes from the log.
            if place.has_warm() {
                let line =
                    server.log().wait_for(|line| line.contains("\"hello from the package\""), Duration::from_secs(10));
                assert!(line.is_some(), "{}, {start}: {:?}", place.as_str(), server.log().lines());
            }
        }
    }
    fs::remove_dir_all(home).expect("our own directory");
}

fn packages_can_lie_elsewhere() {
    let home = std::env::temp_dir().join(format!("mayfly-packages-{}", std::process::id()));
    fs::create_dir_all(home.join("own-1.2.dist-info")).expect("a directory");
    fs::write(home.join("own.py"), "ANSWER = 42\n").expect("a file");
    for level in ["full", "seccomp"] {
        let path = home.display().to_string();
        let server = Server::start(&[("MAYFLY_PACKAGES", &path), ("MAYFLY_ISOLATION", level)]);
        server.check("import own\ndef main():\n    return own.ANSWER", &json!(42));
        let failed = server.check_fails("import numpy\ndef main():\n    return 1", "exception");
        assert_eq!(failed["exception"]["type"], "ModuleNotFoundError", "{level}");
        assert_eq!(server.get("/capabilities").json()["packages"], json!({ "own": "1.2" }));
    }
    fs::remove_dir_all(home).expect("our own directory");
}

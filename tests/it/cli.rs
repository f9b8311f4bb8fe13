//! The command line: `run`, `doctor`, `healthcheck`, `--version`, and what each exits with.

use driver::places::Place;
use driver::server::{Server, Setup};
use driver::tests;
use driver::trial::trial;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

pub fn trials() -> Vec<Trial> {
    let mut trials = tests![
        run_prints_the_result,
        run_gives_arguments_and_input,
        run_reads_standard_input,
        run_fails_with_the_error_on_stderr,
        run_exits_124_at_a_time_limit,
        wrong_usage_is_2,
        version_is_printed,
        help_names_the_commands,
        doctor_prints_a_table,
        doctor_prints_json,
        healthcheck_tells_health,
        inner_commands_are_not_for_hands,
        layers_are_listed_for_tools,
    ];
    trials.extend([Place::Full, Place::Seccomp].map(|place| {
        place.needs().allow(trial(format!("cli::run_in_place::{}", place.as_str()), move || run_in_place(place)))
    }));
    trials
}

/// A file that is removed again.
pub struct File(PathBuf);

impl File {
    pub fn new(text: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mayfly-cli-{}-{number}.py", std::process::id()));
        fs::write(&path, text).expect("a file");
        Self(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub fn setup() -> Setup {
    Setup::new(&[("MAYFLY_PRELOAD", "")])
}

pub fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn run_prints_the_result() {
    let script = File::new("def main():\n    print('and')\n    return {'msg': 'h\u{e9}llo', 'n': [1, 2.5, None]}");
    let (status, stdout, stderr) = said(&setup().run(&["run", script.path()]));
    assert_eq!(
        (status, stdout.as_str(), stderr.as_str()),
        (Some(0), "and\n{\"msg\":\"h\u{e9}llo\",\"n\":[1,2.5,null]}\n", "")
    );
}

fn run_gives_arguments_and_input() {
    let script = File::new("def main(*args, **kwargs):\n    return [args, kwargs, input()]");
    let input = File::new("line\n");
    let arguments =
        ["run", script.path(), "--args", "[1, \"b\"]", "--kwargs", "{\"k\": null}", "--stdin", input.path()];
    let (status, stdout, stderr) = said(&setup().run(&arguments));
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (Some(0), "[[1,\"b\"],{\"k\":null},\"line\"]\n", ""));
}

fn run_reads_standard_input() {
    let script = File::new("def main():\n    return 'from stdin'");
    let mut command = setup().command(&["run", "-"]);
    let output = command.stdin(fs::File::open(script.path()).expect("a file")).output().expect("it starts");
    assert_eq!(said(&output), (Some(0), "\"from stdin\"\n".to_owned(), String::new()));
}

fn run_fails_with_the_error_on_stderr() {
    let cases = [
        ("def main():\n    1 / 0", "ZeroDivisionError: division by zero"),
        ("def main(:", "SyntaxError"),
        ("x = 1", "main"),
        ("def main():\n    return object()", "result is "),
        ("import sys\nsys.exit(3)", "exit"),
        ("import os\nos._exit(0)", "process ended with status 0"),
        ("def main():\n    return 'x' * (1 << 21)", "the limit is 1MB"),
        ("def main():\n    return bytearray(1 << 34)", "Memory"),
    ];
    for (script, piece) in cases {
        let (status, stdout, stderr) = said(&setup().run(&["run", File::new(script).path()]));
        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{script:?}: {stderr}");
        assert!(stderr.contains(piece), "{script:?}: {stderr}");
    }
    let (_, _, stderr) = said(&setup().run(&["run", File::new("def main():\n    1 / 0").path()]));
    assert!(stderr.contains("File \"main.py\", line 2, in main\n    1 / 0"), "{stderr}");
}

fn run_exits_124_at_a_time_limit() {
    let sleeper = File::new("import time\ndef main():\n    time.sleep(60)");
    let (status, stdout, stderr) = said(&setup().run(&["run", sleeper.path(), "--wall-ms", "300"]));
    assert_eq!((status, stdout.as_str()), (Some(124), ""), "{stderr}");
    assert!(stderr.contains("300 ms"), "{stderr}");
    let burner = File::new("while True:\n    pass");
    let (status, _, stderr) = said(&setup().run(&["run", burner.path(), "--cpu-ms", "300"]));
    assert_eq!(status, Some(124), "{stderr}");
}

fn run_in_place(place: Place) {
    let script = File::new("import os\ndef main():\n    return [os.getcwd(), os.path.exists('/etc/passwd')]");
    let (status, stdout, stderr) = said(&place.setup(&[("MAYFLY_PRELOAD", "")]).run(&["run", script.path()]));
    let home = if place.has_tmp() { "/tmp" } else { "/" };
    assert_eq!((status, stdout), (Some(0), format!("[\"{home}\",false]\n")), "{stderr}");
}

fn wrong_usage_is_2() {
    let script = File::new("def main():\n    return 1");
    let cases: [&[&str]; 16] = [
        &[],
        &["fly"],
        &["serve", "--no-such-flag"],
        &["serve", "extra"],
        &["serve", "--listen"],
        &["run"],
        &["run", "/does/not/exist.py"],
        &["run", script.path(), "--args", "{}"],
        &["run", script.path(), "--args", "[1"],
        &["run", script.path(), "--kwargs", "[]"],
        &["run", script.path(), "--stdin", "/does/not/exist"],
        &["doctor", "--xml"],
        &["healthcheck", "now"],
        // Settings of other commands.
        &["healthcheck", "--wall-ms", "1000"],
        &["doctor", "--listen", "127.0.0.1:0"],
        &["run", script.path(), "--ready", "1"],
    ];
    for arguments in cases {
        let (status, stdout, stderr) = said(&setup().run(arguments));
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{arguments:?}: {stderr}");
        assert!(!stderr.is_empty() && !stderr.contains("panicked"), "{arguments:?}: {stderr}");
    }
}

fn version_is_printed() {
    let (status, stdout, _) = said(&setup().run(&["--version"]));
    assert_eq!((status, stdout), (Some(0), format!("mayfly {}\n", env!("CARGO_PKG_VERSION"))));
}

fn help_names_the_commands() {
    let (status, stdout, _) = said(&setup().run(&["--help"]));
    assert_eq!(status, Some(0));
    for command in ["serve", "run", "doctor", "healthcheck"] {
        assert!(stdout.contains(command), "{stdout}");
    }
    assert!(!stdout.contains("zygote"), "{stdout}");
}

fn doctor_prints_a_table() {
    let (status, stdout, stderr) = said(&setup().run(&["doctor"]));
    assert_eq!(status, Some(0), "{stderr}");
    for piece in ["full", "seccomp", "nsjail", "landlock", "seccomp-filter"] {
        assert!(stdout.contains(piece), "{piece} is not in\n{stdout}");
    }
}

fn doctor_prints_json() {
    let (status, stdout, stderr) = said(&setup().run(&["doctor", "--json"]));
    assert_eq!(status, Some(0), "{stderr}");
    let told: Value = serde_json::from_str(&stdout).expect("JSON");
    let levels = told["levels"].as_object().expect("levels");
    assert_eq!(levels.keys().collect::<Vec<_>>(), ["full", "nsjail", "seccomp"]);
    let best = ["full", "seccomp", "nsjail"].into_iter().find(|level| levels[*level]["granted"] == true);
    assert_eq!(told["isolation"], json!(best));
    for (name, level) in levels {
        assert!(level["granted"] == true || level["why"].is_string(), "{name}: {level}");
    }
}

fn healthcheck_tells_health() {
    let server = Server::start(&[("MAYFLY_PRELOAD", "")]);
    let address = server.address().to_string();
    let check = |arguments: &[&str]| said(&setup().run(&[&["healthcheck"], arguments].concat())).0;
    assert_eq!(check(&["--listen", &address]), Some(0));
    assert_eq!(check(&["--port", &server.address().port().to_string()]), Some(0));
    assert_eq!(check(&["--listen", &address.replace("127.0.0.1", "0.0.0.0")]), Some(0));
    drop(server);
    let (status, _, stderr) = said(&setup().run(&["healthcheck", "--listen", &address]));
    assert_eq!(status, Some(1), "{stderr}");
    assert!(stderr.contains(&address), "{stderr}");
}

/// What `tools/layers.py` reads.
fn layers_are_listed_for_tools() {
    let (status, stdout, stderr) = said(&setup().run(&["layers"]));
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let told: Value = serde_json::from_str(&stdout).expect("JSON");
    let names = |kind: &str| {
        told[kind].as_array().expect("a list").iter().map(|name| name.as_str().expect("a name").to_owned())
    };
    let served: BTreeSet<String> = Server::start(&[("MAYFLY_PRELOAD", "")]).get("/capabilities").json()["layers"]
        .as_object()
        .expect("layers")
        .keys()
        .cloned()
        .collect();
    assert_eq!(names("told").collect::<BTreeSet<_>>(), served, "clients are told of just these");
    assert!(served.is_subset(&names("layers").collect()), "{told}");
    assert_eq!(names("steps").next_back().as_deref(), Some("seccomp-filter"), "{told}");
}

fn inner_commands_are_not_for_hands() {
    for command in ["zygote", "child"] {
        let (status, stdout, _) = said(&setup().run(&[command]));
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{command}");
    }
}

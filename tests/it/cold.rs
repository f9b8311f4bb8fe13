//! `MAYFLY_START=cold`: what the modules that a script names cost is not the script's.

use crate::packages::Packages;
use driver::places::{Place, expected};
use driver::trial::trial;
use libtest_mimic::Trial;
use serde_json::json;

pub fn trials() -> Vec<Trial> {
    let in_place = |place: Place| {
        let name = format!("cold::{}::importing_what_is_preloaded_takes_none_of_a_script_s_time", place.as_str());
        place.needs().allow(trial(name, move || importing_what_is_preloaded_takes_none_of_a_script_s_time(place)))
    };
    expected().into_iter().map(in_place).collect()
}

/// Two and a half seconds of processor time.
const HEAVY: &str = "
import time
began = time.process_time()
while time.process_time() - began < 2.5:
    pass
";

/// The kernel's own limit, which counts whole seconds from the child's beginning on, leaves the start out as well.
fn importing_what_is_preloaded_takes_none_of_a_script_s_time(place: Place) {
    let name = format!("cold-{}", place.as_str());
    let packages = Packages::new(&name, &[("toolbox/__init__.py", ""), ("toolbox/heavy.py", HEAVY)]);
    let settings =
        [("MAYFLY_START", "cold"), ("MAYFLY_PRELOAD", "toolbox.heavy"), ("MAYFLY_PACKAGES", &packages.path())];
    let server = place.setup(&settings).start();
    for script in
        ["import toolbox.heavy\ndef main():\n    return 1", "from toolbox import heavy\ndef main():\n    return 1"]
    {
        let answer = server.execute(&json!({ "script": script, "limits": { "cpu_ms": 500 } }));
        assert_eq!((answer.status, answer.json()), (200, json!({ "result": 1 })), "{script}");
    }
}

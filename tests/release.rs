//! What a program made for use does not contain: the means to make its jail fail, or to leave a layer out.
//!
//! An optimised build with them does not even compile (`src/fault.rs`); this looks at the bytes of the program under test.

use std::fs;

/// What only `src/fault.rs` and the hooks it has in other files say.
const MARKS: [&str; 5] = ["MAYFLY_FAULT", "MAYFLY_WITHOUT", "clean-environment", "reply-cap", "cpu-watch"];

fn found() -> Vec<&'static str> {
    let program = fs::read(env!("CARGO_BIN_EXE_mayfly")).expect("the program under test");
    MARKS.into_iter().filter(|mark| program.windows(mark.len()).any(|bytes| bytes == mark.as_bytes())).collect()
}

#[test]
#[cfg(not(feature = "fault-injection"))]
fn no_fault_can_be_asked_for() {
    assert_eq!(found(), [""; 0]);
}

/// With the feature they are there: the search above finds what it looks for.
#[test]
#[cfg(feature = "fault-injection")]
fn faults_can_be_asked_for_in_a_test_build() {
    assert!(found().contains(&"MAYFLY_FAULT") && found().contains(&"MAYFLY_WITHOUT"), "{:?}", found());
}

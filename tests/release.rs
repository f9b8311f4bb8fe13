//! What a program made for use does not contain: the means to make its jail fail, or to leave a layer out.
//!
//! An optimised build with them does not even compile (`src/fault/asked.rs`); this looks at the bytes of the program under test.

use std::fs;

/// What only `src/fault/asked.rs` says.
const MARKS: [&str; 5] = ["MAYFLY_FAULT", "MAYFLY_WITHOUT", "kernel-landlock", "kernel-chroot", "clone-parent"];

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
    assert_eq!(found(), MARKS);
}

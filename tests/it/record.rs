//! What a run saw of the attacks, for the table of what stops what: `tools/matrix.py` reads it.

use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The attacks of one place that came to what they may, with what they came to.
#[derive(Debug)]
pub struct Record {
    place: &'static str,
    /// How many there are. A run of some of them leaves no record.
    all: usize,
    seen: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Record {
    pub fn new(place: &'static str, all: usize) -> Arc<Self> {
        Arc::new(Self { place, all, seen: Mutex::default() })
    }

    /// Notes one; the last of all writes the file `target/tmp/attacks/PLACE.json`.
    pub fn write_down(&self, name: &str, seen: BTreeSet<String>) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(name.to_owned(), seen);
        if all.len() == self.all {
            let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("attacks");
            fs::create_dir_all(&directory).expect("a directory of the build's");
            let text = json!({ "place": self.place, "seen": *all });
            fs::write(directory.join(format!("{}.json", self.place)), text.to_string()).expect("a file of the build's");
        }
    }
}

//! Every attack of `tests/attacks` in every place: it achieves nothing, its client is told the right thing, and a canary
//! script is answered afterwards.
//!
//! Marker secrets lie about while the attacks run: in the server's environment, and in the script, the arguments, the
//! input and the output of every canary, which is the request before the next attack. No answer to an attack may hold one.

use crate::group::Group;
use crate::record::Record;
use driver::client::Answer;
use driver::places::{Place, attacked};
use driver::server::Server;
use libtest_mimic::Trial;
use mayfly::layer::Layer;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// One attack, as it is written down.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attack {
    name: String,
    denies: String,
    /// Put before each of the scripts.
    #[serde(default)]
    prelude: Vec<String>,
    script: String,
    /// Run before, as a request of its own.
    first: Option<String>,
    /// Run at the same time, as a request of its own.
    beside: Option<String>,
    /// The script runs once for each of these arguments.
    each: Option<Vec<Value>>,
    /// The script runs so many times, and all results differ.
    differ: Option<usize>,
    #[serde(default)]
    request: Map<String, Value>,
    expect: Vec<String>,
    #[serde(default)]
    expect_at: BTreeMap<String, Vec<String>>,
    levels: Option<Vec<String>>,
    #[serde(deserialize_with = "layer_or_none")]
    #[expect(dead_code, reason = "for the table of what stops what, which tools/matrix.py makes")]
    stops: Option<Layer>,
    #[expect(dead_code, reason = "a row of the list that the corpus began with")]
    row: Option<u32>,
    #[expect(dead_code, reason = "what the author saw when it ran with no jail")]
    seen_to_succeed_unjailed: Option<toml::Value>,
}

/// A layer by its name; `None` is stopped by the kernel itself, or documented.
pub fn layer_or_none<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Layer>, D::Error> {
    let name = String::deserialize(reader)?;
    if ["kernel", "documented"].contains(&name.as_str()) {
        return Ok(None);
    }
    let layer = Layer::ALL.iter().find(|layer| layer.as_str() == name);
    layer.copied().map(Some).ok_or_else(|| D::Error::custom(format!("no layer is called {name}")))
}

/// A file of attacks.
#[derive(Debug, Deserialize)]
struct Corpus {
    #[serde(default)]
    attack: Vec<Attack>,
}

/// Where the corpus is.
pub fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks")
}

/// The corpus's files but for the preludes, in order.
pub fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(home()).expect("tests/attacks").map(|entry| entry.expect("an entry").path());
    let is_corpus =
        |path: &PathBuf| path.extension().is_some_and(|kind| kind == "toml") && !path.ends_with("preludes.toml");
    let mut files: Vec<PathBuf> = entries.filter(is_corpus).collect();
    files.sort();
    files
}

pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All attacks, with their preludes in front of their scripts.
fn attacks() -> Vec<Attack> {
    let preludes: BTreeMap<String, String> = read(&home().join("preludes.toml"));
    let mut attacks: Vec<Attack> = files().iter().flat_map(|path| read::<Corpus>(path).attack).collect();
    for attack in &mut attacks {
        let before: String = attack.prelude.iter().map(|name| preludes[name].as_str()).collect();
        for script in [Some(&mut attack.script), attack.first.as_mut(), attack.beside.as_mut()].into_iter().flatten() {
            script.insert_str(0, &before);
        }
    }
    attacks
}

/// The secrets, by where they lie. A script that finds one finds the others' shape, not their text.
fn marker(place: &str) -> String {
    format!("MAYFLY-CANARY-{place}{:08x}", std::process::id().wrapping_mul(0x9e37_79b9))
}

const MARKED: [&str; 5] = ["environment", "script", "argument", "input", "output"];

pub fn trials() -> Vec<Trial> {
    let attacks: Arc<[Attack]> = attacks().into();
    let mut trials = Vec::new();
    for place in attacked() {
        let setup = place.setup(&[("MAYFLY_CANARY_SECRET", &marker("environment"))]);
        let group = Group::new(format!("attacks::{}", place.as_str()), place.needs(), setup);
        let applies = |attack: &Attack| {
            let levels = attack.levels.as_ref();
            levels.is_none_or(|levels| levels.iter().any(|level| level == place.level() || level == place.as_str()))
        };
        let played: Vec<usize> = (0..attacks.len()).filter(|number| applies(&attacks[*number])).collect();
        let record = Record::new(place.as_str(), played.len());
        for number in played {
            let (attacks, record) = (Arc::clone(&attacks), Arc::clone(&record));
            let name = attacks[number].name.clone();
            trials.push(group.trial(&name, move |server| {
                let attack = &attacks[number];
                let seen = attack.run(server, place);
                record.write_down(&attack.name, seen);
            }));
        }
        trials.push(group.last());
    }
    trials
}

/// Asks for something ordinary that carries markers, and gets the right answer.
pub fn canary(server: &Server) {
    let script = format!(
        "# {}\nimport sys\ndef main(x, argument):\n    print(sys.stdin.read())\n    return [x, sum(range(x))]",
        marker("script")
    );
    let input = format!("{} {}", marker("input"), marker("output"));
    let answer = server
        .execute(&json!({ "script": script, "args": [7, marker("argument")], "stdin": input, "include": ["stdout"] }));
    let expected = json!({ "result": [7, 21], "stdout": format!("{input}\n") });
    assert_eq!((answer.status, answer.json()), (200, expected), "the canary");
}

/// Where no path is followed, an attack may end before it begins: what it takes can't be opened, or was not loaded before.
const NOT_BEGUN: &str = "not-begun";

fn could_not_begin(body: &Value) -> bool {
    const WANTING: [&str; 4] = ["PermissionError", "ModuleNotFoundError", "ImportError", "LookupError"];
    body["code"] == "exception" && body["exception"]["type"].as_str().is_some_and(|kind| WANTING.contains(&kind))
}

impl Attack {
    /// What came of it, in the words of `expect`: of what was allowed, the first that fits each answer.
    fn run(&self, server: &Server, place: Place) -> BTreeSet<String> {
        canary(server);
        if let Some(first) = &self.first {
            self.is_clean(&self.post_with(server, first, &[("stdin", marker("input").into())]));
        }
        let seen = std::thread::scope(|scope| {
            let beside = self.beside.as_ref().map(|beside| scope.spawn(|| self.post(server, beside, None)));
            if beside.is_some() {
                std::thread::sleep(Duration::from_millis(50));
            }
            let seen = self.attack(server, place);
            if let Some(beside) = beside {
                let answer = beside.join().expect("an answer");
                let could_begin = place != Place::NoFiles || !could_not_begin(&answer.json());
                assert!(answer.status == 200 || !could_begin, "the script beside it: {}", answer.text());
                self.is_clean(&answer);
            }
            seen
        });
        canary(server);
        seen
    }

    fn attack(&self, server: &Server, place: Place) -> BTreeSet<String> {
        let (mut results, mut seen) = (Vec::new(), BTreeSet::new());
        let times = self.each.as_ref().map_or(self.differ.unwrap_or(1), Vec::len);
        for time in 0..times {
            let argument = self.each.as_ref().map(|each| &each[time]);
            let answer = self.post(server, &self.script, argument);
            self.is_clean(&answer);
            seen.insert(self.expected_outcome(&answer, place));
            results.push(answer.json()["result"].clone());
        }
        if self.differ.is_some() {
            self.all_differ(&results);
        }
        seen
    }

    /// No two results are equal nor, where they are lists, two members in the same place.
    fn all_differ(&self, results: &[Value]) {
        for (number, one) in results.iter().enumerate() {
            for other in &results[number + 1..] {
                let members = one.as_array().into_iter().flatten().zip(other.as_array().into_iter().flatten());
                let same = one == other || members.into_iter().any(|(left, right)| left == right);
                assert!(!same, "{}: two of {} runs: {one} and {other}", self.denies, results.len());
            }
        }
    }

    fn post(&self, server: &Server, script: &str, argument: Option<&Value>) -> Answer {
        let argument = argument.map(|argument| ("args", json!([argument])));
        self.post_with(server, script, argument.as_slice())
    }

    fn post_with(&self, server: &Server, script: &str, fields: &[(&str, Value)]) -> Answer {
        let host = nix::unistd::gethostname().expect("the machine has a name");
        let stand_ins =
            [("$PORT", server.address().port().to_string()), ("$HOSTNAME", host.to_string_lossy().into_owned())];
        let mut request = self.request.clone();
        for argument in request.get_mut("args").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some((_, text)) = stand_ins.iter().find(|(name, _)| *argument == *name) {
                *argument = text.as_str().into();
            }
        }
        request.insert("script".to_owned(), script.into());
        request.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        server.execute(&request.into())
    }

    /// No secret is in the answer, and no loot in the result.
    fn is_clean(&self, answer: &Answer) {
        let text = format!("{:?} {}", answer.headers, answer.text());
        assert!(answer.body.len() <= 2 << 20, "{}: an answer of {} bytes", self.denies, answer.body.len());
        assert!([200, 422].contains(&answer.status), "{}: answered {} {text}", self.denies, answer.status);
        for place in MARKED {
            assert!(!text.contains(&marker(place)), "{}: the marker in the {place} was found: {text}", self.denies);
        }
        assert!(!text.contains("ESCAPED"), "{}: {text}", self.denies);
    }

    fn expected_outcome(&self, answer: &Answer, place: Place) -> String {
        let at = [place.as_str(), place.level()].into_iter().find_map(|level| self.expect_at.get(level));
        let expected = at.unwrap_or(&self.expect);
        let body = answer.json();
        let fits = |one: &String| match (one.strip_prefix("result:"), answer.status) {
            (Some(text), 200) => {
                body["result"] == text || serde_json::from_str(text).is_ok_and(|value: Value| body["result"] == value)
            }
            (None, 200) => one == "result",
            (_, _) => body["code"] == one.as_str(),
        };
        let mut shown = answer.text();
        shown.truncate((0..=2000.min(shown.len())).rev().find(|end| shown.is_char_boundary(*end)).unwrap_or(0));
        if place == Place::NoFiles && could_not_begin(&body) {
            return NOT_BEGUN.to_owned();
        }
        let found = expected.iter().find(|one| fits(one)).cloned();
        found.unwrap_or_else(|| panic!("{}: expected {expected:?}, got {} {shown}", self.denies, answer.status))
    }
}

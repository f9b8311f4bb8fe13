//! Reads the policy files into one list of rules with numbers, and refuses whatever a reader could take for something else:
//! a name no kernel knows, a rule given twice, a constant that is not defined, a field that does not exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

/// What becomes of a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Allow,
    /// Refused with this errno; `Errno(0)` is answered with 0 without being executed.
    Errno(u16),
    /// Not executed: SIGSYS is sent, and a handler in the process itself may answer instead.
    Trap,
    Kill,
}

/// `(args[arg] & mask) == value`, on all 64 bits.
#[derive(Clone, Debug)]
pub struct Condition {
    pub arg: u8,
    pub mask: u64,
    pub value: u64,
    /// As the file has it.
    pub written: String,
}

/// When every condition holds, the call meets `fate`; the first case that holds decides.
#[derive(Clone, Debug)]
pub struct Case {
    pub conditions: Vec<Condition>,
    pub fate: Fate,
}

/// One system call: its cases in order, and the fate when none holds.
#[derive(Clone, Debug)]
pub struct Rule {
    pub number: u32,
    pub name: String,
    pub cases: Vec<Case>,
    pub otherwise: Fate,
    pub comment: String,
}

impl Rule {
    /// Whether a call is executed under it, with some arguments or with all.
    pub fn allows(&self) -> bool {
        self.otherwise == Fate::Allow || self.cases.iter().any(|case| case.fate == Fate::Allow)
    }

    /// What becomes of this call with these arguments.
    pub fn fate(&self, args: &[u64; 6]) -> Fate {
        let holds = |condition: &Condition| args[usize::from(condition.arg)] & condition.mask == condition.value;
        let case = self.cases.iter().find(|case| case.conditions.iter().all(holds));
        case.map_or(self.otherwise, |case| case.fate)
    }
}

#[derive(Clone)]
pub struct Policy {
    pub variant: String,
    /// As in `CARGO_CFG_TARGET_ARCH`, and as the kernel tells a filter.
    pub arch: String,
    pub audit_arch: u32,
    /// Sorted by number; a number without a rule meets `default`.
    pub rules: Vec<Rule>,
    pub default: Fate,
}

impl Policy {
    /// How many system calls are allowed, conditionally or not.
    pub fn allowed(&self) -> usize {
        self.rules.iter().filter(|rule| rule.allows()).count()
    }

    /// The policy without a rule for this system call, which so meets the default.
    pub fn without(mut self, name: &str) -> Self {
        let before = self.rules.len();
        self.rules.retain(|rule| rule.name != name);
        assert!(self.rules.len() < before, "{}: there is no rule for {name}", self.variant);
        self
    }

    /// The policy with this system call allowed whatever its arguments.
    pub fn loosened(mut self, name: &str) -> Self {
        let rule = self.rules.iter_mut().find(|rule| rule.name == name);
        let rule = rule.unwrap_or_else(|| panic!("{}: there is no rule for {name}", self.variant));
        rule.cases.clear();
        rule.otherwise = Fate::Allow;
        self
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "about")]
    _about: Vec<String>,
    default: Option<String>,
    #[serde(default)]
    constants: BTreeMap<String, Constant>,
    allow: Vec<Allowed>,
    refuse: Vec<Refused>,
}

/// A number, or other constants as in [`expression`]; some differ between architectures.
#[derive(Deserialize)]
#[serde(untagged)]
enum Constant {
    Same(String),
    Each(BTreeMap<String, String>),
}

impl Constant {
    fn on(&self, arch: &str) -> Option<&str> {
        match self {
            Self::Same(written) => Some(written),
            Self::Each(written) => written.get(arch).map(String::as_str),
        }
    }
}

/// Names and what they stand for.
type Constants<'a> = BTreeMap<&'a str, &'a str>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    syscall: String,
    needed_by: String,
    /// The architecture the rule is for, and the fate of the call on the other one.
    only_on: Option<String>,
    elsewhere: Option<String>,
    /// Without cases the call is allowed whatever its arguments.
    #[serde(default)]
    cases: Vec<WrittenCase>,
    otherwise: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCase {
    when: Vec<WrittenCondition>,
    then: Option<String>,
    /// The one variant in which the case counts.
    only_in: Option<String>,
    #[serde(rename = "why")]
    _why: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCondition {
    arg: u8,
    name: String,
    /// How much of the register the kernel reads: 32 where the parameter is an int, 64 where it is a long or a pointer.
    bits: u8,
    mask: Option<String>,
    is: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    with: String,
    because: String,
    syscalls: Vec<String>,
}

/// Reads `common.json`, `<variant>.json` and `syscalls.tsv` from `source`.
pub fn load(source: &Path, variant: &str, arch: &str) -> Policy {
    let numbers = numbers(source, arch);
    let common = file(&source.join("common.json"));
    let overlay = file(&source.join(format!("{variant}.json")));
    let constants: Constants = (common.constants.iter().chain(&overlay.constants))
        .map(|(name, value)| {
            let value = value.on(arch).unwrap_or_else(|| panic!("constant {name} has no value on {arch}"));
            (name.as_str(), value)
        })
        .collect();
    let default = fate(common.default.as_deref().expect("common.json names the default"));
    assert!(overlay.default.is_none(), "{variant}.json: the default is common to all variants");

    let mut rules = Vec::new();
    for allowed in common.allow.iter().chain(&overlay.allow) {
        let Some(number) = number(&numbers, &allowed.syscall) else { continue };
        let mut rule = allowed.rule(number, &constants, variant);
        if let Some(only_on) = &allowed.only_on {
            let elsewhere =
                fate(allowed.elsewhere.as_deref().unwrap_or_else(|| panic!("{}: elsewhere is missing", rule.name)));
            if only_on != arch {
                (rule.cases, rule.otherwise) = (Vec::new(), elsewhere);
            }
        }
        rules.push(rule);
    }
    for group in common.refuse.iter().chain(&overlay.refuse) {
        for name in &group.syscalls {
            let Some(number) = number(&numbers, name) else { continue };
            let otherwise = fate(&group.with);
            rules.push(Rule {
                number,
                name: name.clone(),
                cases: Vec::new(),
                otherwise,
                comment: group.because.clone(),
            });
        }
    }
    rules.sort_by_key(|rule| rule.number);
    for pair in rules.windows(2) {
        assert!(pair[0].number != pair[1].number, "{variant}: {} is ruled on twice", pair[0].name);
    }
    Policy { variant: variant.to_owned(), arch: arch.to_owned(), audit_arch: audit_arch(arch), rules, default }
}

/// How the kernel names an architecture to a filter (`AUDIT_ARCH_…`).
pub fn audit_arch(arch: &str) -> u32 {
    match arch {
        "x86_64" => 0xC000_003E,
        "aarch64" => 0xC000_00B7,
        other => panic!("there is no seccomp policy for {other}: x86_64 and aarch64 are supported"),
    }
}

impl Allowed {
    fn rule(&self, number: u32, constants: &Constants, variant: &str) -> Rule {
        let name = &self.syscall;
        let cases: Vec<_> = (self.cases.iter())
            .filter(|case| case.only_in.as_ref().is_none_or(|only| only == variant))
            .map(|case| case.resolve(name, constants))
            .collect();
        let otherwise = match &self.otherwise {
            Some(written) => fate(written),
            None if cases.is_empty() => Fate::Allow,
            None if cases.iter().all(|case| matches!(case.fate, Fate::Errno(1..))) => Fate::Allow,
            None => panic!("{name}: a rule that allows by case says what happens otherwise"),
        };
        let allows_by_case = cases.iter().any(|case| case.fate == Fate::Allow);
        assert!(!allows_by_case || otherwise != Fate::Allow, "{name}: a rule allows by case and refuses otherwise");
        Rule { number, name: name.clone(), cases, otherwise, comment: self.needed_by.clone() }
    }
}

impl WrittenCase {
    fn resolve(&self, name: &str, constants: &Constants) -> Case {
        let conditions = self.when.iter().map(|condition| condition.resolve(name, constants)).collect();
        Case { conditions, fate: self.then.as_deref().map_or(Fate::Allow, fate) }
    }
}

impl WrittenCondition {
    fn resolve(&self, name: &str, constants: &Constants) -> Condition {
        let width = match self.bits {
            32 => u64::from(u32::MAX),
            64 => u64::MAX,
            other => panic!("{name}: an argument has 32 or 64 bits, not {other}"),
        };
        let mask = self.mask.as_deref().map_or(width, |written| expression(written, constants) & width);
        let value = expression(&self.is, constants);
        assert!(self.arg < 6, "{name}: there is no argument {}", self.arg);
        assert!(value & !mask == 0, "{name}: argument {} can never be {} under its mask", self.arg, self.is);
        let masked = self.mask.as_ref().map(|mask| format!(" & {mask}")).unwrap_or_default();
        Condition { arg: self.arg, mask, value, written: format!("{}{masked} is {}", self.name, self.is) }
    }
}

fn file(path: &Path) -> File {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Name → number on this architecture by `syscalls.tsv`, `None` where only the other one has the call.
pub fn numbers(source: &Path, arch: &str) -> BTreeMap<String, Option<u32>> {
    let path = source.join("syscalls.tsv");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let column = if arch == "x86_64" { 1 } else { 2 };
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<_> = line.split('\t').collect();
            (fields[0].to_owned(), fields[column].parse().ok())
        })
        .collect()
}

fn number(numbers: &BTreeMap<String, Option<u32>>, name: &str) -> Option<u32> {
    *numbers.get(name).unwrap_or_else(|| panic!("{name} is no system call"))
}

fn fate(written: &str) -> Fate {
    match written {
        "ALLOW" => Fate::Allow,
        "TRAP" => Fate::Trap,
        "KILL" => Fate::Kill,
        "ZERO" => Fate::Errno(0),
        "EPERM" => Fate::Errno(1),
        "EINTR" => Fate::Errno(4),
        "EACCES" => Fate::Errno(13),
        "ENOTTY" => Fate::Errno(25),
        "ENOSYS" => Fate::Errno(38),
        "ENOTSUP" => Fate::Errno(95),
        other => panic!("{other} is no fate"),
    }
}

/// `A|B|0x4` or `~(A|B)`. A name may stand for names in turn.
fn expression(written: &str, constants: &Constants) -> u64 {
    if let Some(inner) = written.strip_prefix("~(").and_then(|rest| rest.strip_suffix(')')) {
        return !expression(inner, constants);
    }
    let value = |term: &str| match (literal(term), constants.get(term)) {
        (Some(number), _) => number,
        (None, Some(written)) => expression(written, constants),
        (None, None) => panic!("{term} is not defined"),
    };
    written.split('|').fold(0, |bits, term| bits | value(term.trim()))
}

fn literal(written: &str) -> Option<u64> {
    match written.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => written.parse().ok(),
    }
}

//! The files that a request brings: which names they may have, and how many and how large they may be.
//!
//! Used in the supervisor. [`Files`] that exist can be written as they are, one after the other, into an empty directory. A name
//! comes from a client: it is checked here, once, and never used as a path in the supervisor.

use crate::size::ByteSize;
use std::collections::BTreeSet;
use std::fmt;

/// The working directory of a script that may write files, as the script sees it.
pub const DIRECTORY: &str = "/tmp";

/// The script's own name in the working directory.
pub const SCRIPT: &str = "main.py";

/// Files and directories together that a request may bring, whatever the settings say: below what a run's /tmp holds
/// (`jail::TMP_INODES`), with room for what the script makes.
const ENTRIES: usize = 1000;

/// What a file takes up in /tmp: whole pages.
const PAGE: u64 = 4096;

/// The longest name of a file or a directory, in bytes (`NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// The longest path, in bytes: with the working directory before it, it stays below `PATH_MAX`.
const LONGEST_PATH: usize = 2048;

/// How many files there may be, how deep and how large. Every value comes from `config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Files.
    pub count: usize,
    /// Names in a path, the file's own included.
    pub depth: usize,
    /// Bytes of one file.
    pub each: ByteSize,
    /// Bytes of all files together.
    pub all: ByteSize,
}

/// What the files of a request are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// For files that a request brings.
    pub brought: Caps,
    /// The size of the run's /tmp; `None` where it has none.
    pub room: Option<ByteSize>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it goes, below the working directory: names with `/` between them.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// Files that were checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(Vec<File>);

/// Why files can't be brought. The client is told so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// There is no directory to write to.
    NoPlace,
    /// There are more than this.
    TooMany(usize),
    /// With their directories they are more than `ENTRIES`.
    TooManyEntries,
    /// All together are larger than this.
    TooLarge(ByteSize),
    /// All together don't fit into a /tmp of this size.
    NoRoom(ByteSize),
    /// One file, by its name as it was given.
    File(String, WrongFile),
}

/// What is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrongFile {
    /// No name is left of it.
    Empty,
    /// It holds a NUL character.
    Nul,
    /// It starts with `/`.
    Absolute,
    /// It has `..` in it.
    Parent,
    /// It ends in `/`.
    Directory,
    /// It is longer than a path or a name can be.
    TooLong,
    /// It has more names than this.
    TooDeep(usize),
    /// It is the script's.
    Script,
    /// It is there twice.
    Twice,
    /// It is a file, and this other file is below it.
    AlsoDirectory(String),
    /// It is larger than this.
    TooLarge(ByteSize),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPlace => f.write_str(
                "'files' needs a directory that only this run can write to, and isolation level seccomp has none; levels full and \
                 nsjail have one (`mayfly doctor` says what this machine lacks for them)",
            ),
            Self::TooMany(most) => write!(f, "'files' holds too many files: the maximum is {most}"),
            Self::TooManyEntries => {
                write!(f, "'files' needs too many files and directories: the maximum is {ENTRIES} together")
            }
            Self::TooLarge(most) => write!(f, "'files' is too large: the maximum is {most} for all files together"),
            Self::NoRoom(size) => {
                write!(f, "'files' does not fit into the run's /tmp, which is {size}; each file takes whole pages of 4 KiB")
            }
            Self::File(name, wrong) => write!(f, "'files': {} {wrong}", shown(name)),
        }
    }
}

impl std::error::Error for Wrong {}

impl fmt::Display for WrongFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is an empty name"),
            Self::Nul => f.write_str("holds a NUL character"),
            Self::Absolute => f.write_str("is an absolute path; paths are relative to the working directory"),
            Self::Parent => f.write_str("has '..' in it; a path leads down from the working directory"),
            Self::Directory => f.write_str("ends in '/', and only files can be sent; their directories are made"),
            Self::TooLong => {
                write!(f, "is too long: a name has at most {LONGEST_NAME} bytes, a path {LONGEST_PATH}")
            }
            Self::TooDeep(most) => write!(f, "is too deep: the maximum is {most} names"),
            Self::Script => f.write_str("is the script's own name"),
            Self::Twice => f.write_str("is given more than once"),
            Self::AlsoDirectory(below) => write!(f, "is both a file and, for {}, a directory", shown(below)),
            Self::TooLarge(most) => write!(f, "is too large: the maximum is {most}"),
        }
    }
}

/// A name from a client, in quotes, without control characters and short enough for a sentence.
#[must_use]
pub fn shown(name: &str) -> String {
    const LONGEST: usize = 60;
    let mut text: String = name
        .chars()
        .take(LONGEST)
        .flat_map(|letter| {
            let hidden = letter.is_control();
            let escaped = hidden.then(|| letter.escape_default()).into_iter().flatten();
            escaped.chain((!hidden).then_some(letter))
        })
        .collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    format!("'{text}'")
}

impl Files {
    /// Checks files, which are named as a client named them, and normalises their paths. They are sorted by path then.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn new(given: Vec<(String, Vec<u8>)>, script: &str, bounds: &Bounds) -> Result<Self, Wrong> {
        if given.is_empty() {
            return Ok(Self::default());
        }
        let Bounds { brought, room } = bounds;
        let room = room.ok_or(Wrong::NoPlace)?;
        if given.len() > brought.count {
            return Err(Wrong::TooMany(brought.count));
        }
        let mut files = Vec::with_capacity(given.len());
        let (mut all, mut taken) = (0_u64, pages(script.len() as u64));
        for (name, content) in given {
            let size = content.len() as u64;
            let path = normalised(&name, brought.depth)
                .and_then(|path| if size > brought.each.0 { Err(WrongFile::TooLarge(brought.each)) } else { Ok(path) });
            let path = path.map_err(|wrong| Wrong::File(name, wrong))?;
            all = all.saturating_add(size);
            taken = taken.saturating_add(pages(size));
            files.push(File { path, content });
        }
        if all > brought.all.0 {
            return Err(Wrong::TooLarge(brought.all));
        }
        if taken > room.0 {
            return Err(Wrong::NoRoom(room));
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let directories = check_together(&files)?;
        // The script is one of them.
        if directories + files.len() + 1 > ENTRIES {
            return Err(Wrong::TooManyEntries);
        }
        Ok(Self(files))
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[File] {
        &self.0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much memory they take, in bytes.
    #[must_use]
    pub fn size_in_memory(&self) -> usize {
        self.0.iter().map(|file| size_of::<File>() + file.path.capacity() + file.content.capacity()).sum()
    }
}

fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE).saturating_mul(PAGE)
}

/// A path without empty names and `.`.
fn normalised(name: &str, depth: usize) -> Result<String, WrongFile> {
    if name.contains('\0') {
        return Err(WrongFile::Nul);
    }
    if name.starts_with('/') {
        return Err(WrongFile::Absolute);
    }
    let names: Vec<&str> = name.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    if names.contains(&"..") {
        return Err(WrongFile::Parent);
    }
    if names.is_empty() {
        return Err(WrongFile::Empty);
    }
    if name.ends_with('/') || name.ends_with("/.") {
        return Err(WrongFile::Directory);
    }
    if names.len() > depth {
        return Err(WrongFile::TooDeep(depth));
    }
    let path = names.join("/");
    if path.len() > LONGEST_PATH || names.iter().any(|name| name.len() > LONGEST_NAME) {
        return Err(WrongFile::TooLong);
    }
    if path == SCRIPT {
        return Err(WrongFile::Script);
    }
    Ok(path)
}

/// Whether sorted files can be side by side; how many directories they need.
fn check_together(files: &[File]) -> Result<usize, Wrong> {
    if let Some(pair) = files.windows(2).find(|pair| pair[0].path == pair[1].path) {
        return Err(Wrong::File(pair[0].path.clone(), WrongFile::Twice));
    }
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).chain([SCRIPT]).collect();
    let mut directories = BTreeSet::new();
    for File { path, .. } in files {
        for directory in path.match_indices('/').map(|(end, _)| &path[..end]) {
            if paths.contains(directory) {
                return Err(Wrong::File(directory.to_owned(), WrongFile::AlsoDirectory(path.clone())));
            }
            directories.insert(directory);
        }
    }
    Ok(directories.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        brought: Caps { count: 3, depth: 2, each: ByteSize(10), all: ByteSize(20) },
        room: Some(ByteSize(5 * PAGE)),
    };

    fn checked(names: &[(&str, usize)], bounds: &Bounds) -> Result<Vec<String>, String> {
        let given = names.iter().map(|(name, size)| ((*name).to_owned(), vec![b'x'; *size])).collect();
        let files = Files::new(given, "x", bounds).map_err(|wrong| wrong.to_string())?;
        Ok(files.as_slice().iter().map(|file| file.path.clone()).collect())
    }

    #[test]
    fn paths_are_normalised_and_sorted() {
        let names = [("./b", 1), ("a//c", 1), (".hidden..", 1)];
        assert_eq!(checked(&names, &BOUNDS).expect("they are right"), [".hidden..", "a/c", "b"]);
        assert_eq!(checked(&[("a\\b", 0), ("c:", 0), ("né \n", 0)], &BOUNDS).expect("they are right").len(), 3);
    }

    #[test]
    fn each_wrong_name_has_its_sentence() {
        let long = "n".repeat(256);
        for (name, expected) in [
            ("", "'files': '' is an empty name"),
            (".", "'files': '.' is an empty name"),
            ("./", "'files': './' is an empty name"),
            ("a\0b", "'files': 'a\\u{0}b' holds a NUL character"),
            ("/a", "'files': '/a' is an absolute path; paths are relative to the working directory"),
            ("//a", "'files': '//a' is an absolute path; paths are relative to the working directory"),
            ("..", "'files': '..' has '..' in it; a path leads down from the working directory"),
            ("a/../b", "'files': 'a/../b' has '..' in it; a path leads down from the working directory"),
            ("a/", "'files': 'a/' ends in '/', and only files can be sent; their directories are made"),
            ("a/.", "'files': 'a/.' ends in '/', and only files can be sent; their directories are made"),
            ("a/b/c", "'files': 'a/b/c' is too deep: the maximum is 2 names"),
            ("./main.py", "'files': './main.py' is the script's own name"),
        ] {
            assert_eq!(checked(&[("ok", 1), (name, 1)], &BOUNDS), Err(expected.to_owned()), "{name:?}");
        }
        let said = checked(&[(&long, 1)], &BOUNDS).expect_err("it is wrong");
        assert!(
            said.ends_with("…' is too long: a name has at most 255 bytes, a path 2048") && said.len() < 200,
            "{said}"
        );
    }

    #[test]
    fn names_must_fit_together() {
        let wrong = |names: &[(&str, usize)]| checked(names, &BOUNDS).expect_err("they are wrong");
        assert_eq!(wrong(&[("a", 1), ("./a", 1)]), "'files': 'a' is given more than once");
        for names in [[("a", 1), ("a/b", 1)], [("a/b", 1), ("a", 1)]] {
            assert_eq!(wrong(&names), "'files': 'a' is both a file and, for 'a/b', a directory");
        }
        assert_eq!(wrong(&[("main.py/x", 1)]), "'files': 'main.py' is both a file and, for 'main.py/x', a directory");
        // Between a file and what is below it others may stand in the order.
        assert_eq!(
            wrong(&[("a", 1), ("a-b", 1), ("a/b", 1)]),
            "'files': 'a' is both a file and, for 'a/b', a directory"
        );
    }

    #[test]
    fn caps_hold_to_the_byte() {
        let wrong = |names: &[(&str, usize)], bounds: &Bounds| checked(names, bounds).expect_err("they are wrong");
        assert!(checked(&[("a", 10), ("b", 10), ("c", 0)], &BOUNDS).is_ok());
        assert_eq!(wrong(&[("a", 11)], &BOUNDS), "'files': 'a' is too large: the maximum is 10 bytes");
        assert_eq!(
            wrong(&[("a", 10), ("b", 10), ("c", 1)], &BOUNDS),
            "'files' is too large: the maximum is 20 bytes for all files together"
        );
        assert_eq!(
            wrong(&[("a", 0), ("b", 0), ("c", 0), ("d", 0)], &BOUNDS),
            "'files' holds too many files: the maximum is 3"
        );
        let small = Bounds { room: Some(ByteSize(2 * PAGE)), ..BOUNDS };
        assert!(checked(&[("a", 1), ("b", 0)], &small).is_ok());
        let said = wrong(&[("a", 1), ("b", 1)], &small);
        assert_eq!(
            said,
            "'files' does not fit into the run's /tmp, which is 8KB; each file takes whole pages of 4 KiB"
        );
        let wide = Bounds { brought: Caps { count: 2000, ..BOUNDS.brought }, room: Some(ByteSize::mebibytes(16)) };
        let names: Vec<String> = (0..500).map(|number| format!("{number}/x")).collect();
        let names: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 0)).collect();
        assert!(wrong(&names, &wide).ends_with("the maximum is 1000 together"));
        assert!(checked(&names[..499], &wide).is_ok());
    }

    #[test]
    fn without_a_place_there_are_none() {
        let none = Bounds { room: None, ..BOUNDS };
        assert!(checked(&[("a", 1)], &none).is_err_and(|said| said.contains("isolation level seccomp")));
        assert_eq!(checked(&[], &none), Ok(Vec::new()));
    }
}

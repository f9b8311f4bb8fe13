//! The working directory as a place to import from.
//!
//! Runs in the child. A job without files has nothing there.

/// The working directory, as it stands in `sys.path`.
pub(super) use crate::files::DIRECTORY;

/// The module, or the package, that a file below the working directory is, or belongs to.
pub(super) fn module_of(path: &str) -> Option<&str> {
    match path.split_once('/') {
        // Without this file a directory stands behind every module of its name.
        Some((directory, rest)) => {
            let kind = rest.strip_prefix("__init__.")?;
            (kind == "py" || kind.ends_with("so")).then_some(directory)
        }
        None => path.split_once('.').filter(|(_, kind)| *kind == "py" || kind.ends_with("so")).map(|(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::module_of;

    #[test]
    fn modules_and_packages_have_names() {
        let names = [
            "helper.py",
            "package/__init__.py",
            "x.cpython-311-x86_64-linux-gnu.so",
            "data.csv",
            "noname",
            "uuid/list.csv",
            "a/b/__init__.py",
        ];
        let found = names.map(module_of);
        assert_eq!(found, [Some("helper"), Some("package"), Some("x"), None, None, None, None]);
    }
}

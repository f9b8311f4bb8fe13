//! A directory of packages made for a test, and removed again.

use std::fs;
use std::path::PathBuf;

pub struct Packages(PathBuf);

impl Packages {
    /// Files by their paths below the directory, which has `name` in its own.
    pub fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let home = std::env::temp_dir().join(format!("mayfly-packages-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = home.join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        Self(home)
    }

    pub fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Packages {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

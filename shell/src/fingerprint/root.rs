//! The machine's own files: small ones that the kernel makes up when they are read.
use std::fs;
use std::path::{Path, PathBuf};

/// Beneath which `/proc`, `/sys` and `/etc` lie: `/`, except in tests.
#[derive(Clone, Debug)]
pub(super) struct Root(PathBuf);

impl Root {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Empty if there is no such file.
    pub(super) fn text(&self, name: impl AsRef<Path>) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Without its line end.
    pub(super) fn line(&self, name: impl AsRef<Path>) -> Option<String> {
        fs::read_to_string(self.path(name)).ok().map(|text| text.trim().to_owned())
    }

    pub(super) fn number<N: std::str::FromStr>(&self, name: impl AsRef<Path>) -> Option<N> {
        self.line(name)?.parse().ok()
    }

    /// What a directory holds, in the order of its names.
    pub(super) fn names(&self, dir: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.path(dir)).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

/// The value of `key` in lines of `key: value`.
pub(super) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value.trim())
    })
}

/// A tree like the kernel's, for tests.
#[cfg(test)]
pub(super) mod tree {
    use super::{Root, fs};

    /// Files by their names beneath the root.
    pub(in crate::fingerprint) fn grow(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for (name, text) in files {
            let path = root.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (dir, root)
    }
}

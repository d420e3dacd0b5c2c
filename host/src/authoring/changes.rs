//! Whether a project's files have changed: their sizes and times, without what builds leave.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What builds and tools leave.
const NOT_LOOKED_AT: [&str; 7] =
    ["build", "target", "node_modules", "dist", "__pycache__", "zig-out", "venv"];

/// The files of a project as they were at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

impl Seen {
    /// As they are. What cannot be read is not there.
    #[must_use]
    pub fn now(dir: &Path) -> Self {
        let mut seen = Self::default();
        seen.look(dir);
        seen
    }

    fn look(&mut self, dir: &Path) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with('.') || NOT_LOOKED_AT.contains(&&*name) {
                continue;
            }
            match entry.metadata() {
                Ok(about) if about.is_dir() => self.look(&path),
                Ok(about) => {
                    self.0.insert(path, (about.len(), about.modified().ok()));
                }
                Err(_) => {}
            }
        }
    }

    /// The files that are new, gone or other than before.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<PathBuf> {
        let other = |of: &Self, with: &Self| -> Vec<PathBuf> {
            let differs = of.0.iter().filter(|(path, about)| with.0.get(*path) != Some(*about));
            differs.map(|(path, _)| path.clone()).collect()
        };
        let mut changed = other(self, before);
        changed.extend(other(before, self));
        changed.sort();
        changed.dedup();
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_written_made_or_deleted_are_seen_and_what_builds_leave_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("src/a.c", "1");
        let before = Seen::now(dir.path());
        assert!(Seen::now(dir.path()).since(&before).is_empty());
        write("build/a.wasm", "1");
        write(".git/x", "1");
        assert!(Seen::now(dir.path()).since(&before).is_empty());
        write("src/a.c", "22");
        write("b.c", "1");
        let changed = Seen::now(dir.path()).since(&before);
        assert_eq!(changed, [dir.path().join("b.c"), dir.path().join("src/a.c")]);
        fs::remove_file(dir.path().join("src/a.c")).unwrap();
        assert_eq!(Seen::now(dir.path()).since(&before).len(), 2);
    }
}

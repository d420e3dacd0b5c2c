//! Lists the clone's files for the checks that read them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Every file below `directory` with the extension, sorted; nothing from hidden
/// directories, build output, or what jobs have written.
pub(super) fn with_extension(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let list = fs::read_dir(&directory)
            .with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in list {
            let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            // The type of the entry itself: links are not followed.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if !name.starts_with('.') && !["target", "out", "node_modules"].contains(&&*name) {
                    open.push(path);
                }
            } else if path.extension() == Some(extension.as_ref()) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A path as it stands in the clone, with `/` on every system.
pub(super) fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_output_and_hidden_directories_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        for file in ["b/x.rs", "a.rs", "b/y.md", "target/z.rs", ".git/z.rs", "e/out/z.rs"] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = with_extension(root.path(), "rs").unwrap();
        let shown: Vec<_> = found.iter().map(|path| shown(root.path(), path)).collect();
        assert_eq!(shown, ["a.rs", "b/x.rs"]);
    }
}

//! No Rust file is longer than a reader can take in.

use std::{fs, path::Path};

use anyhow::Context;

use super::{Outcome, files, places};

/// A file past some 600 lines is asking to be cut; past this it is refused.
const MOST_LINES: usize = 700;

/// Names every file that is too long.
pub(super) fn check(root: &Path) -> Outcome {
    let mut found = Vec::new();
    for path in files::with_extension(root, "rs")? {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = text.lines().count();
        if lines > MOST_LINES {
            found.push(format!("{}: {lines} lines", files::shown(root, &path)));
        }
    }
    places(&format!("cut these files, which have more than {MOST_LINES} lines"), &found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_long_is_named_with_its_length() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("fits.rs"), "\n".repeat(MOST_LINES)).unwrap();
        assert!(check(root.path()).is_ok());
        fs::write(root.path().join("long.rs"), "\n".repeat(MOST_LINES + 1)).unwrap();
        let error = check(root.path()).unwrap_err().to_string();
        assert!(error.contains("long.rs: 701 lines") && !error.contains("fits.rs"), "{error}");
    }
}

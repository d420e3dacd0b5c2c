//! Whether two runs of a job wrote the same lines, in whatever order and files.

use std::{
    cmp::Ordering,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use flate2::read::MultiGzDecoder;

/// How many lines of a difference are shown.
const SHOWN: usize = 5;

/// Lines of one run that the other has not, and how many there are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Only {
    lines: Vec<String>,
    count: usize,
}

impl Only {
    fn add(&mut self, line: &str) {
        self.count += 1;
        if self.lines.len() < SHOWN {
            self.lines.push(line.to_owned());
        }
    }
}

/// The lines that a job's sink left in a directory: all complete files whose names begin
/// so. Sorted.
///
/// # Errors
/// If there are none, or they cannot be read.
pub(super) fn lines(directory: &Path, output: &str) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    let begins = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(output))
    };
    let files: Vec<_> = entries.iter().map(fs::DirEntry::path).filter(begins).collect();
    if files.is_empty() {
        bail!("nothing was written to {}", directory.join(output).display());
    }
    let mut lines = Vec::new();
    for file in files {
        let text = text(&file).with_context(|| format!("cannot read {}", file.display()))?;
        lines.extend(text.lines().map(str::to_owned));
    }
    lines.sort_unstable();
    Ok(lines)
}

fn text(file: &Path) -> Result<String> {
    let bytes = fs::read(file)?;
    if file.extension().is_some_and(|extension| extension == "gz") {
        let mut text = String::new();
        MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text)?;
        return Ok(text);
    }
    Ok(String::from_utf8(bytes)?)
}

/// That sorted lines are the same.
///
/// # Errors
/// With the lines that are lost, and those that are there twice or are wrong.
pub(super) fn same(wanted: &[String], found: &[String]) -> Result<()> {
    let (lost, surplus) = differences(wanted, found);
    if lost.count == 0 && surplus.count == 0 {
        return Ok(());
    }
    let mut said = String::new();
    for (what, only) in [("lost", &lost), ("too much", &surplus)] {
        said.push_str(&format!("\n  {} lines {what}", only.count));
        for line in &only.lines {
            said.push_str(&format!("\n    {line}"));
        }
    }
    bail!("of {} lines that were to be written:{said}", wanted.len());
}

fn differences(wanted: &[String], found: &[String]) -> (Only, Only) {
    let (mut lost, mut surplus) = (Only::default(), Only::default());
    let (mut w, mut f) = (wanted.iter().peekable(), found.iter().peekable());
    loop {
        let order = match (w.peek(), f.peek()) {
            (None, None) => return (lost, surplus),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(wanted), Some(found)) => wanted.cmp(found),
        };
        if order != Ordering::Greater
            && let Some(wanted) = w.next()
            && order == Ordering::Less
        {
            lost.add(wanted);
        }
        if order != Ordering::Less
            && let Some(found) = f.next()
            && order == Ordering::Greater
        {
            surplus.add(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_line_that_is_lost_and_one_that_is_there_twice_are_told() {
        let error = same(&own(&["a", "b", "c"]), &own(&["a", "a", "c"])).unwrap_err().to_string();
        assert!(error.contains("1 lines lost\n    b"), "{error}");
        assert!(error.contains("1 lines too much\n    a"), "{error}");
        assert!(same(&own(&["a", "a"]), &own(&["a"])).is_err());
        assert!(same(&own(&["a"]), &own(&["a", "a"])).is_err());
        assert!(same(&own(&["a", "b"]), &own(&["a", "b"])).is_ok());
    }

    #[test]
    fn lines_of_all_files_of_an_output_are_taken_together() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [("out-1.txt", "b\n"), ("out.txt", "c\na\n"), (".out.pending", "x\n")] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        assert_eq!(lines(directory.path(), "out").unwrap(), ["a", "b", "c"]);
        assert!(lines(directory.path(), "other").is_err(), "nothing is no output");
    }
}

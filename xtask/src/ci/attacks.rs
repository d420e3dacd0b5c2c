//! Every test that the tables in `docs/isolation.md` name is there.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};

use super::{Outcome, files, places};

const DOCUMENT: &str = "docs/isolation.md";
/// How a column of tests is headed.
const HEADING: &str = "test";

/// Compares the tests that are named with those that are written.
pub(super) fn check(root: &Path) -> Outcome {
    let path = root.join(DOCUMENT);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let named = named_tests(&text);
    let written = written_tests(root)?;
    let mut found: Vec<_> = named
        .iter()
        .filter(|(_, name)| !written.contains(*name))
        .map(|(line, name)| format!("{DOCUMENT}:{line}: `{name}`"))
        .collect();
    if named.is_empty() {
        found.push(format!("{DOCUMENT}: no table has a column `{HEADING}`"));
    }
    places("there are no such tests", &found)?;
    Ok(Some(format!("{} tests named", named.len())))
}

/// The names between backquotes in the last cell of each row of a table whose
/// last column is headed so, with their lines from 1.
fn named_tests(markdown: &str) -> Vec<(usize, &str)> {
    let mut named = Vec::new();
    let mut tests = false;
    for (index, line) in markdown.lines().enumerate() {
        let row = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|'));
        let Some(cell) = row.and_then(|row| row.rsplit('|').next()).map(str::trim) else {
            tests = false;
            continue;
        };
        if tests {
            named.extend(cell.split('`').skip(1).step_by(2).map(|name| (index + 1, name)));
        }
        tests |= cell == HEADING;
    }
    named
}

/// The names of all functions below `#[test]` and its like.
fn written_tests(root: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for path in files::with_extension(root, "rs")? {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        names.extend(tests_in(&text).into_iter().map(str::to_owned));
    }
    Ok(names)
}

fn tests_in(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(rest) =
            line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "))
        {
            if is_test {
                names.extend(rest.split('(').next());
            }
            is_test = false;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_column_of_tests_alone() {
        let text = "\
| `a` | test |
| --- | --- |
| `b` | `one_is_one`, `two` |

| `c` | note |
| --- | --- |
| `d` | `no_test` |";
        assert_eq!(named_tests(text), [(3, "one_is_one"), (3, "two")]);
    }

    #[test]
    fn only_functions_that_are_run_as_tests_count() {
        let source = "\
#[test]
fn one() {}
fn helper() {}
    #[tokio::test(flavor = \"multi_thread\")]
    #[ignore = \"slow\"]
    async fn two() {}";
        assert_eq!(tests_in(source), ["one", "two"]);
    }

    #[test]
    fn a_test_that_is_not_there_is_told_with_its_line() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        fs::write(root.path().join("a.rs"), "#[test]\nfn here() {}").unwrap();
        let table = "| x | test |\n|---|---|\n| y | `here` |\n| z | `gone` |";
        fs::write(root.path().join(DOCUMENT), table).unwrap();
        let error = check(root.path()).unwrap_err().to_string();
        assert_eq!(error, "there are no such tests:\n  docs/isolation.md:4: `gone`");
        fs::write(root.path().join(DOCUMENT), "no table").unwrap();
        assert!(check(root.path()).is_err());
    }
}

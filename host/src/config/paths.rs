//! File names in a job file: relative to its directory, with `*` and `?` in
//! the last component.

use std::path::{Path, PathBuf};

use super::{
    node::{Node, Value},
    section::{self, Read, Refusal},
};

/// The directory that paths are relative to.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The job file's.
    pub(super) fn of(origin: &Path) -> Self {
        let absolute = std::path::absolute(origin).unwrap_or_else(|_| origin.to_owned());
        Self(absolute.parent().map_or_else(PathBuf::new, Path::to_owned))
    }

    /// A path that need not exist.
    pub(super) fn path(&self, node: &Node) -> Read<PathBuf> {
        let text = section::text(node)?;
        if text.is_empty() || text.contains('\0') {
            return Err(Refusal::new("must be a path, which cannot be empty"));
        }
        Ok(self.0.join(text))
    }

    /// A file that must be there.
    pub(super) fn file(&self, node: &Node) -> Read<PathBuf> {
        let path = self.path(node)?;
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => Err(Refusal::new("must be a file, not a directory")
                .with_help("name its files: \"data/*.csv\"")),
            Ok(_) => Ok(path),
            Err(error) => {
                let message = format!("names a file that cannot be read: {error}");
                Err(Refusal::new(message).with_help(format!("looked for {}", path.display())))
            }
        }
    }

    /// The files that one pattern or a list of them matches, sorted, each once.
    pub(super) fn files(&self, node: &Node) -> Read<Vec<PathBuf>> {
        let mut files = match &node.value {
            Value::List(patterns) if patterns.is_empty() => {
                return Err(Refusal::new("is an empty list: name at least one file"));
            }
            Value::List(_) => {
                section::list(|item| self.matching(item))(node)?.into_iter().flatten().collect()
            }
            _ => self.matching(node)?,
        };
        files.sort();
        files.dedup();
        Ok(files)
    }

    fn matching(&self, node: &Node) -> Read<Vec<PathBuf>> {
        let path = self.path(node)?;
        let Some(pattern) = path.file_name().and_then(|name| name.to_str()) else {
            return self.file(node).map(|file| vec![file]);
        };
        if !pattern.contains(['*', '?']) {
            return self.file(node).map(|file| vec![file]);
        }
        let directory = path.parent().unwrap_or(&self.0);
        let listing = std::fs::read_dir(directory).map_err(|error| {
            Refusal::new(format!("names a directory that cannot be read: {error}"))
                .with_help(format!("looked in {}", directory.display()))
        })?;
        let pattern: Vec<char> = pattern.chars().collect();
        let hidden = pattern[0] == '.';
        let files: Vec<PathBuf> = listing
            .filter_map(Result::ok)
            .filter(|entry| {
                entry.file_name().to_str().is_some_and(|name| {
                    let chars: Vec<char> = name.chars().collect();
                    (hidden || !name.starts_with('.')) && matches(&pattern, &chars)
                })
            })
            .map(|entry| entry.path())
            .filter(|path| !path.is_dir())
            .collect();
        if files.is_empty() {
            let help = format!("looked in {}", directory.display());
            return Err(Refusal::new("matches no file").with_help(help));
        }
        Ok(files)
    }
}

/// Whether a name matches a pattern in which `*` is any text and `?` any
/// character. Remembers only the last star, so it takes at most
/// `pattern · name` steps.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    (p, n) = (*at + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hit(pattern: &str, name: &str) -> bool {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        matches(&chars(pattern), &chars(name))
    }

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        for (pattern, name) in
            [("*", ""), ("*.csv", "a.csv"), ("a*b*c", "aXbYbZc"), ("?.gz", "é.gz"), ("**", "x")]
        {
            assert!(hit(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.csv", "a.csv.gz"), ("?", ""), ("a*b", "ab c"), ("", "x"), ("a?c", "ac")]
        {
            assert!(!hit(pattern, name), "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_with_any_part_starred_out(
            name in "[ab.]{0,12}", from in 0_usize..13, len in 0_usize..13,
        ) {
            let from = from.min(name.len());
            let to = (from + len).min(name.len());
            let pattern = format!("{}*{}", &name[..from], &name[to..]);
            prop_assert!(hit(&pattern, &name));
        }
    }
}

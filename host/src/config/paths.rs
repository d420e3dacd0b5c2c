//! File names in a job file: relative to its directory, with `*` and `?` in
//! the last component.

use std::path::{Path, PathBuf};

use super::{
    node::{Node, Value},
    section::{self, Read, Refusal},
};

/// The directory that paths are relative to, and those that they must stay below, if any.
#[derive(Debug)]
pub(super) struct Folder(PathBuf, Option<Vec<PathBuf>>);

impl Folder {
    /// The job file's.
    pub(super) fn of(origin: &Path) -> Self {
        let absolute = std::path::absolute(origin).unwrap_or_else(|_| origin.to_owned());
        Self(absolute.parent().map_or_else(PathBuf::new, Path::to_owned), None)
    }

    /// That of somebody who may name no other files of this machine than those in it, and in
    /// these others.
    pub(super) fn walled(home: &Path, others: &[PathBuf]) -> Self {
        // What a wall leads to by links is meant; one that is not there holds nothing.
        let real = |path: &PathBuf| std::fs::canonicalize(path).ok();
        let walls = std::iter::once(&home.to_owned()).chain(others).filter_map(real).collect();
        Self(home.to_owned(), Some(walls))
    }

    /// Whether files can be named that are not the reader's.
    pub(super) fn is_walled(&self) -> bool {
        self.1.is_some()
    }

    /// The path as the person who wrote the job file knows it.
    pub(super) fn shown<'p>(&self, path: &'p Path) -> std::path::Display<'p> {
        match &self.1 {
            Some(_) => path.strip_prefix(&self.0).unwrap_or(path).display(),
            None => path.display(),
        }
    }

    /// That a path leads to nothing outside the walls, neither as it is written nor by links.
    fn check(&self, path: &Path) -> Read<()> {
        let Some(walls) = &self.1 else { return Ok(()) };
        let dots = path.components().any(|part| part == std::path::Component::ParentDir);
        // What is not there yet will be below the nearest directory that is.
        let there = path.ancestors().find_map(|dir| std::fs::canonicalize(dir).ok());
        let inside = there.is_some_and(|there| walls.iter().any(|wall| there.starts_with(wall)));
        if inside && !dots {
            return Ok(());
        }
        Err(Refusal::new("names a file outside the directory of the tenant's files").with_help(
            "write a path relative to it, such as \"in/*.csv\"; others must be listed in the \
             server's configuration",
        ))
    }

    /// A path that need not exist.
    pub(super) fn path(&self, node: &Node) -> Read<PathBuf> {
        let text = section::text(node)?;
        if text.is_empty() || text.contains('\0') {
            return Err(Refusal::new("must be a path, which cannot be empty"));
        }
        let path = self.0.join(text);
        self.check(&path)?;
        Ok(path)
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
                Err(Refusal::new(message).with_help(format!("looked for {}", self.shown(&path))))
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
                .with_help(format!("looked in {}", self.shown(directory)))
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
        files.iter().try_for_each(|file| self.check(file))?;
        if files.is_empty() {
            let help = format!("looked in {}", self.shown(directory));
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

    #[test]
    fn a_walled_folder_is_not_left_by_any_path() {
        let dir = tempfile::tempdir().unwrap();
        let (home, data) = (dir.path().join("home"), dir.path().join("data"));
        for path in [&home, &data, &home.join("sub"), &dir.path().join("home2")] {
            std::fs::create_dir(path).unwrap();
        }
        std::os::unix::fs::symlink("/etc", home.join("link")).unwrap();
        let folder = Folder::walled(&home, std::slice::from_ref(&data));
        let inside = |text: &str| folder.check(&home.join(text)).is_ok();
        let of_data = data.join("new/file").display().to_string();
        for good in ["a.csv", "sub/new/deeper.csv", of_data.as_str(), "..a", "sub/./x"] {
            assert!(inside(good), "{good}");
        }
        let beside = format!("{}2/x", home.display());
        for bad in ["../x", "sub/../../x", "sub/../x", "/etc/passwd", "link/passwd", "/", &beside] {
            assert!(!inside(bad), "{bad}");
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

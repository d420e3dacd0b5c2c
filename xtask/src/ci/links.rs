//! Every relative link in a Markdown file leads to a file that is there.

use std::{fs, path::Path};

use anyhow::Context;

use super::{Outcome, files, places};

/// Names every link that leads nowhere.
pub(super) fn check(root: &Path) -> Outcome {
    let mut found = Vec::new();
    for path in files::with_extension(root, "md")? {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let directory = path.parent().unwrap_or(root);
        for (line, link) in relative_links(&text) {
            if !directory.join(link).exists() {
                found.push(format!("{}:{line}: {link}", files::shown(root, &path)));
            }
        }
    }
    places("these links lead nowhere", &found)
}

/// The file that each `](link)` outside code names, with its line from 1. Links
/// to the web and within the page are left out.
fn relative_links(markdown: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut fenced = false;
    for (index, line) in markdown.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second piece between backquotes is code.
        for prose in line.split('`').step_by(2) {
            links.extend(prose.match_indices("](").filter_map(|(at, opening)| {
                let link = prose[at + opening.len()..].split_once(')')?.0;
                let file = link.split(['#', ' ']).next()?;
                (!file.is_empty() && !file.contains(':')).then_some((index + 1, file))
            }));
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_links_outside_code_are_followed() {
        let text = "\
[a](docs/a.md) and [b](b.md#part), [`code`](c.md)
[web](https://example.org/x) [here](#there) `[no](no.md)`
```
[no](either.md)
```
![image](d.png \"title\")";
        let expected = [(1, "docs/a.md"), (1, "b.md"), (1, "c.md"), (6, "d.png")];
        assert_eq!(relative_links(text), expected);
    }

    #[test]
    fn a_link_is_resolved_from_the_file_that_it_stands_in() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        fs::write(root.path().join("README.md"), "[d](docs/d.md)").unwrap();
        fs::write(root.path().join("docs/d.md"), "[up](../README.md)\n[bad](README.md)").unwrap();
        let error = check(root.path()).unwrap_err().to_string();
        assert_eq!(error, "these links lead nowhere:\n  docs/d.md:2: README.md");
    }
}

//! Making a project: the files of its language and kind, the cases of that kind, and all of the
//! SDK that it needs, so that it can be built without anything of ours but the program.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    embedded,
    kind::Kind,
    language::Language,
    project::{CASES, FILE},
};
use crate::ids::ArtifactName;

/// What is to be made.
#[derive(Debug, Clone)]
pub struct New {
    /// What the operator is called.
    pub name: ArtifactName,
    /// What it is written in.
    pub language: Language,
    /// What it does at first.
    pub kind: Kind,
}

/// Why it was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    /// There is nothing of that kind in the language.
    #[error("there is no kind `{}` in {}: its kinds are filter and map", kind.word(), language.word())]
    NoSuchKind {
        /// Which kind.
        kind: Kind,
        /// Which language.
        language: Language,
    },
    /// There is something already.
    #[error("{} is there already, and not empty: name another folder with --dir DIR", dir.display())]
    There {
        /// Where.
        dir: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        reason: io::Error,
    },
}

impl New {
    /// The files of the project, by their path in it.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, String> {
        let recipe = self.language.recipe();
        let mut files = BTreeMap::new();
        files.insert(FILE.to_owned(), self.operator_toml());
        for (path, text) in embedded::below(recipe.project) {
            files.insert(self.fill(&hidden(path)), self.fill(text));
        }
        for (from, to) in recipe.sources {
            if let Some(text) = embedded::text(&self.place(from)) {
                files.insert(self.place(&self.fill(to)), self.fill(text));
            }
        }
        for (path, text) in embedded::below(&self.language.cases(self.kind)) {
            files.insert(format!("{CASES}/{path}"), text.to_owned());
        }
        for (from, to) in recipe.sdk {
            if let Some(text) = embedded::text(from) {
                files.insert(format!("cofferdam/{to}"), by_itself(text));
            }
            let folder = if to.is_empty() { String::new() } else { format!("{to}/") };
            for (path, text) in embedded::below(from) {
                files.insert(format!("cofferdam/{folder}{path}"), by_itself(text));
            }
        }
        for (path, text) in embedded::below("wit") {
            files.insert(format!("cofferdam/wit/{path}"), text.to_owned());
        }
        files
    }

    /// Makes the project in a folder that is empty, or not there.
    ///
    /// # Errors
    /// If there is something in it, or a file cannot be written.
    pub fn make(&self, dir: &Path) -> Result<(), NotMade> {
        if !self.language.makes(self.kind) {
            return Err(NotMade::NoSuchKind { kind: self.kind, language: self.language });
        }
        if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(NotMade::There { dir: dir.to_owned() });
        }
        for (path, text) in self.files() {
            let path = dir.join(path);
            let folder = path.parent().unwrap_or(dir);
            let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
            written.map_err(|reason| NotMade::Write { path, reason })?;
        }
        Ok(())
    }

    fn operator_toml(&self) -> String {
        format!(
            "# What `cofferdam operator` is to know of this operator: docs/authoring/README.md.\n\
             name = \"{}\"\nversion = \"0.1.0\"\nlanguage = \"{}\"\n\
             # Which interfaces of the contract it exports: cofferdam/wit/world.wit.\n\
             world = \"{}\"\n",
            self.name,
            self.language.word(),
            self.kind.world().word(),
        )
    }

    /// What stands in a text for the project's own words.
    fn fill(&self, text: &str) -> String {
        text.replace("{{name}}", self.name.as_str())
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
            .replace("{{kind}}", self.kind.word())
    }

    fn place(&self, path: &str) -> String {
        let word = self.kind.word();
        path.replace("{kind}", word).replace("{kind_}", &word.replace('-', "_"))
    }
}

/// A file of the SDK out of this repository, whose workspace says how strict its compiler is.
fn by_itself(text: &str) -> String {
    text.replace("\n[lints]\nworkspace = true\n", "")
}

/// What git is to leave out stands in a file that git of this repository must not heed.
fn hidden(path: &str) -> String {
    match path.strip_suffix("gitignore") {
        Some("") => ".gitignore".to_owned(),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    fn all() -> impl Iterator<Item = New> {
        Language::value_variants().iter().flat_map(|language| {
            let kinds = Kind::value_variants().iter().filter(|kind| language.makes(**kind));
            kinds.map(|kind| New {
                name: ArtifactName::new("my-op").unwrap(),
                language: *language,
                kind: *kind,
            })
        })
    }

    #[test]
    fn every_kind_of_every_language_has_its_source_its_case_and_the_contract() {
        for new in all() {
            let files = new.files();
            let what = format!("{} in {}", new.kind.word(), new.language.word());
            for (from, to) in new.language.recipe().sources {
                let to = new.place(&new.fill(to));
                // The one that fails is for the conformance suite: not every language tests it.
                let needed = new.kind != Kind::Failing || !from.contains("test");
                assert!(!needed || files.contains_key(&to), "{what}: no {to}, of {from}");
            }
            let mut wanted = vec![FILE, "README.md", ".gitignore", "cofferdam/wit/world.wit"];
            if new.kind != Kind::Failing {
                wanted.extend(["tests/sample/input.jsonl", "tests/sample/expect.jsonl"]);
            }
            for must in wanted {
                assert!(files.contains_key(must), "{what}: no {must}");
            }
            for (path, text) in &files {
                let rest = path.starts_with("cofferdam/");
                let left = ["{{name", "{{version", "{{kind"].iter().any(|word| text.contains(word));
                assert!(rest || !left, "{what}: {path} is not filled in");
            }
        }
    }

    #[test]
    fn a_project_is_not_written_over_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let new = all().next().unwrap();
        let at = dir.path().join("my-op");
        new.make(&at).unwrap();
        assert!(at.join(FILE).is_file());
        assert!(new.make(&at).unwrap_err().to_string().contains("--dir"));
    }
}

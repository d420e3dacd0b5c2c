//! An operator's project: a folder with `operator.toml` in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{kind::World, language::Language};
use crate::{
    config::job::Grant,
    ids::{ArtifactName, VersionName},
};

/// What the file is called.
pub const FILE: &str = "operator.toml";
/// Where what is built goes.
pub const BUILD: &str = "build";
/// Where cases are.
pub const CASES: &str = "tests";

/// What every operator may import: the contract's own.
pub const OWN: [Grant; 3] = [Grant::Log, Grant::Config, Grant::Metrics];

/// A project.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// Its folder.
    pub dir: PathBuf,
    /// What the operator is called.
    pub name: ArtifactName,
    /// Which version it is.
    pub version: VersionName,
    /// What it is written in.
    pub language: Language,
    /// What it exports.
    pub world: World,
    /// What it may import: the contract's own, and what the file says beside it.
    pub grants: Vec<Grant>,
    /// Whether a core module that imports WASI of before components is to get that of today, which
    /// a job must be granted then, and not one that has no authority at all.
    pub wasi: bool,
    /// What is said of its build; the language says what can be.
    pub settings: toml::Table,
}

/// As it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    version: String,
    language: Language,
    world: World,
    #[serde(default)]
    grants: Vec<String>,
    #[serde(default)]
    wasi: bool,
    #[serde(default)]
    build: toml::Table,
}

/// Why there is no project.
#[derive(Debug, thiserror::Error)]
pub enum NoProject {
    /// There is no such file here, or above.
    #[error(
        "there is no {FILE} in {}: name an operator's folder, or make one with `cofferdam operator \
         new NAME --lang LANG`", dir.display()
    )]
    NotThere {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// It is none.
    #[error("{}: {why}", file.display())]
    Wrong {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Project {
    /// Reads the project in a folder.
    ///
    /// # Errors
    /// If there is none, or its file is wrong.
    pub fn open(dir: &Path) -> Result<Self, NoProject> {
        let file = dir.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(NoProject::NotThere { dir: dir.to_owned() });
            }
            Err(error) => return Err(NoProject::Wrong { file, why: error.to_string() }),
        };
        Self::read(dir, &text).map_err(|why| NoProject::Wrong { file, why })
    }

    fn read(dir: &Path, text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        let known = written.language.recipe().settings;
        if let Some(other) = written.build.keys().find(|key| !known.contains(&key.as_str())) {
            let language = written.language.word();
            return Err(match known {
                [] => format!("`build.{other}`: nothing can be said of a build of {language}"),
                known => format!(
                    "`build.{other}` cannot be said of a build of {language}; what can: {}",
                    known.join(", ")
                ),
            });
        }
        let beside = written.grants.iter().map(|grant| Grant::named(grant));
        let grants = OWN.map(Ok).into_iter().chain(beside);
        Ok(Self {
            dir: dir.to_owned(),
            name: ArtifactName::new(&*written.name).map_err(|bad| format!("`name`: {bad}"))?,
            version: VersionName::new(&*written.version)
                .map_err(|bad| format!("`version`: {bad}"))?,
            language: written.language,
            world: written.world,
            grants: grants.collect::<Result<_, _>>().map_err(|bad| format!("`grants`: {bad}"))?,
            wasi: written.wasi,
            settings: written.build,
        })
    }

    /// What is said of its build, if it is a text.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).and_then(toml::Value::as_str)
    }

    /// Where its component is, when it is built.
    #[must_use]
    pub fn component(&self) -> PathBuf {
        self.dir.join(BUILD).join(format!("{}.wasm", self.name))
    }

    /// The SDK's folder in it.
    #[must_use]
    pub fn sdk(&self) -> PathBuf {
        self.dir.join("cofferdam")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Project, String> {
        Project::read(Path::new("/p"), text)
    }

    const GOOD: &str = "name = \"a-b\"\nversion = \"1.0.0\"\nlanguage = \"rust\"\n\
                        world = \"keyed-operator\"\n";

    #[test]
    fn a_project_says_what_it_is_called_and_written_in() {
        let project = read(GOOD).unwrap();
        assert_eq!((project.language, project.world), (Language::Rust, World::Keyed));
        assert_eq!(project.component(), Path::new("/p/build/a-b.wasm"));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (from, to, said) in [
            ("\"rust\"", "\"ruby\"", "unknown variant `ruby`"),
            ("keyed-operator", "keyed", "unknown variant `keyed`"),
            ("\"a-b\"", "\"A B\"", "`name`"),
            ("version", "vresion", "line 2"),
        ] {
            let error = read(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let error = read(&format!("{GOOD}[build]\nfast = true\n")).unwrap_err();
        assert!(error.contains("`build.fast`"), "{error}");
        let error = read(&format!("{GOOD}grants = [\"everything\"]\n")).unwrap_err();
        assert!(error.contains("`grants`"), "{error}");
    }

    #[test]
    fn a_folder_without_the_file_says_how_to_make_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = Project::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("operator new"), "{error}");
    }
}

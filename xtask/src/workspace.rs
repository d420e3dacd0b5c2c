//! Where things lie: the clone, the target directory (which may be outside the
//! clone), the guests. Asked from cargo once, never guessed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// The environment variable by which tests and the `cofferdam` program find the
/// components that `cargo xtask guests` built.
pub(crate) const ARTIFACTS_VARIABLE: &str = "COFFERDAM_ARTIFACTS";

/// What `cargo metadata` says of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    /// The clone.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// `CARGO_TARGET_DIR`, or what the configuration says, or `target`.
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    rust_version: Option<String>,
    #[serde(default)]
    description: Option<String>,
    /// `[package.metadata]`
    #[serde(default)]
    metadata: serde_json::Value,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

/// A crate that is built for WebAssembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guest {
    /// The artifact's name: the name of the crate's directory.
    pub(crate) name: String,
    /// The cargo package.
    pub(crate) package: String,
    /// Its `Cargo.toml`.
    pub(crate) manifest: PathBuf,
    /// The oldest rustc that it says it builds with.
    pub(crate) rust_version: Option<String>,
    /// Whether it comes with the program: all of `operators/` does, but what says
    /// `[package.metadata.cofferdam] shelf = false`.
    pub(crate) shelf: bool,
    /// What it does, in a line.
    pub(crate) about: String,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// If cargo cannot be run or refuses the workspace.
    pub(crate) fn load() -> Result<Self> {
        let json = process::output(process::cargo().args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version=1",
        ]))?;
        serde_json::from_str(&json).context("cannot read the answer of `cargo metadata`")
    }

    /// Every package with a `cdylib` directly below `operators/` or
    /// `tests/guests/`, by name.
    pub(crate) fn guests(&self) -> Vec<Guest> {
        let rooms = [self.root.join("operators"), self.root.join("tests/guests")];
        let mut guests: Vec<Guest> = self
            .packages
            .iter()
            .filter(|p| p.targets.iter().any(|t| t.kind.iter().any(|k| k == "cdylib")))
            .filter_map(|package| {
                let directory = package.manifest_path.parent()?;
                let room = directory.parent()?;
                rooms.iter().any(|r| r == room).then(|| Guest {
                    name: directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                    package: package.name.clone(),
                    manifest: package.manifest_path.clone(),
                    rust_version: package.rust_version.clone(),
                    shelf: room == rooms[0] && package.metadata["cofferdam"]["shelf"] != false,
                    about: package.description.clone().unwrap_or_default(),
                })
            })
            .collect();
        guests.sort_by(|a, b| a.name.cmp(&b.name));
        guests
    }

    /// Where the finished components lie.
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// A path as the person sees it: relative to the clone where it is inside.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_the_cdylibs_right_below_their_rooms() {
        let package = |name: &str, manifest: &str, kind: &str| Package {
            name: name.into(),
            manifest_path: manifest.into(),
            rust_version: Some("1.95".into()),
            description: None,
            metadata: serde_json::json!({"cofferdam": {"shelf": name != "measure"}}),
            targets: vec![Target { kind: vec![kind.into()] }],
        };
        let workspace = Workspace {
            root: "/clone".into(),
            target: "/clone/target".into(),
            packages: vec![
                package("cofferdam-top-n", "/clone/operators/top-n/Cargo.toml", "cdylib"),
                package("measure", "/clone/operators/measure/Cargo.toml", "cdylib"),
                package("guest-trap", "/clone/tests/guests/trap/Cargo.toml", "cdylib"),
                package("helper", "/clone/operators/helper/Cargo.toml", "lib"),
                package("plugin", "/clone/host/plugin/Cargo.toml", "cdylib"),
                package("deep", "/clone/operators/top-n/deep/Cargo.toml", "cdylib"),
            ],
        };
        let guests = workspace.guests().into_iter();
        let names: Vec<_> = guests.map(|g| (g.name, g.package, g.shelf)).collect();
        let expected = [
            ("measure", "measure", false),
            ("top-n", "cofferdam-top-n", true),
            ("trap", "guest-trap", false),
        ];
        assert_eq!(names, expected.map(|(n, p, shelf)| (n.to_owned(), p.to_owned(), shelf)));
    }

    #[test]
    fn paths_in_the_clone_are_shown_relative_to_it() {
        let workspace =
            Workspace { root: "/clone".into(), target: "/t".into(), packages: Vec::new() };
        assert_eq!(workspace.shown(Path::new("/clone/a/b")).to_string(), "a/b");
        assert_eq!(workspace.shown(Path::new("/t/guests")).to_string(), "/t/guests");
    }
}

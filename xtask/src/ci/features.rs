//! Crates that Cofferdam is built on have the same features whatever part of the
//! workspace is built, so that wasmtime is compiled once and not again for the
//! tests. Cargo unites the features of the packages that are selected.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::Result;

use super::{Outcome, places};
use crate::process;

/// The features that each crate is built with, by name and version. More than
/// one list where build scripts and the program use it differently.
type Features = BTreeMap<String, BTreeSet<String>>;

/// Compares `cargo build -p cofferdam` with a build and a test of everything.
pub(super) fn check(root: &Path) -> Outcome {
    let program = selected(root, &["--package", "cofferdam", "--edges", "normal,build"])?;
    let mut found = BTreeSet::new();
    for edges in ["normal,build", "normal,build,dev"] {
        let everything = selected(root, &["--workspace", "--edges", edges])?;
        found.extend(differences(&program, &everything));
    }
    let found: Vec<String> = found.into_iter().collect();
    places("name these features in host/Cargo.toml, or wasmtime is built more than once", &found)
}

/// What cargo would build for some packages of the workspace.
fn selected(root: &Path, selection: &[&str]) -> Result<Features> {
    let mut command = process::cargo();
    command
        .args(["tree", "--quiet", "--locked", "--no-dedupe", "--prefix", "none"])
        .args(["--format", "{p} [{f}]"])
        .args(selection)
        .current_dir(root);
    Ok(parse(&process::output(&mut command)?))
}

fn parse(tree: &str) -> Features {
    let mut features = Features::new();
    for line in tree.lines() {
        if let Some((package, list)) = line.trim().split_once(" [") {
            let list = list.trim_end_matches(']').to_owned();
            features.entry(package.to_owned()).or_default().insert(list);
        }
    }
    features
}

/// Crates of the program that are built otherwise among everything.
fn differences(program: &Features, everything: &Features) -> Vec<String> {
    let changed = program.iter().filter_map(|(package, alone)| {
        let together = everything.get(package)?;
        let shown = |lists: &BTreeSet<String>| {
            lists.iter().map(|list| format!("[{list}]")).collect::<Vec<_>>().join(" and ")
        };
        (alone != together).then(|| {
            format!("{package}: alone {}, with the others {}", shown(alone), shown(together))
        })
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_crates_of_the_program_with_other_features_are_told() {
        let program = parse("a v1.0.0 []\nb v1.0.0 [std]\nb v1.0.0 []\n\nc v2.0.0 [x,y]\n");
        let everything =
            parse("a v1.0.0 []\nb v1.0.0 [std]\nb v1.0.0 []\nc v2.0.0 [x,y,z]\nd v1.0.0 [q]");
        assert_eq!(
            differences(&program, &everything),
            ["c v2.0.0: alone [x,y], with the others [x,y,z]"]
        );
        assert!(differences(&program, &program).is_empty());
    }
}

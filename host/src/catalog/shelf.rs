//! The shelf: the operators that come with the program, for everybody. They are found in the
//! directories where operators are looked for by name, in each of which `index.json` says which of
//! its components are of the shelf, and in the program itself, if it was built with them
//! (`cargo xtask release`, `host/build.rs`; `docs/decisions/0015`). Running them is for others.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::read_bounded;
use crate::{
    ids::{ArtifactDigest, ArtifactName},
    sandbox::artifact::MAX_ARTIFACT,
};

/// What lists the components of a directory.
const INDEX: &str = "index.json";
/// The longest list that is read, in bytes.
const LONGEST_INDEX: u64 = 1 << 20;

/// What the program was built with: `INDEX`, and `FILES`, each compressed with zstd.
mod built_with {
    include!(concat!(env!("OUT_DIR"), "/shelf.rs"));
}

/// A component of the list; fields that are not of interest here are left out.
#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    file: String,
    sha256: String,
    size: u64,
    /// Whether it is meant for users: what tests misbehave with is not.
    #[serde(default)]
    shelf: bool,
    /// What it does, in a line.
    #[serde(default)]
    about: String,
}

/// An operator of the shelf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnShelf {
    /// Its name.
    pub name: ArtifactName,
    /// What it does, in a line.
    pub about: String,
    /// The SHA-256 digest of its component.
    pub digest: ArtifactDigest,
    /// How many bytes that has.
    pub size: u64,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    /// In the program, compressed.
    Program(&'static [u8]),
}

/// The operators that come with the program.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    operators: BTreeMap<ArtifactName, Arc<OnShelf>>,
}

impl Shelf {
    /// What there is in these directories, the first of a name, and in the program. A list that
    /// cannot be read is logged, and counts as none. Blocks.
    #[must_use]
    pub fn find(dirs: &[PathBuf]) -> Self {
        let mut shelf = Self::default();
        for dir in dirs {
            match read_index(dir) {
                Ok(None) => {}
                Ok(Some(text)) => shelf.add(&text, &dir.display(), |file| {
                    let path = dir.join(file);
                    path.is_file().then_some(Place::File(path))
                }),
                Err(error) => {
                    tracing::warn!("{} is not used: {error}", dir.join(INDEX).display());
                }
            }
        }
        for (name, operator) in &of_program().operators {
            shelf.operators.entry(name.clone()).or_insert_with(|| operator.clone());
        }
        shelf
    }

    fn embedded() -> Self {
        let mut shelf = Self::default();
        if let Some(index) = built_with::INDEX {
            shelf.add(index, &"the program's own list", |file| {
                let found = built_with::FILES
                    .iter()
                    .find(|(name, _)| name.strip_suffix(".zst") == Some(file));
                found.map(|(_, bytes)| Place::Program(bytes))
            });
        }
        shelf
    }

    fn add(
        &mut self,
        index: &str,
        origin: &dyn std::fmt::Display,
        place: impl Fn(&str) -> Option<Place>,
    ) {
        let entries: Vec<Entry> = match serde_json::from_str(index) {
            Ok(entries) => entries,
            Err(error) => return tracing::warn!("{origin}: {INDEX} is not used: {error}"),
        };
        for Entry { name, file, sha256, size, about, .. } in
            entries.into_iter().filter(|entry| entry.shelf)
        {
            let (Ok(name), Ok(digest)) = (ArtifactName::new(name), sha256.parse()) else {
                tracing::warn!("{origin}: {INDEX} lists `{file}` with no name or digest");
                continue;
            };
            // A name and nothing else: what lies elsewhere is no part of the shelf.
            let inside = Path::new(&file).file_name().is_some_and(|only| only == file.as_str());
            let Some(place) = Some(&file).filter(|_| inside).and_then(|file| place(file)) else {
                tracing::warn!("{origin}: `{file}`, which {INDEX} lists, is not there");
                continue;
            };
            let operator = OnShelf { name: name.clone(), about, digest, size, place };
            self.operators.entry(name).or_insert_with(|| Arc::new(operator));
        }
    }

    /// The operator of a name.
    #[must_use]
    pub fn get(&self, name: &ArtifactName) -> Option<&Arc<OnShelf>> {
        self.operators.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<OnShelf>> {
        self.operators.values()
    }

    /// Whether there is none: a program that was built alone, and lies alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operators.is_empty()
    }
}

/// What the program has of its own.
pub fn of_program() -> &'static Shelf {
    // It is listed once.
    static EMBEDDED: OnceLock<Shelf> = OnceLock::new();
    EMBEDDED.get_or_init(Shelf::embedded)
}

impl OnShelf {
    /// Its component. Blocks.
    ///
    /// # Errors
    /// If it cannot be read, or is not what was listed.
    pub fn bytes(&self) -> io::Result<Cow<'static, [u8]>> {
        let bytes = match &self.place {
            Place::File(path) => read_bounded(path)?.map_err(io::Error::other)?,
            Place::Program(compressed) => zstd::bulk::decompress(
                compressed,
                usize::try_from(self.size).map_or(MAX_ARTIFACT, |size| size.min(MAX_ARTIFACT)),
            )?,
        };
        if ArtifactDigest(Sha256::digest(&bytes).into()) != self.digest {
            return Err(io::Error::other(
                "it has changed since the program was started: start that again",
            ));
        }
        Ok(bytes.into())
    }

    /// The file that it lies in, if it is not in the program.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Program(_) => None,
        }
    }
}

/// The operator of a name that the program itself has.
#[must_use]
pub(super) fn in_program(name: &str) -> Option<Arc<OnShelf>> {
    let name = ArtifactName::new(name).ok()?;
    of_program().get(&name).cloned()
}

/// The names of all that the program itself has.
pub(super) fn names_in_program() -> impl Iterator<Item = String> {
    of_program().iter().map(|operator| operator.name.to_string())
}

fn read_index(dir: &Path) -> io::Result<Option<String>> {
    let path = dir.join(INDEX);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(about) if about.len() > LONGEST_INDEX => Err(io::Error::other("it is too long")),
        Ok(_) => fs::read_to_string(&path).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::artifact::digest_of;

    fn name(text: &str) -> ArtifactName {
        ArtifactName::new(text).unwrap()
    }

    fn listed(dir: &Path, entries: &[(&str, &str, bool)]) {
        let entries = entries.iter().map(|(name, bytes, shelf)| {
            serde_json::json!({
                "name": name, "file": format!("{name}.wasm"), "sha256": digest_of(bytes.as_bytes()),
                "size": bytes.len(), "module_sha256": "", "shelf": shelf, "about": "does it",
            })
        });
        let list = serde_json::Value::Array(entries.collect()).to_string();
        fs::write(dir.join(INDEX), list).unwrap();
    }

    #[test]
    fn what_is_listed_for_users_is_on_the_shelf_and_the_first_of_a_name_counts() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&one, &other] {
            for file in ["a", "b", "hoard"] {
                fs::write(dir.path().join(format!("{file}.wasm")), file).unwrap();
            }
        }
        listed(one.path(), &[("a", "a", true), ("hoard", "hoard", false), ("gone", "", true)]);
        listed(other.path(), &[("a", "other", true), ("b", "b", true)]);
        let dirs = [PathBuf::from("/nowhere"), one.path().to_owned(), other.path().to_owned()];
        let shelf = Shelf::find(&dirs);
        let names: Vec<_> = shelf
            .iter()
            .filter(|operator| operator.file().is_some())
            .map(|operator| operator.name.as_str())
            .collect();
        assert_eq!(names, ["a", "b"]);
        let a = shelf.get(&name("a")).unwrap();
        assert_eq!((a.file(), a.about.as_str()), (Some(&*one.path().join("a.wasm")), "does it"));
        assert_eq!(a.bytes().unwrap(), b"a".as_slice());
    }

    #[test]
    fn a_component_that_is_not_what_was_listed_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.wasm"), "a").unwrap();
        listed(dir.path(), &[("a", "a", true)]);
        let shelf = Shelf::find(&[dir.path().to_owned()]);
        fs::write(dir.path().join("a.wasm"), "b").unwrap();
        let error = shelf.get(&name("a")).unwrap().bytes().unwrap_err();
        assert!(error.to_string().contains("changed"), "{error}");
    }

    #[test]
    fn a_list_can_name_no_file_elsewhere_and_one_that_is_damaged_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(dir.path().join("a.wasm"), "a").unwrap();
        let entry = serde_json::json!([{
            "name": "outside", "file": "../a.wasm", "sha256": digest_of(b"a"), "size": 1, "shelf": true,
        }]);
        fs::write(inner.join(INDEX), entry.to_string()).unwrap();
        assert!(Shelf::find(std::slice::from_ref(&inner)).get(&name("outside")).is_none());
        fs::write(inner.join(INDEX), "[{").unwrap();
        assert!(Shelf::find(&[inner]).iter().all(|operator| operator.file().is_none()));
    }

    #[test]
    fn a_component_in_the_program_is_unpacked_and_held_to_its_digest() {
        let component = b"\0asm and so on, and so on, and so on".as_slice();
        let packed: &'static [u8] = zstd::bulk::compress(component, 19).unwrap().leak();
        let of = |digest: &str, size| OnShelf {
            name: name("a"),
            about: String::new(),
            digest: digest.parse().unwrap(),
            size,
            place: Place::Program(packed),
        };
        let right = of(&digest_of(component), component.len() as u64);
        assert_eq!(right.bytes().unwrap(), component);
        assert!(of(&digest_of(b"other"), component.len() as u64).bytes().is_err());
        assert!(of(&digest_of(component), 3).bytes().is_err(), "it is longer than was said");
    }
}

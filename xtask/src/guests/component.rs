//! From core modules to components, and the index that says what is there. A
//! module that has not changed is not encoded again.

use std::{
    collections::BTreeMap,
    fs,
    io::{IsTerminal, Write},
    path::Path,
    time::SystemTime,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wit_component::ComponentEncoder;

use super::Module;

/// The list of what is there, beside the components.
const INDEX: &str = "index.json";

/// One component in the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// The artifact's name.
    name: String,
    /// The file, in the index's directory.
    file: String,
    /// Digest of the component, which identifies the artifact.
    sha256: String,
    /// Bytes of the component.
    size: usize,
    /// Digest of the core module that the component was made of.
    module_sha256: String,
    /// Whether it is an operator for users, and not one that tests misbehave with.
    #[serde(default)]
    shelf: bool,
    /// What it does, in a line: its package's description.
    #[serde(default)]
    about: String,
}

/// Makes a component of every module whose component is missing or old, deletes
/// components whose guest is gone, and writes the index. Returns how many were
/// made.
///
/// # Errors
/// If a module is no component, or a file cannot be read or written.
pub(super) fn make_all(directory: &Path, modules: &[Module]) -> Result<usize> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let before = read_index(directory);
    let mut entries = Vec::with_capacity(modules.len());
    let mut made = 0;
    for module in modules {
        let name = &module.guest.name;
        let core = fs::read(&module.path)
            .with_context(|| format!("cannot read {}", module.path.display()))?;
        let module_sha256 = hex_digest(&core);
        let known = before.get(name).filter(|e| {
            e.module_sha256 == module_sha256
                && fs::metadata(directory.join(&e.file)).is_ok_and(|m| m.len() == e.size as u64)
        });
        let (shelf, about) = (module.guest.shelf, module.guest.about.clone());
        if let Some(entry) = known {
            entries.push(Entry { shelf, about, ..entry.clone() });
            continue;
        }
        made += 1;
        progress(made, name);
        let component = encode(&core).with_context(|| {
            format!("`{}` builds, but is no component of our contract", module.guest.package)
        })?;
        let file = format!("{name}.wasm");
        write_whole(&directory.join(&file), &component)?;
        let (sha256, size) = (hex_digest(&component), component.len());
        let name = name.clone();
        entries.push(Entry { name, file, sha256, size, module_sha256, shelf, about });
    }
    progress_done();
    delete_others(directory, &entries)?;
    let index = serde_json::to_vec_pretty(&entries).context("cannot write the index as JSON")?;
    write_whole(&directory.join(INDEX), &index)?;
    Ok(made)
}

/// Deletes the components of guests that are gone, whoever made them: a job must
/// not find an operator that the clone no longer has.
fn delete_others(directory: &Path, entries: &[Entry]) -> Result<()> {
    let listing = || format!("cannot list {}", directory.display());
    for file in fs::read_dir(directory).with_context(listing)? {
        let path = file.with_context(listing)?.path();
        let stays = entries.iter().any(|e| path.file_name() == Some(e.file.as_ref()));
        if !stays && path.extension() == Some("wasm".as_ref()) {
            fs::remove_file(&path).with_context(|| format!("cannot delete {}", path.display()))?;
        }
    }
    Ok(())
}

fn encode(core: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default().module(core)?.validate(true).encode()
}

/// What was made before, by name: nothing where there is no index, where it
/// cannot be read, or where this program, and with it the encoder, is newer.
fn read_index(directory: &Path) -> BTreeMap<String, Entry> {
    let path = directory.join(INDEX);
    let changed = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    let ours = std::env::current_exe().ok().and_then(|exe| changed(&exe));
    if ours.unwrap_or(SystemTime::UNIX_EPOCH) > changed(&path).unwrap_or(SystemTime::UNIX_EPOCH) {
        return BTreeMap::new();
    }
    read_entries(directory).into_iter().map(|entry| (entry.name.clone(), entry)).collect()
}

/// What the index lists; nothing where it cannot be read.
fn read_entries(directory: &Path) -> Vec<Entry> {
    let json = fs::read(directory.join(INDEX)).ok();
    json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}

/// Makes a directory of the operators for users, each compressed, with their index: what
/// `host/build.rs` puts into a program. Returns how many bytes they take.
///
/// # Errors
/// If a file cannot be read or written, or there are no such operators.
pub(crate) fn pack_shelf(directory: &Path, to: &Path) -> Result<u64> {
    /// As small as it gets; it is done once for a release.
    const LEVEL: i32 = 19;
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot delete {}", to.display()))?;
    }
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let entries: Vec<_> = read_entries(directory).into_iter().filter(|entry| entry.shelf).collect();
    anyhow::ensure!(!entries.is_empty(), "no operator is listed in {}", directory.display());
    let mut packed_size = 0;
    for entry in &entries {
        let path = directory.join(&entry.file);
        let component =
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let packed = zstd::bulk::compress(&component, LEVEL).context("cannot compress")?;
        packed_size += packed.len() as u64;
        write_whole(&to.join(format!("{}.zst", entry.file)), &packed)?;
    }
    let index = serde_json::to_vec_pretty(&entries).context("cannot write the index as JSON")?;
    write_whole(&to.join(INDEX), &index)?;
    Ok(packed_size)
}

fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Readers see the old file or the new one, never a part.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    fs::write(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn progress(made: usize, name: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2Kguests: encoding {made} {name}");
        // A line that is not shown yet harms nobody.
        let _ = std::io::stderr().flush();
    }
}

fn progress_done() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K");
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::workspace::Guest;

    /// The smallest module: magic and version.
    const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

    fn module(directory: &Path, name: &str, bytes: &[u8]) -> Module {
        let path = directory.join(format!("{name}.core"));
        fs::write(&path, bytes).unwrap();
        let guest = Guest {
            name: name.into(),
            package: format!("package-{name}"),
            manifest: PathBuf::new(),
            rust_version: None,
            shelf: name == "a",
            about: format!("does {name}"),
        };
        Module { guest, path }
    }

    #[test]
    fn only_what_changed_is_encoded_again_and_what_is_gone_is_deleted() {
        let (source, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let make = |modules: &[Module]| make_all(out.path(), modules).unwrap();
        let a = || module(source.path(), "a", EMPTY_MODULE);
        let b = || module(source.path(), "b", EMPTY_MODULE);
        assert_eq!(make(&[a(), b()]), 2);
        assert_eq!(make(&[a(), b()]), 0);
        // A custom section (id 0, 2 bytes, the name "x") makes it another module.
        let changed = [EMPTY_MODULE, &[0, 2, 1, b'x']].concat();
        assert_eq!(make(&[module(source.path(), "a", &changed), b()]), 1);
        fs::remove_file(out.path().join("b.wasm")).unwrap();
        assert_eq!(make(&[module(source.path(), "a", &changed), b()]), 1);
        assert_eq!(make(&[b()]), 0);
        assert!(!out.path().join("a.wasm").exists());
        fs::write(out.path().join("unknown.wasm"), "of another clone").unwrap();
        assert_eq!(make(&[b()]), 0);
        assert!(!out.path().join("unknown.wasm").exists());
        let index = read_index(out.path());
        let component = fs::read(out.path().join("b.wasm")).unwrap();
        assert_eq!(index["b"].sha256, hex_digest(&component));
        assert_eq!(index["b"].size, component.len());
    }

    #[test]
    fn a_module_that_is_no_component_names_its_package() {
        let (source, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let error = make_all(out.path(), &[module(source.path(), "a", b"junk")]).unwrap_err();
        assert!(error.to_string().contains("`package-a`"), "{error:#}");
        assert!(!out.path().join("a.wasm").exists());
    }

    #[test]
    fn a_release_has_the_operators_for_users_and_no_others() {
        let (source, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let modules = ["a", "hoard"].map(|name| module(source.path(), name, EMPTY_MODULE));
        make_all(out.path(), &modules).unwrap();
        let packed = out.path().join("packed");
        let size = pack_shelf(out.path(), &packed).unwrap();
        let names: Vec<_> =
            fs::read_dir(&packed).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let bytes = fs::read(packed.join("a.wasm.zst")).unwrap();
        assert_eq!(size, bytes.len() as u64);
        let component = zstd::bulk::decompress(&bytes, 1 << 20).unwrap();
        assert_eq!(component, fs::read(out.path().join("a.wasm")).unwrap());
        let listed = read_entries(&packed);
        assert_eq!((listed.len(), listed[0].about.as_str()), (1, "does a"));
    }

    #[test]
    fn digests_are_lower_case_sha256() {
        // FIPS 180-4, the digest of the empty message.
        let expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex_digest(b""), expected);
    }
}

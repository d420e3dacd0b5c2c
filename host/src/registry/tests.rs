//! Records that are written, read, replaced and found again.

use std::fs;

use super::{records::TagRecord, *};
use crate::ids::{ArtifactName, TenantId, VersionName};

fn tag(tenant: &str, name: &str, tag: &str, version: &str) -> TagRecord {
    TagRecord {
        tenant: TenantId::new(tenant).unwrap(),
        name: ArtifactName::new(name).unwrap(),
        tag: VersionName::new(tag).unwrap(),
        version: VersionName::new(version).unwrap(),
    }
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Long(String);

impl Record for Long {
    const KIND: u8 = b'?';
    fn key(&self) -> Vec<String> {
        vec!["long".to_owned()]
    }
}

#[test]
fn records_are_found_by_their_key_and_by_its_first_parts_alone() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path(), "a test").unwrap();
    let all =
        [tag("a", "x", "latest", "1"), tag("a", "x", "old", "2"), tag("a", "xy", "latest", "3")];
    let other = tag("ab", "x", "latest", "4");
    let changes = all.iter().chain([&other]).fold(Changes::new(), Changes::put);
    registry.change(changes).unwrap();
    assert_eq!(registry.all::<TagRecord>(&["a", "x"]).unwrap(), all[..2]);
    assert_eq!(registry.all::<TagRecord>(&["a"]).unwrap(), all);
    assert_eq!(registry.all::<TagRecord>(&[]).unwrap().len(), 4);
    assert_eq!(registry.get(&["ab", "x", "latest"]).unwrap(), Some(other));
    registry.change(Changes::new().remove::<TagRecord>(&["a", "x", "old"])).unwrap();
    assert_eq!(registry.get::<TagRecord>(&["a", "x", "old"]).unwrap(), None);
    assert_eq!(registry.all::<TagRecord>(&["a", "x"]).unwrap(), all[..1]);
}

#[test]
fn a_long_record_comes_back_whole_and_a_shorter_one_takes_all_of_its_place() {
    let dir = tempfile::tempdir().unwrap();
    for length in [300_000, PIECE, 10] {
        let long = Long("x".repeat(length));
        let registry = Registry::open(dir.path(), "a test").unwrap();
        registry.change(Changes::new().put(&long)).unwrap();
        drop(registry);
        let registry = Registry::open(dir.path(), "a test").unwrap();
        assert_eq!(registry.all::<Long>(&[]).unwrap(), [long]);
    }
}

#[test]
fn a_directory_that_is_in_use_is_refused_with_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let _held = Registry::open(dir.path(), "serving 127.0.0.1:8080").unwrap();
    let error = Registry::open(dir.path(), "another").unwrap_err().to_string();
    assert!(error.contains("serving 127.0.0.1:8080") && error.contains("--data"), "{error}");
}

#[test]
fn a_database_that_takes_much_more_than_is_in_it_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path(), "a test").unwrap();
    registry.change(Changes::new().put(&tag("a", "x", "latest", "1"))).unwrap();
    for n in 0..4_usize {
        let text: String = (0..400_000_usize)
            .map(|i| char::from(b"abcdefghijklmnopqrstuvw"[(i * n) % 23]))
            .collect();
        registry.change(Changes::new().put(&Long(text))).unwrap();
    }
    registry.change(Changes::new().remove::<Long>(&["long"])).unwrap();
    drop(registry);
    let registry = Registry::open(dir.path(), "a test").unwrap();
    let database = dir.path().join("records");
    let made = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&database).unwrap());
    let before = made();
    registry.lock().compact_beyond(LARGE).unwrap();
    assert_eq!(made(), before, "it is small enough");
    registry.lock().compact_beyond(1).unwrap();
    assert_ne!(made(), before, "it is another one");
    assert_eq!(registry.all::<TagRecord>(&[]).unwrap().len(), 1);
    drop(registry);
    let registry = Registry::open(dir.path(), "a test").unwrap();
    assert_eq!(registry.all::<TagRecord>(&[]).unwrap().len(), 1);
    assert!(!fs::exists(dir.path().join("records.new")).unwrap());
}

#[test]
fn what_a_full_disk_left_half_written_is_not_taken_for_damage() {
    let dir = tempfile::tempdir().unwrap();
    let records = dir.path().join("records");
    drop(Registry::open(dir.path(), "a test").unwrap());
    // As sled leaves it when there is no room for the rest.
    let snapshots = || fs::read_dir(&records).unwrap().flatten();
    let whole = snapshots().find(|e| e.file_name().to_string_lossy().starts_with("snap.")).unwrap();
    let half = format!("{}.generating", whole.path().display());
    for left in [&b""[..], b"half of it, and more than twelve bytes"] {
        fs::write(&half, left).unwrap();
        drop(Registry::open(dir.path(), "a test").unwrap());
        assert!(!fs::exists(&half).unwrap());
    }
}

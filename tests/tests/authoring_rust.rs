//! What is special about operators in Rust: what a crash looks like. That they do what all languages
//! do is held in `conformance.rs`.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{fs, path::Path};

use cofferdam_tests::{
    Place,
    authoring::{has, operator, project, said},
    repository,
};

/// What `operator test` shows of one record among others.
fn shown_for(dir: &Path, value: &str) -> String {
    let input = format!("{{\"value\":\"fine\"}}\n{{\"value\":\"{value}\"}}\n");
    fs::write(dir.join("input.jsonl"), input).unwrap();
    let ran = operator(dir, &["test", "--no-build", "--input", "input.jsonl"]);
    assert_eq!(ran.status.code(), Some(1), "{}", said(&ran));
    String::from_utf8(ran.stdout).unwrap()
}

/// The line of a file on which a text stands, from 1.
fn line_of(file: &Path, text: &str) -> usize {
    let all = fs::read_to_string(file).unwrap();
    all.lines().position(|line| line.contains(text)).unwrap() + 1
}

#[test]
fn a_panic_tells_message_and_record_and_the_authors_frames_alone() {
    if !has(&["cargo"]) {
        return;
    }
    let place = Place::new();
    let dir = project(&place.path(""), "rust", "failing");
    let built = operator(&dir, &["build"]);
    assert!(built.status.success(), "{}", said(&built));
    let file = dir.join("src/lib.rs");

    let panic = shown_for(&dir, "panic");
    let line = line_of(&file, "boom: told to panic");
    for part in [
        "(guest-trap)",
        &format!("panicked at src/lib.rs:{line}:"),
        "boom: told to panic",
        &format!("Processor>::process (src/lib.rs:{line})\n"),
        "record 1: \"panic\"",
    ] {
        assert!(panic.contains(part), "no `{part}`: {panic}");
    }
    // Neither how Rust panics, nor how the SDK called, nor the same message once more.
    assert_eq!(panic.matches("  at ").count(), 1, "{panic}");
    assert_eq!(panic.matches("boom: told to panic").count(), 1, "{panic}");

    let index = shown_for(&dir, "trap");
    let line = line_of(&file, "none[record.value().len()..]");
    for part in [
        "range start index 4 out of range for slice of length 0",
        &format!("Processor>::process (src/lib.rs:{line})\n"),
        "(library/core/src/slice/index.rs:",
    ] {
        assert!(index.contains(part), "no `{part}`: {index}");
    }
    assert!(!index.contains(&place.path("").display().to_string()), "{index}");
}

#[test]
fn the_readmes_operator_is_all_of_one() {
    if !has(&["cargo"]) {
        return;
    }
    let place = Place::new();
    let dir = project(&place.path(""), "rust", "map");
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, code) = readme.split_once("```rust\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    fs::write(dir.join("src/lib.rs"), code).unwrap();
    let updated = operator(&dir, &["test", "--update"]);
    assert!(updated.status.success(), "{}", said(&updated));
    fs::write(dir.join("input.jsonl"), "{\"value\":\"quiet\"}\n").unwrap();
    let ran = operator(&dir, &["test", "--no-build", "--show", "--input", "input.jsonl"]);
    assert!(ran.status.success(), "{}", said(&ran));
    let shown = String::from_utf8(ran.stdout).unwrap();
    assert!(shown.contains("QUIET"), "{shown}");
}

#[test]
fn without_debug_information_a_panic_tells_its_line_all_the_same() {
    if !has(&["cargo"]) {
        return;
    }
    let place = Place::new();
    let dir = project(&place.path(""), "rust", "failing");
    let manifest = dir.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let stripped = text.replace("debug = \"line-tables-only\"", "strip = \"debuginfo\"");
    assert_ne!(text, stripped);
    fs::write(&manifest, stripped).unwrap();
    let built = operator(&dir, &["build"]);
    assert!(built.status.success(), "{}", said(&built));
    let size = fs::metadata(dir.join("build/failing.wasm")).unwrap().len();
    assert!(size < 400_000, "{size} bytes");
    let panic = shown_for(&dir, "panic");
    let line = line_of(&dir.join("src/lib.rs"), "boom: told to panic");
    assert!(panic.contains(&format!("panicked at src/lib.rs:{line}:")), "{panic}");
    assert!(panic.contains("record 1: \"panic\""), "{panic}");
}

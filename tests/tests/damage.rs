//! What becomes of a state directory whose files are cut or changed: it opens, and what
//! it lists is whole or said to be damaged; or it is refused, with what to do. It is
//! never taken for a new one.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use cofferdam::checkpoint::{CheckpointStore as _, sled_store::SledStore, verify::is_whole};
use cofferdam_tests::Place;

fn job(rate: &str) -> String {
    format!(
        r#"
[job]
name = "counts"

[checkpoints]
interval = "50ms"
retain = 3

[[source]]
name = "numbers"
connector = "generator"
records = 60_000
{rate}
seed = 5
keys = 2_000

[source.fields]
n = {{ sequence = 1 }}

[[operator]]
name = "count"
artifact = "count"
input = "numbers"

[[sink]]
name = "out"
input = "count"
connector = "discard"
"#
    )
}

/// A place with a job that was stopped after some checkpoints.
fn stopped() -> Place {
    let place = Place::new();
    place.write("job.toml", job("rate = 40_000"));
    let mut running = place.start("job.toml", &["--state", "whole"]);
    running.until_checkpoints(4);
    running.interrupt();
    assert_eq!(running.wait().code, Some(3));
    place.write("job.toml", job(""));
    place
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.is_file() && path.file_name().is_some_and(|name| name != "lock") {
            all.push(path);
        }
    }
    all.sort();
    all
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to.join("checkpoints/blobs")).unwrap();
    for file in files(from) {
        fs::copy(&file, to.join(file.strip_prefix(from).unwrap())).unwrap();
    }
}

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Cut(usize),
    Flip(usize),
}

fn damage(file: &Path, how: Damage) {
    let mut bytes = fs::read(file).unwrap();
    match how {
        Damage::Cut(at) => bytes.truncate(at),
        Damage::Flip(at) => bytes[at] ^= 0x10,
    }
    fs::write(file, bytes).unwrap();
}

/// Places all over a file, and those where it is not empty.
fn places(file: &Path, how_many: usize) -> Vec<Damage> {
    let bytes = fs::read(file).unwrap();
    let step = (bytes.len() / how_many).max(1);
    let flips = (0..bytes.len()).step_by(step).map(|at| {
        let used = bytes[at..].iter().take(step).position(|byte| *byte != 0);
        Damage::Flip(at + used.unwrap_or(0))
    });
    let cuts = (0..bytes.len()).step_by(step * 4).map(Damage::Cut);
    flips.chain(cuts).collect()
}

#[test]
fn whatever_is_damaged_is_told_and_no_checkpoint_is_silently_lost() {
    let place = stopped();
    let (whole, state) = (place.path("whole"), place.path("state"));
    let newest = *SledStore::open(&whole).unwrap().list().unwrap().last().unwrap();
    let (mut refused, mut told, mut harmless) = (0, 0, 0);
    for file in files(&whole) {
        let name = file.strip_prefix(&whole).unwrap();
        for how in places(&file, 40) {
            copy(&whole, &state);
            damage(&state.join(name), how);
            match SledStore::open(&state) {
                Err(error) => {
                    let error = error.to_string();
                    let told = ["damaged", "another directory"].iter().any(|w| error.contains(w));
                    assert!(told, "{how:?} of {}: {error}", name.display());
                    refused += 1;
                }
                Ok(store) => {
                    let list = store.list().unwrap();
                    let last = list.last();
                    assert_eq!(last, Some(&newest), "{how:?} of {}", name.display());
                    // If it is not, that is told.
                    if is_whole(&store, newest) {
                        harmless += 1;
                    } else {
                        told += 1;
                    }
                }
            }
        }
    }
    assert!(refused > 10 && harmless > 10, "{refused} refused, {told} told, {harmless} harmless");
}

#[test]
fn a_job_is_not_run_on_damaged_files_and_the_message_says_what_to_do() {
    let place = stopped();
    let whole = place.path("whole");
    for (name, how) in [
        ("checkpoints/db", Damage::Cut(0)),
        ("checkpoints/db", Damage::Cut(200_000)),
        ("checkpoints/db", Damage::Flip(3)),
        ("checkpoints/conf", Damage::Cut(5)),
        ("job", Damage::Cut(0)),
    ] {
        copy(&whole, &place.path("state"));
        damage(&place.path("state").join(name), how);
        let ended = place.run("job.toml", &["--state", "state"]);
        assert!(!ended.stderr.contains("panicked"), "{name}: {how:?}: {}", ended.stderr);
        if ["job", "checkpoints/conf"].contains(&name) {
            // The database is whole: what these files said is said again.
            assert!(ended.finished().summary["checkpoints"]["resumed_from"].is_u64());
        } else {
            ended.failed(4, &["the state directory", "another directory"]);
        }
    }
}

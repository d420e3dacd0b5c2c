//! What becomes of a state directory whose files are cut or changed: it opens, and what
//! it lists is whole or said to be damaged; or it is refused, with what to do. It is
//! never taken for a new one.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use cofferdam::{
    checkpoint::{CheckpointStore as _, sled_store::SledStore, verify::is_whole},
    ids::CheckpointId,
};
use cofferdam_tests::Place;

/// In a state directory.
const DATABASE: &str = "checkpoints/db";

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

/// The same job with a guest that says all of its state at every checkpoint, in one chunk
/// of many pieces, and with an output.
fn job_of_large_chunks(rate: &str) -> String {
    job(rate)
        .replace("artifact = \"count\"", "artifact = \"stateful-count\"")
        .replace("keys = 2_000", "keys = 1_000_000")
        .replace("connector = \"discard\"", "connector = \"jsonl\"\npath = \"out.jsonl\"")
}

/// Runs that job until its state is large, and stops it.
fn stop_when_large(place: &Place, retain: u32) {
    let retain = format!("retain = {retain}");
    place.write("job.toml", job_of_large_chunks("rate = 15_000").replace("retain = 3", &retain));
    let mut running = place.start("job.toml", &["--state", "whole"]);
    running.until("so many keys", |status| {
        status["checkpoints"]["last"]["full_bytes"].as_u64().is_some_and(|full| full > 1_000_000)
    });
    running.interrupt();
    assert_eq!(running.wait().code, Some(3));
}

/// Where a text is in a file: in what is read of it, and in what is left over of what was
/// written before.
fn find(file: &Path, needle: &[u8]) -> Vec<usize> {
    let mut bytes = fs::read(file).unwrap();
    bytes.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = 0);
    let text = String::from_utf8(bytes).unwrap();
    let needle = std::str::from_utf8(needle).unwrap();
    text.match_indices(needle).map(|(at, _)| at).collect()
}

/// Makes of a whole state directory one whose newest checkpoint is damaged, which is told,
/// and whose others, which are told too, are whole.
fn damage_the_newest(whole: &Path, state: &Path) -> (CheckpointId, Vec<CheckpointId>) {
    let store = SledStore::open(whole).unwrap();
    let mut others = store.list().unwrap();
    let newest = others.pop().unwrap();
    let chunks = store.manifest(newest).unwrap().chunks().collect::<Vec<_>>();
    let chunk = chunks.iter().max_by_key(|chunk| chunk.bytes).unwrap();
    let content = store.chunk(newest, chunk.digest).unwrap();
    drop(store);
    // Its first and last pieces lie beside pieces of others, which are damaged with them.
    for needle in content[content.len() / 2..].chunks_exact(20_000).map(|chunk| &chunk[..100]) {
        for at in find(&whole.join(DATABASE), needle).into_iter().rev() {
            copy(whole, state);
            damage(&state.join(DATABASE), Damage::Flip(at));
            let Ok(store) = SledStore::open(state) else { continue };
            if !is_whole(&store, newest) && others.iter().all(|id| is_whole(&store, *id)) {
                return (newest, others);
            }
        }
    }
    panic!("no place of the newest checkpoint can be damaged by itself");
}

#[test]
fn a_damaged_checkpoint_is_pruned_and_the_job_goes_on_from_the_one_before() {
    let undisturbed = Place::new();
    let _ = undisturbed.run_job(&job_of_large_chunks(""), &[]).finished();
    let place = Place::new();
    stop_when_large(&place, 3);
    let (newest, others) = damage_the_newest(&place.path("whole"), &place.path("state"));
    let older = *others.last().unwrap();
    place.write("job.toml", job_of_large_chunks(""));
    let way_out = format!("checkpoint {older} is whole: `cofferdam checkpoint prune --damaged");
    // It is not run on that, and says how it could be.
    let refused = place.run("job.toml", &["--state", "state"]);
    refused.failed(4, &[&format!("checkpoint {newest} cannot be restored"), &way_out]);
    let refused = place.command(&["checkpoint", "verify", "--state", "state", "--json"]);
    assert!(refused.unwrap_err().contains(&way_out));
    let prune = ["checkpoint", "prune", "--damaged", "--state", "state", "--json"];
    let pruned = place.command(&prune).unwrap();
    assert_eq!(pruned["dropped"], serde_json::json!([newest]), "{pruned}");
    // Nothing else is.
    assert_eq!(place.command(&prune).unwrap()["dropped"], serde_json::json!([]));
    let ended = place.run("job.toml", &["--state", "state"]).finished();
    assert_eq!(ended.summary["checkpoints"]["resumed_from"], serde_json::json!(older));
    assert_eq!(place.counts("out"), undisturbed.counts("out"));
}

#[test]
fn if_no_checkpoint_is_whole_none_is_pruned() {
    let place = Place::new();
    stop_when_large(&place, 1);
    let (newest, others) = damage_the_newest(&place.path("whole"), &place.path("state"));
    assert_eq!(others, [], "only one is retained");
    let refused = place.command(&["checkpoint", "prune", "--damaged", "--state", "state"]);
    let refused = refused.unwrap_err();
    assert!(refused.contains("no checkpoint is whole, and none was dropped"), "{refused}");
    let list = place.command(&["checkpoint", "list", "--state", "state", "--json"]).unwrap();
    let list = list["checkpoints"].as_array().unwrap();
    assert_eq!((list.len(), &list[0]["id"]), (1, &serde_json::json!(newest)));
    let refused = place.run("job.toml", &["--state", "state"]);
    refused.failed(4, &["no older checkpoint is whole"]);
}

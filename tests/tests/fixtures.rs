//! State that a released version wrote goes on restoring: a state directory and a
//! savepoint for each version of the format, in `tests/fixtures/state-N/`.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{fs, path::Path};

use cofferdam_tests::{
    Place,
    jobs::{ONCE, OWN_STATE, VISITS, WINDOWS},
    repository,
};

/// Keyed state, windows and sessions, timers, and a guest that keeps its state itself.
fn job(rate: &str) -> String {
    format!(
        r#"
[job]
name = "fixture"
parallelism = 2

[checkpoints]
interval = "1h"

[[source]]
name = "readings"
connector = "generator"
parallelism = 1
records = 6_000
{rate}
seed = 3
keys = 20
start = 2026-01-01T00:00:00Z
step = "10ms"

[source.fields]
reading = {{ sequence = 1 }}
{WINDOWS}{VISITS}{ONCE}{OWN_STATE}
[[sink]]
name = "all"
input = "own-state"
connector = "jsonl"
path = "out/all.jsonl"

[[sink]]
name = "windows-file"
input = "windows"
connector = "jsonl"
path = "out/windows.jsonl"

[[sink]]
name = "visits-file"
input = "visits"
connector = "jsonl"
path = "out/visits.jsonl"

[[sink]]
name = "first"
input = "once.first"
connector = "jsonl"
path = "out/first.jsonl"
"#
    )
}

const OUTPUTS: [&str; 4] = ["out/all", "out/windows", "out/visits", "out/first"];

fn outputs(place: &Place) -> Vec<Vec<String>> {
    OUTPUTS.iter().map(|prefix| place.lines(prefix)).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else if entry.path().is_file() {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn what_every_version_of_the_format_wrote_goes_on_to_the_right_output() {
    let undisturbed = Place::new();
    let _ = undisturbed.run_job(&job(""), &[]).finished();
    let wanted = outputs(&undisturbed);
    let mut fixtures = 0;
    for entry in fs::read_dir(repository().join("tests/fixtures")).unwrap() {
        let fixture = entry.unwrap().path();
        if !fixture.file_name().unwrap().to_string_lossy().starts_with("state-") {
            continue;
        }
        fixtures += 1;
        for from in [&["--state", "state"][..], &["--from-savepoint", "savepoint"]] {
            let place = Place::new();
            copy(&fixture, &place.path(""));
            let ended = place.run_job(&job(""), from).finished();
            let read = ended.vertex("readings", "records_out");
            assert_eq!(read, 6_000, "{from:?} of {}", fixture.display());
            assert!(ended.summary["checkpoints"]["resumed_from"].is_u64(), "{}", ended.summary);
            for ((found, wanted), name) in outputs(&place).iter().zip(&wanted).zip(OUTPUTS) {
                assert!(found == wanted, "{name} with {from:?} of {}", fixture.display());
            }
        }
    }
    assert!(fixtures > 0);
}

/// How a fixture is made, once for each version of the format, before its release.
#[test]
#[ignore = "writes a fixture into the repository"]
fn make_the_fixture() {
    let place = Place::new();
    place.write("job.toml", job("rate = 2_000"));
    let mut running = place.start("job.toml", &["--state", "state"]);
    running.until("records", |status| status["vertices"][0]["records_out"].as_u64() > Some(2_500));
    place.command(&["job", "stop", "--state", "state", "--to", "savepoint", "--json"]).unwrap();
    assert_eq!(running.wait().code, Some(3));
    let to = repository().join("tests/fixtures/state-1");
    assert!(!to.exists(), "{} is there already", to.display());
    for what in ["state", "out"] {
        copy(&place.path(what), &to.join(what));
    }
    fs::copy(place.path("savepoint"), to.join("savepoint")).unwrap();
    let _ = fs::remove_file(to.join("state/lock"));
}

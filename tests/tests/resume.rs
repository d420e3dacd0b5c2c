//! A job that was killed or stopped goes on from its last checkpoint, and its
//! output is that of an undisturbed run: nothing lost, nothing twice.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use cofferdam_tests::{
    Ended, Place,
    jobs::{ONCE, OWN_STATE, VISITS, WINDOWS},
};

/// Records of a job: at the rate below, some four seconds.
const RECORDS: u64 = 80_000;
const RATE: &str = "rate = 20_000";

/// A job with whatever is hard to resume: files that roll, windows by key,
/// sessions, timers, and a guest that keeps its state itself. What it writes
/// does not depend on how the stream falls into batches.
fn job(rate: &str) -> String {
    format!(
        r#"
[job]
name = "resumable"
parallelism = 2
channel_capacity = "64KiB"

[checkpoints]
interval = "200ms"

[[source]]
name = "readings"
connector = "generator"
parallelism = 1 # so that there is an order for `once` to go by
records = {RECORDS}
{rate}
seed = 3
keys = 50
start = 2026-01-01T00:00:00Z
step = "10ms"

[source.fields]
reading = {{ sequence = 1 }}
room = {{ one_of = ["kitchen", "workshop", "cellar"] }}
{WINDOWS}{VISITS}{ONCE}{OWN_STATE}
[[sink]]
name = "all"
input = "own-state"
connector = "jsonl"
path = "out/all.jsonl"
roll = "64KiB"

[[sink]]
name = "windows-file"
input = "windows"
connector = "jsonl"
path = "out/windows.jsonl.gz"

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
parallelism = 2

[[sink]]
name = "again"
input = "once.again"
connector = "lines"
path = "out/again.txt"
"#
    )
}

const OUTPUTS: [&str; 5] = ["out/all", "out/windows", "out/visits", "out/first", "out/again"];

fn outputs(place: &Place) -> Vec<Vec<String>> {
    OUTPUTS.iter().map(|prefix| place.lines(prefix)).collect()
}

/// What the job writes if nobody disturbs it.
fn undisturbed() -> Vec<Vec<String>> {
    let place = Place::new();
    let _ = place.run_job(&job(""), &[]).finished();
    outputs(&place)
}

fn assert_same_output(place: &Place) {
    let (found, wanted) = (outputs(place), undisturbed());
    assert_eq!(wanted[0].len() as u64, RECORDS);
    for ((found, wanted), name) in found.iter().zip(&wanted).zip(OUTPUTS) {
        assert_eq!(found.len(), wanted.len(), "lines of {name}");
        let differ = found.iter().zip(wanted).find(|(found, wanted)| found != wanted);
        assert_eq!(differ, None, "the first line of {name} that differs");
    }
}

fn resumed_from(ended: &Ended) -> Option<u64> {
    ended.summary["checkpoints"]["resumed_from"].as_u64()
}

const STATE: [&str; 2] = ["--state", "state"];

#[test]
fn a_killed_job_resumes_to_the_same_output() {
    let place = Place::new();
    place.write("job.toml", job(RATE));
    // At three different moments, the first of them before any checkpoint may
    // have been completed.
    for checkpoints in [0, 1, 2] {
        let mut running = place.start("job.toml", &STATE);
        running.until("running", |status| status["state"] == "running");
        running.until_checkpoints(checkpoints);
        running.kill();
        assert!(!place.path("out/visits.jsonl").exists(), "a file before its end");
    }
    let ended = place.run("job.toml", &STATE).finished();
    assert!(resumed_from(&ended) >= Some(3), "{}", ended.summary);
    assert_same_output(&place);
}

#[test]
fn a_job_that_has_finished_is_not_done_again() {
    let place = Place::new();
    let first = place.run_job(&job(""), &STATE).finished();
    assert_eq!(first.vertex("readings", "records_out"), RECORDS);
    let again = place.run("job.toml", &STATE).finished();
    assert!(resumed_from(&again).is_some(), "{}", again.summary);
    // Counts are the job's, over all its runs.
    assert_eq!(again.vertex("readings", "records_out"), RECORDS);
    assert_same_output(&place);
}

#[test]
fn ctrl_c_takes_a_final_checkpoint_and_says_how_to_go_on() {
    let place = Place::new();
    // No other checkpoint than the final one.
    let job = job(RATE).replace("interval = \"200ms\"", "interval = \"1h\"");
    place.write("job.toml", job);
    let mut running = place.start("job.toml", &STATE);
    running.until("records", |status| status["vertices"][0]["records_out"].as_u64() > Some(0));
    running.interrupt();
    let stopped = running.wait();
    stopped.failed(3, &["final checkpoint", "cofferdam run job.toml --state state"]);
    assert_eq!(stopped.summary["outcome"], "stopped");
    assert_eq!(stopped.summary["checkpoints"]["completed"], 1);
    assert!((1..RECORDS).contains(&stopped.vertex("readings", "records_out")));

    let ended = place.run("job.toml", &STATE).finished();
    assert_eq!(resumed_from(&ended), stopped.summary["checkpoints"]["last"]["id"].as_u64());
    assert_eq!(ended.vertex("readings", "records_out"), RECORDS, "over both runs");
    assert_same_output(&place);
}

#[test]
fn ctrl_c_without_a_state_directory_says_that_nothing_is_kept() {
    let place = Place::new();
    place.write("job.toml", job(RATE));
    let mut running = place.start("job.toml", &[]);
    running.until("running", |status| status["state"] == "running");
    running.interrupt();
    running.wait().failed(3, &["without --state DIR nothing is kept"]);
}

#[test]
fn a_stopped_job_resumes_at_another_parallelism_to_the_same_output() {
    for (before, after) in [(2, 4), (3, 1)] {
        let place = Place::new();
        // The guest that keeps its state itself cannot be divided anew.
        let job = job(RATE)
            .replace("artifact = \"crasher\"", "artifact = \"copy\"")
            .replace("parallelism = 1 # ", "# not ")
            .replace(&RECORDS.to_string(), "40_000");
        place.write("job.toml", &job);
        let at = |n: u32| format!("job.parallelism={n}");
        let mut running = place.start("job.toml", &["--state", "state", "--set", &at(before)]);
        running.until_checkpoints(1);
        running.interrupt();
        running.wait().failed(3, &[]);
        let ended = place.run("job.toml", &["--state", "state", "--set", &at(after)]).finished();
        assert!(resumed_from(&ended).is_some());
        let undisturbed = Place::new();
        let _ = undisturbed.run_job(&job.replace(RATE, ""), &[]).finished();
        // Which record of a key is the first is open among parallel sources.
        let (found, wanted) = (outputs(&place), outputs(&undisturbed));
        assert!(found[..3] == wanted[..3], "from {before} to {after}");
    }
}

#[test]
fn a_state_directory_in_use_is_refused() {
    let place = Place::new();
    place.write("job.toml", job(RATE));
    let mut running = place.start("job.toml", &STATE);
    running.until("running", |status| status["state"] == "running");
    let second = place.run("job.toml", &STATE);
    second.failed(4, &["the state directory cannot be used", "another"]);
    running.interrupt();
    running.wait().failed(3, &[]);
}

#[test]
fn the_state_directory_of_another_job_is_refused() {
    let place = Place::new();
    let _ = place.run_job(&job(""), &STATE).finished();
    let other = job("").replace("name = \"resumable\"", "name = \"other\"");
    let refused = place.run_job(&other, &STATE);
    refused.failed(4, &["belongs to the job `resumable`, not to `other`"]);
}

#[test]
fn a_file_where_the_state_directory_should_be_is_refused() {
    let place = Place::new();
    place.write("state", "not a directory");
    place.run_job(&job(""), &STATE).failed(4, &["the state directory cannot be used"]);
}

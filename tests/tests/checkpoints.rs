//! Checkpoints as things of their own: what they cost, what is known of them, how they
//! are carried from one machine to another, and what is said when they are damaged.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    fs,
    process::{Command, Output},
};

use cofferdam_tests::{Place, program};
use serde_json::Value;

/// Counts by key: a state of some MiB, of which a checkpoint changes some keys. It ends
/// by itself when `records` are through.
fn job(name: &str, records: u64, rate: &str) -> String {
    format!(
        r#"
[job]
name = "{name}"
parallelism = 2

[checkpoints]
interval = "50ms"
retain = 3

[[source]]
name = "numbers"
connector = "generator"
parallelism = 1
records = {records}
{rate}
seed = 5
keys = 20_000

[source.fields]
n = {{ sequence = 1 }}

[[operator]]
name = "count"
artifact = "count"
input = "numbers"

[[sink]]
name = "out"
input = "count"
connector = "jsonl"
path = "out/counts.jsonl"
"#
    )
}

const RATE: &str = "rate = 40_000";

fn checkpoint(place: &Place, arguments: &[&str]) -> Output {
    let mut command: Command = program();
    command.current_dir(place.path("")).arg("checkpoint").args(arguments);
    command.output().unwrap()
}

/// What a command said that went well.
fn said(place: &Place, arguments: &[&str]) -> String {
    let output = checkpoint(place, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(place: &Place, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&said(place, &arguments)).unwrap()
}

/// What a command said that did not, with this code.
fn refused(place: &Place, code: i32, arguments: &[&str]) -> String {
    let output = checkpoint(place, arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    error
}

/// A place with a job that was stopped after some checkpoints.
fn stopped() -> Place {
    let place = Place::new();
    place.write("job.toml", job("counts", 400_000, RATE));
    let mut running = place.start("job.toml", &["--state", "state"]);
    running.until_checkpoints(6);
    running.interrupt();
    assert_eq!(running.wait().code, Some(3));
    place
}

#[test]
fn a_checkpoint_of_which_little_changed_is_small_and_its_parts_are_told() {
    let place = Place::new();
    place.write("job.toml", job("counts", 400_000, RATE));
    let mut running = place.start("job.toml", &["--state", "state"]);
    // All keys have come, and some come again between two checkpoints.
    running.until("whole state", |status| {
        status["checkpoints"]["last"]["full_bytes"].as_u64().is_some_and(|full| full > 300_000)
    });
    running.until("small delta", |status| {
        let last = &status["checkpoints"]["last"];
        let of = |what: &str| last[what].as_u64().unwrap();
        of("bytes") * 2 < of("full_bytes")
    });
    running.interrupt();
    let ended = running.wait();
    let history = ended.summary["checkpoints"]["history"].as_array().unwrap();
    assert!(history.len() <= 10);
    let last = history.last().unwrap();
    assert_eq!((&last["outcome"], &last["trigger"]), (&"completed".into(), &"stop".into()));
    assert_eq!(history[history.len() - 2]["trigger"], "interval");
    for past in history {
        let of = |what: &str| past[what].as_u64().unwrap();
        assert!(of("end_to_end_micros") >= of("async_micros"), "{past}");
        assert!(of("end_to_end_micros") >= of("alignment_micros"), "{past}");
        assert!(of("sync_micros") > 0, "{past}");
    }
    let list = json(&place, &["list", "--state", "state"]);
    let all = list["checkpoints"].as_array().unwrap();
    assert_eq!(all.len(), 3, "{list}");
    let newest = all.last().unwrap();
    assert_eq!((&newest["id"], &newest["job"]), (&last["id"], &"counts".into()));
    // What the job told is what is kept.
    let kept = &newest["details"];
    for (told, kept) in [
        (&last["bytes"], &kept["written_bytes"]),
        (&last["full_bytes"], &kept["full_bytes"]),
        (&last["sync_micros"], &kept["sync_micros"]),
    ] {
        assert_eq!(told, kept);
    }
}

#[test]
fn a_checkpoint_is_listed_shown_verified_and_pruned() {
    let place = stopped();
    let text = said(&place, &["list", "--state", "state"]);
    assert!(text.starts_with("checkpoint  job"), "{text}");
    assert!(text.contains("counts") && text.contains("stop"), "{text}");
    let shown = said(&place, &["show", "--state", "state"]);
    for what in ["alignment", "snapshot", "count", "numbers", "key groups"] {
        assert!(shown.contains(what), "no {what} in {shown}");
    }
    let shown = json(&place, &["show", "--state", "state"]);
    let count = shown["operators"].as_array().unwrap().iter().find(|o| o["name"] == "count");
    let count = count.unwrap();
    assert_eq!(count["subtasks"].as_array().unwrap().len(), 2);
    assert_eq!(count["key_groups"].as_array().unwrap().len(), 128);
    assert_eq!(count["artifact"].as_str().unwrap().len(), 64);
    let newest = shown["id"].as_u64().unwrap();
    let verified = json(&place, &["verify", "--state", "state"]);
    assert_eq!((&verified["whole"], &verified["id"]), (&true.into(), &newest.into()));
    assert!(verified["chunks"].as_u64().unwrap() >= 128, "{verified}");
    let error = refused(&place, 2, &["show", "999", "--state", "state"]);
    assert!(error.contains("no checkpoint 999") && error.contains(&newest.to_string()), "{error}");
    let pruned = json(&place, &["prune", "--state", "state"]);
    let list = json(&place, &["list", "--state", "state"]);
    assert_eq!(list["checkpoints"].as_array().unwrap().len(), 1, "{pruned}");
    assert_eq!(list["checkpoints"][0]["id"], newest);
    assert_eq!(list["live_bytes"], shown["full_bytes"]);
    let error = refused(&place, 2, &["list", "--state", "elsewhere"]);
    assert!(error.contains("no state directory elsewhere"), "{error}");
    assert!(!place.path("elsewhere").exists());
}

#[test]
fn exactly_the_newest_checkpoints_are_retained_and_each_can_be_restored() {
    let place = Place::new();
    place.write("job.toml", job("counts", 400_000, RATE));
    // From one run to the next, too.
    for checkpoints in [12, 3] {
        let mut running = place.start("job.toml", &["--state", "state"]);
        running.until_checkpoints(checkpoints);
        running.interrupt();
        let ended = running.wait();
        ended.failed(3, &[]);
        let history = ended.summary["checkpoints"]["history"].as_array().unwrap();
        let completed = history.iter().filter(|past| past["outcome"] == "completed");
        let completed: Vec<_> = completed.map(|past| past["id"].as_u64().unwrap()).collect();
        let list = json(&place, &["list", "--state", "state"]);
        let listed = list["checkpoints"].as_array().unwrap();
        let listed: Vec<_> = listed.iter().map(|c| c["id"].as_u64().unwrap()).collect();
        assert_eq!(listed, completed[completed.len() - 3..], "{list}");
        for id in listed {
            let verified = json(&place, &["verify", &id.to_string(), "--state", "state"]);
            assert_eq!((&verified["whole"], &verified["id"]), (&true.into(), &id.into()));
        }
    }
}

#[test]
fn a_directory_that_a_running_job_has_open_is_left_alone() {
    let place = Place::new();
    place.write("job.toml", job("counts", 400_000, RATE));
    let mut running = place.start("job.toml", &["--state", "state"]);
    running.until_checkpoints(1);
    for command in ["list", "show", "verify", "prune"] {
        let error = refused(&place, 4, &[command, "--state", "state"]);
        assert!(error.contains("in use by another process"), "{error}");
        assert!(error.contains("running the job `counts`"), "{error}");
    }
}

#[test]
fn an_exported_checkpoint_goes_on_elsewhere_to_the_same_output() {
    let undisturbed = Place::new();
    let _ = undisturbed.run_job(&job("counts", 400_000, ""), &[]).finished();
    let place = stopped();
    let exported = json(&place, &["export", "moved.checkpoint", "--state", "state"]);
    let length = fs::metadata(place.path("moved.checkpoint")).unwrap().len();
    assert_eq!(exported["bytes"], length);
    let error = refused(&place, 2, &["export", "moved.checkpoint", "--state", "state"]);
    assert!(error.contains("is there already"), "{error}");
    assert_eq!(json(&place, &["verify", "--file", "moved.checkpoint"])["whole"], true);
    let shown = json(&place, &["show", "--file", "moved.checkpoint"]);
    assert_eq!(shown["id"], exported["id"]);
    said(&place, &["import", "moved.checkpoint", "--state", "new"]);
    let error = refused(&place, 4, &["import", "moved.checkpoint", "--state", "new"]);
    assert!(error.contains("already"), "{error}");
    let _ = place.run_job(&job("counts", 400_000, ""), &["--state", "new"]).finished();
    assert!(undisturbed.counts("out/counts") == place.counts("out/counts"), "other counts");
}

#[test]
fn a_file_that_was_cut_or_changed_is_refused_with_where() {
    let place = stopped();
    said(&place, &["export", "good.checkpoint", "--state", "state"]);
    let good = fs::read(place.path("good.checkpoint")).unwrap();
    let (half, mut changed) = (good.len() / 2, good.clone());
    place.write("cut.checkpoint", &good[..half]);
    let error = refused(&place, 4, &["import", "cut.checkpoint", "--state", "new"]);
    assert!(error.contains(&format!("ends at byte {half}")), "{error}");
    changed[half] ^= 1;
    place.write("changed.checkpoint", &changed);
    for command in [&["verify", "--file"][..], &["import", "--state", "new"]] {
        let error = refused(&place, 4, &[command, &["changed.checkpoint"]].concat());
        assert!(error.contains("is damaged") && error.contains("at byte"), "{error}");
    }
    place.write("a-text", "not a checkpoint at all, but a text of some length");
    let error = refused(&place, 4, &["show", "--file", "a-text"]);
    assert!(error.contains("no exported checkpoint"), "{error}");
    assert!(
        json(&place, &["list", "--state", "new"])["checkpoints"].as_array().unwrap().is_empty()
    );
}

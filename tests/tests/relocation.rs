//! Instances go to other slots while their stream waits a moment: when somebody wants
//! a slot empty, and when a slot's instances crash again and again. And a job goes on
//! with another parallelism. Nothing of the output is lost or there twice.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::collections::BTreeMap;

use cofferdam_tests::{Place, Running, jobs::paced};
use serde_json::Value;

const RECORDS: u64 = 60_000;

/// A job that takes some seconds: a guest with state of its own, or a keyed one.
fn job(operator: &str) -> String {
    const HEAD: &str = r#"
[job]
name = "moving"
channel_capacity = "64KiB"

[checkpoints]
interval = "50ms"

[restart]
strategy = "fixed-delay"
attempts = 20
delay = "1ms"
"#;
    paced(HEAD, RECORDS, operator)
}

const COUNT: &str = "artifact = \"count\"";
const OWN_STATE: &str = "artifact = \"stateful-count\"";
/// Tells the count of each record, so that it depends on nothing but the records.
const OWN_MEMORY: &str = "artifact = \"memory-count\"\nstate = \"memory\"";

fn counts(place: &Place) -> BTreeMap<String, u64> {
    let counts = place.counts("out");
    assert_eq!(counts.values().sum::<u64>(), RECORDS, "each record counts once");
    counts
}

/// What the job writes if nobody touches it.
fn undisturbed(operator: &str) -> Place {
    let place = Place::new();
    let _ = place.run_job(&job(operator), &[]).finished();
    place
}

fn start(place: &Place, operator: &str, arguments: &[&str]) -> Running {
    place.write("job.toml", job(operator));
    let mut running = place.start("job.toml", arguments);
    running.until_checkpoints(2);
    running
}

/// Asks the job that runs in the place.
fn ask(place: &Place, arguments: &[&str]) -> Result<Value, String> {
    let mut all = arguments.to_vec();
    all.extend(["--state", "st", "--json"]);
    place.command(&all)
}

#[test]
fn a_drained_slot_is_left_while_the_job_goes_on() {
    for operator in [COUNT, OWN_STATE, OWN_MEMORY] {
        let place = Place::new();
        let running = start(&place, operator, &["--state", "st", "--slots", "3"]);
        let drained = ask(&place, &["slot", "drain", "0"]).unwrap();
        assert_eq!(drained["moved"]["subtask"], "guest/0");
        assert_eq!(drained["moved"]["to"], 1, "{drained}");
        // And on, to the last one that is left.
        assert_eq!(ask(&place, &["slot", "drain", "1"]).unwrap()["moved"]["to"], 2);
        let full = ask(&place, &["slot", "drain", "2"]).unwrap_err();
        assert!(full.contains("no other of the 3 slots is free"), "{full}");
        let slots = ask(&place, &["slot", "list"]).unwrap();
        let seen = |i: usize| {
            (slots["slots"][i]["condition"].clone(), slots["slots"][i]["subtask"].clone())
        };
        assert_eq!(seen(0), ("drained".into(), Value::Null));
        assert_eq!(seen(2), ("drained".into(), "guest/0".into()));
        // As soon as another one is free, it goes there.
        ask(&place, &["slot", "restore", "1"]).unwrap();
        let unknown = ask(&place, &["slot", "drain", "9"]).unwrap_err();
        assert!(unknown.contains("there is no slot 9: there are 3"), "{unknown}");
        let ended = running.wait().finished();
        assert_eq!(ended.summary["placement"]["relocations"], 3);
        assert_eq!(ended.summary["placement"]["slots"], serde_json::json!([1]));
        assert_eq!(ended.restarts(), 0, "nothing restarted for that");
        if operator == OWN_MEMORY {
            assert!(place.lines("out") == undisturbed(operator).lines("out"), "other lines");
        }
        assert_eq!(counts(&place), counts(&undisturbed(operator)));
    }
}

#[test]
fn a_memory_that_went_to_another_slot_is_what_the_next_run_goes_on_from() {
    let place = Place::new();
    let mut running = start(&place, OWN_MEMORY, &["--state", "st", "--slots", "2"]);
    let drained = ask(&place, &["slot", "drain", "0"]).unwrap();
    assert_eq!(
        (&drained["moved"]["subtask"], &drained["moved"]["to"]),
        (&"guest/0".into(), &1.into())
    );
    let moved = ask(&place, &["job", "status"]).unwrap();
    let then = moved["checkpoints"]["completed"].as_u64().unwrap();
    // One of them holds all of the memory, the next one what changed in the new slot.
    running.until_checkpoints(then + 3);
    running.kill();
    let ended = place.run("job.toml", &["--state", "st"]).finished();
    assert!(
        ended.summary["checkpoints"]["resumed_from"].as_u64() > Some(then),
        "{}",
        ended.summary
    );
    assert!(place.lines("out") == undisturbed(OWN_MEMORY).lines("out"), "the output differs");
}

#[test]
fn a_slot_whose_instances_crash_is_left_and_used_again_after_a_probe() {
    let place = Place::new();
    let crasher = "artifact = \"crasher\"\nconfig = { trap_after_snapshots = 2, traps = 4 }";
    place.write("job.toml", job(crasher));
    let mut running = place.start("job.toml", &["--state", "st", "--slots", "2"]);
    running.until("in another slot", |status| status["placement"]["relocations"] == 1);
    let slots = ask(&place, &["slot", "list"]).unwrap();
    assert_eq!(slots["slots"][0]["condition"], "quarantined", "{slots}");
    assert_eq!(slots["slots"][1]["subtask"], "guest/0");
    let ended = running.wait().finished();
    assert!(ended.stderr.contains("slot 0 is in quarantine: its instances crash"));
    assert!(ended.stderr.contains("`guest/0` goes from slot 0 to slot 1"));
    assert_eq!(ended.restarts(), 4);
    assert!(
        place.lines("out") == undisturbed("artifact = \"crasher\"").lines("out"),
        "the output differs"
    );
}

#[test]
fn a_running_job_goes_on_with_another_parallelism() {
    let place = Place::new();
    let running = start(&place, COUNT, &["--state", "st"]);
    let rescaled = ask(&place, &["job", "rescale", "3"]).unwrap();
    assert!(rescaled["pause_millis"].as_u64().unwrap() < 10_000, "{rescaled}");
    let status = ask(&place, &["job", "status"]).unwrap();
    let guest = status["vertices"].as_array().unwrap().iter().find(|v| v["name"] == "guest");
    assert_eq!(guest.unwrap()["parallelism"], 3);
    ask(&place, &["job", "rescale", "2", "--operator", "guest"]).unwrap();
    let too_many = ask(&place, &["job", "rescale", "999", "--operator", "guest"]).unwrap_err();
    assert!(too_many.contains("max_parallelism"), "{too_many}");
    let unknown = ask(&place, &["job", "rescale", "2", "--operator", "nobody"]).unwrap_err();
    assert!(unknown.contains("no operator `nobody`"), "{unknown}");
    let ended = running.wait().finished();
    assert_eq!(ended.restarts(), 0);
    assert_eq!(ended.vertex("guest", "records_in"), RECORDS);
    assert_eq!(counts(&place), counts(&undisturbed(COUNT)));
}

#[test]
fn what_cannot_be_divided_keeps_its_parallelism_and_the_job_goes_on() {
    let place = Place::new();
    let running = start(&place, OWN_STATE, &["--state", "st"]);
    let refused = ask(&place, &["job", "rescale", "2"]).unwrap_err();
    assert!(refused.contains("`guest` keeps its own state"), "{refused}");
    let _ = running.wait().finished();
    assert_eq!(counts(&place), counts(&undisturbed(OWN_STATE)));
}

#[test]
fn without_a_job_that_runs_nothing_can_be_asked() {
    let place = Place::new();
    let refused = ask(&place, &["slot", "list"]).unwrap_err();
    assert!(refused.contains("no job runs with the state directory st"), "{refused}");
}

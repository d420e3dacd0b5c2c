//! Savepoints: all of a job's state in one file, to go on from elsewhere, with other
//! code, or with another parallelism. What is not accepted is said, and nothing runs.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::collections::BTreeMap;

use cofferdam_tests::{Ended, Place, jobs::paced};

const RECORDS: u64 = 40_000;

fn job(operator: &str, more: &str) -> String {
    const HEAD: &str = r#"
[job]
name = "saved"
channel_capacity = "64KiB"

[checkpoints]
interval = "50ms"
"#;
    paced(HEAD, RECORDS, operator) + more
}

const COUNT: &str = "artifact = \"count\"";

/// The last count of each key in all of these places.
fn counts(places: &[&Place]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (key, count) in places.iter().flat_map(|place| place.counts("out")) {
        let last = counts.entry(key).or_default();
        *last = count.max(*last);
    }
    counts
}

fn undisturbed() -> BTreeMap<String, u64> {
    let place = Place::new();
    let _ = place.run_job(&job(COUNT, ""), &[]).finished();
    counts(&[&place])
}

/// A job that was stopped with a savepoint at `last`.
fn stopped(operator: &str, more: &str) -> Place {
    let place = Place::new();
    place.write("job.toml", job(operator, more));
    let mut running = place.start("job.toml", &["--state", "st"]);
    running.until_checkpoints(2);
    let saved = place.command(&["job", "stop", "--state", "st", "--to", "last", "--json"]).unwrap();
    assert_eq!((saved["stopped"].as_bool(), saved["path"].as_str()), (Some(true), Some("last")));
    assert_eq!(running.wait().code, Some(3), "stopped, not finished");
    place
}

/// Another machine, with nothing but the savepoint and a job file.
fn elsewhere(from: &Place, operator: &str, arguments: &[&str]) -> (Place, Ended) {
    let place = Place::new();
    place.write("last", std::fs::read(from.path("last")).unwrap());
    let mut all = vec!["--from-savepoint", "last"];
    all.extend(arguments);
    let ended = place.run_job(&job(operator, ""), &all);
    (place, ended)
}

#[test]
fn a_job_goes_on_from_a_savepoint_on_another_machine_and_with_another_parallelism() {
    let first = stopped(COUNT, "");
    assert!(!first.lines("out").is_empty(), "what was before the savepoint is visible");
    for parallelism in ["1", "3"] {
        let set = format!("job.parallelism={parallelism}");
        let (second, ended) = elsewhere(&first, COUNT, &["--state", "new", "--set", &set]);
        let ended = ended.finished();
        assert!(ended.summary["checkpoints"]["resumed_from"].is_u64());
        assert_eq!(ended.vertex("records", "records_out"), RECORDS, "counts are the whole job's");
        assert_eq!(counts(&[&first, &second]), undisturbed());
    }
    // Without a state directory, too.
    let (second, ended) = elsewhere(&first, COUNT, &[]);
    let _ = ended.finished();
    assert_eq!(counts(&[&first, &second]), undisturbed());
}

#[test]
fn a_savepoint_of_a_running_job_does_not_disturb_it() {
    let place = Place::new();
    place.write("job.toml", job(COUNT, ""));
    let mut running = place.start("job.toml", &["--state", "st"]);
    running.until_checkpoints(2);
    let take = || place.command(&["savepoint", "take", "--state", "st", "--json"]).unwrap();
    let (one, other) = (take(), take());
    assert_ne!(one["path"], other["path"]);
    assert!(place.path(one["path"].as_str().unwrap()).is_file(), "{one}");
    let checkpoint = place.command(&["checkpoint", "trigger", "--state", "st", "--json"]).unwrap();
    assert!(checkpoint["id"].as_u64() > other["id"].as_u64(), "{checkpoint}");
    let ended = running.wait().finished();
    assert_eq!(ended.restarts(), 0);
    assert_eq!(counts(&[&place]), undisturbed());
}

/// However many checkpoints that comes to: those of one checkpoint are one file.
#[test]
fn all_who_ask_for_a_savepoint_at_once_are_given_one() {
    let place = Place::new();
    place.write("job.toml", job(COUNT, ""));
    let mut running = place.start("job.toml", &["--state", "st"]);
    running.until_checkpoints(2);
    let take = || place.command(&["savepoint", "take", "--state", "st", "--json"]).unwrap();
    let taken: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for saved in taken {
        let file = place.path(saved["path"].as_str().unwrap());
        assert_eq!(std::fs::metadata(file).unwrap().len(), saved["bytes"].as_u64().unwrap());
    }
    running.kill();
}

#[test]
fn a_savepoint_that_is_cut_or_changed_is_refused() {
    let first = stopped(COUNT, "");
    let good = std::fs::read(first.path("last")).unwrap();
    let mut changed = good.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for bad in [&good[..good.len() - 1], &changed[..], b"no savepoint"] {
        first.write("last", bad);
        let (place, ended) = elsewhere(&first, COUNT, &["--state", "new"]);
        ended.failed(4, &["the savepoint last cannot be used"]);
        // What was read of it is no checkpoint.
        let again = place.run_job(&job(COUNT, ""), &["--state", "new"]).finished();
        assert!(again.summary["checkpoints"]["resumed_from"].is_null());
    }
}

#[test]
fn another_version_may_refuse_the_state_and_then_nothing_runs() {
    let hoard = "artifact = \"hoard\"\nconfig = { state_bytes = 20 }";
    for (old, new) in [(COUNT, hoard), (hoard, COUNT)] {
        let first = stopped(old, "");
        let (place, ended) = elsewhere(&first, new, &["--state", "new"]);
        let said =
            ["`guest`", "does not accept the state", "another state type", "go on with that"];
        ended.failed(4, &said);
        assert!(place.files("out").is_empty());
        // Nothing is changed: the old version goes on.
        let _ = place.run_job(&job(old, ""), &["--state", "new"]).finished();
    }
}

#[test]
fn state_of_what_is_gone_is_left_out_only_if_that_is_wanted() {
    let more = "[[operator]]\nname = \"extra\"\nartifact = \"count\"\ninput = \"records\"\n\
                [[sink]]\nname = \"aside\"\ninput = \"extra\"\nconnector = \"discard\"\n";
    let first = stopped(COUNT, more);
    let (_, ended) = elsewhere(&first, COUNT, &["--state", "new"]);
    ended.failed(4, &["which the job file does not have any more", "--allow-non-restored-state"]);
    let (second, ended) =
        elsewhere(&first, COUNT, &["--state", "new", "--allow-non-restored-state"]);
    let _ = ended.finished();
    assert_eq!(counts(&[&first, &second]), undisturbed());
}

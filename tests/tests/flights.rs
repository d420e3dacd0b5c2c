//! The flights example, against a computation in another language that shares
//! nothing with ours (`tests/reference/flights.py`): whatever the parallelism, and
//! whether or not an operator goes down in the middle. With the whole year's file,
//! where there is one, too.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{fs, io::Write as _, sync::LazyLock};

use cofferdam_tests::{
    Ended, Place,
    flights::{Reference, replaced},
    repository,
};

/// Of January, which all but one of these tests look at.
static JANUARY: LazyLock<Reference> =
    LazyLock::new(|| Reference::of(&repository().join("examples/flights/flights-2013-01.csv.gz")));

/// The example's job file, fit for another directory.
fn job() -> String {
    let example = repository().join("examples/flights");
    let text = fs::read_to_string(example.join("job.toml")).unwrap();
    let data = example.join("flights-2013-01.csv.gz");
    replaced(&text, "path = \"flights-2013-01.csv.gz\"", &format!("path = {data:?}"))
}

/// The same with an operator after the source that traps once, when a
/// checkpoint is complete and a second one was begun.
fn crashing_job() -> String {
    let text = replaced(&job(), "input = \"flights\"", "input = \"crasher\"");
    let text = replaced(&text, "interval = \"1s\"", "interval = \"20ms\"");
    // Little may wait, so that a barrier is soon through.
    let text = replaced(&text, "[checkpoints]", "channel_capacity = \"32KiB\"\n\n[checkpoints]");
    text + r#"
[restart]
strategy = "fixed-delay"
delay = "10ms"
attempts = 20

[[operator]]
name = "crasher"
artifact = "crasher"
input = "flights"
parallelism = 1
config = { trap_after_snapshots = 2, work = 100_000 }
"#
}

fn run(place: &Place, job: &str, parallelism: u32) -> Ended {
    place.run_job(job, &["--set", &format!("job.parallelism={parallelism}")]).finished()
}

fn undisturbed(parallelism: u32) {
    let place = Place::new();
    let ended = run(&place, &job(), parallelism);
    assert_eq!(ended.restarts(), 0);
    assert_eq!(ended.vertex("flights", "records_out"), 27_004);
    JANUARY.assert_equals_what_was_written(&place, "out");
}

fn with_a_trap(parallelism: u32) {
    let place = Place::new();
    let ended = run(&place, &crashing_job(), parallelism);
    assert!(ended.restarts() >= 1, "nothing went down: {}", ended.summary);
    assert!(ended.vertex("crasher", "restarts") >= 1);
    let why = ended.summary["restarts"]["last_failure"].as_str().unwrap();
    assert!(why.contains("guest trap") && why.contains("trap_after_snapshots"), "{why}");
    assert!(ended.summary["checkpoints"]["completed"].as_u64() >= Some(2), "{}", ended.summary);
    JANUARY.assert_equals_what_was_written(&place, "out");
}

#[test]
fn results_equal_the_reference_at_parallelism_1() {
    undisturbed(1);
}

#[test]
fn results_equal_the_reference_at_parallelism_2() {
    undisturbed(2);
}

#[test]
fn results_equal_the_reference_at_parallelism_4() {
    undisturbed(4);
}

#[test]
fn results_equal_the_reference_despite_a_trap_at_parallelism_1() {
    with_a_trap(1);
}

#[test]
fn results_equal_the_reference_despite_a_trap_at_parallelism_2() {
    with_a_trap(2);
}

#[test]
fn results_equal_the_reference_despite_a_trap_at_parallelism_4() {
    with_a_trap(4);
}

/// How late a row of the whole year's file can come: its months stand in the
/// order 1, 10, 11, 12, 2, ..., so February comes 334 days after December.
const YEAR_OUT_OF_ORDERNESS: &str = "340d";

#[test]
fn results_of_the_whole_year_equal_the_reference() {
    let Ok(data) = repository().join("../shared/data/flights-2013.csv.gz").canonicalize() else {
        // Not by `println!`, of which a test that passes shows nothing.
        let why = "SKIPPED the whole year's flights: ../shared/data/flights-2013.csv.gz is missing";
        writeln!(std::io::stderr(), "{why}").unwrap();
        return;
    };
    let january = repository().join("examples/flights/flights-2013-01.csv.gz");
    let january = format!("path = {january:?}");
    let job = replaced(&job(), &january, &format!("path = {data:?}"));
    let bound = format!("flights.max_out_of_orderness={YEAR_OUT_OF_ORDERNESS}");
    let place = Place::new();
    let ended = place.run_job(&job, &["--set", "job.parallelism=2", "--set", &bound]).finished();
    assert_eq!(ended.vertex("flights", "records_out"), 336_776);
    for operator in ["carrier-delays", "carrier-days", "worst-carriers"] {
        assert_eq!(ended.vertex(operator, "late"), 0, "late for {operator}");
    }
    let year = Reference::of(&data);
    assert_eq!(year.count("departed") + year.count("cancelled"), 336_776);
    year.assert_equals_what_was_written(&place, "out");
}

//! A failure restarts the pipelined region that it happened in, and no other: the
//! rest of the job does not even notice. What the job writes is the same.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use cofferdam_tests::{Ended, Place};

const RECORDS: u64 = 40_000;

/// Two parallel lines from source to sink, without an exchange; in the second one the
/// guest goes down so many times, each time after a complete checkpoint.
fn lines(config: &str) -> (Ended, Vec<String>) {
    let place = Place::new();
    let job = format!(
        r#"
[job]
name = "lines"
parallelism = 2
channel_capacity = "32KiB"

[checkpoints]
interval = "10ms"

[restart]
strategy = "fixed-delay"
attempts = 9
delay = "1ms"

[[source]]
name = "records"
connector = "generator"
records = {RECORDS}
rate = 20_000
keys = 10

[[operator]]
name = "guest"
artifact = "crasher"
input = "records"
config = {{ {config} }}

[[sink]]
name = "out"
input = "guest"
parallelism = 2
connector = "lines"
path = "out.txt"
"#
    );
    let ended = place.run_job(&job, &[]).finished();
    let mut written = place.lines("out");
    written.sort();
    (ended, written)
}

/// How many records the instance of each subtask saw that was there in the end.
fn seen(ended: &Ended) -> Vec<u64> {
    let vertices = ended.summary["vertices"].as_array().unwrap();
    let guest = vertices.iter().find(|vertex| vertex["name"] == "guest").unwrap();
    let metrics = guest["guest_metrics"].as_array().unwrap();
    metrics.iter().map(|m| m["counters"]["seen"].as_u64().unwrap()).collect()
}

#[test]
fn only_the_region_that_failed_restarts_and_the_output_is_the_same() {
    let (undisturbed, wanted) = lines("");
    assert_eq!(wanted.len() as u64, RECORDS);
    let (ended, written) = lines("only_subtask = 1, trap_after_snapshots = 2, traps = 3");
    assert!(written == wanted, "the output differs from that of an undisturbed run");
    assert_eq!((ended.restarts(), undisturbed.restarts()), (3, 0));
    let (before, after) = (seen(&undisturbed), seen(&ended));
    // An instance that was made anew has counted less than its line had records.
    assert_eq!(after[0], before[0], "the other line's instance is the first one");
    assert!(after[1] < before[1], "the failed one is another");
    // Counts of the job are those of an undisturbed run all the same.
    for number in ["records_in", "records_out"] {
        assert_eq!(ended.vertex("guest", number), undisturbed.vertex("guest", number));
    }
    assert_eq!(ended.vertex("out", "records_in"), RECORDS);
}

#[test]
fn a_region_that_keeps_failing_ends_the_job_as_the_strategy_says() {
    let place = Place::new();
    let job = r#"
[job]
name = "lines"
parallelism = 2

[restart]
strategy = "fixed-delay"
attempts = 2
delay = "1ms"

[[source]]
name = "records"
connector = "generator"
rate = 20_000
keys = 10

[[operator]]
name = "guest"
artifact = "crasher"
input = "records"
config = { only_subtask = 1, trap_at = 5 }
# What it does depends on how many records it has seen: divided, each batch goes through.
poison = "fail"

[[sink]]
name = "out"
input = "guest"
parallelism = 2
connector = "discard"
"#;
    let ended = place.run_job(job, &[]);
    ended.failed(1, &["`guest` (subtask 1)", "guest trap", "it was restarted 2 times already"]);
    assert_eq!(ended.restarts(), 2);
}

//! Restart strategies: how often and after what wait a job goes on, when it is
//! given up and what is said then, and that what it wrote is the same in the end.
//! The waits are of milliseconds: what they are is read from what the job says.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use cofferdam_tests::{Ended, Place};

/// A job of one guest that goes down as `config` says, under `strategy`.
fn job(strategy: &str, source: &str, config: &str) -> String {
    format!(
        r#"
[job]
name = "restarted"
channel_capacity = "32KiB"

[checkpoints]
interval = "10ms"

[restart]
{strategy}

[[source]]
name = "records"
{source}

[[operator]]
name = "guest"
artifact = "crasher"
input = "records"
poison = "fail"
config = {{ {config} }}

[[sink]]
name = "out"
input = "guest"
connector = "lines"
path = "out.txt"
"#
    )
}

/// A job that meets a record in which its guest traps whenever it comes.
fn poisoned(strategy: &str) -> (Place, Ended) {
    let place = Place::new();
    place.write("in.txt", "a\nb\npoison\nc\n");
    let source = "connector = \"lines\"\npath = \"in.txt\"";
    let ended = place.run_job(&job(strategy, source, "trap_on_value = 'poison'"), &[]);
    assert!(place.files("out.txt").is_empty(), "a failed job shows no half output");
    (place, ended)
}

/// Slow enough for a few checkpoints before its end.
const RECORDS: u64 = 40_000;

/// A job whose guest traps so many times, each time when a checkpoint has been
/// completed since, and then goes on to the end.
fn goes_down(times: u64, strategy: &str) -> Ended {
    let run = |config: &str| {
        let place = Place::new();
        let source =
            format!("connector = \"generator\"\nrecords = {RECORDS}\nrate = 20_000\nkeys = 10");
        let ended = place.run_job(&job(strategy, &source, config), &[]).finished();
        (ended, place.lines("out.txt"))
    };
    let (ended, written) = run(&format!("trap_after_snapshots = 2, traps = {times}"));
    let (undisturbed, wanted) = run("");
    assert_eq!((ended.restarts(), undisturbed.restarts()), (times, 0));
    assert_eq!(ended.vertex("guest", "restarts"), times);
    assert_eq!(wanted.len() as u64, RECORDS);
    assert!(written == wanted, "the output differs from that of an undisturbed run");
    ended
}

/// The waits before each restart, and from where each began, as the log says.
fn restarts(ended: &Ended) -> Vec<(&str, &str)> {
    let said = ended.stderr.lines().filter_map(|line| line.strip_prefix("restarting from "));
    let said = said.map(|said| said.rsplit_once(" in ").unwrap());
    // Whose failure it was stands behind it.
    said.map(|(from, wait)| (from, wait.split(' ').next().unwrap_or_default())).collect()
}

fn waits(ended: &Ended) -> Vec<&str> {
    restarts(ended).into_iter().map(|(_, wait)| wait).collect()
}

#[test]
fn without_a_strategy_the_first_failure_ends_the_job() {
    let (_, ended) = poisoned("strategy = \"none\"");
    ended.failed(1, &["`guest` (subtask 0)", "guest trap", "the restart strategy is \"none\""]);
    assert_eq!((ended.restarts(), waits(&ended).len()), (0, 0));
}

#[test]
fn fixed_delay_restarts_as_often_as_it_may_and_then_gives_up() {
    let (_, ended) = poisoned("strategy = \"fixed-delay\"\nattempts = 2\ndelay = \"3ms\"");
    ended.failed(1, &["guest trap", "poison record 2", "it was restarted 2 times already"]);
    ended.failed(1, &["\"fixed-delay\" allows (attempts = 2)"]);
    assert_eq!((ended.restarts(), waits(&ended)), (2, vec!["3ms"; 2]));
}

#[test]
fn fixed_delay_goes_on_to_the_same_output() {
    let ended = goes_down(2, "strategy = \"fixed-delay\"\nattempts = 2\ndelay = \"3ms\"");
    assert_eq!(waits(&ended), ["3ms"; 2]);
}

#[test]
fn failure_rate_gives_up_when_too_many_failures_come_within_its_interval() {
    let strategy =
        "strategy = \"failure-rate\"\nmax_failures = 3\ninterval = \"1h\"\ndelay = \"2ms\"";
    let (_, ended) = poisoned(strategy);
    ended.failed(1, &["guest trap", "it failed 4 times within 3600s"]);
    ended.failed(1, &["\"failure-rate\" bears (max_failures = 3)"]);
    assert_eq!(ended.summary["outcome"], "failed");
    assert_eq!((ended.restarts(), waits(&ended)), (3, vec!["2ms"; 3]));
}

#[test]
fn failure_rate_bears_any_number_of_failures_that_are_far_enough_apart() {
    // Each failure comes at least the delay after the one before it, so none is
    // within the same interval as another.
    let strategy =
        "strategy = \"failure-rate\"\nmax_failures = 1\ninterval = \"1ms\"\ndelay = \"20ms\"";
    let ended = goes_down(4, strategy);
    assert_eq!(waits(&ended), ["20ms"; 4]);
}

#[test]
fn exponential_delay_waits_longer_each_time_and_goes_on_to_the_same_output() {
    let strategy = "strategy = \"exponential-delay\"\ninitial_backoff = \"1ms\"\n\
                    max_backoff = \"8ms\"\nmultiplier = 2.0\njitter = 0.0";
    let ended = goes_down(5, strategy);
    assert_eq!(waits(&ended), ["1ms", "2ms", "4ms", "8ms", "8ms"]);
    // Each time from a later checkpoint than before: the job comes on.
    let checkpoints: Vec<u64> = restarts(&ended)
        .into_iter()
        .map(|(from, _)| from.strip_prefix("checkpoint ").unwrap().parse().unwrap())
        .collect();
    assert!(checkpoints.is_sorted_by(|one, next| one < next), "{checkpoints:?}");
}

#[test]
fn exponential_delay_gives_up_after_its_attempts_in_a_row() {
    let strategy = "strategy = \"exponential-delay\"\ninitial_backoff = \"1ms\"\n\
                    max_backoff = \"4ms\"\nmultiplier = 3.0\njitter = 0.0\nattempts = 3";
    let (_, ended) = poisoned(strategy);
    ended.failed(1, &["guest trap", "it was restarted 3 times in a row"]);
    ended.failed(1, &["\"exponential-delay\" allows (attempts = 3)"]);
    assert_eq!((ended.restarts(), waits(&ended)), (3, vec!["1ms", "3ms", "4ms"]));
}

#[test]
fn what_a_restart_cannot_help_is_not_restarted() {
    let place = Place::new();
    place.write("in.txt", "a\nb\n");
    let strategy = "strategy = \"fixed-delay\"\nattempts = 9\ndelay = \"1ms\"";
    // Neither line is JSON: each is a dead letter, one more than the job bears.
    let job = job(strategy, "connector = \"jsonl\"\npath = \"in.txt\"", "")
        .replace("channel_capacity", "max_rejected = 1\nchannel_capacity");
    let ended = place.run_job(&job, &[]);
    ended.failed(1, &["a restart cannot help after: too many rejected records"]);
    assert_eq!(ended.restarts(), 0);
}

//! Poison records and timers: what crashes its guest whenever it comes is found, and
//! goes to the dead letters with reason, backtrace and input; the rest of the output
//! is that of a run without it. A guest that crashes on everything still fails its
//! job.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::fmt::Write as _;

use cofferdam_tests::{Ended, Place, last_counts};
use serde_json::Value;

/// Records of each of two files.
const RECORDS: u64 = 6_000;
/// Even, so that each key is in one of the files only.
const KEYS: u64 = 38;

/// Two files of records, each with its number, a key, and its time; `without` some.
fn write_input(place: &Place, without: &[u64]) {
    for file in 0..2 {
        let mut text = String::new();
        for i in (0..RECORDS).map(|i| 2 * i + file).filter(|i| !without.contains(i)) {
            let _ = writeln!(text, r#"{{"k":"key-{}","t":{i},"n":"number {i}."}}"#, i % KEYS);
        }
        place.write(&format!("in-{file}.jsonl"), text);
    }
}

/// A job of one guest, in parallel two, with its dead letters in a file of their own.
fn job(artifact: &str, operator: &str, config: &str) -> String {
    format!(
        r#"
[job]
name = "poisoned"
parallelism = 2
channel_capacity = "32KiB"

[checkpoints]
every_records = 2_000

[restart]
strategy = "fixed-delay"
attempts = 8
delay = "1ms"

[[source]]
name = "records"
connector = "jsonl"
path = "in-*.jsonl"
key = "k"
timestamp = {{ field = "t", format = "millis" }}
max_out_of_orderness = "1h"

[[operator]]
name = "guest"
artifact = "{artifact}"
input = "records"
{operator}
config = {{ {config} }}

[[sink]]
name = "out"
input = "guest"
connector = "lines"
path = "out.txt"

[[sink]]
name = "set-aside"
input = "guest.dead-letters"
connector = "lines"
path = "letters.txt"
"#
    )
}

/// The job's output and dead letters, and how it ended.
fn run(
    artifact: &str,
    operator: &str,
    config: &str,
    without: &[u64],
) -> (Vec<String>, Vec<Value>, Ended) {
    let place = Place::new();
    write_input(&place, without);
    let ended = place.run_job(&job(artifact, operator, config), &[]).finished();
    (place.lines("out.txt"), place.json("letters.txt"), ended)
}

/// The record's value, as the source passes it on.
fn value(i: u64) -> String {
    format!(r#"{{"k":"key-{}","t":{i},"n":"number {i}."}}"#, i % KEYS)
}

/// That exactly these records were set aside, each with what it needs to be understood.
fn check_letters(letters: &[Value], records: &[u64], label: &str) {
    let mut values: Vec<&str> = letters.iter().map(|l| l["value"].as_str().unwrap()).collect();
    let mut wanted: Vec<String> = records.iter().map(|i| value(*i)).collect();
    values.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(values, wanted);
    for letter in letters {
        let reason = letter["reason"].as_str().unwrap();
        assert!(reason.contains("the record is poison") && reason.contains(label), "{reason}");
        assert!(letter["key"].as_str().unwrap().starts_with("key-"), "{letter}");
        assert_eq!(letter["operator"], "guest");
        assert!(letter["timestamp"].is_number());
    }
}

/// That it names a function of the guest's.
fn check_backtrace(letter: &Value, function: &str) {
    let frames = letter["backtrace"].as_array().unwrap_or_else(|| panic!("{letter}"));
    let found = frames.iter().any(|frame| frame.as_str().is_some_and(|f| f.contains(function)));
    assert!(found, "{frames:?}");
}

const POISON: [u64; 3] = [4_711, 4_712, 9_000];
const POISONED: &str = "poison = ['number 4711.', 'number 4712.', 'number 9000.']";

#[test]
fn a_keyed_guest_goes_on_without_the_records_that_crash_it_and_its_state_is_whole() {
    for window in [
        "",
        "window = { type = 'tumbling', size = '1s' }",
        "window = { type = 'sliding', size = '2s', slide = '500ms' }",
        "window = { type = 'session', gap = '25ms' }",
    ] {
        let timer = if window.is_empty() { ", timer = 1_000_000" } else { "" };
        let (out, letters, ended) = run("fragile", window, &format!("{POISONED}{timer}"), &[]);
        let (wanted, none, _) = run("fragile", window, &timer.replace(", ", ""), &POISON);
        assert!(none.is_empty() && !wanted.is_empty());
        assert_eq!(out, wanted, "{window}");
        check_letters(&letters, &POISON, "guest trap");
        letters.iter().for_each(|letter| check_backtrace(letter, "Fragile"));
        assert!(ended.restarts() >= 1, "the first crash restarts the job");
        // How many there are before the last one is a matter of how fast the source is beside them.
        assert!(ended.summary["checkpoints"]["completed"].as_u64() >= Some(1), "{}", ended.summary);
        assert_eq!(ended.vertex("guest", "rejected"), 3);
    }
}

#[test]
fn a_guest_without_state_goes_on_without_the_records_that_crash_it_however_they_do() {
    for (how, operator, label) in [
        ("", "", "guest trap"),
        (", how = 'say'", "", "guest error"),
        (", how = 'spin'", "deadline = '100ms'", "deadline exceeded"),
        (", how = 'hoard'", "memory = '16MiB'", "out of memory"),
    ] {
        let (poison, config) = match how {
            // Each try takes as long as the deadline.
            ", how = 'spin'" => (&POISON[2..], "poison = ['number 9000.']"),
            _ => (&POISON[..], POISONED),
        };
        let (out, letters, _) = run("fragile-map", operator, &format!("{config}{how}"), &[]);
        let mut wanted: Vec<String> =
            (0..2 * RECORDS).filter(|i| !poison.contains(i)).map(value).collect();
        wanted.sort();
        assert!(out == wanted, "{how}: {} lines, not {}", out.len(), wanted.len());
        check_letters(&letters, poison, label);
        if label != "guest error" {
            letters.iter().for_each(|letter| check_backtrace(letter, "fragile_map"));
        }
    }
}

#[test]
fn a_guest_with_state_of_its_own_keeps_it() {
    for saved in ["", "state = 'memory'"] {
        let (out, letters, _) = run("stateful-count", saved, "poison = 'number 9000.'", &[]);
        let (wanted, ..) = run("stateful-count", saved, "", &[9_000]);
        assert_eq!(last_counts(&out), last_counts(&wanted), "{saved}");
        assert_eq!(last_counts(&out).values().sum::<u64>(), 2 * RECORDS - 1);
        check_letters(&letters, &[9_000], "guest trap");
        check_backtrace(&letters[0], "stateful_count");
    }
}

#[test]
fn a_timer_and_a_window_whose_firing_crashes_the_guest_are_set_aside() {
    for (window, timer, what, fired) in [
        ("", "timer = 1_000_000", "a timer of event time", 1),
        ("window = { type = 'tumbling', size = '4s' }", "", "the firing of a window", 3),
    ] {
        let poison =
            format!("poison_firing = 'key-5'{}{timer}", if timer.is_empty() { "" } else { ", " });
        let (out, letters, _) = run("fragile", window, &poison, &[]);
        let (mut wanted, ..) = run("fragile", window, timer, &[]);
        wanted.retain(|line| !line.contains(r#""key":"key-5""#));
        assert_eq!(out, wanted);
        assert_eq!(letters.len(), fired);
        for letter in &letters {
            assert!(letter["reason"].as_str().unwrap().starts_with(&format!("{what} is poison")));
            assert_eq!(letter["key"], "key-5");
            check_backtrace(letter, "Fragile");
        }
    }
}

#[test]
fn a_guest_that_crashes_on_everything_fails_its_job_with_a_clear_message() {
    for (artifact, config) in [("fragile", "poison = ['']"), ("fragile-map", "poison = ['']")] {
        let place = Place::new();
        write_input(&place, &[]);
        let ended = place.run_job(&job(artifact, "", config), &[]);
        ended.failed(1, &["17 records or timers of one batch crashed the guest, each alone"]);
        ended.failed(1, &["a restart cannot help after: too many poison records"]);
        // Once for each subtask.
        assert!((1..=2).contains(&ended.restarts()), "{}", ended.restarts());
        assert!(place.files("letters.txt").is_empty(), "a failed job shows no half output");
    }
}

#[test]
fn what_a_job_bears_of_rejected_records_holds_for_poison_too() {
    let place = Place::new();
    write_input(&place, &[]);
    let job = job("fragile-map", "", POISONED)
        .replace("channel_capacity", "max_rejected = 0\nchannel_capacity");
    place.run_job(&job, &[]).failed(1, &["too many rejected records", "the record is poison"]);
}

#[test]
fn a_job_may_fail_instead() {
    let place = Place::new();
    write_input(&place, &[]);
    let ended = place.run_job(&job("fragile", "poison = 'fail'", POISONED), &[]);
    ended.failed(1, &["guest trap", "a poison record", "\"fixed-delay\" allows (attempts = 8)"]);
    assert_eq!(ended.restarts(), 8);
}

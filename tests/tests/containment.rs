//! What an operator can do wrong stays in its slot: the job fails with the class
//! of the failure, the subtask and the reason, or goes on from its last
//! checkpoint; the host neither panics nor hangs.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use cofferdam_tests::{Ended, Place};

/// A job of one guest, which is not restarted. `extra` goes into the operator.
fn job(artifact: &str, extra: &str) -> String {
    format!(
        r#"
[job]
name = "contained"

[restart]
strategy = "none"

[[source]]
name = "numbers"
connector = "generator"
records = 5_000
keys = 10

[[operator]]
name = "guest"
artifact = "{artifact}"
input = "numbers"
{extra}

[[sink]]
name = "out"
input = "guest"
connector = "lines"
path = "out.txt"
"#
    )
}

fn run(artifact: &str, extra: &str) -> Ended {
    let place = Place::new();
    let ended = place.run_job(&job(artifact, extra), &[]);
    if ended.code != Some(0) {
        assert!(place.files("out.txt").is_empty(), "a failed job shows no half output");
    }
    ended
}

#[test]
fn a_trap_says_which_subtask_and_what_the_guest_said() {
    let ended = run("crasher", "config.trap_at = 1500");
    ended.failed(1, &["`guest` (subtask 0)", "guest trap", "trap_at = 1500, as configured"]);
    assert_eq!(ended.summary["outcome"], "failed");
    assert_eq!(ended.restarts(), 0);
}

#[test]
fn a_guest_that_says_no_is_believed() {
    run("crasher", "config.err_at = 1500").failed(1, &["guest error", "err_at = 1500"]);
}

#[test]
fn a_guest_that_refuses_to_open_stops_the_job_with_its_message() {
    let ended = run("crasher", "config.refuse = 'not on Sundays'");
    ended.failed(2, &["guest", "not on Sundays"]);
}

#[test]
fn a_bad_setting_is_told_with_the_operator() {
    run("crasher", "config.trapp_at = 1").failed(2, &["trapp_at"]);
}

#[test]
fn a_guest_gets_the_memory_that_the_job_file_gives_and_no_more() {
    let ended = run("crasher", "memory = '8MiB'\nconfig.oom = 1500");
    ended.failed(1, &["out of memory", "of 8388608 bytes", "raise the operator's `memory`"]);
}

#[test]
fn a_guest_that_spins_is_stopped_at_its_deadline() {
    let ended = run("crasher", "deadline = '300ms'\nconfig.spin = 1500");
    ended.failed(1, &["deadline exceeded", "within 300ms"]);
    let elapsed = ended.summary["elapsed_millis"].as_u64().unwrap();
    assert!((300..15_000).contains(&elapsed), "{elapsed} ms");
}

#[test]
fn every_malformed_outcome_fails_the_job_by_its_name() {
    for mode in [
        "keep-out-of-range",
        "offsets-decrease",
        "offsets-past-end",
        "first-offset",
        "too-few-values",
        "timestamps-disagree",
        "reject-out-of-range",
    ] {
        let ended = run("misbehave", &format!("config.mode = '{mode}'"));
        ended.failed(1, &["invalid outcome", "breaks the contract"]);
    }
}

#[test]
fn every_malformed_fold_fails_the_job_by_its_name() {
    for mode in [
        "unknown-group",
        "changed-twice",
        "too-few-states",
        "timer-of-unknown-group",
        "keep-out-of-range",
    ] {
        let ended = run("misbehave-keyed", &format!("config.mode = '{mode}'"));
        ended.failed(1, &["invalid outcome", "breaks the contract"]);
    }
}

#[test]
fn the_same_guests_run_when_they_behave() {
    for artifact in ["misbehave", "misbehave-keyed", "crasher", "copy"] {
        let _ = run(artifact, "").finished();
    }
}

#[test]
fn a_flood_of_log_lines_is_cut_off() {
    let place = Place::new();
    let job = job("misbehave", "config.mode = 'log-flood'").replace("5_000", "1_000");
    let ended = place.run_job(&job, &[]).finished();
    assert!(ended.stderr.len() < 1 << 20, "{} bytes of log", ended.stderr.len());
}

#[test]
fn a_poison_record_uses_up_the_attempts_and_then_fails_the_job() {
    let place = Place::new();
    place.write("in.txt", "a\nb\npoison\nc\n");
    let job = job("crasher", "poison = 'fail'\nconfig.trap_on_value = 'poison'")
        .replace(
            "connector = \"generator\"\nrecords = 5_000\nkeys = 10",
            "connector = \"lines\"\npath = \"in.txt\"",
        )
        .replace(
            "strategy = \"none\"",
            "strategy = \"fixed-delay\"\ndelay = \"5ms\"\nattempts = 3",
        );
    let ended = place.run_job(&job, &[]);
    ended.failed(1, &["guest trap", "poison record 2", "3"]);
    assert_eq!(ended.restarts(), 3);
}

#[test]
fn own_state_outlives_a_trap() {
    // The guest counts in its own memory and traps once, unless it was restored.
    let counted = |crash: &str, slow: &str| {
        let place = Place::new();
        let extra = format!("{crash}\n\n[checkpoints]\ninterval = '30ms'\n{slow}");
        let job = job("stateful-count", &extra)
            .replace(
                "strategy = \"none\"",
                "strategy = \"fixed-delay\"\ndelay = \"5ms\"\nattempts = 20",
            )
            .replace("records = 5_000", "records = 20_000\nrate = 20_000");
        let ended = place.run_job(&job, &[]).finished();
        let mut last = std::collections::BTreeMap::new();
        for line in place.json("out.txt") {
            let (key, count) = (line["key"].as_str().unwrap(), line["count"].as_u64().unwrap());
            let most: &mut u64 = last.entry(key.to_owned()).or_default();
            *most = count.max(*most);
        }
        (last, ended.restarts())
    };
    let (undisturbed, none) = counted("", "");
    let (disturbed, restarts) = counted("config.crash_at = 12_000", "");
    assert_eq!((none, undisturbed.values().sum::<u64>()), (0, 20_000));
    assert!(restarts >= 1, "nothing went down");
    assert_eq!(disturbed, undisturbed);
}

#[test]
fn a_second_ctrl_c_ends_the_program_although_a_guest_hangs() {
    let place = Place::new();
    place.write("job.toml", job("crasher", "deadline = '10m'\nconfig.spin = 1"));
    let mut running = place.start("job.toml", &[]);
    running.until("stuck in the guest", |status| {
        status["vertices"][0]["records_out"].as_u64() > Some(0)
    });
    running.interrupt();
    running.until("stopping", |status| status["state"] == "stopping");
    running.interrupt();
    assert_eq!(running.wait().code, Some(130));
}

#[test]
fn a_trap_in_one_branch_leaves_the_other_without_a_record_twice() {
    // Two branches of one source: the failure of one restarts the job from its
    // last checkpoint, and the other branch has no record twice.
    let place = Place::new();
    let branch = r#"
config = { trap_after_snapshots = 2, work = 20_000 }

[checkpoints]
interval = "20ms"

[[operator]]
name = "other"
artifact = "copy"
input = "numbers"
parallelism = 2

[[sink]]
name = "other-out"
input = "other"
connector = "lines"
path = "other.txt""#;
    let job = job("crasher", branch)
        .replace(
            "strategy = \"none\"",
            "strategy = \"fixed-delay\"\ndelay = \"5ms\"\nattempts = 20",
        )
        .replace("records = 5_000", "records = 20_000\nrate = 20_000");
    let ended = place.run_job(&job, &[]).finished();
    assert!(ended.vertex("guest", "restarts") >= 1, "{}", ended.summary);
    assert_eq!(ended.vertex("other", "restarts"), 0);
    let (one, other) = (place.lines("out.txt"), place.lines("other.txt"));
    assert_eq!(one.len(), 20_000);
    assert!(one == other, "the two branches have read the same");
}

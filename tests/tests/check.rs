//! `cofferdam job check` opens every operator: what would keep a job from starting
//! is told with operator, message and line before anything runs.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{fs, process::Output};

use cofferdam_tests::{Place, program, zoo::of_other_types};

/// A job of three operators in a row, with what is given for each.
fn job(operators: [&str; 3]) -> String {
    let mut text = "[job]\nname = \"checked\"\n\n[[source]]\nname = \"in\"\n\
                    connector = \"lines\"\npath = \"in.txt\"\n"
        .to_owned();
    let inputs = ["in", "one", "two"];
    for ((name, input), rest) in ["one", "two", "three"].into_iter().zip(inputs).zip(operators) {
        text += &format!("\n[[operator]]\nname = \"{name}\"\ninput = \"{input}\"\n{rest}\n");
    }
    text + "\n[[sink]]\nname = \"out\"\ninput = \"three\"\nconnector = \"lines\"\npath = \"o.txt\"\n"
}

const GOOD: &str = "artifact = \"copy\"";

fn check_in(place: &Place, job: &str, arguments: &[&str]) -> Output {
    place.write("in.txt", "");
    place.write("job.toml", job);
    let mut command = program();
    command.current_dir(place.path("")).args(["job", "check", "job.toml"]).args(arguments);
    command.output().unwrap()
}

fn check(operators: [&str; 3], arguments: &[&str]) -> Output {
    check_in(&Place::new(), &job(operators), arguments)
}

/// That the check failed, and what it said.
fn refused(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty(), "a plan, although the check failed");
    said
}

fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
}

#[test]
fn a_good_job_prints_its_plan_and_nothing_runs() {
    let place = Place::new();
    let output = check_in(&place, &job([GOOD, GOOD, GOOD]), &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said, "", "nothing to complain about");
    let plan = String::from_utf8(output.stdout).unwrap();
    assert_says(&plan, &["job checked: 1 source, 3 operators, 1 sink", "one", "two", "three"]);
    assert_eq!(place.files("o.txt").len(), 0, "the sink was opened");
}

#[test]
fn a_config_that_an_operator_refuses_is_told_with_its_message_and_line() {
    let refusing = "artifact = \"crasher\"\nconfig.refuse = \"not on Sundays\"";
    let said = refused(&check([GOOD, refusing, GOOD], &[]));
    assert_says(
        &said,
        &["operator `two`", "not on Sundays", "job.toml:18:1", "1 error in job.toml"],
    );
}

#[test]
fn a_misspelt_setting_is_pointed_at_in_the_operators_config() {
    let misspelt = "artifact = \"crasher\"\n\n[operator.config]\nwork = 1\ntrapp_at = 5";
    let said = refused(&check([misspelt, GOOD, GOOD], &[]));
    assert_says(&said, &["operator `one`", "`trapp_at`", "| trapp_at = 5", "job.toml:16:1"]);
}

#[test]
fn a_bad_setting_from_the_command_line_is_shown_as_that() {
    let crasher = "artifact = \"crasher\"";
    let said = refused(&check([crasher, GOOD, GOOD], &["--set", "one.trapp_at=5"]));
    assert_says(&said, &["operator `one`", "--set one.trapp_at=5"]);
}

#[test]
fn every_operator_that_cannot_be_had_is_told_at_once() {
    let place = Place::new();
    place.write("wrong.wasm", of_other_types());
    let operators = [
        "artifact = \"crasher\"\nconfig.refuse = \"not on Sundays\"",
        "artifact = \"crasher\"\ngrants = [\"log\"]",
        "artifact = \"./wrong.wasm\"",
    ];
    let said = refused(&check_in(&place, &job(operators), &[]));
    let in_order: Vec<_> = said.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(in_order.len(), 3, "{said}");
    assert_says(in_order[0], &["operator `one`", "guest error", "not on Sundays"]);
    assert_says(in_order[1], &["operator `two`", "cofferdam:operator/config@", "not granted"]);
    assert_says(in_order[2], &["operator `three`", "does not fit the contract"]);
    assert_says(
        &said,
        &["+ process: func()", "| grants = [\"log\"]", "| artifact = \"./wrong.wasm\"", "3 errors"],
    );
}

#[test]
fn an_operator_that_cannot_be_found_hides_neither_the_others_nor_a_bad_plan() {
    let missing = "artifact = \"dedup\"";
    let refusing = "artifact = \"crasher\"\nconfig.refuse = \"no\"";
    let said = refused(&check([refusing, missing, GOOD], &[]));
    assert_says(&said, &["no operator `dedup`", "did you mean `dedupe`?", "`one`", "2 errors"]);
    let windowed = "artifact = \"copy\"\nwindow = { type = \"tumbling\", size = \"1s\" }";
    let said = refused(&check([refusing, GOOD, windowed], &[]));
    assert_says(&said, &["operator `one`", "operator `three` has a `window`"]);
}

#[test]
fn limits_hold_while_an_operator_is_opened() {
    let little = "artifact = \"crasher\"\nmemory = \"64KiB\"";
    let said = refused(&check([GOOD, GOOD, little], &[]));
    assert_says(&said, &["operator `three`", "| memory = \"64KiB\""]);
}

#[test]
fn what_run_refuses_to_start_the_check_refuses_too() {
    let place = Place::new();
    let refusing = "artifact = \"crasher\"\nconfig.refuse = \"not on Sundays\"";
    let job = job([GOOD, refusing, GOOD]);
    let said = refused(&check_in(&place, &job, &[]));
    let ran = place.run_job(&job, &[]);
    ran.failed(2, &["not on Sundays"]);
    assert_says(&said, &["`open` said: not on Sundays"]);
    assert!(fs::metadata(place.path("o.txt")).is_err());
}

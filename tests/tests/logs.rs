//! Log floods over time: how much an operator can log is bounded over calls and over
//! restarts, and what is dropped is counted. What a single call may say stands in
//! `containment.rs`.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use cofferdam_tests::{Place, program, zoo::Guest};
use serde_json::Value;

/// Runs a job with its operators' lines in the log; returns what it logged, and the
/// last line of its progress.
fn run(place: &Place) -> (String, Value) {
    let mut command = program();
    command.current_dir(place.path("")).env("COFFERDAM_LOG", "warn,guest=info");
    let ended = command.args(["run", "job.toml", "--json"]).output().unwrap();
    let last = String::from_utf8(ended.stdout).unwrap().lines().last().unwrap().to_owned();
    (String::from_utf8(ended.stderr).unwrap(), serde_json::from_str(&last).unwrap())
}

fn job(artifact: &str, restart: &str, config: &str) -> String {
    format!(
        "[job]\nname = 'flood'\n[restart]\n{restart}\n
[[source]]\nname = 'in'\nconnector = 'generator'\nrecords = 10_000
[[operator]]\nname = 'loud'\nartifact = '{artifact}'\ninput = 'in'\n{config}
[[sink]]\nname = 'out'\ninput = 'loud'\nconnector = 'discard'\n"
    )
}

fn dropped(summary: &Value) -> u64 {
    summary["vertices"][1]["guest_metrics"][0]["dropped_log_lines"].as_u64().unwrap()
}

/// A burst of 512 KiB, and 64 KiB a second, with what stands around the lines.
fn bytes_for(summary: &Value) -> u64 {
    let millis = summary["elapsed_millis"].as_u64().unwrap();
    (512 << 10) + (64 << 10) * (millis + 1_000) / 1_000 + (128 << 10)
}

#[test]
fn a_flood_of_log_lines_over_many_calls_is_bounded_told_and_counted() {
    let place = Place::new();
    place.write("job.toml", job("misbehave", "strategy = 'none'", "config.mode = 'log-flood'"));
    let (log, summary) = run(&place);
    assert_eq!(summary["outcome"], "finished", "{log}");
    // In each of 10 calls 100 of 100,000 lines, each of 4 KiB, would be 4 MB.
    assert!((log.len() as u64) < bytes_for(&summary), "{} bytes, {summary}", log.len());
    assert!(log.contains("flood flood") && log.contains("more than 100 lines in one call"));
    assert!(log.contains(" log lines ("), "the number of those that were dropped");
    assert!(dropped(&summary) > 990_000, "{summary}");
}

#[test]
fn an_operator_that_crashes_in_a_loop_logs_no_more_than_one_that_lives() {
    let place = Place::new();
    let line = "(call $log (i32.const 2) (i32.const 0) (i32.const 4000))";
    let guest = Guest {
        imports: r#"(import "cofferdam:operator/log@0.1.0" "log"
            (func $log (param i32 i32 i32)))"#
            .into(),
        // Spaces, which are shown as they are.
        fields: format!("(data (i32.const 0) \"{}\")", " ".repeat(4_000)),
        answer: vec![0; 8 * 1024],
        open: format!("{} (i32.const 4096)", line.repeat(90)),
        ..Guest::processing("unreachable")
    };
    place.write("loud.wasm", guest.build());
    let restart = "strategy = 'fixed-delay'\nattempts = 20\ndelay = '1ms'";
    place.write("job.toml", job("./loud.wasm", restart, "poison = 'fail'"));
    let (log, summary) = run(&place);
    assert_eq!(
        (&summary["outcome"], &summary["restarts"]["count"]),
        (&"failed".into(), &20.into())
    );
    // 21 lives of 90 lines of 4,000 bytes would be 7.5 MB.
    assert!((log.len() as u64) < bytes_for(&summary), "{} bytes, {summary}", log.len());
    assert!(dropped(&summary) > 1_000, "{summary}");
}

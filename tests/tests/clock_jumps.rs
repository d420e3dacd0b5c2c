//! A clock that jumps back and forth by hours changes nothing but what is about the clock:
//! event time, checkpoints, restarts and their backoff go on, and timers of processing
//! time fire once, when the clock says so.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{collections::BTreeSet, time::Duration};

use cofferdam::{
    clock::{Clock, ManualClock},
    config,
    job_manager::{
        control::{Control, Outcome, RunOptions},
        master::run_with_clock,
        status::JobStatus,
    },
};
use cofferdam_tests::{Place, guests};
use tokio::{sync::watch, time::timeout};

const RECORDS: u64 = 40_000;
const KEYS: usize = 20;
const HOUR: Duration = Duration::from_secs(3_600);

/// Windows, a guest that goes down three times, timers, and a restart strategy that looks
/// at the clock.
fn job(restart: &str) -> String {
    format!(
        r#"
[job]
name = "jumpy"
parallelism = 2
channel_capacity = "64KiB"

[checkpoints]
interval = "20ms"

[restart]
{restart}

[[source]]
name = "records"
connector = "generator"
parallelism = 1
records = {RECORDS}
rate = 20_000
keys = {KEYS}
start = 2026-01-01T00:00:00Z
step = "10ms"
fields = {{ n = {{ sequence = 1 }} }}

[[operator]]
name = "guest"
artifact = "crasher"
input = "records"
parallelism = 1
config = {{ trap_after_snapshots = 3, traps = 3 }}

[[operator]]
name = "windows"
artifact = "window-stats"
input = "guest"
window = {{ type = "tumbling", size = "10s" }}
config.field = "n"

[[operator]]
name = "alarm"
artifact = "alarm"
input = "guest"
config.after = "1h"

[[sink]]
name = "windows-file"
input = "windows"
connector = "jsonl"
path = "windows.jsonl"

[[sink]]
name = "rung"
input = "alarm"
connector = "jsonl"
path = "rung.jsonl"
"#
    )
}

async fn jump_while_it_runs(restart: &str) {
    let (place, manual) = (Place::new(), ManualClock::at(1_700_000_000_000));
    let spec = config::parse(&job(restart), &place.path("job.toml"), &[]).unwrap();
    let options = RunOptions { artifacts: Some(guests()), ..RunOptions::default() };
    let (_control, listen) = watch::channel(Control::Run);
    let (publish, mut status) = JobStatus::watched(spec.job.name.clone());
    let clock = Clock::Manual(manual.clone());
    let running = tokio::spawn(run_with_clock(spec, options, listen, publish, clock));
    // Each time that there is something to see, the clock jumps: three hours forward, two
    // back.
    let mut jumps = 0;
    while timeout(Duration::from_secs(60), status.changed()).await.expect("it hangs").is_ok() {
        match jumps % 2 {
            0 => manual.advance(3 * HOUR),
            _ => manual.set_back(2 * HOUR),
        }
        jumps += 1;
    }
    let outcome = running.await.unwrap();
    assert!(matches!(outcome, Outcome::Finished), "{outcome:?}");
    assert!(jumps >= 8, "{jumps} jumps");
    let status = status.borrow().clone();
    assert_eq!(status.restarts.count, 3);
    assert!(status.checkpoints.completed >= 5, "{:?}", status.checkpoints);

    let rung = place.json("rung.jsonl");
    let keys: BTreeSet<&str> = rung.iter().map(|line| line["key"].as_str().unwrap()).collect();
    assert_eq!((rung.len(), keys.len()), (KEYS, KEYS), "each key's timer fires once: {rung:?}");
    assert!(rung.iter().all(|line| line["fired"].as_i64() >= line["due"].as_i64()), "{rung:?}");

    let undisturbed = Place::new();
    let calm = job("strategy = \"none\"").replace("traps = 3", "traps = 0");
    let _ = undisturbed.run_job(&calm, &["--set", "records.rate=10_000_000"]).finished();
    assert!(place.lines("windows") == undisturbed.lines("windows"), "the windows differ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_with_exponential_delay_goes_on_to_the_same_output() {
    jump_while_it_runs(
        "strategy = \"exponential-delay\"\ninitial_backoff = \"1ms\"\nmax_backoff = \"8ms\"",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_with_a_failure_rate_goes_on_to_the_same_output() {
    jump_while_it_runs(
        "strategy = \"failure-rate\"\nmax_failures = 3\ninterval = \"10m\"\ndelay = \"1ms\"",
    )
    .await;
}

//! An operator that has nothing to do gives its guest's memory back, as measured in its slot and
//! in what is resident of the process, and goes on where it was when records come.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{collections::BTreeMap, fs};

use cofferdam_tests::{Place, Served};
use serde_json::Value;

fn serve(place: &Place, name: &str, idle_after: &str) -> Served {
    let data = place.path(name);
    fs::create_dir_all(&data).unwrap();
    place.write(&format!("{name}/tenants.toml"), "[tenant.acme]\n");
    place.write(
        "config.toml",
        format!("[jobs]\nidle_after = \"{idle_after}\"\n[task_manager]\nslots = 16\n"),
    );
    let config = place.path("config.toml").display().to_string();
    Served::start(&data, &["--config", &config])
}

fn submit(served: &Served, job: &str) -> String {
    let made = served.ask("POST", "/v1/jobs?tenant=acme", job.as_bytes()).expect(201).json;
    format!("/v1/jobs/{}", made["id"].as_str().unwrap())
}

/// Bytes that are resident of a process.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Bytes of guests, in all slots.
fn of_guests(served: &Served) -> u64 {
    let seen = served.ask("GET", "/v1/taskmanager", b"").expect(200).json;
    let slots = seen["memory"]["slots"].as_array().unwrap();
    slots.iter().map(|slot| slot["parts"]["guest"].as_u64().unwrap()).sum()
}

const SLOTS: u64 = 8;

/// Eight slots whose guests hold some copies of two MiB of state each. All have something to do at
/// first; then there is a record a second, always of the same key.
const LARGE: &str = r#"
[job]
name = "large"
parallelism = 8

[[source]]
name = "burst"
connector = "generator"
records = 200
keys = 32
parallelism = 1

[[source]]
name = "slow"
connector = "generator"
rate = 1
keys = 1
parallelism = 1

[[operator]]
name = "kept"
artifact = "hoard"
inputs = [["burst", "slow"]]

[operator.config]
state_bytes = 2_097_152

[[sink]]
name = "out"
input = "kept"
connector = "discard"
"#;

#[test]
fn slots_without_work_give_the_memory_of_their_guests_back() {
    // What guests hold, and what is resident: with all slots at work, and some seconds later.
    let measure = |idle_after: &str| {
        let place = Place::new();
        let served = serve(&place, "data", idle_after);
        served.push("acme", "hoard", "1");
        let job = submit(&served, LARGE);
        let operator = |job: &Value| job["status"]["vertices"][2].clone();
        let records = |job: &Value| operator(job)["records_in"].as_u64().unwrap_or(0);
        let _ = served.until(&job, "at work", |job| records(job) >= 200);
        let look = || (of_guests(&served), resident(served.process()));
        let busy = look();
        let later = served.until(&job, "further", |job| records(job) >= 206);
        let calm = look();
        assert_eq!(operator(&later)["name"], "kept");
        assert_eq!(
            (&later["state"], &later["status"]["restarts"]["count"]),
            (&"running".into(), &0.into())
        );
        (busy, calm)
    };
    let (busy, awake) = measure("1h");
    assert!(busy.0 > SLOTS * (4 << 20) && awake.0 >= busy.0, "{busy:?}, {awake:?}");
    let (busy, idle) = measure("2s");
    let said = format!("guests and resident: {busy:?}, then {idle:?}; without a rest {awake:?}");
    assert!(busy.0 > SLOTS * (4 << 20) && idle.0 < busy.0 / 4, "{said}");
    // What the slots gave back is resident no more, as far as guests had ever touched it.
    let given_back = awake.0 - idle.0;
    assert!(idle.1 + given_back / 2 < awake.1, "{said}");
}

/// Operators of three kinds, one after the other; records come so slowly that each rests between
/// them.
const KINDS: &str = r#"
[job]
name = "kinds"

[checkpoints]
interval = "70ms"

[[source]]
name = "numbers"
connector = "generator"
rate = 20
records = 40
keys = 3
seed = 7

[[operator]]
name = "copied"
artifact = "identity"
input = "numbers"

[[operator]]
name = "counted"
artifact = "stateful-count"
input = "copied"

[[operator]]
name = "again"
artifact = "count"
input = "copied"

[[sink]]
name = "own"
input = "counted"
connector = "lines"
path = "own.txt"

[[sink]]
name = "hosts"
input = "again"
connector = "lines"
path = "hosts.txt"
"#;

#[test]
fn an_operator_that_rested_goes_on_where_it_was() {
    let place = Place::new();
    let mut outputs = Vec::new();
    for idle_after in ["10ms", "0s"] {
        let name = format!("data-{idle_after}");
        let served = serve(&place, &name, idle_after);
        for artifact in ["identity", "stateful-count", "count"] {
            served.push("acme", artifact, "1");
        }
        let home = served.home("acme");
        let job = submit(&served, KINDS);
        let _ = served.until(&job, "finished", |job| job["state"] == "finished");
        // How many there were of each key, at the end.
        let counts = |name: &str| {
            let text = fs::read_to_string(home.join(name)).unwrap();
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            for line in text.lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                let known = counts.entry(line["key"].as_str().unwrap().to_owned()).or_default();
                *known = line["count"].as_u64().unwrap().max(*known);
            }
            counts
        };
        outputs.push((counts("own.txt"), counts("hosts.txt")));
    }
    assert_eq!(outputs[0].0.values().sum::<u64>(), 40, "{outputs:?}");
    assert_eq!(outputs[0].0, outputs[0].1);
    assert_eq!(outputs[0], outputs[1]);
}

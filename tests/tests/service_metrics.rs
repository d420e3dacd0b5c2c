//! What `cofferdam serve` says to Prometheus.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{collections::BTreeMap, fs, thread, time::Duration};

use cofferdam_tests::{
    Place, Served,
    flights::replaced,
    jobs::{COUNTING, CRASHING, crashing_records},
};
use serde_json::json;

/// The values of a scrape, by what stands before them.
fn scrape(served: &Served, token: &str) -> BTreeMap<String, f64> {
    let reply = served.ask_with(token, "GET", "/metrics", b"").expect(200);
    assert!(reply.header("content-type").starts_with("application/openmetrics-text"));
    let text = &reply.text;
    assert!(text.ends_with("# EOF\n"), "{text}");
    let values = text.lines().filter(|line| !line.starts_with('#'));
    let split = values.map(|line| line.rsplit_once(' ').unwrap());
    split.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

/// Scrapes until something is so.
fn until(
    served: &Served,
    what: &str,
    is_so: impl Fn(&BTreeMap<String, f64>) -> bool,
) -> BTreeMap<String, f64> {
    for _ in 0..600 {
        let seen = scrape(served, &served.token);
        if is_so(&seen) {
            return seen;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{what} does not come: {:#?}", scrape(served, &served.token));
}

fn value(seen: &BTreeMap<String, f64>, name: &str, label: &str) -> Option<f64> {
    let is_it = |key: &str| key.split('{').next() == Some(name) && key.contains(label);
    seen.iter().find(|(key, _)| is_it(key)).map(|(_, value)| *value)
}

#[test]
fn prometheus_reads_what_jobs_do_and_each_tenant_sees_its_own() {
    let place = Place::new();
    fs::create_dir_all(place.path("data")).unwrap();
    place.write("data/tenants.toml", "[tenant.acme]\n[tenant.other]\n");
    let served = Served::start(&place.path("data"), &[]);
    served.push("acme", "count", "1");
    let job = served.ask("POST", "/v1/jobs?tenant=acme", COUNTING.as_bytes()).expect(201);
    let id = job.json["id"].as_str().unwrap();
    let seen = until(&served, "a checkpoint of a job that counts", |seen| {
        value(seen, "cofferdam_job_checkpoints_completed_total", id) > Some(0.0)
            && value(seen, "cofferdam_operator_records_in_total", "operator=\"count\"")
                > Some(1000.0)
            && value(seen, "cofferdam_operator_guest_cpu_seconds_total", "count") > Some(0.0)
    });
    let is = |name: &str, label: &str| value(&seen, name, label);
    assert_eq!(is("cofferdam_jobs", "state=\"running\""), Some(1.0));
    assert_eq!(is("cofferdam_job_slots", id), Some(1.0));
    assert!(
        is("cofferdam_taskmanager_slots_total", "")
            > is("cofferdam_taskmanager_slots_available", "")
    );
    assert!(is("cofferdam_taskmanager_memory_used_bytes", "") > Some(0.0));
    assert!(is("cofferdam_tenant_memory_reserved_bytes", "acme") > Some(0.0));
    assert!(is("cofferdam_job_last_checkpoint_full_size_bytes", id) > Some(0.0));
    assert!(is("cofferdam_operator_watermark_seconds", "numbers").is_some());

    // Another tenant's token: nothing of acme's, and nothing of what they share.
    let asked = json!({"name": "scraper", "tenant": "other", "role": "viewer"}).to_string();
    let made = served.ask("POST", "/v1/tokens", asked.as_bytes()).expect(201);
    let other = scrape(&served, made.json["token"].as_str().unwrap());
    assert!(other.is_empty(), "{other:#?}");

    let _ = served.ask("POST", &format!("/v1/jobs/{id}/cancel"), b"").expect(202);
    // What has ended has no series of its own any more, but for being counted.
    let seen = until(&served, "its end", |seen| {
        value(seen, "cofferdam_jobs", "state=\"cancelled\"") == Some(1.0)
    });
    assert_eq!(value(&seen, "cofferdam_job_slots", id), None);
}

#[test]
fn who_waits_for_room_and_who_works_is_told_apart() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    served.push("default", "count", "1");
    let fast = COUNTING.replace("rate = 5_000\n", "");
    let _ = served.ask("POST", "/v1/jobs", fast.as_bytes()).expect(201);
    let is = |seen: &BTreeMap<String, f64>, what: &str, operator: &str| {
        value(seen, &format!("cofferdam_operator_{what}_ratio"), &format!("=\"{operator}\""))
    };
    // The source could make more records than are counted.
    until(&served, "a source that is held back", |seen| {
        is(seen, "backpressured", "numbers") > Some(0.5)
            && is(seen, "busy", "numbers") < Some(0.5)
            && is(seen, "busy", "count") > is(seen, "backpressured", "count")
    });
}

#[test]
fn failures_are_counted_by_their_cause() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    served.push("default", "fragile", "1");
    fs::write(served.home("default").join("in.jsonl"), crashing_records()).unwrap();
    let attempts = "attempts = 10000\ndelay = \"50ms\"";
    let failing = replaced(CRASHING, "attempts = 1\ndelay = \"1ms\"", attempts);
    let job = served.submit("default", &failing);
    let cause = "cause=\"guest-trap\",fault=\"operator\"";
    let failures = "cofferdam_job_failures_total";
    let seen = until(&served, "three failures", |seen| value(seen, failures, cause) >= Some(3.0));
    assert!(value(&seen, failures, "operator=\"guest\"").is_some(), "{seen:#?}");
    assert_eq!(seen.keys().filter(|key| key.starts_with(failures)).count(), 1, "{seen:#?}");
    let told = served.ask("GET", &format!("{job}/exceptions"), b"").expect(200).json;
    assert_eq!(told["failures"][0]["kind"], "guest-trap", "in the same words");
    assert_eq!(told["failures"][0]["fault"], "operator");
    // What a job failed with for good is told, too, also by the next process.
    let _ = served.ask("POST", &format!("{job}/cancel"), b"").expect(202);
    let _ = served.until_state(&job, "cancelled");
    let fails = served.submit("default", CRASHING);
    let _ = served.until_state(&fails, "failed");
    let of_it = format!("job_id=\"{}\"", fails.strip_prefix("/v1/jobs/").unwrap());
    let counted = |served: &Served| {
        let seen = until(served, "that it failed", |seen| value(seen, failures, &of_it).is_some());
        assert_eq!(value(&seen, "cofferdam_job_uptime_seconds", &of_it), None, "it does not run");
        value(&seen, failures, &of_it)
    };
    let before = counted(&served);
    assert!(before >= Some(1.0), "{before:?}");
    served.kill();
    let served = Served::start(&place.path("data"), &[]);
    assert_eq!(counted(&served), before);
}

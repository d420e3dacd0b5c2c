//! What a tenant may keep on disk (the quota `disk`): posts, savepoints, jobs and checkpoints
//! beyond it are refused and told, nothing that is there is lost, and all goes on when there is
//! room.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::fs;

use cofferdam_tests::{Place, Reply, Served, jobs::COUNTING};
use serde_json::{Value, json};

/// Takes no checkpoint by itself within a test.
const POSTED: &str = r#"
[job]
name = "posted"

[checkpoints]
interval = "1h"
retain = 1

[[source]]
name = "in"
connector = "http"

[[operator]]
name = "copied"
artifact = "identity"
input = "in"

[[sink]]
name = "out"
input = "copied"
connector = "jsonl"
path = "out.jsonl"
"#;

fn serve(place: &Place) -> Served {
    place.write("server.toml", "[ingest]\nmax_log = '64MiB'\n");
    let config = place.path("server.toml").display().to_string();
    Served::start(&place.path("data"), &["--config", &config])
}

fn begin(place: &Place) -> Served {
    fs::create_dir_all(place.path("data")).unwrap();
    place.write("data/tenants.toml", "[tenant.default]\n[tenant.acme]\n");
    serve(place)
}

fn disk_of(usage: &Value, tenant: &str) -> Value {
    let all = usage["disk"].as_array().unwrap();
    all.iter().find(|disk| disk["tenant"] == tenant).cloned().unwrap_or_default()
}

fn disk(served: &Served, tenant: &str) -> Value {
    disk_of(&served.ask("GET", "/v1/usage", b"").expect(200).json, tenant)
}

/// Sets the quota, and waits until it holds.
fn allow(served: &Served, tenant: &str, bytes: Option<u64>) {
    let quotas = json!({"disk": bytes}).to_string();
    let path = format!("/v1/tenants/{tenant}");
    assert_eq!(served.ask("PUT", &path, quotas.as_bytes()).expect(200).json["disk"], json!(bytes));
    let holds = |usage: &Value| disk_of(usage, tenant)["limit"] == json!(bytes);
    let _ = served.until("/v1/usage", "with the quota", holds);
}

fn post(served: &Served, job: &str, key: &str, body: &str) -> Reply {
    let headers = format!("authorization: Bearer {}\r\nidempotency-key: {key}\r\n", served.token);
    served.send("POST", &format!("{job}/sources/in"), &headers, body.as_bytes())
}

fn is_told(view: &Value, of_job: bool) -> bool {
    let all = view["conditions"].as_array().unwrap();
    all.iter().any(|told| {
        told["type"] == "DiskQuotaExceeded"
            && told["tenant"] == "acme"
            && told["job"].is_string() == of_job
            && told["help"].as_str().unwrap().contains("quota")
    })
}

fn records(from: u32) -> String {
    (from..from + 2_000).map(|n| format!("{{\"n\":{n},\"padding\":\"{:40}\"}}\n", "")).collect()
}

#[test]
fn posts_beyond_the_quota_are_refused_and_taken_again_after_a_checkpoint() {
    let place = Place::new();
    let served = begin(&place);
    for tenant in ["acme", "default"] {
        served.push(tenant, "identity", "1");
    }
    let job = served.submit("acme", POSTED);
    let _ = served.until_state(&job, "running");
    let other = served.submit("default", POSTED);
    let before = disk(&served, "acme");
    assert_eq!((&before["limit"], &before["savepoints"]), (&Value::Null, &json!(0)));
    let before = before["used"].as_u64().unwrap();
    allow(&served, "acme", Some(before + (4 << 20)));

    let mut taken = 0;
    let refused = loop {
        let reply = post(&served, &job, &format!("k{taken}"), &records(taken * 2_000));
        if reply.status != 200 {
            break reply;
        }
        taken += 1;
    };
    refused.is_problem(507, "disk-quota", "(quota `disk`)");
    refused.is_problem(507, "disk-quota", "cofferdam tenant set acme --disk");
    assert!(taken > 5, "{taken}");
    // What was taken is answered as it was then, and others are not touched.
    let _ = post(&served, &job, "k0", &records(0)).expect(200);
    let _ = post(&served, &other, "k0", &records(0)).expect(200);
    let kept = disk(&served, "acme");
    assert_eq!(kept["posted"], served.ask("GET", &format!("{job}/sources/in"), b"").json["bytes"]);
    assert!(kept["used"].as_u64().unwrap() <= before + (4 << 20), "{kept}");

    let overview = served.ask("GET", "/v1/overview", b"").expect(200).json;
    assert!(is_told(&overview, false) && !is_told(&overview, true), "{overview:#}");
    assert!(is_told(&served.ask("GET", &job, b"").expect(200).json, false));
    let seen = |token: &str| served.ask_with(token, "GET", "/v1/overview", b"").expect(200).json;
    assert!(is_told(&seen(&served.token("acme", "viewer")), false));
    assert_eq!(seen(&served.token("default", "viewer"))["conditions"], json!([]));
    let theirs = served.ask_with(&served.token("default", "viewer"), "GET", "/v1/usage", b"");
    assert_eq!(disk_of(&theirs.expect(200).json, "acme"), Value::Null);
    let metrics = served.ask("GET", "/metrics", b"").expect(200).text;
    for line in [
        "cofferdam_tenant_condition{tenant=\"acme\",type=\"DiskQuotaExceeded\"} 1",
        "cofferdam_tenant_condition{tenant=\"default\",type=\"DiskQuotaExceeded\"} 0",
        &format!("cofferdam_tenant_disk_limit_bytes{{tenant=\"acme\"}} {}", before + (4 << 20)),
        &format!("tenant_disk_used_bytes{{tenant=\"acme\",kept=\"posted\"}} {}", kept["posted"]),
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    // A checkpoint has the last tenth; what it covers is removed, and there is room again.
    let _ = served.until("/v1/overview", "without conditions", |view| {
        let _ = served.ask("POST", &format!("{job}/checkpoints"), b"").expect(200);
        view["conditions"] == json!([])
    });
    let _ = post(&served, &job, "next", &records(taken * 2_000)).expect(200);

    // The figures are the same after `kill -9`.
    let kept = disk(&served, "acme");
    served.kill();
    let served = serve(&place);
    let again = disk(&served, "acme");
    for key in ["limit", "posted", "savepoints"] {
        assert_eq!(again[key], kept[key], "{key}: {again} {kept}");
    }
    let _ = served.until_state(&job, "running");
    let _ = served.ask("POST", &format!("{job}/sources/in/end"), b"").expect(200);
    let _ = served.until_state(&job, "finished");
    let lines: usize = fs::read_dir(served.home("acme"))
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap().lines().count())
        .sum();
    assert_eq!(lines, (taken as usize + 1) * 2_000, "each record once");
    assert_eq!(disk(&served, "acme")["posted"], 0);
    let _ = served.ask("DELETE", &job, b"").expect(204);
    assert_eq!(disk(&served, "acme")["used"], 0);
}

#[test]
fn checkpoints_and_savepoints_beyond_the_quota_fail_and_the_job_goes_on() {
    let place = Place::new();
    let served = begin(&place);
    served.push("acme", "count", "1");
    let job = COUNTING
        .replace("interval = \"100ms\"", "interval = \"100ms\"\ntolerable_failures = 1_000_000");
    assert_ne!(job, COUNTING);
    let counts = job.clone();
    let job = served.submit("acme", &job);
    let completed = |view: &Value| view["status"]["checkpoints"]["completed"].as_u64().unwrap_or(0);
    let _ = served.until(&job, "with a checkpoint", |view| completed(view) > 0);
    let _ = served.ask("PUT", &format!("{job}/savepoints/first"), b"").expect(202);
    let first = format!("{job}/savepoints/first");
    let saved = served.until(&first, "there", |save| save["state"] == "completed");
    assert_eq!(disk(&served, "acme")["savepoints"], saved["bytes"]);

    allow(&served, "acme", Some(10_000));
    let failing = served.until(&job, "refused", |view| is_told(view, true));
    assert_eq!(failing["state"], "running", "{failing:#}");
    let reason = failing["status"]["checkpoints"]["failing"]["reason"].as_str().unwrap();
    assert!(reason.contains("it is not written: tenant `acme` may keep"), "{reason}");
    let overview = served.ask("GET", "/v1/overview", b"").expect(200).json;
    assert!(is_told(&overview, false) && is_told(&overview, true), "{overview:#}");
    let refused = served.ask("PUT", &format!("{job}/savepoints/second"), b"");
    refused.is_problem(507, "disk-quota", "(quota `disk`)");
    served.ask("GET", &format!("{job}/savepoints/second"), b"").is_problem(404, "not-found", "");
    let stop = served.ask("POST", &format!("{job}/stop"), b"{\"savepoint\": \"last\"}");
    stop.is_problem(507, "disk-quota", "(quota `disk`)");
    let submitted = served.ask("POST", "/v1/jobs?tenant=acme", counts.as_bytes());
    submitted.is_problem(507, "disk-quota", "(quota `disk`)");
    // One that was taken is there, and asking for it again is no mistake.
    let _ = served.ask("PUT", &first, b"").expect(200);
    assert_eq!(served.ask("GET", &job, b"").json["state"], "running");

    // The server's own end takes a last checkpoint in any case: nothing is lost.
    let before = served.ask("GET", &job, b"").expect(200).json;
    served.terminate();
    let served = serve(&place);
    let after = served.until_state(&job, "running");
    let read = |view: &Value| view["status"]["vertices"][0]["records_out"].as_u64().unwrap();
    let after = match read(&after) {
        0 => served.until(&job, "at work", |view| read(view) > 0),
        _ => after,
    };
    assert!(read(&after) >= read(&before), "{after:#} {before:#}");
    let _ = served.until(&job, "refused", |view| is_told(view, true));
    allow(&served, "acme", None);
    let well =
        served.until(&job, "well", |view| view["conditions"] == json!([]) && completed(view) > 0);
    assert_eq!(well["state"], "running");
    let _ = served.ask("DELETE", &first, b"").expect(204);
    assert_eq!(disk(&served, "acme")["savepoints"], 0);
    let _ = served.ask("POST", &format!("{job}/cancel"), b"").expect(202);
    let _ = served.until_state(&job, "cancelled");
}

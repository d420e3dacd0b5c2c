//! What jobs of `cofferdam serve` are asked by HTTP while they run, and after: another parallelism,
//! checkpoints, savepoints, why they failed; and that what was answered is there after a kill.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{fs, path::Path};

use cofferdam_tests::{
    Place, Reply, Served,
    jobs::{CRASHING, DISCARDING, crashing_records},
    program,
};
use serde_json::{Value, json};

fn submit_with(served: &Served, query: &str, job: &str) -> String {
    let reply = served.ask("POST", &format!("/v1/jobs?{query}"), job.as_bytes()).expect(201);
    format!("/v1/jobs/{}", reply.json["id"].as_str().unwrap())
}

fn post(served: &Served, path: &str) -> Reply {
    served.ask("POST", path, b"")
}

fn completed(served: &Served, savepoint: &str) -> Value {
    served.until(savepoint, "completed", |savepoint| savepoint["state"] == "completed")
}

fn started(place: &Place) -> Served {
    let served = Served::start(&place.path("data"), &[]);
    let _ = served.until("/readyz", "ready", |health| health["status"] == "ready");
    served
}

fn parallelism(vertices: &Value, name: &str) -> Value {
    let all = vertices["vertices"].as_array().unwrap();
    all.iter().find(|vertex| vertex["name"] == name).unwrap()["parallelism"].clone()
}

#[test]
fn a_job_that_was_rescaled_stays_so_after_a_kill() {
    let place = Place::new();
    let served = started(&place);
    served.push("default", "identity", "1");
    let job = served.submit("default", DISCARDING);
    let _ = served.until_state(&job, "running");
    let rescale = |served: &Served, body: &str| {
        served.ask("POST", &format!("{job}/rescale"), body.as_bytes())
    };
    for (body, status, kind, said) in [
        ("", 400, "invalid-request", "parallelism"),
        (r#"{"parallelism":0}"#, 422, "job-file", "parallelism"),
        (r#"{"parallelism":2,"operator":"nobody"}"#, 422, "job-file", "nobody"),
        (r#"{"parallelism":100000}"#, 422, "job-file", "parallelism"),
    ] {
        rescale(&served, body).is_problem(status, kind, said);
    }
    let done = rescale(&served, r#"{"parallelism":3,"operator":"copied"}"#).expect(200).json;
    assert_eq!(done["from"], 1, "{done:#}");
    let _ = served.until_state(&job, "running");
    let vertices = |served: &Served| {
        let vertices = served.ask("GET", &format!("{job}/vertices"), b"").expect(200).json;
        parallelism(&vertices, "copied")
    };
    assert_eq!(vertices(&served), 3);
    served.kill();
    let served = started(&place);
    let after = served.until_state(&job, "running");
    let config = served.ask("GET", &format!("{job}/config"), b"").expect(200).json;
    assert_eq!(config["set"], json!(["operator.copied.parallelism=3"]));
    assert_eq!(after["status"]["checkpoints"]["resumed_from"], 1);
    assert_eq!(vertices(&served), 3, "{after:#}");
    let plan = served.ask("GET", &format!("{job}/plan"), b"").expect(200).json;
    assert_eq!((parallelism(&plan, "copied"), parallelism(&plan, "numbers")), (json!(3), json!(1)));
    let copied = format!("{job}/vertices/copied");
    let all_work = |one: &Value| {
        let subtasks = one["subtasks"].as_array().unwrap();
        subtasks.len() == 3 && subtasks.iter().all(|one| one["records_in"].as_u64() > Some(0))
    };
    let one = served.until(&copied, "every subtask at work", all_work);
    assert_eq!(one["slots"].as_array().unwrap().len(), 3, "{one:#}");
    let records = |one: &Value| one["records_in"].as_u64().unwrap();
    let sum: u64 = one["subtasks"].as_array().unwrap().iter().map(records).sum();
    assert_eq!(sum, records(&one), "{one:#}");
    let reply = served.ask("GET", &format!("{job}/vertices/nobody"), b"");
    reply.is_problem(404, "not-found", "nobody");
}

#[test]
fn limits_of_a_job_that_runs_are_changed_and_stay_so_after_a_kill() {
    let place = Place::new();
    let served = started(&place);
    served.push("default", "identity", "1");
    let job = served.submit("default", DISCARDING);
    let _ = served.until_state(&job, "running");
    let limit =
        |served: &Served, body: &str| served.ask("POST", &format!("{job}/limits"), body.as_bytes());
    for (body, status, kind, said) in [
        ("", 400, "invalid-request", "operator"),
        (r#"{"operator":"copied"}"#, 400, "invalid-request", "no limit is given"),
        (r#"{"operator":"copied","memory":64}"#, 400, "invalid-request", "as texts"),
        (r#"{"operator":"nobody","memory":"64MiB"}"#, 422, "job-file", "nobody"),
        (r#"{"operator":"copied","memory":"1KiB"}"#, 422, "job-file", "memory"),
        (r#"{"operator":"copied","memory":"much\"\nx"}"#, 422, "job-file", "memory"),
        (r#"{"operator":"copied","cpu_cap":"200%"}"#, 422, "job-file", "cpu_cap"),
        // It cannot be made with so little: the job goes on as it was.
        (r#"{"operator":"copied","memory":"64KiB"}"#, 409, "job-says-no", "memory"),
    ] {
        limit(&served, body).is_problem(status, kind, said);
        let _ = served.until_state(&job, "running");
    }
    let slot = |served: &Served| {
        let taken = |status: &Value| {
            let slots = status["status"]["memory"]["slots"].as_array();
            slots.is_some_and(|slots| slots.len() == 1)
        };
        let status = served.until(&job, "its slot taken", taken);
        status["status"]["memory"]["slots"][0]["limit"].as_u64().unwrap()
    };
    let body = r#"{"operator":"copied","memory":"96MiB","deadline":"7s","cpu_cap":"80%"}"#;
    let done = limit(&served, body).expect(200).json;
    assert!(done["from"].as_u64() > Some(0), "{done:#}");
    assert_eq!(slot(&served), 96 << 20);
    // What is not given stays, and what is given again is there once.
    let done = limit(&served, r#"{"operator":"copied","memory":"128MiB"}"#).expect(200).json;
    assert!(done["pause_millis"].is_u64(), "{done:#}");
    assert_eq!(slot(&served), 128 << 20);
    served.kill();
    let served = started(&place);
    let _ = served.until_state(&job, "running");
    let config = served.ask("GET", &format!("{job}/config"), b"").expect(200).json;
    let set = [
        "operator.copied.deadline=\"7s\"",
        "operator.copied.cpu_cap=\"80%\"",
        "operator.copied.memory=\"128MiB\"",
    ];
    assert_eq!(config["set"], json!(set));
    assert_eq!(slot(&served), 128 << 20);
}

#[test]
fn checkpoints_are_taken_listed_and_looked_into_while_the_job_runs_and_after() {
    let place = Place::new();
    let served = started(&place);
    served.push("default", "identity", "1");
    let job = served.submit("default", DISCARDING);
    let _ = served.until_state(&job, "running");
    let checkpoints = format!("{job}/checkpoints");
    let list = || served.ask("GET", &checkpoints, b"").expect(200).json;
    assert_eq!((&list()["completed"], &list()["summary"]["bytes"]), (&json!(0), &Value::Null));
    let taken = post(&served, &checkpoints).expect(200).json;
    assert_eq!(taken["id"], 1);
    let all = list();
    assert_eq!((&all["completed"], &all["history"][0]["trigger"]), (&json!(1), &json!("manual")));
    assert_eq!(all["summary"]["bytes"]["max"], taken["bytes"]);
    let look = |id: &str| served.ask("GET", &format!("{checkpoints}/{id}"), b"");
    let one = look("1").expect(200).json;
    assert_eq!(one["history"]["outcome"], "completed");
    let names: Vec<_> =
        one["kept"]["operators"].as_array().unwrap().iter().map(|o| o["name"].clone()).collect();
    assert_eq!(names, ["copied", "numbers", "out"]);
    assert_eq!(one["kept"]["details"]["trigger"], "manual");
    for id in ["2", "x", "99999999999999999999999"] {
        look(id).is_problem(404, "not-found", "checkpoint");
    }
    // One that is superseded is remembered, and is not kept.
    let _ = post(&served, &checkpoints).expect(200);
    let _ = served.until(&format!("{checkpoints}/1"), "dropped", |one| one["kept"].is_null());
    let config = served.ask("GET", &format!("{checkpoints}/config"), b"").expect(200).json;
    assert_eq!((&config["interval_millis"], &config["retain"]), (&Value::Null, &json!(1)));
    let _ = post(&served, &format!("{job}/cancel")).expect(202);
    let _ = served.until_state(&job, "cancelled");
    let last = look("3").expect(200).json;
    assert_eq!((&last["kept"]["id"], &last["history"]["trigger"]), (&json!(3), &json!("stop")));
    post(&served, &checkpoints).is_problem(409, "conflict", "cancelled");
}

#[test]
fn a_savepoint_is_taken_once_whoever_asks_again_and_a_job_begins_with_it() {
    let place = Place::new();
    fs::create_dir_all(place.path("data")).unwrap();
    place.write("data/tenants.toml", "[tenant.acme]\n");
    let served = started(&place);
    served.push("default", "identity", "1");
    served.push("acme", "identity", "1");
    let job = served.submit("default", DISCARDING);
    let _ = served.until_state(&job, "running");
    let first = format!("{job}/savepoints/first");
    let put = |path: &str| served.ask("PUT", path, b"");
    let asked = put(&first).expect(202);
    assert_eq!((asked.header("location"), &asked.json["id"]), (first.as_str(), &json!("first")));
    let taken = completed(&served, &first);
    assert_eq!(put(&first).expect(200).json, taken, "the same one");
    let id = job.rsplit('/').next().unwrap().to_owned();
    let directory = place.path("data/jobs").join(&id).join("state/savepoints");
    let file = directory.join("first");
    assert_eq!(json!(fs::metadata(&file).unwrap().len()), taken["bytes"]);
    put(&format!("{job}/savepoints/a.b")).is_problem(400, "invalid-request", "a.b");
    let other = post(&served, &format!("{job}/savepoints")).expect(202);
    let other = other.header("location").to_owned();
    let _ = completed(&served, &other);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);

    let from = format!("from_savepoint={id}/first");
    let reply = served.ask("POST", &format!("/v1/jobs?tenant=acme&{from}"), DISCARDING.as_bytes());
    reply.is_problem(404, "not-found", "savepoint `first`");
    for bad in [format!("from_savepoint={id}"), "allow_non_restored_state=true".to_owned()] {
        let reply = served.ask("POST", &format!("/v1/jobs?{bad}"), DISCARDING.as_bytes());
        reply.is_problem(400, "invalid-request", "from_savepoint");
    }
    let begun = submit_with(&served, &from, DISCARDING);
    let seen = served.until_state(&begun, "running");
    assert_eq!(seen["from_savepoint"], format!("{id}/first"));
    assert_eq!(seen["status"]["checkpoints"]["resumed_from"], taken["checkpoint"]);
    // It has state of its own now: what it began with may go.
    let _ = served.ask("DELETE", &first, b"").expect(204);
    served.ask("GET", &first, b"").is_problem(404, "not-found", "first");
    assert!(!file.exists());
    let listed = served.ask("GET", &format!("{job}/savepoints"), b"").expect(200).json;
    assert_eq!(listed["savepoints"].as_array().unwrap().len(), 1);
    served.kill();
    let served = started(&place);
    let after = served.until_state(&begun, "running");
    assert!(
        after["status"]["checkpoints"]["resumed_from"].as_u64() >= taken["checkpoint"].as_u64()
    );
    let _ = completed(&served, &other);
}

#[test]
fn stopping_a_job_again_with_the_same_savepoint_is_no_mistake_and_it_can_be_restarted_and_deleted()
{
    let place = Place::new();
    let served = started(&place);
    served.push("default", "identity", "1");
    let job = served.submit("default", DISCARDING);
    let _ = served.until_state(&job, "running");
    served.ask("DELETE", &job, b"").is_problem(409, "conflict", "has not ended");
    let stop = |with: &str| post(&served, &format!("{job}/stop?savepoint={with}"));
    let stopped = stop("last").expect(200).json;
    assert_eq!((&stopped["state"], &stopped["savepoint"]), (&json!("stopped"), &json!("last")));
    assert_eq!(stop("last").expect(200).json, stopped);
    stop("other").is_problem(409, "conflict", "stopped");
    let _ = completed(&served, &format!("{job}/savepoints/last"));
    let again = post(&served, &format!("{job}/restart")).expect(202).json;
    assert!(again["ended_at"].is_null(), "{again:#}");
    let seen = served.until_state(&job, "running");
    assert_eq!(seen["status"]["checkpoints"]["resumed_from"], stopped["checkpoint"]);
    post(&served, &format!("{job}/restart")).is_problem(409, "conflict", "running");
    stop("last").is_problem(409, "conflict", "has a savepoint `last` already");
    let _ = post(&served, &format!("{job}/cancel")).expect(202);
    let _ = served.until_state(&job, "cancelled");
    post(&served, &format!("{job}/restart")).is_problem(409, "conflict", "cancelled");
    let _ = served.ask("DELETE", &job, b"").expect(204);
    served.ask("GET", &job, b"").is_problem(404, "not-found", "there is no job");
    assert_eq!(fs::read_dir(place.path("data/jobs")).unwrap().count(), 0);
    served.kill();
    let served = started(&place);
    served.ask("GET", &job, b"").is_problem(404, "not-found", "there is no job");
}

#[test]
fn what_was_being_taken_when_the_server_was_killed_is_completed_or_failed_but_not_forgotten() {
    let place = Place::new();
    let served = started(&place);
    served.push("default", "identity", "1");
    let job = served.submit("default", DISCARDING);
    let _ = served.until_state(&job, "running");
    let path = |n: u32| format!("{job}/savepoints/s{n}");
    for n in 0..20 {
        let _ = served.ask("PUT", &path(n), b"").expect(202);
    }
    served.kill();
    let served = started(&place);
    let _ = served.until_state(&job, "running");
    let directory = place.path("data").join(job.replace("/v1/", "")).join("state/savepoints");
    for n in 0..20 {
        let one = served.ask("GET", &path(n), b"").expect(200).json;
        let file = directory.join(format!("s{n}"));
        match one["state"].as_str().unwrap() {
            "completed" => assert_eq!(one["bytes"], fs::metadata(file).unwrap().len()),
            state => assert_eq!((state, file.exists()), ("failed", false), "{one:#}"),
        }
        // Asking again answers with that one.
        assert_eq!(served.ask("PUT", &path(n), b"").expect(200).json, one);
    }
}

fn has_no_path(place: &Place, reply: &Value) {
    let data = place.path("data").display().to_string();
    let text = reply.to_string();
    assert!(!text.contains(&data), "{text}");
}

#[test]
fn why_a_job_failed_is_told_with_its_capsules_and_without_the_servers_paths() {
    let place = Place::new();
    fs::create_dir_all(place.path("data")).unwrap();
    place.write("data/tenants.toml", "[tenant.acme]\n[tenant.other]\n");
    let served = started(&place);
    served.push("acme", "fragile", "1");
    served.push("other", "identity", "1");
    let others = served.submit("other", DISCARDING);
    let _ = served.until_state(&others, "running");
    fs::write(served.home("acme").join("in.jsonl"), crashing_records()).unwrap();
    let job = served.submit("acme", CRASHING);
    let failed = served.until_state(&job, "failed");
    has_no_path(&place, &failed);
    assert!(!failed["status"]["memory"].to_string().contains("other"), "{failed:#}");
    let told = served.ask("GET", &format!("{job}/exceptions"), b"").expect(200).json;
    has_no_path(&place, &told);
    let failures = told["failures"].as_array().unwrap();
    assert_eq!((failures.len(), &told["restarts"]), (2, &json!(1)), "{told:#}");
    for (failure, after) in failures.iter().zip([json!(1), Value::Null]) {
        assert_eq!((&failure["operator"], &failure["subtask"]), (&json!("guest"), &json!(0)));
        assert_eq!(
            (&failure["kind"], &failure["fault"]),
            (&json!("guest-trap"), &json!("operator"))
        );
        assert_eq!(failure["restart_after_millis"].is_null(), after.is_null(), "{told:#}");
        assert!(failure["at"].as_i64() > Some(0) && !failure["message"].is_null());
    }
    assert!(told["ended_with"].as_str().unwrap().contains("no restart"), "{told:#}");
    let capsules = told["capsules"].as_array().unwrap();
    let last = failures.last().unwrap()["capsule"].as_str().unwrap();
    let link = capsules.iter().find(|capsule| capsule["name"] == last).unwrap();
    let had = served.ask("GET", link["href"].as_str().unwrap(), b"").expect(200);
    assert_eq!(json!(had.body.len()), link["bytes"]);
    assert_eq!(had.header("content-type"), "application/octet-stream");
    replays(&place, &had.body);
    for bad in ["..%2f..%2fjob", "x.capsule", "..capsule", "%2e%2e%2f.capsule"] {
        let reply = served.ask("GET", &format!("{job}/capsules/{bad}"), b"");
        reply.is_problem(404, "not-found", "there is no capsule");
    }
    // A viewer is told why, and gets no records of the tenant.
    let viewer = br#"{"name":"v","role":"viewer","tenant":"acme"}"#;
    let viewer = served.ask("POST", "/v1/tokens", viewer).expect(201).json;
    let viewer = viewer["token"].as_str().unwrap();
    let _ = served.ask_with(viewer, "GET", &format!("{job}/exceptions"), b"").expect(200);
    let reply = served.ask_with(viewer, "GET", link["href"].as_str().unwrap(), b"");
    reply.is_problem(403, "forbidden", "author");
    // It comes back, and fails again.
    let _ = post(&served, &format!("{job}/restart")).expect(202);
    let again = served.until_state(&job, "failed");
    assert!(again["ended_at"].as_i64() > failed["ended_at"].as_i64(), "{again:#}");
    // What was before is not forgotten, neither then nor when the server starts again.
    let all = |served: &Served| {
        let told = served.ask("GET", &format!("{job}/exceptions"), b"").expect(200).json;
        told["failures"].as_array().unwrap().clone()
    };
    let before = all(&served);
    assert_eq!((before.len(), &before[..2]), (4, &failures[..]));
    served.kill();
    let served = started(&place);
    assert_eq!(all(&served), before);
    let _ = post(&served, &format!("{job}/restart")).expect(202);
    let _ = served.until_state(&job, "failed");
    assert_eq!((all(&served).len(), &all(&served)[..4]), (6, &before[..]));
}

/// That a capsule that was downloaded crashes again as it did.
fn replays(place: &Place, capsule: &[u8]) {
    let path = place.path("downloaded.capsule");
    fs::write(&path, capsule).unwrap();
    let said = replay(&path);
    assert_eq!(said["crash"]["as_before"], true, "{said:#}");
}

fn replay(capsule: &Path) -> Value {
    let mut command = program();
    command.arg("replay").arg(capsule).arg("--json").arg("--artifacts");
    let output = command.arg(cofferdam_tests::guests()).output().unwrap();
    let said = serde_json::from_slice(&output.stdout);
    said.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

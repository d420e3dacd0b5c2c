//! `cofferdam serve`: jobs that are submitted by HTTP run, end, and come back; whoever has no
//! token, or another tenant's, gets nothing.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::fs;

use cofferdam_tests::{
    Place, Served,
    flights::{Reference, replaced},
    jobs::ENDLESS,
    program, repository,
};
use serde_json::{Value, json};

/// What the flights example runs.
const FLIGHTS: [&str; 5] = ["filter", "project", "window-stats", "top-n", "anomaly"];

fn completed(job: &Value) -> u64 {
    job["status"]["checkpoints"]["completed"].as_u64().unwrap_or(0)
}

fn tenants(place: &Place, text: &str) {
    fs::create_dir_all(place.path("data")).unwrap();
    place.write("data/tenants.toml", text);
}

#[test]
fn the_flights_job_survives_a_kill_of_the_server_with_the_right_result() {
    let place = Place::new();
    // So slowly that it is in the middle for a while.
    tenants(&place, "[tenant.acme]\ningest_records = \"9000/s\"\n");
    let served = Served::start(&place.path("data"), &[]);
    for name in FLIGHTS {
        served.push("acme", name, "1.0.0");
    }
    let january = repository().join("examples/flights/flights-2013-01.csv.gz");
    fs::copy(&january, served.home("acme").join("flights-2013-01.csv.gz")).unwrap();
    let job = fs::read_to_string(repository().join("examples/flights/job.toml")).unwrap();
    let job = replaced(&job, "interval = \"1s\"", "interval = \"100ms\"");
    let path = served.submit("acme", &job);
    let before = served.until(&path, "under way", |job| completed(job) >= 3);
    assert_eq!((&before["state"], &before["name"]), (&json!("running"), &json!("flights")));
    assert_eq!(before["artifacts"]["carrier-days"], "window-stats@1.0.0");
    let token = served.token.clone();
    served.kill();

    tenants(&place, "[tenant.acme]\n");
    let served = Served::start(&place.path("data"), &[]);
    assert_eq!(served.token, token, "the token was made once");
    let after = served.until(&path, "finished", |job| job["state"] == "finished");
    assert!(after["status"]["checkpoints"]["resumed_from"].as_u64() >= Some(3), "{after:#}");
    assert_eq!(after["status"]["vertices"][0]["records_out"], 27_004);
    for member in ["id", "tenant", "name", "created_at", "created_by", "artifacts"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    Reference::of(&january).assert_equals_what_was_written(&place, "data/files/acme/out");
    // It stays ended, whatever happens to the server.
    served.kill();
    let served = Served::start(&place.path("data"), &[]);
    let still = served.ask("GET", &path, b"").expect(200).json;
    assert_eq!(still, after);
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let place = Place::new();
    let data = place.path("data");
    let served = Served::start(&data, &[]);
    served.push("default", "identity", "1");
    served.push("default", "identity", "2");
    let tag = served.ask("PUT", "/v1/artifacts/identity/tags/stable", br#"{"version":"1"}"#);
    let _ = tag.expect(200);
    let job = replaced(ENDLESS, "artifact = \"identity\"", "artifact = \"identity@stable\"");
    let running = served.submit("default", &job);
    let cancelled = served.submit("default", &replaced(&job, "out/copied", "out/other"));
    let _ = served.ask("POST", &format!("{cancelled}/cancel"), b"").expect(202);
    served.kill();

    let served = Served::start(&data, &[]);
    let artifact = served.ask("GET", "/v1/artifacts/identity", b"").expect(200).json;
    assert_eq!(artifact["tags"], json!({"stable": "1"}));
    assert_eq!(artifact["versions"].as_array().unwrap().len(), 2);
    let job = running;
    let seen = served.until_state(&job, "running");
    assert_eq!(seen["artifacts"]["copied"], "identity@1");
    let _ = served.until_state(&cancelled, "cancelled");
    // The tag moves, and the job keeps what it was given.
    let tag = served.ask("PUT", "/v1/artifacts/identity/tags/stable", br#"{"version":"2"}"#);
    let _ = tag.expect(200);
    let used = "/v1/artifacts/identity/versions/1";
    served.ask("DELETE", used, b"").is_problem(409, "conflict", &job["/v1/jobs/".len()..]);
    let _ = served.ask("DELETE", "/v1/artifacts/identity/versions/2", b"").expect(204);
    let _ = served.ask("POST", &format!("{job}/cancel"), b"").expect(202);
    let _ = served.until(&job, "cancelled", |job| job["state"] == "cancelled");
    let _ = served.ask("DELETE", used, b"").expect(204);
    served.ask("GET", "/v1/artifacts/identity", b"").is_problem(404, "not-found", "identity");
    let blobs: Vec<_> = fs::read_dir(data.join("artifacts")).unwrap().collect();
    assert!(blobs.is_empty(), "{blobs:?}");
}

#[test]
fn a_server_that_is_asked_to_end_stops_its_jobs_with_a_checkpoint_and_they_go_on() {
    let place = Place::new();
    let data = place.path("data");
    let served = Served::start(&data, &[]);
    served.push("default", "identity", "1");
    // No checkpoint but the last.
    let path = served.submit("default", &replaced(ENDLESS, "interval = \"20ms\"", ""));
    let id = &path["/v1/jobs/".len()..];
    let records = |job: &Value| job["status"]["vertices"][0]["records_out"].as_u64().unwrap_or(0);
    let before = served.until(&path, "under way", |job| records(job) > 100);
    let said = served.terminate();
    assert!(said.iter().all(|line| !line.contains("warning")), "{said:#?}");

    let served = Served::start(&data, &[]);
    let _ = served.until("/readyz", "ready", |health| health["status"] == "ready");
    let after = served.until(&path, "running again", |job| job["state"] == "running");
    assert_eq!(after["status"]["checkpoints"]["resumed_from"], 1);
    assert!(records(&after) >= records(&before), "{after:#}");
    let stopped = served.ask("POST", &format!("{path}/stop"), b"").expect(200).json;
    assert_eq!(stopped["state"], "stopped");
    let savepoint = stopped["savepoint"].as_str().unwrap();
    assert!(data.join("jobs").join(id).join("state/savepoints").join(savepoint).is_file());
    served.ask("POST", &format!("{path}/stop"), b"").is_problem(409, "conflict", "stopped");
    served.ask("POST", &format!("{path}/cancel"), b"").is_problem(409, "conflict", "ended");
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let place = Place::new();
    let data = place.path("data");
    let served = Served::start(&data, &[]);
    let second = program().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data).output();
    let second = second.unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(4), "{said}");
    assert!(
        said.contains("in use by another process") && said.contains(served.address()),
        "{said}"
    );
}

#[test]
fn a_job_file_names_no_files_of_the_server_and_its_mistakes_are_told_one_by_one() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    served.push("default", "identity", "1");
    let token = place.path("data/admin-token").display().to_string();
    let refused = |job: &str, said: &[&str]| {
        let reply = served.ask("POST", "/v1/jobs", job.as_bytes());
        assert_eq!(reply.status, 422, "{:#}", reply.json);
        let errors = reply.json["errors"].as_array().unwrap();
        assert_eq!(errors.len(), said.len(), "{:#}", reply.json);
        for (error, said) in errors.iter().zip(said) {
            assert!(error["line"].as_u64() > Some(1), "{error:#}");
            assert!(error.to_string().contains(said), "`{said}` is not in {error:#}");
        }
    };
    let path = "path = \"out/copied.txt\"";
    for bad in [token.as_str(), "/etc/passwd", "../default2/x", "out/../../x", "/dev/null"] {
        refused(&replaced(ENDLESS, path, &format!("path = {bad:?}")), &["outside the directory"]);
    }
    let source = "connector = \"generator\"\nrate = 2_000";
    for bad in [token.as_str(), "/etc/*", "../../*", "/proc/self/environ"] {
        let with = format!("connector = \"lines\"\npath = {bad:?}");
        refused(&replaced(ENDLESS, source, &with), &["outside the directory"]);
    }
    refused(&replaced(ENDLESS, source, "connector = \"stdin\""), &["cannot be \\\"stdin\\\""]);
    let artifact = "artifact = \"identity\"";
    let other = |text: &str| replaced(ENDLESS, artifact, &format!("artifact = {text:?}"));
    refused(&other("./identity.wasm"), &["upload the component"]);
    refused(&other("identiti"), &["did you mean `identity`?"]);
    refused(&other("identity@2"), &["did you mean `identity@1`?"]);
    let three = replaced(&other("gone"), "interval", "intervall");
    let three = replaced(&three, "connector = \"generator\"", "connector = \"generater\"");
    refused(&three, &["did you mean `interval`?", "did you mean `generator`?"]);
    // A setting that the operator itself does not take.
    let reply = served.ask("POST", "/v1/jobs?set=copied.x=1&set=nobody.path=2", ENDLESS.as_bytes());
    reply.is_problem(422, "job-file", "there is no source, operator or sink `nobody`");
    let wide = "/v1/jobs?set=job.max_parallelism=32768&set=out.parallelism=32768";
    let reply = served.ask("POST", wide, ENDLESS.as_bytes());
    reply.is_problem(422, "job-refused", "lower its parallelism");
    let slots =
        "/v1/jobs?set=job.parallelism=200&set=job.max_parallelism=200&set=numbers.parallelism=1";
    let reply = served.ask("POST", slots, ENDLESS.as_bytes());
    reply.is_problem(422, "job-refused", "slots");
    let long = "#".repeat(300_000);
    served.ask("POST", "/v1/jobs", long.as_bytes()).is_problem(413, "too-large", "262144");
    let jobs = served.ask("GET", "/v1/jobs", b"").expect(200).json;
    assert_eq!(jobs, json!({"jobs": [], "next": null}), "nothing of that was taken");
}

#[test]
fn an_upload_is_checked_and_a_version_never_changes() {
    let place = Place::new();
    fs::write(place.path("config.toml"), "[artifacts]\nmax_size = \"4MiB\"\n").unwrap();
    tenants(&place, "[tenant.acme]\n");
    let config = place.path("config.toml").display().to_string();
    let served = Served::start(&place.path("data"), &["--config", &config]);
    let guest =
        |name: &str| fs::read(cofferdam_tests::guests().join(format!("{name}.wasm"))).unwrap();
    let path = "/v1/artifacts/filter/versions/1.0.0";
    let made = served.ask("PUT", path, &guest("filter")).expect(201);
    assert_eq!(made.json["inspection"]["kind"], "processor");
    assert_eq!(made.json["size"], guest("filter").len());
    let digest = made.json["digest"].as_str().unwrap();
    assert_eq!(made.header("etag"), format!("\"{digest}\""));
    let again = served.ask("PUT", path, &guest("filter")).expect(200);
    assert_eq!(again.json, made.json);
    served.ask("PUT", path, &guest("identity")).is_problem(409, "conflict", "never changed");
    let bearer = format!("authorization: Bearer {}\r\n", served.token);
    let only_new = format!("{bearer}if-none-match: *\r\n");
    let reply = served.send("PUT", path, &only_new, &guest("filter"));
    reply.is_problem(412, "precondition-failed", "1.0.0");
    let known = format!("{bearer}if-none-match: \"{digest}\"\r\n");
    let _ = served.send("GET", path, &known, b"").expect(304);

    let other = "/v1/artifacts/other/versions/1";
    for (bytes, said) in [
        (b"no component".as_slice(), "some other file"),
        (b"\0asm\x01\0\0\0", "core module"),
        (b"\0asm\x0d\0\x01\0", "must export either"),
        (b"", "some other file"),
    ] {
        served.ask("PUT", other, bytes).is_problem(422, "artifact-refused", said);
    }
    let asked = format!("{other}?tenant=acme");
    let reply = served.ask("PUT", &asked, &guest("fetch"));
    reply.is_problem(422, "artifact-refused", "it imports `wasi:");
    served.ask("PUT", other, &vec![0; 5 << 20]).is_problem(413, "too-large", "4194304");
    served.ask("PUT", "/v1/artifacts/..%2f/versions/1", b"").is_problem(400, "invalid-request", "");
    served.ask("PUT", "/v1/artifacts/x/versions/%2e%2e", b"").is_problem(
        400,
        "invalid-request",
        "",
    );
    served.ask("GET", other, b"").is_problem(404, "not-found", "other");
    let pending = fs::read_dir(place.path("data/artifacts")).unwrap().count();
    assert_eq!(pending, 1, "what was refused leaves nothing");
}

#[test]
fn without_a_token_there_is_health_and_nothing_else() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    let _ = served.send("GET", "/healthz", "", b"").expect(200);
    let _ = served.until("/readyz", "ready", |health| health["status"] == "ready");
    for path in ["/v1/jobs", "/v1/artifacts", "/v1/nothing", "/v1/jobs/x"] {
        let reply = served.send("GET", path, "", b"");
        reply.is_problem(401, "unauthorized", path);
        assert!(reply.header("www-authenticate").starts_with("Bearer"));
        let wrong = format!("cfd_{}", "0".repeat(64));
        served.ask_with(&wrong, "GET", path, b"").is_problem(401, "unauthorized", "opens nothing");
    }
    served.ask("GET", "/v1/nothing", b"").is_problem(404, "not-found", "/v1/nothing");
    let reply = served.ask("DELETE", "/v1/jobs", b"");
    reply.is_problem(405, "method-not-allowed", "");
    assert!(reply.header("allow").contains("POST"), "{:?}", reply.headers);
    let mode = fs::metadata(place.path("data/admin-token")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
}

//! What is posted to a job of `cofferdam serve`: what was acknowledged is there once, whatever
//! happens to the server; what cannot be taken is refused as a whole, with the reason.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{fs, io::Write as _, path::Path};

use cofferdam_tests::{Place, Reply, Served};
use serde_json::json;

/// Takes no checkpoint by itself within a test.
const JOB: &str = r#"
[job]
name = "posted"

[checkpoints]
interval = "1h"

[[source]]
name = "in"
connector = "http"
key = "k"

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

fn serve(place: &Place, config: &str) -> Served {
    fs::create_dir_all(place.path("data")).unwrap();
    place.write(
        "data/tenants.toml",
        "[tenant.default]\n[tenant.acme]\n[tenant.slow]\ningest_records = '500/s'\n",
    );
    place.write("server.toml", config);
    let config = place.path("server.toml").display().to_string();
    Served::start(&place.path("data"), &["--config", &config])
}

fn submit(served: &Served, query: &str, job: &str) -> String {
    let reply = served.ask("POST", &format!("/v1/jobs?{query}"), job.as_bytes()).expect(201);
    format!("/v1/jobs/{}", reply.json["id"].as_str().unwrap())
}

fn post(served: &Served, job: &str, key: &str, body: &str) -> Reply {
    let key = if key.is_empty() { String::new() } else { format!("idempotency-key: {key}\r\n") };
    let headers = format!("authorization: Bearer {}\r\n{key}", served.token);
    served.send("POST", &format!("{job}/sources/in"), &headers, body.as_bytes())
}

fn running(served: &Served, job: &str) {
    let _ = served.until(job, "running", |job| job["state"] == "running");
}

fn finished(served: &Served, job: &str) {
    let _ = served.ask("POST", &format!("{job}/sources/in/end"), b"").expect(200);
    let _ = served.until(job, "finished", |job| job["state"] == "finished");
}

fn records(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|n| format!("{{\"k\":{},\"n\":{n}}}\n", n % 7)).collect()
}

/// The numbers of all records that the sink has written: a savepoint ends a file.
fn numbers(home: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    for file in fs::read_dir(home).unwrap() {
        for line in fs::read_to_string(file.unwrap().path()).unwrap().lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            found.push(u32::try_from(record["n"].as_u64().unwrap()).unwrap());
        }
    }
    found.sort_unstable();
    found
}

fn all(numbers: std::ops::Range<u32>) -> Vec<u32> {
    numbers.collect()
}

#[test]
fn a_kill_between_the_acknowledgement_and_the_checkpoint_loses_nothing_and_repeats_nothing() {
    let place = Place::new();
    let served = serve(&place, "");
    served.push("default", "identity", "1");
    let home = served.home("default");
    let job = submit(&served, "", JOB);
    running(&served, &job);
    let first = post(&served, &job, "first", &records(0..2_000)).expect(200);
    assert_eq!(first.json["records"], 2_000);
    let _ = served.ask("POST", &format!("{job}/checkpoints"), b"").expect(200);
    let second = post(&served, &job, "second", &records(2_000..2_500)).expect(200);
    served.kill();
    let served = serve(&place, "");
    // A client that got no answer asks again: it gets the same one, and nothing is added.
    assert_eq!(post(&served, &job, "second", &records(2_000..2_500)).expect(200).json, second.json);
    assert_eq!(post(&served, &job, "first", &records(0..2_000)).expect(200).json, first.json);
    let reused = post(&served, &job, "first", &records(0..1));
    reused.is_problem(422, "key-reused", "another body");
    running(&served, &job);
    let _ = post(&served, &job, "", &records(2_500..2_600)).expect(200);
    served.kill();
    let served = serve(&place, "");
    finished(&served, &job);
    assert_eq!(numbers(&home), all(0..2_600));
}

#[test]
fn a_full_log_answers_429_and_goes_on_after_a_checkpoint() {
    let place = Place::new();
    let served = serve(&place, "[ingest]\nmax_log = '64KiB'\n");
    served.push("default", "identity", "1");
    let home = served.home("default");
    let job = submit(&served, "", JOB);
    running(&served, &job);
    let mut next = 0;
    let fill = |next: &mut u32| {
        loop {
            let reply = post(&served, &job, "", &records(*next..*next + 200));
            if reply.status != 200 {
                return reply;
            }
            *next += 200;
        }
    };
    let full = fill(&mut next);
    full.is_problem(429, "source-full", "bytes are kept that no checkpoint covers yet");
    assert!(full.header("retry-after").parse::<u64>().unwrap() >= 1);
    let state = served.ask("GET", &format!("{job}/sources/in"), b"").expect(200).json;
    assert!(state["bytes"].as_u64().unwrap() <= 65_536 && state["limit"] == 65_536, "{state}");
    assert!(next > 1_000, "{next}");
    let checkpoint = || {
        let _ = served.ask("POST", &format!("{job}/checkpoints"), b"").expect(200);
    };
    let room = || {
        // It may not have been read when the checkpoint was taken.
        served.until(&format!("{job}/sources/in"), "with room", |state| {
            checkpoint();
            state["bytes"].as_u64() < Some(40_000)
        })
    };
    let _ = room();
    // A savepoint keeps what came after it, until it is disposed of.
    let savepoint = format!("{job}/savepoints/s");
    let _ = served.ask("PUT", &savepoint, b"").expect(202);
    let _ = served.until(&savepoint, "there", |savepoint| savepoint["state"] == "completed");
    fill(&mut next).is_problem(429, "source-full", "that a savepoint needs");
    checkpoint();
    checkpoint();
    fill(&mut next).is_problem(429, "source-full", "that a savepoint needs");
    let _ = served.ask("DELETE", &savepoint, b"").expect(204);
    let _ = room();
    let _ = post(&served, &job, "", &records(next..next + 10)).expect(200);
    finished(&served, &job);
    assert_eq!(numbers(&home), all(0..next + 10));
}

#[test]
fn a_job_that_begins_with_a_savepoint_reads_what_was_acknowledged_and_not_yet_read() {
    let place = Place::new();
    let served = serve(&place, "");
    served.push("slow", "identity", "1");
    let home = served.home("slow");
    let job = submit(&served, "tenant=slow", JOB);
    running(&served, &job);
    for begin in (0..1_500).step_by(300) {
        let _ = post(&served, &job, &format!("{begin}"), &records(begin..begin + 300)).expect(200);
    }
    let _ = served.ask("POST", &format!("{job}/stop?savepoint=s"), b"");
    let stopped = served.until(&job, "stopped", |job| job["state"] == "stopped");
    let read = stopped["status"]["vertices"][0]["records_out"].as_u64().unwrap();
    assert!(read < 1_500, "nothing is left to read: {read}");
    post(&served, &job, "", &records(0..1)).is_problem(409, "conflict", "has ended");
    let id = job.rsplit('/').next().unwrap();
    let query = format!("tenant=slow&from_savepoint={id}/s&set=in.parallelism=3");
    let other = submit(&served, &query, JOB);
    // It was taken by the job before.
    let _ = post(&served, &other, "1200", &records(1_200..1_500)).expect(200);
    let _ = post(&served, &other, "", &records(1_500..1_600)).expect(200);
    served.kill();
    let served = serve(&place, "");
    finished(&served, &other);
    assert_eq!(numbers(&home), all(0..1_600));
}

#[test]
fn what_is_no_record_is_refused_as_a_whole_with_its_line() {
    let place = Place::new();
    let served = serve(&place, "[ingest]\nmax_body = '4KiB'\n");
    served.push("default", "identity", "1");
    let home = served.home("default");
    let job = submit(&served, "", JOB);
    let bad = post(&served, &job, "key", "{\"k\":1,\"n\":1}\n{\"n\":2}\n\n{\"k\":\n");
    bad.is_problem(422, "bad-records", "nothing of the request was");
    let lines = &bad.json["lines"];
    assert_eq!((&lines[0]["line"], &lines[1]["line"]), (&json!(2), &json!(4)), "{lines}");
    assert!(lines[0]["reason"].as_str().unwrap().contains("field `k` is missing"));
    // What was refused has not used the key up.
    let _ = post(&served, &job, "key", &records(0..1)).expect(200);
    post(&served, &job, "", "").is_problem(400, "invalid-request", "no records");
    post(&served, &job, "", &records(0..1_000)).is_problem(413, "too-large", "4096 bytes");
    post(&served, &job, &"k".repeat(256), "x").is_problem(400, "invalid-request", "255");
    let other = served.ask("POST", &format!("{job}/sources/out"), b"x");
    other.is_problem(404, "not-found", "takes what is posted");
    finished(&served, &job);
    assert_eq!(numbers(&home), all(0..1));
    post(&served, &job, "", &records(0..1)).is_problem(409, "conflict", "has ended");
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(body).unwrap();
    packed.finish().unwrap()
}

#[test]
fn what_is_posted_may_be_packed_and_a_bomb_is_not_unpacked() {
    let place = Place::new();
    let served = serve(&place, "[ingest]\nmax_body = '64KiB'\n");
    served.push("default", "identity", "1");
    let home = served.home("default");
    let job = submit(&served, "", JOB);
    let send = |coding: &str, key: &str, body: &[u8]| {
        let headers = format!(
            "authorization: Bearer {}\r\ncontent-encoding: {coding}\r\nidempotency-key: {key}\r\n",
            served.token
        );
        served.send("POST", &format!("{job}/sources/in"), &headers, body)
    };
    let body = records(0..2_000);
    let packed = gzip(body.as_bytes());
    assert!(packed.len() < body.len() / 3, "{} of {}", packed.len(), body.len());
    let taken = send("gzip", "first", &packed).expect(200).json;
    assert_eq!(taken["records"], 2_000);
    // The same records, packed otherwise, are the same request.
    let again = zstd::encode_all(body.as_bytes(), 3).unwrap();
    assert_eq!(send("zstd", "first", &again).expect(200).json, taken);
    assert_eq!(send("identity", "first", body.as_bytes()).expect(200).json, taken);
    let _ = send("zstd", "second", &zstd::encode_all(records(2_000..2_500).as_bytes(), 3).unwrap())
        .expect(200);

    let blanks = vec![b'\n'; 32 << 20];
    let bombs = [("gzip", gzip(&blanks)), ("zstd", zstd::encode_all(&blanks[..], 3).unwrap())];
    for (coding, bomb) in bombs {
        assert!(bomb.len() < 64 << 10, "{}", bomb.len());
        send(coding, "bomb", &bomb).is_problem(413, "too-large", "65536 bytes at most, unpacked");
        send(coding, "torn", &again[..100]).is_problem(
            400,
            "invalid-request",
            "cannot be unpacked",
        );
    }
    let stored = vec![b'x'; 65_537];
    send("gzip", "long", &stored).is_problem(413, "too-large", "65536 bytes");
    send("br", "br", b"x").is_problem(415, "unsupported-encoding", "gzip or zstd");
    let bad = send("gzip", "bad", &gzip(b"{\"k\":1,\"n\":1}\n{\n"));
    bad.is_problem(422, "bad-records", "nothing of the request was");
    finished(&served, &job);
    assert_eq!(numbers(&home), all(0..2_500));
}

#[test]
fn a_source_that_was_ended_takes_nothing_more() {
    let place = Place::new();
    let served = serve(&place, "");
    served.push("default", "identity", "1");
    // Another source goes on, and the job with it.
    let job = format!(
        "{}\n[[source]]\nname = 'other'\nconnector = 'http'\nformat = 'lines'\n",
        JOB.replace("input = \"in\"", "inputs = [['in', 'other']]")
            .replace("connector = \"jsonl\"\npath = \"out.jsonl\"", "connector = \"discard\"")
    );
    let job = submit(&served, "", &job);
    let _ = served.ask("POST", &format!("{job}/sources/in/end"), b"").expect(200);
    let _ = served.ask("POST", &format!("{job}/sources/in/end"), b"").expect(200);
    post(&served, &job, "", &records(0..1)).is_problem(409, "conflict", "was ended");
    let _ = served.ask("POST", &format!("{job}/sources/other"), b"no json").expect(200);
    let state = served.ask("GET", &format!("{job}/sources/in"), b"").expect(200).json;
    assert_eq!(state["ended"], true);
    let _ = served.ask("POST", &format!("{job}/sources/other/end"), b"").expect(200);
    let _ = served.until(&job, "finished", |job| job["state"] == "finished");
}

#[test]
fn posting_takes_the_role_author_and_is_audited_once_an_hour() {
    let place = Place::new();
    let served = serve(&place, "");
    served.push("acme", "identity", "1");
    let job = submit(&served, "tenant=acme", JOB);
    let token = |role: &str| {
        let asked = json!({"name": role, "tenant": "acme", "role": role}).to_string();
        let made = served.ask("POST", "/v1/tokens", asked.as_bytes()).expect(201);
        made.json["token"].as_str().unwrap().to_owned()
    };
    let (viewer, author) = (token("viewer"), token("author"));
    let path = format!("{job}/sources/in");
    let body = records(0..1);
    let refused = served.ask_with(&viewer, "POST", &path, body.as_bytes());
    refused.is_problem(403, "forbidden", "author");
    for _ in 0..20 {
        let _ = served.ask_with(&author, "POST", &path, body.as_bytes()).expect(200);
    }
    let log = served.ask("GET", "/v1/audit?tenant=acme", b"").expect(200).json;
    let calls = log["calls"].as_array().unwrap();
    let posts: Vec<_> = calls.iter().filter(|call| call["path"] == path.as_str()).collect();
    assert_eq!(posts.len(), 2, "one of each token: {log:#}");
}

#[test]
fn a_source_of_what_is_posted_needs_a_server_and_checkpoints_by_time() {
    let place = Place::new();
    let served = serve(&place, "");
    served.push("default", "identity", "1");
    let none = JOB.replace("interval = \"1h\"", "");
    let refused = served.ask("POST", "/v1/jobs", none.as_bytes());
    refused.is_problem(422, "job-file", "without checkpoints by time");
    let ended = place.run_job(JOB, &[]);
    assert!(ended.stderr.contains("on a server only"), "{}", ended.stderr);
}

//! Looking on while a job of `cofferdam serve` runs: what its operators log, and samples of what
//! they put out. Whoever looks on sees the end, and never holds the job up.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use cofferdam_tests::{Place, Served, program, zoo::Guest};
use serde_json::{Value, json};

fn job(source: &str, artifact: &str) -> String {
    format!(
        "[job]\nname = 'seen'\n[checkpoints]\ninterval = '1h'\n\
         [[source]]\nname = 'in'\n{source}\n\
         [[operator]]\nname = 'op'\nartifact = '{artifact}'\ninput = 'in'\n\
         [[sink]]\nname = 'out'\ninput = 'op'\nconnector = 'discard'\n"
    )
}

const POSTED: &str = "connector = 'http'\nformat = 'lines'";

fn started(place: &Place) -> Served {
    let served = Served::start(&place.path("data"), &[]);
    let _ = served.until("/readyz", "ready", |health| health["status"] == "ready");
    served
}

fn submit(served: &Served, job: &str) -> String {
    let reply = served.ask("POST", "/v1/jobs", job.as_bytes()).expect(201);
    format!("/v1/jobs/{}", reply.json["id"].as_str().unwrap())
}

fn end(served: &Served, job: &str) {
    let _ = served.ask("POST", &format!("{job}/sources/in/end"), b"").expect(200);
    let _ = served.until(job, "finished", |job| job["state"] == "finished");
}

/// Says something at three levels when it is opened.
fn loud() -> Vec<u8> {
    let say = |level: u32| format!("(call $log (i32.const {level}) (i32.const 0) (i32.const 5))");
    Guest {
        imports: r#"(import "cofferdam:operator/log@0.1.0" "log"
            (func $log (param i32 i32 i32)))"#
            .into(),
        fields: "(data (i32.const 0) \"hello\")".into(),
        answer: vec![0; 8 * 1024],
        open: format!("{} {} {} (i32.const 4096)", say(1), say(2), say(4)),
        ..Guest::processing("(i32.const 4096)")
    }
    .build()
}

/// The data of the events of a name.
fn events(text: &str, name: &str) -> Vec<Value> {
    let of = |event: &str| -> Option<Value> {
        let mut lines = event.lines();
        let named = lines.clone().any(|line| line == format!("event: {name}"));
        let data = lines.find_map(|line| line.strip_prefix("data: "))?;
        named.then(|| serde_json::from_str(data).unwrap())
    };
    text.split("\n\n").filter_map(of).collect()
}

#[test]
fn what_an_operator_logs_can_be_read_and_followed_until_the_job_ends() {
    let place = Place::new();
    let served = started(&place);
    let _ = served.ask("PUT", "/v1/artifacts/loud/versions/1", &loud()).expect(201);
    let job = submit(&served, &job(POSTED, "loud"));
    let logs = format!("{job}/logs");
    let page = served.until(&logs, "there", |page| page["lines"].as_array().unwrap().len() == 2);
    let line = &page["lines"][0];
    assert_eq!(
        (&line["id"], &line["level"], &line["message"]),
        (&json!(1), &json!("info"), &json!("hello"))
    );
    assert_eq!((&line["operator"], &line["subtask"]), (&json!("op"), &json!(0)));
    assert_eq!((&page["lines"][1]["level"], &page["next"]), (&json!("error"), &json!(2)));
    let lines = |query: &str| {
        let page = served.ask("GET", &format!("{logs}?{query}"), b"").expect(200).json;
        page["lines"].as_array().unwrap().len()
    };
    assert_eq!((lines("level=error"), lines("operator=other"), lines("operator=op")), (1, 0, 2));
    assert_eq!((lines("after=1"), lines("after=2"), lines("limit=1")), (1, 0, 1));
    for bad in ["level=loud", "after=x", "follow=maybe", "limit=0", "other=1"] {
        let reply = served.ask("GET", &format!("{logs}?{bad}"), b"");
        reply.is_problem(400, "invalid-request", bad.split('=').next().unwrap());
    }
    let mut followed = Stream::begin(&served, &format!("{logs}?follow=true&after=1"));
    let first = followed.until("event: line") + &followed.until("");
    let first = &events(&first[first.find("event: line").unwrap()..], "line")[0];
    assert_eq!((&first["id"], &first["message"]), (&json!(2), &json!("hello")));
    let rest = thread::spawn(move || followed.until("event: end"));
    let at = |arguments: &[&str]| {
        let mut command = program();
        command
            .args(["job"])
            .args(arguments)
            .args(["--server", &format!("http://{}", served.address())]);
        command.args(["--token", &served.token]).stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let said = |child: Child| String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let id = job.rsplit('/').next().unwrap();
    let following = at(&["logs", id, "--follow"]);
    let mut watching = at(&["tail", id, "in", "--json"]);
    let mut shown = BufReader::new(watching.stdout.take().unwrap());
    // One that came before anybody watched is not shown.
    let first = thread::spawn(move || {
        let mut line = String::new();
        shown.read_line(&mut line).unwrap();
        line
    });
    while !first.is_finished() {
        let _ = served.ask("POST", &format!("{job}/sources/in"), b"posted").expect(200);
    }
    assert!(first.join().unwrap().contains("\"value\":\"posted\""));
    end(&served, &job);
    rest.join().unwrap();
    assert!(watching.wait().unwrap().success());
    let shown = said(following);
    assert!(shown.lines().count() == 2 && shown.contains("INFO  op/0: hello"), "{shown}");
    assert!(said(at(&["logs", id, "--level", "error"])).contains("ERROR op/0: hello"));
    // What was said is there still.
    assert_eq!(lines("operator=op"), 2);
    let again = served.ask("GET", &format!("{logs}?follow=true&after=0"), b"").expect(200);
    assert_eq!(events(&again.text, "line").len(), 2);
}

/// An answer that goes on.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn begin(served: &Served, path: &str) -> Self {
        let mut stream = TcpStream::connect(served.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let (token, host) = (&served.token, served.address());
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\n\
             authorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut stream = Self(BufReader::new(stream));
        assert!(stream.until("").contains("text/event-stream"));
        stream
    }

    /// A tail, once somebody looks.
    fn tail(served: &Served, job: &str, vertex: &str) -> Self {
        let mut tail = Self::begin(served, &format!("{job}/vertices/{vertex}/tail"));
        let _ = tail.until(":");
        tail
    }

    /// What comes up to a line that is this one, and no more.
    fn until(&mut self, last: &str) -> String {
        let mut text = String::new();
        loop {
            let before = text.len();
            assert!(self.0.read_line(&mut text).unwrap() > 0, "no `{last}` in {text}");
            if text[before..].trim_end() == last {
                return text;
            }
        }
    }
}

#[test]
fn what_an_operator_puts_out_and_rejects_can_be_watched_until_the_job_ends() {
    let place = Place::new();
    let served = started(&place);
    served.push("default", "filter", "1");
    let config =
        "filter'\nconfig.where = [{ field = 'n', op = 'exists' }]\nports = ['kept', 'rest'] #";
    let job = submit(&served, &job(POSTED, config));
    let _ = served.until(&job, "running", |job| job["state"] == "running");
    let mut source = Stream::tail(&served, &job, "in");
    let mut tail = Stream::tail(&served, &job, "op");
    let path = format!("{job}/sources/in");
    let _ = served.ask("POST", &path, b"{\"n\":1}\nno json\n").expect(200);
    let data = |text: String| events(&text.replace("\r\n", "\n"), "records");
    let _ = source.until("event: records");
    let mut seen = String::from("event: records\n");
    seen += &source.until("");
    let seen = &data(seen)[0];
    assert_eq!((&seen["output"], &seen["of"]), (&json!("0"), &json!(2)), "{seen:#}");
    assert_eq!(seen["records"][1]["value"], "no json");
    let rest = thread::spawn(move || {
        let all = tail.until("event: end");
        all.replace("\r\n", "\n")
    });
    end(&served, &job);
    let all = rest.join().unwrap();
    let batches = events(&all, "records");
    let of = |output: &str| batches.iter().find(|batch| batch["output"] == output);
    assert_eq!(of("0").unwrap()["records"][0]["value"], "{\"n\":1}", "{all}");
    let letter = &of("dead-letters").unwrap()["records"][0];
    assert!(letter["value"] == "no json" && letter["reason"].is_string(), "{letter:#}");
    let reply = served.ask("GET", &format!("{job}/vertices/op/tail"), b"");
    reply.is_problem(409, "conflict", "has ended");
    let reply = served.ask("GET", &format!("{job}/vertices/other/tail"), b"");
    reply.is_problem(404, "not-found", "vertex `other`");
}

#[test]
fn a_tail_that_nobody_reads_does_not_hold_the_job_up() {
    let place = Place::new();
    let served = started(&place);
    served.push("default", "identity", "1");
    let source = "connector = 'generator'\nrecords = 300_000\nrate = 100_000";
    let job = submit(&served, &job(source, "identity"));
    let _ = served.until(&job, "running", |job| job["state"] == "running");
    let unread: Vec<Stream> = (0..4).map(|_| Stream::tail(&served, &job, "op")).collect();
    let ended = served.until(&job, "finished", |job| job["state"] == "finished");
    assert_eq!(ended["status"]["vertices"][2]["records_in"], 300_000, "{ended:#}");
    drop(unread);
}

#[test]
fn records_are_not_for_viewers() {
    let place = Place::new();
    let served = started(&place);
    served.push("default", "identity", "1");
    let job = submit(&served, &job(POSTED, "identity"));
    let asked = json!({"name": "v", "tenant": "default", "role": "viewer"}).to_string();
    let viewer = served.ask("POST", "/v1/tokens", asked.as_bytes()).expect(201).json;
    let viewer = viewer["token"].as_str().unwrap();
    let reply = served.ask_with(viewer, "GET", &format!("{job}/vertices/op/tail"), b"");
    reply.is_problem(403, "forbidden", "author");
    let _ = served.ask_with(viewer, "GET", &format!("{job}/logs"), b"").expect(200);
}

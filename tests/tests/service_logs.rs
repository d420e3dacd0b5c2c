//! The log of `cofferdam serve`: for programs, each line says of which request, tenant and job it
//! is.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::fs;

use cofferdam_tests::{Place, Served, program};
use serde_json::Value;

#[test]
fn a_line_says_of_which_request_tenant_job_and_operator_it_is() {
    let place = Place::new();
    fs::create_dir_all(place.path("data")).unwrap();
    place.write("data/tenants.toml", "[tenant.acme]\n");
    place.write("config.toml", "[log]\nformat = \"json\"\nlevel = \"info\"\n[traces]\nendpoint = \"http://127.0.0.1:9\"\nsample_ratio = 1\n");
    let config = place.path("config.toml").display().to_string();
    let served = Served::start(&place.path("data"), &["--config", &config]);
    served.push("acme", "fragile-map", "1");
    let job = "[job]\nname = 'talks'\n[restart]\nstrategy = 'fixed-delay'\nattempts = 1\ndelay = '1ms'\n[[source]]\nname = 'in'\nconnector = 'generator'\n\
               records = 3\n[[operator]]\nname = 'breaks'\nartifact = 'fragile-map'\ninput = 'in'\npoison = 'fail'\n\
               [operator.config]\npoison = ['']\n[[sink]]\nname = 'out'\ninput = 'breaks'\nconnector = 'discard'\n";
    let made = served.ask("POST", "/v1/jobs?tenant=acme", job.as_bytes()).expect(201);
    let (id, request) = (made.json["id"].as_str().unwrap(), made.header("x-request-id"));
    let path = format!("/v1/jobs/{id}");
    let _ = served.until(&path, "failed", |job| job["state"] == "failed");
    let problem = served.ask("GET", "/v1/jobs/nonsense", b"").json;
    let said = served.terminate();
    let lines: Vec<Value> = said.iter().map(|line| json_line(line)).collect();
    let find = |what: &str, is_it: &dyn Fn(&Value) -> bool| {
        let found = lines.iter().find(|line| is_it(line));
        found.unwrap_or_else(|| panic!("no line of {what} in {said:#?}")).clone()
    };
    let submitted = find("the submission", &|line| line["request_id"] == request);
    assert_eq!((&submitted["message"], &submitted["status"]), (&"answered".into(), &201.into()));
    assert_eq!((&submitted["method"], &submitted["path"]), (&"POST".into(), &"/v1/jobs".into()));
    assert!(submitted["micros"].is_u64(), "{submitted:#}");
    find("the problem", &|line| {
        line["request_id"] == problem["request_id"] && line["status"] == 404
    });
    let of_subtask = |line: &Value| {
        assert_eq!((&line["job"], &line["tenant"]), (&id.into(), &"acme".into()), "{line:#}");
        assert_eq!(line["job_name"], "talks", "{line:#}");
        assert_eq!(
            (&line["operator"], &line["subtask"]),
            (&"breaks".into(), &0.into()),
            "{line:#}"
        );
    };
    let guest = find("the operator", &|line| line["target"] == "guest");
    of_subtask(&guest);
    // Its batch is traced, and the line says so.
    let trace = guest["trace_id"].as_str().unwrap();
    assert!(trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit()), "{guest:#}");
    let restart = find("the restart", &|line| line["message"].to_string().contains("restarting"));
    of_subtask(&restart);
    let of_job = find("the end of the job", &|line| {
        line["message"].to_string().contains("the job has failed")
    });
    assert_eq!((&of_job["job"], &of_job["job_name"]), (&id.into(), &"talks".into()));
    // What is said to whoever started it is a line as well.
    let ending = find("the end", &|line| line["message"].to_string().contains("final checkpoint"));
    assert_eq!((&ending["level"], &ending["target"]), (&"INFO".into(), &"cofferdam".into()));
}

/// Every line is an object, and says when, how bad, of what and what.
fn json_line(line: &str) -> Value {
    let read: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    for key in ["timestamp", "level", "target", "message"] {
        assert!(read[key].is_string(), "no {key}: {line}");
    }
    read
}

#[test]
fn a_line_of_a_checkpoint_or_a_record_says_of_which_subtask_it_is() {
    let place = Place::new();
    let config = "[log]\nformat = 'json'\nlevel = 'warn,cofferdam=debug'\n";
    let served = Served::of_tenants(&place, &["acme"], config);
    served.push("acme", "identity", "1");
    fs::write(served.home("acme").join("in.jsonl"), "{\"a\": 1}\nno record\n").unwrap();
    let job = "[job]\nname = 'reads'\n[[source]]\nname = 'in'\nconnector = 'jsonl'\npath = 'in.jsonl'\n\
               [[operator]]\nname = 'copied'\nartifact = 'identity'\ninput = 'in'\n\
               [[sink]]\nname = 'out'\ninput = 'copied'\nconnector = 'lines'\npath = 'out.txt'\n";
    let job = served.submit("acme", job);
    let _ = served.until_state(&job, "finished");
    let said = served.terminate();
    let lines: Vec<Value> = said.iter().map(|line| json_line(line)).collect();
    let find = |what: &str, message: &str| {
        let is_it = |line: &&Value| line["message"].as_str().unwrap().contains(message);
        let found = lines.iter().find(is_it);
        found.unwrap_or_else(|| panic!("no line of {what} in {said:#?}")).clone()
    };
    let rejected = find("the record", "record rejected");
    assert_eq!((&rejected["operator"], &rejected["subtask"]), (&"in".into(), &0.into()));
    let committed = find("the commit", "has committed");
    assert_eq!((&committed["operator"], &committed["job_name"]), (&"out".into(), &"reads".into()));
    assert_eq!(committed["checkpoint"], 1, "{committed:#}");
    assert_eq!(find("the checkpoint", "is being written")["checkpoint"], 1);
    assert_eq!(find("the checkpoint", "begins")["tenant"], "acme");
}

#[test]
fn a_job_without_a_server_logs_as_the_environment_says() {
    let place = Place::new();
    place.write("in.jsonl", "{\"a\": 1}\nno record\n");
    let job = "[job]\nname = 'reads'\n[[source]]\nname = 'in'\nconnector = 'jsonl'\npath = 'in.jsonl'\n\
               [[sink]]\nname = 'out'\ninput = 'in'\nconnector = 'discard'\n";
    place.write("job.toml", job);
    let run = |format: &str, file: &str| {
        let mut command = program();
        command.args(["run", file]).current_dir(place.path(""));
        let ended = command.env("COFFERDAM_LOG_FORMAT", format).output().unwrap();
        (ended.status.success(), String::from_utf8(ended.stderr).unwrap())
    };
    let (well, said) = run("json", "job.toml");
    let lines: Vec<Value> = said.lines().map(json_line).collect();
    let of_record = lines.iter().find(|line| line["level"] == "WARN").unwrap();
    assert_eq!((&of_record["job_name"], &of_record["operator"]), (&"reads".into(), &"in".into()));
    assert!(well && lines.iter().any(|line| line["level"] == "INFO"), "{said}");
    let (well, said) = run("json", "missing.toml");
    assert!(!well && json_line(said.trim())["level"] == "ERROR", "{said}");
    let (_, said) = run("yaml", "job.toml");
    assert!(said.contains("log.format") || said.contains("`format`"), "{said}");
}

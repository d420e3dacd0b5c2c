//! Trying operators on `cofferdam serve`: what they make of some records is told, however they
//! behave, and nothing else comes to harm.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use cofferdam_tests::{Place, Reply, Served};
use serde_json::{Value, json};

fn serve(place: &Place, config: &str) -> Served {
    fs::create_dir_all(place.path("data")).unwrap();
    place.write("data/tenants.toml", "[tenant.acme]\n[tenant.mallory]\n");
    place.write("config.toml", config);
    let config = place.path("config.toml").display().to_string();
    Served::start(&place.path("data"), &["--config", &config])
}

fn path(name: &str) -> String {
    format!("/v1/artifacts/{name}/versions/1/try?tenant=acme")
}

fn attempt(served: &Served, name: &str, asked: &Value) -> Reply {
    served.ask("POST", &path(name), asked.to_string().as_bytes())
}

fn report(served: &Served, name: &str, asked: &Value) -> Value {
    attempt(served, name, asked).expect(200).json
}

/// Begins a trial, and waits for no answer.
fn begin(served: &Served, name: &str, asked: &Value) -> TcpStream {
    let body = asked.to_string();
    let mut caller = TcpStream::connect(served.address()).unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
         content-length: {}\r\n\r\n",
        path(name),
        served.token,
        body.len()
    );
    caller.write_all(head.as_bytes()).unwrap();
    caller.write_all(body.as_bytes()).unwrap();
    caller
}

fn all_slots_are_free(served: &Served) {
    let is_so = |view: &Value| view["slots_free"] == view["slots_total"];
    let _ = served.until("/v1/overview", "without a taken slot", is_so);
    let seen = served.ask("GET", "/v1/taskmanager", b"").expect(200).json;
    assert_eq!((&seen["memory"]["reserved"], &seen["memory"]["slots"]), (&json!(0), &json!([])));
}

/// The values that went to a port.
fn values(report: &Value, port: u64) -> Vec<String> {
    let outputs = report["outputs"].as_array().unwrap();
    let of_port = outputs.iter().find(|output| output["port"] == port);
    let records = of_port.map(|output| output["records"].as_array().unwrap().clone());
    let text = |record: &Value| record["value"].as_str().unwrap_or_default().to_owned();
    records.unwrap_or_default().iter().map(text).collect()
}

#[test]
fn an_operator_is_fed_records_and_all_that_it_made_of_them_is_told() {
    let place = Place::new();
    let served = serve(&place, "");
    served.push("acme", "filter", "1");
    let tag = "/v1/artifacts/filter/tags/latest?tenant=acme";
    let _ = served.ask("PUT", tag, br#"{"version":"1"}"#).expect(200);
    let config = json!({"where": [{"field": "n", "op": "ge", "value": 10}]});
    let asked = json!({
        "lines": "{\"n\": 5}\n{\"n\": 50}\n{\"m\": 1}\n\"text\"\n{\"n\": 11}\n",
        "operator": {"config": config, "ports": ["large", "small"]},
        "batch_records": 2,
    });
    let path = "/v1/artifacts/filter/versions/latest/try?tenant=acme";
    let seen = served.ask("POST", path, asked.to_string().as_bytes()).expect(200).json;
    assert_eq!((&seen["ended"], &seen["version"]), (&json!("finished"), &json!("1")), "{seen:#}");
    assert_eq!(seen["kind"], "processor");
    assert_eq!(values(&seen, 0), ["{\"n\": 50}", "{\"n\": 11}"]);
    assert_eq!(
        (&seen["outputs"][0]["name"], &seen["outputs"][1]["name"]),
        (&json!("large"), &json!("small"))
    );
    let rejected = seen["rejected"].as_array().unwrap();
    assert!(rejected.iter().all(|r| r["reason"].as_str().is_some_and(|r| !r.is_empty())));
    let told = values(&seen, 0).len() + values(&seen, 1).len() + rejected.len();
    assert_eq!(told, 5, "{seen:#}");
    let steps: Vec<_> =
        seen["steps"].as_array().unwrap().iter().map(|s| s["event"].as_str().unwrap()).collect();
    assert_eq!(steps, ["open", "batch", "batch", "batch", "finish"]);
    assert_eq!(
        (&seen["steps"][3]["records"], &seen["left_out"]["records"]),
        (&json!(1), &json!(0))
    );
    assert!(seen["peak_memory"].as_u64().unwrap() >= 65_536, "{seen:#}");
    assert!(seen["cpu_micros"].as_u64().unwrap() > 0 && seen["took_micros"].as_u64().unwrap() > 0);

    // Records alone, as JSON Lines.
    let token =
        format!("authorization: Bearer {}\r\ncontent-type: application/x-ndjson\r\n", served.token);
    let lines = "{\"n\": 5, \"k\": \"a\", \"t\": 7}\n";
    let with = format!("{path}&key_field=k&timestamp_field=t&timestamp_format=millis");
    let reply = served.send("POST", &with, &token, lines.as_bytes());
    // `where` is missing: it refuses to open, which is a failure and no error.
    let seen = reply.expect(200).json;
    assert_eq!(
        (&seen["ended"], &seen["failure"]["kind"]),
        (&json!("failed"), &json!("guest-error"))
    );
    assert_eq!((&seen["failure"]["step"], &seen["steps"][0]["event"]), (&json!(0), &json!("open")));
    served.push("acme", "identity", "1");
    let with = with.replace("filter/versions/latest", "identity/versions/1");
    let seen = served.send("POST", &with, &token, lines.as_bytes()).expect(200).json;
    let record = &seen["outputs"][0]["records"][0];
    assert_eq!((&record["key"], &record["timestamp"]), (&json!("a"), &json!(7)), "{seen:#}");

    // It counts as what the tenant used, under one name.
    let is_counted = |usage: &Value| usage["usage"].to_string().contains("\"playground\"");
    let _ = served.until("/v1/usage?tenant=acme&by=job", "counted", is_counted);
    all_slots_are_free(&served);
}

#[test]
fn windows_close_at_the_end_and_what_is_late_is_told() {
    let place = Place::new();
    let served = serve(&place, "");
    served.push("acme", "window-stats", "1");
    let record =
        |key: &str, n: i64, at: i64| json!({"key": key, "value": {"n": n}, "timestamp": at});
    let mut asked = json!({
        "records": [record("a", 1, 1_000), record("a", 3, 2_000), record("b", 5, 70_000), record("a", 7, 3_000)],
        "operator": {"config": {"field": "n"}, "window": {"type": "tumbling", "size": "1m"}},
        "batch_records": 1,
    });
    let seen = report(&served, "window-stats", &asked);
    assert_eq!(
        (&seen["ended"], &seen["kind"]),
        (&json!("finished"), &json!("keyed-processor")),
        "{seen:#}"
    );
    assert_eq!((&seen["late"], &seen["fired"]), (&json!([3]), &json!(2)), "{seen:#}");
    let (first, second) = (&values(&seen, 0)[0], &values(&seen, 0)[1]);
    assert!(first.contains("\"key\":\"a\"") && first.contains("\"count\":2"), "{first}");
    assert!(second.contains("\"key\":\"b\""), "{second}");
    assert_eq!(seen["state"], json!({"keys": 0, "bytes": seen["state"]["bytes"]}));
    let fired: Vec<_> =
        seen["steps"].as_array().unwrap().iter().filter(|s| s["event"] == "watermark").collect();
    assert_eq!(fired.len(), 2, "{seen:#}");

    asked["max_out_of_orderness"] = json!("2m");
    asked["close"] = json!(false);
    let seen = report(&served, "window-stats", &asked);
    assert_eq!((&seen["late"], &seen["outputs"]), (&json!([]), &json!([])), "{seen:#}");
    assert_eq!(seen["state"]["keys"], 2);

    served.push("acme", "alarm", "1");
    let alarm =
        json!({"records": [{"key": "k", "value": "x"}], "operator": {"config": {"after": "1h"}}});
    assert_eq!(report(&served, "alarm", &alarm)["fired"], 0);
    let mut later = alarm;
    later["advance_clock"] = json!("2h");
    let seen = report(&served, "alarm", &later);
    assert_eq!((&seen["fired"], values(&seen, 0).len()), (&json!(1), 1), "{seen:#}");
}

#[test]
fn an_operator_that_fails_is_told_of_with_the_records_that_are_to_blame() {
    let place = Place::new();
    let served = serve(&place, "[playground]\nmemory = \"16MiB\"\n");
    served.push("acme", "fragile-map", "1");
    served.push("acme", "misbehave", "1");
    let asked = |how: Value| {
        let records: Vec<_> = ["a", "b", "poison", "c"].map(|value| json!({"value": value})).into();
        let config = match how {
            Value::Null => json!({"poison": ["poison"]}),
            how => json!({"poison": ["poison"], "how": how}),
        };
        json!({"records": records, "operator": {"config": config, "deadline": "300ms"}})
    };
    for (how, kind) in [
        (Value::Null, "guest-trap"),
        (json!("spin"), "deadline-exceeded"),
        (json!("hoard"), "out-of-memory"),
        (json!("say"), "guest-error"),
    ] {
        let seen = report(&served, "fragile-map", &asked(how));
        assert_eq!(
            (&seen["ended"], &seen["failure"]["kind"]),
            (&json!("failed"), &json!(kind)),
            "{seen:#}"
        );
        assert_eq!(seen["failure"]["fault"], "operator");
        assert_eq!(
            (&seen["failure"]["records"], &seen["failure"]["all_found"]),
            (&json!([2]), &json!(true)),
            "{seen:#}"
        );
        assert_eq!(
            (&seen["failure"]["step"], &seen["steps"][1]["event"]),
            (&json!(1), &json!("batch"))
        );
        assert!(seen["peak_memory"].as_u64().unwrap() <= 16 << 20, "{seen:#}");
        if kind == "guest-trap" {
            let trace = seen["failure"]["backtrace"].to_string();
            assert!(trace.contains("fragile_map"), "{trace}");
            let logged = seen["logs"].to_string();
            assert!(logged.contains("a poison record, as configured"), "{logged}");
        }
    }
    // What it says and what it answers is bounded and checked.
    let misbehave = |mode: &str| {
        let asked = json!({"records": [{"value": "x"}], "operator": {"config": {"mode": mode}}});
        report(&served, "misbehave", &asked)
    };
    let flood = misbehave("log-flood");
    assert_eq!(flood["ended"], "finished", "{flood:#}");
    assert!(flood["logs"].as_array().unwrap().len() <= 100);
    assert!(flood["left_out"]["lines"].as_u64().unwrap() >= 99_900, "{}", flood["left_out"]);
    assert_eq!(misbehave("offsets-past-end")["failure"]["kind"], "invalid-outcome");
    all_slots_are_free(&served);
}

#[test]
fn what_takes_too_long_is_ended_also_when_nobody_waits_for_it() {
    let place = Place::new();
    let served =
        serve(&place, "[playground]\ntime = \"1s\"\nat_once = 1\n[task_manager]\nslots = 2\n");
    served.push("acme", "crasher", "1");
    let records: Vec<_> = (0..500).map(|n| json!({"value": n})).collect();
    let asked = json!({"records": records, "batch_records": 1, "operator": {"config": {"work": 20_000_000}}});
    let seen = report(&served, "crasher", &asked);
    assert_eq!(
        (&seen["ended"], &seen["failure"]["kind"]),
        (&json!("out-of-time"), &json!("deadline-exceeded"))
    );
    // The first step opens it.
    let (steps, output) = (seen["steps"].as_array().unwrap().len(), values(&seen, 0).len());
    assert!(steps < 500 && output < steps, "{steps} steps, {output} records");
    all_slots_are_free(&served);
    served.kill();

    let served =
        serve(&place, "[playground]\ntime = \"1h\"\nat_once = 1\n[task_manager]\nslots = 2\n");
    let caller = begin(&served, "crasher", &asked);
    let _ = served.until("/v1/overview", "with a taken slot", |view| view["slots_free"] == 1);
    attempt(&served, "crasher", &json!({})).is_problem(429, "busy", "1 trials of tenant `acme`");
    let seen = served.ask("GET", "/v1/taskmanager", b"").expect(200).json;
    assert_eq!(seen["memory"]["slots"][0]["job"], "playground", "{seen:#}");
    drop(caller);
    all_slots_are_free(&served);
    assert_eq!(report(&served, "crasher", &json!({}))["ended"], "finished");
}

#[test]
fn a_trial_takes_no_slot_that_a_job_has_and_gives_its_own_to_one_that_preempts() {
    let place = Place::new();
    let served = serve(&place, "[playground]\ntime = \"1h\"\n[task_manager]\nslots = 1\n");
    served.push("acme", "identity", "1");
    served.push("acme", "crasher", "1");
    let job = |name: &str, more: &str| {
        format!(
            "[job]\nname = '{name}'\n{more}\n[[source]]\nname = 'in'\nconnector = 'generator'\nrate = 100\n\
             [[operator]]\nname = 'copied'\nartifact = 'identity'\ninput = 'in'\n\
             [[sink]]\nname = 'out'\ninput = 'copied'\nconnector = 'discard'\n"
        )
    };
    let submit = |text: String| {
        let made = served.ask("POST", "/v1/jobs?tenant=acme", text.as_bytes()).expect(201).json;
        format!("/v1/jobs/{}", made["id"].as_str().unwrap())
    };
    let runs = |path: &str| served.until(path, "running", |job| job["state"] == "running");
    let first = submit(job("first", ""));
    let _ = runs(&first);
    attempt(&served, "identity", &json!({})).is_problem(429, "busy", "no slot became free");
    assert_eq!(runs(&first)["status"]["restarts"]["count"], 0);
    let _ = served.ask("POST", &format!("{first}/cancel"), b"").expect(202);
    let _ = served.until(&first, "cancelled", |job| job["state"] == "cancelled");

    let records: Vec<_> = (0..500).map(|n| json!({"value": n})).collect();
    let asked = json!({"records": records, "batch_records": 1, "operator": {"config": {"work": 20_000_000}}});
    let mut trial = begin(&served, "crasher", &asked);
    let _ = served.until("/v1/overview", "with a taken slot", |view| view["slots_free"] == 0);
    let second = submit(job("second", "preemption = 'lower-priority'"));
    let _ = runs(&second);
    let mut answer = String::new();
    trial.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"ended\":\"slot-taken\""), "{answer}");
}

#[test]
fn what_cannot_be_tried_is_refused_with_what_to_do() {
    let place = Place::new();
    let served = serve(&place, "[playground]\nrecords = 3\ninput = \"4KiB\"\nmemory = \"32MiB\"\n");
    served.push("acme", "identity", "1");
    let made = |role: &str, tenant: &str| {
        let asked = json!({"name": "x", "tenant": tenant, "role": role}).to_string();
        let made = served.ask("POST", "/v1/tokens", asked.as_bytes()).expect(201);
        made.json["token"].as_str().unwrap().to_owned()
    };
    let mallory = made("admin", "mallory");
    for tenant in ["acme", "mallory"] {
        let path = format!("/v1/artifacts/identity/versions/1/try?tenant={tenant}");
        served.ask_with(&mallory, "POST", &path, b"{}").is_problem(404, "not-found", "there is no");
    }
    let viewer = made("viewer", "acme");
    served.ask_with(&viewer, "POST", &path("identity"), b"{}").is_problem(
        403,
        "forbidden",
        "author",
    );
    let gone = path("identity").replace("versions/1", "versions/2");
    served.ask("POST", &gone, b"{}").is_problem(404, "not-found", "version `2`");
    let long = json!({"lines": "1\n".repeat(5_000)});
    attempt(&served, "identity", &long).is_problem(413, "too-large", "4096 bytes");
    for (asked, said) in [
        (json!({"records": [{}, {}, {}, {}]}), "4 records, and a trial may have 3"),
        (json!({"recrods": []}), "unknown field `recrods`"),
        (json!({"records": [{"port": 1}], "inputs": 1}), "input port 1"),
        (json!({"records": [{"timestamp": 1}, {}]}), "1 of 2 records have an event time"),
        (json!({"operator": {"grants": ["wasi-http"]}}), "`operator.grants` cannot be said"),
        (json!({"operator": {"memory": "1GiB"}}), "[playground] memory"),
        (json!({"operator": {"deadline": "soon"}}), "deadline"),
        (json!({"operator": {"config": {"a": null}}}), "no null"),
        (
            json!({"operator": {"window": {"type": "tumbling", "size": "1m"}}}),
            "keeps no state by key",
        ),
        (json!({"max_out_of_orderness": "5"}), "max_out_of_orderness"),
        (json!({"lines": "{\"k\": 1}\nnot json", "key_field": "k"}), "line 2"),
        (json!({"batch_records": 0}), "batch_records"),
    ] {
        attempt(&served, "identity", &asked).is_problem(400, "invalid-request", said);
    }
    served.kill();
    let served = serve(&place, "[playground]\nat_once = 0\n");
    attempt(&served, "identity", &json!({})).is_problem(409, "conflict", "no playground");
}

//! What whoever runs `cofferdam serve` sees and changes of it by HTTP: slots, memory, cores,
//! tenants, and what they have used.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use cofferdam_tests::{Place, Served, jobs::DISCARDING};
use serde_json::{Value, json};

fn get(served: &Served, path: &str) -> Value {
    served.ask("GET", path, b"").expect(200).json
}

fn put_tenant(served: &Served, name: &str, quotas: &Value) -> cofferdam_tests::Reply {
    served.ask("PUT", &format!("/v1/tenants/{name}"), quotas.to_string().as_bytes())
}

fn run(served: &Served, tenant: &str) -> String {
    let job = served.submit(tenant, DISCARDING);
    let _ = served.until_state(&job, "running");
    job["/v1/jobs/".len()..].to_owned()
}

#[test]
fn a_slot_is_emptied_while_its_job_runs_and_used_again() {
    let place = Place::new();
    place.write("config.toml", "[task_manager]\nslots = 3\n");
    let config = place.path("config.toml").display().to_string();
    let served = Served::start(&place.path("data"), &["--config", &config]);
    let _ = put_tenant(&served, "acme", &json!({})).expect(201);
    served.push("acme", "identity", "1");
    let id = run(&served, "acme");
    let held = |slots: &Value| {
        let all = slots["slots"].as_array().unwrap();
        all.iter().find(|slot| slot["job"] == json!(id)).map(|slot| slot["slot"].clone())
    };
    let slots = get(&served, "/v1/slots");
    assert_eq!(slots["slots"].as_array().unwrap().len(), 3);
    let slot = held(&slots).unwrap();
    let acme = served.token("acme", "admin");
    let own = served.ask_with(&acme, "GET", "/v1/slots", b"").expect(200).json;
    assert_eq!((own["slots"].as_array().unwrap().len(), held(&own)), (1, Some(slot.clone())));
    let drained = served.ask("POST", &format!("/v1/slots/{slot}/drain"), b"").expect(200).json;
    assert_eq!(drained["moved"], "copied/0");
    let to = drained["to"].clone();
    assert_ne!(to, slot);
    let seen = served.until("/v1/slots", "moved", |slots| held(slots) == Some(to.clone()));
    assert_eq!(
        seen["slots"][usize::try_from(slot.as_u64().unwrap()).unwrap()]["condition"],
        "drained"
    );
    assert_eq!(get(&served, "/v1/overview")["slots_free"], 1);
    let _ = served.ask("POST", &format!("/v1/slots/{slot}/restore"), b"").expect(200);
    let overview = get(&served, "/v1/overview");
    assert_eq!((&overview["slots_free"], &overview["slots_total"]), (&json!(2), &json!(3)));
    assert_eq!((&overview["jobs"], &overview["ready"]), (&json!({"running": 1}), &json!(true)));
    for path in ["/v1/slots/3/drain", "/v1/slots/x/restore"] {
        served.ask("POST", path, b"").is_problem(404, "not-found", "slot");
    }
    let config = get(&served, "/v1/config");
    let limits = &config["limits"];
    assert_eq!((&limits["burst"], &config["audit_keep"]), (&json!(2_000), &json!(1_000)));
    assert_eq!((&limits["tenants"], &config["tls"]), (&json!({}), &Value::Null));
    assert_eq!((&config["max_live"], &config["ports"]), (&json!(1_000), &json!([80, 443])));
    let settings = &config["settings"];
    assert_eq!(
        (&settings["server"]["listen"], &config["listen"]),
        (&config["listen"], &json!(served.address()))
    );
    assert_eq!(
        (&settings["ingest"]["max_body"], &settings["log"]["format"]),
        (&json!("8MiB"), &json!("text"))
    );
    assert_eq!(
        (&settings["traces"]["endpoint"], &settings["traces"]["sample_ratio"]),
        (&Value::Null, &json!(0.001))
    );
    let seen = get(&served, "/v1/taskmanager");
    assert_eq!(seen["memory"]["slots"][0]["operator"], "copied", "{seen:#}");
    assert_eq!(
        (&seen["memory"]["tenants"][0]["tenant"], &seen["slots_total"]),
        (&json!("acme"), &json!(3))
    );
    let used = |seen: &Value| seen["cpu"][0]["core_millis"].as_u64() > Some(0);
    let seen = served.until("/v1/taskmanager", "used", used);
    assert_eq!(seen["cpu"][0]["tenant"], "acme");
}

#[test]
fn tenants_are_made_changed_and_deleted_and_what_they_used_is_kept() {
    let place = Place::new();
    let served = Served::start(&place.path("data"), &[]);
    let made =
        put_tenant(&served, "acme", &json!({"slots": 2, "memory": 1 << 28, "cpu_cap_percent": 50}));
    let made = made.expect(201).json;
    assert_eq!((&made["slots"], &made["cpu_cap_percent"]), (&json!(2), &json!(50.0)));
    let changed = put_tenant(&served, "acme", &json!({"jobs": 7})).expect(200).json;
    assert_eq!((&changed["jobs"], &changed["slots"]), (&json!(7), &Value::Null));
    assert_eq!(get(&served, "/v1/tenants/acme"), changed);
    for (quotas, said) in [
        (json!({"slotz": 1}), "slotz"),
        (json!({"memory": 1}), "memory"),
        (json!({"cpu_weight": 0}), "cpu_weight"),
        (json!({"cpu_cap_percent": 0.5}), "cpu_cap_percent"),
        (json!({"cpu_cap_percent": 1.5}), "cpu_cap_percent"),
        (json!({"ingest_records": 0}), "ingest_records"),
        (json!({"grants": ["everything"]}), "grant"),
    ] {
        put_tenant(&served, "acme", &quotas).is_problem(400, "invalid-request", said);
    }
    put_tenant(&served, "a.b", &json!({})).is_problem(400, "invalid-request", "a.b");
    assert_eq!(get(&served, "/v1/tenants/acme"), changed, "nothing of that was taken");
    served.push("acme", "identity", "1");
    let id = run(&served, "acme");
    let token = served.token("acme", "viewer");
    let delete = |path: &str| served.ask("DELETE", path, b"");
    delete("/v1/tenants/acme").is_problem(409, "conflict", "1 jobs and 1 versions");
    let _ = served.ask("POST", &format!("/v1/jobs/{id}/stop"), b"").expect(200);
    let usage = |served: &Served| get(served, "/v1/usage?by=job&since=1h");
    let used = usage(&served);
    assert_eq!(
        (&used["usage"][0]["tenant"], &used["usage"][0]["job"]),
        (&json!("acme"), &json!("endless"))
    );
    assert!(used["usage"][0]["records_out"].as_u64() > Some(0), "{used:#}");
    for (query, said) in [("by=year", "by"), ("since=yesterday", "since")] {
        let reply = served.ask("GET", &format!("/v1/usage?{query}"), b"");
        reply.is_problem(400, "invalid-request", said);
    }
    let _ = delete(&format!("/v1/jobs/{id}")).expect(204);
    let _ = delete("/v1/artifacts/identity/versions/1").expect(404);
    let _ = delete("/v1/artifacts/identity/versions/1?tenant=acme").expect(204);
    let _ = delete("/v1/tenants/acme").expect(204);
    delete("/v1/tenants/acme").is_problem(404, "not-found", "acme");
    delete("/v1/tenants/default").is_problem(409, "conflict", "cannot be deleted");
    served.ask_with(&token, "GET", "/v1/jobs", b"").is_problem(401, "unauthorized", "");
    let after = usage(&served);
    assert_eq!(after["usage"], used["usage"]);
    assert!(used["disk"][0]["used"].as_u64() > Some(0), "{used:#}");
    assert_eq!(after["disk"], json!([]), "nothing is on disk any more");
}

#[test]
fn what_somebody_else_has_changed_is_not_changed_by_who_has_not_seen_it() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme"], "");
    let ask = |method: &str, path: &str, condition: &str, body: &str| {
        let token = &served.token;
        let headers = format!("authorization: Bearer {token}\r\n{condition}\r\n");
        served.send(method, path, &headers, body.as_bytes())
    };
    let acme = "/v1/tenants/acme";
    let seen = served.ask("GET", acme, b"").expect(200).header("etag").to_owned();
    let of = |etag: &str| format!("if-match: {etag}");
    ask("PUT", acme, "if-none-match: *", "{}").is_problem(412, "precondition-failed", "already");
    let changed = ask("PUT", acme, &of(&seen), r#"{"slots":1}"#).expect(200);
    let newer = changed.header("etag").to_owned();
    assert_ne!(newer, seen);
    assert_eq!(served.ask("GET", acme, b"").expect(200).header("etag"), newer);
    for (method, body) in [("PUT", r#"{"slots":2}"#), ("DELETE", "")] {
        ask(method, acme, &of(&seen), body).is_problem(412, "precondition-failed", "acme");
    }
    ask("PUT", acme, "if-match: x", "{}").is_problem(400, "invalid-request", "if-match");
    assert_eq!(served.ask("GET", acme, b"").expect(200).json["slots"], 1);
    let other = "/v1/tenants/other";
    ask("PUT", other, "if-match: *", "{}").is_problem(412, "precondition-failed", "other");
    let _ = ask("PUT", other, "if-none-match: *", "{}").expect(201);
    let _ = ask("DELETE", acme, &of(&newer), "").expect(204);

    served.push("default", "identity", "1");
    served.push("default", "count", "1");
    let second = "/v1/artifacts/count/versions/1";
    let first = "/v1/artifacts/identity/versions/1";
    let digest = |path: &str| served.ask("GET", path, b"").expect(200).header("etag").to_owned();
    let (identity, count) = (digest(first), digest(second));
    let tag = "/v1/artifacts/identity/tags/stable";
    let to_first = r#"{"version":"1"}"#;
    ask("PUT", tag, &of(&identity), to_first).is_problem(412, "precondition-failed", "no tag");
    let made = ask("PUT", tag, "if-none-match: *", to_first).expect(200);
    assert_eq!(made.header("etag"), identity, "that of what it points to");
    ask("PUT", tag, "if-none-match: *", to_first).is_problem(412, "precondition-failed", "already");
    ask("PUT", tag, &of(&count), to_first).is_problem(412, "precondition-failed", "another");
    let _ = ask("PUT", tag, &of(&format!("{count}, {identity}")), to_first).expect(200);
    ask("DELETE", first, &of(&count), "").is_problem(412, "precondition-failed", "another");
    let _ = ask("DELETE", first, &of(&identity), "").expect(204);
}

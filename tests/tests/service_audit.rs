//! The audit log of `cofferdam serve`, and the identifiers of requests.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use cofferdam_tests::{Place, Served};
use serde_json::{Value, json};

fn serve(place: &Place, config: &str) -> Served {
    Served::of_tenants(place, &["acme", "mallory"], config)
}

/// Method, path and status of calls, the newest first.
fn shown(page: &Value) -> Vec<String> {
    let text = |call: &Value| {
        let word = |name: &str| call[name].as_str().unwrap().to_owned();
        format!("{} {} {}", word("method"), word("path"), call["status"])
    };
    page["calls"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn every_call_that_changes_something_is_in_the_log_of_its_tenant_after_a_kill_too() {
    let place = Place::new();
    let served = serve(&place, "");
    let (acme, author) = (served.token("acme", "admin"), served.token("acme", "author"));
    let mallory = served.token("mallory", "admin");
    let delete = "/v1/artifacts/x/versions/1";
    served.ask_with(&author, "DELETE", delete, b"").is_problem(404, "not-found", "");
    let named = format!("authorization: Bearer {acme}\r\nx-request-id: trace-7.a\r\n");
    let tag = served.send("PUT", "/v1/artifacts/x/tags/t", &named, b"nonsense");
    tag.is_problem(400, "invalid-request", "version");
    assert_eq!(tag.header("x-request-id"), "trace-7.a");
    assert_eq!(tag.json["request_id"], "trace-7.a");
    // Who may do anything does something for a tenant.
    served.ask("DELETE", &format!("{delete}?tenant=acme"), b"").is_problem(404, "not-found", "");
    // What only looks is not written down, nor what was not let in.
    let _ = served.ask_with(&acme, "GET", "/v1/artifacts", b"").expect(200);
    served.ask_with("cfd_no", "DELETE", delete, b"").is_problem(401, "unauthorized", "");

    let wanted = [
        format!("DELETE {delete} 404"),
        "PUT /v1/artifacts/x/tags/t 400".to_owned(),
        format!("DELETE {delete} 404"),
    ];
    let log = served.ask_with(&acme, "GET", "/v1/audit", b"").expect(200).json;
    assert_eq!(shown(&log), wanted);
    assert_eq!(
        (&log["calls"][0]["role"], &log["calls"][2]["role"]),
        (&json!("admin"), &json!("author"))
    );
    assert_eq!(log["calls"][1]["request_id"], "trace-7.a");
    served.kill();

    let served = serve(&place, "");
    assert_eq!(served.ask_with(&acme, "GET", "/v1/audit", b"").expect(200).json, log);
    let none = served.ask_with(&mallory, "GET", "/v1/audit", b"").expect(200).json;
    assert_eq!(none, json!({"calls": [], "next": null}));
    let all = served.ask("GET", "/v1/audit", b"").expect(200).json;
    assert_eq!(shown(&all)[..3], wanted);
    assert_eq!(shown(&all)[3..], ["POST /v1/tokens 201"; 3]);
    assert_eq!(served.ask("GET", "/v1/audit?tenant=acme", b"").expect(200).json, log);
    let reply = served.ask_with(&author, "GET", "/v1/audit", b"");
    reply.is_problem(403, "forbidden", "admin");
    // Page by page it is the same.
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = served.ask("GET", &format!("/v1/audit?limit=4{after}"), b"").expect(200).json;
        paged.extend(shown(&page));
        let Some(next) = page["next"].as_u64() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(paged, shown(&all));
}

#[test]
fn the_log_of_a_tenant_has_an_end() {
    let place = Place::new();
    let served = serve(&place, "[audit]\nkeep = 3\n");
    let acme = served.token("acme", "admin");
    for n in 0..5 {
        let path = format!("/v1/artifacts/x/versions/{n}");
        served.ask_with(&acme, "DELETE", &path, b"").is_problem(404, "not-found", "");
    }
    let log =
        |served: &Served| shown(&served.ask_with(&acme, "GET", "/v1/audit", b"").expect(200).json);
    let wanted: Vec<_> =
        [4, 3, 2].iter().map(|n| format!("DELETE /v1/artifacts/x/versions/{n} 404")).collect();
    assert_eq!(log(&served), wanted);
    served.kill();
    let served = serve(&place, "[audit]\nkeep = 3\n");
    assert_eq!(log(&served), wanted);
    // What others did is still there.
    let all = served.ask("GET", "/v1/audit", b"").expect(200).json;
    assert_eq!(shown(&all).len(), 4, "{all:#}");
}

#[test]
fn a_request_has_an_identifier_that_nobody_can_put_lines_into() {
    let place = Place::new();
    let served = serve(&place, "");
    let id = |given: &str| {
        let reply = served.send("GET", "/healthz", given, b"").expect(200);
        reply.header("x-request-id").to_owned()
    };
    assert_eq!(id("x-request-id: from-a-proxy_1.2\r\n"), "from-a-proxy_1.2");
    let made = id("");
    assert_eq!(made.len(), 32);
    assert_ne!(made, id(""));
    for bad in ["a b", "a\"b", &"x".repeat(65)] {
        assert_eq!(id(&format!("x-request-id: {bad}\r\n")).len(), 32, "{bad}");
    }
}

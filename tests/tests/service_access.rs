//! Who may do what at `cofferdam serve`: another tenant's objects are not there, at any endpoint;
//! a role may what it says; a token that was revoked or is over opens nothing.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use cofferdam::{http::Routes, signature::SecretKey};
use cofferdam_tests::{Place, Served, guests, jobs::DISCARDING};
use serde_json::{Value, json};

const JOB: &str = DISCARDING;

fn serve(place: &Place, config: &str) -> Served {
    Served::of_tenants(place, &["acme", "mallory"], config)
}

/// What each route is asked for: its placeholders filled with what is acme's.
fn filled(path: &str, job: &str, token: &str) -> String {
    let path = path.replace("{id}", job).replace("{token}", token).replace("{key}", token);
    let path = path.replace("{operator}", "copied").replace("{capsule}", "copied-0-1.capsule");
    let path = path.replace("{slot}", "0").replace("{tenant}", "acme");
    let path = path.replace("{checkpoint}", "1").replace("{savepoint}", "first");
    path.replace("{name}", "identity").replace("{version}", "1").replace("{tag}", "stable")
}

#[test]
fn another_tenants_objects_are_not_there_at_any_endpoint() {
    let place = Place::new();
    let served = serve(&place, "");
    served.push("acme", "identity", "1");
    let tag = "/v1/artifacts/identity/tags/stable?tenant=acme";
    let _ = served.ask("PUT", tag, br#"{"version":"1"}"#).expect(200);
    let job = served.ask("POST", "/v1/jobs?tenant=acme", JOB.as_bytes()).expect(201).json;
    let job = job["id"].as_str().unwrap();
    let (_, victims) = served.token_of(Some("acme"), "viewer");
    let (mallory, _) = served.token_of(Some("mallory"), "admin");
    let guest = fs::read(guests().join("identity.wasm")).unwrap();
    let acme = |path: &str| served.ask("GET", path, b"").expect(200).json;
    let before = (acme("/v1/artifacts?tenant=acme"), acme(&format!("/v1/jobs/{job}/config")));

    let pem = SecretKey::generate().public().to_pem();
    let key = json!({"name": "theirs", "key": pem}).to_string();
    let mut walked = 0;
    for (method, path) in Routes::all().listed {
        let body: &[u8] = match (method.as_str(), path) {
            ("POST", "/v1/jobs") => JOB.as_bytes(),
            ("POST", "/v1/tokens") => br#"{"name":"x","role":"viewer","tenant":"acme"}"#,
            ("PUT", "/v1/tenants/{tenant}") => b"{}",
            ("POST", path) if path.ends_with("/try") => b"{}",
            ("POST", "/v1/keys") => key.as_bytes(),
            ("POST", path) if path.ends_with("/rescale") => br#"{"parallelism":2}"#,
            ("POST", path) if path.ends_with("/limits") => {
                br#"{"operator":"copied","memory":"64MiB"}"#
            }
            ("PUT", path) if path.contains("{tag}") => br#"{"version":"1"}"#,
            ("PUT", _) => &guest,
            _ => b"",
        };
        let ask = |path: &str| served.ask_with(&mallory, method.as_str(), path, body);
        let full = filled(path, job, &victims);
        let of_acme = format!("{full}?tenant=acme");
        match path {
            "/healthz" | "/readyz" | "/v1/openapi.json" => continue,
            // It has no names in it; whose numbers are told is looked at in `service_metrics`.
            "/metrics" => drop(ask(path).expect(200)),
            // What is listed is one's own.
            "/v1/tokens" if method == "GET" => {
                let tokens = ask(path).expect(200).json;
                assert_eq!(tokens["tokens"].as_array().unwrap().len(), 1, "{tokens:#}");
            }
            "/v1/jobs" if method == "GET" => {
                assert_eq!(ask(path).expect(200).json["jobs"], json!([]));
                ask(&of_acme).is_problem(404, "not-found", "acme");
            }
            "/v1/overview" => assert_eq!(ask(path).expect(200).json["jobs"], json!({})),
            "/v1/slots" => assert_eq!(ask(path).expect(200).json["slots"], json!([])),
            "/v1/tenants" => {
                let tenants = ask(path).expect(200).json;
                assert_eq!(tenants["tenants"].as_array().unwrap().len(), 1, "{tenants:#}");
            }
            "/v1/taskmanager" => {
                let seen = ask(path).expect(200).json;
                assert!(!seen.to_string().contains("acme"), "{seen:#}");
                assert!(!seen.to_string().contains("copied"), "{seen:#}");
            }
            "/v1/usage" => {
                assert_eq!(ask(path).expect(200).json["usage"], json!([]));
                ask(&of_acme).is_problem(404, "not-found", "acme");
            }
            "/v1/tenants/{tenant}" if method == "GET" => {
                ask(&full).is_problem(404, "not-found", "acme");
            }
            // What is for those who run the server is for no tenant's admin.
            "/v1/config"
            | "/v1/tenants/{tenant}"
            | "/v1/slots/{slot}/drain"
            | "/v1/slots/{slot}/restore" => ask(&full).is_problem(403, "forbidden", "mallory"),
            "/v1/tokens" => ask(path).is_problem(404, "not-found", "acme"),
            path if path.contains("{id}") || path.contains("{token}") => {
                let theirs = ask(&full);
                theirs.is_problem(404, "not-found", "there is no");
                // The same answer as for what never was, but for its name.
                let other = ask(&filled(path, &"0".repeat(32), &"0".repeat(16)));
                let same = |mut reply: Value, job: &str, token: &str| {
                    // That is another for each request.
                    assert!(reply.as_object_mut().unwrap().remove("request_id").is_some());
                    reply.to_string().replace(job, "ID").replace(token, "ID")
                };
                let nobodys = same(other.json, &"0".repeat(32), &"0".repeat(16));
                assert_eq!(same(theirs.json, job, &victims), nobodys, "{path}");
            }
            _ => {
                ask(&of_acme).is_problem(404, "not-found", "acme");
                // A tenant that there is not is no other.
                let nobody = ask(&format!("{full}?tenant=nobody"));
                nobody.is_problem(404, "not-found", "nobody");
            }
        }
        walked += 1;
    }
    assert!(walked >= 15, "{walked} routes");
    let after = (acme("/v1/artifacts?tenant=acme"), acme(&format!("/v1/jobs/{job}/config")));
    assert_eq!(before, after);
    let running = served.ask("GET", &format!("/v1/jobs/{job}"), b"").expect(200).json;
    assert!(["created", "running"].contains(&running["state"].as_str().unwrap()), "{running:#}");
    // And what another tenant uploads under the same name is another.
    let _ =
        served.ask_with(&mallory, "PUT", "/v1/artifacts/identity/versions/1", &guest).expect(201);
    let _ =
        served.ask_with(&mallory, "DELETE", "/v1/artifacts/identity/versions/1", b"").expect(204);
    let stays = "/v1/artifacts/identity/versions/1?tenant=acme";
    let _ = served.ask("GET", stays, b"").expect(200);
    let _ = served.ask("POST", &format!("/v1/jobs/{job}/cancel"), b"").expect(202);
    let path = format!("/v1/jobs/{job}");
    let _ = served.until(&path, "cancelled", |job| job["state"] == "cancelled");
}

#[test]
fn a_role_may_what_it_says_and_no_more() {
    let place = Place::new();
    let served = serve(&place, "");
    served.push("acme", "identity", "1");
    let job = served.ask("POST", "/v1/jobs?tenant=acme", JOB.as_bytes()).expect(201).json;
    let cancel = format!("/v1/jobs/{}/cancel", job["id"].as_str().unwrap());
    let tokens = r#"{"name":"more","role":"admin","tenant":"acme"}"#;
    let version = "/v1/artifacts/identity/versions/1";
    // What each needs, the least first.
    let asked: [(&str, &str, &str, u16); 4] = [
        ("GET", "/v1/jobs", "", 200),
        ("POST", "/v1/jobs", JOB, 201),
        ("POST", &cancel, "", 202),
        ("POST", "/v1/tokens", tokens, 201),
    ];
    for (role, may) in [("viewer", 1), ("author", 2), ("operator", 3), ("admin", 4)] {
        let (token, _) = served.token_of(Some("acme"), role);
        for (i, (method, path, body, status)) in asked.iter().enumerate().rev() {
            // An admin comes to cancel what is cancelled already.
            if i < may && (role, *path) != ("admin", cancel.as_str()) {
                let _ = served.ask_with(&token, method, path, body.as_bytes()).expect(*status);
            } else if i >= may {
                let reply = served.ask_with(&token, method, path, body.as_bytes());
                reply.is_problem(403, "forbidden", role);
            }
        }
        if role == "viewer" {
            served.ask_with(&token, "PUT", version, b"x").is_problem(403, "forbidden", "author");
            served.ask_with(&token, "DELETE", version, b"").is_problem(403, "forbidden", "author");
        }
        // A tenant's token makes none for every tenant, nor for another.
        let everybodys = br#"{"name":"more","role":"viewer"}"#;
        let reply = served.ask_with(&token, "POST", "/v1/tokens", everybodys);
        let (status, kind) =
            if role == "admin" { (400, "invalid-request") } else { (403, "forbidden") };
        reply.is_problem(status, kind, "");
    }
}

#[test]
fn a_token_that_may_post_may_nothing_else_at_any_endpoint() {
    let place = Place::new();
    let served = serve(&place, "");
    served.push("acme", "identity", "1");
    let posted = JOB.replace("connector = \"generator\"\nrate = 2_000", "connector = \"http\"");
    let posted =
        posted.replace("name = \"endless\"", "name = \"posted\"\n[checkpoints]\ninterval = \"1h\"");
    assert!(posted.contains("\"http\"") && posted.contains("\"1h\""));
    let job = served.submit("acme", &posted);
    let _ = served.until_state(&job, "running");
    let of_job = job.strip_prefix("/v1/jobs/").unwrap();
    let (ingest, id) = served.token_of(Some("acme"), "ingest");
    let mut walked = 0;
    for (method, path) in Routes::all().listed {
        if ["/healthz", "/readyz"].contains(&path) {
            continue;
        }
        let full = filled(path, of_job, &id).replace("/sources/copied", "/sources/numbers");
        let reply = served.ask_with(&ingest, method.as_str(), &full, b"{\"n\":1}\n");
        if (method.as_str(), path) == ("POST", "/v1/jobs/{id}/sources/{operator}") {
            assert_eq!(reply.expect(200).json["records"], 1);
        } else {
            reply.is_problem(403, "forbidden", "this one is `ingest`");
        }
        walked += 1;
    }
    assert!(walked > 40, "{walked}");
    for path in ["/console", "/console/jobs", "/console/tokens", "/v1/jobs/x/sources/numbers"] {
        assert_eq!(served.ask_with(&ingest, "GET", path, b"").status, 403, "{path}");
    }
    // Nor does it begin a session.
    let headers = "sec-fetch-site: same-origin\r\n\
                   content-type: application/x-www-form-urlencoded\r\n";
    let signed =
        served.send("POST", "/console/sign-in", headers, format!("token={ingest}").as_bytes());
    assert!(signed.status == 401 && signed.header("set-cookie").is_empty(), "{}", signed.text);
    // Another tenant's sources are not there, nor may a viewer post.
    let post = format!("{job}/sources/numbers");
    let (other, _) = served.token_of(Some("mallory"), "ingest");
    served.ask_with(&other, "POST", &post, b"{}\n").is_problem(404, "not-found", "there is no job");
    let (viewer, _) = served.token_of(Some("acme"), "viewer");
    served.ask_with(&viewer, "POST", &post, b"{}\n").is_problem(403, "forbidden", "author");
    let (everybodys, _) = served.token_of(None, "ingest");
    let _ = served.ask_with(&everybodys, "POST", &post, b"{\"n\":2}\n").expect(200);
}

#[test]
fn a_token_that_is_over_or_revoked_opens_nothing_after_a_restart_too() {
    let place = Place::new();
    let served = serve(&place, "");
    let over = br#"{"name":"over","role":"viewer","tenant":"acme","expires_at":1}"#;
    let over = served.ask("POST", "/v1/tokens", over).expect(201).json;
    let (open, id) = served.token_of(Some("acme"), "viewer");
    let _ = served.ask_with(&open, "GET", "/v1/jobs", b"").expect(200);
    let revoked = served.ask("DELETE", &format!("/v1/tokens/{id}"), b"").expect(200).json;
    assert!(revoked["revoked_at"].is_i64(), "{revoked:#}");
    let (other, _) = served.token_of(Some("acme"), "viewer");
    let shut = [over["token"].as_str().unwrap(), &open];
    for token in shut {
        served.ask_with(token, "GET", "/v1/jobs", b"").is_problem(401, "unauthorized", "opens");
    }
    let listed = served.ask("GET", "/v1/tokens", b"").expect(200).json.to_string();
    assert!(!listed.contains("cfd_") && listed.contains(&id), "{listed}");
    served.kill();
    let served = serve(&place, "");
    for token in shut {
        served.ask_with(token, "GET", "/v1/jobs", b"").is_problem(401, "unauthorized", "opens");
    }
    let _ = served.ask_with(&other, "GET", "/v1/jobs", b"").expect(200);
    // What opens the door is not on the disk, but for the first one.
    for file in fs::read_dir(place.path("data/registry/records")).unwrap().flatten() {
        let bytes = fs::read(file.path()).unwrap_or_default();
        assert!(!bytes.windows(other.len()).any(|part| part == other.as_bytes()));
    }
}

#[test]
fn an_open_door_on_loopback_lets_nobody_in_who_was_led_there_by_another_site() {
    let place = Place::new();
    let served = serve(&place, "[auth]\nopen_on_loopback = true\n");
    let get = |headers: &str| served.send("GET", "/v1/jobs", headers, b"");
    let _ = get("").expect(200);
    let _ = get("host: localhost:8080\r\norigin: http://localhost:8080\r\n").expect(200);
    get("host: evil.example\r\n").is_problem(401, "unauthorized", "");
    get("origin: https://evil.example\r\n").is_problem(401, "unauthorized", "");
    get("authorization: Bearer cfd_wrong\r\n").is_problem(401, "unauthorized", "opens nothing");
}

#[test]
fn a_client_that_sends_too_slowly_is_sent_away_and_leaves_nothing_behind() {
    let place = Place::new();
    let served = serve(&place, "[server]\nread_timeout = \"300ms\"\nmax_connections = 2\n");
    let slow = |head: String| {
        let mut stream = TcpStream::connect(served.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let answer = |mut stream: TcpStream| {
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    };
    let upload = format!(
        "PUT /v1/artifacts/slow/versions/1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-length: 1000000\r\n\r\n\0asm",
        served.token
    );
    // Both places are taken: one waits in the head of a request, one in its body.
    let (head, body) = (slow("GET /v1/jobs HTTP/1.1\r\nhost: x\r\n".to_owned()), slow(upload));
    let _ = served.ask("GET", "/v1/jobs", b"").expect(200);
    assert!(!answer(head).contains("200"));
    let refused = answer(body);
    assert!(refused.starts_with("HTTP/1.1 408"), "{refused}");
    assert!(refused.contains("urn:cofferdam:problem:too-slow"), "{refused}");
    assert_eq!(fs::read_dir(place.path("data/artifacts")).unwrap().count(), 0);
}

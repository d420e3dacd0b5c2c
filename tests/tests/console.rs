//! The web console without a browser: signing in and out, what a cookie is and is not good for,
//! what other sites cannot do, what another tenant does not see; and every page is well-formed,
//! with links that lead somewhere.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::collections::BTreeSet;

use cofferdam_tests::{
    Place, Served,
    console::{Scene, Visitor, operator},
    html::Html,
};
use serde_json::Value;

fn serve(place: &Place) -> Served {
    std::fs::create_dir_all(place.path("data")).unwrap();
    place.write("data/tenants.toml", "[tenant.acme]\n[tenant.mallory]\n");
    Served::start(&place.path("data"), &[])
}

fn sign_in(served: &Served, headers: &str, token: &str) -> cofferdam_tests::Reply {
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let body = format!("token={token}&next=%2Fconsole%2Fslots");
    served.send("POST", "/console/sign-in", &format!("{form}{headers}"), body.as_bytes())
}

const FROM_HERE: &str = "sec-fetch-site: same-origin\r\n";

#[test]
fn a_session_opens_the_console_and_nothing_else_until_it_ends() {
    let place = Place::new();
    let served = serve(&place);
    let ask = |path: &str, headers: &str| served.send("GET", path, headers, b"");
    assert_eq!(ask("/", "").expect(303).header("location"), "/console");
    let away = ask("/console/jobs?state=failed", "").expect(303);
    let back = "/console/sign-in?next=%2Fconsole%2Fjobs%3Fstate%3Dfailed";
    assert_eq!(away.header("location"), back);
    let page = ask(back, "").expect(200);
    assert!(page.text.contains("value=\"/console/jobs?state=failed\""), "{}", page.text);

    let wrong = sign_in(&served, FROM_HERE, "cfd_guessed").expect(401);
    assert!(wrong.text.contains("opens nothing") && wrong.header("set-cookie").is_empty());
    let done = sign_in(&served, FROM_HERE, &served.token).expect(303);
    assert_eq!(done.header("location"), "/console/slots");
    let cookie = done.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/console", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "there is no TLS: {cookie}");
    assert!(!cookie.contains(&served.token), "{cookie}");
    // A proxy before the server speaks TLS.
    let secure = format!("{FROM_HERE}origin: https://cofferdam.example\r\n");
    let secure = sign_in(&served, &secure, &served.token).expect(303);
    assert!(secure.header("set-cookie").contains("; Secure"), "{secure:?}");

    let brought = format!("cookie: {}\r\n", cookie.split(';').next().unwrap());
    let slots = ask("/console/slots", &brought).expect(200);
    let policy = slots.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(slots.header("cache-control"), "no-store");
    assert_eq!(slots.header("x-frame-options"), "DENY");
    served.send("GET", "/v1/jobs", &brought, b"").is_problem(401, "unauthorized", "token");

    let out = served.send("POST", "/console/sign-out", &format!("{brought}{FROM_HERE}"), b"");
    assert!(out.expect(303).header("set-cookie").contains("Max-Age=0"));
    let _ = ask("/console/slots", &brought).expect(303);
    // Who follows a page is told so, and not led to a form.
    let _ = ask("/console/slots", &format!("{brought}x-fragment: 1\r\n")).expect(401);

    let visitor = Visitor::new(&served, &served.token);
    let audit = visitor.get("/console/audit").expect(200).text;
    assert!(audit.contains("POST /console/sign-in") && audit.contains("POST /console/sign-out"));
}

#[test]
fn a_token_that_was_revoked_takes_its_sessions_with_it() {
    let place = Place::new();
    let served = serve(&place);
    let admin = Visitor::new(&served, &served.token);
    let made = admin.post("/console/tokens", "name=for+a+test&role=viewer&tenant=acme&expires=7");
    let made = Html::read(&made.expect(201).text).unwrap();
    let secret = made.0.iter().find(|e| e.get("id") == Some("fresh")).unwrap().text.clone();
    assert!(secret.starts_with("cfd_"), "{secret}");
    assert!(!admin.get("/console/tokens").expect(200).text.contains(&secret), "it is shown once");

    let viewer = Visitor::new(&served, &secret);
    let _ = viewer.get("/console/jobs").expect(200);
    // What is for others is not shown, nor done.
    let _ = viewer.get("/console/tokens").expect(403);
    assert!(!viewer.get("/console").expect(200).text.contains("Submit a job"));
    let id = served.ask("GET", "/v1/tokens", b"").expect(200).json;
    let id = id["tokens"].as_array().unwrap().iter().find(|t| t["role"] == "viewer").unwrap();
    let path = format!("/console/tokens/{}/revoke", id["id"].as_str().unwrap());
    let _ = viewer.post(&path, "").expect(403);
    assert_eq!(
        admin.post(&path, "").expect(303).header("location"),
        "/console/tokens?said=revoked"
    );
    let _ = viewer.get("/console/jobs").expect(303);
}

#[test]
fn wrong_tokens_are_counted_as_those_of_the_api() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("data")).unwrap();
    place.write("server.toml", "[limits]\nfailed_tokens_per_minute = 3\n");
    let config = place.path("server.toml").display().to_string();
    let served = Served::start(&place.path("data"), &["--config", &config]);
    for _ in 0..2 {
        let _ = sign_in(&served, FROM_HERE, "cfd_guessed").expect(401);
    }
    served.ask_with("cfd_guessed", "GET", "/v1/jobs", b"").is_problem(401, "unauthorized", "");
    let late = sign_in(&served, FROM_HERE, &served.token).expect(429);
    assert!(late.header("retry-after").parse::<u64>().unwrap() > 0);
    assert!(late.text.contains("Too many requests"), "{}", late.text);
}

#[test]
fn no_other_site_has_a_browser_change_anything() {
    let place = Place::new();
    let served = serve(&place);
    let visitor = Visitor::new(&served, &served.token);
    let host = served.address();
    for headers in [
        "sec-fetch-site: cross-site\r\n".to_owned(),
        "sec-fetch-site: same-site\r\n".to_owned(),
        "origin: https://evil.example\r\n".to_owned(),
        "origin: null\r\n".to_owned(),
        String::new(),
        format!("sec-fetch-site: cross-site\r\norigin: http://{host}\r\n"),
    ] {
        let with = format!("cookie: {}\r\n{headers}", visitor.cookie());
        let body = b"name=stolen&role=admin&all=true&expires=";
        let reply = served.send("POST", "/console/tokens", &with, body);
        assert_eq!(reply.status, 403, "{headers}: {}", reply.text);
        assert_eq!(sign_in(&served, &headers, &served.token).status, 403, "{headers}");
    }
    let tokens = served.ask("GET", "/v1/tokens", b"").expect(200).json;
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 1, "{tokens:#}");
    // An older browser says where it comes from, and nothing else.
    let old = format!("origin: http://{host}\r\n");
    let _ = sign_in(&served, &old, &served.token).expect(303);
}

#[test]
fn who_comes_from_this_machine_needs_no_token_where_that_is_configured() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("data")).unwrap();
    place.write("server.toml", "[auth]\nopen_on_loopback = true\n");
    let config = place.path("server.toml").display().to_string();
    let served = Served::start(&place.path("data"), &["--config", &config]);
    let page = served.send("GET", "/console", "", b"").expect(200);
    assert!(page.text.contains("open on loopback") && !page.text.contains("Sign out"));
    let make = |headers: &str| {
        served.send("POST", "/console/tokens", headers, b"name=x&role=viewer&expires=1").status
    };
    assert_eq!(make("sec-fetch-site: cross-site\r\n"), 403);
    assert_eq!(make(""), 403);
    assert_eq!(make(FROM_HERE), 201);
}

#[test]
fn files_of_pages_are_kept_by_browsers_and_need_no_token() {
    let place = Place::new();
    let served = serve(&place);
    let page = Html::read(&served.send("GET", "/console/sign-in", "", b"").text).unwrap();
    let files: Vec<_> =
        page.links().into_iter().filter(|link| link.starts_with("/console/assets/")).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        let found = served.send("GET", &file, "", b"").expect(200);
        assert!(found.header("cache-control").contains("immutable"), "{file}");
        let known = format!("if-none-match: {}\r\n", found.header("etag"));
        assert!(served.send("GET", &file, &known, b"").expect(304).body.is_empty());
        // Without its digest it may be another one tomorrow.
        let bare = served.send("GET", file.split('?').next().unwrap(), "", b"").expect(200);
        assert_eq!(bare.header("cache-control"), "no-cache");
    }
    let _ = served.send("GET", "/console/assets/other.css", "", b"").expect(404);
}

/// Where an address leads, as a page: what is downloaded has no elements.
fn read(path: &str, text: &str, kind: &str) -> Html {
    match kind.starts_with("text/html") {
        true => Html::read(text).unwrap_or_else(|wrong| panic!("{path}: {wrong}\n{text}")),
        false => Html::default(),
    }
}

#[test]
fn every_page_is_well_formed_and_every_link_leads_somewhere() {
    let place = Place::new();
    let scene = Scene::new(&place, &[]);
    let visitor = Visitor::new(&scene.served, &scene.served.token);
    let mut left: Vec<String> = scene.pages().into_iter().map(|(_, path)| path).collect();
    let mut seen: BTreeSet<String> = left.iter().cloned().collect();
    let known = left.len();
    while let Some(path) = left.pop() {
        let reply = visitor.get(&path);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        let page = read(&path, &reply.text, reply.header("content-type"));
        if !page.0.is_empty() {
            assert_eq!(page.faults(), Vec::<String>::new(), "{path}");
        }
        for link in page.links() {
            if seen.insert(link.clone()) {
                left.push(link);
            }
        }
        assert!(seen.len() < 400, "pages lead to pages without end: {seen:#?}");
    }
    let capsule = format!("/console/jobs/{}/capsules/{}", scene.broken, scene.capsule());
    assert!(seen.contains(&capsule), "{seen:#?}");
    assert!(seen.len() > known + 10, "{seen:#?}");
    // A fragment is what is in the page, and no more.
    let headers = format!("cookie: {}\r\nx-fragment: 1\r\n", visitor.cookie());
    let path = format!("/console/jobs/{}", scene.orders);
    let fragment = scene.served.send("GET", &path, &headers, b"").expect(200).text;
    assert!(fragment.starts_with("<main") && fragment.ends_with("</main>"), "{fragment}");
}

#[test]
fn another_tenants_pages_are_not_there_and_nothing_of_them_is_shown() {
    let place = Place::new();
    let scene = Scene::new(&place, &[]);
    let mallory = Visitor::new(&scene.served, &scene.token(Some("mallory"), "admin"));
    let owner = Visitor::new(&scene.served, &scene.token(Some("acme"), "admin"));
    let before = scene.served.ask("GET", "/v1/jobs?tenant=acme", b"").expect(200).json;
    for (name, path) in scene.pages() {
        let theirs = mallory.get(&path);
        let is_acmes =
            path.contains("acme") || path.starts_with("/console/jobs/") && name != "submit";
        // A form to be filled in is nobody's, and what is sent with it is refused.
        let form = ["upload", "submit", "tenant-new"].contains(&name);
        let wanted = if form {
            [200, 404]
        } else if is_acmes {
            [404, 404]
        } else {
            [200, 200]
        };
        let wanted = if name == "tenant-new" { [404, 404] } else { wanted };
        assert!(wanted.contains(&theirs.status), "{path}: {}", theirs.status);
        for secret in ["orders", "flights", "brittle", "counted", &scene.orders] {
            let said = theirs.text.replace(&path, "");
            assert!(
                !said.contains(secret) || said.to_lowercase().contains("there is no"),
                "{path}: {secret}"
            );
        }
        let own = owner.get(&path).status;
        let not_acmes = name == "tenant-new" || path.contains("mallory");
        assert_eq!(own, if not_acmes { 404 } else { 200 }, "{path}");
    }
    let of = |rest: &str| format!("/console/jobs/{}{rest}", scene.orders);
    for (path, form) in [
        (of("/cancel"), ""),
        (of("/stop"), "savepoint=mine"),
        (of("/rescale"), "parallelism=1"),
        (of("/checkpoints"), ""),
        (of("/savepoints"), "savepoint=mine"),
        (of("/savepoints/before-lunch/delete"), ""),
        (of("/restart"), ""),
        (of("/delete"), ""),
        ("/console/artifacts/count/2/try?tenant=acme".to_owned(), "lines=1"),
        ("/console/artifacts/count/2/tag?tenant=acme".to_owned(), "tag=mine"),
        ("/console/artifacts/count/1/delete?tenant=acme".to_owned(), ""),
        ("/console/artifacts/count/1/delete".to_owned(), ""),
    ] {
        assert_eq!(mallory.post(&path, form).status, 404, "{path}");
    }
    assert_eq!(mallory.post("/console/slots", "slot=0&do=drain").status, 403);
    assert_eq!(mallory.post("/console/tenants/mallory", "slots=100").status, 403);
    let capsule = format!("/console/jobs/{}/capsules/{}", scene.broken, scene.capsule());
    assert_eq!(mallory.get(&capsule).status, 404);
    let upload = [("tenant", "acme"), ("name", "count"), ("version", "3")];
    let refused = mallory.upload(&upload, &operator("count"));
    assert!(
        refused.status == 404 && refused.text.contains("there is no tenant")
            || refused.text.contains("There is no tenant"),
        "{}",
        refused.text
    );
    let job = mallory.post("/console/jobs/new", "tenant=acme&file=%5Bjob%5D");
    assert!(job.status == 404 || job.status == 422, "{}", job.status);
    let states = |jobs: &Value| -> Vec<String> {
        jobs["jobs"].as_array().unwrap().iter().map(|job| job["state"].to_string()).collect()
    };
    let after = scene.served.ask("GET", "/v1/jobs?tenant=acme", b"").expect(200).json;
    assert_eq!(states(&before), states(&after));
}

#[test]
fn what_operators_log_and_what_goes_by_is_shown_to_whoever_may_see_it() {
    let place = Place::new();
    let scene = Scene::new(&place, &[]);
    let author = Visitor::new(&scene.served, &scene.token(Some("acme"), "author"));
    let viewer = Visitor::new(&scene.served, &scene.token(Some("acme"), "viewer"));
    let logs = format!("/console/jobs/{}/logs", scene.broken);
    let page = viewer.get(&logs).expect(200).text;
    assert!(page.contains("trap_at = 40") && page.contains("brittle"), "{page}");
    let none = viewer.get(&format!("{logs}?operator=nobody")).expect(200).text;
    assert!(none.contains("No line is like that."), "{none}");
    assert_eq!(viewer.get(&format!("{logs}?level=loud")).status, 400);

    let tail = format!("/console/jobs/{}/tail", scene.orders);
    let records = author.get(&format!("{tail}?vertex=copied")).expect(200).text;
    assert!(records.contains("Samples of ") && records.contains("Event time"), "{records}");
    let hidden = viewer.get(&format!("{tail}?vertex=copied")).expect(200).text;
    assert!(hidden.contains("token of role author") && !hidden.contains("Samples of "), "{hidden}");
    assert_eq!(author.get(&format!("{tail}?vertex=nobody")).status, 404);
    let ended = author.get(&format!("/console/jobs/{}/tail?vertex=x", scene.flights));
    assert!(ended.expect(200).text.contains("The job has ended"));
}

#[test]
fn what_is_done_on_pages_is_done_and_what_is_refused_is_told() {
    let place = Place::new();
    let scene = Scene::new(&place, &[]);
    let visitor = Visitor::new(&scene.served, &scene.served.token);
    let job = format!("/console/jobs/{}", scene.orders);
    let to = |reply: cofferdam_tests::Reply| reply.expect(303).header("location").to_owned();

    // A job: a checkpoint, another parallelism, a stop with a savepoint, a restart, an end.
    let said = to(visitor.post(&format!("{job}/checkpoints"), ""));
    assert_eq!(said, format!("{job}/checkpoints?said=checkpoint"));
    assert!(visitor.get(&said).expect(200).text.contains("A checkpoint was taken."));
    let rescaled = visitor.post(&format!("{job}/rescale"), "operator=counted&parallelism=1");
    assert_eq!(to(rescaled), format!("{job}?said=rescaled"));
    let none = visitor.post(&format!("{job}/rescale"), "operator=&parallelism=many").expect(400);
    assert!(none.text.contains("whole number"), "{}", none.text);
    let stopped = to(visitor.post(&format!("{job}/stop"), "savepoint=the-end"));
    assert!(stopped.ends_with("?said=stopped"), "{stopped}");
    let page = visitor.get(&job).expect(200).text;
    assert!(page.contains("Stopped with savepoint") && page.contains("Restart the job"), "{page}");
    assert_eq!(visitor.post(&format!("{job}/cancel"), "").status, 409);
    assert_eq!(to(visitor.post(&format!("{job}/restart"), "")), format!("{job}?said=restarted"));
    let gone = format!("{job}/savepoints/before-lunch/delete");
    assert_eq!(to(visitor.post(&gone, "")), format!("{job}/checkpoints?said=deleted"));
    assert_eq!(to(visitor.post(&format!("{job}/cancel"), "")), format!("{job}?said=cancelling"));
    let api = format!("/v1/jobs/{}", scene.orders);
    let _ = scene.served.until(&api, "cancelled", |job| job["state"] == "cancelled");
    assert_eq!(to(visitor.post(&format!("{job}/delete"), "")), "/console/jobs?said=deleted");
    assert_eq!(visitor.get(&job).status, 404);

    // An operator: refused with its reason, taken, tagged, deleted.
    let fields = [("tenant", "acme"), ("name", "broken"), ("version", "1")];
    let refused = visitor.upload(&fields, b"\0asm no component at all").expect(422);
    let page = Html::read(&refused.text).unwrap();
    let reason = &page.0.iter().find(|e| e.get("id") == Some("refused")).unwrap().text;
    assert!(reason.contains("It was not taken. The artifact is refused: "), "{reason}");
    let name = page.named("input").find(|input| input.get("name") == Some("name"));
    assert_eq!(name.unwrap().get("value"), Some("broken"), "what was filled in stays");
    let fields = [("tenant", "acme"), ("name", "mine"), ("version", "1")];
    let taken = "/console/artifacts/mine/1?tenant=acme";
    let count = operator("count");
    assert_eq!(to(visitor.upload(&fields, &count)), format!("{taken}&said=uploaded"));
    assert_eq!(to(visitor.upload(&fields, &count)), format!("{taken}&said=known"));
    let other = visitor.upload(&fields, &operator("identity")).expect(409);
    assert!(other.text.contains("never changed"), "{}", other.text);
    let tag = visitor.post("/console/artifacts/mine/1/tag?tenant=acme", "tag=stable");
    assert_eq!(to(tag), format!("{taken}&said=tagged"));
    let deleted = visitor.post("/console/artifacts/mine/1/delete?tenant=acme", "");
    assert_eq!(to(deleted), "/console/artifacts?tenant=acme&said=deleted");

    // The playground: what an operator makes of records, and what it fails with.
    let lines = "%7B%22k%22%3A%22a%22%7D%0D%0A%7B%22k%22%3A%22a%22%7D%0D%0A%7B%22k%22%3A%22b%22%7D";
    let path = "/console/artifacts/count/2/try?tenant=acme";
    let tried = visitor.post(path, &format!("lines={lines}&key=k")).expect(200);
    let page = Html::read(&tried.text).unwrap();
    assert_eq!(page.faults(), Vec::<String>::new());
    let outcome = &page.0.iter().find(|e| e.get("id") == Some("outcome")).unwrap().text;
    assert_eq!(outcome, "It took all records.");
    let cells: Vec<_> = page.named("td").map(|cell| cell.text.as_str()).collect();
    assert!(cells.contains(&"a") && cells.contains(&"b"), "{cells:?}");
    assert!(page.named("textarea").next().unwrap().text.starts_with("{\"k\":\"a\"}\n"));
    let path = "/console/artifacts/crasher/1/try?tenant=acme";
    let crashed = visitor.post(
        path,
        &format!("lines={lines}&settings=%7B%22config%22%3A%7B%22trap_at%22%3A1%7D%7D"),
    );
    let page = Html::read(&crashed.expect(200).text).unwrap();
    assert!(page.named("pre").any(|pre| pre.text.contains("trap_at = 1")), "{page:?}");
    let wrong = visitor.post(path, &format!("lines={lines}&settings=none")).expect(400);
    assert!(wrong.text.contains("must be a JSON object"), "{}", wrong.text);

    // A job file: mistakes with their lines, and what was written stays.
    let file = "tenant=acme&file=%5Bjob%5D%0D%0Aname+%3D+%22x%22%0D%0Aparalelism+%3D+2%0D%0A";
    let refused = visitor.post("/console/jobs/new", file).expect(422);
    let page = Html::read(&refused.text).unwrap();
    assert!(page.named("pre").any(|pre| pre.text.contains("did you mean `parallelism`")));
    assert!(page.named("textarea").next().unwrap().text.contains("paralelism = 2"));
    let good = "[job]\nname = \"short\"\n[[source]]\nname = \"in\"\nconnector = \"generator\"\nrecords = 10\n\
                [[sink]]\nname = \"out\"\ninput = \"in\"\nconnector = \"discard\"\n";
    let encoded: String = good.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let taken = to(visitor.post("/console/jobs/new", &format!("tenant=acme&file={encoded}")));
    assert!(visitor.get(&taken).expect(200).text.contains("The job was taken."), "{taken}");

    // Quotas and slots.
    let set = visitor
        .post("/console/tenants/payments", "slots=8&memory=1GiB&cpu_cap_percent=50&grants=log");
    assert_eq!(to(set), "/console/tenants/payments?said=saved");
    let tenant = scene.served.ask("GET", "/v1/tenants/payments", b"").expect(200).json;
    assert_eq!((&tenant["slots"], &tenant["memory"]), (&8.into(), &(1_u64 << 30).into()));
    let bad = visitor.post("/console/tenants/payments", "memory=much").expect(400);
    assert!(bad.text.contains("must be a size"), "{}", bad.text);
    assert_eq!(
        to(visitor.post("/console/slots", "slot=47&do=drain")),
        "/console/slots?said=drained"
    );
    assert!(visitor.get("/console/slots").expect(200).text.contains("drained"));
    assert_eq!(
        to(visitor.post("/console/slots", "slot=47&do=restore")),
        "/console/slots?said=restored"
    );
    let audit = visitor.get("/console/audit").expect(200).text;
    for call in ["POST /console/slots", "POST /console/artifacts/new", "POST /console/jobs/new"] {
        assert!(audit.contains(call), "{call}");
    }
}

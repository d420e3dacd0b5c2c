//! The OpenAPI document held to a live server by schemathesis: it walks every operation with what
//! the document says may be sent, and with what it says may not; no answer is the server's fault, and
//! each is what the document says. `cargo xtask ci --only contract` installs schemathesis and runs this;
//! without it, this says that it was skipped.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use cofferdam_tests::{
    Place, Served, guests,
    jobs::{CRASHING, DISCARDING, crashing_records},
    repository,
};

/// What is asked of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";
/// The same requests every time.
const SEED: &str = "20261122";
/// How many requests of each operation are made up, besides those that its description asks for.
const EXAMPLES: &str = "10";

/// The program, where it is installed.
fn schemathesis() -> Option<PathBuf> {
    let found = std::env::var_os("COFFERDAM_SCHEMATHESIS").map(PathBuf::from);
    if found.is_none() {
        eprintln!("skipped: no schemathesis here; `cargo xtask ci --only contract` installs it");
    }
    found
}

/// A server with a bit of everything, that is asked as often as wanted.
fn serve(place: &Place) -> (Served, String) {
    let limits = "[limits]\nrequests_per_second = 100000\nburst = 100000\n";
    let served = Served::of_tenants(place, &["acme"], limits);
    served.push("acme", "identity", "1");
    served.push("acme", "fragile", "1");
    let tag = "/v1/artifacts/identity/tags/stable?tenant=acme";
    let _ = served.ask("PUT", tag, br#"{"version":"1"}"#).expect(200);
    let job = served.submit("acme", DISCARDING);
    let _ = served.until_state(&job, "running");
    let _ = served.ask("POST", &format!("{job}/checkpoints"), b"").expect(200);
    let _ = served.ask("PUT", &format!("{job}/savepoints/first"), b"").expect(202);
    fs::write(served.home("acme").join("in.jsonl"), crashing_records()).unwrap();
    let crashed = served.submit("acme", CRASHING);
    let _ = served.until_state(&crashed, "failed");
    (served, job)
}

/// Has schemathesis ask a server, with a configuration and options. It ends well, or this fails with
/// all that it said.
fn walk(
    program: &PathBuf,
    place: &Place,
    served: &Served,
    token: &str,
    config: &str,
    options: &[&str],
) {
    place.write("st/schemathesis.toml", config);
    place.write("st/job.toml", DISCARDING);
    place.write("st/lines.jsonl", "{\"n\":1}\n{\"n\":2}\n");
    fs::copy(guests().join("identity.wasm"), place.path("st/component.wasm")).unwrap();
    let document = served.ask("GET", "/v1/openapi.json", b"").expect(200);
    place.write("st/openapi.json", document.text);
    let mut command = Command::new(program);
    command
        .current_dir(place.path("st"))
        .env("COFFERDAM_CONTRACT", place.path("st"))
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", repository().join("tests/contract"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_COLOR", "1")
        .args(["run", "openapi.json", "--url", &format!("http://{}", served.address())])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", EXAMPLES, "--seed", SEED, "--generation-database", "none"])
        .args(["--request-timeout", "35", "--continue-on-failure", "--no-shrink"])
        .args(["--warnings", "off", "--suppress-health-check", "all", "--workers", "1"])
        .args(options)
        .stdin(Stdio::null());
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let generated = said.lines().find_map(|line| line.split_once(" generated,"));
    let generated = generated.and_then(|(count, _)| count.trim().parse::<u32>().ok());
    assert!(generated > Some(1_000), "it has asked little: {said}");
}

#[test]
fn whoever_may_do_everything_is_answered_as_the_document_says() {
    let Some(program) = schemathesis() else { return };
    let place = Place::new();
    fs::create_dir(place.path("st")).unwrap();
    let (served, job) = serve(&place);
    let token = served.token.clone();
    // What is there, so that more is answered than that there is none.
    let id = &job["/v1/jobs/".len()..];
    let config = format!(
        "[parameters]\n\"path.id\" = \"{id}\"\n\"path.name\" = \"identity\"\n\"path.operator\" = \"copied\"\n\
         \"path.checkpoint\" = 1\n\"path.slot\" = 0\n\"query.tenant\" = \"acme\"\n"
    );
    // It would end the job, take the door away that it came in by, or what is asked for; or it
    // goes on for as long as the job, which the other walk ends.
    let without = [
        "cancelJob",
        "stopJob",
        "deleteJob",
        "revokeToken",
        "deleteTenant",
        "deleteVersion",
        "deleteSavepoint",
        "tailVertex",
        "showLogs",
    ];
    let options: Vec<&str> =
        without.iter().flat_map(|operation| ["--exclude-operation-id", *operation]).collect();
    walk(&program, &place, &served, &token, &config, &options);
    let state = served.ask("GET", &job, b"").expect(200).json["state"].clone();
    assert_eq!(state, "running", "what was asked of it has not ended it");
    // Some of what was made up meant something.
    let jobs = served.ask("GET", "/v1/jobs?tenant=acme", b"").expect(200).json;
    assert!(jobs["jobs"].as_array().unwrap().len() > 2, "no job file was taken");
}

#[test]
fn a_tenant_who_makes_everything_up_is_answered_as_the_document_says() {
    let Some(program) = schemathesis() else { return };
    let place = Place::new();
    fs::create_dir(place.path("st")).unwrap();
    let (served, _) = serve(&place);
    // What makes tokens could take its own away.
    let token = served.token("acme", "operator");
    walk(&program, &place, &served, &token, "", &[]);
    // It is as well as before; the tenant's jobs may be gone, by what it has read of them.
    let ready = served.ask("GET", "/readyz", b"").expect(200).json;
    assert_eq!(ready["status"], "ready");
}

//! The operators that come with the program, and `expr` among them: every tenant of a server has
//! them without an upload, none can change them, and a job goes on with the one that it was given.
//! What expressions are is tested beside the operator itself.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{fs, path::Path};

use cofferdam_tests::{Place, Reply, Served, guests, program};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The version of all that comes with the program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

const FLIGHTS: &str = "{\"carrier\":\"UA\",\"delay\":20}\n{\"carrier\":\"AA\",\"delay\":3}\n";

/// A job that reads `in.jsonl` and writes what an operator makes of it to `out.jsonl`.
fn job(name: &str, operator: &str) -> String {
    format!(
        "[job]\nname = \"{name}\"\n[[source]]\nname = \"flights\"\nconnector = \"jsonl\"\n\
         path = \"in.jsonl\"\n[[operator]]\nname = \"late\"\ninput = \"flights\"\n{operator}\n\
         [[sink]]\nname = \"out\"\ninput = \"late\"\nconnector = \"jsonl\"\npath = \"{name}.jsonl\"\n"
    )
}

/// A job that goes on until it is ended.
fn endless(operator: &str) -> String {
    format!(
        "[job]\nname = \"endless\"\n[checkpoints]\ninterval = \"20ms\"\n[[source]]\nname = \"in\"\n\
         connector = \"generator\"\nrate = 1000\n[[operator]]\nname = \"late\"\ninput = \"in\"\n\
         {operator}\n[[sink]]\nname = \"out\"\ninput = \"late\"\nconnector = \"discard\"\n"
    )
}

const BY_NAME: &str = "artifact = \"expr\"\nconfig = { filter = \"record.delay > 15\" }";
const IN_SHORT: &str = "expr = { filter = \"record.delay > 15\" }";

fn component(name: &str) -> Vec<u8> {
    fs::read(guests().join(format!("{name}.wasm"))).unwrap()
}

fn digest(bytes: &[u8]) -> String {
    let digits: Vec<_> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

/// The same component with other bytes: a custom section is no part of what runs.
fn variant(bytes: &[u8], name: u8) -> Vec<u8> {
    [bytes, &[0, 2, 1, name]].concat()
}

/// The files of a directory that end like this.
fn files(dir: &Path, ending: &str) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(ending)).collect();
    names.sort();
    names
}

fn finished(served: &Served, job: &str) -> Value {
    served.until_state(job, "finished")
}

fn upload(served: &Served, path: &str, bytes: &[u8]) -> Reply {
    served.ask("PUT", &format!("/v1/artifacts/{path}"), bytes)
}

#[test]
fn every_tenant_has_the_operators_of_the_shelf_without_an_upload_and_shares_one_of_each() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme", "globex"], "");
    for tenant in ["acme", "globex"] {
        let viewer = served.token(tenant, "viewer");
        let all = served.ask_with(&viewer, "GET", "/v1/artifacts", b"").expect(200).json;
        let all = all["artifacts"].as_array().unwrap().clone();
        let names: Vec<_> = all.iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"expr") && names.contains(&"window-stats"), "{names:?}");
        assert!(!names.contains(&"hoard"), "a guest of tests comes with the program: {names:?}");
        assert!(all.iter().all(|one| one["built_in"] == true && one["tenant"] == tenant));
        assert!(all.iter().all(|one| one["about"].as_str().is_some_and(|about| about.len() > 10)));

        fs::write(served.home(tenant).join("in.jsonl"), FLIGHTS).unwrap();
        for (name, operator) in [("named", BY_NAME), ("short", IN_SHORT)] {
            let at = served.submit(tenant, &job(name, operator));
            let ended = finished(&served, &at);
            assert_eq!(ended["artifacts"]["late"], format!("expr@{VERSION}"));
            let out = fs::read_to_string(served.home(tenant).join(format!("{name}.jsonl")));
            assert_eq!(
                out.unwrap().lines().collect::<Vec<_>>(),
                FLIGHTS.lines().collect::<Vec<_>>()[..1]
            );
            let plan = served.ask("GET", &format!("{at}/plan"), b"").expect(200).json;
            assert_eq!(plan["vertices"][1]["expressions"], json!(["filter = record.delay > 15"]));
        }
    }
    // One file for all of them, and one piece of compiled code.
    let expected = digest(&component("expr"));
    assert_eq!(files(&place.path("data/artifacts"), ""), [format!("sha256-{expected}.wasm")]);
    let compiled = fs::read_dir(place.path("data/compiled")).unwrap().next().unwrap().unwrap();
    assert_eq!(files(&compiled.path(), ""), [format!("{expected}.cwasm")]);
}

#[test]
fn what_is_known_of_an_operator_of_the_program_is_what_an_upload_would_have_found() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme"], "");
    for name in ["expr", "count", "sessionize"] {
        let path = format!("{name}/versions/{VERSION}?tenant=acme");
        let theirs = served.ask("GET", &format!("/v1/artifacts/{path}"), b"").expect(200).json;
        let copy = upload(
            &served,
            "copy/versions/of-NAME?tenant=acme".replace("NAME", name).as_str(),
            &component(name),
        );
        let copy = copy.expect(201).json;
        for known in ["inspection", "digest", "size"] {
            assert_eq!(theirs[known], copy[known], "{name}");
        }
        assert_eq!((&theirs["built_in"], &copy["built_in"]), (&json!(true), &json!(false)));
    }
}

#[test]
fn nobody_can_delete_replace_or_tag_what_comes_with_the_program() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme"], "");
    let version = format!("/v1/artifacts/expr/versions/{VERSION}?tenant=acme");
    let before = served.ask("GET", &version, b"").expect(200).json;
    for force in ["", "&force=true"] {
        let deleted = served.ask("DELETE", &format!("{version}{force}"), b"");
        deleted.is_problem(409, "conflict", "comes with the program");
    }
    served.ask("PUT", &version, &component("identity")).is_problem(409, "conflict", "of your own");
    let target = json!({"version": VERSION}).to_string();
    let tag = served.ask("PUT", "/v1/artifacts/expr/tags/mine?tenant=acme", target.as_bytes());
    tag.is_problem(409, "conflict", "comes with the program");
    // The same bytes again are no mistake, as for any version.
    let same = served.ask("PUT", &version, &component("expr")).expect(200).json;
    assert_eq!((&same, &same["built_in"]), (&before, &json!(true)));
    assert_eq!(served.ask("GET", &version, b"").expect(200).json, before);
}

#[test]
fn what_a_tenant_uploads_under_such_a_name_goes_first_for_it_alone_and_that_is_said() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme", "globex"], "");
    let own = upload(&served, "expr/versions/1?tenant=acme", &component("identity")).expect(201);
    assert_eq!(own.json["hides_built_in"], true, "{:#}", own.json);
    let runs = |tenant: &str, name: &str, operator: &str| {
        fs::write(served.home(tenant).join("in.jsonl"), FLIGHTS).unwrap();
        let at = served.submit(tenant, &job(name, operator));
        finished(&served, &at)["artifacts"]["late"].clone()
    };
    let of_program = format!("expr@{VERSION}");
    let by_version = BY_NAME.replace("\"expr\"", &format!("\"{of_program}\""));
    assert_eq!(runs("acme", "a", "artifact = \"expr\""), "expr@1");
    assert_eq!(runs("acme", "c", &by_version), of_program.as_str());
    assert_eq!(runs("acme", "d", IN_SHORT), of_program.as_str());
    assert_eq!(runs("globex", "e", BY_NAME), of_program.as_str());
    let shown = served.ask("GET", "/v1/artifacts/expr?tenant=acme", b"").expect(200).json;
    let versions: Vec<_> = shown["versions"].as_array().unwrap().iter().collect();
    let is_theirs: Vec<_> = versions.iter().map(|one| one["built_in"] == true).collect();
    assert_eq!((is_theirs, &shown["built_in"]), (vec![true, false], &json!(false)));
    let theirs = served.ask("GET", "/v1/artifacts/expr?tenant=globex", b"").expect(200).json;
    assert_eq!(
        (&theirs["built_in"], theirs["versions"].as_array().unwrap().len()),
        (&json!(true), 1)
    );
    // Once it is gone, that of the program is there again.
    let _ = served.ask("DELETE", "/v1/artifacts/expr/versions/1?tenant=acme", b"").expect(204);
    assert_eq!(runs("acme", "f", BY_NAME), of_program.as_str());
}

#[test]
fn a_tenant_that_takes_signed_artifacts_only_has_what_comes_with_the_program() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme"], "");
    served.push("acme", "identity", "1");
    let strict = json!({"require_signatures": true}).to_string();
    let _ = served.ask("PUT", "/v1/tenants/acme", strict.as_bytes()).expect(200);
    let unsigned = endless("artifact = \"identity\"");
    let refused = served.ask("POST", "/v1/jobs?tenant=acme", unsigned.as_bytes());
    refused.is_problem(422, "job-file", "is not signed");
    let at = served.submit("acme", &endless("expr = { filter = \"true\" }"));
    let _ = served.until_state(&at, "running");
    let tried = json!({"records": [{"value": "{\"delay\":20}"}], "operator": {"config": {"filter": "true"}}});
    let path = format!("/v1/artifacts/expr/versions/{VERSION}/try?tenant=acme");
    let _ = served.ask("POST", &path, tried.to_string().as_bytes()).expect(200);
}

/// A folder with another `expr`, as a release brings it.
fn release(place: &Place, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let dir = place.path(name);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("expr.wasm"), bytes).unwrap();
    let listed = json!([{
        "name": "expr", "file": "expr.wasm", "sha256": digest(bytes), "size": bytes.len(),
        "module_sha256": "", "shelf": true, "about": "Evaluates expressions",
    }]);
    fs::write(dir.join("index.json"), listed.to_string()).unwrap();
    dir
}

#[test]
fn a_job_goes_on_with_the_operator_that_it_was_given_when_the_program_comes_with_another() {
    let place = Place::new();
    let data = place.path("data");
    let (old, new) = (variant(&component("expr"), b'a'), variant(&component("expr"), b'b'));
    let start = |release: &Path| {
        let mut program = program();
        program.env("COFFERDAM_ARTIFACTS", release);
        Served::start_program(program, &data, &[])
    };
    let version = format!("/v1/artifacts/expr/versions/{VERSION}");
    let digest_of =
        |served: &Served| served.ask("GET", &version, b"").expect(200).json["digest"].clone();
    let blob = |bytes: &[u8]| data.join(format!("artifacts/sha256-{}.wasm", digest(bytes)));

    let served = start(&release(&place, "old", &old));
    assert_eq!(digest_of(&served), format!("sha256-{}", digest(&old)));
    let at = served.submit("default", &endless("expr = { filter = \"true\" }"));
    let done = |job: &Value| job["status"]["checkpoints"]["completed"].as_u64() > Some(0);
    let _ = served.until(&at, "a checkpoint", done);
    served.kill();

    let served = start(&release(&place, "new", &new));
    assert_eq!(digest_of(&served), format!("sha256-{}", digest(&new)));
    let seen = served.until_state(&at, "running");
    assert!(seen["status"]["checkpoints"]["resumed_from"].as_u64() > Some(0), "{seen:#}");
    assert_eq!(seen["conditions"], json!([]));
    assert!(blob(&old).is_file() && !blob(&new).exists());
    // One that comes now gets the new one; the old one can still be stopped and started again.
    let next = served.submit("default", &endless("expr = { filter = \"true\" }"));
    let _ = served.until_state(&next, "running");
    assert!(blob(&new).is_file());
    let _ = served.ask("POST", &format!("{at}/stop"), b"").expect(200);
    served.kill();
    let served = start(&place.path("new"));
    let _ = served.ask("POST", &format!("{at}/restart"), b"").expect(202);
    let _ = served.until_state(&at, "running");
    // What nobody needs any more goes with the next start.
    let _ = served.ask("POST", &format!("{at}/cancel"), b"").expect(202);
    let _ = served.until_state(&at, "cancelled");
    let _ = served.ask("DELETE", &at, b"").expect(204);
    let _ = served.until_state(&next, "running");
    served.kill();
    let served = start(&place.path("new"));
    let _ = served.until_state(&next, "running");
    assert!(!blob(&old).exists() && blob(&new).is_file());
}

#[test]
fn a_mistake_in_an_expression_is_told_with_its_line_before_the_job_is_taken() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme"], "");
    fs::write(served.home("acme").join("in.jsonl"), FLIGHTS).unwrap();
    for (operator, said, line) in [
        ("expr = { filter = \"record.delay >\" }", "at character 15", 10),
        ("expr = { filter = \"recrod.delay > 1\" }", "there is no `recrod`", 10),
        ("expr = { filter = \"lower(record.a) == 'x'\" }", "no function `lower`", 10),
        ("expr = { fliter = \"true\" }", "did you mean `filter`?", 10),
        ("[operator.expr]\nset.hours = \"1\"\nset.late = \"record.delay +\"", "`set.late`", 12),
        ("expr = \"record.delay > 1\"", "must be a table", 10),
        ("artifact = \"expr\"\nexpr = { filter = \"true\" }", "has both `artifact` and `expr`", 11),
    ] {
        let reply = served.ask("POST", "/v1/jobs?tenant=acme", job("bad", operator).as_bytes());
        reply.is_problem(422, "job-file", said);
        let at: Vec<_> =
            reply.json["errors"].as_array().unwrap().iter().map(|e| e["line"].clone()).collect();
        assert_eq!(at, [json!(line)], "{operator}: {:#}", reply.json);
    }
}

#[test]
fn a_job_file_with_expressions_runs_without_a_server_and_the_check_shows_them() {
    let place = Place::new();
    place.write("in.jsonl", FLIGHTS);
    let two = "[operator.expr]\nset.hours = \"double(record.delay) / 60.0\"\ndrop = [\"delay\"]";
    place.write("job.toml", job("out", two));
    let run = |verb: &[&str]| {
        let mut program = program();
        program.args(verb).arg(place.path("job.toml")).env("COFFERDAM_ARTIFACTS", guests());
        let ended = program.output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    };
    let shown = run(&["job", "check"]);
    for line in ["set.hours = double(record.delay) / 60.0", "drop = delay"] {
        assert!(shown.lines().any(|shown| shown.trim() == line), "`{line}` is not in {shown}");
    }
    let _ = run(&["run"]);
    let out = fs::read_to_string(place.path("out.jsonl")).unwrap();
    let mut lines = out.lines();
    assert!(lines.next().unwrap().starts_with("{\"carrier\":\"UA\",\"hours\":0.333"));
    assert_eq!(lines.next(), Some("{\"carrier\":\"AA\",\"hours\":0.05}"));
}

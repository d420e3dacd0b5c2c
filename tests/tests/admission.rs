//! What is no operator, or asks for more than it was granted, is refused before
//! anything runs, with the reason.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::fs;

use cofferdam_tests::{
    Ended, Place, program,
    zoo::{Guest, component, of_other_types},
};

const JOB: &str = r#"
[job]
name = "refused"

[[source]]
name = "lines"
connector = "generator"
records = 10

[[operator]]
name = "upload"
artifact = "./upload.wasm"
input = "lines"

[[sink]]
name = "out"
input = "upload"
connector = "discard"
"#;

fn run(upload: &[u8]) -> Ended {
    let place = Place::new();
    place.write("upload.wasm", upload);
    place.run_job(JOB, &[])
}

#[test]
fn functions_of_other_types_than_the_contract_says_are_refused() {
    run(&of_other_types()).failed(2, &["`upload`", "does not fit the contract", "+ open: func()"]);
}

#[test]
fn an_import_that_was_not_granted_is_refused_by_its_name() {
    let reaching_out = Guest {
        world: "reaching-out".into(),
        wit: vec![
            "package wasi:sockets@0.2.0; interface tcp { f: func(); }".into(),
            "package zoo:reaching-out; world reaching-out {
                import wasi:sockets/tcp@0.2.0;
                export cofferdam:operator/processor@0.1.0; }"
                .into(),
        ],
        imports: r#"(import "wasi:sockets/tcp@0.2.0" "f" (func $f))"#.into(),
        ..Guest::processing("(call $f) (i32.const 16)")
    };
    let ended = run(&reaching_out.build());
    ended.failed(2, &["operator `upload`", "wasi:sockets/tcp@0.2.0", "not granted"]);
}

#[test]
fn a_grant_that_was_taken_away_is_missed_by_its_name() {
    let place = Place::new();
    let job = JOB.replace("\"./upload.wasm\"", "\"crasher\"\ngrants = [\"log\"]");
    place.run_job(&job, &[]).failed(2, &["cofferdam:operator/config@", "not granted"]);
}

#[test]
fn a_component_that_exports_no_operator_is_refused() {
    run(&component("(component)")).failed(2, &["it must export either", "processor"]);
}

#[test]
fn a_core_module_is_refused_as_one() {
    run(&wat::parse_str("(module)").unwrap()).failed(2, &["core module"]);
}

#[test]
fn what_is_no_wasm_at_all_is_refused() {
    run(b"#!/bin/sh\necho hello\n").failed(2, &["not a WebAssembly component"]);
    run(b"").failed(2, &["not a WebAssembly component"]);
}

#[test]
fn a_damaged_component_is_refused() {
    let place = Place::new();
    let artifact = cofferdam_tests::guests().join("copy.wasm");
    let whole = fs::read(artifact).unwrap();
    place.write("upload.wasm", &whole[..whole.len() / 2]);
    place.run_job(JOB, &[]).failed(2, &["operator `upload`", "not valid WebAssembly"]);
}

#[test]
fn an_oversized_file_is_refused_by_its_size() {
    let place = Place::new();
    let file = fs::File::create(place.path("upload.wasm")).unwrap();
    // Sparse: takes no room on the disk.
    file.set_len((64 << 20) + 1).unwrap();
    place.run_job(JOB, &[]).failed(2, &["67108865 bytes", "more than the 67108864"]);
}

#[test]
fn a_missing_operator_is_told_with_a_suggestion() {
    let place = Place::new();
    let missing = JOB.replace("./upload.wasm", "dedup");
    place.run_job(&missing, &[]).failed(2, &["no operator `dedup`", "did you mean `dedupe`?"]);
    place.run_job(JOB, &[]).failed(2, &["cannot be read", "upload.wasm", "job.toml:12"]);
}

#[test]
fn too_few_slots_are_refused_with_the_number_needed() {
    let place = Place::new();
    let job = JOB.replace("./upload.wasm", "copy").replace("\"refused\"", "\"r\"\nparallelism = 4");
    place.run_job(&job, &["--slots", "3"]).failed(2, &["needs 4 slots", "there are 3"]);
    let _ = place.run_job(&job, &["--slots", "4"]).finished();
}

#[test]
fn a_mistake_in_the_job_file_is_told_with_its_line() {
    let place = Place::new();
    place.write("upload.wasm", "");
    place.write("job.toml", JOB.replace("records = 10", "recrods = 10"));
    let output = program().arg("run").arg(place.path("job.toml")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("job.toml:8") && said.contains("did you mean `records`"), "{said}");
}

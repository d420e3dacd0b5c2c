//! The SDK of Python, without WebAssembly: its own tests, those of its operators, and a wheel of it.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{fs, process::Command};

use cofferdam_tests::{
    Place,
    authoring::{has, operator, path, project, said},
    repository,
};

fn python(dir: &std::path::Path, args: &[&str]) -> std::process::Output {
    // What is compiled beforehand would be left in the repository.
    Command::new("python3")
        .args(args)
        .current_dir(dir)
        .env("PATH", path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap()
}

#[test]
fn the_sdk_and_its_operators_pass_their_own_tests() {
    if !has(&["python3"]) {
        return;
    }
    let sdk = repository().join("guest-sdk/python");
    let ran = python(&sdk, &["-W", "error", "-m", "unittest", "discover", "-s", "tests"]);
    assert!(ran.status.success(), "{}", said(&ran));
    let operators = fs::read_dir(sdk.join("operators")).unwrap().flatten();
    let tests = operators.filter(|file| file.file_name().to_string_lossy().ends_with("_test.py"));
    assert_eq!(tests.count(), 11, "each kind has a native test");
}

#[test]
fn a_new_project_passes_its_own_tests_as_it_is() {
    if !has(&["python3"]) {
        return;
    }
    let place = Place::new();
    let project = project(&place.path(""), "python", "window");
    let ran = python(&project, &["-m", "unittest"]);
    assert!(ran.status.success() && said(&ran).contains("OK"), "{}", said(&ran));
}

#[test]
fn a_mistake_on_import_is_told_as_pythons_traceback_and_nothing_else() {
    if !has(&["componentize-py"]) {
        return;
    }
    let place = Place::new();
    let project = project(&place.path(""), "python", "filter");
    fs::write(project.join("app.py"), "import numppy\n").unwrap();
    let built = said(&operator(&project, &["build"]));
    assert!(built.contains("File \"app.py\", line 1"), "{built}");
    assert!(built.contains("No module named 'numppy'"), "{built}");
    assert!(!built.contains("anyhow") && !built.contains("wasm backtrace"), "{built}");
    fs::write(project.join("app.py"), "x = 1\n").unwrap();
    let built = said(&operator(&project, &["build"]));
    assert!(built.contains("app.py names no operator: put `@operator`"), "{built}");
}

/// What a component has no right to says so in Python's words, with the author's line; and what is
/// emitted is given back.
#[test]
fn a_component_says_what_it_has_not_got_and_keeps_no_memory_of_what_it_emitted() {
    if !has(&["componentize-py"]) {
        return;
    }
    let place = Place::new();
    let project = project(&place.path(""), "python", "filter");
    fs::write(
        project.join("app.py"),
        "import logging\nimport time\nfrom cofferdam import operator\n\n\
         @operator\ndef odd(record, out):\n    print('printed', record.text)\n    \
         if record.value == b'grow':\n        out.emit(b'x' * 1_000_000, of=record)\n    \
         if record.value == b'clock':\n        time.time()\n    \
         if record.value == b'logged':\n        try:\n            1 / 0\n        \
         except ZeroDivisionError:\n            logging.exception('caught')\n",
    )
    .unwrap();
    let built = operator(&project, &["build"]);
    assert!(built.status.success(), "{}", said(&built));
    let case = project.join("cases/one");
    fs::create_dir_all(&case).unwrap();
    fs::write(case.join("case.toml"), "batch_records = 4\n").unwrap();
    let run = |records: &str| {
        fs::write(case.join("input.jsonl"), records).unwrap();
        let ran =
            operator(&project, &["test", "--no-build", "--quick", "--json", "--cases", "cases"]);
        serde_json::from_slice::<serde_json::Value>(&ran.stdout)
            .unwrap_or_else(|_| panic!("{}", said(&ran)))
    };

    let ran = run("{\"value\":\"clock\"}\n");
    let failure = ran["report"]["failure"]["message"].as_str().unwrap_or_default();
    assert!(failure.contains("File \"app.py\", line 11, in odd"), "{failure}");
    assert!(failure.contains("an operator has no clock"), "{failure}");
    assert!(failure.contains("in hand: record 0 of the batch's 1, value 'clock'"), "{failure}");

    let logs = run("{\"value\":\"logged\"}\n")["report"]["logs"].to_string();
    assert!(logs.contains("printed logged") && logs.contains("ZeroDivisionError"), "{logs}");

    // 200 MB, 4 MB at a time: far more than its slot has, if they were kept.
    let small = "batch_records = 4\n[operator]\nmemory = \"96MiB\"\n";
    fs::write(case.join("case.toml"), small).unwrap();
    let ran = run(&"{\"value\":\"grow\"}\n".repeat(200));
    assert_eq!(ran["report"]["ended"], "finished", "{}", ran["report"]["failure"]);
    let peak = ran["report"]["peak_memory"].as_u64().unwrap_or(u64::MAX);
    assert!(peak < 64 << 20, "{peak}");
}

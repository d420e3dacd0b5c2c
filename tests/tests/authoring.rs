//! What an author meets: projects that are made, cases that tell what is wrong, operators that do
//! not hold what every one should, and the documentation's own commands.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use cofferdam_tests::{
    Place,
    authoring::{has, operator, path, project, said},
    guests, program, repository,
};
use serde_json::Value;

/// `operator test` on a component that is there, with records as lines of text.
fn tried(place: &Place, component: &str, settings: &str, input: &[&str]) -> (Value, bool) {
    let lines = input.iter().map(|record| format!("{record}\n")).collect::<String>();
    place.write("in.jsonl", lines);
    place.write("settings.toml", settings);
    let component = guests().join(component).display().to_string();
    let args = [
        "test",
        "--component",
        &component,
        "--input",
        "in.jsonl",
        "--settings",
        "settings.toml",
        "--json",
    ];
    let ran = operator(&place.path(""), &args);
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let seen = text.lines().next().and_then(|line| serde_json::from_str(line).ok());
    (seen.unwrap_or_else(|| panic!("{}", said(&ran))), ran.status.success())
}

/// How a property was found.
fn held(seen: &Value, what: &str) -> (String, String) {
    let all = seen["properties"].as_array().unwrap();
    let property = all.iter().find(|property| property["what"] == what).unwrap();
    let text = |key: &str| property[key].as_str().unwrap().to_owned();
    (text("held"), text("why"))
}

const KEYED: [&str; 4] = [
    r#"{"key":"a","value":"1","timestamp":1}"#,
    r#"{"key":"b","value":"2","timestamp":2}"#,
    r#"{"key":"a","value":"3","timestamp":3}"#,
    r#"{"key":"a","value":"4","timestamp":4}"#,
];

#[test]
fn an_operator_that_depends_on_where_batches_are_cut_is_found_out() {
    let place = Place::new();
    // It emits once a batch for each key, not once a record.
    let (seen, fine) = tried(&place, "count.wasm", "", &KEYED);
    assert!(!fine);
    let (held_, why) = held(&seen, "the same answer for other batches");
    assert_eq!(held_, "no", "{why}");
    assert!(why.contains("in batches of 1") && why.contains("same_for_any_batches"), "{why}");
    assert_eq!(held(&seen, "each key by itself").0, "yes");
    assert_eq!(held(&seen, "a fresh instance goes on").0, "yes");
    let (seen, fine) = tried(&place, "count.wasm", "same_for_any_batches = false", &KEYED);
    assert!(fine, "{seen}");
}

#[test]
fn an_operator_that_keeps_state_and_does_not_save_it_is_found_out() {
    let place = Place::new();
    let (seen, fine) = tried(&place, "memory-count.wasm", "same_for_any_batches = false", &KEYED);
    assert!(!fine, "{seen}");
    let (held_, why) = held(&seen, "a fresh instance goes on");
    assert_eq!(held_, "no", "{why}");
    assert!(why.contains("gone after a crash"), "{why}");
}

#[test]
fn a_crash_is_told_with_its_message_and_the_record() {
    let place = Place::new();
    let input = [r#"{"value":"fine"}"#, r#"{"value":"panic now"}"#];
    let (seen, fine) = tried(
        &place,
        "crasher.wasm",
        "[operator]\nconfig = { trap_on_value = \"panic now\" }",
        &input,
    );
    let failure = &seen["report"]["failure"];
    assert!(!fine, "{seen}");
    assert_eq!(failure["kind"], "guest-trap", "{seen}");
    assert_eq!(failure["records"], serde_json::json!([1]), "{seen}");
}

#[test]
fn what_is_expected_is_compared_and_written_and_a_difference_is_shown_by_lines() {
    let place = Place::new();
    let dir = place.path("");
    let project = project(&dir, "expr", "filter");
    let first = operator(&project, &["test"]);
    assert!(first.status.success(), "{}", said(&first));
    let expect = project.join("tests/sample/expect.jsonl");
    let right = fs::read_to_string(&expect).unwrap();
    fs::write(&expect, right.replace("UA", "ZZ")).unwrap();
    let wrong = operator(&project, &["test", "--no-build"]);
    let text = said(&wrong);
    assert_eq!(wrong.status.code(), Some(1), "{text}");
    assert!(text.contains("not as expected (- expected, + found)"), "{text}");
    assert!(text.contains("ZZ") && text.contains("1 of 1 case not as expected"), "{text}");
    let updated = operator(&project, &["test", "--no-build", "--update"]);
    assert!(updated.status.success(), "{}", said(&updated));
    assert_eq!(fs::read_to_string(&expect).unwrap(), right);
}

#[test]
fn a_change_of_a_file_runs_the_cases_again() {
    let place = Place::new();
    let project = project(&place.path(""), "expr", "filter");
    let mut command = program();
    command.args(["operator", "dev", "--quick", "--rounds", "2"]).current_dir(&project);
    command.env("PATH", path()).env("COFFERDAM_ARTIFACTS", guests()).stdout(Stdio::piped());
    let mut dev = command.spawn().unwrap();
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("all as expected")), "the first round");
    assert!(lines.any(|line| line.starts_with("watching")), "it waits");
    let case = project.join("tests/sample/case.toml");
    let text = fs::read_to_string(&case).unwrap();
    fs::write(&case, text.replace("> 15", "> 1000")).unwrap();
    assert!(lines.any(|line| line.contains("case.toml changed")), "what changed");
    assert!(lines.any(|line| line.contains("not as expected (- expected")), "the second round");
    assert_eq!(dev.wait().unwrap().code(), Some(1));
}

#[test]
fn a_folder_that_is_none_and_a_case_that_is_none_are_told() {
    let place = Place::new();
    let dir = place.path("");
    let none = operator(&dir, &["build"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(said(&none).contains("there is no operator.toml"), "{}", said(&none));
    let project = project(&dir, "expr", "map");
    let unknown = operator(&project, &["test", "--case", "smaple"]);
    assert!(said(&unknown).contains("there is no case `smaple`"), "{}", said(&unknown));
    fs::write(project.join("tests/sample/input.jsonl"), "{\"value\":1}\n{\"vlaue\":1}\n").unwrap();
    let wrong = operator(&project, &["test"]);
    assert!(said(&wrong).contains("line 2 is no record"), "{}", said(&wrong));
    let twice = operator(&dir, &["new", "map", "--lang", "expr"]);
    assert!(said(&twice).contains("is there already"), "{}", said(&twice));
    let kind = operator(&dir, &["new", "x", "--lang", "expr", "--kind", "keyed"]);
    assert!(said(&kind).contains("its kinds are filter and map"), "{}", said(&kind));
}

#[test]
fn a_missing_tool_is_told_with_the_line_that_installs_it() {
    let place = Place::new();
    for (language, install) in
        [("python", "pip install"), ("go", "install"), ("c", "apt-get install")]
    {
        let project = project(&place.path(""), language, "filter");
        let mut command = program();
        command.args(["operator", "build"]).current_dir(&project).env("PATH", "/nowhere");
        let ran = command.output().unwrap();
        let text = said(&ran);
        assert_eq!(ran.status.code(), Some(2), "{text}");
        assert!(text.contains("install it with") && text.contains(install), "{language}: {text}");
        fs::remove_dir_all(project).unwrap();
    }
}

#[test]
fn expressions_of_a_job_file_need_no_toolchain() {
    let place = Place::new();
    place.write("in.jsonl", "{\"a\":1}\n{\"a\":20}\n{\"b\":1}\n");
    place.write(
        "job.toml",
        r#"
        [job]
        name = "quick"
        [[source]]
        name = "in"
        connector = "jsonl"
        path = "in.jsonl"
        [[operator]]
        name = "big"
        artifact = "expr"
        inputs = ["in"]
        config = { filter = "record.a > 10" }
        [[operator]]
        name = "twice"
        artifact = "expr"
        inputs = ["big"]
        config = { set = { a = "record.a * 2" } }
        [[sink]]
        name = "out"
        input = "twice"
        connector = "lines"
        path = "out"
        [[sink]]
        name = "bad"
        input = "big.dead-letters"
        connector = "lines"
        path = "bad"
        "#,
    );
    let mut command = program();
    command.args(["run", "job.toml"]).current_dir(place.path(""));
    let ran = command.env("COFFERDAM_ARTIFACTS", guests()).output().unwrap();
    assert!(ran.status.success(), "{}", said(&ran));
    let all = |file: &str| fs::read_to_string(place.path(file)).unwrap();
    assert_eq!(all("out"), "{\"a\":40}\n");
    assert!(all("bad").contains("`filter`: "), "{}", all("bad"));
}

#[test]
fn an_operator_is_measured_beside_one_that_does_nothing() {
    let place = Place::new();
    place.write("in.jsonl", "{\"value\":\"{\\\"a\\\":1}\"}\n");
    let component = guests().join("identity.wasm").display().to_string();
    let args =
        ["bench", "--component", &component, "--input", "in.jsonl", "--seconds", "1", "--json"];
    let ran = operator(&place.path(""), &args);
    assert!(ran.status.success(), "{}", said(&ran));
    let seen: Value = serde_json::from_slice(&ran.stdout).unwrap();
    for who in ["operator", "identity"] {
        let pace = &seen["measured"][who];
        assert!(pace["records"].as_u64().unwrap() > 100_000, "{seen}");
        assert!(pace["memory"].as_u64().unwrap() > 0, "{seen}");
    }
    let (compiled, loaded) = (&seen["start"]["compile_nanos"], &seen["start"]["load_nanos"]);
    assert!(compiled.as_u64() > loaded.as_u64(), "{seen}");
}

#[test]
fn a_component_in_a_file_is_inspected_without_a_server() {
    let place = Place::new();
    let component = guests().join("count.wasm").display().to_string();
    let ran = operator(&place.path(""), &["inspect", &component]);
    let text = said(&ran);
    assert!(ran.status.success(), "{text}");
    for part in ["keyed processor, whose states merge", "cofferdam:operator/session-merge@0.1.0"] {
        assert!(text.contains(part), "{text}");
    }
}

/// The shell blocks of a page, one after the other, as they stand.
fn commands_of(page: &str) -> String {
    let text = fs::read_to_string(repository().join("docs/authoring").join(page)).unwrap();
    let mut commands = String::new();
    let mut inside = false;
    for line in text.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => commands += &format!("{line}\n"),
            _ => {}
        }
    }
    commands
}

/// Runs what a page says in an empty folder.
fn runs_as_it_stands(page: &str, programs: &[&str]) {
    let commands = commands_of(page);
    assert!(!commands.is_empty(), "{page} has no commands");
    if !has(programs) {
        return;
    }
    let place = Place::new();
    let bin = place.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let here = program().get_program().to_owned();
    symlink(Path::new(&here), bin.join("cofferdam")).unwrap();
    let home = place.path("work");
    fs::create_dir_all(&home).unwrap();
    let mut search = bin.into_os_string();
    search.push(":");
    search.push(path());
    let ran = Command::new("bash")
        .args(["-euxo", "pipefail", "-c", &commands])
        .current_dir(&home)
        .env("PATH", search)
        .env("COFFERDAM_ARTIFACTS", guests())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{page}:\n{}", said(&ran));
}

#[test]
fn the_page_on_rust_runs_as_it_stands() {
    runs_as_it_stands("rust.md", &["cargo"]);
}

#[test]
fn the_page_on_expressions_runs_as_it_stands() {
    runs_as_it_stands("expr.md", &[]);
}

#[test]
fn the_page_on_c_runs_as_it_stands() {
    runs_as_it_stands("c.md", &["clang-22"]);
}

#[test]
fn the_page_on_cpp_runs_as_it_stands() {
    runs_as_it_stands("cpp.md", &["clang++-22"]);
}

#[test]
fn the_page_on_zig_runs_as_it_stands() {
    runs_as_it_stands("zig.md", &["python-zig"]);
}

#[test]
fn the_page_on_javascript_runs_as_it_stands() {
    runs_as_it_stands("javascript.md", &["node", "npm"]);
}

#[test]
fn the_page_on_typescript_runs_as_it_stands() {
    runs_as_it_stands("typescript.md", &["node", "npm"]);
}

#[test]
fn the_page_on_python_runs_as_it_stands() {
    runs_as_it_stands("python.md", &["python3"]);
}

#[test]
fn the_page_on_go_runs_as_it_stands() {
    runs_as_it_stands("go.md", &["go"]);
}

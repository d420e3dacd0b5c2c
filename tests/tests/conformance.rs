//! The same operators in every language do the same: each is made as an author would make it, built
//! with its language's tools, and held to the vectors of `guest-sdk/cases` and `tests/conformance`.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use cofferdam_tests::{
    Place,
    authoring::{KINDS, failures, has, operator, project, said, suite},
    repository,
};

/// Builds every kind, and holds it to its vectors. All that is wrong is told at once.
fn conforms(language: &str, programs: &[&str], kinds: &[&str]) {
    conforms_with(language, "", programs, kinds);
}

/// The same, with more in each project's `operator.toml`.
fn conforms_with(language: &str, settings: &str, programs: &[&str], kinds: &[&str]) {
    if !has(programs) {
        return;
    }
    let place = Place::new();
    let mut wrong = Vec::new();
    for kind in kinds {
        let project = project(&place.path(""), language, kind);
        let file = project.join("operator.toml");
        fs::write(&file, fs::read_to_string(&file).unwrap() + settings).unwrap();
        let built = operator(&project, &["build"]);
        if !built.status.success() {
            wrong.push(format!("{kind} does not build: {}", said(&built)));
            continue;
        }
        wrong.extend(wrong_with(&project, kind));
    }
    assert!(wrong.is_empty(), "in {language}:\n{}", wrong.join("\n"));
}

/// What is wrong with a kind that was built.
fn wrong_with(project: &Path, kind: &str) -> Vec<String> {
    let suite = suite(kind);
    assert!(!suite.is_empty(), "there is no case for {kind}");
    let wrong = suite.iter().flat_map(|cases| failures(project, cases));
    wrong.map(|what| format!("{kind}: {what}")).collect()
}

/// The kinds of a world in Python, in one component that is the operator that it is called: to make
/// one takes a quarter of a minute.
fn several_in_python(place: &Place, kinds: &[&str]) -> Vec<String> {
    let projects: Vec<PathBuf> =
        kinds.iter().map(|kind| project(&place.path(""), "python", kind)).collect();
    let builder = &projects[0];
    for (kind, project) in kinds.iter().zip(&projects) {
        let module = format!("of_{}.py", kind.replace('-', "_"));
        fs::copy(project.join("app.py"), builder.join(module)).unwrap();
    }
    fs::copy(repository().join("tests/languages/several.py"), builder.join("app.py")).unwrap();
    let built = operator(builder, &["build"]);
    assert!(built.status.success(), "{kinds:?} do not build: {}", said(&built));
    let mut wrong = Vec::new();
    for (kind, project) in kinds.iter().zip(&projects) {
        let made = project.join(format!("build/{kind}.wasm"));
        if project != builder {
            fs::create_dir_all(project.join("build")).unwrap();
            fs::copy(builder.join(format!("build/{}.wasm", kinds[0])), &made).unwrap();
        }
        wrong.extend(wrong_with(project, kind));
    }
    wrong
}

/// One more than people begin with: the one that fails.
fn every_kind() -> Vec<&'static str> {
    KINDS.into_iter().chain(["failing"]).collect()
}

#[test]
fn operators_in_rust_do_what_all_do() {
    conforms("rust", &["cargo"], &every_kind());
}

#[test]
fn operators_in_c_do_what_all_do() {
    conforms("c", &["clang-22", "wasm-ld-22"], &every_kind());
}

#[test]
fn operators_in_cpp_do_what_all_do() {
    conforms("cpp", &["clang++-22", "wasm-ld-22"], &every_kind());
}

#[test]
fn operators_in_zig_do_what_all_do() {
    conforms("zig", &["python-zig"], &every_kind());
}

#[test]
fn operators_in_javascript_do_what_all_do() {
    conforms("javascript", &["componentize-qjs", "esbuild"], &every_kind());
}

#[test]
fn operators_in_typescript_do_what_all_do() {
    conforms("typescript", &["componentize-qjs", "esbuild"], &every_kind());
}

/// The other engine that an author may choose. Its components take long to be compiled, and what
/// differs is what knows text and columns.
#[test]
fn operators_in_javascript_on_starlingmonkey_do_what_all_do() {
    let engine = "\n[build]\nengine = \"starlingmonkey\"\n";
    let programs = ["componentize-js", "esbuild"];
    conforms_with("javascript", engine, &programs, &["filter", "map", "keyed"]);
}

#[test]
fn operators_in_python_do_what_all_do() {
    if !has(&["componentize-py"]) {
        return;
    }
    let place = Place::new();
    let worlds: [&[&str]; 4] = [
        &["filter", "map", "flat-map", "route", "telemetry", "failing"],
        &["keyed", "window", "timer"],
        &["session"],
        &["stateful"],
    ];
    assert_eq!(worlds.iter().map(|kinds| kinds.len()).sum::<usize>(), every_kind().len());
    let wrong: Vec<String> =
        worlds[..2].iter().flat_map(|kinds| several_in_python(&place, kinds)).collect();
    assert!(wrong.is_empty(), "in python:\n{}", wrong.join("\n"));
    conforms("python", &["componentize-py"], &["session", "stateful"]);
}

#[test]
fn operators_in_go_do_what_all_do() {
    conforms("go", &["go"], &every_kind());
}

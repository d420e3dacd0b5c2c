//! The same operators in every language do the same: each is made as an author would make it, built
//! with its language's tools, and held to the vectors of `guest-sdk/cases` and `tests/conformance`.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use cofferdam_tests::{
    Place,
    authoring::{failures, has, operator, project, said, suite},
};

const KINDS: [&str; 11] = [
    "filter",
    "map",
    "flat-map",
    "route",
    "keyed",
    "window",
    "timer",
    "session",
    "stateful",
    "telemetry",
    "failing",
];
/// For languages whose components take half a minute to be compiled for this machine: one of each
/// of the contract's worlds, and the one that fails. `COFFERDAM_CONFORMANCE=all` runs all.
const SOME: [&str; 5] = ["filter", "timer", "session", "stateful", "failing"];

/// Builds every kind, and holds it to its vectors. All that is wrong is told at once.
fn conforms(language: &str, programs: &[&str], kinds: &[&str]) {
    if !has(programs) {
        return;
    }
    let place = Place::new();
    let mut wrong = Vec::new();
    for kind in kinds {
        let project = project(&place.path(""), language, kind);
        let built = operator(&project, &["build"]);
        if !built.status.success() {
            wrong.push(format!("{kind} does not build: {}", said(&built)));
            continue;
        }
        let suite = suite(kind);
        assert!(!suite.is_empty(), "there is no case for {kind}");
        for cases in suite {
            wrong.extend(failures(&project, &cases).iter().map(|what| format!("{kind}: {what}")));
        }
    }
    assert!(wrong.is_empty(), "in {language}:\n{}", wrong.join("\n"));
}

fn slow_kinds() -> Vec<&'static str> {
    match std::env::var("COFFERDAM_CONFORMANCE").as_deref() {
        Ok("all") => KINDS.to_vec(),
        _ => SOME.to_vec(),
    }
}

#[test]
fn operators_in_rust_do_what_all_do() {
    conforms("rust", &["cargo"], &KINDS);
}

#[test]
fn operators_in_c_do_what_all_do() {
    conforms("c", &["clang-22", "wasm-ld-22"], &KINDS);
}

#[test]
fn operators_in_cpp_do_what_all_do() {
    conforms("cpp", &["clang++-22", "wasm-ld-22"], &KINDS);
}

#[test]
fn operators_in_zig_do_what_all_do() {
    conforms("zig", &["python-zig"], &KINDS);
}

#[test]
fn operators_in_javascript_do_what_all_do() {
    conforms("javascript", &["componentize-qjs", "esbuild"], &KINDS);
}

#[test]
fn operators_in_typescript_do_what_all_do() {
    conforms("typescript", &["componentize-qjs", "esbuild"], &slow_kinds());
}

#[test]
fn operators_in_python_do_what_all_do() {
    conforms("python", &["componentize-py"], &slow_kinds());
}

#[test]
fn operators_in_go_do_what_all_do() {
    conforms("go", &["go"], &KINDS);
}

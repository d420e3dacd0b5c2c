//! What is special about operators in C, C++ and Zig: native tests of every kind, every way that a record
//! can go out, every export, what a crash looks like. That they do what all languages do is held in
//! `conformance.rs`.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cofferdam_tests::{
    Place,
    authoring::{KINDS, failures, has, operator, path, project, said},
    repository,
};
use serde_json::Value;

/// Each language with the file that an operator is in, and the program that it needs.
const LANGUAGES: [(&str, &str, &str); 3] = [
    ("c", "src/operator.c", "clang-22"),
    ("cpp", "src/operator.cpp", "clang++-22"),
    ("zig", "src/operator.zig", "python-zig"),
];

fn runs(dir: &Path, program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).current_dir(dir).env("PATH", path()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{program} in {}: {}", dir.display(), said(&output));
    assert!(
        !said(&output).contains("warning"),
        "{program} in {}: {}",
        dir.display(),
        said(&output)
    );
}

#[test]
fn every_kind_passes_its_native_test_in_c_and_cpp() {
    if !has(&["make", "cc", "c++"]) {
        return;
    }
    for language in ["c", "cpp"] {
        let place = Place::new();
        for kind in KINDS {
            runs(&project(&place.path(""), language, kind), "make", &["--silent", "test"]);
        }
    }
}

#[test]
fn every_kind_passes_its_native_test_in_zig() {
    if !has(&["python-zig"]) {
        return;
    }
    let place = Place::new();
    for kind in KINDS {
        let modules = ["-Mroot=src/operator.zig", "-Mcofferdam=cofferdam/cofferdam.zig"];
        let args = ["test", "--cache-dir", "../zig-cache", "--dep", "cofferdam"];
        runs(&project(&place.path(""), "zig", kind), "python-zig", &[&args[..], &modules].concat());
    }
}

/// A project whose operator is a file of `tests/languages/NAME`, built.
fn built(
    place: &Place,
    name: &str,
    (language, file, _): (&str, &str, &str),
    world: &str,
) -> PathBuf {
    let made = project(&place.path(""), language, "keyed");
    let dir = place.path(&format!("{name}-{language}"));
    fs::rename(&made, &dir).unwrap();
    let ending = Path::new(file).extension().unwrap().to_string_lossy().into_owned();
    let source = repository().join(format!("tests/languages/{name}/{name}.{ending}"));
    fs::copy(source, dir.join(file)).unwrap();
    let about = fs::read_to_string(dir.join("operator.toml")).unwrap();
    fs::write(dir.join("operator.toml"), about.replace("keyed-operator", world)).unwrap();
    let built = operator(&dir, &["build"]);
    assert!(built.status.success(), "{name} in {language}: {}", said(&built));
    assert!(!said(&built).contains("warning:"), "{name} in {language}: {}", said(&built));
    dir
}

/// The cases of a folder of `tests/languages`, where there may be others beside it.
fn holds(place: &Place, name: &str, dir: &Path) {
    let cases = place.path("cases").join(name);
    fs::create_dir_all(&cases).unwrap();
    for file in ["case.toml", "input.jsonl", "expect.jsonl"] {
        let from = repository().join("tests/languages").join(name).join(file);
        fs::copy(from, cases.join(file)).unwrap();
    }
    let wrong = failures(dir, cases.parent().unwrap());
    assert!(wrong.is_empty(), "{}: {wrong:#?}", dir.display());
}

#[test]
fn records_go_out_in_every_way_that_there_is() {
    for language in LANGUAGES {
        if has(&[language.2]) {
            let place = Place::new();
            let dir = built(&place, "mixed", language, "processor-operator");
            holds(&place, "mixed", &dir);
        }
    }
}

#[test]
fn every_export_is_what_the_contract_says() {
    for language in LANGUAGES {
        if has(&[language.2]) {
            let place = Place::new();
            let dir = built(&place, "checked", language, "checked-session-operator");
            holds(&place, "checked", &dir);
        }
    }
}

#[test]
fn a_panic_names_the_record_and_the_authors_line() {
    for (language, file, program) in LANGUAGES {
        if !has(&[program]) {
            continue;
        }
        let place = Place::new();
        let dir = project(&place.path(""), language, "failing");
        let built = operator(&dir, &["build"]);
        assert!(built.status.success(), "{}", said(&built));
        let input = "{\"value\":\"fine\"}\n{\"value\":\"panic\"}\n";
        fs::write(dir.join("input.jsonl"), input).unwrap();
        let ran = operator(&dir, &["test", "--no-build", "--json", "--input", "input.jsonl"]);
        let text = String::from_utf8_lossy(&ran.stdout);
        let seen: Value = serde_json::from_str(text.lines().next().unwrap_or_default()).unwrap();
        let failure = &seen["report"]["failure"];
        let message = failure["message"].as_str().unwrap_or_default();
        assert!(message.contains("boom: told to panic"), "{language}: {failure:#}");
        assert_eq!(failure["records"], serde_json::json!([1]), "{language}: {failure:#}");
        let frames = failure["backtrace"].to_string();
        let at = fs::read_to_string(dir.join(file)).unwrap();
        let line = at.lines().position(|line| line.contains("boom: told to panic")).unwrap() + 1;
        assert!(frames.contains(&format!("{file}:{line}")), "{language}, line {line}: {frames}");
    }
}

#[test]
fn the_header_of_c_needs_no_c_library() {
    if !has(&["clang-22", "wasm-ld-22"]) {
        return;
    }
    let place = Place::new();
    for kind in KINDS {
        let dir = project(&place.path(""), "c", kind);
        let flags = "--target=wasm32-unknown-unknown -ffreestanding -nostdlib -std=c11 -O2 -Werror \
                     -Wall -Wextra -Icofferdam -Wl,--no-entry src/operator.c -o bare.wasm";
        runs(&dir, "clang-22", &flags.split_whitespace().collect::<Vec<_>>());
        let size = fs::metadata(dir.join("bare.wasm")).unwrap().len();
        assert!(size < 20_000, "{kind}: {size} bytes");
    }
}

#[test]
fn what_is_not_exported_is_told_with_the_line_that_is_missing() {
    for (language, file, program) in LANGUAGES {
        if !has(&[program]) {
            continue;
        }
        let place = Place::new();
        let dir = project(&place.path(""), language, "filter");
        let about = fs::read_to_string(dir.join("operator.toml")).unwrap();
        fs::write(dir.join("operator.toml"), about.replace("processor-operator", "keyed-operator"))
            .unwrap();
        let built = operator(&dir, &["build"]);
        assert_eq!(built.status.code(), Some(2), "{}", said(&built));
        let text = said(&built);
        assert!(text.contains("what it exports is `world = \"processor-operator\"`"), "{text}");
        fs::write(dir.join("operator.toml"), &about).unwrap();
        let source = fs::read_to_string(dir.join(file)).unwrap();
        let line = source.lines().find(|line| {
            ["CFD_PROCESSOR", "COFFERDAM_PROCESSOR", "exportOperator"]
                .iter()
                .any(|word| line.contains(word))
        });
        fs::write(dir.join(file), source.replace(line.unwrap(), "")).unwrap();
        let text = said(&operator(&dir, &["build"]));
        assert!(text.contains("is the line missing that makes it an operator"), "{text}");
    }
}

#[test]
fn a_stack_that_is_full_is_one_frame_and_an_endless_loop_is_told_with_its_record() {
    if !has(&["clang-22"]) {
        return;
    }
    let place = Place::new();
    let dir = project(&place.path(""), "c", "filter");
    let source = fs::read_to_string(dir.join("src/operator.c")).unwrap();
    let more = "static int deep(volatile int n) {\n    volatile char a[4096];\n    a[n] = 1;\n    \
                return n < 0 ? 0 : deep(n + 1) + a[0];\n}\n";
    let process = "static cfd_error filter_process";
    let call = "    for (uint32_t i = 0; i < batch->len; i++) {\n        \
                if (cfd_equal(cfd_value(batch, i), CFD_TEXT(\"deep\"))) cfd_log(CFD_INFO, \"%d\", deep(1));\n        \
                while (cfd_equal(cfd_value(batch, i), CFD_TEXT(\"endless\"))) __asm__ volatile(\"\");\n    }\n    \
                for (uint32_t i = 0; i < batch->len; i++)\n        if (cfd_contains";
    let wrong = source
        .replace(process, &format!("{more}\n{process}"))
        .replace("    for (uint32_t i = 0; i < batch->len; i++)\n        if (cfd_contains", call);
    fs::write(dir.join("src/operator.c"), wrong).unwrap();
    let built = operator(&dir, &["build"]);
    assert!(built.status.success(), "{}", said(&built));
    let shown = |value: &str| {
        let input = format!("{{\"value\":\"fine\"}}\n{{\"value\":\"{value}\"}}\n");
        fs::write(dir.join("input.jsonl"), input).unwrap();
        fs::write(dir.join("settings.toml"), "[operator]\ndeadline = \"300ms\"\n").unwrap();
        let settings = ["--input", "input.jsonl", "--settings", "settings.toml"];
        said(&operator(&dir, &[&["test", "--no-build"][..], &settings].concat()))
    };
    let full = shown("deep");
    assert!(full.contains("deep (src/operator.c:") && full.contains(" times\n"), "{full}");
    assert!(full.contains("record 1: \"deep\""), "{full}");
    let endless = shown("endless");
    assert!(endless.contains("did not return within 300ms"), "{endless}");
    assert!(endless.contains("record 1: \"endless\""), "{endless}");
}

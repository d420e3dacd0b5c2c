//! What is special about operators in Go: the SDK's own tests, what a crash looks like, and memory that
//! the host and Go's collector share. That they do what all languages do is held in `conformance.rs`.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{fmt::Write as _, fs, path::Path, process::Command};

use cofferdam_tests::{
    Place,
    authoring::{KINDS, has, operator, path, project, said},
    repository,
};
use serde_json::Value;

fn go(dir: &Path, args: &[&str]) {
    let output = Command::new("go").args(args).current_dir(dir).env("PATH", path()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "go {} in {}: {}", args[0], dir.display(), said(&output));
}

#[test]
fn the_sdk_and_every_kind_pass_their_native_tests_without_a_network() {
    if !has(&["go"]) {
        return;
    }
    // Copied: builds leave nothing in the repository, and the SDK is there as a project has it.
    let place = Place::new();
    for kind in KINDS.into_iter().chain(["failing"]) {
        let project = project(&place.path(""), "go", kind);
        go(&project, &["vet", "."]);
        go(&project, &["test", "."]);
    }
    let sdk = place.path("filter/cofferdam");
    let tests = repository().join("guest-sdk/go/cofferdam/sdk_test.go");
    fs::copy(tests, sdk.join("sdk_test.go")).unwrap();
    go(&sdk, &["vet", "./..."]);
    go(&sdk, &["test", "./..."]);
}

/// Builds an operator with this text, and runs it on an input.
fn run(place: &Place, name: &str, kind: &str, text: Option<&str>, input: &str) -> Value {
    let made = operator(&place.path(""), &["new", name, "--lang", "go", "--kind", kind]);
    assert!(made.status.success(), "{}", said(&made));
    let project = place.path(name);
    if let Some(text) = text {
        fs::write(project.join("operator.go"), text).unwrap();
    }
    let built = operator(&project, &["build"]);
    assert!(built.status.success(), "{}", said(&built));
    fs::write(project.join("input.jsonl"), input).unwrap();
    let ran =
        operator(&project, &["test", "--no-build", "--quick", "--json", "--input", "input.jsonl"]);
    let text = String::from_utf8_lossy(&ran.stdout);
    serde_json::from_str(text.lines().next().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {}", said(&ran)))
}

#[test]
fn a_panic_names_the_record_and_the_authors_lines() {
    if !has(&["go"]) {
        return;
    }
    let place = Place::new();
    let input = "{\"value\":\"fine\"}\n{\"value\":\"panic\"}\n";
    let ran = run(&place, "failing", "failing", None, input);
    let message = ran["report"]["failure"]["message"].as_str().unwrap();
    let hand = "in hand: record 1 of the batch's 2, value \"panic\"";
    for part in ["panic: boom: told to panic", hand, "failing/operator.go:"] {
        assert!(message.contains(part), "{message}");
    }
    for part in ["runtime.", "cofferdam/", "cofferdam."] {
        assert!(!message.contains(part), "{part} is no news to an author: {message}");
    }
    assert_eq!(ran["report"]["failure"]["kind"], "guest-trap", "{ran:#}");
}

#[test]
fn a_deadlock_is_told_with_the_authors_lines() {
    if !has(&["go"]) {
        return;
    }
    let place = Place::new();
    let text = "package main\n\nimport \"cofferdam\"\n\ntype Operator struct{}\n\n\
                func (*Operator) Process(batch cofferdam.Batch, out *cofferdam.Outcome) error {\n\
                \t<-make(chan int)\n\treturn nil\n}\n\n\
                func init() { cofferdam.Register(&Operator{}) }\n\nfunc main() {}\n";
    let ran = run(&place, "waits", "filter", Some(text), "{\"value\":\"x\"}\n");
    let message = ran["report"]["failure"]["message"].as_str().unwrap();
    for part in [
        "fatal error: all goroutines are asleep",
        "main.(*Operator).Process",
        "waits/operator.go:8",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("goroutine 2") && !message.contains("cofferdam@"), "{message}");
}

/// Makes much garbage in each call, prints from where the runtime likes to collect, and answers with what
/// was passed in: if the collector took something that was lent, or the host wrote where it should not,
/// the answer would be another one.
const GREEDY: &str = r#"package main

import (
	"bytes"
	"cofferdam"
	"fmt"
	"runtime"
)

type Operator struct{ kept [][]byte }

func (o *Operator) Process(batch cofferdam.Batch, out *cofferdam.Outcome) error {
	fmt.Println("a batch of", batch.Len())
	for record := range batch.Records() {
		garbage := bytes.Repeat([]byte{0xaa}, 20_000)
		o.kept = append(o.kept, garbage[:8])
		if len(o.kept) > 100 {
			o.kept = o.kept[50:]
		}
		value := fmt.Appendf(nil, "%s/%s", record.Key(), record.Value())
		if record.Index()%64 == 0 {
			runtime.GC()
		}
		out.Emit(record, value)
	}
	return nil
}

func init() { cofferdam.Register(&Operator{}) }

func main() {}
"#;

#[test]
fn what_is_lent_survives_the_collector() {
    if !has(&["go"]) {
        return;
    }
    let place = Place::new();
    let (mut input, mut expected) = (String::new(), Vec::new());
    for i in 0..4000 {
        let value = "v".repeat(i % 97);
        writeln!(input, r#"{{"key":"k{i}","value":"{value}{i}"}}"#).unwrap();
        expected.push(format!("k{i}/{value}{i}"));
    }
    let ran = run(&place, "greedy", "filter", Some(GREEDY), &input);
    assert!(ran["report"]["failure"].is_null(), "{:#}", ran["report"]["failure"]);
    let text = ran.to_string();
    for (i, value) in expected.iter().enumerate() {
        assert!(text.contains(value), "record {i} is not {value}");
    }
    assert!(text.contains("a batch of"), "what is printed is logged");
}

//! What is wrong with an input or output is told by file, line and field; what is
//! wrong with a record costs that record, not the job.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::io::Write as _;

use cofferdam_tests::{Place, program};

/// A job that copies `input` (a source's settings) to `out.jsonl`, and its dead
/// letters to `dead.jsonl`.
fn job(input: &str) -> String {
    format!(
        r#"
[job]
name = "connectors"

[restart]
strategy = "none"

[[source]]
name = "in"
{input}

[[sink]]
name = "out"
input = "in"
connector = "jsonl"
path = "out.jsonl"

[[sink]]
name = "dead"
input = "in.dead-letters"
connector = "jsonl"
path = "dead.jsonl"
"#
    )
}

const CSV: &str = r#"
connector = "csv"
path = "in.csv"
columns = { name = "string", delay = "integer", at = "string" }
timestamp = "at"
"#;

fn reasons(place: &Place) -> Vec<String> {
    let reason = |line: &serde_json::Value| line["reason"].as_str().unwrap().to_owned();
    place.json("dead.jsonl").iter().map(reason).collect()
}

#[test]
fn a_missing_column_names_the_file_and_what_was_probably_meant() {
    let place = Place::new();
    place.write("in.csv", "name,dealy,at\nx,1,2013-01-01T00:00:00Z\n");
    let ended = place.run_job(&job(CSV), &[]);
    ended.failed(2, &["connector failure", "in.csv", "line 1", "no column `delay`", "`dealy`?"]);
}

#[test]
fn a_bad_field_is_a_dead_letter_with_file_line_and_column() {
    let place = Place::new();
    let rows = "name,delay,at\n\
                a,1,2013-01-01T00:00:00Z\n\
                b,soon,2013-01-01T00:00:00Z\n\
                c,2,yesterday\n\
                d,3\n\
                e,,2013-01-01T00:00:00Z\n";
    place.write("in.csv", rows);
    let ended = place.run_job(&job(CSV), &[]).finished();
    assert_eq!(ended.vertex("in", "rejected"), 3);
    assert_eq!(
        place.lines("out.jsonl"),
        [
            r#"{"name":"a","delay":1,"at":"2013-01-01T00:00:00Z"}"#,
            r#"{"name":"e","delay":null,"at":"2013-01-01T00:00:00Z"}"#,
        ]
    );
    let reasons = reasons(&place);
    for parts in [
        ["in.csv, line 3", "column `delay`", "`soon` is not a 64-bit integer"],
        ["in.csv, line 4", "column `at`", "`yesterday`"],
        ["in.csv, line 5", "the row has 2 fields", "the header has 3"],
    ] {
        let named = |reason: &&String| parts.iter().all(|part| reason.contains(part));
        assert_eq!(reasons.iter().filter(named).count(), 1, "{parts:?} in {reasons:#?}");
    }
    let raw: Vec<_> = place.json("dead.jsonl").iter().map(|l| l["value"].clone()).collect();
    assert!(raw.contains(&"b,soon,2013-01-01T00:00:00Z".into()), "{raw:?}");
}

#[test]
fn too_many_bad_records_stop_the_job_and_are_counted() {
    let place = Place::new();
    let bad: String = (0..10).map(|i| format!("x,bad{i},2013-01-01T00:00:00Z\n")).collect();
    place.write("in.csv", format!("name,delay,at\n{bad}"));
    let source_limit = job(&format!("{CSV}max_rejected = 4"));
    place.run_job(&source_limit, &[]).failed(1, &["too many rejected records", "4"]);
    let job_limit = job(CSV).replace("name = \"connectors\"", "name = \"c\"\nmax_rejected = 4");
    place.run_job(&job_limit, &[]).failed(1, &["too many rejected records", "4"]);
    let enough = job(&format!("{CSV}max_rejected = 10"));
    let _ = place.run_job(&enough, &[]).finished();
}

#[test]
fn a_truncated_gzip_names_the_file_and_line() {
    let place = Place::new();
    let lines: String = (0..5_000).map(|i| format!("{{\"n\":{i},\"m\":{}}}\n", i * 7919)).collect();
    place.write_gzip("whole.gz", &lines);
    let whole = std::fs::read(place.path("whole.gz")).unwrap();
    place.write("in.gz", &whole[..whole.len() / 2]);
    let ended = place.run_job(&job("connector = \"jsonl\"\npath = \"in.gz\""), &[]);
    ended.failed(1, &["connector failure", "in.gz", "line ", "gzip", "too early"]);
    assert!(place.files("out.jsonl").is_empty(), "a failed job shows no half output");
}

#[test]
fn compressed_files_are_read_whatever_their_names() {
    let place = Place::new();
    place.write_gzip("in-1.txt", "{\"n\":1}\n{\"n\":2}");
    place.write("in-2.txt", "{\"n\":3}\n");
    let _ = place.run_job(&job("connector = \"jsonl\"\npath = \"in-*.txt\""), &[]).finished();
    assert_eq!(place.lines("out.jsonl"), ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);
}

#[test]
fn bad_utf8_and_bad_json_are_dead_letters_by_line() {
    let place = Place::new();
    place.write("in.jsonl", b"{\"n\":1}\n{\"n\":\"\xff\"}\nnothing\n{\"n\":2}\n");
    let ended = place.run_job(&job("connector = \"jsonl\"\npath = \"in.jsonl\""), &[]).finished();
    assert_eq!(ended.vertex("in", "rejected"), 2);
    assert_eq!(place.lines("out.jsonl"), ["{\"n\":1}", "{\"n\":2}"]);
    let reasons = reasons(&place);
    assert!(reasons.iter().any(|r| r.contains("line 2") && r.contains("UTF-8")), "{reasons:?}");
    assert!(reasons.iter().any(|r| r.contains("in.jsonl, line 3")), "{reasons:?}");
}

#[test]
fn a_missing_input_is_told_before_anything_runs() {
    let place = Place::new();
    let ended = place.run_job(&job("connector = \"lines\"\npath = \"nowhere.txt\""), &[]);
    ended.failed(2, &["nowhere.txt", "job.toml:11"]);
    let ended = place.run_job(&job("connector = \"lines\"\npath = \"no*.txt\""), &[]);
    ended.failed(2, &["no*.txt"]);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let place = Place::new();
    place.write("in.jsonl", "{}\n");
    place.write("file", "not a directory");
    let job =
        job("connector = \"jsonl\"\npath = \"in.jsonl\"").replace("out.jsonl", "file/out.jsonl");
    let ended = place.run_job(&job, &[]);
    assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
    ended.failed(ended.code.unwrap(), &["file", "irectory"]);
}

#[test]
fn a_value_that_a_sink_cannot_write_is_told() {
    let place = Place::new();
    place.write("in.txt", "{}\nplain text\n");
    let ended = place.run_job(&job("connector = \"lines\"\npath = \"in.txt\""), &[]);
    ended.failed(1, &["connector failure", "`out`", "there is the sink `lines`"]);
}

#[test]
fn a_csv_sink_writes_what_a_csv_source_reads() {
    let place = Place::new();
    place.write(
        "in.jsonl",
        "{\"a\":\"x, y\",\"b\":1.5}\n{\"b\":-2,\"a\":\"say \\\"hi\\\"\",\"c\":0}\n",
    );
    let out = r#"connector = "csv"
columns = ["b", "a"]
path = "out.csv""#;
    let job = job("connector = \"jsonl\"\npath = \"in.jsonl\"")
        .replace("connector = \"jsonl\"\npath = \"out.jsonl\"", out);
    let _ = place.run_job(&job, &[]).finished();
    let text = std::fs::read_to_string(place.path("out.csv")).unwrap();
    assert_eq!(text.replace('\r', ""), "b,a\n1.5,\"x, y\"\n-2,\"say \"\"hi\"\"\"\n");
}

#[test]
fn standard_input_becomes_standard_output() {
    let place = Place::new();
    place.write(
        "job.toml",
        r#"
[job]
name = "pipe"
[[source]]
name = "in"
connector = "stdin"
[[operator]]
name = "words"
artifact = "tokenize"
input = "in"
config.value = "word"
[[sink]]
name = "out"
input = "words"
connector = "stdout"
key = true
"#,
    );
    let mut command = program();
    command.arg("run").arg(place.path("job.toml"));
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    // Dropped at once, which ends the input.
    child.stdin.take().unwrap().write_all("so it\ngoes".as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "so\tso\nit\tit\ngoes\tgoes\n");
    assert!(said.contains("pipe finished"), "{said}");
}

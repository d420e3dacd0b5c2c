//! Whole job files, good and bad, and what is said of the bad ones.

use std::{path::Path, time::Duration};

use proptest::prelude::*;

use super::{
    job::{
        ArtifactRef, ColumnType, Compression, CpuShare, Grant, JobSpec, OutputRef, PortRef,
        RestartSection, SinkConnector, SourceConnector, TimestampFormat, WindowAssigner,
    },
    *,
};
use crate::ids::{OperatorName, PortName};

const SMALL: &str = r#"
[job]
name = "small"

[[source]]
name = "in"
connector = "stdin"

[[operator]]
name = "f"
artifact = "filter"
input = "in"
config = { field = "a", deep = { high = 1 } }

[[sink]]
name = "out"
input = "f"
connector = "discard"
"#;

fn read(text: &str, sets: &[&str]) -> Result<JobSpec, JobFileErrors> {
    let sets: Vec<Override> = sets.iter().map(|set| set.parse().unwrap()).collect();
    parse(text, Path::new("job.toml"), &sets)
}

fn good(text: &str, sets: &[&str]) -> JobSpec {
    read(text, sets).unwrap_or_else(|errors| panic!("{errors}"))
}

fn bad(text: &str, sets: &[&str]) -> String {
    read(text, sets).unwrap_err().to_string()
}

/// `SMALL` with one piece of text replaced.
fn small_with(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    SMALL.replacen(from, to, 1)
}

#[test]
fn what_is_not_given_has_the_documented_default() {
    let spec = good(SMALL, &[]);
    assert_eq!((spec.job.parallelism, spec.job.max_parallelism), (1, 128));
    assert_eq!((spec.job.max_rejected, spec.job.channel_capacity), (None, 1 << 20));
    assert!(spec.job.operator_chaining);
    assert_eq!((spec.job.priority, spec.job.preempts), (0, false));
    assert_eq!(spec.checkpoints.interval, None);
    assert_eq!(spec.checkpoints.timeout, Duration::from_secs(600));
    assert_eq!(spec.restart, RestartSection::default());
    let operator = &spec.operators[0];
    assert_eq!(operator.memory, 256 << 20);
    assert_eq!(operator.deadline, Duration::from_secs(30));
    assert_eq!(operator.cpu_cap, None);
    assert_eq!(operator.grants, [Grant::Log, Grant::Config, Grant::Metrics]);
    assert_eq!(operator.artifact, ArtifactRef::Named(OperatorName::new("filter").unwrap()));
    assert_eq!(spec.sinks[0].parallelism, 1);
}

#[test]
fn a_cap_is_a_percentage_of_one_core() {
    let capped =
        |cap: &str| small_with("input = \"in\"", &format!("input = \"in\"\ncpu_cap = {cap}"));
    for (text, share) in [("'1%'", 10), ("'50%'", 500), ("'100%'", 1_000)] {
        assert_eq!(good(&capped(text), &[]).operators[0].cpu_cap, Some(CpuShare(share)), "{text}");
    }
    for text in ["'0%'", "'101%'", "'50'", "50", "0.5", "'-5%'", "'half'"] {
        let said = bad(&capped(text), &[]);
        assert!(said.contains("cpu_cap") && said.contains("\"1%\" to \"100%\""), "{text}: {said}");
    }
}

#[test]
fn every_mistake_is_reported_at_its_place_with_what_to_do() {
    let text = r#"[job]
name = "two words"
paralelism = 4

[checkpoints]
interval = 10

[[source]]
name = "in"
connector = "cvs"

[[operator]]
name = "f"
artifact = "filter"
input = "inn"
memory = "64mb"
grants = ["log", "wassi"]

[[sink]]
name = "out"
input = "f.kept"
connector = "discard"
"#;
    let expected = r#"error: `name` is not a valid name: only ASCII letters, digits, `-` and `_` may stand in it
 --> job.toml:2:8
  |
2 | name = "two words"
  |        ^^^^^^^^^^^

error: unknown key `paralelism` in [job]
 --> job.toml:3:1
  |
3 | paralelism = 4
  | ^^^^^^^^^^ did you mean `parallelism`?

error: `interval` must be a duration such as "250ms" or "1m30s", not 10
 --> job.toml:6:12
  |
6 | interval = 10
  |            ^^ add the unit: "10s" or "10ms"

error: `connector` must be one of `csv`, `jsonl`, `lines`, `generator`, `stdin`, `http`, not "cvs"
  --> job.toml:10:13
   |
10 | connector = "cvs"
   |             ^^^^^ did you mean `csv`?

error: there is no source or operator named `inn`
  --> job.toml:15:9
   |
15 | input = "inn"
   |         ^^^^^ did you mean `in`?

error: `memory` must be a size such as "64KiB" or "1MB", but `mb` is not a unit
  --> job.toml:16:10
   |
16 | memory = "64mb"
   |          ^^^^^^ the units are B, kB, MB, GB, TB and KiB, MiB, GiB, TiB

error: `grants` must be one of `log`, `config`, `metrics`, `wasi`, `wasi-clocks`, `wasi-random`, `wasi-stdio`, `wasi-filesystem`, `wasi-http`, not "wassi"
  --> job.toml:17:18
   |
17 | grants = ["log", "wassi"]
   |                  ^^^^^^^ did you mean `wasi`?

error: `f` has no output port named `kept`
  --> job.toml:21:9
   |
21 | input = "f.kept"
   |         ^^^^^^^^ name them in its `ports`, or write a number: "f.1"

8 errors in job.toml"#;
    assert_eq!(bad(text, &[]), expected);
}

/// Each: what to replace in `SMALL`, by what, the place, the message, the help.
#[test]
fn single_mistakes_are_named() {
    let cases: &[(&str, &str, &str, &str, Option<&str>)] = &[
        (
            "[job]\nname",
            "[jbo]\nname",
            "1:1",
            "the job file has no [job]",
            Some("add `[job]` and `name = \"my-job\"` below it"),
        ),
        ("name = \"small\"", "", "2:1", "[job] has no `name`", Some("add `name = \"my-job\"`")),
        (
            "[job]",
            "[[job]]",
            "2:3",
            "`job` is a single table",
            Some("write `[job]`, with single brackets, once"),
        ),
        (
            "[[sink]]",
            "[sink]",
            "15:2",
            "`sink` is a list of tables",
            Some("write `[[sink]]`, with double brackets, for each sink"),
        ),
        (
            "name = \"out\"",
            "name = \"f\"",
            "16:8",
            "the name `f` is taken by an operator above",
            Some("names are unique in a job"),
        ),
        (
            "input = \"in\"",
            "",
            "9:1",
            "[[operator]] `f` has no `input`",
            Some("add `input = \"NAME\"`"),
        ),
        (
            "input = \"in\"",
            "input = \"f\"",
            "12:9",
            "`f` reads its own output",
            Some("jobs have no loops"),
        ),
        ("input = \"in\"", "input = \"out\"", "12:9", "`out` is a sink, which has no output", None),
        (
            "input = \"in\"",
            "input = \"in.late\"",
            "12:9",
            "`in` is a source, which has one main output and dead letters",
            Some("write \"in\" or \"in.dead-letters\""),
        ),
        ("input = \"in\"", "input = 3", "12:9", "`input` must be text, not 3", None),
        (
            "input = \"in\"",
            "input = \"in\"\ninputs = [\"in\"]",
            "13:1",
            "[[operator]] `f` has both `input` and `inputs`",
            Some("keep one of them"),
        ),
        (
            "input = \"f\"",
            "input = \"f.late\"",
            "17:9",
            "`f` has no window, so no record is late for it",
            Some("give it a `window`, or read \"f\""),
        ),
        (
            "input = \"f\"",
            "input = \"f.999\"",
            "17:9",
            "`input` must be NAME or NAME.PORT, but the port is too high: 255 is the highest",
            None,
        ),
        (
            "artifact = \"filter\"",
            "artifact = \"filter\"\nports = [\"kept\", \"late\"]",
            "12:9",
            "`ports` cannot name a port `late`, which means another",
            None,
        ),
        (
            "artifact = \"filter\"",
            "artifact = \"filter\"\nwindow = { type = \"tumblin\", size = \"1s\" }",
            "12:19",
            "`type` must be one of `tumbling`, `sliding`, `session`, not \"tumblin\"",
            Some("did you mean `tumbling`?"),
        ),
        (
            "artifact = \"filter\"",
            "artifact = \"filter\"\nwindow = { type = \"sliding\", size = \"1s\", slide = \"2s\" }",
            "12:51",
            "`slide` must be at most the window's size, 1s",
            None,
        ),
        (
            "artifact = \"filter\"",
            "artifact = \"filter\"\nwindow = { type = \"tumbling\", size = \"1s\", offset = \"1s\" }",
            "12:53",
            "`offset` must be less than `size`, 1s",
            None,
        ),
        (
            "artifact = \"filter\"",
            "artifact = \"filter\"\nwindow = { type = \"session\", gap = \"1s\", size = \"1s\" }",
            "12:42",
            "unknown key `size` in `window` of [[operator]] `f`",
            Some("known here: `type`, `gap`, `allowed_lateness`"),
        ),
        (
            "artifact = \"filter\"",
            "artifact = \"filter\"\nparallelism = 129",
            "12:15",
            "`parallelism` must be a whole number from 1 to 128, not 129",
            None,
        ),
        (
            "field = \"a\"",
            "field = nan",
            "13:20",
            "`config` is not possible: an operator gets its config as JSON, which has no NaN",
            None,
        ),
        (
            "connector = \"discard\"",
            "connector = \"discard\"\npath = \"x\"",
            "19:1",
            "unknown key `path` in [[sink]] `out`",
            None,
        ),
        (
            "name = \"small\"",
            "name = ",
            "3:8",
            "not TOML: string values must be quoted, expected literal string",
            None,
        ),
    ];
    for (from, to, place, message, help) in cases {
        let errors = read(&small_with(from, to), &[]).unwrap_err().errors;
        let found = errors.iter().find(|error| error.message == *message);
        let found = found.unwrap_or_else(|| panic!("{to:?}: no {message:?} in {errors:#?}"));
        assert_eq!(format!("{}:{}", found.line, found.column), *place, "{to:?}");
        if help.is_some() {
            assert_eq!(found.help.as_deref(), *help, "{to:?}");
        }
    }
}

#[test]
fn a_loop_is_reported_with_its_way() {
    let text = small_with("input = \"in\"", "inputs = [\"in\", \"h\"]")
        + "[[operator]]\nname = \"g\"\nartifact = \"x\"\ninput = \"f\"\n\
           [[operator]]\nname = \"h\"\nartifact = \"x\"\ninput = \"g\"\n";
    let errors = read(&text, &[]).unwrap_err().errors;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].message.starts_with("a loop: "), "{}", errors[0].message);
    for name in ["f", "g", "h"] {
        assert!(errors[0].message.contains(name), "{}", errors[0].message);
    }
}

#[test]
fn a_set_changes_config_settings_and_sections_and_is_checked() {
    let spec = good(
        SMALL,
        &[
            "job.parallelism=4",
            "checkpoints.interval=5s",
            "f.field=arr_delay",
            "f.deep.high=2",
            "f.list=[1, 2]",
            r#"f.object={"a": null}"#,
            "out.connector=stdout",
            "out.key=true",
            "operator.f.memory=1MiB",
        ],
    );
    assert_eq!(spec.job.parallelism, 4);
    assert_eq!(spec.checkpoints.interval, Some(Duration::from_secs(5)));
    let config = serde_json::Value::Object(spec.operators[0].config.clone());
    assert_eq!(
        config,
        serde_json::json!({
            "field": "arr_delay", "deep": { "high": 2 }, "list": [1, 2], "object": { "a": "null" }
        })
    );
    assert_eq!(spec.operators[0].memory, 1 << 20);
    assert_eq!(spec.sinks[0].connector, SinkConnector::Stdout { key: true });

    let expected = r#"error: there is no source, operator or sink `g` to set
 --> --set g.x=1
  |
1 | g.x=1
  | ^^^ write NAME.KEY=VALUE, job.KEY=VALUE, checkpoints.KEY=VALUE or restart.KEY=VALUE

error: `parallelism` must be a whole number from 1 to 128, not "many"
 --> --set job.parallelism=many
  |
1 | job.parallelism=many
  |                 ^^^^

2 errors in --set"#;
    assert_eq!(bad(SMALL, &["g.x=1", "job.parallelism=many"]), expected);
    for nonsense in ["x", "x=1", "a..b=1", ".b=1", "=", ""] {
        assert!(nonsense.parse::<Override>().is_err(), "{nonsense}");
    }
}

/// A folder with the files that the examples in the docs name.
fn folder_of_the_docs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for dir in ["data", "reference"] {
        std::fs::create_dir(folder.path().join(dir)).unwrap();
    }
    for file in [
        "data/flights-2.csv.gz",
        "data/flights-1.csv.gz",
        "data/.flights-0.csv.gz",
        "data/trades-1.csv",
        "data/trades-2.csv",
        "data/events.jsonl",
        "data/text.txt",
        "my-join.wasm",
        "my-prices.wasm",
    ] {
        std::fs::write(folder.path().join(file), "").unwrap();
    }
    folder
}

const DOCS: &str = include_str!("../../../docs/job-file.md");

/// The ```toml blocks of the docs.
fn blocks() -> Vec<&'static str> {
    DOCS.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_example_in_the_docs_means_what_it_says() {
    let folder = folder_of_the_docs();
    let spec = parse(blocks()[0], &folder.path().join("job.toml"), &[]).unwrap();
    let SourceConnector::Csv(csv) = &spec.sources[0].connector else { panic!("{spec:?}") };
    let names: Vec<_> = csv.files.paths.iter().map(|p| p.file_name().unwrap()).collect();
    assert_eq!(names, ["flights-1.csv.gz", "flights-2.csv.gz"], "sorted, none hidden");
    assert!(csv.files.paths.iter().all(|path| path.is_absolute()));
    let columns = csv.columns.as_deref().unwrap();
    assert_eq!(columns[2], ("dep_delay".to_owned(), ColumnType::Integer), "in the file's order");
    assert_eq!(csv.timestamp.as_ref().unwrap().format, TimestampFormat::Rfc3339);
    let window = spec.operators[1].window.unwrap();
    let size = Duration::from_secs(6 * 3_600);
    assert_eq!(window.assigner, WindowAssigner::Tumbling { size, offset: Duration::ZERO });
    let from = |node: &str, port| OutputRef { node: OperatorName::new(node).unwrap(), port };
    assert_eq!(
        spec.sinks[1].inputs,
        [
            from("flown", PortRef::Name(PortName::new("cancelled").unwrap())),
            from("delays", PortRef::Late),
            from("flights", PortRef::DeadLetters),
        ]
    );
    let SinkConnector::JsonLines(file) = &spec.sinks[1].connector else { panic!("{spec:?}") };
    assert_eq!(file.compression, Compression::Gzip);
}

/// A block of the docs may lack what another one has: a job, a node to read.
/// Nothing else may be wrong with it.
#[test]
fn every_block_in_the_docs_is_read_without_a_mistake() {
    let folder = folder_of_the_docs();
    let origin = folder.path().join("job.toml");
    assert!(blocks().len() >= 9);
    for block in blocks() {
        let Err(errors) = parse(block, &origin, &[]) else { continue };
        let lacking = [
            "the job file has no [job]",
            "the job has no [[",
            "there is no source",
            "`connector` can be \"http\" on a server only",
        ];
        for error in &errors.errors {
            let allowed = lacking.iter().any(|start| error.message.starts_with(start));
            assert!(allowed, "{error}\nin\n{block}");
        }
    }
}

/// The readers say which keys there are when they meet an unknown one; each of
/// those must stand in the docs, in backquotes.
#[test]
fn every_key_that_is_read_is_in_the_docs() {
    let folder = folder_of_the_docs();
    let origin = folder.path().join("job.toml");
    let source = |rest: &str| format!("[[source]]\nname = \"s\"\nzzz = 1\n{rest}");
    let sink = |rest: &str| format!("[[sink]]\nname = \"s\"\nzzz = 1\ninput = \"x\"\n{rest}");
    let operator = |rest: &str| format!("[[operator]]\nname = \"o\"\nzzz = 1\n{rest}");
    let mut files = vec![
        "zzz = 1".to_owned(),
        "[job]\nname = \"x\"\nzzz = 1".to_owned(),
        "[checkpoints]\nzzz = 1".to_owned(),
        operator("input = \"x\"\nartifact = \"x\""),
    ];
    for strategy in ["none", "fixed-delay", "exponential-delay", "failure-rate"] {
        files.push(format!("[restart]\nzzz = 1\nstrategy = \"{strategy}\""));
    }
    for connector in ["csv", "jsonl", "lines"] {
        files.push(source(&format!("connector = \"{connector}\"\npath = \"data/text.txt\"")));
        files.push(sink(&format!("connector = \"{connector}\"\npath = \"x\"\ncolumns = [\"a\"]")));
    }
    for connector in ["stdin", "generator"] {
        files.push(source(&format!("connector = \"{connector}\"")));
    }
    files.push(sink("connector = \"http\"\nurl = \"http://x/\""));
    for connector in ["stdout", "discard"] {
        files.push(sink(&format!("connector = \"{connector}\"")));
    }
    for kind in [
        "type = \"tumbling\", size",
        "type = \"sliding\", slide = \"1s\", size",
        "type = \"session\", gap",
    ] {
        files.push(operator(&format!("window = {{ zzz = 1, {kind} = \"1s\" }}")));
    }
    let mut keys = 0;
    for file in files {
        let errors = parse(&file, &origin, &[]).unwrap_err().errors;
        let unknown = errors.iter().find(|error| error.message.starts_with("unknown key `zzz`"));
        let unknown = unknown.unwrap_or_else(|| panic!("nothing unknown in\n{file}\n{errors:?}"));
        let known = unknown.help.as_deref().unwrap().strip_prefix("known here: ").unwrap();
        for key in known.split(", ") {
            let table = key.trim_matches('`');
            let titles = [format!("`[{table}]`"), format!("`[[{table}]]`")];
            let documented = DOCS.contains(key) || titles.iter().any(|title| DOCS.contains(title));
            assert!(documented, "{key} is not in docs/job-file.md");
            keys += 1;
        }
    }
    assert!(keys > 60, "{keys}");
}

#[test]
fn files_that_are_not_there_are_reported() {
    let folder = folder_of_the_docs();
    let source = |path: &str| {
        small_with("connector = \"stdin\"", &format!("connector = \"lines\"\npath = {path}"))
    };
    for (path, message) in [
        ("\"data/*.parquet\"", "`path` matches no file"),
        ("\"data\"", "`path` must be a file, not a directory"),
        ("\"\"", "`path` must be a path, which cannot be empty"),
        ("[]", "`path` is an empty list: name at least one file"),
        ("[\"data/text.txt\", \"nope/*\"]", "`path` names a directory that cannot be read"),
        ("\"nope.txt\"", "`path` names a file that cannot be read"),
    ] {
        let errors = parse(&source(path), &folder.path().join("j.toml"), &[]).unwrap_err();
        assert!(errors.errors[0].message.starts_with(message), "{path}: {errors}");
    }
}

#[test]
fn a_misspelt_key_that_is_required_is_recognised() {
    let shown = bad(&small_with("connector = \"stdin\"", "conector = \"stdin\""), &[]);
    assert!(shown.contains("there is `conector`; write `connector`"), "{shown}");
}

#[test]
fn a_long_line_and_its_control_characters_are_shown_safely() {
    let long = format!(
        "[job]\nname = \"a\" # \u{1f980}{}\u{7f}\nx = [{}\"\\u001b\", 1]",
        "y".repeat(300),
        "0, ".repeat(200)
    );
    let shown = bad(&long, &[]);
    assert!(shown.lines().all(|line| line.chars().count() < 160), "{shown}");
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
}

/// Job files that are nearly right reach further than random text does.
fn nearly_a_job() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("[job]".to_owned()),
        Just("[[source]]".to_owned()),
        Just("[[operator]]".to_owned()),
        Just("[[sink]]".to_owned()),
        Just("[restart]".to_owned()),
        Just("[source.fields]".to_owned()),
        Just("[operator.window]".to_owned()),
        "(name|input|inputs|connector|path|ports|window|size|type|config|strategy|delay|a) = \
         (\"[a-c.*0-9é]{0,4}\"|[0-9.-]{1,25}|\\[\"a\", \\[\"b.0\"\\]\\]|\\{ a = nan \\}|true|\"csv\"|\"generator\")",
        ".{0,20}",
    ];
    proptest::collection::vec(line, 0..20).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_panics_the_parser(text in prop_oneof![".{0,200}", nearly_a_job()], set in "(a|job|source)\\.[a-c.]{1,5}=.{0,8}") {
        let sets: Vec<Override> = set.parse().into_iter().collect();
        if let Err(errors) = parse(&text, Path::new("job.toml"), &sets) {
            prop_assert!(!errors.errors.is_empty());
            prop_assert!(!errors.to_string().is_empty());
        }
    }
}

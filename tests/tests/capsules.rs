//! Crash capsules: what crashed is in a file afterwards, and `cofferdam replay` crashes
//! in the same way again, names the record, and says whether another build does so too.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use cofferdam::capsule::{Capsule, memory::GuestMemory};
use cofferdam_tests::{Ended, Place, guests, program};
use serde_json::Value;

const RECORDS: u64 = 12_000;
/// Some batches after the last checkpoint before it.
const POISON: u64 = 11_500;

fn value(i: u64) -> String {
    format!(r#"{{"k":"key-{}","t":{i},"n":"number {i}."}}"#, i % 37)
}

/// A job whose guest crashes for good. `more` goes into `[job]`.
fn job(more: &str, artifact: &str, operator: &str) -> String {
    format!(
        r#"
[job]
name = "crashes"
channel_capacity = "32KiB"
{more}

[checkpoints]
every_records = 4_000

[restart]
strategy = "fixed-delay"
attempts = 1
delay = "1ms"

[[source]]
name = "records"
connector = "jsonl"
path = "in.jsonl"
key = "k"
timestamp = {{ field = "t", format = "millis" }}

[[operator]]
name = "guest"
artifact = "{artifact}"
input = "records"
poison = "fail"
{operator}

[[sink]]
name = "out"
input = "guest"
connector = "discard"
"#
    )
}

/// Runs such a job, with its state in `state`.
fn crash(more: &str, artifact: &str, operator: &str, arguments: &[&str]) -> (Place, Ended) {
    let place = Place::new();
    let mut text = String::new();
    for i in 0..RECORDS {
        let _ = writeln!(text, "{}", value(i));
    }
    place.write("in.jsonl", text);
    let ended = place.run_job(&job(more, artifact, operator), arguments);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    (place, ended)
}

/// The capsules, the earliest first.
fn capsules(place: &Place, dir: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path(dir)).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn cofferdam(arguments: &[&str]) -> Output {
    let mut command = program();
    let artifacts = guests();
    command.args(arguments).arg("--artifacts").arg(artifacts).output().unwrap()
}

/// What a replay says to programs, and its exit code.
fn replay(capsule: &Path, more: &[&str]) -> (Value, i32) {
    let arguments = [&["replay", capsule.to_str().unwrap(), "--json"], more].concat();
    let Output { status, stdout, stderr } = cofferdam(&arguments);
    let said = serde_json::from_slice(&stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&stderr)));
    (said, status.code().unwrap())
}

fn component(name: &str) -> String {
    guests().join(format!("{name}.wasm")).to_str().unwrap().to_owned()
}

/// That it crashes as it did, on this record.
fn check(said: &Value, code: i32, key: &str, value: &str) {
    assert_eq!(code, 1, "{said}");
    assert_eq!((&said["crashes"], &said["crash"]["as_before"]), (&true.into(), &true.into()));
    assert_eq!(said["same_build"], true);
    assert_eq!(said["incomplete"], Value::Null);
    let culprits = said["crash"]["culprits"].as_array().unwrap();
    assert_eq!((culprits.len(), &said["crash"]["all_found"]), (1, &true.into()));
    assert_eq!((&culprits[0]["key"], &culprits[0]["value"]), (&key.into(), &value.into()));
    let last = said["steps"].as_array().unwrap().len() - 1;
    assert_eq!(said["crash"]["event"], last);
}

#[test]
fn a_crash_is_seen_again_as_it_was_whatever_state_its_guest_has() {
    let poison = format!("number {POISON}.");
    let mut most_steps = 0;
    for (artifact, operator) in [
        ("fragile", format!("config.poison = ['{poison}']")),
        (
            "fragile",
            format!("window = {{ type = 'session', gap = '25ms' }}\nconfig.poison = ['{poison}']"),
        ),
        ("fragile-map", format!("config.poison = ['{poison}']")),
        (
            "fragile-map",
            format!("deadline = '50ms'\nconfig = {{ poison = ['{poison}'], how = 'spin' }}"),
        ),
        ("stateful-count", format!("config.poison = '{poison}'")),
    ] {
        let (place, ended) = crash("", artifact, &operator, &["--state", "state"]);
        let files = capsules(&place, "state/capsules");
        assert_eq!(files.len(), 2, "one for each crash: {files:?}");
        let last = files[1].file_name().unwrap().to_str().unwrap();
        ended.failed(1, &["to see it again: cofferdam replay ", last]);
        let told = ended.summary["restarts"]["last_capsule"].as_str().unwrap();
        assert!(told.ends_with(last), "{told}");
        for file in &files {
            let (said, code) = replay(file, &[]);
            check(&said, code, &format!("key-{}", POISON % 37), &value(POISON));
            assert_eq!(said["before"]["message"], said["crash"]["failure"]["message"]);
        }
        // The second time, the state of a checkpoint and what came since are in it: mostly a
        // few batches, where the checkpoint did not come just before the crash.
        let (second, _) = replay(&files[1], &[]);
        most_steps = most_steps.max(second["steps"].as_array().unwrap().len());
    }
    assert!(most_steps > 1, "nothing was remembered");
}

/// A job that takes a second or two, whose guest counts in its memory.
fn counting(more: &str, operator: &str) -> String {
    let from = "connector = \"jsonl\"\npath = \"in.jsonl\"\nkey = \"k\"\n";
    let job = job(more, "memory-count", operator);
    assert!(job.contains(from), "the job is not as it was");
    let (before, rest) = job.split_once(from).unwrap();
    let (_, after) = rest.split_once("}\n").unwrap();
    let generator = "connector = \"generator\"\nrecords = 30_000\nrate = 20_000\nkeys = 37\n\
                     fields = { n = { sequence = 0 } }\n";
    let sink = "connector = \"lines\"\npath = \"out.txt\"";
    format!("{before}{generator}{after}").replace("connector = \"discard\"", sink)
}

#[test]
fn a_crash_that_comes_of_what_is_in_the_guests_memory_is_seen_again() {
    let whole = Place::new();
    let _ = whole.run_job(&counting("", ""), &[]).finished();
    let counts = fs::read_to_string(whole.path("out.txt")).unwrap();
    // The first record that makes it so many of its key.
    let (at, count) =
        counts.lines().enumerate().find(|(_, c)| c.contains("\"count\":500")).unwrap();
    let key = serde_json::from_str::<Value>(count).unwrap()["key"].clone();

    let operator = |memory: &str| format!("{memory}\nconfig.trap_at_count = 500");
    let place = Place::new();
    let ended = place.run_job(&counting("", &operator("state = 'memory'")), &["--state", "state"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let files = capsules(&place, "state/capsules");
    assert_eq!(files.len(), 2, "one for each crash: {files:?}");
    for file in &files {
        let (said, code) = replay(file, &[]);
        assert_eq!((code, &said["crash"]["as_before"]), (1, &true.into()), "{said}");
        assert_eq!((&said["incomplete"], &said["same_build"]), (&Value::Null, &true.into()));
        let steps = said["steps"].as_array().unwrap();
        assert_eq!(said["crash"]["event"], steps.len() - 1);
        // It is not fed from the beginning: the counts were in its memory.
        let fed: u64 = steps.iter().map(|step| step["records"].as_u64().unwrap()).sum();
        assert!(fed < at as u64 / 2, "{fed} records were fed to it");
        let first = &said["crash"]["culprits"][0];
        let record: Value = serde_json::from_str(first["value"].as_str().unwrap()).unwrap();
        assert_eq!((&record["key"], &record["n"]), (&key, &at.into()), "{said}");
        // It means nothing to another component.
        let path = file.to_str().unwrap();
        let other = cofferdam(&["replay", path, "--with", &component("copy")]);
        assert_eq!(other.status.code(), Some(2));
        let said = String::from_utf8(other.stderr).unwrap();
        assert!(said.contains("which means nothing to another one"), "{said}");
    }
    // Without `state = "memory"` the counts go with the instance.
    let place = Place::new();
    let _ = place.run_job(&counting("", &operator("")), &["--state", "state"]).finished();
    let (said, code) = replay(&capsules(&place, "state/capsules")[0], &[]);
    assert_eq!((code, &said["crashes"]), (0, &false.into()), "{said}");
}

#[test]
fn a_redacted_capsule_has_nothing_of_the_guests_memory() {
    let operator = "state = 'memory'\nconfig.trap_at_count = 500";
    let keys_of = |more: &str| {
        let place = Place::new();
        let ended = place.run_job(&counting(more, operator), &["--state", "state"]);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let file = capsules(&place, "state/capsules").pop().unwrap();
        let bytes = fs::read(&file).unwrap();
        let keys = bytes.windows(4).filter(|window| *window == b"key-").count();
        (replay(&file, &[]), keys)
    };
    let ((said, _), keys) = keys_of("capsules = \"redacted\"");
    assert_eq!((&said["redacted"], &said["crashes"], keys), (&true.into(), &false.into(), 0));
    let ((said, _), keys) = keys_of("");
    assert_eq!((&said["redacted"], &said["crashes"]), (&false.into(), &true.into()));
    assert!(keys > 37, "{keys}");
}

#[test]
fn what_an_operator_with_its_state_in_its_memory_is_given_can_be_recorded() {
    let place = Place::new();
    place.write("job.toml", counting("", "state = 'memory'"));
    let mut running = place.start("job.toml", &["--state", "state"]);
    running.until_checkpoints(1);
    let record = ["operator", "record", "guest", "--state", "state", "--batches", "3"];
    let recorded = place.command(&[&record[..], &["--to", "r", "--json"]].concat()).unwrap();
    assert_eq!(recorded["whole"], true, "{recorded}");
    let _ = running.wait().finished();
    let recording = Capsule::read(&place.path("r")).unwrap();
    let GuestMemory::Then(memory) = &recording.memory else { panic!("without its memory") };
    assert!(memory.bytes() > 0);
    let same = component("memory-count");
    let compare = |new: &str| {
        place.answer(&["operator", "compare", "r", "--old", &same, "--new", new, "--json"])
    };
    assert_eq!(compare(&same).1["comparison"]["verdict"], "same");
    assert_eq!(compare(&component("copy")).1["comparison"]["verdict"], "new-crashes");
    let (said, _) = replay(&place.path("r"), &[]);
    assert_eq!((&said["crashes"], &said["incomplete"]), (&false.into(), &Value::Null), "{said}");
}

#[test]
fn a_timer_that_crashes_is_seen_again_too() {
    for (operator, value) in [
        ("config = { poison_firing = 'key-5', timer = 5_000 }", "¢"),
        ("window = { type = 'tumbling', size = '1s' }\nconfig.poison_firing = 'key-5'", "\u{1b}"),
    ] {
        let (place, _) = crash("", "fragile", operator, &["--state", "state"]);
        let files = capsules(&place, "state/capsules");
        assert_eq!(files.len(), 2);
        for file in files {
            let (said, code) = replay(&file, &[]);
            assert_eq!((code, &said["crash"]["as_before"]), (1, &true.into()), "{said}");
            assert_eq!(said["steps"].as_array().unwrap().last().unwrap()["event"], "watermark");
            let culprits = said["crash"]["culprits"].as_array().unwrap();
            assert_eq!((culprits.len(), &culprits[0]["key"]), (1, &"key-5".into()), "{value}");
        }
    }
}

#[test]
fn another_build_is_tried_and_one_of_another_kind_is_refused() {
    let (place, _) =
        crash("", "fragile", "config.poison = ['number 11500.']", &["--state", "state"]);
    let file = &capsules(&place, "state/capsules")[0];
    // It takes any configuration, and is keyed.
    let (said, code) = replay(file, &["--with", &component("misbehave-keyed")]);
    assert_eq!((code, &said["crashes"], &said["same_build"]), (0, &false.into(), &false.into()));
    let path = file.to_str().unwrap();
    let text = cofferdam(&["replay", path, "--with", &component("misbehave-keyed")]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("it does not crash any more") && text.contains("another build"),
        "{text}"
    );
    let other = cofferdam(&["replay", path, "--with", &component("identity")]);
    assert_eq!(other.status.code(), Some(2));
    let said = String::from_utf8(other.stderr).unwrap();
    assert!(said.contains("an operator without keyed state, but the capsule is of"), "{said}");
}

#[test]
fn a_replay_tells_people_what_crashed_where_and_on_which_record() {
    let (place, _) =
        crash("", "fragile", "config.poison = ['number 11500.']", &["--state", "state"]);
    let said = cofferdam(&["replay", capsules(&place, "state/capsules")[1].to_str().unwrap()]);
    let text = String::from_utf8(said.stdout).unwrap();
    for part in [
        "crash of `guest` (subtask 0 of 1) in job `crashes`",
        "begins at checkpoint ",
        "then: guest trap: `fold`",
        "now: it crashes in the same way, in event ",
        "guest_fragile::Fragile",
        "crashes by itself:\n  key   \"key-30\"",
        "number 11500.",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn a_redacted_capsule_has_no_payload_and_says_that_it_may_not_crash() {
    let (place, _) = crash(
        "capsules = 'redacted'",
        "stateful-count",
        "config.poison = 'number 11500.'",
        &["--state", "state"],
    );
    let file = &capsules(&place, "state/capsules")[1];
    let bytes = fs::read(file).unwrap();
    for payload in ["key-1", "number 11499"] {
        let found = bytes.windows(payload.len()).any(|window| window == payload.as_bytes());
        assert!(!found, "{payload} is in it");
    }
    let (said, code) = replay(file, &[]);
    assert_eq!((code, &said["redacted"]), (0, &true.into()));
    assert!(said["incomplete"].as_str().unwrap().contains("may not crash again"), "{said}");
}

#[test]
fn capsules_go_where_they_are_told_to_and_nowhere_if_there_are_to_be_none() {
    let operator = "config.poison = ['number 11500.']";
    let (place, _) = crash("", "fragile", operator, &["--capsules", "kept/here"]);
    assert_eq!(capsules(&place, "kept/here").len(), 2);
    let (place, ended) = crash("capsules = 'off'", "fragile", operator, &["--state", "state"]);
    assert!(capsules(&place, "state/capsules").is_empty());
    assert!(!ended.stderr.contains("to see it again"), "{}", ended.stderr);
}

#[test]
fn a_damaged_or_cut_capsule_is_refused_with_what_is_wrong() {
    let (place, _) =
        crash("", "fragile", "config.poison = ['number 11500.']", &["--state", "state"]);
    let good = fs::read(&capsules(&place, "state/capsules")[0]).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let mut newer = good.clone();
    newer[8] = 9;
    for (bytes, says) in [
        (&good[..good.len() / 2], "it is cut off"),
        (&good[..10], "it is cut off"),
        (&flipped[..], "its checksum is wrong"),
        (&newer[..], "it has format version 9"),
        (&b"hello"[..], "it is no capsule"),
        (&[][..], "it is no capsule"),
    ] {
        place.write("bad.capsule", bytes);
        let said = cofferdam(&["replay", place.path("bad.capsule").to_str().unwrap()]);
        assert_eq!(said.status.code(), Some(2));
        let text = String::from_utf8(said.stderr).unwrap();
        assert!(text.contains(says), "{says}: {text}");
    }
    let said = cofferdam(&["replay", "missing.capsule"]);
    assert_eq!(said.status.code(), Some(2));
}

#[test]
fn two_versions_are_compared_on_what_a_capsule_holds() {
    let (place, _) =
        crash("", "fragile", "config.poison = ['number 11500.']", &["--state", "state"]);
    let file = capsules(&place, "state/capsules")[1].to_str().unwrap().to_owned();
    let compare = |new: &str, more: &[&str]| {
        let new = component(new);
        let said = cofferdam(&[&["operator", "compare", &file, "--new", &new], more].concat());
        (String::from_utf8(said.stdout).unwrap(), said.status.code())
    };
    let (text, code) = compare("misbehave-keyed", &[]);
    assert!(code == Some(1) && text.contains("the old version crashes"), "{text}");
    let (text, code) = compare("fragile", &["--json"]);
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &said["comparison"]["verdict"]), (Some(1), &"both-crash".into()));
}

/// A job that runs on and on, of a guest that counts by key.
fn endless() -> String {
    r#"
[job]
name = "endless"
parallelism = 2

[[source]]
name = "records"
connector = "generator"
rate = 20_000
keys = 50
value_size = 20

[[operator]]
name = "counts"
artifact = "count"
input = "records"

[[operator]]
name = "own"
artifact = "stateful-count"
input = "records"

[[operator]]
name = "passed"
artifact = "copy"
input = "records"

[[sink]]
name = "out"
inputs = ["counts", "own", "passed"]
connector = "discard"
"#
    .to_owned()
}

#[test]
fn a_running_operator_is_recorded_and_versions_are_compared_on_that() {
    let place = Place::new();
    place.write("job.toml", endless());
    let mut running = place.start("job.toml", &["--state", "state"]);
    running.until("at work", |status| status["vertices"][1]["records_in"].as_u64() > Some(5_000));
    let state = place.path("state");
    let record = |operator: &str, more: &[&str]| {
        let to = place.path(&format!("{operator}.recording"));
        let arguments =
            ["operator", "record", operator, "--json", "--state", state.to_str().unwrap(), "--to"];
        let arguments = [&arguments[..], &[to.to_str().unwrap()], more].concat();
        program().args(&arguments).output().unwrap()
    };
    for operator in ["counts", "own", "passed"] {
        let said = record(operator, &["--subtask", "1", "--batches", "20"]);
        let text = String::from_utf8(said.stdout).unwrap();
        let answer: Value = serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&said.stderr)));
        assert_eq!((&answer["answer"], &answer["whole"]), (&"recorded".into(), &true.into()));
        assert!(answer["events"].as_u64() >= Some(20) && answer["since"].as_u64() >= Some(1));
    }
    let unknown = record("nobody", &[]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no operator `nobody`"));
    running.interrupt();
    assert_eq!(running.wait().code, Some(3));
    let compare = |recording: &str, new: &str| {
        let recording = place.path(&format!("{recording}.recording"));
        let path = recording.to_str().unwrap();
        let said = cofferdam(&["operator", "compare", path, "--new", &component(new), "--json"]);
        let json: Value = serde_json::from_slice(&said.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&said.stderr)));
        (json["comparison"].clone(), said.status.code())
    };
    // The state that it began with is in it: a count goes on from there.
    for (recording, component) in [("counts", "count"), ("own", "stateful-count")] {
        let (same, code) = compare(recording, component);
        assert_eq!((code, &same["verdict"]), (Some(0), &"same".into()), "{same}");
        assert!(same["records"].as_u64() >= Some(20) && same["events"].as_u64() >= Some(20));
        assert_eq!(same["old"]["emitted"], same["new"]["emitted"]);
        let first = same["old"]["emitted"]["0"].as_u64();
        assert!(first > Some(0), "{same}");
    }
    let (differs, code) = compare("passed", "upper");
    assert_eq!((code, &differs["verdict"]), (Some(1), &"differs".into()), "{differs}");
    let (first, events) = (&differs["first"], &differs["events"]);
    assert_eq!((&first["what"], &first["event"]), (&"record".into(), &0.into()));
    let value = |side: &str| first[side]["value"].as_str().unwrap().to_owned();
    assert_eq!(value("old").to_uppercase(), value("new"));
    assert!(differs["differing_events"].as_u64() > Some(0) && events.as_u64() >= Some(20));
    // One that cannot take the state over.
    let (lost, code) = compare("own", "copy");
    assert_eq!((code, &lost["verdict"]), (Some(1), &"new-crashes".into()), "{lost}");
    assert!(lost["new"]["crash"]["message"].as_str().unwrap().contains("no `restore`"), "{lost}");
    // One that keeps the same state, but says nothing of it.
    let (silent, code) = compare("counts", "fragile");
    assert_eq!((code, &silent["verdict"]), (Some(1), &"differs".into()), "{silent}");
    assert_eq!((&silent["first"]["new"], &silent["state"]["changed"]), (&Value::Null, &0.into()));
    assert_eq!(replay(&place.path("own.recording"), &[]).1, 0, "a recording does not crash");
}

//! Another version of an operator is tried beside the one that runs, on its real state
//! and input, and takes over only if it does the same, or if that is wanted.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use cofferdam_tests::{Place, Running, guests, jobs::paced};
use serde_json::Value;

const RECORDS: u64 = 90_000;

fn job(operator: &str) -> String {
    const HEAD: &str = r#"
[job]
name = "upgraded"
parallelism = 2
channel_capacity = "64KiB"

[checkpoints]
interval = "200ms"
"#;
    paced(HEAD, RECORDS, operator)
}

const COUNT: &str = "artifact = \"count\"";

fn start(operator: &str) -> (Place, Running) {
    let place = Place::new();
    place.write("job.toml", job(operator));
    let mut running = place.start("job.toml", &["--state", "st"]);
    running.until_checkpoints(2);
    (place, running)
}

fn component(name: &str) -> String {
    guests().join(format!("{name}.wasm")).display().to_string()
}

/// Asks for an upgrade: whether the program ended well, and what the job answered.
fn upgrade(place: &Place, with: &str, more: &[&str]) -> (bool, Value) {
    let component = component(with);
    let mut all = vec!["job", "upgrade", "guest", "--state", "st", "--json", "--with", &component];
    all.extend(more);
    place.answer(&all)
}

fn verdicts(answer: &Value) -> Vec<&str> {
    let all = answer["comparisons"].as_array().unwrap();
    all.iter().map(|comparison| comparison["verdict"].as_str().unwrap()).collect()
}

#[test]
fn a_version_that_does_the_same_takes_over_and_one_that_does_not_is_refused_with_a_diff() {
    let (place, running) = start(COUNT);
    // The same code, which is a good upgrade; only tried at first.
    let (good, tried) = upgrade(&place, "count", &["--batches", "4", "--dry-run"]);
    assert!(good, "{tried}");
    assert_eq!(verdicts(&tried), ["same", "same"]);
    assert_eq!(tried["not_promoted"], "it was only tried");
    assert!(tried["comparisons"][0]["records"].as_u64() > Some(0), "{tried}");
    assert!(tried["comparisons"][1]["new"]["guest_nanos"].as_u64() > Some(0), "{tried}");
    // A version that does not accept the state of the one that runs.
    let (good, refused) = upgrade(&place, "hoard", &["--batches", "2"]);
    assert!(!good);
    assert_eq!(verdicts(&refused), ["new-crashes", "new-crashes"], "{refused}");
    // And now in earnest.
    let (good, upgraded) = upgrade(&place, "count", &["--batches", "4"]);
    assert!(good, "{upgraded}");
    assert!(upgraded["not_promoted"].is_null() && upgraded["from"].is_u64(), "{upgraded}");
    let ended = running.wait().finished();
    assert_eq!((ended.restarts(), ended.vertex("guest", "records_in")), (0, RECORDS));
    assert_eq!(place.counts("out").values().sum::<u64>(), RECORDS, "each record counts once");
}

#[test]
fn a_version_with_other_outcomes_takes_over_only_if_that_is_wanted() {
    let (place, running) = start("artifact = \"identity\"");
    let (good, refused) = upgrade(&place, "upper", &["--batches", "2"]);
    assert!(!good, "{refused}");
    assert_eq!(verdicts(&refused), ["differs", "differs"]);
    let first = &refused["comparisons"][0]["first"];
    assert_eq!((&first["what"], &first["index"]), (&"record".into(), &0.into()), "{first}");
    assert!(first["old"]["value"] != first["new"]["value"], "{first}");
    let why = refused["not_promoted"].as_str().unwrap();
    assert!(why.contains("--accept-differences"), "{why}");
    let (good, taken) = upgrade(&place, "upper", &["--batches", "2", "--accept-differences"]);
    assert!(good && taken["not_promoted"].is_null(), "{taken}");
    let (good, other) = upgrade(&place, "count", &["--batches", "2"]);
    assert!(!good && other.is_null(), "another kind of operator is none of its versions");
    let _ = running.wait().finished();
    let lines = place.lines("out");
    assert_eq!(lines.len() as u64, RECORDS);
    let upper = lines.iter().filter(|line| **line == line.to_uppercase()).count();
    assert!(upper > 0 && upper < lines.len(), "{upper} of {} are the new version's", lines.len());
}

#[test]
fn a_recording_of_a_running_operator_can_be_compared_by_hand() {
    let (place, running) = start(COUNT);
    let record =
        ["operator", "record", "guest", "--state", "st", "--subtask", "1", "--batches", "3"];
    let recorded = place.command(&[&record[..], &["--to", "r", "--json"]].concat()).unwrap();
    assert_eq!((&recorded["path"], &recorded["whole"]), (&"r".into(), &true.into()), "{recorded}");
    let (same, other) = (component("count"), component("hoard"));
    let compare = |new: &str| {
        place.answer(&["operator", "compare", "r", "--old", &same, "--new", new, "--json"])
    };
    assert_eq!(compare(&same).1["comparison"]["verdict"], "same");
    assert_eq!(compare(&other).1["comparison"]["verdict"], "new-crashes");
    let none = place.command(&["operator", "record", "nobody", "--state", "st"]).unwrap_err();
    assert!(none.contains("the job has no operator `nobody`"), "{none}");
    let _ = running.wait().finished();
}

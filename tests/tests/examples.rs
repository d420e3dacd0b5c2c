//! The examples and the README: their job files are valid, and what they compute
//! equals what a few lines of this file find in the same input.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{collections::BTreeMap, fs};

use cofferdam_tests::{Place, program, repository};

/// Says whether `cofferdam job check` is content, and what it printed.
fn check(file: &std::path::Path, graph: &[&str]) -> String {
    let output = program().args(["job", "check"]).arg(file).args(graph).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{}: {said}", file.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_example_passes_the_check_and_can_be_drawn() {
    let mut seen = 0;
    for entry in fs::read_dir(repository().join("examples")).unwrap() {
        let job = entry.unwrap().path().join("job.toml");
        if job.is_file() {
            let text = fs::read_to_string(&job).unwrap();
            let sinks = text.matches("[[sink]]").count();
            let plan = check(&job, &[]);
            assert!(plan.contains(&format!("{sinks} sink")), "{plan}");
            assert!(check(&job, &["--dot"]).starts_with("digraph"));
            assert!(check(&job, &["--mermaid"]).starts_with("flowchart"));
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} examples");
}

#[test]
fn the_job_file_in_the_readme_runs() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let job = readme
        .split("```toml\n")
        .filter_map(|block| block.split("```").next())
        .find(|block| block.contains("[job]"))
        .expect("the README shows a job file");
    let place = Place::new();
    let data = repository().join("examples/flights/flights-2013-01.csv.gz");
    fs::copy(data, place.path("flights-2013-01.csv.gz")).unwrap();
    let _ = place.run_job(job, &[]).finished();
    let found = place.json("out/delayed.jsonl");
    assert!(found.iter().all(|line| line["dep_delay"].as_i64() > Some(60)));
    // Counted with: zcat … | awk -F, '$6 != "NA" && $6 > 60' | wc -l
    assert_eq!(found.len(), LATE_BY_MORE_THAN_AN_HOUR);
}

const LATE_BY_MORE_THAN_AN_HOUR: usize = 1821;

#[test]
fn words_are_counted_as_an_independent_count_does() {
    let example = repository().join("examples/wordcount");
    let text = fs::read_to_string(example.join("text.txt")).unwrap();
    let mut wanted = BTreeMap::<String, u64>::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *wanted.entry(word.to_lowercase()).or_default() += 1;
    }
    assert!(wanted.len() > 50, "a text with words");
    let job = fs::read_to_string(example.join("job.toml")).unwrap();
    for parallelism in [1, 2, 4] {
        let place = Place::new();
        place.write("text.txt", &text);
        let set = format!("job.parallelism={parallelism}");
        let _ = place.run_job(&job, &["--set", &set]).finished();
        // A running count: each word's last one is its total.
        let mut found = BTreeMap::<String, u64>::new();
        for line in place.json("out/counts.jsonl") {
            let most = found.entry(line["key"].as_str().unwrap().to_owned()).or_default();
            *most = line["count"].as_u64().unwrap().max(*most);
        }
        assert_eq!(found, wanted, "at parallelism {parallelism}");
    }
}

/// Runs the sensors example, shortened, and returns what it wrote.
fn sensors(parallelism: u32, seed: u32) -> (Vec<String>, Vec<String>) {
    let job = fs::read_to_string(repository().join("examples/sensors/job.toml")).unwrap();
    let job = job.replace("records = 200_000", "records = 50_000");
    let job = job.replace("seed = 7", &format!("seed = {seed}"));
    let place = Place::new();
    let set = format!("job.parallelism={parallelism}");
    let ended = place.run_job(&job, &["--set", &set]).finished();
    assert_eq!(ended.vertex("readings", "records_out"), 50_000);
    (place.lines("out/alerts"), place.lines("out/minutes"))
}

#[test]
fn sensors_alert_and_are_summed_up_by_the_minute() {
    let (alerts, minutes) = sensors(2, 7);
    assert!(!alerts.is_empty(), "spikes are made, so there are alerts");
    let number = |line: &String, name: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line[name].as_f64().unwrap()
    };
    assert!(alerts.iter().all(|line| number(line, "score").abs() > 6.0));
    // 50,000 readings of 50 ms are 41 minutes and 40 seconds.
    let counted: f64 = minutes.iter().map(|line| number(line, "count")).sum();
    assert_eq!((minutes.len(), counted), (42 * 20, 50_000.0));
    let mean = minutes.iter().map(|line| number(line, "mean")).sum::<f64>() / 840.0;
    assert!((mean - 21.0).abs() < 0.1, "{mean}");
}

#[test]
fn a_generator_gives_the_same_records_for_the_same_seed_only() {
    let records = |seed: u32, parallelism: u32| {
        let place = Place::new();
        let job = format!(
            r#"
[job]
name = "generated"
parallelism = {parallelism}
[[source]]
name = "made"
connector = "generator"
records = 3_000
seed = {seed}
keys = 7
[source.fields]
n = {{ sequence = 1 }}
x = {{ normal = [0.0, 1.0] }}
[[sink]]
name = "out"
input = "made"
connector = "jsonl"
path = "out.jsonl"
"#
        );
        let _ = place.run_job(&job, &[]).finished();
        place.lines("out.jsonl")
    };
    let first = records(1, 1);
    assert_eq!(first.len(), 3_000);
    assert!(first == records(1, 1), "a second run differs");
    assert!(first == records(1, 3), "another parallelism gives other records");
    assert!(first != records(2, 1), "another seed gives the same records");
}

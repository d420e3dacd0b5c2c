//! Operators that keep state in their memory and cannot say what it is
//! (`state = "memory"`): a job with them goes on as if nothing had happened, and what
//! does not qualify, or cannot be gone on from, is refused in words.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{fs, sync::Arc};

use cofferdam::{
    config::job::Grant,
    failure::FailureKind,
    memory::SlotMeter,
    sandbox::{Artifact, Sandbox, SandboxConfig, SlotSettings},
    stream::{Batch, BatchBuilder},
    task_manager::{
        guest::{Guest as OfSubtask, Maker},
        processing::Processing,
    },
};
use cofferdam_tests::{
    Place, guests,
    zoo::{Guest, batch, settings},
};

/// Records of a job: at the rate below, some two seconds.
const RECORDS: u64 = 40_000;
const RATE: &str = "rate = 20_000";
const STATE: [&str; 2] = ["--state", "state"];
const MEMORY: &str = "state = \"memory\"";

/// A job whose operator counts in its memory, and another one behind it.
fn job(rate: &str, keeping: &str, behind: &str) -> String {
    format!(
        r#"
[job]
name = "counted"
channel_capacity = "32KiB"

[checkpoints]
interval = "50ms"

[restart]
strategy = "fixed-delay"
attempts = 5
delay = "1ms"

[[source]]
name = "records"
connector = "generator"
records = {RECORDS}
{rate}
seed = 5
keys = 3_000

[[operator]]
name = "counts"
artifact = "memory-count"
input = "records"
{keeping}

[[operator]]
name = "behind"
artifact = "crasher"
input = "counts"
config = {{ {behind} }}

[[sink]]
name = "out"
input = "behind"
connector = "lines"
path = "out.txt"
"#
    )
}

/// What the job writes if nobody disturbs it.
fn undisturbed() -> Vec<String> {
    let place = Place::new();
    let _ = place.run_job(&job("", MEMORY, ""), &[]).finished();
    let lines = place.lines("out");
    assert_eq!(lines.len() as u64, RECORDS);
    lines
}

/// What it writes if it is killed a few times.
fn killed(keeping: &str) -> Vec<String> {
    let place = Place::new();
    place.write("job.toml", job(RATE, keeping, ""));
    for checkpoints in [1, 3] {
        let mut running = place.start("job.toml", &STATE);
        running.until_checkpoints(checkpoints);
        running.kill();
    }
    let ended = place.run("job.toml", &STATE).finished();
    assert!(ended.summary["checkpoints"]["resumed_from"].as_u64() >= Some(2), "{}", ended.summary);
    place.lines("out")
}

#[test]
fn a_killed_job_goes_on_with_what_was_in_the_guests_memory() {
    let wanted = undisturbed();
    let found = killed(MEMORY);
    let differ = found.iter().zip(&wanted).find(|(found, wanted)| found != wanted);
    assert_eq!(differ, None, "the first line that differs");
    assert_eq!(found.len(), wanted.len());
    // The control: without it, the counts begin anew.
    assert_ne!(killed(""), wanted, "the memory makes no difference");
}

#[test]
fn after_a_trap_the_guests_memory_is_as_it_was_at_the_checkpoint() {
    let place = Place::new();
    let traps = "trap_after_snapshots = 2, traps = 3";
    let ended = place.run_job(&job(RATE, MEMORY, traps), &[]).finished();
    assert_eq!(ended.restarts(), 3);
    assert!(place.lines("out") == undisturbed(), "the output differs");
}

#[test]
fn a_poison_record_is_found_and_what_was_in_the_memory_stays() {
    let place = Place::new();
    let line = |i: u32| format!("{{\"k\":\"{}\"}}\n", if i == 1700 { 99 } else { i % 7 });
    place.write("in.jsonl", (0..3000).map(line).collect::<String>());
    let job = |trap: &str| {
        format!(
            r#"
[job]
name = "poisoned"

[restart]
strategy = "fixed-delay"
attempts = 5
delay = "1ms"

[[source]]
name = "records"
connector = "jsonl"
path = "in.jsonl"
key = "k"

[[operator]]
name = "counts"
artifact = "memory-count"
input = "records"
state = "memory"
config = {{ {trap} }}

[[sink]]
name = "out"
input = "counts"
connector = "lines"
path = "out.txt"

[[sink]]
name = "dead"
input = "counts.dead-letters"
connector = "lines"
path = "dead.txt"
"#
        )
    };
    let ended = place.run_job(&job("trap_on = \"99\""), &[]).finished();
    assert!(ended.restarts() >= 1);
    assert_eq!(place.lines("dead").len(), 1, "{:?}", place.lines("dead"));
    let counted = place.lines("out");
    let other = Place::new();
    other.write("in.jsonl", (0..3000).map(line).collect::<String>());
    let _ = other.run_job(&job(""), &[]).finished();
    let mut wanted = other.lines("out");
    wanted.retain(|line| !line.contains("\"99\""));
    assert_eq!(counted.len(), 2999);
    assert!(counted == wanted, "the counts differ");
}

/// A directory in which the job was stopped, with a checkpoint of its memory.
fn stopped() -> Place {
    let place = Place::new();
    place.write("job.toml", job(RATE, MEMORY, ""));
    let mut running = place.start("job.toml", &STATE);
    running.until_checkpoints(1);
    running.interrupt();
    running.wait().failed(3, &[]);
    place
}

#[test]
fn another_parallelism_other_code_and_another_way_to_keep_state_are_refused() {
    let place = stopped();
    let again = |text: String| place.run_job(&text, &STATE);
    let same = || job("", MEMORY, "");

    let two = same().replace(MEMORY, "state = \"memory\"\nparallelism = 2");
    again(two).failed(4, &["`counts`", "by 1 subtasks", "among 2", "set its parallelism back"]);

    let other = same().replace("artifact = \"memory-count\"", "artifact = \"copy\"");
    again(other).failed(4, &["`counts`", "of the component", "put the old one back"]);

    let without = same().replace(MEMORY, "");
    again(without).failed(4, &["`counts`", "only `state = \"memory\"` goes on from"]);

    let ended = again(same()).finished();
    assert!(ended.summary["checkpoints"]["resumed_from"].as_u64().is_some());
    assert!(place.lines("out") == undisturbed(), "the output differs");
}

#[test]
fn what_a_guest_exported_is_not_taken_for_its_memory() {
    let place = Place::new();
    let behind = |state: &str| {
        job(RATE, MEMORY, "")
            .replace("artifact = \"crasher\"", &format!("artifact = \"crasher\"\n{state}"))
    };
    place.write("job.toml", behind("state = \"export\""));
    let mut running = place.start("job.toml", &STATE);
    running.until_checkpoints(1);
    running.interrupt();
    running.wait().failed(3, &[]);
    place.run_job(&behind(MEMORY), &STATE).failed(4, &["`behind`", "set `state = \"export\"`"]);
}

#[test]
fn an_operator_that_does_not_qualify_is_refused_with_its_line_and_every_reason() {
    let place = Place::new();
    let guest = Guest {
        fields: "(table $t 1 funcref) (global (mut funcref) (ref.null func))
            (func $change (table.set $t (i32.const 0) (ref.null func)))"
            .into(),
        ..Guest::default()
    };
    place.write("guest.wasm", guest.build());
    let text = job("", MEMORY, "").replace("\"memory-count\"", "\"./guest.wasm\"");
    let line = text.lines().position(|line| line == MEMORY).unwrap() + 1;
    let said = [
        format!("job.toml:{line}:1"),
        "its memory cannot be saved (`state = \"memory\"`)".into(),
        "core module 0: mutable global 1 holds a reference".into(),
        "(`change`): `table.set` changes a table".into(),
    ];
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    place.write("job.toml", &text);
    let mut check = cofferdam_tests::program();
    check.current_dir(place.path("")).args(["job", "check", "job.toml"]);
    let output = check.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for part in &said {
        assert!(stderr.contains(part), "`{part}` is not in:\n{stderr}");
    }
    // Without being asked for, it is not looked for.
    let _ = place.run_job(&text.replace(MEMORY, ""), &[]).finished();
}

#[test]
fn where_state_cannot_be_is_told_before_anything_runs() {
    for (artifact, state, reason) in [
        ("memory-count", "fold", "for operators that export `keyed-processor`"),
        ("memory-count", "export", "saved with `state = \"memory\"`"),
        ("count", "export", "its state is kept by the host (`state = \"fold\"`)"),
        ("count", "memory", "its state is kept by the host (`state = \"fold\"`)"),
    ] {
        let text = job("", &format!("state = \"{state}\""), "")
            .replace("\"memory-count\"", &format!("\"{artifact}\""));
        let refused = Place::new().run_job(&text, &[]);
        assert_ne!(refused.code, Some(0), "{artifact} {state}");
        assert!(refused.stderr.contains(reason), "{artifact} {state}:\n{}", refused.stderr);
    }
    let misspelt = Place::new().run_job(&job("", "state = \"memry\"", ""), &[]);
    misspelt.failed(2, &["`state` must be one of", "memory"]);
}

#[tokio::test]
async fn a_guest_that_holds_something_of_the_hosts_is_not_saved() {
    let sandbox = Sandbox::new(&SandboxConfig::uncached(2)).unwrap();
    let grants = [Grant::WasiClocks];
    let artifact = sandbox.load_saving_memory(&Guest::sleeping(1).build(), &grants).unwrap();
    let mut instance = artifact.instantiate(&settings("holder")).await.unwrap();
    assert!(instance.memory_delta().await.unwrap().complete, "it holds nothing yet");
    // Waits with a pollable that it does not drop.
    instance.process(0, &batch(1)).await.unwrap();
    let failure = instance.memory_delta().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadArtifact);
    assert!(failure.message.contains("while it holds something of the host's"), "{failure}");
}

/// The guest that counts, in a slot of so many bytes, with a way back from any crash.
async fn watched(artifact: &Artifact, limit: usize) -> Processing {
    let memory = SlotMeter::alone(limit);
    let config = serde_json::json!({ "trap_on": "poison" }).as_object().unwrap().clone();
    let settings =
        SlotSettings { memory: memory.clone(), config: Arc::new(config), ..settings("counts") };
    let maker = Maker { artifact: artifact.clone(), settings };
    let instance = maker.open().await.unwrap();
    let mut calls = Processing::new(OfSubtask::new(maker, instance), memory, true, false, None);
    calls.watch_memory(true).await.unwrap();
    calls
}

/// Records of which each has a key of its own, of a KiB.
fn large_keys() -> Batch {
    let mut builder = BatchBuilder::new();
    (0..2_000).for_each(|i| builder.push(Some(format!("{i:01024}").as_bytes()), b"", None));
    builder.take()
}

#[tokio::test]
async fn a_guest_is_never_brought_back_to_less_than_it_had() {
    let sandbox = Sandbox::new(&SandboxConfig::uncached(2)).unwrap();
    let component = fs::read(guests().join("memory-count.wasm")).unwrap();
    let grants = [Grant::Log, Grant::Config, Grant::Metrics];
    let artifact = sandbox.load_saving_memory(&component, &grants).unwrap();
    let mut poison = BatchBuilder::new();
    poison.push(Some(b"poison"), b"", None);
    let (records, poison) = (large_keys(), poison.take());
    // How much it takes.
    let mut calls = watched(&artifact, 256 << 20).await;
    let at_first = calls.whole_memory().await.unwrap().unwrap().bytes();
    let outcome = calls.process(0, &records).await.unwrap();
    let later = calls.whole_memory().await.unwrap().unwrap().bytes();
    assert!(later > at_first + (2 << 20), "{at_first} bytes became {later}");
    // There is room for a copy of what it had at first, and not for one of what it has then.
    let call = records.bytes() + outcome.bytes();
    let limit = calls.guest_memory() + call + at_first + (1 << 20);
    let mut calls = watched(&artifact, limit).await;
    calls.process(0, &records).await.unwrap();
    calls.came_on(0, &records).await.unwrap();
    assert_eq!(calls.process(0, &poison).await.unwrap_err().kind, FailureKind::GuestTrap);
    calls.renew().await.unwrap();
    let counted = calls.process(0, &records.slice(0..1)).await.unwrap();
    let (_, counted) = &counted.emissions[0];
    assert!(counted.value(0).ends_with(b"\"count\":2}"), "it has counted that before");
    assert_eq!(calls.process(0, &poison).await.unwrap_err().kind, FailureKind::GuestTrap);
    // That copy was not to be had. A fresh instance would begin to count anew.
    let failure = calls.renew().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::OutOfMemory);
    assert!(failure.message.contains("no room in its slot for a copy"), "{failure}");
}

//! What a process leaves when it dies, and what a disk does to it: the job goes on to the
//! output of an undisturbed run, or is refused with what is damaged and what to do. It
//! never begins anew by itself. That it can be killed at any moment is shown in
//! `resume.rs` and by `cargo xtask chaos`.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    path::PathBuf,
};

use cofferdam_tests::{Disk, Ended, Place, Running, jobs::WINDOWS};

const RECORDS: u64 = 120_000;

/// A job that writes files of all kinds, to `disk/out`. Its checkpoints come when it stops.
fn job() -> String {
    format!(
        r#"
[job]
name = "mortal"
parallelism = 2
channel_capacity = "64KiB"

[checkpoints]
interval = "1h"

[restart]
strategy = "none"

[[source]]
name = "readings"
connector = "generator"
records = {RECORDS}
rate = 20_000
seed = 5
keys = 50
start = 2026-01-01T00:00:00Z
step = "10ms"
fields = {{ reading = {{ sequence = 1 }}, room = {{ one_of = ["kitchen", "cellar"] }} }}
{WINDOWS}
[[sink]]
name = "all"
input = "readings"
connector = "lines"
path = "disk/out/all.txt"

[[sink]]
name = "packed"
input = "readings"
connector = "lines"
path = "disk/out/packed.txt.gz"

[[sink]]
name = "rolled"
input = "readings"
connector = "lines"
path = "disk/out/rolled.txt"
roll = "1MiB"

[[sink]]
name = "windows-file"
input = "windows"
connector = "jsonl"
path = "disk/out/windows.jsonl"
"#
    )
}

const OUTPUTS: [&str; 4] = ["all", "packed", "rolled", "windows"];
const STATE: [&str; 2] = ["--state", "disk/state"];
/// No need to wait any more.
const FAST: [&str; 4] = ["--state", "disk/state", "--set", "readings.rate=100_000_000"];

fn outputs(place: &Place) -> Vec<Vec<String>> {
    OUTPUTS.iter().map(|name| place.lines(&format!("disk/out/{name}"))).collect()
}

fn assert_goes_on_to_the_same_output(place: &Place) {
    let ended = place.run("job.toml", &FAST).finished();
    assert!(ended.summary["checkpoints"]["resumed_from"].is_u64(), "{}", ended.summary);
    let undisturbed = Place::new();
    let _ = undisturbed.run_job(&job(), &["--set", "readings.rate=100_000_000"]).finished();
    let (found, wanted) = (outputs(place), outputs(&undisturbed));
    assert_eq!(wanted[0].len() as u64, RECORDS);
    for ((found, wanted), name) in found.iter().zip(&wanted).zip(OUTPUTS) {
        assert!(found == wanted, "{name}: {} lines, wanted {}", found.len(), wanted.len());
    }
}

fn read(ended: &serde_json::Value) -> u64 {
    ended["vertices"][0]["records_out"].as_u64().unwrap_or(0)
}

fn until_read(running: &mut Running, records: u64) {
    running.until("so many records", |status| read(status) >= records);
}

/// A job that was stopped with a checkpoint; what its pending files were at it.
fn stopped() -> (Place, Ended, BTreeMap<PathBuf, u64>) {
    let place = Place::new();
    let ended = stop_in(&place);
    let len = |path: PathBuf| (path.clone(), fs::metadata(path).unwrap().len());
    let pending: BTreeMap<_, _> = pending(&place).into_iter().map(len).collect();
    assert!(pending.len() >= 3, "{pending:?}");
    (place, ended, pending)
}

fn stop_in(place: &Place) -> Ended {
    place.write("job.toml", job());
    let mut running = place.start("job.toml", &STATE);
    until_read(&mut running, 1);
    running.interrupt();
    let ended = running.wait();
    ended.failed(3, &["final checkpoint"]);
    ended
}

fn pending(place: &Place) -> Vec<PathBuf> {
    let files = fs::read_dir(place.path("disk/out")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_string_lossy().ends_with(".pending")).collect()
}

fn change(path: &PathBuf, covered: u64, tail: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(covered).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
    file.write_all(tail).unwrap();
}

#[test]
fn what_was_not_synced_when_the_power_went_may_be_anything() {
    let (place, ended, covered) = stopped();
    let before = read(&ended.summary);
    // Lost; blocks that were allocated and never written; half a line of something else.
    let tails: [&[u8]; 3] = [b"", &[0; 300_000], b"{\"reading\":17,\"ro\x1f\x8b\x08\0\0\xff"];
    for tail in tails {
        let mut running = place.start("job.toml", &STATE);
        until_read(&mut running, before + 20_000);
        running.kill();
        let grown = |path: &PathBuf| {
            fs::metadata(path).unwrap().len() > covered.get(path).copied().unwrap_or(0)
        };
        let pending = pending(&place);
        assert!(pending.iter().filter(|path| grown(path)).count() >= 2, "nothing was written");
        for path in pending {
            change(&path, covered.get(&path).copied().unwrap_or(0), tail);
        }
    }
    assert_goes_on_to_the_same_output(&place);
}

#[test]
fn a_file_that_lost_what_the_checkpoint_covers_is_refused_until_it_is_whole_again() {
    let (place, _, covered) = stopped();
    for (path, len) in covered.into_iter().filter(|(_, len)| *len > 0) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let whole = fs::read(&path).unwrap();
        let refused = |what: &str| {
            let ended = place.run("job.toml", &STATE);
            ended.failed(2, &[&name, what, "start the job afresh"]);
        };
        change(&path, len - 1, b"");
        refused(&format!("it has {} bytes, and the checkpoint covers {len}", len - 1));
        let mut other = whole.clone();
        let last = other.len() - 1;
        other[last] ^= 1;
        fs::write(&path, &other).unwrap();
        refused("it does not begin with what the checkpoint wrote");
        fs::remove_file(&path).unwrap();
        refused("the pending part is gone");
        fs::write(&path, &whole).unwrap();
    }
    assert_goes_on_to_the_same_output(&place);
}

#[test]
fn a_disk_that_is_full_of_output_ends_the_job_and_with_more_room_it_goes_on() {
    let place = Place::new();
    let Some(disk) = Disk::mount(&place, "64m") else { return };
    stop_in(&place);
    disk.remount("size=7m");
    let full = place.run("job.toml", &FAST);
    full.failed(1, &["disk/out/", "No space left on device"]);
    // Nothing of it is taken for the whole.
    assert!(!place.path("disk/out/all.txt").exists());
    disk.remount("size=256m");
    assert_goes_on_to_the_same_output(&place);
}

#[test]
fn a_disk_that_is_full_of_state_ends_the_job_and_with_more_room_it_goes_on() {
    let place = Place::new();
    let Some(disk) = Disk::mount(&place, "64m") else { return };
    // Only the state is on the disk.
    let elsewhere = |text: String| text.replace("\"disk/out/", "\"out/");
    place.write("job.toml", elsewhere(job()));
    let mut running = place.start("job.toml", &STATE);
    until_read(&mut running, 1);
    running.interrupt();
    running.wait().failed(3, &["final checkpoint"]);
    fs::write(place.path("disk/ballast"), vec![0; 63 << 20]).unwrap_or_default();
    let full =
        place.run("job.toml", &[&STATE[..], &["--set", "checkpoints.interval=50ms"]].concat());
    assert!([Some(1), Some(4)].contains(&full.code), "{:?}\n{}", full.code, full.stderr);
    full.failed(full.code.unwrap(), &["disk/state", "No space left on device"]);
    fs::remove_file(place.path("disk/ballast")).unwrap();
    disk.remount("size=256m");
    let ended = place.run("job.toml", &FAST).finished();
    assert!(ended.summary["checkpoints"]["resumed_from"].is_u64(), "{}", ended.summary);
    let undisturbed = Place::new();
    let fast = ["--set", "readings.rate=100_000_000"];
    let _ = undisturbed.run_job(&elsewhere(job()), &fast).finished();
    for name in OUTPUTS {
        let name = format!("out/{name}");
        assert!(place.lines(&name) == undisturbed.lines(&name), "{name}");
    }
}

#[test]
fn a_state_directory_that_cannot_be_written_is_refused_and_nothing_is_lost() {
    let place = Place::new();
    let Some(disk) = Disk::mount(&place, "64m") else { return };
    stop_in(&place);
    disk.remount("ro");
    place.run("job.toml", &STATE).failed(4, &["disk/state", "Read-only file system"]);
    disk.remount("rw");
    assert_goes_on_to_the_same_output(&place);
}

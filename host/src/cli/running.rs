//! Commands that ask something of a job that runs in another process, and say what it
//! answered.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    capsule_args::RecordArgs,
    exit::Exit,
    human,
    running_args::{JobArgs, UpgradeArgs},
    terminal,
};
use crate::{
    ids::{OperatorName, SlotId},
    job_manager::control::Ask,
    remote::client::{self, AskError},
};

pub(super) fn status(job: &JobArgs) -> Exit {
    say(job, &Ask::Status, |answer| {
        let vertices = answer["vertices"].as_array().cloned().unwrap_or_default();
        let mut lines = vec![format!(
            "{} {}: {} checkpoints, {} restarts",
            text(&answer["job"]),
            text(&answer["state"]),
            answer["checkpoints"]["completed"],
            answer["restarts"]["count"]
        )];
        lines.extend(vertices.iter().map(|v| {
            format!(
                "  {:<20} {:>3} × {:<8} {:>14} in {:>14} out",
                text(&v["name"]),
                v["parallelism"],
                text(&v["kind"]),
                human::exact(v["records_in"].as_u64().unwrap_or(0)),
                human::exact(v["records_out"].as_u64().unwrap_or(0)),
            )
        }));
        lines.join("\n")
    })
}

pub(super) fn rescale(job: &JobArgs, parallelism: u32, operator: Option<OperatorName>) -> Exit {
    say(job, &Ask::Rescale { operator, parallelism }, rescaled)
}

/// A job that goes on with another parallelism, in words.
pub(super) fn rescaled(answer: &Value) -> String {
    goes_on("the new parallelism", answer)
}

/// A job that goes on as a changed one, in words.
pub(super) fn goes_on(with: &str, answer: &Value) -> String {
    let from = &answer["from"];
    format!(
        "it runs with {with}, from checkpoint {from}, after a pause of {} ms",
        answer["pause_millis"]
    )
}

pub(super) fn trigger(job: &JobArgs) -> Exit {
    say(job, &Ask::Checkpoint, triggered)
}

/// A checkpoint that was taken now, in words.
pub(super) fn triggered(answer: &Value) -> String {
    format!(
        "checkpoint {}: {} written in {} ms",
        answer["id"],
        human::bytes(answer["bytes"].as_f64().unwrap_or(0.0)),
        answer["duration_millis"]
    )
}

/// Stops a job with a savepoint, and puts that where it is wanted.
pub(super) fn stop(job: &JobArgs, to: Option<&Path>) -> Exit {
    take(job, to, true)
}

/// Takes a savepoint, and puts it where it is wanted.
pub(super) fn take(job: &JobArgs, to: Option<&Path>, stop: bool) -> Exit {
    let ask = Ask::Savepoint { name: None, stop };
    fetch(job, &ask, to, "savepoint", |answer, path| {
        format!(
            "savepoint of checkpoint {}: {} ({}){}",
            answer["id"],
            path.display(),
            human::bytes(answer["bytes"].as_f64().unwrap_or(0.0)),
            if stop { "; the job has stopped" } else { "" }
        )
    })
}

/// Has the job write a file, and puts it where it is wanted.
fn fetch(
    job: &JobArgs,
    ask: &Ask,
    to: Option<&Path>,
    what: &str,
    words: impl Fn(&Value, &Path) -> String,
) -> Exit {
    let mut answer = match client::ask(&job.state, ask) {
        Ok(answer) => answer,
        Err(error) => return refused(&error),
    };
    // Its last two parts, below the directory as it is called here: the job may have been
    // started elsewhere.
    let told = PathBuf::from(text(&answer["path"]));
    let folder = told.parent().and_then(Path::file_name).unwrap_or_default();
    let mut path = job.state.join(folder).join(told.file_name().unwrap_or_default());
    answer["path"] = path.display().to_string().into();
    if let Some(to) = to {
        if let Err(error) = carry(&path, to) {
            terminal::say(&format!(
                "error: the {what} {} was taken, but it cannot be put at {}: {error}",
                path.display(),
                to.display()
            ));
            return Exit::State;
        }
        to.clone_into(&mut path);
        answer["path"] = path.display().to_string().into();
    }
    show(job.json, &answer, |answer| words(answer, &path))
}

pub(super) fn record(args: &RecordArgs) -> Exit {
    let RecordArgs { operator, subtask, batches, to, job } = args;
    let ask = Ask::Record { operator: operator.clone(), subtask: *subtask, batches: *batches };
    fetch(job, &ask, to.as_deref(), "recording", |answer, path| {
        format!(
            "recording of {} events since checkpoint {}: {} ({}){}",
            answer["events"],
            answer["since"],
            path.display(),
            human::bytes(answer["bytes"].as_f64().unwrap_or(0.0)),
            if answer["whole"] == true { "" } else { "; fewer batches than were asked for" }
        )
    })
}

pub(super) fn upgrade(args: &UpgradeArgs) -> Exit {
    let component = match lend(&args.with, &args.job.state) {
        Ok(component) => component,
        Err(error) => {
            terminal::say(&format!(
                "error: the component {} cannot be given to the job: {error}",
                args.with.display()
            ));
            return Exit::Usage;
        }
    };
    let ask = Ask::Upgrade {
        operator: args.operator.clone(),
        component: component.clone(),
        batches: args.batches,
        dry_run: args.dry_run,
        accept_differences: args.accept_differences,
    };
    let answer = client::ask(&args.job.state, &ask);
    // The job has read it by now, or does not want it.
    let _ = fs::remove_file(&component);
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return refused(&error),
    };
    show(args.job.json, &answer, |answer| {
        let mut lines: Vec<String> = Vec::new();
        for (i, tried) in answer["comparisons"].as_array().into_iter().flatten().enumerate() {
            lines.push(format!("{}/{i}: {}", args.operator, compared(tried)));
        }
        lines.push(match &answer["not_promoted"] {
            Value::Null => format!(
                "the job runs with the new version, from checkpoint {}, after a pause of {} ms; \
                 name it in the job file, too",
                answer["from"], answer["pause_millis"]
            ),
            why => format!("the old version runs on: {}", text(why)),
        });
        lines.join("\n")
    });
    let tried_only = args.dry_run
        && answer["comparisons"]
            .as_array()
            .is_some_and(|all| all.iter().all(|c| c["verdict"] == "same"));
    if answer["not_promoted"].is_null() || tried_only { Exit::Success } else { Exit::JobFailed }
}

/// What came of a version on one subtask.
fn compared(tried: &Value) -> String {
    let side = |side: &Value| {
        format!(
            "{:.1} ms of guest time, {} at most",
            side["guest_nanos"].as_f64().unwrap_or(0.0) / 1e6,
            human::bytes(side["most_memory"].as_f64().unwrap_or(0.0))
        )
    };
    let mut line = format!(
        "{}: {} events with {} records, {} of them with other outcomes\n    old: {}\n    new: {}",
        text(&tried["verdict"]),
        tried["events"],
        tried["records"],
        tried["differing_events"],
        side(&tried["old"]),
        side(&tried["new"]),
    );
    for (what, value) in [
        ("first difference", &tried["first"]),
        ("first state that differs", &tried["state"]["first"]),
        ("the new version crashed", &tried["new"]["crash"]["message"]),
    ] {
        if !value.is_null() {
            line += &format!("\n    {what}: {value}");
        }
    }
    line
}

/// Copies a component to where the job may read it.
fn lend(component: &Path, state: &Path) -> io::Result<PathBuf> {
    let directory = state.join("upgrades");
    fs::create_dir_all(&directory)?;
    let path = directory.join(format!("{}.wasm", std::process::id()));
    fs::copy(component, &path)?;
    // As the job sees it, which may have been started in another directory.
    fs::canonicalize(path)
}

/// Moves a file, also to another file system.
fn carry(from: &Path, to: &Path) -> io::Result<()> {
    if fs::rename(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)?;
    fs::File::open(to)?.sync_all()?;
    fs::remove_file(from)
}

pub(super) fn slots(job: &JobArgs) -> Exit {
    say(job, &Ask::Slots, |answer| {
        let slots = answer["slots"].as_array().into_iter().flatten();
        let rows: Vec<Vec<String>> = slots
            .map(|slot| {
                let condition = text(&slot["condition"]).to_owned();
                let subtask = slot["subtask"].as_str().unwrap_or("-").to_owned();
                vec![slot["slot"].to_string(), condition, subtask]
            })
            .collect();
        human::table(&["SLOT", "CONDITION", "SUBTASK"], &rows, 3).trim_end().to_owned()
    })
}

pub(super) fn drain_slot(job: &JobArgs, slot: SlotId) -> Exit {
    say(job, &Ask::DrainSlot { slot }, |answer| match &answer["moved"] {
        Value::Null => format!("slot {} is drained; it was empty", answer["slot"]),
        moved => format!(
            "slot {} is drained; `{}` runs in slot {} now, after a pause of {} µs",
            answer["slot"],
            text(&moved["subtask"]),
            moved["to"],
            moved["pause_micros"]
        ),
    })
}

pub(super) fn restore_slot(job: &JobArgs, slot: SlotId) -> Exit {
    say(job, &Ask::RestoreSlot { slot }, |answer| format!("slot {} is used again", answer["slot"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn say(job: &JobArgs, ask: &Ask, words: impl Fn(&Value) -> String) -> Exit {
    match client::ask(&job.state, ask) {
        Ok(answer) => show(job.json, &answer, words),
        Err(error) => refused(&error),
    }
}

fn show(json: bool, answer: &Value, words: impl Fn(&Value) -> String) -> Exit {
    use io::Write as _;
    let text = if json { answer.to_string() } else { words(answer) };
    // Who reads may have gone away.
    let _ = writeln!(io::stdout(), "{text}");
    Exit::Success
}

fn refused(error: &AskError) -> Exit {
    terminal::say(&format!("error: {error}"));
    match error {
        AskError::Refused(_) => Exit::JobFailed,
        AskError::NoJob(_) | AskError::Io { .. } => Exit::State,
    }
}

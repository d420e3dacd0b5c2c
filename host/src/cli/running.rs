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
    running_args::{
        JobArgs, RescaleArgs, SavepointCommand, SlotCommand, StatusArgs, StopArgs, TakeArgs,
    },
    terminal,
};
use crate::{
    job_manager::control::Ask,
    remote::client::{self, AskError},
};

pub(super) fn status(args: &StatusArgs) -> Exit {
    say(&args.job, &Ask::Status, |answer| {
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

pub(super) fn rescale(args: &RescaleArgs) -> Exit {
    let ask = Ask::Rescale { operator: args.operator.clone(), parallelism: args.parallelism };
    say(&args.job, &ask, |answer| {
        let from = &answer["from"];
        format!(
            "it runs with the new parallelism, from checkpoint {from}, after a pause of {} ms",
            answer["pause_millis"]
        )
    })
}

pub(super) fn trigger(job: &JobArgs) -> Exit {
    say(job, &Ask::Checkpoint, |answer| {
        format!(
            "checkpoint {}: {} written in {} ms",
            answer["id"],
            human::bytes(answer["bytes"].as_f64().unwrap_or(0.0)),
            answer["duration_millis"]
        )
    })
}

pub(super) fn savepoint(command: &SavepointCommand) -> Exit {
    match command {
        SavepointCommand::Take(args) => take(args),
    }
}

pub(super) fn stop(args: &StopArgs) -> Exit {
    let StopArgs { to, job } = args;
    let job = JobArgs { state: job.state.clone(), json: job.json };
    take(&TakeArgs { to: to.clone(), stop: true, job })
}

fn take(args: &TakeArgs) -> Exit {
    let ask = Ask::Savepoint { name: None, stop: args.stop };
    let mut answer = match client::ask(&args.job.state, &ask) {
        Ok(answer) => answer,
        Err(error) => return refused(&error),
    };
    let mut path = PathBuf::from(text(&answer["path"]));
    if let Some(to) = &args.to {
        if let Err(error) = carry(&path, to) {
            terminal::say(&format!(
                "error: the savepoint {} was taken, but it cannot be put at {}: {error}",
                path.display(),
                to.display()
            ));
            return Exit::State;
        }
        path.clone_from(to);
        answer["path"] = path.display().to_string().into();
    }
    show(args.job.json, &answer, |answer| {
        format!(
            "savepoint of checkpoint {}: {} ({}){}",
            answer["id"],
            path.display(),
            human::bytes(answer["bytes"].as_f64().unwrap_or(0.0)),
            if args.stop { "; the job has stopped" } else { "" }
        )
    })
}

pub(super) fn record(args: &RecordArgs) -> Exit {
    let RecordArgs { operator, subtask, batches, to, job } = args;
    let operator = operator.clone();
    let ask = Ask::Record { operator, subtask: *subtask, batches: *batches };
    let mut answer = match client::ask(&job.state, &ask) {
        Ok(answer) => answer,
        Err(error) => return refused(&error),
    };
    // As the job sees it, which may run in another directory.
    let name = Path::new(text(&answer["path"])).file_name().unwrap_or_default();
    let mut path = job.state.join("recordings").join(name);
    answer["path"] = path.display().to_string().into();
    if let Some(to) = to {
        if let Err(error) = carry(&path, to) {
            terminal::say(&format!(
                "error: the recording {} was made, but it cannot be put at {}: {error}",
                path.display(),
                to.display()
            ));
            return Exit::State;
        }
        path.clone_from(to);
        answer["path"] = path.display().to_string().into();
    }
    show(job.json, &answer, |answer| {
        let fewer = if answer["whole"] == true { "" } else { "; fewer batches than asked for" };
        format!(
            "recording of {} events since checkpoint {}: {} ({}){fewer}",
            answer["events"],
            answer["since"],
            path.display(),
            human::bytes(answer["bytes"].as_f64().unwrap_or(0.0)),
        )
    })
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

pub(super) fn slot(command: &SlotCommand) -> Exit {
    match command {
        SlotCommand::List(job) => say(job, &Ask::Slots, |answer| {
            let slots = answer["slots"].as_array().cloned().unwrap_or_default();
            let mut lines = vec![format!("{:>4}  {:<12} {}", "SLOT", "CONDITION", "SUBTASK")];
            lines.extend(slots.iter().map(|slot| {
                let subtask = slot["subtask"].as_str().unwrap_or("-");
                format!("{:>4}  {:<12} {subtask}", slot["slot"], text(&slot["condition"]))
            }));
            lines.join("\n")
        }),
        SlotCommand::Drain(args) => {
            say(&args.job, &Ask::DrainSlot { slot: args.slot }, |answer| match &answer["moved"] {
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
        SlotCommand::Restore(args) => {
            say(&args.job, &Ask::RestoreSlot { slot: args.slot }, |answer| {
                format!("slot {} is used again", answer["slot"])
            })
        }
    }
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

//! `cofferdam job …`: jobs of a server.

use std::{fs, thread, time::Duration};

use serde_json::{Value, json};

use super::{
    Server, exit_of, failed,
    job_args::{
        JobAt, JobThere, LimitsArgs, ListArgs, RescaleArgs, SavepointRef, StopArgs, SubmitArgs,
    },
    job_view, refuse, savepoints, text,
    way::{Way, to_job, to_job_there},
    which,
};
use crate::{
    cli::{exit::Exit, human, running, terminal},
    client::{Request, error::ClientError},
    ids::SavepointName,
    service::jobs::JobWord,
};

/// Operators are compiled and opened before a job is taken.
const SUBMITTING: Duration = Duration::from_secs(300);
/// A savepoint of much state takes long.
const STOPPING: Duration = Duration::from_secs(3_600);
/// A job that is given another parallelism takes a checkpoint before.
const RESCALING: Duration = Duration::from_secs(600);
/// From one look at a job that is waited for to the next.
const BETWEEN: Duration = Duration::from_millis(100);

pub(in crate::cli) fn submit(args: &SubmitArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let shown = args.file.display().to_string();
    let file = fs::read(&args.file)
        .map_err(|error| refuse(&format!("cannot read the job file {shown}: {error}")))?;
    let mut request = Request::post(&["v1", "jobs"])
        .query_if("tenant", server.tenant.as_ref())
        .query_if("name", args.name.as_ref());
    for set in &args.sets {
        request = request.query("set", set.as_str());
    }
    if let Some(SavepointRef { job, name }) = &args.from_savepoint {
        let from = format!("{}/{name}", which::job(&server, job)?);
        request = request.query("from_savepoint", from);
    }
    if args.allow_non_restored_state {
        request = request.query("allow_non_restored_state", true);
    }
    let request = request.body("application/toml", file).patience(SUBMITTING);
    let taken = server.client.send(&request).map_err(|error| not_taken(&error, &shown))?;
    let id = text(&taken.json["id"]).to_owned();
    let job = if args.wait { until_it_runs(&server, &id)? } else { taken.json };
    super::show(args.at.json, &job, |job| {
        format!("job {id} `{}` is {}\n", text(&job["name"]), text(&job["state"]))
    })?;
    if let Some(rejected) = job_view::rejected(&job["status"]) {
        terminal::say(&human::plain(&rejected));
    }
    if job["state"] == "failed" {
        terminal::say(&human::plain(&format!("error: the job failed: {}", text(&job["error"]))));
        return Ok(Exit::JobFailed);
    }
    Ok(Exit::Success)
}

/// Says what is wrong with a job file, each mistake with its line.
fn not_taken(error: &ClientError, file: &str) -> Exit {
    let ClientError::Refused(problem) = error else { return failed(error) };
    if problem.mistakes.is_empty() {
        return failed(error);
    }
    for mistake in &problem.mistakes {
        let arrow = |origin: &str| format!("--> {origin}:");
        // The server does not know how the file is called here.
        let shown = match mistake.origin.as_str() {
            "--set" => mistake.shown.clone(),
            origin => mistake.shown.replacen(&arrow(origin), &arrow(file), 1),
        };
        terminal::say(&human::plain(&shown));
    }
    exit_of(error)
}

/// Waits until a job runs or has ended, and says what for: it may take long.
fn until_it_runs(server: &Server, id: &str) -> Result<Value, Exit> {
    let mut told = None;
    loop {
        let job = server.ask(&Request::get(&["v1", "jobs", id]))?.json;
        if !matches!(text(&job["state"]), "created" | "queued" | "restarting") {
            return Ok(job);
        }
        let why = job_view::waits_for(&job);
        if why.is_some() && why != told {
            terminal::say(&human::plain(why.as_deref().unwrap_or_default()));
            told = why;
        }
        thread::sleep(BETWEEN);
    }
}

pub(in crate::cli) fn list(args: &ListArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let request = Request::get(&["v1", "jobs"])
        .query("limit", args.limit)
        .query_if("tenant", server.tenant.as_ref())
        .query_if("state", args.state.map(JobWord::word))
        .query_if("after", args.after);
    let answer = server.ask(&request)?.json;
    let exit = super::show(args.at.json, &answer, job_view::list)?;
    if let Some(next) = answer["next"].as_str().filter(|_| !args.at.json) {
        terminal::say(&human::plain(&format!("there are more: --after {next}")));
    }
    Ok(exit)
}

pub(in crate::cli) fn show(args: &JobAt) -> Result<Exit, Exit> {
    let (server, id) = match to_job(args)? {
        Way::Here(job) => return Ok(running::status(&job)),
        Way::There(there) => there,
    };
    let answer = server.ask(&Request::get(&["v1", "jobs", &id]))?;
    super::show(args.place.at.json, &answer.json, job_view::one)
}

pub(in crate::cli) fn cancel(args: &JobThere) -> Result<Exit, Exit> {
    let (server, id) = to_job_there(args)?;
    let answer = server.ask(&Request::post(&["v1", "jobs", &id, "cancel"]))?;
    super::show(args.at.json, &answer.json, now)
}

/// A job after something was done to it, in words.
fn now(job: &Value) -> String {
    format!("job {} `{}` is {}\n", text(&job["id"]), text(&job["name"]), text(&job["state"]))
}

pub(in crate::cli) fn stop(args: &StopArgs) -> Result<Exit, Exit> {
    let (server, id) = match to_job(&args.job)? {
        Way::Here(job) => return Ok(running::stop(&job, args.to.as_deref())),
        Way::There(there) => there,
    };
    let name = savepoints::name(args.savepoint.as_ref());
    let stopped = stop_with(&server, &id, &name)?;
    super::show(args.job.place.at.json, &stopped, stopped_words)
}

/// Stops a job with a savepoint of this name, and waits until it has ended.
pub(super) fn stop_with(server: &Server, id: &str, name: &SavepointName) -> Result<Value, Exit> {
    // It names what it makes: asked again, it is the same savepoint.
    let request = Request::post(&["v1", "jobs", id, "stop"]).query("savepoint", name);
    let request = request.patience(STOPPING).repeatable();
    let mut job = server.ask(&request)?.json;
    while job["ended_at"].is_null() {
        let path = ["v1", "jobs", id, "savepoints", name.as_str()];
        let savepoint = server.ask(&Request::get(&path))?.json;
        if savepoint["state"] == "failed" {
            let why = text(&savepoint["error"]);
            terminal::say(&human::plain(&format!("error: job {id} runs on: {why}")));
            return Err(Exit::JobFailed);
        }
        thread::sleep(BETWEEN);
        job = server.ask(&Request::get(&["v1", "jobs", id]))?.json;
    }
    if job["state"] == "stopped" {
        return Ok(job);
    }
    terminal::say(&human::plain(&format!(
        "error: job {id} was to be stopped with the savepoint {name}, but is {}{}",
        text(&job["state"]),
        job["error"].as_str().map(|error| format!(": {error}")).unwrap_or_default()
    )));
    Err(Exit::JobFailed)
}

/// A job that was stopped, in words.
pub(super) fn stopped_words(job: &Value) -> String {
    format!(
        "job {} `{}` is {}, with the savepoint {} of checkpoint {}\n",
        text(&job["id"]),
        text(&job["name"]),
        text(&job["state"]),
        text(&job["savepoint"]),
        job["checkpoint"]
    )
}

pub(in crate::cli) fn rescale(args: &RescaleArgs) -> Result<Exit, Exit> {
    let RescaleArgs { job, parallelism, operator } = args;
    let (server, id) = match to_job(job)? {
        Way::Here(job) => return Ok(running::rescale(&job, *parallelism, operator.clone())),
        Way::There(there) => there,
    };
    let mut asked = json!({"parallelism": parallelism});
    if let Some(operator) = operator {
        asked["operator"] = operator.as_str().into();
    }
    let request = Request::post(&["v1", "jobs", &id, "rescale"]).json(&asked);
    let answer = server.ask(&request.patience(RESCALING))?;
    super::show(job.place.at.json, &answer.json, |answer| running::rescaled(answer) + "\n")
}

pub(in crate::cli) fn limits(args: &LimitsArgs) -> Result<Exit, Exit> {
    let LimitsArgs { job, operator, memory, deadline, cpu_cap } = args;
    let (server, id) = to_job_there(job)?;
    let mut asked = json!({"operator": operator});
    for (key, value) in [("memory", memory), ("deadline", deadline), ("cpu_cap", cpu_cap)] {
        if let Some(value) = value {
            asked[key] = value.as_str().into();
        }
    }
    let request = Request::post(&["v1", "jobs", &id, "limits"]).json(&asked);
    let answer = server.ask(&request.patience(RESCALING))?;
    super::show(job.at.json, &answer.json, |answer| {
        running::goes_on("the new limits", answer) + "\n"
    })
}

pub(in crate::cli) fn restart(args: &JobThere) -> Result<Exit, Exit> {
    let (server, id) = to_job_there(args)?;
    let answer = server.ask(&Request::post(&["v1", "jobs", &id, "restart"]))?;
    super::show(args.at.json, &answer.json, now)
}

pub(in crate::cli) fn exceptions(args: &JobThere) -> Result<Exit, Exit> {
    let (server, id) = to_job_there(args)?;
    let answer = server.ask(&Request::get(&["v1", "jobs", &id, "exceptions"]))?;
    super::show(args.at.json, &answer.json, job_view::exceptions)
}

pub(in crate::cli) fn remove(args: &JobThere) -> Result<Exit, Exit> {
    let (server, id) = to_job_there(args)?;
    let answer = server.ask(&Request::delete(&["v1", "jobs", &id]))?;
    super::show(args.at.json, &answer.json, |_| format!("forgot job {id}\n"))
}

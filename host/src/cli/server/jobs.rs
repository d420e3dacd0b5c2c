//! `cofferdam job submit`, `list`, `show`, `cancel` and `stop`: jobs of a server.

use std::{fs, thread, time::Duration};

use serde_json::Value;

use super::{
    Server, exit_of, failed,
    job_args::{CancelArgs, JobAt, ListArgs, StopArgs, SubmitArgs},
    job_view, refuse, text, which,
};
use crate::{
    cli::{exit::Exit, human, running, running_args::JobArgs, terminal},
    client::{Request, error::ClientError},
};

/// Operators are compiled and opened before a job is taken.
const SUBMITTING: Duration = Duration::from_secs(300);
/// A savepoint of much state takes long.
const STOPPING: Duration = Duration::from_secs(3_600);
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
    let request = request.body("application/toml", file).patience(SUBMITTING);
    let taken = server.client.send(&request).map_err(|error| not_taken(&error, &shown))?;
    let id = text(&taken.json["id"]).to_owned();
    let job = if args.wait { until_it_runs(&server, &id)? } else { taken.json };
    super::show(args.at.json, &job, |job| {
        format!("job {id} `{}` is {}\n", text(&job["name"]), text(&job["state"]))
    })?;
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

/// Waits until a job runs or has ended.
fn until_it_runs(server: &Server, id: &str) -> Result<Value, Exit> {
    loop {
        let job = server.ask(&Request::get(&["v1", "jobs", id]))?.json;
        if !matches!(text(&job["state"]), "created" | "queued" | "restarting") {
            return Ok(job);
        }
        thread::sleep(BETWEEN);
    }
}

pub(in crate::cli) fn list(args: &ListArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let state = args.state.map(|state| {
        let value = clap::ValueEnum::to_possible_value(&state);
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    });
    let request = Request::get(&["v1", "jobs"])
        .query("limit", args.limit)
        .query_if("tenant", server.tenant.as_ref())
        .query_if("state", state)
        .query_if("after", args.after);
    let answer = server.ask(&request)?.json;
    let exit = super::show(args.at.json, &answer, job_view::list)?;
    if let Some(next) = answer["next"].as_str().filter(|_| !args.at.json) {
        terminal::say(&human::plain(&format!("there are more: --after {next}")));
    }
    Ok(exit)
}

pub(in crate::cli) fn show(args: &JobAt) -> Result<Exit, Exit> {
    let (server, id) = match by_way(args)? {
        Way::Here(job) => return Ok(running::status(&job)),
        Way::There(server, id) => (server, id),
    };
    let answer = server.ask(&Request::get(&["v1", "jobs", &id]))?;
    super::show(args.at.json, &answer.json, job_view::one)
}

pub(in crate::cli) fn cancel(args: &CancelArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let id = which::job(&server, &args.name)?;
    let answer = server.ask(&Request::post(&["v1", "jobs", &id, "cancel"]))?;
    super::show(args.at.json, &answer.json, |job| {
        format!("job {id} `{}` is {}\n", text(&job["name"]), text(&job["state"]))
    })
}

pub(in crate::cli) fn stop(args: &StopArgs) -> Result<Exit, Exit> {
    let (server, id) = match by_way(&args.job)? {
        Way::Here(job) => return Ok(running::stop(&job, args.to.as_deref())),
        Way::There(server, id) => (server, id),
    };
    let request = Request::post(&["v1", "jobs", &id, "stop"]).patience(STOPPING);
    let answer = server.ask(&request)?;
    super::show(args.job.at.json, &answer.json, |job| {
        format!(
            "job {id} `{}` is {}, with the savepoint {} of checkpoint {}\n",
            text(&job["name"]),
            text(&job["state"]),
            text(&job["savepoint"]),
            job["checkpoint"]
        )
    })
}

/// By which way a job is asked.
enum Way {
    /// By its state directory.
    Here(JobArgs),
    /// By a server, as the job of this identifier.
    There(Server, String),
}

fn by_way(args: &JobAt) -> Result<Way, Exit> {
    if let Some(state) = &args.state {
        return Ok(Way::Here(JobArgs { state: state.clone(), json: args.at.json }));
    }
    let Some(server) = Server::find(&args.at.server)? else {
        return Err(refuse(
            "it is not said where the job is: name the state directory of one that runs on this \
             machine with --state DIR, or a server with --server URL, COFFERDAM_SERVER or a \
             profile (`cofferdam profile add`)",
        ));
    };
    let Some(name) = &args.name else {
        return Err(refuse(&format!(
            "name a job of {}, by its name or identifier, or the state directory of one that runs \
             on this machine with --state DIR",
            server.client.address()
        )));
    };
    let id = which::job(&server, name)?;
    Ok(Way::There(server, id))
}

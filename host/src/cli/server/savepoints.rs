//! `cofferdam savepoint …`: savepoints of a server's jobs. Those of a state directory are left to
//! `running`.
//!
//! The name of a savepoint is chosen here, so that one that is asked for again, since an answer was
//! lost, is the same one.

use std::{thread, time::Duration};

use serde_json::Value;

use super::{
    Server, fields,
    job_args::JobThere,
    jobs, moment,
    savepoint_args::{SavepointCommand, SavepointThere, TakeArgs},
    text,
    way::{Way, to_job, to_job_there},
    which,
};
use crate::{
    cli::{
        exit::Exit,
        human::{self, table},
        running, terminal,
    },
    client::Request,
    ids::SavepointName,
};

/// From one look at a savepoint that is waited for to the next.
const BETWEEN: Duration = Duration::from_millis(100);

pub(in crate::cli) fn savepoint(command: &SavepointCommand) -> Result<Exit, Exit> {
    match command {
        SavepointCommand::Take(args) => take(args),
        SavepointCommand::List(args) => list(args),
        SavepointCommand::Show(args) => {
            let (server, id) = of_job(args)?;
            let answer = server.ask(&Request::get(&path(&id, args.name.as_str())))?;
            super::show(args.at.json, &answer.json, one)
        }
        SavepointCommand::Dispose(args) => {
            let (server, id) = of_job(args)?;
            let answer = server.ask(&Request::delete(&path(&id, args.name.as_str())))?;
            let name = &args.name;
            super::show(args.at.json, &answer.json, |_| {
                format!("disposed of the savepoint {name} of job {id}\n")
            })
        }
    }
}

fn of_job(args: &SavepointThere) -> Result<(Server, String), Exit> {
    let server = Server::of(&args.at.server)?;
    let id = which::job(&server, &args.job)?;
    Ok((server, id))
}

fn path<'a>(job: &'a str, name: &'a str) -> [&'a str; 5] {
    ["v1", "jobs", job, "savepoints", name]
}

/// The name that was given, or one that nobody has.
pub(super) fn name(given: Option<&SavepointName>) -> SavepointName {
    given.cloned().unwrap_or_else(|| {
        SavepointName::new(format!("{:016x}", rand::random::<u64>()))
            .expect("hexadecimal digits can name a savepoint")
    })
}

fn take(args: &TakeArgs) -> Result<Exit, Exit> {
    let (server, id) = match to_job(&args.job)? {
        Way::Here(job) => return Ok(running::take(&job, args.to.as_deref(), args.stop)),
        Way::There(there) => there,
    };
    let (name, json) = (name(args.savepoint.as_ref()), args.job.place.at.json);
    if args.stop {
        let stopped = jobs::stop_with(&server, &id, &name)?;
        return super::show(json, &stopped, jobs::stopped_words);
    }
    let mut taken = server.ask(&Request::put(&path(&id, name.as_str())))?.json;
    while taken["state"] == "in-progress" && !args.no_wait {
        thread::sleep(BETWEEN);
        taken = server.ask(&Request::get(&path(&id, name.as_str())))?.json;
    }
    super::show(json, &taken, |taken| match text(&taken["state"]) {
        "completed" => format!(
            "savepoint {name} of job {id}, of checkpoint {} ({})\n",
            taken["checkpoint"],
            size(taken)
        ),
        "in-progress" => format!("savepoint {name} of job {id} is being taken\n"),
        // What is wrong is said below.
        _ => String::new(),
    })?;
    if taken["state"] == "failed" {
        let error = text(&taken["error"]);
        terminal::say(&human::plain(&format!("error: savepoint {name} was not taken: {error}")));
        return Ok(Exit::JobFailed);
    }
    Ok(Exit::Success)
}

fn size(savepoint: &Value) -> String {
    savepoint["bytes"].as_f64().map_or_else(|| "-".to_owned(), human::bytes)
}

fn list(args: &JobThere) -> Result<Exit, Exit> {
    let (server, id) = to_job_there(args)?;
    let answer = server.ask(&Request::get(&["v1", "jobs", &id, "savepoints"]))?;
    super::show(args.at.json, &answer.json, |answer| {
        let all = answer["savepoints"].as_array().into_iter().flatten();
        let rows: Vec<Vec<String>> = all
            .map(|savepoint| {
                vec![
                    text(&savepoint["id"]).to_owned(),
                    text(&savepoint["state"]).to_owned(),
                    moment(&savepoint["created_at"]),
                    moment(&savepoint["completed_at"]),
                    savepoint["checkpoint"].as_u64().map_or("-".to_owned(), |id| id.to_string()),
                    size(savepoint),
                ]
            })
            .collect();
        table(&["SAVEPOINT", "STATE", "CREATED", "COMPLETED", "CHECKPOINT", "SIZE"], &rows, 4)
    })
}

fn one(savepoint: &Value) -> String {
    let mut all = vec![
        ("savepoint", text(&savepoint["id"]).to_owned()),
        ("job", text(&savepoint["job"]).to_owned()),
        ("state", text(&savepoint["state"]).to_owned()),
        ("created", moment(&savepoint["created_at"])),
    ];
    if let Some(checkpoint) = savepoint["checkpoint"].as_u64() {
        all.push(("completed", moment(&savepoint["completed_at"])));
        all.push(("checkpoint", checkpoint.to_string()));
        all.push(("size", size(savepoint)));
    }
    if let Some(error) = savepoint["error"].as_str() {
        all.push(("error", error.to_owned()));
    }
    if savepoint["stop"] == true {
        all.push(("stops the job", "yes".to_owned()));
    }
    fields(&all)
}

//! `cofferdam checkpoint trigger`, `list` and `show`: checkpoints of a server's jobs. Those of a
//! state directory are left to `checkpoint`.

use std::time::Duration;

use super::{
    checkpoint_view as view, refuse,
    way::{Way, to_job, to_named_job},
};
use crate::{
    cli::{
        checkpoint,
        checkpoint_args::{OneArgs, ShowArgs, number},
        exit::Exit,
        running,
        server::job_args::JobAt,
    },
    client::Request,
};

/// A checkpoint of much state takes long.
const TAKING: Duration = Duration::from_secs(600);

pub(in crate::cli) fn trigger(args: &JobAt) -> Result<Exit, Exit> {
    let (server, id) = match to_job(args)? {
        Way::Here(job) => return Ok(running::trigger(&job)),
        Way::There(there) => there,
    };
    let answer =
        server.ask(&Request::post(&["v1", "jobs", &id, "checkpoints"]).patience(TAKING))?;
    super::show(args.place.at.json, &answer.json, |taken| running::triggered(taken) + "\n")
}

pub(in crate::cli) fn list(args: &JobAt) -> Result<Exit, Exit> {
    let (server, id) = match to_job(args)? {
        Way::Here(job) => return checkpoint::list(&job),
        Way::There(there) => there,
    };
    let answer = server.ask(&Request::get(&["v1", "jobs", &id, "checkpoints"]))?;
    super::show(args.place.at.json, &answer.json, view::list)
}

pub(in crate::cli) fn show(args: &ShowArgs) -> Result<Exit, Exit> {
    let ShowArgs { job, id, file, place } = args;
    if file.is_some() || place.state.is_some() {
        // There is one job only: what stands first is the number.
        let id = match (job, id) {
            (Some(_), Some(_)) => {
                return Err(refuse("the state directory has one job: name the number only"));
            }
            (Some(id), None) => Some(number(id.as_str()).map_err(|must| refuse(&must))?),
            (None, _) => None,
        };
        let (state, json) = (place.state.clone(), place.at.json);
        return checkpoint::show(&OneArgs { id, state, file: file.clone(), json });
    }
    let (server, of) = match to_named_job(job.as_ref(), place)? {
        // It was looked for above.
        Way::Here(_) => return Err(refuse("name a server")),
        Way::There(there) => there,
    };
    let path = ["v1", "jobs", &of, "checkpoints"];
    let id = match id {
        Some(id) => id.to_string(),
        None => match server.ask(&Request::get(&path))?.json["last"]["id"].as_u64() {
            Some(id) => id.to_string(),
            None => return Err(refuse("the job has completed no checkpoint yet")),
        },
    };
    let answer = server.ask(&Request::get(&[path.as_slice(), &[&id]].concat()))?;
    super::show(place.at.json, &answer.json, view::one)
}

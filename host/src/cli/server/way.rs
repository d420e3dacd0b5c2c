//! By which way something is asked: of a job of this machine by its state directory, or of a
//! server.

use super::{
    Server,
    args::HereOrThere,
    job_args::{JobAt, JobThere},
    refuse, which,
};
use crate::{
    cli::{exit::Exit, running_args::JobArgs},
    ids::JobName,
};

/// Where what is meant is.
pub(super) enum Way<T> {
    /// On this machine, in a state directory.
    Here(JobArgs),
    /// On a server.
    There(T),
}

/// The way to a job: that of a server comes with its identifier.
pub(super) fn to_job(args: &JobAt) -> Result<Way<(Server, String)>, Exit> {
    to_named_job(args.name.as_ref(), &args.place)
}

/// As [`to_job`], with the name apart.
pub(super) fn to_named_job(
    name: Option<&JobName>,
    place: &HereOrThere,
) -> Result<Way<(Server, String)>, Exit> {
    let server = match to_place(place)? {
        Way::Here(job) => return Ok(Way::Here(job)),
        Way::There(server) => server,
    };
    let Some(name) = name else {
        return Err(refuse(&format!(
            "name a job of {}, by its name or identifier, or the state directory of one that runs \
             on this machine with --state DIR",
            server.client.address()
        )));
    };
    let id = which::job(&server, name)?;
    Ok(Way::There((server, id)))
}

/// The way to what is not of one job only.
pub(super) fn to_place(place: &HereOrThere) -> Result<Way<Server>, Exit> {
    if let Some(state) = &place.state {
        return Ok(Way::Here(JobArgs { state: state.clone(), json: place.at.json }));
    }
    match Server::find(&place.at.server)? {
        Some(server) => Ok(Way::There(server)),
        None => Err(refuse(
            "it is not said where the job is: name the state directory of one that runs on this \
             machine with --state DIR, or a server with --server URL, COFFERDAM_SERVER or a \
             profile (`cofferdam profile add`)",
        )),
    }
}

/// A job of a server, and its identifier.
pub(super) fn to_job_there(args: &JobThere) -> Result<(Server, String), Exit> {
    let server = Server::of(&args.at.server)?;
    let id = which::job(&server, &args.name)?;
    Ok((server, id))
}

//! `cofferdam capsule …`: the crash capsules of a server's jobs.

use std::{fs::File, io::Write as _, path::Path};

use serde_json::json;

use super::{
    Server,
    capsule_args::{CapsuleCommand, GetArgs},
    failed,
    job_args::JobThere,
    refuse, text,
    way::to_job_there,
    which,
};
use crate::{
    cli::{
        exit::Exit,
        human::{self, table},
    },
    client::Request,
};

pub(in crate::cli) fn capsule(command: &CapsuleCommand) -> Result<Exit, Exit> {
    match command {
        CapsuleCommand::List(args) => list(args),
        CapsuleCommand::Get(args) => get(args),
    }
}

fn list(args: &JobThere) -> Result<Exit, Exit> {
    let (server, id) = to_job_there(args)?;
    let answer = server.ask(&Request::get(&["v1", "jobs", &id, "capsules"]))?;
    super::show(args.at.json, &answer.json, |answer| {
        let all = answer["capsules"].as_array().into_iter().flatten();
        let rows: Vec<Vec<String>> = all
            .map(|capsule| {
                let size = capsule["bytes"].as_f64().unwrap_or(0.0);
                vec![text(&capsule["name"]).to_owned(), human::bytes(size)]
            })
            .collect();
        table(&["CAPSULE", "SIZE"], &rows, 1)
    })
}

fn get(args: &GetArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let id = which::job(&server, &args.job)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => newest(&server, &id)?,
    };
    let path = match &args.to {
        Some(path) => path.clone(),
        // Only its last part: what a server says is not to lead elsewhere.
        None => match Path::new(&name).file_name() {
            Some(file) => file.into(),
            None => return Err(refuse(&format!("`{name}` names no capsule"))),
        },
    };
    let request = Request::get(&["v1", "jobs", &id, "capsules", &name]);
    let bytes = server.client.fetch(&request).map_err(|error| failed(&error))?;
    let written = File::create_new(&path).and_then(|mut file| file.write_all(&bytes));
    let shown = path.display();
    written.map_err(|error| refuse(&format!("cannot write {shown}: {error}")))?;
    let done = json!({"name": name, "job": id, "file": shown.to_string(), "bytes": bytes.len()});
    super::show(args.at.json, &done, |_| {
        #[expect(clippy::cast_precision_loss, reason = "for people, three figures")]
        let size = human::bytes(bytes.len() as f64);
        format!("{shown} ({size}); `cofferdam replay {shown}` runs the crash again\n")
    })
}

/// The capsule of the last crash that has one, else the last by name.
fn newest(server: &Server, id: &str) -> Result<String, Exit> {
    let found = server.ask(&Request::get(&["v1", "jobs", id, "exceptions"]))?.json;
    let of_failures = found["failures"].as_array().into_iter().flatten().rev();
    let mut of_failures = of_failures.filter_map(|failure| failure["capsule"].as_str());
    let listed = found["capsules"].as_array().and_then(|all| all.last()?["name"].as_str());
    match of_failures.next().or(listed) {
        Some(name) => Ok(name.to_owned()),
        None => Err(refuse(&format!("job {id} has no crash capsule"))),
    }
}

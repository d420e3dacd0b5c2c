//! `cofferdam job logs` and `tail`: looking on at a job of a server while it runs.

use std::{io::Write as _, time::Duration};

use clap::ValueEnum as _;
use serde_json::Value;

use super::{
    Server, failed,
    looking_on_args::{LogsArgs, TailArgs},
    text, which,
};
use crate::{
    cli::{exit::Exit, human, terminal},
    client::Request,
};

/// After so much silence the server is gone: it says something four times as often.
const SILENCE: Duration = Duration::from_secs(60);

pub(in crate::cli) fn logs(args: &LogsArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let id = which::job(&server, &args.name)?;
    let level = args.level.to_possible_value();
    let request = Request::get(&["v1", "jobs", &id, "logs"])
        .query("limit", args.limit)
        .query_if("operator", args.operator.as_ref())
        .query_if("level", level.as_ref().map(|level| level.get_name()));
    if !args.follow {
        let page = server.ask(&request)?.json;
        return super::show(args.at.json, &page, |page| {
            let lines = page["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
            lines.iter().map(line).collect()
        });
    }
    let request = request.query("follow", true).patience(SILENCE);
    let json = args.at.json;
    let ended = server.client.listen(&request, |event, data| match event {
        "line" => put(&if json { format!("{data}\n") } else { line(data) }),
        _ => event != "end",
    });
    ended.map_err(|error| failed(&error))?;
    Ok(Exit::Success)
}

fn line(line: &Value) -> String {
    let at = line["at"].as_i64().unwrap_or(0);
    let at = jiff::Timestamp::from_millisecond(at).unwrap_or_default();
    let level = text(&line["level"]).to_uppercase();
    let (operator, subtask) = (text(&line["operator"]), &line["subtask"]);
    human::plain(&format!("{at:.3} {level:5} {operator}/{subtask}: {}", text(&line["message"])))
        + "\n"
}

pub(in crate::cli) fn tail(args: &TailArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let id = which::job(&server, &args.name)?;
    let parts = ["v1", "jobs", &id, "vertices", args.vertex.as_str(), "tail"];
    let request = Request::get(&parts).patience(SILENCE);
    let (json, only) = (args.at.json, args.dead_letters);
    let ended = server.client.listen(&request, |event, data| match event {
        "records" if only && data["output"] != "dead-letters" => true,
        "records" if json => put(&format!("{data}\n")),
        "records" => put(&records(data)),
        "missed" => {
            let missed = &data["samples"];
            terminal::say(&human::plain(&format!("{missed} samples were missed")));
            true
        }
        _ => event != "end",
    });
    ended.map_err(|error| failed(&error))?;
    Ok(Exit::Success)
}

/// A line for each record: output, key, value; and why it was rejected.
fn records(data: &Value) -> String {
    let all = data["records"].as_array().map(Vec::as_slice).unwrap_or_default();
    let one = |record: &Value| {
        let output = text(&data["output"]);
        let (key, value) = (text(&record["key"]), text(&record["value"]));
        let rest = record["value_bytes"].as_u64().unwrap_or(0).saturating_sub(value.len() as u64);
        let more = if rest > 0 { format!(" … and {rest} bytes more") } else { String::new() };
        let why = record["reason"].as_str().map(|why| format!("  ({why})")).unwrap_or_default();
        human::plain(&format!("{output}\t{key}\t{value}{more}{why}")) + "\n"
    };
    all.iter().map(one).collect()
}

/// False if nobody reads any more.
fn put(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

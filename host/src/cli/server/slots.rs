//! `cofferdam slot …`: the slots of a server. Those of a job of this machine are left to `running`.

use serde_json::Value;

use super::{
    args::HereOrThere,
    slot_args::{SlotArgs, SlotCommand},
    text,
    way::{Way, to_place},
};
use crate::{
    cli::{exit::Exit, human::table, running},
    client::Request,
};

/// How much of a job's identifier is shown.
const SHORT: usize = 12;

pub(in crate::cli) fn slot(command: &SlotCommand) -> Result<Exit, Exit> {
    match command {
        SlotCommand::List(place) => list(place),
        SlotCommand::Drain(SlotArgs { slot, place }) => {
            let server = match to_place(place)? {
                Way::Here(job) => return Ok(running::drain_slot(&job, *slot)),
                Way::There(server) => server,
            };
            let number = slot.to_string();
            let answer = server.ask(&Request::post(&["v1", "slots", &number, "drain"]))?;
            super::show(place.at.json, &answer.json, |drained| match drained["moved"].as_str() {
                Some(moved) => format!(
                    "slot {number} is drained; `{moved}` runs in slot {} now\n",
                    drained["to"]
                ),
                None => format!("slot {number} is drained; it was empty\n"),
            })
        }
        SlotCommand::Restore(SlotArgs { slot, place }) => {
            let server = match to_place(place)? {
                Way::Here(job) => return Ok(running::restore_slot(&job, *slot)),
                Way::There(server) => server,
            };
            let number = slot.to_string();
            let answer = server.ask(&Request::post(&["v1", "slots", &number, "restore"]))?;
            super::show(place.at.json, &answer.json, |_| format!("slot {number} is used again\n"))
        }
    }
}

fn list(place: &HereOrThere) -> Result<Exit, Exit> {
    let server = match to_place(place)? {
        Way::Here(job) => return Ok(running::slots(&job)),
        Way::There(server) => server,
    };
    let answer = server.ask(&Request::get(&["v1", "slots"]))?;
    super::show(place.at.json, &answer.json, |answer| {
        let all = answer["slots"].as_array().into_iter().flatten();
        let rows: Vec<Vec<String>> = all.map(row).collect();
        table(&["SLOT", "CONDITION", "JOB", "NAME", "TENANT"], &rows, 5)
    })
}

fn row(slot: &Value) -> Vec<String> {
    let or_none = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    vec![
        slot["slot"].to_string(),
        text(&slot["condition"]).to_owned(),
        or_none(&slot["job"]).chars().take(SHORT).collect(),
        or_none(&slot["name"]),
        or_none(&slot["tenant"]),
    ]
}

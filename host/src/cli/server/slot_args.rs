//! `cofferdam slot …`: what can be asked.

use clap::{Args, Subcommand};

use super::args::HereOrThere;
use crate::ids::SlotId;

/// `cofferdam slot …`
#[derive(Debug, Subcommand)]
pub enum SlotCommand {
    /// Show the slots of a server, or of a job of this machine, and what is in them
    List(HereOrThere),
    /// Move what is in a slot to another one, and leave it empty
    Drain(SlotArgs),
    /// Use a slot again that was drained or is in quarantine
    Restore(SlotArgs),
}

/// `cofferdam slot drain`, `cofferdam slot restore`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct SlotArgs {
    /// The slot's number, counted from 0
    #[arg(value_name = "N", value_parser = slot)]
    pub slot: SlotId,

    #[command(flatten)]
    pub place: HereOrThere,
}

fn slot(text: &str) -> Result<SlotId, String> {
    text.parse().map(SlotId).map_err(|_| "it must be a number, such as 0".to_owned())
}

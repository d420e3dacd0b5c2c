//! `cofferdam dashboard`: where a server's web console is.

use std::process::{Command, Stdio};

use serde_json::json;

use super::{Server, refuse, top_args::DashboardArgs};
use crate::cli::exit::Exit;

/// Where the console is, below the server's address.
const CONSOLE: &str = "/console";
/// What opens an address on a desktop.
const OPENERS: [&str; 2] =
    if cfg!(target_os = "macos") { ["open", "open"] } else { ["xdg-open", "sensible-browser"] };

pub(in crate::cli) fn dashboard(args: &DashboardArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    // Without the token: an address is kept by browsers, and shown to others.
    let address = format!("{}{CONSOLE}", server.client.address());
    if args.open {
        let chosen = std::env::var("BROWSER").ok().filter(|name| !name.is_empty());
        let programs: Vec<&str> = chosen.as_deref().into_iter().chain(OPENERS).collect();
        if !programs.iter().any(|program| open(program, &address)) {
            return Err(refuse(&format!(
                "no browser was found to open {address}; name one with BROWSER, or open it yourself"
            )));
        }
    }
    super::show(args.at.json, &json!({"address": address}), |_| format!("{address}\n"))
}

/// Whether a program took the address.
fn open(program: &str, address: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // One that takes long is a browser that runs.
    command.status().is_ok_and(|status| status.success())
}

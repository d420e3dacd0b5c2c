//! `cofferdam serve`: its options, and the help that goes with it.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use crate::hardening::Mode;

/// `cofferdam serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where everything is kept that must be remembered [default: COFFERDAM_DATA, else
    /// $XDG_DATA_HOME/cofferdam, else ~/.local/share/cofferdam]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Where to listen [default: as the configuration says, else 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,

    /// The server's configuration (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Whether to give up what the server does not need, as in `run`
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub hardening: Mode,
}

/// What follows the options.
pub const SERVE_HELP: &str = "\
Examples:
  cofferdam serve --data ./data
  cofferdam serve --data ./data --listen 127.0.0.1:0      any free port, which is told
  curl -H \"Authorization: Bearer $(cat data/admin-token)\" http://127.0.0.1:8080/v1/jobs

The first start writes a token that may do everything to DIR/admin-token. SIGTERM and Ctrl-C end
the server when every job has taken a final checkpoint; the next start goes on from there, and
after a kill from the last checkpoint.";

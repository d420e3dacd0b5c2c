//! Job files: the text that people write, and the checked model of it that the
//! rest of the host works with. [`parse`] turns one into the other and reports
//! every mistake of a file at once, each with its line and what to do.
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`job`] | the checked model: what the rest of the host sees |
//! | `artifact_ref` | which component an operator runs, as it is written |
//! | [`units`] | durations and sizes as people write them |
//! | `node` | the file as a tree that knows its places; `--set` |
//! | `section` | reading a table key by key, with errors |
//! | `read`, `read_source`, `read_sink`, `read_operator` | one per kind of table |
//! | `read_folders`, `read_http_hosts` | what goes with a grant of an operator |
//! | [`environment`], `otel` | settings of a server that stand in the environment |
//! | [`traces`] | where spans go, and which |
//! | `paths` | file names and globs, relative to the job file |
//! | `graph` | names and references between nodes |
//! | `blame` | the places of mistakes that show when operators are loaded |
//! | [`tenant`], `read_tenants` | `tenants.toml`: its checked model, and reading it |
//! | [`server`], `read_server`, [`server_view`] | the configuration of a server: its checked model, reading it, showing it |
//! | [`errors`] | a mistake, its place, and how it is shown |

mod artifact_ref;
mod blame;
pub mod environment;
pub mod errors;
mod graph;
pub mod job;
mod node;
mod otel;
mod paths;
mod read;
mod read_folders;
mod read_http_hosts;
mod read_operator;
mod read_server;
mod read_sink;
mod read_source;
mod read_tenants;
mod section;
pub mod server;
pub mod server_view;
pub mod tenant;
pub mod traces;
pub mod units;
pub mod webhook;

#[cfg(test)]
mod tests;

pub use blame::{OperatorFault, point_out};
pub use errors::{JobFileError, JobFileErrors};
pub use node::{InvalidOverride, Override};
pub use read::{HOSTED_ORIGIN, parse, parse_hosted};
pub use read_server::{log_of_environment, parse_server};
pub use read_tenants::parse_tenants;

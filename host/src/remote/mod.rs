//! How another process on this machine asks something of a job that runs: by a socket
//! in the job's state directory, `control.sock`, which only its owner can open.
//!
//! A line of JSON is a question, a line of JSON its answer:
//!
//! ```text
//! ▶ {"ask":"savepoint","name":null,"stop":false}
//! ◀ {"ok":{"answer":"savepoint","id":7,"path":"st/savepoints/savepoint-7",…}}
//! ▶ {"ask":"drain-slot","slot":9}
//! ◀ {"error":"there is no slot 9: there are 4, counted from 0"}
//! ```
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`server`] | beside the job: listens, and hands questions on |
//! | [`client`] | in the other process: asks one question |

pub mod client;
pub mod server;

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The socket's name in the state directory.
pub const SOCKET: &str = "control.sock";

/// The longest line that is read of a question, in bytes.
const LONGEST: u64 = 64 << 10;

/// An answer as it goes over the socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reply<T> {
    Ok(T),
    Error(String),
}

/// The socket by a name that is short however deep the directory lies: a socket's name has
/// 108 bytes at most. Lasts as long as the directory is open.
fn short_name(state: &Path) -> io::Result<(File, PathBuf)> {
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC)
        .open(state)?;
    let name = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    Ok((directory, name.into()))
}

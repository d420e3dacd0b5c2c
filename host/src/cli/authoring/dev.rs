//! `cofferdam operator dev`: builds and tests again when a file changes. Each round is a process
//! of its own, `operator test`, which gives up for good what it does not need.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::{args::DevArgs, print, refuse};
use crate::{
    authoring::{changes::Seen, project::Project},
    cli::exit::Exit,
};

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_millis(300);

pub(in crate::cli) fn dev(args: &DevArgs) -> Result<Exit, Exit> {
    Project::open(&args.dir).map_err(|error| refuse(&error.to_string()))?;
    let program = std::env::current_exe()
        .map_err(|error| refuse(&format!("cannot find this program: {error}")))?;
    let mut last = Exit::Success;
    for round in 1.. {
        let before = Seen::now(&args.dir);
        last = once(&program, args)?;
        if args.rounds.is_some_and(|rounds| round >= rounds) {
            break;
        }
        print(&format!("watching {}: Ctrl-C ends it\n", args.dir.display()))?;
        let changed = loop {
            let changed = Seen::now(&args.dir).since(&before);
            if !changed.is_empty() {
                break changed;
            }
            thread::sleep(PERIOD);
        };
        print(&format!("\n{} changed\n", shown(&changed)))?;
    }
    Ok(last)
}

fn once(program: &PathBuf, args: &DevArgs) -> Result<Exit, Exit> {
    let mut command = Command::new(program);
    command.args(["operator", "test"]).arg(&args.dir).stdin(Stdio::null());
    for (option, wanted) in [("--show", args.show), ("--quick", args.quick)] {
        if wanted {
            command.arg(option);
        }
    }
    let status = command.status();
    let status = status.map_err(|error| refuse(&format!("cannot run the tests: {error}")))?;
    Ok(if status.success() { Exit::Success } else { Exit::JobFailed })
}

fn shown(changed: &[PathBuf]) -> String {
    let first = changed.first().map(|path| path.display().to_string()).unwrap_or_default();
    match changed.len() {
        0 | 1 => first,
        n => format!("{first} and {} more", n - 1),
    }
}

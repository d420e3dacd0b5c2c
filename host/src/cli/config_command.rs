//! `cofferdam config …`: a server's configuration, checked and shown.

use std::{
    io::{self, Write as _},
    path::Path,
};

use super::{config_args::ConfigCommand, exit::Exit, serve::read_config, terminal};
use crate::config::server::{Configured, Source};

pub(super) fn config(command: &ConfigCommand) -> Exit {
    let file = match command {
        ConfigCommand::Check(args) | ConfigCommand::Show(args) => args.config.as_deref(),
    };
    let read = match read_config(file) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    match command {
        ConfigCommand::Check(_) => terminal::say("the configuration can be used"),
        ConfigCommand::Show(_) => return print(&shown(&read, file)),
    }
    Exit::Success
}

fn print(text: &str) -> Exit {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Exit::Success,
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
        Err(error) => {
            terminal::say(&format!("error: cannot print the configuration: {error}"));
            Exit::Usage
        }
    }
}

/// As a configuration that means the same, with where each value comes from.
fn shown(read: &Configured, file: Option<&Path>) -> String {
    let file = file.map(|path| path.display().to_string()).unwrap_or_default();
    let mut lines = Vec::new();
    let mut table = "";
    for setting in read.spec.settings() {
        if setting.table != table {
            table = setting.table;
            lines.push((format!("[{table}]"), None));
        }
        let key = &setting.key;
        let from = match read.source(&setting) {
            None => "default".to_owned(),
            Some(Source::File(line)) => format!("{file}:{line}"),
            Some(Source::Environment(name)) => name.clone(),
        };
        lines.push(match &setting.value {
            Some(value) => (format!("{key} = {value}"), Some(from)),
            None => (format!("# {key}: {}", setting.otherwise), Some(from)),
        });
    }
    let wide = lines.iter().map(|(text, _)| text.chars().count()).filter(|wide| *wide <= 60).max();
    let wide = wide.unwrap_or_default();
    let mut text = String::new();
    for (line, from) in lines {
        match from {
            Some(from) => text.push_str(&format!("{line:wide$}  # {from}\n")),
            None => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

//! `cofferdam config …`: a server's configuration, checked and shown.

use std::path::Path;

use serde_json::json;

use super::{config_args::ConfigCommand, exit::Exit, serve::read_config, terminal};
use crate::config::{
    server::{Configured, Source},
    server_view::Setting,
};

pub(super) fn config(command: &ConfigCommand) -> Exit {
    let file = match command {
        ConfigCommand::Check(args) => args.config.as_deref(),
        ConfigCommand::Show(args) => args.of.config.as_deref(),
    };
    let read = match read_config(file) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    match command {
        ConfigCommand::Check(_) => terminal::say("the configuration can be used"),
        ConfigCommand::Show(args) if args.json => {
            return terminal::print(&as_json(&read, file)).into();
        }
        ConfigCommand::Show(_) => return terminal::print(&shown(&read, file)).into(),
    }
    Exit::Success
}

/// Where a value comes from.
fn source(read: &Configured, setting: &Setting, file: &str) -> String {
    match read.source(setting) {
        None => "default".to_owned(),
        Some(Source::File(line)) => format!("{file}:{line}"),
        Some(Source::Environment(name)) => name.clone(),
    }
}

/// By table and key.
fn as_json(read: &Configured, file: Option<&Path>) -> String {
    let file = file.map(|path| path.display().to_string()).unwrap_or_default();
    let mut tables = serde_json::Map::new();
    for setting in read.spec.settings() {
        let from = source(read, &setting, &file);
        let shown = json!({"value": setting.value, "source": from});
        tables.entry(setting.table).or_insert_with(|| json!({}))[setting.key] = shown;
    }
    format!("{}\n", serde_json::Value::Object(tables))
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
        let from = source(read, &setting, &file);
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

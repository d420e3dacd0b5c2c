//! Settings of a server that stand in the environment: `COFFERDAM_SERVER_LISTEN` is `listen` of
//! `[server]`. They go before what the file says. Variables that begin otherwise are nobody's
//! here.

use std::ffi::OsString;

use super::{node::Override, otel};

/// The tables whose keys can be given by variables.
const TABLES: [&str; 15] = [
    "server",
    "tls",
    "auth",
    "limits",
    "audit",
    "task_manager",
    "artifacts",
    "ingest",
    "jobs",
    "playground",
    "log",
    "disk",
    "network",
    "files",
    "traces",
];

/// The variables of this process that are text.
#[must_use]
pub fn variables() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// The settings among some variables: those that OpenTelemetry has names for, which hold where
/// nothing else is said, and then ours, in the order of their names.
#[must_use]
pub fn settings(variables: impl IntoIterator<Item = (String, String)>) -> Vec<Override> {
    let variables: Vec<_> = variables.into_iter().collect();
    let mut all = otel::settings(&variables);
    let mut found: Vec<_> = variables
        .into_iter()
        .filter_map(|(name, value)| {
            let rest = name.strip_prefix("COFFERDAM_")?.to_ascii_lowercase();
            let of = |table: &&'static str| {
                Some((*table, rest.strip_prefix(*table)?.strip_prefix('_')?))
            };
            let (table, key) = TABLES.iter().find_map(of)?;
            Some(Override::of_variable(&name, &value, [table, key]))
        })
        .collect();
    found.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    all.append(&mut found);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_of_a_known_table_are_settings() {
        let names = [
            "COFFERDAM_TASK_MANAGER_SLOTS",
            "COFFERDAM_SERVER_LISTEN",
            "COFFERDAM_SERVER",
            "COFFERDAM_DATA",
            "COFFERDAM_LOG",
            "PATH",
            "COFFERDAM_TOKEN",
            "COFFERDAM_TOKEN_FILE",
            "COFFERDAM_PROFILE",
            "COFFERDAM_CA",
            "COFFERDAM_ARTIFACTS",
        ];
        let found = settings(names.map(|name| (name.to_owned(), "1".to_owned())));
        let found: Vec<_> = found.iter().map(Override::as_str).collect();
        assert_eq!(found, ["COFFERDAM_SERVER_LISTEN=1", "COFFERDAM_TASK_MANAGER_SLOTS=1"]);
    }
}

//! The house rules of `host/src`: lower rooms never name higher ones, and some
//! libraries are named in one room only. The tables here are the rules.

use std::{fs, path::Path};

use anyhow::Context;

use super::{
    Outcome, files, places,
    scan::{rooms_named, tokens},
};

/// The rooms from the bottom up. A room may name those of its own row and of the
/// rows before it.
const FLOORS: [&[&str]; 15] = [
    &[
        "allocator",
        "clock",
        "config",
        "database",
        "failure",
        "hardening",
        "human",
        "ids",
        "memory",
        "metrics",
        "restart",
        "signature",
        "threads",
        "trace",
    ],
    // What a client knows of a server is what the API says.
    &["client", "stream"],
    &["otlp", "state", "watching"],
    &["checkpoint", "intake", "registry"],
    &["connectors"],
    &["sandbox"],
    &["catalog", "tenancy"],
    &["task_manager"],
    &["capsule"],
    &["trial"],
    &["job_manager"],
    &["authoring", "remote"],
    &["service"],
    &["http"],
    &["cli", "main", "lib"],
];

/// Libraries, and the only rooms that may name each.
const LIBRARIES: [(&str, &[&str]); 9] = [
    ("wasmtime", &["sandbox"]),
    ("wasmtime_wasi", &["sandbox"]),
    ("sled", &["database", "checkpoint", "registry"]),
    ("landlock", &["hardening"]),
    ("seccompiler", &["hardening"]),
    ("axum", &["http"]),
    ("utoipa", &["http"]),
    ("maud", &["http"]),
    ("multer", &["http"]),
];

/// Names every place that breaks a rule.
pub(super) fn check(root: &Path) -> Outcome {
    let source = root.join("host/src");
    let mut found = Vec::new();
    for path in files::with_extension(&source, "rs")? {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let inside = files::shown(&source, &path);
        for (line, wrong) in violations(room_of(&inside), &text) {
            found.push(format!("host/src/{inside}:{line}: {wrong}"));
        }
    }
    places("these places break the order of the rooms (docs/architecture.md)", &found)
}

/// `stream/batch.rs` and `stream.rs` are of the room `stream`.
fn room_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// What a file of the room says that it must not, with the line of each.
fn violations(room: &str, source: &str) -> Vec<(usize, String)> {
    let Some(own) = floor(room) else {
        return vec![(1, format!("the room `{room}` has no floor yet: give it one in xtask"))];
    };
    let tokens = tokens(source);
    let upward = rooms_named(&tokens).into_iter().filter_map(|named| {
        // What is no room is a function or macro of the crate's root.
        let above = floor(named.text).is_some_and(|other| other > own);
        above.then(|| (named.line, format!("`{room}` names `{}`, which is above it", named.text)))
    });
    let foreign = tokens.iter().filter_map(|token| {
        let (library, owners) = LIBRARIES.iter().find(|(library, _)| token.text == *library)?;
        let allowed = owners.iter().map(|owner| format!("`{owner}`")).collect::<Vec<_>>();
        let wrong = !owners.contains(&room);
        wrong.then(|| (token.line, format!("only {} may name `{library}`", allowed.join(", "))))
    });
    let mut found: Vec<_> = upward.chain(foreign).collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(room: &str, source: &str) -> Vec<String> {
        violations(room, source).into_iter().map(|(line, text)| format!("{line}: {text}")).collect()
    }

    #[test]
    fn a_lower_room_may_not_name_a_higher_one() {
        let source = "use crate::ids::A;\nuse crate::{clock, job_manager::Plan};";
        assert_eq!(wrong("stream", source), ["2: `stream` names `job_manager`, which is above it"]);
        assert!(wrong("job_manager", source).is_empty());
        assert!(wrong("cli", source).is_empty());
    }

    #[test]
    fn rooms_of_one_floor_may_name_each_other() {
        assert!(wrong("config", "use crate::ids::JobName;").is_empty());
        assert_eq!(wrong("ids", "use crate::stream::Batch;").len(), 1);
    }

    const SLED: &str = "2: only `database`, `checkpoint`, `registry` may name `sled`";

    #[test]
    fn wasmtime_and_sled_stay_in_their_rooms() {
        let source = "use wasmtime_wasi::X;\nfn f() -> sled::Db {}\n// wasmtime and sled\nlet sled_store = 1;";
        assert_eq!(
            wrong("job_manager", source),
            ["1: only `sandbox` may name `wasmtime_wasi`", SLED]
        );
        assert_eq!(wrong("sandbox", source), [SLED]);
        assert_eq!(wrong("checkpoint", source), ["1: only `sandbox` may name `wasmtime_wasi`"]);
    }

    #[test]
    fn a_room_without_a_floor_is_refused() {
        assert_eq!(wrong("attic", "").len(), 1);
    }

    #[test]
    fn a_file_of_the_clone_is_told_by_its_path_and_line() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("host/src/state");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("keyed.rs"), "//! x\n\nuse crate::sandbox::Slot;\n").unwrap();
        let error = check(root.path()).unwrap_err().to_string();
        assert!(error.contains("host/src/state/keyed.rs:3: `state` names `sandbox`"), "{error}");
    }
}

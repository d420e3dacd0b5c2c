//! `cargo xtask bench languages`: the same operators in every language, built and measured by the
//! program as an author would, on one set of records; a table for `docs/languages.md`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{process, stopwatch::Stopwatch, toolchains, workspace::Workspace};

/// Rust first: the others are measured by it.
const LANGUAGES: [&str; 9] =
    ["rust", "c", "cpp", "zig", "go", "javascript", "typescript", "python", "expr"];
const KINDS: [&str; 3] = ["filter", "map", "keyed"];
/// Records of 100 bytes, with keys of 11 bytes: as in the project's other measures.
const RECORDS: usize = 16_384;
const KEYS: usize = 5_000;
/// For how many seconds each operator is measured.
const SECONDS: &str = "2";

/// What was measured of a language.
struct Row {
    language: &'static str,
    first_build: f64,
    next_build: f64,
    size: f64,
    compile: f64,
    load: f64,
    open: f64,
    first_record: f64,
    memory: f64,
    /// Nanoseconds a record, for each kind that the language has.
    paces: Vec<Option<f64>>,
}

/// Measures all languages whose tools are there.
///
/// # Errors
/// If one of them does not build.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let place = workspace.target.join("bench/languages");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
    let input = place.join("input.jsonl");
    fs::write(&input, records()).context("cannot write the records")?;
    let mut rows = Vec::new();
    for language in LANGUAGES {
        match measure(workspace, &place, &input, language) {
            Ok(row) => rows.push(row),
            Err(error) => println!("{language}: left out: {error:#}"),
        }
    }
    let table = table(&rows);
    println!("\n{table}");
    let json: Vec<Value> = rows.iter().map(Row::json).collect();
    fs::write(place.with_extension("json"), serde_json::to_vec_pretty(&json)?)
        .context("cannot write what was measured")
}

/// An author's program, with the tools that `cargo xtask toolchains` installs.
fn operator(workspace: &Workspace, dir: &Path) -> Command {
    let tools = toolchains::programs(workspace);
    let path = env::var_os("PATH").unwrap_or_default();
    let all: Vec<PathBuf> = tools.into_iter().chain(env::split_paths(&path)).collect();
    let mut command = Command::new(workspace.target.join("release/cofferdam"));
    command.arg("operator").current_dir(dir).env("PATH", env::join_paths(all).unwrap_or_default());
    command.env("COFFERDAM_ARTIFACTS", workspace.artifacts());
    command.env_remove("CARGO_TARGET_DIR");
    command
}

fn measure(
    workspace: &Workspace,
    place: &Path,
    input: &Path,
    language: &'static str,
) -> Result<Row> {
    let home = place.join(language);
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    let mut row: Option<Row> = None;
    for kind in KINDS {
        if language == "expr" && kind == "keyed" {
            if let Some(row) = &mut row {
                row.paces.push(None);
            }
            continue;
        }
        let made = operator(workspace, &home)
            .args(["new", kind, "--lang", language, "--kind", kind])
            .output();
        if !made.context("the program does not start")?.status.success() {
            bail!("no {kind} is made");
        }
        let project = home.join(kind);
        let build = || -> Result<(Value, f64)> {
            let watch = Stopwatch::start();
            let built = process::output(operator(workspace, &project).args(["build", "--json"]))?;
            let took = watch.elapsed().as_secs_f64();
            Ok((serde_json::from_str(built.trim()).context("no answer")?, took))
        };
        let (built, first_build) = build()?;
        let (_, next_build) = build()?;
        let settings = project.join("bench.toml");
        fs::write(&settings, settings_of(language, kind)).context("cannot write the settings")?;
        let mut bench = operator(workspace, &project);
        bench.args(["bench", "--no-build", "--json", "--seconds", SECONDS]);
        bench.arg("--input").arg(input).arg("--settings").arg(&settings);
        let seen: Value = serde_json::from_str(process::output(&mut bench)?.trim())
            .context("the measure gave no answer")?;
        let pace = &seen["measured"]["operator"];
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let ns = number(&pace["nanos"]) / number(&pace["records"]);
        println!("{language} {kind}: {ns:.0} ns a record");
        let row = row.get_or_insert(Row {
            language,
            first_build,
            next_build,
            size: number(&built["size"]),
            compile: number(&seen["start"]["compile_nanos"]),
            load: number(&seen["start"]["load_nanos"]),
            open: number(&pace["open_nanos"]),
            first_record: number(&pace["first_record_nanos"]),
            memory: number(&pace["memory"]),
            paces: Vec::new(),
        });
        row.paces.push(Some(ns));
    }
    row.context("nothing was measured")
}

/// As the kinds of languages; expressions have theirs in the configuration.
fn settings_of(language: &str, kind: &str) -> &'static str {
    match (language, kind) {
        ("expr", "filter") => "[operator]\nconfig = { filter = \"value.contains('error')\" }\n",
        ("expr", _) => "[operator]\nconfig = { value = \"value.replace('0', '#')\" }\n",
        _ => "",
    }
}

/// A tenth of them have the text that the filter keeps.
fn records() -> String {
    let mut text = String::new();
    for i in 0..RECORDS {
        let key = format!("key-{:07}", (i * 7_919) % KEYS);
        let word = if i % 10 == 0 { "error" } else { "fine!" };
        let value = format!(
            "{word} request {i:08} took {:04} ms at node-{:02} {}",
            i % 977,
            i % 37,
            "x".repeat(100)
        );
        let record = json!({"key": key, "value": &value[..100], "timestamp": i});
        text += &format!("{record}\n");
    }
    text
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "language": self.language, "first_build_s": self.first_build, "next_build_s": self.next_build,
            "component_bytes": self.size, "compile_ns": self.compile, "load_ns": self.load,
            "open_ns": self.open, "first_record_ns": self.first_record, "memory_bytes": self.memory,
            "ns_a_record": self.paces,
        })
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = "| language | build, first / again | component | compile | load compiled | instance, opened | first record | memory | filter | map | keyed |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    let base = rows.first().map(|row| row.paces.clone()).unwrap_or_default();
    for row in rows {
        let paces: Vec<String> = row
            .paces
            .iter()
            .enumerate()
            .map(|(i, pace)| match (pace, base.get(i).copied().flatten()) {
                (Some(ns), Some(base)) => format!("{ns:.0} ns ({:.2})", ns / base),
                (Some(ns), None) => format!("{ns:.0} ns"),
                (None, _) => "–".to_owned(),
            })
            .collect();
        text += &format!(
            "| {} | {:.1} / {:.1} s | {:.0} KiB | {:.0} ms | {:.2} ms | {:.0} µs | {:.0} µs | {:.0} KiB | {} |\n",
            row.language,
            row.first_build,
            row.next_build,
            row.size / 1024.0,
            row.compile / 1e6,
            row.load / 1e6,
            row.open / 1e3,
            row.first_record / 1e3,
            row.memory / 1024.0,
            paces.join(" | "),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_the_size_of_other_measures_and_a_tenth_is_kept() {
        let text = records();
        let all: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(all.len(), RECORDS);
        assert!(all.iter().all(|record| record["value"].as_str().unwrap().len() == 100));
        assert!(all.iter().all(|record| record["key"].as_str().unwrap().len() == 11));
        let kept = all.iter().filter(|r| r["value"].as_str().unwrap().contains("error")).count();
        assert_eq!(kept, RECORDS.div_ceil(10));
    }
}

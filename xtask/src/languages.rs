//! `cargo xtask bench languages`: the same operators in every language, built and measured by the
//! program as an author would, on one set of records; the tables and crashes of `docs/languages.md`.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `tools` | what an author installs, and how much that is |
//! | `crashes` | what a crash looks like |

mod crashes;
mod tools;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use self::tools::Tools;
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
    /// Bytes of its tools on this machine, if they are where the install command puts them.
    tools: Option<u64>,
    /// What is told of a crash.
    crash: String,
    /// Nanoseconds a record, for each kind that the language has.
    paces: Vec<Option<f64>>,
}

/// Measures all languages whose tools are there, or one by its name, by a program.
///
/// # Errors
/// If there is no such language, or what was measured cannot be written.
pub(crate) fn run(workspace: &Workspace, program: &Path, one: &str) -> Result<()> {
    if !one.is_empty() && !LANGUAGES.contains(&one) {
        bail!("there is no language `{one}`; there is: {}", LANGUAGES.join(", "));
    }
    let program = &std::path::absolute(program)?;
    let place = workspace.target.join("bench/languages");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
    let input = place.join("input.jsonl");
    fs::write(&input, records()).context("cannot write the records")?;
    let mut rows = Vec::new();
    for language in LANGUAGES.into_iter().filter(|language| one.is_empty() || *language == one) {
        match measure((workspace, program), &place, &input, language) {
            Ok(row) => rows.push(row),
            Err(error) => println!("{language}: left out: {error:#}"),
        }
    }
    println!("\n{}\n{}", table(&rows), start_table(&rows));
    let crashes: Vec<_> = rows.iter().map(|row| (row.language, row.crash.clone())).collect();
    println!("{}", crashes::section(&crashes));
    let json: Vec<Value> = rows.iter().map(Row::json).collect();
    fs::write(place.with_extension("json"), serde_json::to_vec_pretty(&json)?)
        .context("cannot write what was measured")
}

/// An author's program, with the tools that `cargo xtask toolchains` installs.
fn operator(workspace: &Workspace, program: &Path, dir: &Path) -> Command {
    let tools = toolchains::programs(workspace);
    let path = env::var_os("PATH").unwrap_or_default();
    let all: Vec<PathBuf> = tools.into_iter().chain(env::split_paths(&path)).collect();
    let mut command = Command::new(program);
    command.arg("operator").current_dir(dir).env("PATH", env::join_paths(all).unwrap_or_default());
    command.env("COFFERDAM_ARTIFACTS", workspace.artifacts());
    command.env_remove("CARGO_TARGET_DIR");
    command
}

fn measure(
    (workspace, program): (&Workspace, &Path),
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
        let made = operator(workspace, program, &home)
            .args(["new", kind, "--lang", language, "--kind", kind])
            .output();
        if !made.context("the program does not start")?.status.success() {
            bail!("no {kind} is made");
        }
        let project = home.join(kind);
        let build = || -> Result<(Value, f64)> {
            let watch = Stopwatch::start();
            let built =
                process::output(operator(workspace, program, &project).args(["build", "--json"]))?;
            let took = watch.elapsed().as_secs_f64();
            Ok((serde_json::from_str(built.trim()).context("no answer")?, took))
        };
        let (built, first_build) = build()?;
        let (_, next_build) = build()?;
        let settings = project.join("bench.toml");
        fs::write(&settings, settings_of(language, kind)).context("cannot write the settings")?;
        let mut bench = operator(workspace, program, &project);
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
            tools: None,
            crash: String::new(),
            paces: Vec::new(),
        });
        row.paces.push(Some(ns));
    }
    let mut row = row.context("nothing was measured")?;
    row.tools = Tools::named(language).and_then(|tools| tools.size(workspace));
    row.crash = crashes::of(workspace, program, &home, language)?;
    Ok(row)
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
            "ns_a_record": self.paces, "tools_bytes": self.tools, "crash": self.crash,
        })
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = "| language | build, first / again | component | compile | load compiled | instance, opened | first record | memory | filter | map | keyed |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    let rust = rows.first().filter(|row| row.language == LANGUAGES[0]);
    let base = rust.map(|row| row.paces.clone()).unwrap_or_default();
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

/// What has to be installed, and how long it takes until there is an instance.
fn start_table(rows: &[Row]) -> String {
    let mut text = "| language | install | on disk | instance, cold | cached | again | initialised when built |\n\
                    | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for row in rows {
        let Some(tools) = Tools::named(row.language) else { continue };
        let install = match tools.install {
            "" => "nothing".to_owned(),
            command => format!("`{command}`"),
        };
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let size = match row.tools {
            Some(0) => "–".to_owned(),
            Some(bytes) => format!("{:.0} MB", bytes as f64 / 1e6),
            None => "?".to_owned(),
        };
        text += &format!(
            "| {} | {install} | {size} | {:.0} ms | {:.1} ms | {:.0} µs | {} |\n",
            row.language,
            (row.compile + row.open) / 1e6,
            (row.load + row.open) / 1e6,
            row.open / 1e3,
            if tools.initialised { "yes" } else { "no" },
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

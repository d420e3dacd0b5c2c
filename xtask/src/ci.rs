//! `cargo xtask ci`: every check, one after the other, whatever the earlier ones
//! said, and a table of how they went. What a check looks at stands in a file of
//! its own, where it is more than one command.

mod attacks;
mod contract;
mod deny;
mod direction;
mod features;
mod files;
mod languages;
mod lengths;
mod links;
mod scan;

use anyhow::{Result, anyhow, bail};

use crate::{
    chaos, fuzz,
    guests::{self, Toolchain},
    process,
    stopwatch::Stopwatch,
    test,
    workspace::Workspace,
};

/// What may be said on the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Runs only this check; may be given several times
    #[arg(long, value_name = "CHECK")]
    only: Vec<String>,
    /// Leaves this check out; may be given several times
    #[arg(long, value_name = "CHECK")]
    skip: Vec<String>,
    /// Also asks the advisory database, which needs a network
    #[arg(long)]
    advisories: bool,
}

/// A check says what it did, if that is not what its name says.
type Outcome = Result<Option<String>>;

/// What the checks look at, and what one leaves for the next.
struct Bench {
    workspace: Workspace,
    advisories: bool,
    /// What built the guests, once they are built.
    toolchain: Option<Toolchain>,
}

/// A check by its name.
type Check = (&'static str, fn(&mut Bench) -> Outcome);

/// Quick ones first. `guest-clippy`, `test`, `contract` and `chaos` need what
/// `guests` made.
const CHECKS: [Check; 16] = [
    ("fmt", |b| cargo(b, &["fmt", "--all", "--check"])),
    ("direction", |b| direction::check(&b.workspace.root)),
    ("lengths", |b| lengths::check(&b.workspace.root)),
    ("links", |b| links::check(&b.workspace.root)),
    ("attacks", |b| attacks::check(&b.workspace.root)),
    ("features", |b| features::check(&b.workspace.root)),
    ("deny", |b| deny::check(&b.workspace, b.advisories)),
    ("guests", build_guests),
    ("guest-clippy", guest_clippy),
    ("clippy", |b| cargo(b, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
    ("docs", docs),
    ("test", tests),
    ("contract", contract),
    ("languages", languages),
    ("chaos", |_| chaos::short(CHAOS_SEED).map(Some)),
    ("fuzz", fuzz),
];

/// What is done to the jobs of the short chaos run.
const CHAOS_SEED: u64 = 31;

/// How long each target is fuzzed.
const FUZZ_SECONDS: u64 = 30;

/// Runs the checks.
///
/// # Errors
/// If any failed: which ones. What was wrong is printed as it is found.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let chosen = choose(&arguments.only, &arguments.skip)?;
    let workspace = Workspace::load()?;
    let mut bench = Bench { workspace, advisories: arguments.advisories, toolchain: None };
    let mut rows = Vec::with_capacity(chosen.len());
    for (name, check) in chosen {
        println!("\n== {name}");
        let watch = Stopwatch::start();
        let outcome = check(&mut bench);
        if let Err(error) = &outcome {
            println!("{name} failed: {error:#}");
        }
        rows.push(Row { name, outcome, seconds: watch.elapsed().as_secs_f64() });
    }
    println!("\n{}", table(&rows));
    let failed: Vec<_> = rows.iter().filter(|r| r.outcome.is_err()).map(|r| r.name).collect();
    if !failed.is_empty() {
        bail!("{} of {} checks failed: {}", failed.len(), rows.len(), failed.join(", "));
    }
    Ok(())
}

/// The checks that are wanted, in their order.
///
/// # Errors
/// If a name is none of a check, since a check that is skipped by mistake is
/// worse than none.
fn choose(only: &[String], skip: &[String]) -> Result<Vec<Check>> {
    for name in only.iter().chain(skip) {
        if !CHECKS.iter().any(|(known, _)| known == name) {
            let known = CHECKS.map(|(known, _)| known).join(", ");
            bail!("there is no check `{name}`; there are {known}");
        }
    }
    let wanted = |name: &str| {
        (only.is_empty() || only.iter().any(|n| n == name)) && !skip.iter().any(|n| n == name)
    };
    Ok(CHECKS.into_iter().filter(|(name, _)| wanted(name)).collect())
}

struct Row {
    name: &'static str,
    outcome: Outcome,
    seconds: f64,
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("{:<14}{:<8}{:>8}\n", "check", "result", "seconds");
    for row in rows {
        let (result, note) = match &row.outcome {
            Ok(note) => ("ok", note.as_deref().unwrap_or_default()),
            Err(_) => ("FAILED", ""),
        };
        let line = format!("{:<14}{result:<8}{:>8.1}  {note}", row.name, row.seconds);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn cargo(bench: &Bench, arguments: &[&str]) -> Outcome {
    process::run(process::cargo().args(arguments).current_dir(&bench.workspace.root))?;
    Ok(None)
}

fn docs(bench: &mut Bench) -> Outcome {
    let mut command = process::cargo();
    command
        .args(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(&bench.workspace.root);
    process::run(&mut command)?;
    Ok(None)
}

fn fuzz(bench: &mut Bench) -> Outcome {
    fuzz::smoke(&bench.workspace, FUZZ_SECONDS)?;
    Ok(Some(format!("{FUZZ_SECONDS} s a target")))
}

fn build_guests(bench: &mut Bench) -> Outcome {
    let toolchain = guests::build(&bench.workspace, guests::Choice::Auto)?;
    let note = toolchain.why.clone();
    bench.toolchain = Some(toolchain);
    Ok(Some(note))
}

fn guest_clippy(bench: &mut Bench) -> Outcome {
    let toolchain = bench.toolchain.as_ref().ok_or_else(|| anyhow!("the guests are not built"))?;
    if !toolchain.has_clippy() {
        let note = "left to `clippy`, which sees the same code natively: this toolchain has none";
        return Ok(Some(note.to_owned()));
    }
    guests::clippy(&bench.workspace, toolchain)?;
    Ok(None)
}

fn tests(bench: &mut Bench) -> Outcome {
    if bench.toolchain.is_none() {
        // With `--only test` nobody has built them yet.
        build_guests(bench)?;
    }
    process::run(test::cargo_test(&bench.workspace).arg("--no-fail-fast"))?;
    Ok(None)
}

fn contract(bench: &mut Bench) -> Outcome {
    if bench.toolchain.is_none() {
        build_guests(bench)?;
    }
    contract::check(&bench.workspace)
}

fn languages(bench: &mut Bench) -> Outcome {
    languages::check(&bench.workspace)
}

/// A failure with one line for each place.
fn places(what: &str, found: &[String]) -> Outcome {
    if found.is_empty() {
        return Ok(None);
    }
    bail!("{what}:\n  {}", found.join("\n  "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_every_check_and_why_one_did_less() {
        let rows = [
            Row { name: "fmt", outcome: Ok(None), seconds: 0.31 },
            Row { name: "guest-clippy", outcome: Ok(Some("none".into())), seconds: 0.0 },
            Row { name: "test", outcome: Err(anyhow!("x")), seconds: 61.07 },
        ];
        let expected = "\
check         result   seconds
fmt           ok           0.3
guest-clippy  ok           0.0  none
test          FAILED      61.1
";
        assert_eq!(table(&rows), expected);
    }

    #[test]
    fn a_check_that_does_not_exist_is_not_silently_left_out() {
        let names = |only: &[&str], skip: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
            choose(&own(only), &own(skip))
                .map(|c| c.into_iter().map(|(n, _)| n).collect::<Vec<_>>())
        };
        assert_eq!(names(&["test", "fmt"], &[]).unwrap(), ["fmt", "test"]);
        assert_eq!(names(&[], &["test"]).unwrap().len(), CHECKS.len() - 1);
        assert!(names(&[], &["tests"]).unwrap_err().to_string().contains("`tests`"));
    }

    #[test]
    fn all_places_are_told_and_not_only_the_first() {
        let error = places("too long", &["a.rs".into(), "b.rs".into()]).unwrap_err();
        assert_eq!(error.to_string(), "too long:\n  a.rs\n  b.rs");
    }
}

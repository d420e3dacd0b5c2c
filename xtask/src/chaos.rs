//! `cargo xtask chaos`: jobs that are killed with `kill -9` again and again, and disturbed
//! in every other way there is, must write what they write if nobody touches them: byte
//! for byte, once sorted.
//!
//! | file | what lives there |
//! | --- | --- |
//! | here | runs, rounds, and what is said of them |
//! | `schedule` | what is done to a job, and when: pure |
//! | `phases` | what a job is doing, as its log says: pure |
//! | `jobs` | the jobs |
//! | `life` | one process of a job |
//! | `past` | what the next one goes on from |
//! | `compare` | what was written |
//! | `random` | random numbers |

mod compare;
mod jobs;
mod life;
mod past;
mod phases;
mod random;
mod schedule;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use self::{
    jobs::Job,
    life::{End, Stage, Tally},
    past::Past,
    phases::Mark,
    schedule::Life,
};
use crate::{guests, process, stopwatch::Stopwatch, workspace::Workspace};

/// What may be said on the command line.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Draws what is done to the jobs, and when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often each job is killed
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// Which job
    #[arg(long, value_enum, default_value_t = Which::All)]
    job: Which,
    /// How many records the keyed job has
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    records: u64,
    /// Has the flights job read another file of the same form, such as that of the whole year
    #[arg(long, value_name = "FILE")]
    flights: Option<PathBuf>,
    /// Disturbs this program, such as one built with optimisation, instead of building one; the
    /// guests must have been built too
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    Flights,
    Keyed,
    All,
}

/// Kills and compares.
///
/// # Errors
/// If a job wrote something else than without being disturbed, failed, or hung. Its
/// directory is kept, and how to repeat the run has been said.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    kill_and_compare(arguments).map(drop)
}

/// Says how often a job went on from a savepoint.
fn kill_and_compare(arguments: &Arguments) -> Result<u32> {
    let workspace = Workspace::load()?;
    let program = match &arguments.program {
        Some(program) => fs::canonicalize(program)
            .with_context(|| format!("cannot find {}", program.display()))?,
        None => {
            guests::build(&workspace, guests::Choice::Auto)?;
            let build = ["build", "--workspace"];
            process::run(process::cargo().args(build).current_dir(&workspace.root))?;
            workspace.target.join("debug").join("cofferdam")
        }
    };
    disturb(&workspace, &program, arguments)
}

/// A short run, for `cargo xtask ci`.
///
/// # Errors
/// As [`run`].
pub(crate) fn short(seed: u64) -> Result<String> {
    let keyed = Arguments {
        seed,
        kills: 20,
        job: Which::Keyed,
        records: 200_000,
        flights: None,
        program: None,
    };
    let flights = Arguments { kills: 6, job: Which::Flights, ..keyed.clone() };
    let resumed = kill_and_compare(&keyed)? + kill_and_compare(&flights)?;
    Ok(format!("seed {seed}; gone on from a savepoint {resumed} times"))
}

fn disturb(workspace: &Workspace, program: &Path, arguments: &Arguments) -> Result<u32> {
    let flights = arguments.flights.as_deref();
    let flights = flights
        .map(|file| {
            fs::canonicalize(file).with_context(|| format!("cannot find {}", file.display()))
        })
        .transpose()?;
    let mut jobs = Vec::new();
    if arguments.job != Which::Keyed {
        jobs.push(Job::flights(&workspace.root.join("examples"), flights.as_deref())?);
    }
    if arguments.job != Which::Flights {
        jobs.push(Job::keyed(arguments.records, arguments.kills));
    }
    let mut resumed = 0;
    for job in jobs {
        let home = workspace.target.join("chaos").join(format!("{}-{}", job.name, arguments.seed));
        let run = Run { workspace, program, arguments, home, job };
        let done = run.run();
        if done.is_err() {
            println!("\nTo repeat it, as far as time repeats itself:");
            println!(
                "  cargo xtask chaos --seed {} --kills {} --job {} --records {}{}",
                arguments.seed,
                arguments.kills,
                run.job.name,
                arguments.records,
                flights.iter().map(|f| format!(" --flights {}", f.display())).collect::<String>(),
            );
            println!(
                "What it left is in {}: the job's log tells all of its lives",
                run.home.display()
            );
        }
        resumed += done
            .with_context(|| format!("the {} job, with seed {}", run.job.name, arguments.seed))?;
    }
    Ok(resumed)
}

/// One job, to be killed so often.
struct Run<'a> {
    workspace: &'a Workspace,
    program: &'a Path,
    arguments: &'a Arguments,
    home: PathBuf,
    job: Job,
}

/// Sorted lines, output by output.
type Written = Vec<Vec<String>>;

impl Run<'_> {
    /// Says how often the job went on from a savepoint.
    fn run(&self) -> Result<u32> {
        let Arguments { seed, kills, .. } = *self.arguments;
        println!("\nthe {} job, {kills} kills, seed {seed}", self.job.name);
        if self.home.exists() {
            fs::remove_dir_all(&self.home)
                .with_context(|| format!("cannot empty {}", self.home.display()))?;
        }
        let watch = Stopwatch::start();
        let calm = self.home.join("undisturbed");
        self.set_up(&calm)?;
        self.stage(&calm).run_undisturbed()?;
        let wanted = self.written(&calm)?;
        let count: usize = wanted.iter().map(Vec::len).sum();
        println!("  undisturbed: {count} lines in {:.1} s", watch.elapsed().as_secs_f64());
        let mut tally = Tally::default();
        let (mut killed, mut lives, mut round) = (0, 0, 0);
        while killed < kills || round == 0 {
            round += 1;
            let directory = self.home.join(format!("round-{round}"));
            self.set_up(&directory)?;
            self.round(&directory, &mut killed, &mut lives, &mut tally)?;
            self.compare(&directory, &wanted)?;
            println!(
                "  round {round}: same output after {killed} kills in {lives} lives, {:.0} s",
                watch.elapsed().as_secs_f64()
            );
            fs::remove_dir_all(&directory).context("cannot remove what is not needed any more")?;
        }
        print!("{}", shown(&tally));
        if let Some(mark) = Mark::OF_EVERY_JOB.into_iter().find(|mark| tally.times(*mark) == 0) {
            bail!(
                "the log never told of {mark:?}: the job's words for it have changed, and \
                 `xtask/src/chaos/phases.rs` must follow them"
            );
        }
        fs::remove_dir_all(&self.home).context("cannot remove what is not needed any more")?;
        Ok(tally.resumed)
    }

    fn stage<'b>(&'b self, directory: &'b Path) -> Stage<'b> {
        Stage {
            program: self.program,
            artifacts: self.workspace.artifacts(),
            cache: self.workspace.target.join("chaos").join("cache"),
            directory,
        }
    }

    fn set_up(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(directory.join("job.toml"), &self.job.text))
            .with_context(|| format!("cannot write into {}", directory.display()))
    }

    /// Lives from a job's beginning to its end.
    fn round(
        &self,
        directory: &Path,
        killed: &mut u32,
        lives: &mut u64,
        tally: &mut Tally,
    ) -> Result<()> {
        let Arguments { seed, kills, .. } = *self.arguments;
        let stage = self.stage(directory);
        let mut past = Past::default();
        loop {
            let disturbed = *killed < kills;
            let life = match disturbed {
                true => Life::draw(seed, *lives, self.job.bounds),
                false => Life::quiet(*lives, self.job.bounds.parallelism),
            };
            *lives += 1;
            let settings = self.job.settings(&life, disturbed);
            let end = stage
                .live(&self.job, &life, &settings, &mut past, tally)
                .with_context(|| life.to_string())?;
            match end {
                End::Killed(phase) => {
                    *killed += 1;
                    if killed.is_multiple_of(10) {
                        println!(
                            "  {killed} kills, checkpoint {}; the last one: {phase}",
                            past.durable
                        );
                    }
                }
                End::Stopped => {}
                End::Finished => return Ok(()),
            }
        }
    }

    fn written(&self, directory: &Path) -> Result<Written> {
        let out = directory.join("out");
        self.job.outputs.iter().map(|output| compare::lines(&out, output)).collect()
    }

    fn compare(&self, directory: &Path, wanted: &Written) -> Result<()> {
        let found = self.written(directory)?;
        for ((output, wanted), found) in self.job.outputs.iter().zip(wanted).zip(&found) {
            compare::same(wanted, found).with_context(|| format!("the output `{output}`"))?;
        }
        Ok(())
    }
}

/// What was done, for people.
fn shown(tally: &Tally) -> String {
    let mut text = String::from("  kills, by what the job was doing:\n");
    for (phase, kills) in &tally.kills {
        text.push_str(&format!("    {kills:>5}  {phase}\n"));
    }
    let (written, traps) = (tally.times(Mark::Written), tally.times(Mark::Failed));
    text.push_str(&format!("  checkpoints: {written}; traps: {traps}"));
    text.push_str(&format!("; stopped politely: {}\n", tally.stops));
    let resumed = tally.resumed;
    text.push_str(&format!("  gone on from a savepoint in a fresh state directory: {resumed}\n"));
    for (deed, (times, done)) in &tally.deeds {
        text.push_str(&format!("  {deed}: {done} of {times} done\n"));
    }
    for (why, times) in &tally.refused {
        text.push_str(&format!("    {times:>5} times: {why}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::phases::Phase;

    #[test]
    fn what_was_done_is_told_phase_by_phase() {
        let mut tally = Tally { stops: 1, resumed: 3, ..Tally::default() };
        tally.kills.insert(Phase::Writing, 12);
        tally.deeds.insert("slot drain", (3, 2));
        tally.refused.insert("no slot".into(), 1);
        let text = shown(&tally);
        assert!(text.contains("   12  checkpoint: being written\n"), "{text}");
        assert!(text.contains("in a fresh state directory: 3\n"), "{text}");
        assert!(text.contains("slot drain: 2 of 3 done\n        1 times: no slot\n"), "{text}");
    }
}

//! `cargo xtask fuzz`: mutates what is kept in `corpus/` and throws it at the
//! host, which must neither panic nor hang nor grow. Without coverage feedback,
//! so that it runs on a stock stable toolchain; what is answered in words that
//! were not heard before is mutated further.
//!
//! | target | what is mutated | what takes it |
//! | --- | --- | --- |
//! | `outcome` | the bytes that an operator's `process` answers with | the Canonical ABI, `outcome::decode` |
//! | `fold` | those of `fold` | the same, and the keyed state |
//! | `upload` | components | validation, compiler, linker, instantiation, one batch |
//!
//! A run is given by its seed, which is printed. An input that fails is saved,
//! and its path printed, before the process ends.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks")]

mod answers;
mod corpus;
mod mutate;
mod uploads;
mod watch;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use cofferdam::clock::Stopwatch;
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{corpus::Corpus, watch::Watch};

/// What is fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// What `process` answers
    Outcome,
    /// What `fold` answers
    Fold,
    /// Components
    Upload,
}

/// Throws mutated inputs at the host.
#[derive(Debug, Parser)]
struct Arguments {
    target: Target,
    /// Where `TARGET/` with the inputs to begin with is
    #[arg(long)]
    corpus: PathBuf,
    /// Where an input that fails is saved
    #[arg(long)]
    failures: PathBuf,
    /// Ends after so long
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Ends after so many inputs, however long that takes
    #[arg(long)]
    runs: Option<u64>,
    /// Repeats a run
    #[arg(long)]
    seed: Option<u64>,
    /// The program, to compile some of the uploads in a child as it does
    #[arg(long)]
    program: Option<PathBuf>,
    /// Writes the inputs to begin with, as the zoo makes them
    #[arg(long)]
    plant: bool,
}

/// What takes inputs: one of the targets.
trait Taker {
    /// Takes one; says in which words the host answered, without its numbers.
    async fn take(&mut self, input: &[u8]) -> Result<String>;
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<()> {
    let name = format!("{:?}", arguments.target).to_lowercase();
    let dir = arguments.corpus.join(&name);
    if arguments.plant {
        return match arguments.target {
            Target::Outcome => corpus::plant(&dir, &answers::seeds()),
            Target::Fold => corpus::plant(&dir, &answers::fold_seeds()),
            Target::Upload => corpus::plant(&dir, &uploads::seeds()),
        };
    }
    let corpus = Corpus::read(&dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watch = Watch::start(arguments.failures.clone(), name)?;
    match arguments.target {
        Target::Outcome => {
            let taker = runtime.block_on(answers::Processor::new())?;
            runtime.block_on(drive(arguments, taker, corpus, &watch))
        }
        Target::Fold => {
            let taker = runtime.block_on(answers::Folder::new())?;
            runtime.block_on(drive(arguments, taker, corpus, &watch))
        }
        Target::Upload => {
            let taker = uploads::Uploads::new(arguments.program.clone())?;
            runtime.block_on(drive(arguments, taker, corpus, &watch))
        }
    }
}

/// How many inputs are taken before memory is looked at for the first time: by
/// then every pool and cache is as large as it gets.
const WARM: u64 = 20_000;
/// How much the process may grow after that.
const MOST_GROWTH_KIB: u64 = 64 * 1024;

async fn drive(
    arguments: &Arguments,
    mut taker: impl Taker,
    mut corpus: Corpus,
    watch: &Watch,
) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("{:?}: {} inputs to begin with, --seed {seed}", arguments.target, corpus.len());
    let mut rng = StdRng::seed_from_u64(seed);
    let clock = Stopwatch::start();
    let (mut runs, mut warm, mut slowest) = (0, None, Duration::ZERO);
    let goes_on = |runs: u64| match arguments.runs {
        Some(most) => runs < most,
        None => clock.elapsed() < Duration::from_secs(arguments.seconds),
    };
    while goes_on(runs) {
        let input = corpus.next(&mut rng);
        watch.begin(&input);
        let began = Stopwatch::start();
        match taker.take(&input).await {
            Ok(words) => corpus.heard(words, input),
            Err(error) => bail!("{error:#}; the input is in {}", watch.save().display()),
        }
        slowest = slowest.max(began.elapsed());
        runs += 1;
        if runs == WARM {
            warm = Some(watch::resident_kib()?);
        }
        if runs.is_multiple_of(100_000) {
            println!("{runs} inputs, {:.0?}", clock.elapsed());
        }
    }
    watch.end();
    let now = watch::resident_kib()?;
    println!(
        "{:?}: {runs} inputs in {:.1?}, {} through the checks, {} kinds of answers, the slowest after {slowest:.1?}; {now} KiB resident ({} after the first {WARM})",
        arguments.target,
        clock.elapsed(),
        corpus.through(),
        corpus.kinds(),
        warm.map_or("-".to_owned(), |kib: u64| kib.to_string()),
    );
    for (words, count) in corpus.commonest(8) {
        println!("  {count:>9}  {words}");
    }
    match warm {
        Some(warm) if now > warm + MOST_GROWTH_KIB => bail!("the process has grown: a leak"),
        _ => Ok(()),
    }
}

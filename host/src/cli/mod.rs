//! The command line: arguments, progress, exit codes. Holds nothing that an
//! HTTP API would need too.
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`args`] | the commands, their options and help |
//! | [`exit`] | exit codes |
//! | `run`, `run_tenant` | `cofferdam run`, and what `--tenant` does to it |
//! | `serve`, [`serve_args`] | `cofferdam serve` |
//! | `config_command`, [`config_args`] | `cofferdam config …` |
//! | `signals` | what ends the program politely |
//! | `check` | `cofferdam job check` |
//! | `running`, [`running_args`] | what is asked of a job that runs |
//! | `checkpoint`, [`checkpoint_args`], `checkpoint_view` | `cofferdam checkpoint …` |
//! | `tenant`, [`tenant_args`], `tenant_view` | `cofferdam tenant …` |
//! | `capsule`, [`capsule_args`], `capsule_view` | `cofferdam replay` and `cofferdam operator compare` |
//! | [`server`] | commands that ask a server |
//! | [`authoring`] | commands about an operator that is being written |
//! | `shell` | completions and man pages |
//! | `log` | what is logged, and what a line looks like |
//! | `harden` | giving up what a command does not need |
//! | `progress` | a job's numbers as text |
//! | `plan_view` | a plan as text, for Graphviz and for Mermaid |
//! | `terminal` | where text goes, live display, colours |

pub mod args;
pub mod authoring;
mod capsule;
pub mod capsule_args;
mod capsule_view;
mod check;
mod checkpoint;
pub mod checkpoint_args;
mod checkpoint_view;
pub mod config_args;
mod config_command;
pub mod exit;
mod harden;
mod log;
mod plan_view;
mod progress;
mod run;
mod run_tenant;
mod running;
pub mod running_args;
mod serve;
pub mod serve_args;
pub mod server;
mod shell;
mod signals;
mod tenant;
pub mod tenant_args;
mod tenant_view;
mod terminal;

use std::{path::Path, process::ExitCode};

use clap::Parser as _;

use self::{
    args::{Cli, Command, JobCommand},
    capsule_args::OperatorCommand,
    exit::Exit,
    server::operator_args::Inspected,
};
use crate::{
    config::{self, Override, job::JobSpec},
    human,
    sandbox::compile,
};

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Run(args) => run::run(&args, log::start()),
        // It begins its log itself, as its configuration says.
        Command::Serve(args) => serve::serve(&args),
        Command::Config(command) => config_command::config(&command),
        Command::Job(command) => job(&command),
        Command::Savepoint(command) => either(server::savepoints::savepoint(&command)),
        Command::Slot(command) => either(server::slots::slot(&command)),
        Command::Capsule(command) => either(server::capsules::capsule(&command)),
        Command::Tenant(command) => either(tenant::tenant(&command)),
        Command::Usage(args) => either(tenant::usage(&args).map(|()| Exit::Success)),
        Command::Checkpoint(command) => {
            log::start();
            either(checkpoint::checkpoint(&command))
        }
        Command::Replay(args) => {
            log::start();
            capsule::replay_capsule(&args)
        }
        Command::Operator(command) => operator(&command),
        Command::Top(args) => either(server::top::top(&args)),
        Command::Dashboard(args) => either(server::dashboard::dashboard(&args)),
        Command::Token(command) => either(server::tokens::token(&command)),
        Command::Profile(command) => either(server::profiles::profile(&command)),
        Command::Completions { shell } => shell::completions(shell),
        Command::Man { directory } => shell::man(&directory),
        // No log: what it writes is code.
        Command::CompileArtifact { memory, seconds, metering, hardening, task } => {
            return ExitCode::from(compile::run(memory, seconds, metering, hardening, task));
        }
    };
    exit.into()
}

fn job(command: &JobCommand) -> Exit {
    match command {
        JobCommand::Check(args) => {
            log::start();
            check::check(args)
        }
        JobCommand::Submit(args) => either(server::jobs::submit(args)),
        JobCommand::List(args) => either(server::jobs::list(args)),
        JobCommand::Show(args) => either(server::jobs::show(args)),
        JobCommand::Cancel(args) => either(server::jobs::cancel(args)),
        JobCommand::Stop(args) => either(server::jobs::stop(args)),
        JobCommand::Rescale(args) => either(server::jobs::rescale(args)),
        JobCommand::Limits(args) => either(server::jobs::limits(args)),
        JobCommand::Restart(args) => either(server::jobs::restart(args)),
        JobCommand::Exceptions(args) => either(server::jobs::exceptions(args)),
        JobCommand::Logs(args) => either(server::looking_on::logs(args)),
        JobCommand::Tail(args) => either(server::looking_on::tail(args)),
        JobCommand::Rm(args) => either(server::jobs::remove(args)),
        JobCommand::Upgrade(args) => running::upgrade(args),
    }
}

fn operator(command: &OperatorCommand) -> Exit {
    match command {
        OperatorCommand::New(args) => either(authoring::new::new(args)),
        OperatorCommand::Build(args) => {
            log::start();
            either(authoring::build::build_project(args))
        }
        OperatorCommand::Test(args) => {
            log::start();
            either(authoring::test::test(args))
        }
        OperatorCommand::Bench(args) => {
            log::start();
            either(authoring::bench::bench_operator(args))
        }
        OperatorCommand::Dev(args) => either(authoring::dev::dev(args)),
        OperatorCommand::Push(args) => either(server::operators::push(args)),
        OperatorCommand::List(args) => either(server::operators::list(args)),
        OperatorCommand::Inspect(args) => either(match &args.operator {
            Inspected::File(file) => {
                authoring::build::inspect_file(file, args.no_build, args.at.json)
            }
            Inspected::Pushed(operator) => server::operators::inspect(args, operator),
        }),
        OperatorCommand::Rm(args) => either(server::operators::remove(args)),
        OperatorCommand::Tag(args) => either(server::operators::tag(args)),
        OperatorCommand::Keygen(args) => either(server::keys::keygen(args)),
        OperatorCommand::Sign(args) => either(server::keys::sign(args)),
        OperatorCommand::Record(args) => running::record(args),
        OperatorCommand::Compare(args) => {
            log::start();
            capsule::compare_two(args)
        }
    }
}

/// How it ended, well or not.
fn either(ended: Result<Exit, Exit>) -> Exit {
    ended.unwrap_or_else(|exit| exit)
}

/// A job file that was read.
struct JobFile {
    text: String,
    spec: JobSpec,
}

/// Reads and checks a job file; says what is wrong with it.
fn read_job(file: &Path, sets: &[Override]) -> Result<JobFile, Exit> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        terminal::say(&format!("error: cannot read the job file {}: {error}", file.display()));
        Exit::Usage
    })?;
    match config::parse(&text, file, sets) {
        Ok(spec) => Ok(JobFile { text, spec }),
        Err(errors) => {
            terminal::say(&errors.to_string());
            Err(Exit::Usage)
        }
    }
}

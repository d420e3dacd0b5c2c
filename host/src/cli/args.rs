//! The command line: what can be asked, and the help that goes with it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{
    capsule_args::{OperatorCommand, REPLAY_HELP, ReplayArgs},
    checkpoint_args::CheckpointCommand,
    config_args::ConfigCommand,
    exit::EXIT_CODES,
    running_args::UpgradeArgs,
    serve_args::{SERVE_HELP, ServeArgs},
    server::{
        capsule_args::CapsuleCommand,
        job_args::{
            JobAt, JobThere, LIMITS_HELP, LimitsArgs, ListArgs, RESCALE_HELP, RescaleArgs,
            SUBMIT_HELP, StopArgs, SubmitArgs,
        },
        looking_on_args::{LogsArgs, TailArgs},
        profile_args::ProfileCommand,
        savepoint_args::SavepointCommand,
        slot_args::SlotCommand,
        token_args::TokenCommand,
        top_args::{DashboardArgs, TOP_HELP, TopArgs},
    },
    tenant_args::{TenantArgs, TenantCommand, USAGE_HELP, UsageArgs},
};
use crate::{
    config::{Override, units::parse_size},
    hardening::Mode,
    sandbox::{Metering, compile},
};

/// Runs stream jobs whose operators are WebAssembly components, each in a
/// sandbox of its own.
#[derive(Debug, Parser)]
#[command(name = "cofferdam", version, about, after_help = EXIT_CODES, max_term_width = 100)]
#[command(propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a job to its end
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// Serve many tenants: take their operators and jobs by HTTP, and run them
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArgs),
    /// Check and show a server's configuration
    #[command(subcommand, arg_required_else_help = true)]
    Config(ConfigCommand),
    /// Submit jobs to a server, look at them and end them; check job files; ask a job of this machine
    #[command(subcommand, arg_required_else_help = true)]
    Job(JobCommand),
    /// Take savepoints of jobs that run, list, show and dispose of those of a server
    #[command(subcommand, arg_required_else_help = true)]
    Savepoint(SavepointCommand),
    /// Show, drain and restore the slots of a server, or of a job of this machine
    #[command(subcommand, arg_required_else_help = true)]
    Slot(SlotCommand),
    /// Take, list and show checkpoints; verify, export, import and prune those of a state directory
    #[command(subcommand, arg_required_else_help = true)]
    Checkpoint(CheckpointCommand),
    /// List and get the crash capsules of a server
    #[command(subcommand, arg_required_else_help = true)]
    Capsule(CapsuleCommand),
    /// Run a crash again from its capsule
    #[command(after_help = REPLAY_HELP)]
    Replay(ReplayArgs),
    /// Push operators to a server and look at them; compare versions of one
    #[command(subcommand, arg_required_else_help = true)]
    Operator(OperatorCommand),
    /// Make, change and show tenants: their quotas, grants and usage
    #[command(subcommand, arg_required_else_help = true)]
    Tenant(TenantCommand),
    /// Show what tenants have used
    #[command(after_help = USAGE_HELP)]
    Usage(UsageArgs),
    /// Watch what the jobs of a server do
    #[command(after_help = TOP_HELP)]
    Top(TopArgs),
    /// Print the address of a server's web console, or open it
    Dashboard(DashboardArgs),
    /// Make, list and revoke the tokens of a server
    #[command(subcommand, arg_required_else_help = true)]
    Token(TokenCommand),
    /// Give servers names, with what opens them
    #[command(subcommand, arg_required_else_help = true)]
    Profile(ProfileCommand),
    /// Print a script that has a shell complete commands and options
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// Which shell
        #[arg(value_name = "SHELL", value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write man pages, one for each command
    #[command(after_help = MAN_HELP)]
    Man {
        /// Where to; it is made if it is not there
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Compiles one artifact within limits; the program starts itself so
    #[command(name = compile::COMMAND, hide = true)]
    CompileArtifact {
        /// Bytes of address space that it may take
        memory: u64,
        /// Seconds that it may take
        seconds: u64,
        /// What the code's work is to be counted in
        metering: Metering,
        /// Whether it gives up files, sockets and processes
        hardening: Mode,
        /// What it is to do
        task: compile::Task,
    },
}

/// `cofferdam job …`
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Check a job file, open its operators, and print its plan, without running it
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
    /// Submit a job to a server
    #[command(after_help = SUBMIT_HELP)]
    Submit(SubmitArgs),
    /// List the jobs of a server
    List(ListArgs),
    /// Show a job of a server, or the one of a state directory
    #[command(visible_alias = "status")]
    Show(JobAt),
    /// End a job of a server, without a savepoint
    Cancel(JobThere),
    /// Stop a job with a savepoint: of a server, or of a state directory
    Stop(StopArgs),
    /// Have a job that runs go on with another parallelism: of a server, or of a state directory
    // The job may be left out, and the number may not.
    #[command(after_help = RESCALE_HELP, allow_missing_positional = true)]
    Rescale(RescaleArgs),
    /// Have a job of a server that runs go on with other limits of an operator: memory, time of a
    /// call, part of a core
    #[command(after_help = LIMITS_HELP)]
    Limits(LimitsArgs),
    /// Start a job of a server again that failed or was stopped
    Restart(JobThere),
    /// Show why a job of a server failed
    Exceptions(JobThere),
    /// Show what the operators of a job of a server have logged, and follow it
    Logs(LogsArgs),
    /// Show samples of what a source or operator of a job of a server puts out, as it comes
    Tail(TailArgs),
    /// Have a server forget a job that has ended, with its state and savepoints
    Rm(JobThere),
    /// Try another version of an operator beside the one that runs, and go on with it if it does
    /// the same
    Upgrade(UpgradeArgs),
}

/// `cofferdam run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The job file (TOML)
    #[arg(value_name = "JOB.toml")]
    pub file: PathBuf,

    /// How many slots (sandboxes) there are; as many as the job needs if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub slots: Option<u32>,

    /// What all slots may hold together, such as 2GiB [default: 3/4 of the machine's or
    /// container's memory]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    pub memory: Option<usize>,

    /// Whether the limits of all slots must fit into it together (strict), or each by itself
    #[arg(long, value_name = "RULE", value_enum, default_value_t)]
    pub memory_admission: MemoryAdmission,

    /// What operators' work is counted in: fuel is the same for the same input on every machine,
    /// and makes them slower
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    pub metering: Metering,

    /// Keep checkpoints here; if there is one of this job, go on from it
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// Begin with this savepoint, unless the state directory has a checkpoint already
    #[arg(long, value_name = "FILE")]
    pub from_savepoint: Option<PathBuf>,

    /// Leave out state of sources, operators and sinks that the job file does not have any more
    #[arg(long)]
    pub allow_non_restored_state: bool,
    /// Keep what it takes to see a crash again here, not in `capsules` below --state
    #[arg(long, value_name = "DIR")]
    pub capsules: Option<PathBuf>,

    /// Change a setting of the job file (may be repeated)
    #[arg(long = "set", value_name = "NAME.KEY=VALUE")]
    pub sets: Vec<Override>,

    /// Print progress and the summary as JSON, one object a line, on standard output
    #[arg(long)]
    pub json: bool,

    /// Whether to give up what the job does not need: files, system calls (auto: as far as
    /// the kernel offers it)
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub hardening: Mode,

    /// Look up operators by name in this directory first
    #[arg(long, value_name = "DIR")]
    pub artifacts: Option<PathBuf>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub owner: TenantArgs,
}

/// The rule by which a job's slots are let in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum MemoryAdmission {
    /// Limits together may exceed the budget.
    #[default]
    Overcommit,
    /// They may not.
    Strict,
}

fn memory_size(text: &str) -> Result<usize, String> {
    let bytes = parse_size(text)
        .map_err(|e| format!("it must be a size such as 512MiB or 2GiB, but {e}"))?;
    usize::try_from(bytes).map_err(|_| "that is more than this machine can address".to_owned())
}

/// `cofferdam job check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The job file (TOML)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Print the plan as a graph for Graphviz
    #[arg(long, conflicts_with_all = ["mermaid", "json"])]
    pub dot: bool,

    /// Print the plan as a Mermaid flowchart
    #[arg(long, conflicts_with = "json")]
    pub mermaid: bool,

    /// Print the plan as an object, as a server's `GET /v1/jobs/{id}/plan` has it
    #[arg(long)]
    pub json: bool,

    /// Whether to give up what opening operators does not need, as in `run`
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub hardening: Mode,

    /// Look up operators by name in this directory first
    #[arg(long, value_name = "DIR")]
    pub artifacts: Option<PathBuf>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub owner: TenantArgs,

    /// Change a setting of the job file (may be repeated)
    #[arg(long = "set", value_name = "NAME.KEY=VALUE")]
    pub sets: Vec<Override>,
}

const RUN_HELP: &str = "\
Examples:
  cofferdam run job.toml
  cofferdam run job.toml --state ./state          survive Ctrl-C and kill; run again to resume
  cofferdam run job.toml --set job.parallelism=4  change a setting
  cofferdam run job.toml --set flown.field=delay  change an operator's config
  cofferdam run job.toml --json | jq .state       for programs
  cofferdam run job.toml --tenant acme            with the quotas of `cofferdam tenant`

Ctrl-C stops the job with a final checkpoint; a second Ctrl-C ends the program at once.
Progress goes to standard error: live on a terminal, else a line now and then.
COFFERDAM_LOG (such as info, or cofferdam=debug) says what is logged; NO_COLOR turns colours off.";

const CHECK_HELP: &str = "\
Examples:
  cofferdam job check job.toml
  cofferdam job check job.toml --dot | dot -Tsvg > plan.svg
  cofferdam job check job.toml --set job.parallelism=4";

const COMPLETIONS_HELP: &str = "\
Examples:
  source <(cofferdam completions bash)
  cofferdam completions zsh > ~/.zfunc/_cofferdam
  cofferdam completions fish > ~/.config/fish/completions/cofferdam.fish";

const MAN_HELP: &str = "\
Example:
  cofferdam man ~/.local/share/man/man1 && man cofferdam-job-submit";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_budget_of_memory_is_a_size() {
        let parse = |size| Cli::try_parse_from(["cofferdam", "run", "j.toml", "--memory", size]);
        let Command::Run(args) = parse("2GiB").unwrap().command else { unreachable!("a run") };
        assert_eq!((args.memory, args.memory_admission), (Some(2 << 30), Default::default()));
        let error = parse("much").unwrap_err().to_string();
        assert!(error.contains("such as 512MiB or 2GiB"), "{error}");
    }

    #[test]
    fn a_set_that_is_none_is_refused_with_an_example() {
        let error = Cli::try_parse_from(["cofferdam", "run", "j.toml", "--set", "x"]).unwrap_err();
        assert!(error.to_string().contains("write NAME.KEY=VALUE"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

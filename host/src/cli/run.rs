//! `cofferdam run`: runs a job in this process to its end, shows progress, and
//! turns Ctrl-C into a final checkpoint.

use std::{io, path::Path, sync::Arc};

use indicatif::MultiProgress;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};
use tracing::Instrument as _;

use super::{
    args::{MemoryAdmission, RunArgs},
    exit::Exit,
    harden::harden,
    read_job,
    run_tenant::{Owner, say_faults},
    signals::Signals,
    terminal::{self, Display, Mode},
};
use crate::{
    config::{
        environment,
        job::{JobSpec, OperatorSpec, SinkConnector, StateKeeping},
        traces,
    },
    hardening::{self, Report},
    job_manager::{
        self,
        control::{Control, Controls, Outcome, Request, RunOptions},
        needs,
        status::JobStatus,
    },
    memory::Admission,
    otlp::Exporter,
    remote::server::Listener,
    sandbox::{Compiler, Metering, PageWatch},
    task_manager::{self, TaskManagerSettings, tenants::Follower},
};

/// How many questions may wait for the job.
const REQUESTS: usize = 16;

pub(super) fn run(args: &RunArgs, progress: MultiProgress) -> Exit {
    match prepare(args) {
        Ok(prepared) => run_prepared(args, prepared, progress),
        Err(exit) => exit,
    }
}

/// A job that is ready to be run, in a process that has given up the rest.
struct Prepared {
    spec: JobSpec,
    options: RunOptions,
    follower: Option<Follower>,
    hardened: Report,
    listener: Option<Listener>,
    exporter: Option<Exporter>,
}

/// Reads the job, and looks at whose it is; then hardens the process, and makes what a
/// tenant's job needs.
fn prepare(args: &RunArgs) -> Result<Prepared, Exit> {
    let file = read_job(&args.file, &args.sets)?;
    let owner = Owner::of(&args.owner)?;
    let refused = owner.as_ref().map(|owner| owner.refused(&file)).unwrap_or_default();
    if !refused.is_empty() {
        return Err(say_faults(&refused, &file, &args.file, &args.sets));
    }
    let mut options = RunOptions {
        settings: settings(args),
        state: args.state.clone(),
        capsules: args.capsules.clone(),
        artifacts: args.artifacts.clone(),
        from_savepoint: args.from_savepoint.clone(),
        allow_non_restored_state: args.allow_non_restored_state,
        ..RunOptions::default()
    };
    let exporter = exporter(&mut options)?;
    let mut needs = needs::of_run(&file.spec, &options);
    needs.add_host(exporter.as_ref().map(Exporter::host));
    if let Some(owner) = &owner {
        owner.add_needs(&mut needs);
    }
    options.settings.page_watch = page_watch(&file.spec);
    let listener = args.state.as_deref().and_then(listen);
    // Before there is any other thread: what follows starts them.
    let hardened = harden(args.hardening, &needs)?;
    let follower = match owner {
        None => None,
        Some(owner) => Some(owner.take(&mut options, &file)?),
    };
    Ok(Prepared { spec: file.spec, options, follower, hardened, listener, exporter })
}

/// Who sends spans, if the environment says where to.
fn exporter(options: &mut RunOptions) -> Result<Option<Exporter>, Exit> {
    let spec = traces::of_environment(environment::variables()).map_err(|errors| {
        terminal::say(&errors.to_string());
        Exit::Usage
    })?;
    let traced = Exporter::open(&spec).map_err(|error| {
        terminal::say(&format!("error: {error}"));
        Exit::Usage
    })?;
    let (tracer, exporter) = traced.unzip();
    options.settings.tracer = tracer.unwrap_or_default();
    Ok(exporter)
}

/// What tells which pages guests have written to. Before the process is hardened: it
/// cannot be had later, and a job that does not need it does not have it.
fn page_watch(spec: &JobSpec) -> Option<Arc<PageWatch>> {
    let saved = |operator: &OperatorSpec| operator.state == Some(StateKeeping::Memory);
    if !spec.operators.iter().any(saved) {
        return None;
    }
    let opened = PageWatch::open();
    let told = "no userfaultfd: memories are compared with copies to find what changed";
    opened.inspect_err(|error| tracing::info!("{told}: {error}")).ok()
}

/// Where other processes ask something of the job. Without it the job runs all the same.
fn listen(state: &Path) -> Option<Listener> {
    Listener::bind(state).unwrap_or_else(|error| {
        terminal::say(&format!(
            "warning: nothing can be asked of this job while it runs: its control socket in {} \
             cannot be made: {error}",
            state.display()
        ));
        None
    })
}

fn run_prepared(args: &RunArgs, prepared: Prepared, progress: MultiProgress) -> Exit {
    let Prepared { spec, options, follower, hardened, listener, exporter } = prepared;
    let prints =
        spec.sinks.iter().any(|sink| matches!(sink.connector, SinkConnector::Stdout { .. }));
    let mode = Mode::choose(args.json, prints);
    let runtime = match task_manager::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal::say(&format!("error: cannot start the threads of the runtime: {error}"));
            return Exit::JobFailed;
        }
    };
    if let Some(follower) = follower {
        // It ends with the runtime.
        runtime.spawn(follower.follow());
    }
    let first = JobStatus::created(spec.job.name.clone());
    let display = Display::new(mode, progress, first, hardened);
    let (ask, requests) = mpsc::channel(REQUESTS);
    if let Some(listener) = listener {
        // It ends with the runtime too.
        runtime.spawn(listener.serve(ask));
    }
    let ended = runtime.block_on(async {
        let exporting = exporter.map(Exporter::start);
        let ended = drive(spec, options, requests, mode, display).await;
        if let Some(exporting) = exporting.filter(|_| matches!(ended, Ok(Some(_)))) {
            exporting.finish().await;
        }
        ended
    });
    // A source that waits for standard input would hold the program up.
    runtime.shutdown_background();
    match ended {
        Ok(Some(outcome)) => conclude(&outcome, args),
        Ok(None) => Exit::Aborted,
        Err(error) => {
            terminal::say(&format!("error: cannot listen for signals: {error}"));
            Exit::JobFailed
        }
    }
}

/// The job's TaskManager, as the options say.
fn settings(args: &RunArgs) -> TaskManagerSettings {
    TaskManagerSettings {
        slots: args.slots,
        memory: args.memory,
        admission: match args.memory_admission {
            MemoryAdmission::Overcommit => Admission::Overcommit,
            MemoryAdmission::Strict => Admission::Strict,
        },
        metering: args.metering,
        compiler: Compiler::this_program(args.hardening),
        ..TaskManagerSettings::default()
    }
}

/// Runs the job beside its display. None if a second signal came.
async fn drive(
    spec: JobSpec,
    options: RunOptions,
    requests: mpsc::Receiver<Request>,
    mode: Mode,
    mut display: Display,
) -> io::Result<Option<Outcome>> {
    let mut signals = Signals::new()?;
    let (publish, status) = JobStatus::watched(spec.job.name.clone());
    let (control, listen) = watch::channel(Control::Run);
    let controls = Controls { control: listen, requests };
    // Of a level that is never filtered out: what is logged says whose it is.
    let (job_name, tenant) = (spec.job.name.clone(), options.tenant.clone());
    let span = tracing::error_span!("job", %job_name, %tenant);
    let job = job_manager::run(spec, options, controls, publish);
    let mut job = tokio::spawn(job.instrument(span));
    let mut ticks = interval(mode.period());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // The first one comes at once, when there is nothing to see.
    ticks.tick().await;
    let outcome = loop {
        tokio::select! {
            ended = &mut job => break ended.unwrap_or_else(|error| Outcome::Failed {
                error: format!("a bug in cofferdam: the job's task ended with: {error}"),
            }),
            () = signals.next() => {
                if *control.borrow() == Control::Stop {
                    job.abort();
                    return Ok(None);
                }
                control.send_replace(Control::Stop);
                display.say("stopping with a final checkpoint; once more to end at once");
            }
            _ = ticks.tick() => {
                let now = Arc::clone(&status.borrow());
                display.update(&now);
            }
        }
    };
    let end = Arc::clone(&status.borrow());
    // Of a job that never began there is nothing to sum up.
    if end.generation > 0 || mode == Mode::Json {
        display.finish(&end, word(&outcome));
    }
    Ok(Some(outcome))
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Finished => "finished",
        Outcome::Stopped { .. } => "stopped",
        Outcome::Failed { .. } => "failed",
        Outcome::CannotStart { .. } => "cannot-start",
        Outcome::StateUnusable { .. } => "state-unusable",
    }
}

/// Says how it ended and what to do next.
fn conclude(outcome: &Outcome, args: &RunArgs) -> Exit {
    match outcome {
        Outcome::Finished => Exit::Success,
        Outcome::Stopped { checkpoint } => {
            terminal::say(&match (checkpoint, &args.state) {
                (Some(id), Some(state)) => {
                    format!("stopped at checkpoint {id}; to go on:\n  {}", resume(args, state))
                }
                _ => "stopped; without --state DIR nothing is kept, and the next run \
                      begins from the start"
                    .to_owned(),
            });
            Exit::Stopped
        }
        Outcome::Failed { error } => {
            terminal::say(&format!("error: the job failed: {error}"));
            Exit::JobFailed
        }
        Outcome::CannotStart { error } => {
            terminal::say(&format!("error: the job cannot be started: {error}"));
            Exit::Usage
        }
        Outcome::StateUnusable { error } => {
            terminal::say(&format!("error: the state directory cannot be used: {error}"));
            Exit::State
        }
    }
}

/// The command that goes on where this one stopped.
fn resume(args: &RunArgs, state: &Path) -> String {
    let mut words = vec!["cofferdam".to_owned(), "run".to_owned(), shell(&args.file)];
    words.extend(["--state".to_owned(), shell(state)]);
    if args.allow_non_restored_state {
        words.push("--allow-non-restored-state".to_owned());
    }
    if let Some(slots) = args.slots {
        words.extend(["--slots".to_owned(), slots.to_string()]);
    }
    if let Some(memory) = args.memory {
        words.extend(["--memory".to_owned(), memory.to_string()]);
    }
    if args.memory_admission == MemoryAdmission::Strict {
        words.extend(["--memory-admission".to_owned(), "strict".to_owned()]);
    }
    if args.metering == Metering::Fuel {
        words.extend(["--metering".to_owned(), "fuel".to_owned()]);
    }
    if let Some(tenant) = &args.owner.tenant {
        words.extend(["--tenant".to_owned(), tenant.to_string()]);
    }
    if let Some(data) = &args.owner.data {
        words.extend(["--data".to_owned(), shell(data)]);
    }
    if let Some(capsules) = &args.capsules {
        words.extend(["--capsules".to_owned(), shell(capsules)]);
    }
    if let Some(artifacts) = &args.artifacts {
        words.extend(["--artifacts".to_owned(), shell(artifacts)]);
    }
    for set in &args.sets {
        words.extend(["--set".to_owned(), shell(Path::new(set.as_str()))]);
    }
    if args.json {
        words.push("--json".to_owned());
    }
    if args.hardening != hardening::Mode::Auto {
        words.extend(["--hardening".to_owned(), args.hardening.word().to_owned()]);
    }
    words.join(" ")
}

/// Quotes a word for the shell, if it needs that.
fn shell(word: &Path) -> String {
    let text = word.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn args(line: &[&str]) -> RunArgs {
        match Cli::parse_from(line).command {
            Command::Run(args) => args,
            _ => unreachable!("a run"),
        }
    }

    #[test]
    fn the_command_to_resume_is_the_same_command() {
        let line = [
            "cofferdam",
            "run",
            "my job.toml",
            "--state",
            "st",
            "--slots",
            "4",
            "--memory",
            "1GiB",
            "--memory-admission",
            "strict",
            "--tenant",
            "acme",
            "--data",
            "./my data",
            "--set",
            "f.x=it's",
            "--json",
            "--hardening",
            "off",
        ];
        let args = args(&line);
        let again = resume(&args, args.state.as_deref().unwrap());
        assert_eq!(
            again,
            "cofferdam run 'my job.toml' --state st --slots 4 --memory 1073741824 \
             --memory-admission strict --tenant acme --data './my data' --set 'f.x=it'\\''s' --json \
             --hardening off"
        );
    }

    #[test]
    fn each_outcome_has_its_exit_code() {
        let args = args(&["cofferdam", "run", "j.toml"]);
        let error = String::new;
        for (outcome, code) in [
            (Outcome::Finished, 0),
            (Outcome::Failed { error: error() }, 1),
            (Outcome::CannotStart { error: error() }, 2),
            (Outcome::Stopped { checkpoint: None }, 3),
            (Outcome::StateUnusable { error: error() }, 4),
        ] {
            assert_eq!(conclude(&outcome, &args).code(), code, "{outcome:?}");
        }
    }
}

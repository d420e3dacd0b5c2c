//! `cofferdam job check`: reads a job file, loads its operators, and shows the plan.

use std::io::{self, Write as _};

use super::{args::CheckArgs, exit::Exit, plan_view, read_job, terminal};
use crate::{
    config::job::JobSpec,
    job_manager::{control::RunOptions, plan_view::PlanView, prepare::load_and_plan},
};

pub(super) fn check(args: &CheckArgs) -> Exit {
    let spec = match read_job(&args.file, &args.sets) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    let options = RunOptions { artifacts: args.artifacts.clone(), ..RunOptions::default() };
    let plan = match load_and_plan(&spec, &options) {
        Ok(loaded) => PlanView::of(&loaded.plan),
        Err(error) => {
            terminal::say(&format!("error: {error}"));
            return Exit::Usage;
        }
    };
    let shown = match (args.dot, args.mermaid) {
        (true, _) => plan_view::dot(&plan),
        (_, true) => plan_view::mermaid(&plan),
        _ => format!("{}\n{}", headline(&spec), plan_view::text(&plan)),
    };
    match io::stdout().lock().write_all(shown.as_bytes()) {
        Ok(()) => Exit::Success,
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
        Err(error) => {
            terminal::say(&format!("error: cannot print the plan: {error}"));
            Exit::Usage
        }
    }
}

fn headline(spec: &JobSpec) -> String {
    let counted = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    format!(
        "job {}: {}, {}, {}",
        spec.job.name,
        counted(spec.sources.len(), "source"),
        counted(spec.operators.len(), "operator"),
        counted(spec.sinks.len(), "sink"),
    )
}

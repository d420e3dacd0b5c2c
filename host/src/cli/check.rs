//! `cofferdam job check`: reads a job file, opens its operators, and shows the plan.

use serde_json::json;

use super::{
    JobFile,
    args::CheckArgs,
    exit::Exit,
    harden::harden,
    plan_view, read_job,
    run_tenant::{Owner, say_faults},
    terminal,
};
use crate::{
    config::{self, job::JobSpec},
    job_manager::{
        check::{Findings, check as check_job},
        control::RunOptions,
        needs,
        plan_view::PlanView,
    },
    sandbox::Compiler,
    task_manager::TaskManagerSettings,
};

pub(super) fn check(args: &CheckArgs) -> Exit {
    let file = match read_job(&args.file, &args.sets) {
        Ok(file) => file,
        Err(exit) => return exit,
    };
    let owner = match Owner::of(&args.owner) {
        Ok(owner) => owner,
        Err(exit) => return exit,
    };
    let refused = owner.as_ref().map(|owner| owner.refused(&file)).unwrap_or_default();
    let options = RunOptions {
        artifacts: args.artifacts.clone(),
        settings: TaskManagerSettings {
            compiler: Compiler::this_program(args.hardening),
            ..TaskManagerSettings::default()
        },
        tenant: owner.map(|owner| owner.tenant.name).unwrap_or_default(),
        ..RunOptions::default()
    };
    match harden(args.hardening, &needs::of_operators(&file.spec, &options)) {
        // That it worked is no news of the job.
        Ok(report) if report.missing.is_empty() => {}
        Ok(report) => terminal::say(&format!("hardening: {report}")),
        Err(exit) => return exit,
    }
    // One operator after the other is opened: one thread is enough.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal::say(&format!("error: cannot start the runtime: {error}"));
            return Exit::Usage;
        }
    };
    match runtime.block_on(check_job(&file.spec, &options)) {
        Ok(_) if !refused.is_empty() => say_faults(&refused, &file, &args.file, &args.sets),
        Ok(plan) => print(&file.spec, &PlanView::of(&plan), args),
        Err(mut findings) => {
            findings.operators.extend(refused);
            say(&findings, &file, args);
            Exit::Usage
        }
    }
}

fn say(findings: &Findings, file: &JobFile, args: &CheckArgs) {
    if let Some(error) = &findings.job {
        terminal::say(&format!("error: {error}"));
    }
    if !findings.operators.is_empty() {
        let errors = config::point_out(&file.text, &args.file, &args.sets, &findings.operators);
        terminal::say(&errors.to_string());
    }
}

fn print(spec: &JobSpec, plan: &PlanView, args: &CheckArgs) -> Exit {
    let shown = match (args.dot, args.mermaid) {
        (true, _) => plan_view::dot(plan),
        (_, true) => plan_view::mermaid(plan),
        _ if args.json => format!("{}\n", json!(plan)),
        _ => format!("{}\n{}", headline(spec), plan_view::text(plan)),
    };
    terminal::print(&shown).into()
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

//! What `operator test` and `operator bench` are about: a component, which may have to be built
//! first, its cases, and what runs them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokio::runtime::Runtime;

use super::{args::Subject, build::component_of, refuse};
use crate::{
    authoring::{
        build::{Built, load},
        case::{Case, all_in},
        project::{CASES, OWN},
        runner::{Prepared, Runner},
    },
    cli::{exit::Exit, harden::harden, terminal},
    config::job::Grant,
    hardening::Needs,
    ids::ArtifactName,
    sandbox::{Compiler, usable_cache_dir},
    task_manager::TaskManagerSettings,
};

/// All that is needed.
pub(super) struct Ready {
    pub(super) built: Built,
    pub(super) grants: Vec<Grant>,
    pub(super) cases: Vec<(Case, Prepared)>,
    pub(super) runner: Runner,
    pub(super) runtime: Runtime,
}

/// What is written beside compiled code.
#[derive(Debug, Clone, Copy)]
pub(super) enum Writes<'a> {
    /// Nothing.
    Nothing,
    /// What is expected of the cases.
    Expected,
    /// Something in a folder.
    Scratch(&'a Path),
}

/// What it is, before anything is run.
struct Found {
    name: ArtifactName,
    grants: Vec<Grant>,
    component: PathBuf,
    cases: Vec<Case>,
}

impl Ready {
    /// Builds what is to be built, reads the cases, gives up what is not needed any more, and
    /// starts a slot.
    pub(super) fn of(
        subject: &Subject,
        expect: Option<&PathBuf>,
        writes: Writes<'_>,
    ) -> Result<Self, Exit> {
        let Found { name, grants, component, cases } = Found::of(subject, expect)?;
        let cache_dir = usable_cache_dir();
        let compiler = Compiler::this_program_for_its_author(subject.hardening);
        let written: Vec<PathBuf> = match writes {
            Writes::Nothing => Vec::new(),
            Writes::Scratch(folder) => vec![folder.to_owned()],
            Writes::Expected => {
                let files = cases.iter().map(|case| &case.expect.file);
                files.filter_map(|file| file.parent().map(PathBuf::from)).collect()
            }
        };
        let needs = Needs {
            read: vec![component.clone()],
            write: cache_dir.iter().cloned().chain(written).collect(),
            starts_itself: matches!(compiler, Compiler::Child { .. }),
            ..Needs::default()
        };
        // Before there is any other thread.
        let report = harden(subject.hardening, &needs)?;
        if !report.missing.is_empty() {
            terminal::say(&format!("hardening: {report}"));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| refuse(&format!("cannot start the runtime: {error}")))?;
        let settings =
            TaskManagerSettings { cache_dir, compiler, ..TaskManagerSettings::default() };
        let entered = runtime.enter();
        let runner = Runner::start(settings).map_err(|error| refuse(&error))?;
        drop(entered);
        let built = load(&runner.task_manager.sandbox, &component, &grants)
            .map_err(|error| refuse(&error.to_string()))?;
        let mut prepared = Vec::new();
        for mut case in cases {
            let ready = runner.prepare((&name, &subject.dir), &built.artifact, &mut case);
            let ready = ready.map_err(|error| refuse(&format!("case `{}`: {error}", case.name)))?;
            prepared.push((case, ready));
        }
        Ok(Self { built, grants, cases: prepared, runner, runtime })
    }
}

impl Found {
    fn of(subject: &Subject, expect: Option<&PathBuf>) -> Result<Self, Exit> {
        let cases = cases_of(subject, expect)?;
        if let Some(component) = &subject.component {
            let stem = component.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let name = ArtifactName::new(stem)
                .map_err(|bad| refuse(&format!("{}: {bad}", component.display())))?;
            return Ok(Self { name, grants: OWN.to_vec(), component: component.clone(), cases });
        }
        let (project, component) = component_of(&subject.dir, subject.no_build)?;
        Ok(Self { name: project.name, grants: project.grants, component, cases })
    }
}

fn cases_of(subject: &Subject, expect: Option<&PathBuf>) -> Result<Vec<Case>, Exit> {
    if let Some(input) = &subject.input {
        let settings = match &subject.settings {
            Some(file) => fs::read_to_string(file)
                .map_err(|error| refuse(&format!("cannot read {}: {error}", file.display())))?,
            None => String::new(),
        };
        // A file that is not there: nothing is expected.
        let nothing = input.with_extension("expect.jsonl");
        let case = Case::of_files(&settings, input, expect.unwrap_or(&nothing));
        return case.map(|case| vec![case]).map_err(|error| refuse(&error.to_string()));
    }
    let folder = subject.cases.clone().unwrap_or_else(|| subject.dir.join(CASES));
    let mut cases = all_in(&folder).map_err(|error| refuse(&error.to_string()))?;
    if !subject.only.is_empty() {
        if let Some(unknown) =
            subject.only.iter().find(|name| !cases.iter().any(|c| c.name == **name))
        {
            return Err(refuse(&format!("there is no case `{unknown}` in {}", folder.display())));
        }
        cases.retain(|case| subject.only.contains(&case.name));
    }
    if cases.is_empty() {
        return Err(refuse(&format!(
            "there is no case in {}: a case is a folder with input.jsonl and expect.jsonl; or name \
             a file with --input FILE",
            folder.display()
        )));
    }
    Ok(cases)
}

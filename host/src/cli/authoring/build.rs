//! `cofferdam operator build`, and `operator inspect` of a file or folder: what a component is.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use super::{args::BuildArgs, print, refuse};
use crate::{
    authoring::{
        build::{Built, build, load},
        project::Project,
    },
    cli::{exit::Exit, human},
    config::{job::Grant, tenant::TenantSpec},
    hardening::Mode,
    ids::TenantId,
    sandbox::{Compiler, Metering, OperatorKind, Sandbox, SandboxConfig, usable_cache_dir},
    tenancy::grants,
};

/// The component of a project: built now, or by the last build.
pub(in crate::cli) fn component_of(dir: &Path, no_build: bool) -> Result<(Project, PathBuf), Exit> {
    let project = Project::open(dir).map_err(|error| refuse(&error.to_string()))?;
    let component = match no_build {
        true => project.component(),
        false => build(&project).map_err(|error| refuse(&error.to_string()))?.0,
    };
    if !component.is_file() {
        let component = component.display();
        return Err(refuse(&format!(
            "there is no {component}: `cofferdam operator build` makes it"
        )));
    }
    Ok((project, component))
}

pub(in crate::cli) fn build_project(args: &BuildArgs) -> Result<Exit, Exit> {
    let project = Project::open(&args.dir).map_err(|error| refuse(&error.to_string()))?;
    let (path, took) = build(&project).map_err(|error| refuse(&error.to_string()))?;
    let built = look_at(&path, &project.grants)?;
    if args.json {
        let mut shown = inspection_json(&built);
        shown["name"] = project.name.as_str().into();
        shown["version"] = project.version.as_str().into();
        shown["language"] = project.language.word().into();
        shown["build_millis"] = millis(took).into();
        print(&format!("{shown}\n"))?;
    } else {
        print(&format!(
            "built {}@{} from {} in {:.1} s: {}\n{}",
            project.name,
            project.version,
            project.language.word(),
            took.as_secs_f64(),
            path.display(),
            inspection_text(&built),
        ))?;
    }
    Ok(Exit::Success)
}

/// What a component in a file is, or that of a project in a folder.
pub(in crate::cli) fn inspect_file(path: &Path, no_build: bool, json: bool) -> Result<Exit, Exit> {
    let of_project = path.is_dir().then(|| component_of(path, no_build)).transpose()?;
    let path = of_project.as_ref().map_or(path, |(_, component)| component);
    let anything = grants::allowed(&TenantSpec::new(TenantId::default()));
    let built = look_at(path, &anything)?;
    print(&if json {
        format!("{}\n", inspection_json(&built))
    } else {
        format!("{}\n{}", path.display(), inspection_text(&built))
    })?;
    Ok(Exit::Success)
}

fn look_at(path: &Path, grants: &[Grant]) -> Result<Built, Exit> {
    let cache_dir = usable_cache_dir();
    let config = SandboxConfig { instances: 1, cache_dir, metering: Metering::default() };
    let sandbox = Sandbox::new(&config)
        .map_err(|error| refuse(&format!("cannot set up the sandbox on this machine: {error:#}")))?
        .compiling_in(Compiler::this_program_for_its_author(Mode::Auto));
    load(&sandbox, path, grants).map_err(|error| refuse(&error.to_string()))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn kind_of(kind: OperatorKind) -> &'static str {
    match kind {
        OperatorKind::Processor { snapshot: false } => "processor, without state",
        OperatorKind::Processor { snapshot: true } => "processor, which saves its own state",
        OperatorKind::Keyed { merge: false } => "keyed processor",
        OperatorKind::Keyed { merge: true } => "keyed processor, whose states merge",
    }
}

fn inspection_json(built: &Built) -> Value {
    let seen = &built.inspection;
    json!({
        "path": built.path,
        "size": built.bytes.len(),
        "digest": format!("sha256-{}", built.artifact.digest()),
        "kind": kind_of(seen.kind),
        "contract": seen.contract,
        "exports": seen.exports,
        "imports": seen.imports,
        "memory_not_saved_because": seen.memory_not_saved_because,
        "languages": seen.producers.languages,
        "processed_by": seen.producers.processed_by,
        "compile_millis": millis(built.checking_took),
    })
}

fn inspection_text(built: &Built) -> String {
    let seen = &built.inspection;
    let list = |names: &[String]| match names {
        [] => "nothing".to_owned(),
        names => names.join("\n             "),
    };
    let saved = match (&*seen.memory_not_saved_because, seen.kind) {
        ([], _) => "can be saved without its help".to_owned(),
        (_, OperatorKind::Keyed { .. }) => {
            "cannot be saved, and need not be: state by key is the host's".to_owned()
        }
        (why, _) => {
            format!("cannot be saved without its help: {}", why.join("\n             "))
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let size = human::bytes(built.bytes.len() as f64);
    human::plain(&format!(
        "  kind       {}\n  contract   {}\n  size       {size}\n  digest     sha256-{}\n  \
         exports    {}\n  imports    {}\n  memory     {saved}\n",
        kind_of(seen.kind),
        seen.contract,
        built.artifact.digest(),
        list(&seen.exports),
        list(&seen.imports),
    ))
}

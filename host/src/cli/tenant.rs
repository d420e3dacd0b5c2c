//! `cofferdam tenant …`: makes, changes, shows and deletes tenants, and shows what
//! they have used.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{
    exit::Exit,
    tenant_args::{ChangeArgs, TenantCommand, UsageArgs},
    tenant_view, terminal,
};
use crate::{
    clock::Clock,
    config::tenant::TenantSpec,
    ids::TenantId,
    tenancy::{
        self,
        registry::{Changes, Registry, RegistryError},
        usage::{
            read,
            summary::{Filter, parse_moment, summarise},
        },
    },
};

pub(super) fn tenant(command: &TenantCommand) -> Exit {
    match carry_out(command) {
        Ok(()) => Exit::Success,
        Err(exit) => exit,
    }
}

fn carry_out(command: &TenantCommand) -> Result<(), Exit> {
    match command {
        TenantCommand::Create(args) => change(args, "created", Registry::create),
        TenantCommand::Set(args) => {
            if args.changes() == Changes::default() {
                return Err(refuse(&format!(
                    "error: nothing is to be set; name a quota, such as `cofferdam tenant set {} \
                     --slots 8` (see --help)",
                    args.name
                )));
            }
            change(args, "changed", Registry::change)
        }
        TenantCommand::List(args) => {
            let tenants = registry(args.data.data.as_deref())?.load().map_err(say)?;
            print(&if args.json {
                tenant_view::list_json(tenants.iter())
            } else {
                tenant_view::list(tenants.iter())
            })
        }
        TenantCommand::Show(args) => {
            let tenants = registry(args.data.data.as_deref())?.load().map_err(say)?;
            let tenant = tenants.get(&args.name).map_err(say)?;
            print(&if args.json { tenant_view::one_json(tenant) } else { tenant_view::one(tenant) })
        }
        TenantCommand::Delete(args) => {
            let registry = registry(args.data.data.as_deref())?;
            registry.delete(&args.name).map_err(say)?;
            print(&format!("deleted tenant `{}`; what it has used is kept\n", args.name))
        }
        TenantCommand::Usage(args) => usage(args),
    }
}

/// Creates or sets.
fn change(
    args: &ChangeArgs,
    done: &str,
    carry_out: impl FnOnce(&Registry, &TenantId, &Changes) -> Result<TenantSpec, RegistryError>,
) -> Result<(), Exit> {
    let registry = registry(args.data.data.as_deref())?;
    let tenant = carry_out(&registry, &args.name, &args.changes()).map_err(say)?;
    if args.json {
        return print(&tenant_view::one_json(&tenant));
    }
    let path = registry.path();
    print(&format!("{done} in {}:\n{}", path.display(), tenant_view::one(&tenant)))
}

fn usage(args: &UsageArgs) -> Result<(), Exit> {
    let now = Clock::System.now_millis();
    let moment = |option: &str, text: &Option<String>| {
        let read = text.as_deref().map(|text| parse_moment(text, now)).transpose();
        read.map_err(|must| {
            let text = text.as_deref().unwrap_or_default();
            refuse(&format!("error: invalid value '{text}' for '{option} <T>': it {must}"))
        })
    };
    let filter = Filter {
        tenant: args.name.clone(),
        since: moment("--since", &args.since)?,
        until: moment("--until", &args.until)?,
    };
    let dir = data_dir(args.data.data.as_deref())?;
    let found = read::read(&dir).map_err(|(path, error)| {
        terminal::say(&format!("error: cannot read {}: {error}", path.display()));
        Exit::State
    })?;
    for warning in &found.warnings {
        terminal::say(&format!("warning: {warning}"));
    }
    let rows = summarise(&found.records, &filter, args.by);
    let shown = tenant_view::usage(&rows, args.by, args.format);
    if rows.is_empty() {
        // A tenant that is deleted may have used something, and is asked for here, too.
        if let (Some(name), Ok(tenants)) = (&args.name, Registry::at(&dir).load())
            && let Err(unknown) = tenants.get(name)
        {
            terminal::say(&format!("nothing was used: {unknown}"));
        }
    }
    print(&shown)
}

/// The data directory.
pub(super) fn data_dir(given: Option<&Path>) -> Result<PathBuf, Exit> {
    tenancy::data_dir(given).ok_or_else(|| {
        refuse(
            "error: there is no home directory to keep tenants in; name a directory with --data \
             or COFFERDAM_DATA",
        )
    })
}

fn registry(given: Option<&Path>) -> Result<Registry, Exit> {
    data_dir(given).map(|dir| Registry::at(&dir))
}

fn refuse(text: &str) -> Exit {
    terminal::say(text);
    Exit::Usage
}

/// Says what is wrong with the registry, or with what was asked of it.
pub(super) fn say(error: RegistryError) -> Exit {
    match error {
        // It says "error:" itself, for each.
        RegistryError::Invalid(errors) => refuse(&errors.to_string()),
        RegistryError::Io { .. } => {
            terminal::say(&format!("error: {error}"));
            Exit::State
        }
        RegistryError::Unknown { .. }
        | RegistryError::Exists(_)
        | RegistryError::Default(_)
        | RegistryError::ByHand { .. } => refuse(&format!("error: {error}")),
    }
}

fn print(text: &str) -> Result<(), Exit> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Ok(()),
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(refuse(&format!("error: cannot print: {error}"))),
    }
}

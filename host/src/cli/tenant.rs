//! `cofferdam tenant …`: makes, changes, shows and deletes tenants, and shows what
//! they have used: those of a data directory of this machine. What a server keeps is left to
//! `server/tenants`.

use std::path::{Path, PathBuf};

use super::{
    exit::Exit,
    server::{Server, keys::keys, tenants as there},
    tenant_args::{ChangeArgs, OneArgs, TenantCommand, TenantsAt, UsageArgs},
    tenant_view,
    terminal::{self, print, refuse},
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

pub(super) fn tenant(command: &TenantCommand) -> Result<Exit, Exit> {
    let done = match command {
        TenantCommand::Create(args) => create(args),
        TenantCommand::Set(args) => set(args),
        TenantCommand::List(place) => list(place),
        TenantCommand::Show(args) => show(args),
        TenantCommand::Delete(args) => delete(args),
        TenantCommand::Usage(args) => usage(args),
        TenantCommand::Keys(command) => return keys(command),
    };
    done.map(|()| Exit::Success)
}

/// The server that keeps the tenants that are meant; none if it is a data directory of this machine.
///
/// What is nearer counts: an option, then a variable of the environment, then the current profile,
/// then the directory that is always there.
fn server(place: &TenantsAt) -> Result<Option<Server>, Exit> {
    let said = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let server = &place.at.server;
    let named = server.server.is_some() || server.profile.is_some();
    let of_environment = said("COFFERDAM_SERVER") || said("COFFERDAM_PROFILE");
    if place.data.is_some() || (!named && !of_environment && said("COFFERDAM_DATA")) {
        return Ok(None);
    }
    Server::find(server)
}

fn create(args: &ChangeArgs) -> Result<(), Exit> {
    match server(&args.place)? {
        Some(server) => there::create(&server, args),
        None => change(args, "created", Registry::create),
    }
}

fn set(args: &ChangeArgs) -> Result<(), Exit> {
    if args.changes() == Changes::default() {
        return Err(refuse(&format!(
            "nothing is to be set; name a quota, such as `cofferdam tenant set {} \
             --slots 8` (see --help)",
            args.name
        )));
    }
    match server(&args.place)? {
        Some(server) => there::set(&server, args),
        None => change(args, "changed", Registry::change),
    }
}

fn list(place: &TenantsAt) -> Result<(), Exit> {
    if let Some(server) = server(place)? {
        return there::list(&server, place.at.json);
    }
    let tenants = registry(place.data.as_deref())?.load().map_err(say)?;
    print(&if place.at.json {
        tenant_view::list_json(tenants.iter())
    } else {
        tenant_view::list(tenants.iter())
    })
}

fn show(args: &OneArgs) -> Result<(), Exit> {
    let OneArgs { name, place } = args;
    if let Some(server) = server(place)? {
        return there::show(&server, name, place.at.json);
    }
    let tenants = registry(place.data.as_deref())?.load().map_err(say)?;
    let tenant = tenants.get(name).map_err(say)?;
    print(&if place.at.json { tenant_view::one_json(tenant) } else { tenant_view::one(tenant) })
}

fn delete(args: &OneArgs) -> Result<(), Exit> {
    let OneArgs { name, place } = args;
    if let Some(server) = server(place)? {
        return there::delete(&server, name, place.at.json);
    }
    registry(place.data.as_deref())?.delete(name).map_err(say)?;
    print(&if place.at.json {
        "null\n".to_owned()
    } else {
        format!("deleted tenant `{name}`; what it has used is kept\n")
    })
}

/// Creates or sets.
fn change(
    args: &ChangeArgs,
    done: &str,
    carry_out: impl FnOnce(&Registry, &TenantId, &Changes) -> Result<TenantSpec, RegistryError>,
) -> Result<(), Exit> {
    let registry = registry(args.place.data.as_deref())?;
    let tenant = carry_out(&registry, &args.name, &args.changes()).map_err(say)?;
    if args.place.at.json {
        return print(&tenant_view::one_json(&tenant));
    }
    let path = registry.path();
    print(&format!("{done} in {}:\n{}", path.display(), tenant_view::one(&tenant)))
}

pub(super) fn usage(args: &UsageArgs) -> Result<(), Exit> {
    if let Some(server) = server(&args.place)? {
        return there::usage(&server, args);
    }
    let now = Clock::System.now_millis();
    let moment = |option: &str, text: &Option<String>| {
        let read = text.as_deref().map(|text| parse_moment(text, now)).transpose();
        read.map_err(|must| {
            let text = text.as_deref().unwrap_or_default();
            refuse(&format!("invalid value '{text}' for '{option} <T>': it {must}"))
        })
    };
    let filter = Filter {
        tenant: args.name.clone(),
        since: moment("--since", &args.since)?,
        until: moment("--until", &args.until)?,
    };
    let dir = data_dir(args.place.data.as_deref())?;
    let found = read::read(&dir).map_err(|(path, error)| {
        terminal::say(&format!("error: cannot read {}: {error}", path.display()));
        Exit::State
    })?;
    for warning in &found.warnings {
        terminal::say(&format!("warning: {warning}"));
    }
    let rows = summarise(&found.records, &filter, args.by);
    let shown = tenant_view::usage(&rows, args.by, args.shown_as());
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
            "there is no home directory to keep tenants in; name a directory with --data \
             or COFFERDAM_DATA",
        )
    })
}

fn registry(given: Option<&Path>) -> Result<Registry, Exit> {
    data_dir(given).map(|dir| Registry::at(&dir))
}

/// Says what is wrong with the registry, or with what was asked of it.
pub(super) fn say(error: RegistryError) -> Exit {
    match error {
        // It says "error:" itself, for each.
        RegistryError::Invalid(errors) => {
            terminal::say(&errors.to_string());
            Exit::Usage
        }
        RegistryError::Io { .. } => {
            terminal::say(&format!("error: {error}"));
            Exit::State
        }
        RegistryError::Unknown { .. }
        | RegistryError::Exists(_)
        | RegistryError::Default(_)
        | RegistryError::Unexpected(_)
        | RegistryError::ByHand { .. } => refuse(&format!("{error}")),
    }
}

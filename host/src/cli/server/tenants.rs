//! `cofferdam tenant …` and `cofferdam usage`: the tenants of a server. Those of a data directory
//! are left to `tenant`.

use serde_json::Value;

use super::{
    Server, refuse,
    tenant_read::{row_of, tenant_of},
};
use crate::{
    cli::{
        exit::Exit,
        tenant_args::{ChangeArgs, Format, UsageArgs},
        tenant_view,
    },
    client::Request,
    config::tenant::TenantSpec,
    ids::TenantId,
    service::quotas::May,
    tenancy::usage::summary::Row,
};

fn path(name: &TenantId) -> [&str; 3] {
    ["v1", "tenants", name.as_str()]
}

fn read(tenant: &Value) -> Result<TenantSpec, Exit> {
    tenant_of(tenant)
        .ok_or_else(|| refuse("the server's answer is no tenant; is it of another version?"))
}

fn body(may: &May) -> Result<Value, Exit> {
    serde_json::to_value(may).map_err(|error| refuse(&format!("this cannot be asked: {error}")))
}

pub(in crate::cli) fn create(server: &Server, args: &ChangeArgs) -> Result<(), Exit> {
    let may = body(&May::default().changed(&args.changes()))?;
    // One that is there is not changed by mistake.
    let answer = server.ask(&Request::put(&path(&args.name)).json(&may).if_new())?.json;
    changed(server, args, "created", &answer)
}

pub(in crate::cli) fn set(server: &Server, args: &ChangeArgs) -> Result<(), Exit> {
    let found = server.ask(&Request::get(&path(&args.name)))?;
    let mut quotas = found.json;
    if let Some(all) = quotas.as_object_mut() {
        all.remove("name");
    }
    let may: May = serde_json::from_value(quotas).map_err(|error| {
        refuse(&format!(
            "the server has quotas that this version does not know, and would take away: {error}"
        ))
    })?;
    let request = Request::put(&path(&args.name)).json(&body(&may.changed(&args.changes()))?);
    // What somebody else has changed in between is not to be undone.
    let request = match &found.etag {
        Some(etag) => request.if_match(etag),
        None => request,
    };
    let answer = server.ask(&request)?.json;
    changed(server, args, "changed", &answer)
}

fn changed(server: &Server, args: &ChangeArgs, done: &str, answer: &Value) -> Result<(), Exit> {
    let tenant = read(answer)?;
    let address = server.client.address();
    let words = |_: &Value| format!("{done} at {address}:\n{}", tenant_view::one(&tenant));
    super::show(args.place.at.json, answer, words).map(|_| ())
}

pub(in crate::cli) fn list(server: &Server, json: bool) -> Result<(), Exit> {
    let answer = server.ask(&Request::get(&["v1", "tenants"]))?.json;
    let listed = answer["tenants"].as_array().into_iter().flatten();
    let tenants = listed.map(read).collect::<Result<Vec<_>, _>>()?;
    super::show(json, &answer, |_| tenant_view::list(tenants.iter())).map(|_| ())
}

pub(in crate::cli) fn show(server: &Server, name: &TenantId, json: bool) -> Result<(), Exit> {
    let answer = server.ask(&Request::get(&path(name)))?.json;
    let tenant = read(&answer)?;
    super::show(json, &answer, |_| tenant_view::one(&tenant)).map(|_| ())
}

pub(in crate::cli) fn delete(server: &Server, name: &TenantId, json: bool) -> Result<(), Exit> {
    let answer = server.ask(&Request::delete(&path(name)))?.json;
    let words = |_: &Value| format!("deleted tenant `{name}`; what it has used is kept\n");
    super::show(json, &answer, words).map(|_| ())
}

pub(in crate::cli) fn usage(server: &Server, args: &UsageArgs) -> Result<(), Exit> {
    let by = clap::ValueEnum::to_possible_value(&args.by);
    let request = Request::get(&["v1", "usage"])
        .query_if("tenant", args.name.as_ref().or(server.tenant.as_ref()))
        .query_if("by", by.as_ref().map(clap::builder::PossibleValue::get_name))
        .query_if("since", args.since.as_ref())
        .query_if("until", args.until.as_ref());
    let answer = server.ask(&request)?.json;
    if args.shown_as() == Format::Json {
        return super::show(true, &answer, |_| String::new()).map(|_| ());
    }
    let all = answer["usage"].as_array().into_iter().flatten();
    let rows: Option<Vec<Row>> = all.map(|row| row_of(row, args.by)).collect();
    let rows =
        rows.ok_or_else(|| refuse("the server's answer is no usage; is it of another version?"))?;
    let words = |answer: &Value| {
        let used = tenant_view::usage(&rows, args.by, args.format);
        match answer["disk"].as_array() {
            // Rows for programs are all of one kind.
            Some(disks) if args.format == Format::Table && !disks.is_empty() => {
                format!("{used}\n{}", tenant_view::disks(disks))
            }
            _ => used,
        }
    };
    super::show(false, &answer, words).map(|_| ())
}

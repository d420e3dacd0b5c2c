//! Tenants, with what they may use, and what they have used.

use axum::{body::Body, response::Redirect};
use maud::{Markup, html};

use super::{
    actions::{back, notice},
    page::{Page, Section},
    parts::{bytes, command, count, empty, figure, float, meter, number, share, text},
    visit::{Form, Visit},
};
use crate::{
    config::units::{parse_size, show_size},
    http::{Answer, problem::Problem},
    human,
    ids::TenantId,
    registry::records::Role,
    service::{
        disk::TenantDisk,
        precondition::Precondition,
        quotas::{May, TenantView},
        tenants::UsageQuery,
    },
};

/// The longest form, in bytes.
const LONGEST: usize = 8 << 10;
/// What makes a row of usage.
const BY: [&str; 5] = ["tenant", "job", "operator", "hour", "day"];
/// From when on usage is shown.
const SINCE: [(&str, &str); 4] =
    [("", "ever"), ("1h", "the last hour"), ("24h", "the last day"), ("720h", "the last 30 days")];

/// The tenants.
pub(super) async fn page(visit: Visit) -> Answer<Page> {
    let tenants = visit.ask(|service, caller| service.tenants(caller)).await?;
    let tenants: Vec<TenantView> = tenants.into_iter().map(TenantView::from).collect();
    let body = html! {
        (notice(&visit))
        div.title { h1 { "Tenants" } a.button href="/console/usage" { "What they used" } }
        div.scroll tabindex="0" role="region" aria-label="Tenants" {
            table {
                caption.hidden { "Tenants with their quotas" }
                thead { tr {
                    th scope="col" { "Tenant" }
                    th.right scope="col" { "Slots" }
                    th.right scope="col" { "Memory" }
                    th.right scope="col" { "Keyed state" }
                    th.right scope="col" { "Jobs" }
                    th.right scope="col" { "CPU weight" }
                    th.right scope="col" { "CPU cap" }
                    th scope="col" { "Grants at most" }
                } }
                tbody {
                    @for TenantView { name, may } in &tenants {
                        tr {
                            th scope="row" { a href={ "/console/tenants/" (name) } { (name) } }
                            td.right { (limit(may.slots.map(u64::from), count)) }
                            td.right { (limit(may.memory, bytes)) }
                            td.right { (limit(may.state, bytes)) }
                            td.right { (limit(may.jobs.map(u64::from), count)) }
                            td.right { (limit(may.cpu_weight.map(u64::from), count)) }
                            td.right { @match may.cpu_cap_percent { Some(cap) => { (cap) " %" }, None => span.fine { "no limit" } } }
                            td { @match &may.grants { Some(grants) => (grants.join(", ")), None => span.fine { "no limit" } } }
                        }
                    }
                }
            }
        }
        p.fine { "No limit means none but the server’s own." }
        @if visit.caller.tenant.is_none() && visit.caller.role >= Role::Admin {
            section aria-labelledby="new-title" {
                h2 #new-title { "A new tenant" }
                form.panel.stack method="get" action="/console/tenants/new" {
                    div.field { label for="name" { "Name" } input #name name="name" required autocomplete="off" spellcheck="false" placeholder="payments"; }
                    button type="submit" { "Go on to its quotas" }
                }
                p.fine { "The same from a terminal:" }
                (command("cofferdam tenant create payments --slots 8 --memory 1GiB"))
            }
        }
    };
    Ok(visit.page(Section::Tenants, "Tenants", body))
}

fn limit(value: Option<u64>, show: impl Fn(u64) -> Markup) -> Markup {
    html! { @match value { Some(value) => (show(value)), None => span.fine { "no limit" } } }
}

/// A tenant.
pub(super) async fn show(visit: Visit) -> Answer<Page> {
    let name = visit.path.tenant()?;
    let found = visit.ask(move |service, caller| service.tenant_of(caller, &name)).await?;
    let TenantView { name, may } = TenantView::from(found);
    let disks = visit.service.disks(&visit.caller, Some(&name));
    Ok(quotas(&visit, &name, &may, disks.first()))
}

/// The form of a tenant that is not there yet.
pub(super) async fn fresh(visit: Visit) -> Answer<Page> {
    let name = TenantId::new(visit.said("name").unwrap_or_default());
    let name = name.map_err(|bad| Problem::invalid(bad.to_string()))?;
    if visit.caller.tenant.is_some() {
        return Err(Problem::new(
            axum::http::StatusCode::NOT_FOUND,
            "not-found",
            "there is nothing here",
        ));
    }
    Ok(quotas(&visit, &name, &May::default(), None))
}

/// Each with its name in the form, what it is called, and how it is written.
fn sizes(may: &May) -> [(&'static str, &'static str, Option<u64>); 5] {
    [
        ("memory", "Memory of its slots", may.memory),
        ("state", "Keyed state", may.state),
        ("artifact_bytes", "Bytes of its artifacts", may.artifact_bytes),
        ("disk", "State and posted records on disk", may.disk),
        ("ingest_bytes", "Bytes in, a second", may.ingest_bytes),
    ]
}

fn counts(may: &May) -> [(&'static str, &'static str, Option<u64>); 5] {
    [
        ("slots", "Slots", may.slots.map(u64::from)),
        ("jobs", "Jobs at once", may.jobs.map(u64::from)),
        ("artifacts", "Versions of artifacts", may.artifacts.map(u64::from)),
        ("cpu_weight", "CPU weight", may.cpu_weight.map(u64::from)),
        ("ingest_records", "Records in, a second", may.ingest_records),
    ]
}

fn quotas(visit: &Visit, name: &TenantId, may: &May, disk: Option<&TenantDisk>) -> Page {
    let writes = visit.caller.tenant.is_none() && visit.caller.role >= Role::Admin;
    let cap = may.cpu_cap_percent.map(|cap| cap.to_string());
    let grants = may.grants.as_ref().map(|grants| grants.join(", "));
    let body = html! {
        nav.crumbs aria-label="Where this is" { a href="/console/tenants" { "Tenants" } " / " }
        (notice(visit))
        h1 { "Tenant " (name) }
        p.row {
            a.button href={ "/console/jobs?tenant=" (name) } { "Its jobs" }
            a.button href={ "/console/artifacts?tenant=" (name) } { "Its operators" }
            a.button href={ "/console/usage?by=job&tenant=" (name) } { "What it used" }
        }
        @if let Some(disk) = disk { div #kept data-live { (kept(disk)) } }
        section aria-labelledby="quotas-title" {
            h2 #quotas-title { "What it may use" }
            form.panel.stack method="post" action={ "/console/tenants/" (name) "?tenant=" (name) } {
                fieldset disabled[!writes] {
                    legend.fine { "An empty field is no limit but the server’s own. Sizes as 256MiB." }
                    div.columns {
                        @for (key, about, value) in counts(may) {
                            div.field { label for=(key) { (about) } input id=(key) name=(key) inputmode="numeric" value=[value] placeholder="no limit" autocomplete="off"; }
                        }
                        @for (key, about, value) in sizes(may) {
                            div.field { label for=(key) { (about) } input id=(key) name=(key) value=[value.map(show_size)] placeholder="no limit" autocomplete="off"; }
                        }
                        div.field { label for="cap" { "CPU cap, percent of a core" } input #cap name="cpu_cap_percent" inputmode="decimal" value=[cap] placeholder="no limit" autocomplete="off"; }
                        div.field { label for="grants" { "Grants, with commas" } input #grants name="grants" value=[grants] placeholder="no limit" autocomplete="off"; }
                        div.field { label for="signed" { "Only signed operators" } select #signed name="require_signatures" { option value="" { "no" } option value="true" selected[may.require_signatures == Some(true)] { "yes" } } }
                    }
                }
                @if writes { button.primary type="submit" { "Set the quotas" } }
                @else { p.fine { "Quotas are set by who runs the server." } }
            }
        }
    };
    visit.page(Section::Tenants, &format!("Tenant {name}"), body)
}

/// What a tenant keeps on disk.
fn kept(disk: &TenantDisk) -> Markup {
    let of = |limit: u64| float(disk.used) / float(limit.max(1));
    html! {
        dl.figures {
            (figure("Kept on disk", &bytes(disk.used), &html! {
                @match disk.limit {
                    Some(limit) => {
                        "of " (bytes(limit))
                        (meter(of(limit), &format!("{} of its quota is in use", share(of(limit)))))
                    }
                    None => "no limit",
                }
            }))
            (figure("Checkpoints", &bytes(disk.checkpoints), &html! {}))
            (figure("Savepoints", &bytes(disk.savepoints), &html! {}))
            (figure("Posted records", &bytes(disk.posted), &html! {}))
        }
    }
}

/// The same of several, a row for each.
fn all_kept(disks: &[TenantDisk]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="What is kept on disk" {
            table {
                caption.hidden { "What tenants keep on disk now" }
                thead { tr {
                    th scope="col" { "Tenant" }
                    th.right scope="col" { "On disk" }
                    th.right scope="col" { "At most" }
                    th.right scope="col" { "Checkpoints" }
                    th.right scope="col" { "Savepoints" }
                    th.right scope="col" { "Posted records" }
                } }
                tbody {
                    @for disk in disks {
                        tr {
                            th scope="row" { a href={ "/console/tenants/" (disk.tenant) } { (disk.tenant) } }
                            td.right { (bytes(disk.used)) }
                            td.right { (limit(disk.limit, bytes)) }
                            td.right { (bytes(disk.checkpoints)) }
                            td.right { (bytes(disk.savepoints)) }
                            td.right { (bytes(disk.posted)) }
                        }
                    }
                }
            }
        }
    }
}

/// Takes the form.
pub(super) async fn put(visit: Visit, body: Body) -> Answer<Redirect> {
    let name = visit.path.tenant()?;
    let form = Form::read(&visit.service, body, LONGEST).await?;
    let whole = |key: &str| -> Answer<Option<u64>> {
        let read = form.filled(key).map(|text| text.replace(['_', ','], "").parse());
        read.transpose().map_err(|_| Problem::invalid(format!("`{key}` must be a whole number")))
    };
    let short = |key: &str| -> Answer<Option<u32>> {
        let read = whole(key)?.map(u32::try_from).transpose();
        read.map_err(|_| Problem::invalid(format!("`{key}` is too large")))
    };
    let size = |key: &str| -> Answer<Option<u64>> {
        let read = form.filled(key).map(parse_size).transpose();
        read.map_err(|must| Problem::invalid(format!("`{key}` must be a size, but {must}")))
    };
    let cap = form.filled("cpu_cap_percent").map(|text| text.trim_end_matches([' ', '%']).parse());
    let cap =
        cap.transpose().map_err(|_| Problem::invalid("`cpu_cap_percent` must be a number"))?;
    let grants = form.filled("grants").map(|text| {
        text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    });
    let may = May {
        slots: short("slots")?,
        memory: size("memory")?,
        state: size("state")?,
        jobs: short("jobs")?,
        artifacts: short("artifacts")?,
        artifact_bytes: size("artifact_bytes")?,
        disk: size("disk")?,
        cpu_weight: short("cpu_weight")?,
        cpu_cap_percent: cap,
        ingest_records: whole("ingest_records")?,
        ingest_bytes: size("ingest_bytes")?,
        grants,
        require_signatures: form.filled("require_signatures").map(|text| text == "true"),
    };
    let to = format!("/console/tenants/{name}");
    visit
        .ask(move |service, caller| service.put_tenant(caller, &name, may, &Precondition::NONE))
        .await?;
    Ok(back(&to, "saved"))
}

/// What was used.
pub(super) async fn usage(visit: Visit) -> Answer<Page> {
    let by = visit.said("by").unwrap_or("tenant").to_owned();
    let query = UsageQuery {
        tenant: visit.tenant()?,
        since: visit.said("since").map(str::to_owned),
        until: None,
        by: Some(by.clone()),
    };
    let disks = visit.service.disks(&visit.caller, query.tenant.as_ref());
    let found = visit.ask(move |service, caller| service.usage(caller, &query)).await?;
    let rows = found.as_array().map(Vec::as_slice).unwrap_or_default();
    let keys: &[&str] = match by.as_str() {
        "job" => &["tenant", "job"],
        "operator" => &["tenant", "job", "operator"],
        "hour" => &["tenant", "hour"],
        "day" => &["tenant", "day"],
        _ => &["tenant"],
    };
    let body = html! {
        h1 { "Usage" }
        form.filter method="get" action="/console/usage" aria-label="Which usage" {
            div.field { label for="by" { "A row for each" } select #by name="by" { @for each in BY { option value=(each) selected[each == by] { (each) } } } }
            div.field { label for="since" { "Since" } select #since name="since" { @for (value, about) in SINCE { option value=(value) selected[visit.said("since").unwrap_or("") == value] { (about) } } } }
            @if visit.caller.tenant.is_none() {
                div.field { label for="tenant" { "Tenant" } input #tenant name="tenant" value=[visit.said("tenant")] placeholder="any" autocomplete="off" spellcheck="false"; }
            }
            button type="submit" { "Show" }
        }
        div #usage data-live {
            @if rows.is_empty() { (empty("Nothing was used.", &html! { p { "Usage is written down every minute that a job runs, and at its end." } })) }
            @else { (used(rows, keys)) }
        }
        @if !disks.is_empty() {
            section aria-labelledby="disk-title" {
                h2 #disk-title { "Kept on disk now" }
                div #kept data-live { (all_kept(&disks)) }
            }
        }
    };
    Ok(visit.page(Section::Usage, "Usage", body))
}

fn used(rows: &[serde_json::Value], keys: &[&str]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="What was used" {
            table {
                caption.hidden { "What was used" }
                thead { tr {
                    @for key in keys { th scope="col" { (capital(key)) } }
                    th.right scope="col" { "CPU" }
                    th.right scope="col" { "Memory" }
                    th.right scope="col" { "Records in" }
                    th.right scope="col" { "Records out" }
                    th.right scope="col" { "Bytes in" }
                    th.right scope="col" { "Bytes out" }
                    th.right scope="col" { "Checkpoints" }
                } }
                tbody {
                    @for row in rows {
                        @let seconds = row["cpu_seconds"].as_f64().unwrap_or(0.0);
                        tr {
                            @for (at, key) in keys.iter().enumerate() {
                                @if at == 0 { th scope="row" { (text(row, key)) } }
                                @else { td { (text(row, key)) } }
                            }
                            td.right { span.num title={ (seconds) " s" } { (cpu(seconds)) } }
                            td.right { span.num title="Bytes held, times how long" { (byte_hours(number(row, "memory_byte_seconds"))) } }
                            td.right { (count(number(row, "records_in"))) }
                            td.right { (count(number(row, "records_out"))) }
                            td.right { (bytes(number(row, "bytes_in"))) }
                            td.right { (bytes(number(row, "bytes_out"))) }
                            td.right { (bytes(number(row, "checkpoint_bytes"))) }
                        }
                    }
                }
            }
        }
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// Seconds of a core.
fn cpu(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}

/// Memory, times hours.
fn byte_hours(byte_seconds: u64) -> String {
    format!("{} h", human::bytes(float(byte_seconds) / 3_600.0)).replace("B h", "B·h")
}

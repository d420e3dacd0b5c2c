//! The catalogue: artifacts of a tenant, their versions and tags, and what was found out about each.

use axum::{body::Body, response::Redirect};
use maud::{Markup, html};

use super::{
    actions::{back, notice},
    page::{Page, Section, may},
    parts::{action, ago, asking, bytes, command, empty, encoded},
    visit::{Form, Visit},
};
use crate::{
    config::job::EXPR,
    http::{Answer, problem::Problem},
    ids::{TenantId, VersionName},
    registry::records::{BuiltIn, Inspection, Role, VersionRecord},
    service::{artifacts::ArtifactView, precondition::Precondition},
};

/// The longest form, in bytes.
const LONGEST: usize = 4 << 10;

/// The tenants that a caller may speak for; none if there is nothing to choose.
async fn choice(visit: &Visit) -> Answer<Vec<TenantId>> {
    if visit.caller.tenant.is_some() {
        return Ok(Vec::new());
    }
    let tenants = visit.ask(|service, caller| service.tenants(caller)).await?;
    Ok(tenants.into_iter().map(|tenant| tenant.name).collect())
}

/// A field to choose a tenant, for those who may.
pub(super) async fn tenant_field(visit: &Visit, chosen: &str) -> Answer<Markup> {
    let tenants = choice(visit).await?;
    let default = TenantId::default();
    let chosen = if chosen.is_empty() { default.as_str() } else { chosen };
    Ok(html! {
        @if !tenants.is_empty() {
            div.field {
                label for="tenant" { "Tenant" }
                select #tenant name="tenant" {
                    @for tenant in &tenants {
                        option value=(tenant) selected[tenant.as_str() == chosen] { (tenant) }
                    }
                }
            }
        }
    })
}

/// The list.
pub(super) async fn list(visit: Visit) -> Answer<Page> {
    let tenant = visit.tenant()?;
    let of = visit.caller.tenant(tenant.as_ref())?;
    let found =
        visit.ask(move |service, caller| service.artifacts(caller, tenant.as_ref())).await?;
    let (of_program, own): (Vec<_>, Vec<_>) =
        found.into_iter().partition(ArtifactView::is_built_in);
    let field = tenant_field(&visit, of.as_str()).await?;
    let author = may(&visit.caller, Role::Author);
    let upload = format!("/console/artifacts/new?tenant={}", encoded(of.as_str()));
    let body = html! {
        (notice(&visit))
        div.title {
            h1 { "Operators" }
            @if author { a.button.primary href=(upload) { "Upload" } }
        }
        @if visit.caller.tenant.is_none() {
            form.filter method="get" action="/console/artifacts" aria-label="Whose" {
                (field)
                button type="submit" { "Show" }
            }
        }
        div #artifacts data-live {
            @if own.is_empty() {
                (empty(&format!("Tenant {of} has uploaded no operators."), &html! {
                    @if author {
                        p { "Upload a component, or a core module, which is made into one:" }
                        (command("cofferdam operator push count.wasm --name count --version 1"))
                        p { a.button href=(upload) { "Upload an operator" } }
                    }
                }))
            } @else { (table(&visit, &own)) }
        }
        @if !of_program.is_empty() { (with_the_program(&of_program)) }
    };
    Ok(visit.page(Section::Artifacts, "Operators", body))
}

fn href(view: &ArtifactView) -> String {
    format!("/console/artifacts/{}?tenant={}", view.name, encoded(view.tenant.as_str()))
}

fn version_href(record: &VersionRecord, rest: &str) -> String {
    let tenant = encoded(record.tenant.as_str());
    format!("/console/artifacts/{}/{}{rest}?tenant={tenant}", record.name, record.version)
}

fn table(visit: &Visit, artifacts: &[ArtifactView]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Operators" {
            table {
                caption.hidden { "Operators, by name" }
                thead { tr {
                    th scope="col" { "Operator" }
                    th scope="col" { "Kind" }
                    th scope="col" { "Newest version" }
                    th.right scope="col" { "Versions" }
                    th.right scope="col" { "Size" }
                    th scope="col" { "Uploaded" }
                    th scope="col" { "Tags" }
                } }
                tbody {
                    @for artifact in artifacts {
                        tr {
                            th scope="row" { a href=(href(artifact)) { (artifact.name) } }
                            @if let Some(newest) = artifact.versions.last() {
                                td { (kind(&newest.inspection)) }
                                td { (newest.version) }
                                td.right { (artifact.versions.iter().filter(|version| version.built_in != BuiltIn::Yes).count()) }
                                td.right { (bytes(newest.size)) }
                                td { (ago(visit.now, newest.uploaded_at)) }
                            }
                            td { @for (tag, version) in &artifact.tags { span.chip { (tag) " → " (version) } " " } }
                        }
                    }
                }
            }
        }
    }
}

/// What every tenant has without uploading it.
fn with_the_program(artifacts: &[ArtifactView]) -> Markup {
    html! {
        section aria-labelledby="program-title" {
            h2 #program-title { "With the program" }
            p.fine { "Every tenant has these without uploading them. An operator that you upload under such a name goes first." }
            div.scroll tabindex="0" role="region" aria-label="With the program" {
                table {
                    caption.hidden { "Operators that come with the program, by name" }
                    thead { tr {
                        th scope="col" { "Operator" }
                        th scope="col" { "Kind" }
                        th scope="col" { "What it does" }
                        th scope="col" { "Version" }
                        th.right scope="col" { "Size" }
                    } }
                    tbody {
                        @for artifact in artifacts {
                            tr {
                                th scope="row" { a href=(href(artifact)) { (artifact.name) } }
                                @if let Some(version) = artifact.versions.last() {
                                    td { (kind(&version.inspection)) }
                                    td { (artifact.about.as_deref().unwrap_or_default()) }
                                    td { (version.version) }
                                    td.right { (bytes(version.size)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// When a version was uploaded, if anybody had to.
fn since(visit: &Visit, version: &VersionRecord) -> Markup {
    match version.built_in {
        BuiltIn::Yes => html! { span.chip { "with the program" } },
        BuiltIn::No | BuiltIn::Hides => ago(visit.now, version.uploaded_at),
    }
}

pub(super) fn kind(inspection: &Inspection) -> &str {
    match inspection.kind.as_str() {
        "keyed-processor" => "keyed",
        "processor" => "stateless",
        other => other,
    }
}

/// An artifact, with all its versions.
pub(super) async fn show(visit: Visit) -> Answer<Page> {
    let (tenant, name) = (visit.tenant()?, visit.path.artifact()?);
    let found =
        visit.ask(move |service, caller| service.artifact(caller, tenant.as_ref(), &name)).await?;
    let author = may(&visit.caller, Role::Author);
    let tenant = encoded(found.tenant.as_str());
    let upload = format!("/console/artifacts/new?tenant={tenant}&name={}", found.name);
    let body = html! {
        nav.crumbs aria-label="Where this is" { a href={ "/console/artifacts?tenant=" (tenant) } { "Operators of " (found.tenant) } " / " }
        (notice(&visit))
        div.title {
            h1 { (found.name) }
            @if author { a.button.primary href=(upload) { "Upload a version" } }
        }
        @if let Some(about) = &found.about { (of_that_name(&found, about)) }
        section aria-labelledby="versions-title" {
            h2 #versions-title { "Versions, the newest first" }
            div.scroll tabindex="0" role="region" aria-label="Versions" {
                table {
                    caption.hidden { "Versions, the newest first" }
                    thead { tr {
                        th scope="col" { "Version" }
                        th scope="col" { "Tags" }
                        th scope="col" { "Digest" }
                        th.right scope="col" { "Size" }
                        th scope="col" { "Uploaded" }
                    } }
                    tbody {
                        @for version in found.versions.iter().rev() {
                            tr {
                                th scope="row" { a href=(version_href(version, "")) { (version.version) } }
                                td { @for (tag, _) in found.tags.iter().filter(|(_, to)| **to == version.version) { span.chip { (tag) } " " } }
                                td.mono { (version.digest.to_string().chars().take(16).collect::<String>()) "…" }
                                td.right { (bytes(version.size)) }
                                td { (since(&visit, version)) }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(visit.page(Section::Artifacts, found.name.as_str(), body))
}

/// What comes with the program under an artifact's name.
fn of_that_name(found: &ArtifactView, about: &str) -> Markup {
    html! {
        @if found.is_built_in() {
            p.lead { (about) "." }
            p.fine { "It comes with the program: every tenant has it, and none can change it. A version that you upload goes before it." }
        } @else if let Some(theirs) = found.versions.iter().find(|version| version.built_in == BuiltIn::Yes) {
            div.notice.plain {
                "An operator of this name comes with the program. A job file that names no version gets what was uploaded; that of the program is "
                code { (theirs.name) "@" (theirs.version) } "."
            }
        }
    }
}

/// A version: what was found out about it.
pub(super) async fn version(visit: Visit) -> Answer<Page> {
    let (tenant, name, version) = (visit.tenant()?, visit.path.artifact()?, visit.path.version()?);
    let found = visit
        .ask(move |service, caller| service.version(caller, tenant.as_ref(), &name, &version))
        .await?;
    let all =
        format!("/console/artifacts/{}?tenant={}", found.name, encoded(found.tenant.as_str()));
    let body = html! {
        nav.crumbs aria-label="Where this is" {
            a href="/console/artifacts" { "Operators" } " / " a href=(all) { (found.name) } " / "
        }
        (notice(&visit))
        div.title {
            h1 { (found.name) "@" (found.version) }
            @if may(&visit.caller, Role::Author) { a.button.primary href=(version_href(&found, "/try")) { "Try it" } }
        }
        (inspected(&visit, &found))
        @if may(&visit.caller, Role::Author) && found.built_in != BuiltIn::Yes {
            div.actions {
                (asking("Tag", &version_href(&found, "/tag"), "A tag is a name that can be moved: a job file that names it gets what it points to when it is submitted.", "Point it here", "primary", &html! {
                    div.field { label for="tag" { "Tag" } input #tag name="tag" required value="latest" autocomplete="off" spellcheck="false"; }
                }))
                (action("Delete", &version_href(&found, "/delete"), "The version and the tags that point to it are removed. Not while a job uses it that has not ended.", "Delete the version", "danger"))
            }
        }
        section aria-labelledby="use-title" {
            h2 #use-title { "To use it" }
            pre tabindex="0" { code { "[[operator]]\nname = \"" (found.name) "\"\n" (used(&found)) "\ninput = \"…\"" } }
        }
    };
    Ok(visit.page(Section::Artifacts, &format!("{}@{}", found.name, found.version), body))
}

/// How a job file names it: what comes with the program by its name alone, since that is another
/// version with the next program.
fn used(found: &VersionRecord) -> String {
    match found.built_in {
        BuiltIn::Yes if found.name.as_str() == EXPR => {
            "expr = { filter = \"record.delay > 15\" }".to_owned()
        }
        BuiltIn::Yes => format!("artifact = \"{}\"", found.name),
        BuiltIn::No | BuiltIn::Hides => format!("artifact = \"{}@{}\"", found.name, found.version),
    }
}

fn inspected(visit: &Visit, found: &VersionRecord) -> Markup {
    let about = &found.inspection;
    let reasons = &about.memory_not_saved_because;
    html! {
        dl.facts {
            div { dt { "Size" } dd { (bytes(found.size)) } }
            div { dt { "Uploaded" } dd { (since(visit, found)) } }
            div { dt { "Tenant" } dd { (found.tenant) } }
            div { dt { "Digest" } dd.mono { "sha256-" (found.digest) } }
        }
        section aria-labelledby="found-title" {
            h2 #found-title { "What was found out about it" }
            dl.findings.panel {
                dt { "Kind" }
                dd {
                    @if about.kind == "keyed-processor" { strong { "keyed" } ": the host keeps its state by key, and hands it over with each batch" }
                    @else { strong { "stateless" } ": a batch in, records out" }
                }
                dt { "Contract" } dd { code { (about.contract) } }
                dt { "Exports" } dd { (chips(&about.exports)) }
                dt { "Wants" }
                dd {
                    @if about.imports.is_empty() { "nothing: it can reach neither files, nor the network, nor a clock" }
                    @else { (chips(&about.imports)) }
                }
                dt { "Says its state itself" }
                dd { @if about.snapshot { "yes, it exports " code { "snapshot" } } @else { "no" } }
                dt { "Session windows" }
                dd { @if about.merge { "yes, it exports " code { "session-merge" } } @else { "no, it has no " code { "session-merge" } } }
                dt { "Memory snapshots" }
                dd {
                    @if reasons.is_empty() { "possible: its memory can be saved without its help" }
                    @else { "not possible:" ul { @for reason in reasons { li { (reason) } } } }
                }
            }
        }
    }
}

fn chips(texts: &[String]) -> Markup {
    html! { ul.chips { @for text in texts { li.chip.mono { (text) } } } }
}

/// Points a tag to a version.
pub(super) async fn tag(visit: Visit, body: Body) -> Answer<Redirect> {
    let (tenant, name, version) = (visit.tenant()?, visit.path.artifact()?, visit.path.version()?);
    let form = Form::read(&visit.service, body, LONGEST).await?;
    let tag = VersionName::new(form.filled("tag").unwrap_or_default());
    let tag = tag.map_err(|bad| Problem::invalid(bad.to_string()))?;
    let of = visit.caller.tenant(tenant.as_ref())?;
    let to = format!("/console/artifacts/{name}/{version}?tenant={}", encoded(of.as_str()));
    visit
        .ask(move |service, caller| {
            let any = Precondition::NONE;
            service.put_tag(caller, tenant.as_ref(), (&name, &tag), &version, &any)
        })
        .await?;
    Ok(back(&to, "tagged"))
}

/// Deletes a version.
pub(super) async fn delete(visit: Visit) -> Answer<Redirect> {
    let (tenant, name, version) = (visit.tenant()?, visit.path.artifact()?, visit.path.version()?);
    let of = visit.caller.tenant(tenant.as_ref())?;
    visit
        .ask(move |service, caller| {
            let any = Precondition::NONE;
            service.delete_version(caller, tenant.as_ref(), (&name, &version), false, &any)
        })
        .await?;
    Ok(back(&format!("/console/artifacts?tenant={}", encoded(of.as_str())), "deleted"))
}

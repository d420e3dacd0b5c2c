//! Slots: who holds which, how full each tenant's are, and what each has had of the cores.

use axum::{body::Body, response::Redirect};
use maud::{Markup, html};

use super::{
    actions::{back, notice},
    job::level,
    page::{Page, Section},
    parts::{badge, bytes, command, empty, float, lasting, meter, share},
    visit::{Form, Visit},
};
use crate::{
    http::{Answer, problem::Problem},
    human,
    ids::SlotId,
    memory::{SlotReport, TenantReport},
    registry::records::Role,
    service::{
        access::Caller,
        overview::{CpuUse, SlotSeen, TaskManagerView},
    },
};

/// The longest form, in bytes.
const LONGEST: usize = 1 << 10;

/// Whether somebody may empty slots: who runs the server.
fn runs_server(caller: &Caller) -> bool {
    caller.tenant.is_none() && caller.role >= Role::Admin
}

/// The page.
pub(super) async fn page(visit: Visit) -> Answer<Page> {
    let slots = visit.service.slots(&visit.caller);
    let machine = visit.service.task_manager_view(&visit.caller);
    let body = html! {
        (notice(&visit))
        h1 { "Slots" }
        p.lead { "A slot is one sandbox: one instance of an operator, with its own memory and its turn on the cores." }
        section aria-labelledby="by-tenant-title" {
            h2 #by-tenant-title { "Memory and cores by tenant" }
            div #by-tenant data-live { (by_tenant(&machine)) }
        }
        section aria-labelledby="slots-title" {
            h2 #slots-title { "All slots" }
            div #slots data-live { (grid(&slots, &visit.caller)) }
        }
        @if runs_server(&visit.caller) { (keeping(&slots)) }
    };
    Ok(visit.page(Section::Slots, "Slots", body))
}

fn by_tenant(machine: &TaskManagerView) -> Markup {
    let all: u64 = machine.cpu.iter().map(|used| used.core_millis).sum();
    let tenants = &machine.memory.tenants;
    if tenants.is_empty() {
        return empty(
            "No tenant has slots.",
            &html! {
                p { "They appear with the first job that runs:" }
                (command("cofferdam job submit job.toml"))
            },
        );
    }
    html! {
        @for tenant in tenants {
            @let cpu = machine.cpu.iter().find(|used| used.tenant == tenant.tenant);
            @let slots: Vec<_> = machine.memory.slots.iter().filter(|slot| slot.tenant == tenant.tenant).collect();
            article.panel.tenant {
                h3 { "Tenant " (tenant.tenant) }
                div.columns {
                    (memory(tenant, machine.memory.limit))
                    @if let Some(cpu) = cpu { (cores(cpu, all)) }
                }
                @if !slots.is_empty() {
                    ul.cells aria-label={ "Slots of tenant " (tenant.tenant) } { @for slot in slots { (cell(slot)) } }
                }
            }
        }
    }
}

fn memory(tenant: &TenantReport, all: usize) -> Markup {
    let limit = tenant.limit.unwrap_or(all) as u64;
    let reserved = tenant.reserved as u64;
    let full = float(reserved) / float(limit.max(1));
    html! {
        div {
            p.fine {
                "Memory: " (bytes(reserved)) " reserved of " (bytes(limit))
                @if tenant.limit.is_none() { " (no quota)" }
                ", at most " (bytes(tenant.peak as u64))
            }
            (meter(full, &format!("{} of the memory is reserved", share(full))))
        }
    }
}

fn cores(cpu: &CpuUse, all: u64) -> Markup {
    let part = float(cpu.core_millis) / float(all.max(1));
    html! {
        div {
            p.fine {
                "Cores: " (lasting(cpu.core_millis)) ", of which guests " (lasting(cpu.guest_millis))
                "; " (share(part)) " of what all had, weight " (cpu.weight)
            }
            svg.meter viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label={ (share(part)) " of what all tenants had of the cores" } {
                rect.back width="100" height="6" {}
                rect.good width=(format!("{:.2}", part * 100.0)) height="6" {}
            }
        }
    }
}

fn cell(slot: &SlotReport) -> Markup {
    let full = slot.utilisation / 100.0;
    let size = |n: usize| human::bytes(float(n as u64));
    let parts = &slot.parts;
    html! {
        li class={ "cell heat-" (level(full)) } title={
            (size(slot.used)) " of " (size(slot.limit)) ": guest " (size(parts.guest)) ", keyed state " (size(parts.state))
            ", queued " (size(parts.queued)) ", call " (size(parts.call)) ", copies " (size(parts.copies)) ". At most " (size(slot.peak))
        } {
            span.which { (slot.operator) " " (slot.subtask) }
            span { (slot.job) }
            span { (share(full)) " · " (size(slot.used)) }
        }
    }
}

fn grid(slots: &[SlotSeen], caller: &Caller) -> Markup {
    if slots.is_empty() {
        return html! { p.fine { "Jobs of tenant " (caller.tenant.clone().unwrap_or_default()) " hold no slots." } };
    }
    let taken = slots.iter().filter(|slot| slot.job.is_some()).count();
    html! {
        p.fine { (taken) " of " (slots.len()) " taken. Outlined cells are free." }
        ul.cells.small {
            @for slot in slots {
                @let condition = slot.condition.word();
                li class={ "cell " @if slot.job.is_some() { "heat-2" } @else { "free" } } {
                    span.which { (slot.slot) @if condition != "good" { " " (badge(condition)) } }
                    @match (&slot.name, &slot.tenant, &slot.job) {
                        (Some(name), Some(tenant), Some(job)) => {
                            a href={ "/console/jobs/" (job) } { (name) }
                            span { (tenant) }
                        }
                        _ => span { "free" },
                    }
                }
            }
        }
    }
}

/// To empty a slot, and to have it used again.
fn keeping(slots: &[SlotSeen]) -> Markup {
    html! {
        section aria-labelledby="keep-title" {
            h2 #keep-title { "Empty a slot" }
            form.panel.stack method="post" action="/console/slots" {
                p { "A drained slot takes no instance any more; what is in it goes to another one while its job runs." }
                div.field {
                    label for="slot" { "Slot" }
                    select #slot name="slot" {
                        @for slot in slots {
                            option value=(slot.slot) {
                                (slot.slot) " – " (slot.condition.word())
                                @if let Some(name) = &slot.name { ", " (name) }
                            }
                        }
                    }
                }
                div.row {
                    button.danger type="submit" name="do" value="drain" { "Drain" }
                    button type="submit" name="do" value="restore" { "Use it again" }
                }
            }
        }
    }
}

/// Takes the form.
pub(super) async fn keep(visit: Visit, body: Body) -> Answer<Redirect> {
    let form = Form::read(&visit.service, body, LONGEST).await?;
    let slot = form.filled("slot").and_then(|text| text.parse().ok()).map(SlotId);
    let slot = slot.ok_or_else(|| Problem::invalid("`slot` must be the number of one"))?;
    let said = match form.get("do") {
        Some("drain") => {
            visit.service.drain_slot(&visit.caller, slot).await?;
            "drained"
        }
        Some("restore") => {
            visit.service.restore_slot(&visit.caller, slot)?;
            "restored"
        }
        _ => return Err(Problem::invalid("`do` must be drain or restore")),
    };
    Ok(back("/console/slots", said))
}

//! What is done to a job, from its pages: each is asked for by a form, done by the service with the
//! caller's own rights, and leads back to the job.

use axum::{body::Body, response::Redirect};
use maud::{Markup, html};

use super::visit::{Form, Visit};
use crate::{
    http::{Answer, jobs::savepoint_name, problem::Problem},
    ids::{JobId, OperatorName, SavepointName},
};

/// The longest form, in bytes.
const LONGEST: usize = 4 << 10;

/// Back to a page, which says what was done.
pub(super) fn back(to: &str, said: &str) -> Redirect {
    let and = if to.contains('?') { '&' } else { '?' };
    Redirect::to(&format!("{to}{and}said={said}"))
}

/// What was done, as the page that one comes back to says it: of these, and nothing that an
/// address makes up.
pub(super) fn notice(visit: &Visit) -> Markup {
    let text = match visit.said("said") {
        Some("submitted") => "The job was taken.",
        Some("cancelling") => "The job is being cancelled: it takes a last checkpoint.",
        Some("stopped") => "The job was stopped with a savepoint.",
        Some("stopping") => "The job is stopping; it takes its savepoint.",
        Some("restarted") => "The job goes on from its last checkpoint.",
        Some("rescaled") => "The job goes on with another parallelism.",
        Some("deleted") => "It was deleted.",
        Some("checkpoint") => "A checkpoint was taken.",
        Some("savepoint") => "The savepoint is being taken.",
        Some("uploaded") => "The upload was checked and kept.",
        Some("known") => "This version was there already, with the same bytes.",
        Some("tagged") => "The tag points here now.",
        Some("drained") => "Nothing enters the slot any more.",
        Some("restored") => "The slot is used again.",
        Some("revoked") => "The token opens nothing any more.",
        Some("saved") => "The quotas were set.",
        _ => return html! {},
    };
    html! { div.notice.good role="status" { (text) } }
}

fn home(id: JobId) -> String {
    format!("/console/jobs/{id}")
}

async fn form(visit: &Visit, body: Body) -> Answer<Form> {
    Form::read(&visit.service, body, LONGEST).await
}

fn savepoint(form: &Form) -> Answer<Option<SavepointName>> {
    form.filled("savepoint").map(savepoint_name).transpose()
}

pub(super) async fn cancel(visit: Visit) -> Answer<Redirect> {
    let id = visit.path.job()?;
    visit.service.cancel(&visit.caller, id).await?;
    Ok(back(&home(id), "cancelling"))
}

pub(super) async fn stop(visit: Visit, body: Body) -> Answer<Redirect> {
    let id = visit.path.job()?;
    let name = savepoint(&form(&visit, body).await?)?;
    let job = visit.service.stop(&visit.caller, id, name).await?;
    let said = if job.record.ended.is_some() { "stopped" } else { "stopping" };
    Ok(back(&home(id), said))
}

pub(super) async fn restart(visit: Visit) -> Answer<Redirect> {
    let id = visit.path.job()?;
    visit.service.restart(&visit.caller, id).await?;
    Ok(back(&home(id), "restarted"))
}

pub(super) async fn delete(visit: Visit) -> Answer<Redirect> {
    let id = visit.path.job()?;
    visit.service.delete_job(&visit.caller, id).await?;
    Ok(back("/console/jobs", "deleted"))
}

pub(super) async fn rescale(visit: Visit, body: Body) -> Answer<Redirect> {
    let id = visit.path.job()?;
    let form = form(&visit, body).await?;
    let operator = form.filled("operator").map(OperatorName::new).transpose();
    let operator = operator.map_err(|bad| Problem::invalid(bad.to_string()))?;
    let parallelism = form.filled("parallelism").and_then(|text| text.parse().ok());
    let parallelism =
        parallelism.ok_or_else(|| Problem::invalid("`parallelism` must be a whole number"))?;
    visit.service.rescale(&visit.caller, id, operator, parallelism).await?;
    Ok(back(&home(id), "rescaled"))
}

pub(super) async fn checkpoint(visit: Visit) -> Answer<Redirect> {
    let id = visit.path.job()?;
    visit.service.take_checkpoint(&visit.caller, id).await?;
    Ok(back(&format!("{}/checkpoints", home(id)), "checkpoint"))
}

pub(super) async fn take_savepoint(visit: Visit, body: Body) -> Answer<Redirect> {
    let id = visit.path.job()?;
    let name = savepoint(&form(&visit, body).await?)?;
    visit.service.take_savepoint(&visit.caller, id, name).await?;
    Ok(back(&format!("{}/checkpoints", home(id)), "savepoint"))
}

pub(super) async fn dispose(visit: Visit) -> Answer<Redirect> {
    let (id, name) = (visit.path.job()?, visit.path.savepoint()?);
    visit.ask(move |service, caller| service.delete_savepoint(caller, id, &name)).await?;
    Ok(back(&format!("{}/checkpoints", home(id)), "deleted"))
}

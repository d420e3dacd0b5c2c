//! What the JobManager tells a tracer: how a job came to run, and each checkpoint that is traced.
//!
//! ```text
//!   start job ─┬─ prepare           artifacts, plan, state
//!              ├─ wait for slots
//!              └─ deploy            it ends when an operator has seen the first records
//!
//!   checkpoint ─┬─ align count      from a subtask's first barrier to its last
//!               ├─ snapshot count
//!               ├─ write checkpoint
//!               └─ commit out       told by the sink; it may come after the checkpoint is complete
//! ```

use crate::{
    clock::Moment,
    ids::{CheckpointId, JobId, JobName, TenantId},
    job_manager::{plan::Plan, writer::Written},
    task_manager::{Snapshot, SubtaskId},
    trace::{Attribute, Attributes, Span, SpanContext, SpanId, SpanRef, TraceState, Tracer, Value},
};

/// What every span of a job has. Where it has no identifier, its name has to do.
#[must_use]
pub fn of_job(tenant: &TenantId, id: Option<JobId>, name: &JobName) -> Vec<Attribute> {
    let mut attributes = vec![
        ("cofferdam.tenant", Value::from(tenant.as_str())),
        ("cofferdam.job.name", Value::from(name.as_str())),
    ];
    if let Some(id) = id {
        attributes.push(("cofferdam.job.id", Value::from(&*id.to_string())));
    }
    attributes
}

/// What every span of a subtask has.
#[must_use]
pub fn of_subtask(of_job: &[Attribute], plan: &Plan, id: SubtaskId) -> Attributes {
    let own = [
        ("cofferdam.operator", Value::from(plan.vertices[id.vertex].name.as_str())),
        ("cofferdam.subtask", Value::from(u64::from(id.index.0))),
    ];
    of_job.iter().cloned().chain(own).collect()
}

/// Something that is being done.
#[derive(Debug, Clone)]
struct Open {
    context: SpanContext,
    parent: Option<SpanId>,
    /// What travels with the trace.
    state: Option<TraceState>,
    began: Moment,
}

impl Open {
    /// The first of a new trace.
    fn root(context: SpanContext, began: Moment) -> Self {
        Self { context, parent: None, state: None, began }
    }
}

/// A checkpoint that is under way and traced.
#[derive(Debug)]
struct Checkpoint {
    id: CheckpointId,
    trigger: &'static str,
    open: Open,
    /// Since when it is being written.
    writing: Option<Moment>,
}

/// Tells of one job.
#[derive(Debug)]
pub struct JobTrace {
    tracer: Tracer,
    shared: Attributes,
    starting: Option<Open>,
    checkpoint: Option<Checkpoint>,
}

impl JobTrace {
    /// Of a job that is begun, by the span that is given, if one asked for it.
    #[must_use]
    pub fn begin(
        tracer: Tracer,
        shared: Attributes,
        began: Moment,
        asked_by: Option<SpanRef>,
    ) -> Self {
        let starting = match asked_by.filter(|_| tracer.is_on()) {
            Some(SpanRef { context, state }) => {
                Some(Open { context: context.child(), parent: Some(context.span), state, began })
            }
            None => tracer.job().map(|context| Open::root(context, began)),
        };
        Self { tracer, shared, starting, checkpoint: None }
    }

    fn end(&self, name: &str, open: Open, more: impl FnOnce(Span) -> Span) {
        let span = Span { parent: open.parent, ..Span::new(name, open.context, open.began) };
        let span = span.carrying(open.state.as_ref());
        self.tracer.end(more(span.sharing(&self.shared)));
    }

    fn below(&self, open: &Open, began: Moment) -> Open {
        let (context, parent) = (open.context.child(), Some(open.context.span));
        Open { context, parent, state: open.state.clone(), began }
    }

    /// A step of the job's start was done, which had begun then.
    pub fn step(&self, name: &str, began: Moment, failed: Option<&str>) {
        if let Some(starting) = &self.starting {
            self.end(name, self.below(starting, began), |span| span.failed(failed));
        }
    }

    /// The job has started: it works, or has ended before it did.
    pub fn started(&mut self, failed: Option<&str>) {
        if let Some(starting) = self.starting.take() {
            self.end("start job", starting, |span| span.failed(failed));
        }
    }

    /// A checkpoint begins.
    pub fn begin_checkpoint(&mut self, id: CheckpointId, trigger: &'static str) {
        self.give_up_checkpoint("another one was begun before it was complete");
        let open = self.tracer.job().map(|context| Open::root(context, Moment::now()));
        self.checkpoint = open.map(|open| Checkpoint { id, trigger, open, writing: None });
    }

    /// A subtask has given its part of a checkpoint.
    pub fn snapshot(&self, plan: &Plan, of: SubtaskId, id: CheckpointId, snapshot: &Snapshot) {
        let checkpoint = self.checkpoint.as_ref();
        let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.id == id) else { return };
        let name = &plan.vertices[of.vertex].name;
        let shared = of_subtask(&self.shared, plan, of);
        let (taken, took) = (snapshot.taken_at, snapshot.took);
        let aligned = taken.saturating_sub(took.sync_micros.saturating_mul(1_000));
        let tell = |what: &str, start: u64, end: u64| {
            let context = checkpoint.open.context.child();
            let span = Span::between(format!("{what} {name}"), context, start, end);
            let span = span.below(checkpoint.open.context.span).sharing(&shared);
            self.tracer.end(span.with("cofferdam.checkpoint.id", id.0));
        };
        if took.alignment_micros > 0 {
            tell("align", aligned.saturating_sub(took.alignment_micros * 1_000), aligned);
        }
        tell("snapshot", aligned, taken);
    }

    /// A checkpoint has every answer, and is being written.
    pub fn begin_writing(&mut self, id: CheckpointId) {
        if let Some(checkpoint) = self.checkpoint.as_mut().filter(|c| c.id == id) {
            checkpoint.writing = Some(Moment::now());
        }
    }

    /// A checkpoint is complete. Its span, for those who commit it.
    pub fn complete_checkpoint(&mut self, written: &Written) -> Option<SpanContext> {
        let checkpoint = self.checkpoint.take()?;
        let bytes = |span: Span| {
            span.with("cofferdam.checkpoint.written_bytes", written.bytes)
                .with("cofferdam.checkpoint.full_bytes", written.details.full_bytes)
        };
        self.end_checkpoint(&checkpoint, None, bytes);
        Some(checkpoint.open.context)
    }

    /// The checkpoint that is under way comes to nothing.
    pub fn give_up_checkpoint(&mut self, why: &str) {
        if let Some(checkpoint) = self.checkpoint.take() {
            self.end_checkpoint(&checkpoint, Some(why), |span| span);
        }
    }

    fn end_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        failed: Option<&str>,
        more: impl Fn(Span) -> Span,
    ) {
        let id = |span: Span| span.with("cofferdam.checkpoint.id", checkpoint.id.0).failed(failed);
        if let Some(writing) = checkpoint.writing {
            let open = self.below(&checkpoint.open, writing);
            self.end("write checkpoint", open, |span| more(id(span)));
        }
        let trigger = checkpoint.trigger;
        self.end("checkpoint", checkpoint.open.clone(), |span| {
            more(id(span).with("cofferdam.checkpoint.trigger", trigger))
        });
    }
}

impl Drop for JobTrace {
    /// Whoever ends a job's task ends it in the midst of whatever it does.
    fn drop(&mut self) {
        self.started(Some("the job ended before it worked"));
        self.give_up_checkpoint("the job ended before it was complete");
    }
}

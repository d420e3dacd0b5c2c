//! What a subtask tells of a sampled batch: how long it was on its way, and what was made of it.
//! Of a batch that is not sampled there is nothing to tell, and nothing is done.
//!
//! ```text
//!   read flights ─┬─ wait count      on its way: no room in the channel, in the channel, no turn
//!                 └─ process count ─┬─ wait out
//!                                   └─ write out
//! ```
//!
//! A batch of records that were posted has links to the posts' spans.
//!
//! A batch that a hash exchange divides goes on as several, each with the same parent. What a fold
//! keeps comes out later, together with what others left there: then a firing begins a trace of its
//! own, with links to the folds.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    clock::{Moment, Stopwatch},
    failure::Failure,
    ids::SlotId,
    metrics::GuestWork,
    sandbox::{LogBudget, Outcome},
    stream::Batch,
    task_manager::TaskError,
    trace::{
        Attributes, BatchSampler, Span, SpanContext, SpanRef, Tracer, Trail, span::MOST_LINKS,
    },
};

/// Records that came in.
const RECORDS_IN: &str = "cofferdam.records.in";
/// Bytes that came in.
const BYTES_IN: &str = "cofferdam.bytes.in";
/// Records that went out.
const RECORDS_OUT: &str = "cofferdam.records.out";
/// Bytes that went out.
const BYTES_OUT: &str = "cofferdam.bytes.out";

/// A call that hands the guest a batch.
pub const PROCESS: &str = "process";
/// A call that hands it a batch with the state of its keys.
pub const FOLD: &str = "fold";

/// The slot that a subtask is in, which may change. Clones are the same.
#[derive(Debug, Clone)]
pub struct InSlot(Arc<AtomicU32>);

impl Default for InSlot {
    /// In none.
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(u32::MAX)))
    }
}

impl InSlot {
    /// It is in this one now.
    pub fn set(&self, slot: SlotId) {
        self.0.store(slot.0, Ordering::Relaxed);
    }

    fn get(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|slot| *slot != u32::MAX)
    }
}

/// Tells of one subtask.
#[derive(Debug, Clone)]
pub struct SubtaskTrace {
    /// Whom.
    pub tracer: Tracer,
    /// The source's, operator's or sink's name.
    pub name: Arc<str>,
    /// What all its spans share.
    pub shared: Attributes,
    /// Where it is.
    pub slot: InSlot,
}

/// Something that is being done with a sampled batch.
#[derive(Debug)]
pub struct Doing {
    what: &'static str,
    /// Its span.
    pub context: SpanContext,
    trail: Trail,
    began: Moment,
    records: usize,
    bytes: usize,
}

impl SubtaskTrace {
    /// A span of this subtask, which ends now.
    fn span(&self, what: &str, context: SpanContext, began: Moment) -> Span {
        let span = Span::new(format!("{what} {}", self.name), context, began).sharing(&self.shared);
        match self.slot.get() {
            Some(slot) => span.with("cofferdam.slot", u64::from(slot)),
            None => span,
        }
    }

    /// Tells of a batch that a source has read, which is sampled, and by whom its records were
    /// posted.
    fn read(&self, context: SpanContext, began: Moment, batch: &Batch, posts: Vec<SpanRef>) {
        let span = self.span("read", context, began).linked(posts);
        self.tracer.end(span.with(RECORDS_OUT, batch.len()).with(BYTES_OUT, batch.bytes()));
    }

    /// Begins to do something with a batch, if it is sampled, and tells how long it was on its way.
    #[must_use]
    pub fn begin(&self, what: &'static str, batch: &Batch) -> Option<Box<Doing>> {
        let trail = batch.trail()?;
        let wait = self.span("wait", trail.context.child(), trail.since);
        self.tracer.end(wait.below(trail.context.span));
        Some(Box::new(Doing {
            what,
            context: trail.context.child(),
            trail: trail.clone(),
            began: Moment::now(),
            records: batch.len(),
            bytes: batch.bytes(),
        }))
    }

    /// It is done, well or not.
    pub fn done(&self, doing: &Doing, failed: Option<&dyn fmt::Display>) {
        self.tracer.end(self.span_of(doing).failed(failed.map(ToString::to_string).as_deref()));
    }

    fn span_of(&self, doing: &Doing) -> Span {
        let span = self.span(doing.what, doing.context, doing.began);
        let span = span.below(doing.trail.context.span);
        span.with(RECORDS_IN, doing.records).with(BYTES_IN, doing.bytes)
    }

    /// Tells of a sink that has committed a checkpoint which is traced.
    pub fn committed(&self, checkpoint: SpanContext, began: Moment, failed: Option<&str>) {
        let span = self.span("commit", checkpoint.child(), began).below(checkpoint.span);
        self.tracer.end(span.failed(failed));
    }
}

/// A source's: which of its batches are sampled, too.
#[derive(Debug)]
pub struct SourceTrace {
    /// Whose.
    subtask: SubtaskTrace,
    /// Chooses.
    sampler: BatchSampler,
    /// When a batch was chosen last for the sake of a post.
    followed: Option<Stopwatch>,
}

/// How often a batch is sampled since a traced post is in it, at most.
const FOLLOWED_EVERY: Duration = Duration::from_millis(100);

impl SourceTrace {
    /// Chooses batches of a subtask's.
    #[must_use]
    pub fn new(subtask: SubtaskTrace) -> Self {
        let sampler = subtask.tracer.batches();
        Self { subtask, sampler, followed: None }
    }

    /// Tells of a batch that was read since a moment, if it is chosen; by which span, then. One
    /// with records of a post that is traced is chosen for its sake, if none was lately. Where no
    /// batch is ever chosen, nobody asks for posts.
    pub fn read(
        &mut self,
        began: impl FnOnce() -> Moment,
        batch: &Batch,
        posted_by: impl FnOnce() -> Vec<SpanRef>,
    ) -> Option<SpanContext> {
        if batch.is_empty() || !self.sampler.is_on() {
            return None;
        }
        let (chosen, posts) = (self.sampler.choose(), posted_by());
        let context = chosen.or_else(|| self.follows(&posts).then(SpanContext::root))?;
        self.subtask.read(context, began(), batch, posts);
        Some(context)
    }

    fn follows(&mut self, posts: &[SpanRef]) -> bool {
        let lately = self.followed.is_some_and(|last| last.elapsed() < FOLLOWED_EVERY);
        let follows = !posts.is_empty() && !lately;
        if follows {
            self.followed = Some(Stopwatch::start());
        }
        follows
    }
}

/// An operator's: calls into its guest.
#[derive(Debug)]
pub struct CallTrace {
    subtask: SubtaskTrace,
    work: Option<Arc<GuestWork>>,
    /// Its lines say to which trace the call belongs.
    log: LogBudget,
    /// The call that is under way, and how long the guest had run before.
    call: Option<(Box<Doing>, u64)>,
    /// Folds of sampled batches since the last firing that came to something, the newest last.
    folded: Vec<SpanContext>,
}

/// A firing that comes after folds of sampled batches.
#[derive(Debug, Clone, Copy)]
pub struct Firing {
    began: Moment,
    ran_before: u64,
}

impl CallTrace {
    /// Of an operator's subtask, whose guest's work is counted there, and which logs so.
    #[must_use]
    pub fn new(subtask: SubtaskTrace, work: Option<Arc<GuestWork>>, log: LogBudget) -> Self {
        Self { subtask, work, log, call: None, folded: Vec::new() }
    }

    fn ran(&self) -> u64 {
        let ran = self.work.as_ref().map(|work| work.total()).unwrap_or_default();
        u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX)
    }

    /// A call for a batch begins. If that is sampled, the span that makes what comes of it.
    pub fn begin(&mut self, what: &'static str, batch: &Batch) -> Option<SpanContext> {
        let doing = self.subtask.begin(what, batch)?;
        let context = doing.context;
        self.call = Some((doing, self.ran()));
        self.log.trace(Some(context.trace));
        Some(context)
    }

    /// The guest has answered the call that is under way, if it is told of.
    pub fn answered(&mut self, outcome: &Outcome) {
        let Some((doing, before)) = self.call.take() else { return };
        self.log.trace(None);
        let span = self.subtask.span_of(&doing);
        self.subtask.tracer.end(self.with_outcome(span, outcome, before));
        if doing.what == FOLD {
            if self.folded.len() == MOST_LINKS {
                self.folded.remove(0);
            }
            self.folded.push(doing.context);
        }
    }

    fn with_outcome(&self, span: Span, outcome: &Outcome, before: u64) -> Span {
        let emitted = || outcome.emissions.iter().map(|(_, records)| records);
        span.with(RECORDS_OUT, emitted().map(Batch::len).sum::<usize>())
            .with(BYTES_OUT, emitted().map(Batch::bytes).sum::<usize>())
            .with("cofferdam.records.rejected", outcome.rejected.len())
            .with("cofferdam.guest.time_ns", self.ran().saturating_sub(before))
    }

    /// What was done with a batch is done. A call that was not answered has failed.
    pub fn end(&mut self, done: &Result<(), TaskError>) {
        let Some((doing, _)) = self.call.take() else { return };
        self.log.trace(None);
        let failed: Option<&dyn fmt::Display> = match done {
            Err(TaskError::Failed(failure)) => Some(failure),
            Err(TaskError::NeighbourGone) => Some(&"a neighbour is gone"),
            // Its records were found to crash the guest, one by one.
            Ok(()) => Some(&"the call crashed the guest, and was divided"),
        };
        self.subtask.done(&doing, failed);
    }

    /// A firing begins that may be told of.
    #[must_use]
    pub fn begin_firing(&self) -> Option<Firing> {
        let wanted = !self.folded.is_empty();
        wanted.then(|| Firing { began: Moment::now(), ran_before: self.ran() })
    }

    /// What came of a firing: the span that made it, if that is something.
    pub fn fired(
        &mut self,
        firing: Option<Firing>,
        timers: usize,
        answer: Result<&Outcome, &Failure>,
    ) -> Option<SpanContext> {
        let Firing { began, ran_before } = firing?;
        if answer.is_ok_and(|outcome| outcome.emissions.is_empty() && outcome.rejected.is_empty()) {
            return None;
        }
        let context = SpanContext::root();
        let span = self.subtask.span("fire", context, began).with("cofferdam.timers", timers);
        let span = span.linked(std::mem::take(&mut self.folded));
        self.subtask.tracer.end(match answer {
            Ok(outcome) => self.with_outcome(span, outcome, ran_before),
            Err(failure) => span.failed(Some(&failure.to_string())),
        });
        Some(context)
    }
}

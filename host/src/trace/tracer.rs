//! What is sampled, and where its spans go: a queue that is bounded, and that nobody waits for.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::mpsc;

use super::{Span, SpanContext, SpanId, SpanRef, TraceParent, TraceState};

/// Which part of what is done is traced: from 0, none, to 1, all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratios {
    /// Of the batches that sources read.
    pub batches: f64,
    /// Of checkpoints, and of starts of jobs that no traced request asked for.
    pub jobs: f64,
    /// Of requests without `traceparent`.
    pub requests: f64,
}

/// What became of spans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceCounts {
    /// A collector took them.
    pub exported: u64,
    /// The queue was full.
    pub dropped: u64,
    /// No collector could be reached, or it gave no answer.
    pub lost: u64,
    /// A collector did not want them.
    pub refused: u64,
}

#[derive(Debug)]
struct Shared {
    ratios: Ratios,
    queue: mpsc::Sender<Box<Span>>,
    exported: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
    refused: AtomicU64,
}

/// Takes spans. Clones are the same; one that is off takes none, and samples nothing.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Shared>>);

/// A request that is traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Its span.
    pub span: SpanRef,
    /// What whoever sent it did it for.
    pub parent: Option<SpanId>,
}

impl Tracer {
    /// One with so much room for spans, and where they come out.
    #[must_use]
    pub fn channel(ratios: Ratios, room: usize) -> (Self, mpsc::Receiver<Box<Span>>) {
        let (queue, spans) = mpsc::channel(room.max(1));
        let [exported, dropped, lost, refused] = Default::default();
        let shared = Shared { ratios, queue, exported, dropped, lost, refused };
        (Self(Some(Arc::new(shared))), spans)
    }

    /// Whether it takes spans.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What became of spans; none if it is off.
    #[must_use]
    pub fn counts(&self) -> Option<TraceCounts> {
        let shared = self.0.as_ref()?;
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Some(TraceCounts {
            exported: get(&shared.exported),
            dropped: get(&shared.dropped),
            lost: get(&shared.lost),
            refused: get(&shared.refused),
        })
    }

    /// Counts what became of spans that were taken out of the queue.
    pub fn count(&self, more: TraceCounts) {
        let Some(shared) = &self.0 else { return };
        shared.exported.fetch_add(more.exported, Ordering::Relaxed);
        shared.lost.fetch_add(more.lost, Ordering::Relaxed);
        shared.refused.fetch_add(more.refused, Ordering::Relaxed);
        shared.dropped.fetch_add(more.dropped, Ordering::Relaxed);
    }

    /// Takes a span. If there is no room for it, it is dropped and counted.
    pub fn end(&self, span: Span) {
        if let Some(shared) = &self.0
            && shared.queue.try_send(Box::new(span)).is_err()
        {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Chooses batches of one source's subtask.
    #[must_use]
    pub fn batches(&self) -> BatchSampler {
        BatchSampler::new(self.0.as_ref().map_or(0.0, |shared| shared.ratios.batches))
    }

    /// A new trace of something that the JobManager does, if it is sampled.
    #[must_use]
    pub fn job(&self) -> Option<SpanContext> {
        chosen(self.0.as_ref()?.ratios.jobs).then(SpanContext::root)
    }

    /// The span of a request, if it is sampled: as whoever sent it says, or by chance if they say
    /// nothing. What travels with a trace does so with one that they say something of.
    #[must_use]
    pub fn request(
        &self,
        parent: Option<TraceParent>,
        state: impl FnOnce() -> Option<TraceState>,
    ) -> Option<Traced> {
        let shared = self.0.as_ref()?;
        match parent {
            Some(from) => from.sampled.then(|| Traced {
                span: SpanRef { context: from.context.child(), state: state() },
                parent: Some(from.context.span),
            }),
            None => chosen(shared.ratios.requests)
                .then(|| Traced { span: SpanContext::root().into(), parent: None }),
        }
    }
}

/// By chance.
fn chosen(ratio: f64) -> bool {
    // The random number is less than 1.
    ratio > 0.0 && rand::random::<f64>() < ratio
}

/// Chooses batches by chance. How many are passed over is drawn once for each that is chosen, so
/// that a batch costs no more than counting down.
#[derive(Debug, Clone, Default)]
pub struct BatchSampler {
    ratio: f64,
    /// How many more are passed over; none if nothing is ever chosen.
    left: Option<u64>,
}

impl BatchSampler {
    fn new(ratio: f64) -> Self {
        let left = (ratio > 0.0).then(|| skips(ratio, rand::random()));
        Self { ratio, left }
    }

    /// Whether any is ever chosen.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.left.is_some()
    }

    /// A new trace for this batch, if it is chosen.
    pub fn choose(&mut self) -> Option<SpanContext> {
        let left = self.left.as_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        *left = skips(self.ratio, rand::random());
        Some(SpanContext::root())
    }
}

/// How many tries fail before one succeeds that does so with this probability (the geometric
/// distribution), for a number that is drawn from 0 to 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is not negative, and what is too large becomes the largest number"
)]
fn skips(ratio: f64, drawn: f64) -> u64 {
    if ratio >= 1.0 { 0 } else { ((1.0 - drawn).ln() / (-ratio).ln_1p()) as u64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Moment;

    fn ratios(batches: f64, jobs: f64, requests: f64) -> Ratios {
        Ratios { batches, jobs, requests }
    }

    fn chosen_of(sampler: &mut BatchSampler, batches: usize) -> usize {
        (0..batches).filter(|_| sampler.choose().is_some()).count()
    }

    #[test]
    fn as_many_batches_are_chosen_as_the_ratio_says() {
        for (ratio, least, most) in
            [(0.0, 0, 0), (1.0, 100_000, 100_000), (0.1, 9_000, 11_000), (0.001, 50, 170)]
        {
            let (tracer, _spans) = Tracer::channel(ratios(ratio, 0.0, 0.0), 1);
            let count = chosen_of(&mut tracer.batches(), 100_000);
            assert!((least..=most).contains(&count), "{count} of 100,000 at {ratio}");
        }
        assert_eq!(chosen_of(&mut Tracer::default().batches(), 1_000), 0);
    }

    proptest! {
        #[test]
        fn skips_are_those_of_the_geometric_distribution(ratio in 1e-6_f64..1.0, drawn in 0.0_f64..1.0) {
            // As many as it takes until the chance of so many failures is below what was drawn.
            let skipped = skips(ratio, drawn);
            let fails = |n: f64| n * (-ratio).ln_1p();
            #[expect(clippy::cast_precision_loss, reason = "it is small")]
            let n = skipped as f64;
            prop_assert!(fails(n) >= (1.0 - drawn).ln() - 1e-9);
            prop_assert!(fails(n + 1.0) <= (1.0 - drawn).ln() + 1e-9);
        }
    }

    #[test]
    fn a_request_is_traced_as_its_sender_says_and_else_by_chance() {
        let sent = |sampled| Some(TraceParent { context: SpanContext::root(), sampled });
        let (never, _spans) = Tracer::channel(ratios(0.0, 0.0, 0.0), 1);
        let (always, _spans) = Tracer::channel(ratios(1.0, 1.0, 1.0), 1);
        let parent = sent(true);
        let state = || TraceState::parse(["rojo=1"]);
        let traced = never.request(parent, state).unwrap();
        let (span, from) = (traced.span, parent.unwrap().context);
        assert_eq!((span.context.trace, traced.parent), (from.trace, Some(from.span)));
        assert_ne!(span.context.span, from.span);
        assert_eq!(span.state, state());
        assert_eq!((never.request(None, state), always.request(sent(false), state)), (None, None));
        let by_chance = always.request(None, state).unwrap();
        assert_eq!((by_chance.parent, by_chance.span.state), (None, None));
        assert_eq!(Tracer::default().request(parent, state), None, "nobody would hear of it");
        assert!(always.job().is_some() && never.job().is_none());
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_nobody_waits() {
        let (tracer, mut spans) = Tracer::channel(ratios(1.0, 1.0, 1.0), 3);
        let end = || tracer.end(Span::new("s", SpanContext::root(), Moment::now()));
        (0..10).for_each(|_| end());
        assert_eq!(tracer.counts().unwrap().dropped, 7);
        assert!(spans.try_recv().is_ok());
        end();
        assert_eq!(tracer.counts().unwrap().dropped, 7);
        // Nobody is there any more.
        drop(spans);
        end();
        assert_eq!(tracer.counts().unwrap().dropped, 8);
        assert_eq!((Tracer::default().counts(), Tracer::default().is_on()), (None, false));
    }
}

//! Samples of what sources and operators put out, for whoever watches. While nobody does, a batch
//! costs one look at a number. While somebody does, a few records of a batch are copied, and no
//! more than so many a second; who reads them slowly misses some.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::broadcast;

use crate::{clock::Stopwatch, ids::OperatorName, stream::Batch};

/// From one batch that is sampled to the next.
const BETWEEN: Duration = Duration::from_millis(50);
/// How many records are taken of one.
const OF_A_BATCH: usize = 10;
/// How much of a key or value is taken, in bytes.
const OF_A_VALUE: usize = 1 << 10;
/// How many samples may wait for who reads them.
const WAITING: usize = 16;

/// A record, or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// How long the value is.
    pub value_bytes: usize,
    /// Its event time, in milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// Why it was rejected, if it was.
    pub reason: Option<String>,
}

/// Some records of one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples {
    /// Which output: a number, `late` or `dead-letters`.
    pub output: Arc<str>,
    /// How many records were in the batch.
    pub of: usize,
    /// Some of them.
    pub records: Vec<Sample>,
}

/// The tap of one vertex, which all of its subtasks share.
#[derive(Debug, Default)]
pub struct Tap {
    watchers: AtomicUsize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    to: Option<broadcast::Sender<Arc<Samples>>>,
    /// By output: records must not keep dead letters from being seen.
    last: HashMap<String, Stopwatch>,
    closed: bool,
}

/// The taps of a job. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Taps(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    taps: HashMap<OperatorName, Arc<Tap>>,
    closed: bool,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What somebody sees who watches.
#[derive(Debug)]
pub struct Watcher {
    tap: Arc<Tap>,
    from: broadcast::Receiver<Arc<Samples>>,
}

/// What comes to a watcher.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// Records.
    Samples(Arc<Samples>),
    /// So many samples were missed.
    Missed(u64),
    /// The job has ended.
    End,
}

impl Taps {
    /// The tap of a vertex.
    #[must_use]
    pub fn of(&self, vertex: &OperatorName) -> Arc<Tap> {
        let mut all = lock(&self.0);
        let tap = all.taps.entry(vertex.clone()).or_default().clone();
        if all.closed {
            tap.close();
        }
        tap
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.0).closed
    }

    pub(super) fn close(&self) {
        let mut all = lock(&self.0);
        all.closed = true;
        all.taps.values().for_each(|tap| tap.close());
    }
}

impl Tap {
    /// Whether anybody watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// Begins to watch. None if there is nothing to see any more.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> Option<Watcher> {
        let mut open = lock(&self.open);
        if open.closed {
            return None;
        }
        let from = open.to.get_or_insert_with(|| broadcast::channel(WAITING).0).subscribe();
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Some(Watcher { tap: self.clone(), from })
    }

    /// Shows some records of a batch, if it is time. To be called if somebody watches.
    pub fn show(&self, output: &str, batch: &Batch, reason: impl Fn(usize) -> Option<String>) {
        // Whoever has it now shows something: this one need not.
        let Ok(mut open) = self.open.try_lock() else { return };
        let Some(to) = open.to.clone() else { return };
        if open.last.get(output).is_some_and(|last| last.elapsed() < BETWEEN) {
            return;
        }
        open.last.insert(output.to_owned(), Stopwatch::start());
        drop(open);
        let beginning = |bytes: &[u8]| bytes[..bytes.len().min(OF_A_VALUE)].to_vec();
        let step = batch.len().div_ceil(OF_A_BATCH).max(1);
        let sample = |i: usize| Sample {
            key: beginning(batch.key(i)),
            value: beginning(batch.value(i)),
            value_bytes: batch.value(i).len(),
            timestamp: batch.timestamp(i),
            reason: reason(i),
        };
        let records = (0..batch.len()).step_by(step).map(sample).collect();
        // Nobody is there any more: then it is not missed.
        let _ = to.send(Arc::new(Samples { output: output.into(), of: batch.len(), records }));
    }

    fn close(&self) {
        let mut open = lock(&self.open);
        open.closed = true;
        open.to = None;
    }
}

impl Watcher {
    /// What comes next. Can be cancelled.
    pub async fn next(&mut self) -> Seen {
        match self.from.recv().await {
            Ok(samples) => Seen::Samples(samples),
            Err(broadcast::error::RecvError::Lagged(missed)) => Seen::Missed(missed),
            Err(broadcast::error::RecvError::Closed) => Seen::End,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.tap.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::BatchBuilder;

    fn batch(count: usize, value: &str) -> Batch {
        let mut batch = BatchBuilder::new();
        (0..count).for_each(|_| batch.push(Some(b"k"), value.as_bytes(), Some(5)));
        batch.take()
    }

    fn show(tap: &Tap, output: &str, batch: &Batch) {
        tap.show(output, batch, |_| None);
    }

    #[tokio::test]
    async fn a_watcher_sees_some_records_of_some_batches_and_the_end() {
        let taps = Taps::default();
        let tap = taps.of(&OperatorName::new("a").unwrap());
        assert!(!tap.is_watched());
        let mut watcher = tap.watch().unwrap();
        assert!(tap.is_watched());
        show(&tap, "0", &batch(1_000, &"v".repeat(2_000)));
        show(&tap, "0", &batch(1, "too soon"));
        show(&tap, "late", &batch(1, "late"));
        let Seen::Samples(first) = watcher.next().await else { panic!("samples") };
        assert_eq!((first.of, first.records.len(), &*first.output), (1_000, 10, "0"));
        assert_eq!((first.records[0].value.len(), first.records[0].value_bytes), (1_024, 2_000));
        let Seen::Samples(second) = watcher.next().await else { panic!("samples") };
        assert_eq!(&*second.output, "late");
        taps.close();
        assert_eq!(watcher.next().await, Seen::End);
        drop(watcher);
        assert!(!tap.is_watched() && tap.watch().is_none());
        assert!(taps.of(&OperatorName::new("b").unwrap()).watch().is_none());
    }

    #[tokio::test]
    async fn who_reads_slowly_misses_some_and_holds_nobody_up() {
        let taps = Taps::default();
        let tap = taps.of(&OperatorName::new("a").unwrap());
        let mut watcher = tap.watch().unwrap();
        for n in 0..WAITING * 3 {
            show(&tap, &n.to_string(), &batch(1, "v"));
        }
        assert!(matches!(watcher.next().await, Seen::Missed(missed) if missed > 0));
        assert!(matches!(watcher.next().await, Seen::Samples(_)));
    }
}

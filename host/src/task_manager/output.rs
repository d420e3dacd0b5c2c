//! A subtask's outputs: what goes to which edge.

use std::{collections::BTreeMap, fmt, future::poll_fn, pin::pin, sync::Arc, task::Poll};

use crate::{
    clock::Stopwatch,
    ids::Hex,
    metrics::{SharedMetrics, SubtaskMetrics, add},
    stream::{Batch, BatchBuilder, DeadLetter, Element, channel::Closed, exchange::EdgeOutput},
    trace::{SpanContext, Trail},
    watching::tap::Tap,
};

/// An output of a source or operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputPort {
    /// A port that the operator emits to.
    Number(u32),
    /// Records that were too late for their windows.
    Late,
    /// Rejected records.
    DeadLetters,
}

impl fmt::Display for OutputPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Late => f.write_str("late"),
            Self::DeadLetters => f.write_str("dead-letters"),
        }
    }
}

/// The outputs of a subtask.
#[derive(Debug)]
pub struct Outputs {
    edges: BTreeMap<OutputPort, Vec<EdgeOutput>>,
    metrics: SharedMetrics,
    /// The source's or operator's name, which dead letters carry.
    name: String,
    /// Shows them to whoever watches.
    tap: Arc<Tap>,
    /// The span that makes what is emitted now, if it is sampled.
    made_by: Option<SpanContext>,
}

/// Sends, and counts how long there was no room (backpressure). The clock is only looked at
/// if there is none.
async fn held_back<T>(metrics: &SubtaskMetrics, sends: impl Future<Output = T>) -> T {
    let mut sends = pin!(sends);
    let at_once = poll_fn(|context| Poll::Ready(sends.as_mut().poll(context))).await;
    if let Poll::Ready(sent) = at_once {
        return sent;
    }
    let clock = Stopwatch::start();
    let sent = sends.await;
    metrics.count_blocked(clock.elapsed());
    sent
}

impl Outputs {
    /// The edges that lead away from each port.
    #[must_use]
    pub fn new(
        edges: Vec<(OutputPort, EdgeOutput)>,
        metrics: SharedMetrics,
        name: &str,
        tap: Arc<Tap>,
    ) -> Self {
        let mut by_port: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (port, edge) in edges {
            by_port.entry(port).or_default().push(edge);
        }
        Self { edges: by_port, metrics, name: name.to_owned(), tap, made_by: None }
    }

    /// From now on, this span makes what is emitted; none that is sampled if none is given.
    pub fn made_by(&mut self, span: Option<SpanContext>) {
        self.made_by = span;
    }

    /// Whether a span that is sampled makes what is emitted now.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.made_by.is_some()
    }

    /// Sends a batch along every edge of a port. What nothing reads is counted.
    ///
    /// # Errors
    /// [`Closed`] if a reader is gone.
    pub async fn emit(&mut self, port: OutputPort, batch: Batch) -> Result<(), Closed> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.tap.is_watched() && port != OutputPort::DeadLetters {
            self.tap.show(&port.to_string(), &batch, |_| None);
        }
        let Some(edges) = self.edges.get_mut(&port) else {
            add(&self.metrics.records_unread, batch.len());
            return Ok(());
        };
        self.metrics.count_out(batch.len(), batch.bytes());
        // What came in with another span's trail goes out with this one's.
        let batch = batch.with_trail(self.made_by.map(|span| Arc::new(Trail::of(span))));
        let Some((last, others)) = edges.split_last_mut() else { return Ok(()) };
        for edge in others {
            held_back(&self.metrics, edge.send_batch(batch.clone())).await?;
        }
        held_back(&self.metrics, last.send_batch(batch)).await
    }

    /// Whether anything reads a port.
    #[must_use]
    pub fn is_read(&self, port: OutputPort) -> bool {
        self.edges.contains_key(&port)
    }

    /// Counts rejected records and sends them to the dead-letter output.
    ///
    /// # Errors
    /// [`Closed`] if a reader is gone.
    pub async fn reject(&mut self, letters: &[DeadLetter]) -> Result<(), Closed> {
        if letters.is_empty() {
            return Ok(());
        }
        add(&self.metrics.rejected, letters.len());
        self.show(letters);
        if !self.is_read(OutputPort::DeadLetters) {
            for letter in letters.iter().take(3) {
                tracing::warn!("record rejected: {}", letter.reason);
            }
            return Ok(());
        }
        let mut builder = BatchBuilder::new();
        for letter in letters {
            let value = self.encode(letter, &[]);
            builder.push(Some(&letter.key), &value, Some(letter.timestamp.unwrap_or(0)));
        }
        self.emit(OutputPort::DeadLetters, builder.take()).await
    }

    /// Counts a record that crashed the guest, and sends it to the dead-letter output
    /// with the guest's frames. If nothing reads that, it is gone: whoever found it has
    /// said so.
    ///
    /// # Errors
    /// [`Closed`] if a reader is gone.
    pub async fn reject_with(
        &mut self,
        letter: &DeadLetter,
        backtrace: &[String],
    ) -> Result<(), Closed> {
        add(&self.metrics.rejected, 1);
        self.show(std::slice::from_ref(letter));
        if !self.is_read(OutputPort::DeadLetters) {
            return Ok(());
        }
        let mut builder = BatchBuilder::new();
        let value = self.encode(letter, backtrace);
        builder.push(Some(&letter.key), &value, Some(letter.timestamp.unwrap_or(0)));
        self.emit(OutputPort::DeadLetters, builder.take()).await
    }

    /// Shows rejected records as they came, with why.
    fn show(&self, letters: &[DeadLetter]) {
        if !self.tap.is_watched() {
            return;
        }
        let mut builder = BatchBuilder::new();
        for letter in letters {
            builder.push(Some(&letter.key), &letter.value, Some(letter.timestamp.unwrap_or(0)));
        }
        let reason = |i: usize| letters.get(i).map(|letter| letter.reason.clone());
        self.tap.show(&OutputPort::DeadLetters.to_string(), &builder.take(), reason);
    }

    /// A dead letter as a record: a JSON object. Bytes that are no UTF-8 are
    /// given in hexadecimal, under `value_hex`.
    fn encode(&self, letter: &DeadLetter, backtrace: &[String]) -> Vec<u8> {
        let mut object = serde_json::Map::new();
        object.insert("operator".into(), self.name.clone().into());
        object.insert("reason".into(), letter.reason.clone().into());
        if !backtrace.is_empty() {
            object.insert("backtrace".into(), backtrace.into());
        }
        for (name, bytes) in [("key", &letter.key), ("value", &letter.value)] {
            match std::str::from_utf8(bytes) {
                Ok(text) => object.insert(name.into(), text.into()),
                Err(_) => object.insert(format!("{name}_hex"), Hex(bytes).to_string().into()),
            };
        }
        if let Some(timestamp) = letter.timestamp {
            object.insert("timestamp".into(), timestamp.into());
        }
        serde_json::Value::Object(object).to_string().into_bytes()
    }

    /// Sends a control element along every edge.
    ///
    /// # Errors
    /// [`Closed`] if a reader is gone.
    pub async fn broadcast(&mut self, element: Element) -> Result<(), Closed> {
        for edge in self.edges.values_mut().flatten() {
            held_back(&self.metrics, edge.broadcast(&element)).await?;
        }
        Ok(())
    }
}

//! What an operator makes of a batch. An [`Outcome`] collects records by output
//! port and copies as little as it can: whatever an emitted record has in
//! common with the record that it stems from stays on the host's side.

use serde::Serialize;

use crate::{
    Batch, Column, Error, Record,
    append::append,
    contract::{Emission, Origin, Rejection},
    keyed::Firing,
};

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Record<'_> {}
    impl Sealed for super::Firing<'_> {}
    impl Sealed for super::Nothing {}
}

/// What an emitted record may stem from: a [`Record`], a [`Firing`], or nothing.
pub trait Source: sealed::Sealed {
    /// The index that the host knows it by; none if it stems from nothing.
    #[doc(hidden)]
    fn row(&self) -> Option<u32>;
    /// The key that is inherited.
    #[doc(hidden)]
    fn origin_key(&self) -> &[u8];
    /// The value that is inherited.
    #[doc(hidden)]
    fn origin_value(&self) -> &[u8];
    /// The event time that is inherited.
    #[doc(hidden)]
    fn origin_time(&self) -> Option<i64>;
}

impl Source for Record<'_> {
    fn row(&self) -> Option<u32> {
        Some(self.index)
    }
    fn origin_key(&self) -> &[u8] {
        self.key()
    }
    fn origin_value(&self) -> &[u8] {
        self.value()
    }
    fn origin_time(&self) -> Option<i64> {
        self.timestamp()
    }
}

impl Source for Firing<'_> {
    fn row(&self) -> Option<u32> {
        Some(self.index)
    }
    fn origin_key(&self) -> &[u8] {
        self.key
    }
    fn origin_value(&self) -> &[u8] {
        &[]
    }
    fn origin_time(&self) -> Option<i64> {
        Some(self.time)
    }
}

/// The source of a record that stems from nothing; see [`Outcome::emit_fresh`].
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Source for Nothing {
    fn row(&self) -> Option<u32> {
        None
    }
    fn origin_key(&self) -> &[u8] {
        &[]
    }
    fn origin_value(&self) -> &[u8] {
        &[]
    }
    fn origin_time(&self) -> Option<i64> {
        None
    }
}

/// A run of records for one port that have the same columns set afresh.
#[derive(Debug)]
struct Segment {
    rows: Rows,
    keys: Option<Column>,
    values: Option<Column>,
    timestamps: Option<Vec<i64>>,
}

#[derive(Debug)]
enum Rows {
    Fresh,
    All,
    Some(Vec<u32>),
}

/// Which columns a record sets afresh.
#[derive(Debug, Clone, Copy)]
struct Given {
    key: bool,
    value: bool,
    time: bool,
}

/// What an operator makes of a batch: records for its output ports, and records
/// that it refuses.
///
/// ```
/// use cofferdam_sdk::{Batch, Column, Outcome};
///
/// let batch = Batch::new(3, Column::absent(), ["7", "x", "12"].iter().collect(), vec![]);
/// let mut out = Outcome::new(&batch);
/// for record in batch.records() {
///     match record.value_str()?.parse::<i64>() {
///         Err(e) => out.reject(&record, format!("not a number: {e}")),
///         Ok(n) if n < 10 => out.keep(&record),               // port 0, no copy
///         Ok(n) => out.emit(&record).port(1).json(&(n / 10))?, // key and time are inherited
///     }
/// }
/// # Ok::<(), cofferdam_sdk::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Outcome {
    len: u32,
    /// How many bytes of values to make room for: as many as came in, which is
    /// the best guess at what goes out.
    value_bytes: usize,
    ports: Vec<(u32, Vec<Segment>)>,
    rejected: Vec<Rejection>,
}

impl Outcome {
    /// An outcome for this batch. The SDK makes one for every call; you need
    /// this in tests only.
    #[must_use]
    pub fn new(batch: &Batch) -> Self {
        Self::for_rows(batch.len, batch.values.data.len())
    }

    pub(crate) fn for_rows(len: u32, value_bytes: usize) -> Self {
        // Not too much of a small memory at once.
        const MOST: usize = 128 * 1024;
        Self { len, value_bytes: value_bytes.min(MOST), ports: Vec::new(), rejected: Vec::new() }
    }

    /// Emits the record as it is to port 0.
    #[inline]
    pub fn keep(&mut self, record: &Record<'_>) {
        self.keep_to(0, record);
    }

    /// Emits the record as it is to a port. It costs four bytes.
    #[inline]
    pub fn keep_to(&mut self, port: u32, record: &Record<'_>) {
        self.emit(record).port(port).unchanged();
    }

    /// Emits the whole batch as it is to a port, at no cost a record.
    pub fn keep_all(&mut self, port: u32) {
        let segment = Segment { rows: Rows::All, keys: None, values: None, timestamps: None };
        self.port(port).push(segment);
    }

    /// Emits a record that stems from `source`: whatever you do not set comes
    /// from there. From a [`Firing`], that is the group's key and the firing's
    /// time. Goes to port 0 unless [`Emit::port`] says otherwise.
    #[inline]
    pub fn emit<'o, 's, S: Source>(&'o mut self, source: &'s S) -> Emit<'o, 's, S> {
        Emit { out: self, source, port: 0, key: None, timestamp: None }
    }

    /// Emits a record that stems from nothing, as in
    /// [`Processor::finish`](crate::Processor::finish).
    #[inline]
    pub fn emit_fresh<'s>(&mut self) -> Emit<'_, 's, Nothing> {
        Emit { out: self, source: &Nothing, port: 0, key: None, timestamp: None }
    }

    /// Refuses a record: it goes to the dead letters with the reason, and the
    /// other records of the batch go on. Write the reason for the person who
    /// reads the dead letters.
    pub fn reject(&mut self, record: &Record<'_>, reason: impl Into<String>) {
        self.rejected.push(Rejection { index: record.index, reason: reason.into() });
    }

    #[inline]
    fn port(&mut self, port: u32) -> &mut Vec<Segment> {
        // Most operators have one port.
        if self.ports.first().is_some_and(|(first, _)| *first == port) {
            return &mut self.ports[0].1;
        }
        self.other_port(port)
    }

    fn other_port(&mut self, port: u32) -> &mut Vec<Segment> {
        let known = self.ports.iter().position(|(p, _)| *p == port);
        let at = known.unwrap_or_else(|| {
            self.ports.push((port, Vec::new()));
            self.ports.len() - 1
        });
        &mut self.ports[at].1
    }

    /// The segment that a record goes to, with everything but its value filled
    /// in. A record joins the port's last segment if that sets at least the
    /// columns that the record sets; columns beyond are copied from its source,
    /// which is cheaper than another segment.
    #[inline]
    fn segment<S: Source>(&mut self, emit: &EmitParts<'_, S>, value: bool) -> &mut Segment {
        let given = Given { key: emit.key.is_some(), value, time: emit.timestamp.is_some() };
        let (len, value_bytes) = (self.len, self.value_bytes);
        let segments = self.port(emit.port);
        if !segments.last().is_some_and(|s| s.takes(emit.source, given)) {
            segments.push(Segment::begin(emit.source.row().is_some(), given, len, value_bytes));
        }
        let last = segments.len() - 1;
        let segment = &mut segments[last];
        if let (Rows::Some(rows), Some(row)) = (&mut segment.rows, emit.source.row()) {
            rows.push(row);
        }
        if let Some(keys) = &mut segment.keys {
            keys.push(emit.key.unwrap_or_else(|| emit.source.origin_key()));
        }
        if let Some(times) = &mut segment.timestamps {
            times.push(emit.timestamp.or_else(|| emit.source.origin_time()).unwrap_or_default());
        }
        segment
    }

    pub(crate) fn into_parts(self) -> (Vec<Emission>, Vec<Rejection>) {
        let len = self.len;
        let emissions = self
            .ports
            .into_iter()
            .flat_map(|(port, segments)| segments.into_iter().map(move |s| (port, s)))
            .map(|(port, s)| Emission {
                port,
                origin: match s.rows {
                    Rows::Fresh => Origin::Fresh,
                    Rows::All => Origin::Same,
                    Rows::Some(rows) if is_all(&rows, len) => Origin::Same,
                    Rows::Some(rows) => Origin::Keep(rows),
                },
                keys: s.keys,
                values: s.values,
                timestamps: s.timestamps,
            })
            .collect();
        (emissions, self.rejected)
    }
}

/// Whether these are all rows of a batch, in order.
fn is_all(rows: &[u32], len: u32) -> bool {
    rows.len() == len as usize && rows.iter().zip(0..len).all(|(row, i)| *row == i)
}

impl Segment {
    fn begin(stems: bool, given: Given, len: u32, value_bytes: usize) -> Self {
        let room = len as usize;
        Self {
            rows: if stems { Rows::Some(Vec::with_capacity(room)) } else { Rows::Fresh },
            keys: given.key.then(|| Column::with_capacity(room, 0)),
            values: given.value.then(|| Column::with_capacity(room, value_bytes)),
            timestamps: given.time.then(|| Vec::with_capacity(room)),
        }
    }

    #[inline]
    fn takes<S: Source>(&self, source: &S, given: Given) -> bool {
        let origin_fits = match self.rows {
            Rows::Fresh => source.row().is_none(),
            Rows::Some(_) => source.row().is_some(),
            Rows::All => false,
        };
        origin_fits
            && (!given.key || self.keys.is_some())
            && (!given.value || self.values.is_some())
            && match &self.timestamps {
                None => !given.time,
                // There is no such thing as a missing time within a column.
                Some(_) => given.time || source.origin_time().is_some(),
            }
    }
}

/// A record on its way out: set what is new, then say what its value is.
#[derive(Debug)]
#[must_use = "a record is emitted by `value`, `value_with`, `json` or `unchanged`"]
pub struct Emit<'o, 's, S> {
    out: &'o mut Outcome,
    source: &'s S,
    port: u32,
    key: Option<&'s [u8]>,
    timestamp: Option<i64>,
}

struct EmitParts<'s, S> {
    source: &'s S,
    port: u32,
    key: Option<&'s [u8]>,
    timestamp: Option<i64>,
}

impl<'o, 's, S: Source> Emit<'o, 's, S> {
    /// The output port, from 0.
    pub fn port(mut self, port: u32) -> Self {
        self.port = port;
        self
    }

    /// Sets the key.
    pub fn key(mut self, key: &'s [u8]) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets the event time, in milliseconds since 1970.
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    fn split(self) -> (&'o mut Outcome, EmitParts<'s, S>) {
        let Self { out, source, port, key, timestamp } = self;
        (out, EmitParts { source, port, key, timestamp })
    }

    /// Emits with the source's value (an empty one, if there is no source).
    #[inline]
    pub fn unchanged(self) {
        let (out, parts) = self.split();
        let segment = out.segment(&parts, false);
        if let Some(values) = &mut segment.values {
            values.push(parts.source.origin_value());
        } else if matches!(segment.rows, Rows::Fresh) {
            // Nothing else counts the records of a fresh segment.
            let mut values = Column::with_capacity(1, 0);
            values.push(&[]);
            segment.values = Some(values);
        }
    }

    /// Emits with this value.
    #[inline]
    pub fn value(self, value: &[u8]) {
        self.value_with(|out| append(out, value));
    }

    /// Emits with a value that is written straight into the output. Append to
    /// the buffer; other records' values lie before.
    #[inline]
    pub fn value_with(self, write: impl FnOnce(&mut Vec<u8>)) {
        let (out, parts) = self.split();
        if let Some(values) = &mut out.segment(&parts, true).values {
            values.push_with(write);
        }
    }

    /// Emits with a value written as JSON.
    ///
    /// # Errors
    /// If the type cannot be written as JSON (a map whose keys are not text, for
    /// instance). The value is then cut short: fail the batch.
    #[inline]
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        let mut result = Ok(());
        self.value_with(|out| result = serde_json::to_writer(out, value));
        Ok(result?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(n: usize) -> Batch {
        let keys = (0..n).map(|i| format!("k{i}")).collect();
        let values = (0..n).map(|i| format!("v{i}")).collect();
        Batch::new(n, keys, values, (0..n as i64).collect())
    }

    #[test]
    fn keeping_every_record_in_order_becomes_same() {
        let batch = batch(3);
        let mut out = Outcome::new(&batch);
        batch.records().for_each(|r| out.keep(&r));
        let (emissions, _) = out.into_parts();
        assert_eq!(emissions.len(), 1);
        assert_eq!(emissions[0].origin, Origin::Same);
        assert!(emissions[0].keys.is_none() && emissions[0].values.is_none());
    }

    #[test]
    fn keeping_some_or_out_of_order_stays_keep() {
        let batch = batch(3);
        let mut out = Outcome::new(&batch);
        for i in [2, 1, 0] {
            out.keep(&batch.record(i));
        }
        out.keep_to(4, &batch.record(1));
        let (emissions, _) = out.into_parts();
        assert_eq!(emissions[0].origin, Origin::Keep(vec![2, 1, 0]));
        assert_eq!((emissions[1].port, &emissions[1].origin), (4, &Origin::Keep(vec![1])));
    }

    #[test]
    fn new_values_inherit_keys_and_times() {
        let batch = batch(2);
        let mut out = Outcome::new(&batch);
        batch.records().for_each(|r| out.emit(&r).value(b"new"));
        let (emissions, _) = out.into_parts();
        assert_eq!(emissions.len(), 1);
        assert_eq!(emissions[0].origin, Origin::Same);
        assert_eq!(emissions[0].values, Some(["new", "new"].iter().collect()));
        assert!(emissions[0].keys.is_none() && emissions[0].timestamps.is_none());
    }

    #[test]
    fn alternating_kept_and_mapped_records_make_two_segments_at_most() {
        let batch = batch(100);
        let mut out = Outcome::new(&batch);
        for r in batch.records() {
            if r.index() % 2 == 0 { out.keep(&r) } else { out.emit(&r).value(b"new") }
        }
        let (emissions, _) = out.into_parts();
        assert_eq!(emissions.len(), 2);
        assert_eq!(emissions[1].values.as_ref().map(|v| v.get(1)), Some(&b"v2"[..]));
    }

    #[test]
    fn records_from_nothing_never_mix_with_kept_ones() {
        let batch = batch(1);
        let mut out = Outcome::new(&batch);
        out.emit_fresh().value(b"a");
        out.emit_fresh().unchanged();
        out.keep(&batch.record(0));
        let (emissions, _) = out.into_parts();
        assert_eq!(emissions[0].origin, Origin::Fresh);
        assert_eq!(emissions[0].values, Some(["a", ""].iter().collect()));
        assert_eq!(emissions[1].origin, Origin::Same);
    }
}

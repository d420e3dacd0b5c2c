//! Batches: records as columns. Columns are shared by reference count, so that
//! an operator that changes only the values costs no copy of the keys.

use std::{ops::Range, sync::Arc};

use crate::trace::Trail;

/// How many records a source should put into a batch.
pub const TARGET_RECORDS: usize = 1024;
/// How many bytes of values a source should put into a batch.
pub const TARGET_BYTES: usize = 64 * 1024;
/// How much key and value data a single column may hold: offsets are 32 bits.
pub const MAX_COLUMN_BYTES: usize = u32::MAX as usize;

/// A column of byte strings in Arrow's variable-size binary layout: entry `i`
/// is `data[offsets[i]..offsets[i + 1]]`. Never absent: it has `n + 1` offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    data: Vec<u8>,
    offsets: Vec<u32>,
}

/// Why two vectors are not a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedColumn {
    /// The first offset is not 0.
    #[error("the first offset is {0}, not 0")]
    FirstOffset(u32),
    /// An offset is smaller than the one before it.
    #[error("offset {index} is {offset}, less than the one before it ({before})")]
    Decreasing {
        /// Where.
        index: usize,
        /// The offset there.
        offset: u32,
        /// The offset before.
        before: u32,
    },
    /// The last offset is not the length of the data.
    #[error("the last offset is {last}, but there are {len} bytes of data")]
    LastOffset {
        /// The last offset.
        last: u32,
        /// The data's length.
        len: usize,
    },
}

impl Default for Column {
    fn default() -> Self {
        Self::with_capacity(0, 0)
    }
}

impl Column {
    /// An empty column with room for so many entries and bytes.
    #[must_use]
    pub fn with_capacity(entries: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(entries + 1);
        offsets.push(0);
        Self { data: Vec::with_capacity(bytes), offsets }
    }

    /// Takes data and offsets that came from elsewhere.
    ///
    /// # Errors
    /// If the offsets do not begin at 0, decrease, or do not end at the data's
    /// length.
    pub fn from_parts(data: Vec<u8>, offsets: Vec<u32>) -> Result<Self, MalformedColumn> {
        let first = offsets.first().copied().unwrap_or(u32::MAX);
        if first != 0 {
            return Err(MalformedColumn::FirstOffset(first));
        }
        // One pass without branches inside, since every batch comes this way.
        let sorted = offsets.windows(2).fold(true, |ok, w| ok & (w[0] <= w[1]));
        if !sorted && let Some(i) = offsets.windows(2).position(|w| w[0] > w[1]) {
            return Err(MalformedColumn::Decreasing {
                index: i + 1,
                offset: offsets[i + 1],
                before: offsets[i],
            });
        }
        let last = offsets[offsets.len() - 1];
        if last as usize != data.len() {
            return Err(MalformedColumn::LastOffset { last, len: data.len() });
        }
        Ok(Self { data, offsets })
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entry `i`.
    ///
    /// # Panics
    /// If there is no such entry.
    #[must_use]
    pub fn get(&self, i: usize) -> &[u8] {
        &self.data[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// All entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.offsets.windows(2).map(|w| &self.data[w[0] as usize..w[1] as usize])
    }

    /// Appends an entry.
    ///
    /// # Panics
    /// If the column would pass [`MAX_COLUMN_BYTES`].
    pub fn push(&mut self, entry: &[u8]) {
        self.data.extend_from_slice(entry);
        self.close_entry();
    }

    /// Appends an entry by writing into the data directly: no intermediate copy.
    ///
    /// # Panics
    /// If `write` makes the data shorter, or the column would pass
    /// [`MAX_COLUMN_BYTES`].
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.data.len();
        write(&mut self.data);
        assert!(self.data.len() >= before, "an entry can only add to a column");
        self.close_entry();
    }

    fn close_entry(&mut self) {
        let end = u32::try_from(self.data.len()).expect("a column holds less than 4 GiB");
        self.offsets.push(end);
    }

    /// The entries' bytes, one after the other.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Where entries begin and end: one more than there are entries.
    #[must_use]
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// Heap bytes in use.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.data.len() + self.offsets.len() * 4
    }

    /// The entries at the given indexes, in their order.
    ///
    /// # Panics
    /// If an index is out of range: check indexes that come from a guest first.
    #[must_use]
    pub fn gather(&self, indexes: &[u32]) -> Self {
        let total: usize = indexes
            .iter()
            .map(|&i| (self.offsets[i as usize + 1] - self.offsets[i as usize]) as usize)
            .sum();
        let mut out = Self::with_capacity(indexes.len(), total);
        for &i in indexes {
            out.push(self.get(i as usize));
        }
        out
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Column {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let entries = entries.into_iter();
        let mut column = Self::with_capacity(entries.size_hint().0, 0);
        for entry in entries {
            column.push(entry.as_ref());
        }
        column
    }
}

/// A batch of records. A column that is `None` is absent: no record has a key,
/// a value, or an event time. Cloning copies references, never records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    len: usize,
    keys: Option<Arc<Column>>,
    values: Option<Arc<Column>>,
    timestamps: Option<Arc<Vec<i64>>>,
    /// What led to it, if it is sampled; boxed, since hardly any is.
    trail: Option<Arc<Trail>>,
}

impl Batch {
    /// A batch of `len` records.
    ///
    /// # Panics
    /// If a column that is present has another number of entries: check what
    /// comes from a guest first.
    #[must_use]
    pub fn new(
        len: usize,
        keys: Option<Arc<Column>>,
        values: Option<Arc<Column>>,
        timestamps: Option<Arc<Vec<i64>>>,
    ) -> Self {
        assert!(keys.as_ref().is_none_or(|c| c.len() == len), "one key a record");
        assert!(values.as_ref().is_none_or(|c| c.len() == len), "one value a record");
        assert!(timestamps.as_ref().is_none_or(|t| t.len() == len), "one time a record");
        Self { len, keys, values, timestamps, trail: None }
    }

    /// What led to it, if it is sampled.
    #[must_use]
    pub fn trail(&self) -> Option<&Trail> {
        self.trail.as_deref()
    }

    /// The same records, which something else led to.
    #[must_use]
    pub fn with_trail(self, trail: Option<Arc<Trail>>) -> Self {
        Self { trail, ..self }
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The keys, if the stream has any.
    #[must_use]
    pub fn keys(&self) -> Option<&Arc<Column>> {
        self.keys.as_ref()
    }

    /// The values, if the stream has any.
    #[must_use]
    pub fn values(&self) -> Option<&Arc<Column>> {
        self.values.as_ref()
    }

    /// Event times in milliseconds since 1970, if the stream has any.
    #[must_use]
    pub fn timestamps(&self) -> Option<&Arc<Vec<i64>>> {
        self.timestamps.as_ref()
    }

    /// The key of record `i`; empty where there is none.
    #[must_use]
    pub fn key(&self, i: usize) -> &[u8] {
        self.keys.as_ref().map_or(&[], |c| c.get(i))
    }

    /// The value of record `i`; empty where there is none.
    #[must_use]
    pub fn value(&self, i: usize) -> &[u8] {
        self.values.as_ref().map_or(&[], |c| c.get(i))
    }

    /// The event time of record `i`.
    #[must_use]
    pub fn timestamp(&self, i: usize) -> Option<i64> {
        self.timestamps.as_ref().map(|t| t[i])
    }

    /// The same records with a key column.
    ///
    /// # Panics
    /// If it has another number of entries.
    #[must_use]
    pub fn with_keys(self, keys: Column) -> Self {
        let trail = self.trail;
        Self::new(self.len, Some(Arc::new(keys)), self.values, self.timestamps).with_trail(trail)
    }

    /// Bytes that the batch holds (shared columns count in every batch).
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.keys.as_ref().map_or(0, |c| c.bytes())
            + self.values.as_ref().map_or(0, |c| c.bytes())
            + self.timestamps.as_ref().map_or(0, |t| t.len() * 8)
    }

    /// The records of a range. All of them are the batch itself, not a copy.
    ///
    /// # Panics
    /// If the range is not within the batch.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        if range == (0..self.len) {
            return self.clone();
        }
        let index = |i| u32::try_from(i).expect("a batch has fewer than 2^32 records");
        self.gather(&range.map(index).collect::<Vec<_>>())
    }

    /// The records at the given indexes, in their order.
    ///
    /// # Panics
    /// If an index is out of range.
    #[must_use]
    pub fn gather(&self, indexes: &[u32]) -> Self {
        Self {
            len: indexes.len(),
            keys: self.keys.as_ref().map(|c| Arc::new(c.gather(indexes))),
            values: self.values.as_ref().map(|c| Arc::new(c.gather(indexes))),
            timestamps: self
                .timestamps
                .as_ref()
                .map(|t| Arc::new(indexes.iter().map(|&i| t[i as usize]).collect())),
            trail: self.trail.clone(),
        }
    }
}

/// Builds a batch record by record. The first record decides which columns
/// there are.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    len: usize,
    keys: Option<Column>,
    values: Column,
    timestamps: Option<Vec<i64>>,
}

impl BatchBuilder {
    /// A builder with room for a batch of the target size.
    #[must_use]
    pub fn new() -> Self {
        Self {
            len: 0,
            keys: None,
            values: Column::with_capacity(TARGET_RECORDS, TARGET_BYTES),
            timestamps: None,
        }
    }

    /// Adds a record.
    ///
    /// # Panics
    /// If records with and without key or event time are mixed.
    pub fn push(&mut self, key: Option<&[u8]>, value: &[u8], timestamp: Option<i64>) {
        self.push_with(key, timestamp, |data| data.extend_from_slice(value));
    }

    /// Adds a record whose value is written into the batch directly.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    pub fn push_with(
        &mut self,
        key: Option<&[u8]>,
        timestamp: Option<i64>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.len == 0 {
            self.keys = key.map(|_| Column::with_capacity(TARGET_RECORDS, TARGET_RECORDS * 16));
            self.timestamps = timestamp.map(|_| Vec::with_capacity(TARGET_RECORDS));
        }
        assert_eq!(self.keys.is_some(), key.is_some(), "a key in every record or in none");
        assert_eq!(
            self.timestamps.is_some(),
            timestamp.is_some(),
            "a time in every record or in none"
        );
        if let (Some(keys), Some(key)) = (&mut self.keys, key) {
            keys.push(key);
        }
        if let (Some(times), Some(time)) = (&mut self.timestamps, timestamp) {
            times.push(time);
        }
        self.values.push_with(write);
        self.len += 1;
    }

    /// Number of records so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no record was added yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the batch has reached its target size.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len >= TARGET_RECORDS || self.values.data().len() >= TARGET_BYTES
    }

    /// The batch; the builder is empty again.
    #[must_use]
    pub fn take(&mut self) -> Batch {
        let built = std::mem::take(self);
        *self = Self::new();
        Batch::new(
            built.len,
            built.keys.map(Arc::new),
            Some(Arc::new(built.values)),
            built.timestamps.map(Arc::new),
        )
    }
}

/// A record that could not be processed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// What was wrong, with the place (file, line, field) where there is one.
    pub reason: String,
    /// The record's key; empty where it has none.
    pub key: Vec<u8>,
    /// The record's value, or the raw input that could not be parsed.
    pub value: Vec<u8>,
    /// The record's event time, where it is known.
    pub timestamp: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_columns_are_refused_with_the_place() {
        let bad = |data: &[u8], offsets: &[u32]| {
            Column::from_parts(data.to_vec(), offsets.to_vec()).unwrap_err()
        };
        assert_eq!(bad(b"", &[]), MalformedColumn::FirstOffset(u32::MAX));
        assert_eq!(bad(b"ab", &[1, 2]), MalformedColumn::FirstOffset(1));
        assert_eq!(
            bad(b"abc", &[0, 2, 1, 3]),
            MalformedColumn::Decreasing { index: 2, offset: 1, before: 2 }
        );
        assert_eq!(bad(b"abc", &[0, 2]), MalformedColumn::LastOffset { last: 2, len: 3 });
        assert!(Column::from_parts(b"abc".to_vec(), vec![0, 0, 3]).is_ok());
    }

    #[test]
    fn gather_takes_records_in_the_given_order() {
        let mut builder = BatchBuilder::new();
        for i in 0..4_u8 {
            builder.push(Some(&[i]), &[i, i], Some(i64::from(i)));
        }
        let got = builder.take().gather(&[3, 0, 0]);
        assert_eq!(got.len(), 3);
        assert_eq!(got.value(0), [3, 3]);
        assert_eq!(got.key(1), [0]);
        assert_eq!(**got.timestamps().unwrap(), [3, 0, 0]);
        assert!(builder.is_empty());
    }
}

//! Records as an operator reads them: columns, batches, and views of single
//! records that borrow from them. What an operator writes is in `outcome.rs`.

use serde::de::Deserialize;

use crate::{Error, append::append};

/// A column of byte strings in Arrow's variable-size binary layout: entry `i`
/// is `data[offsets[i]..offsets[i + 1]]`. A column without offsets is *absent*:
/// every entry is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Column {
    pub(crate) data: Vec<u8>,
    pub(crate) offsets: Vec<u32>,
}

impl Column {
    /// The column that is not there.
    #[must_use]
    pub fn absent() -> Self {
        Self::default()
    }

    /// An empty column that is there, with room for so many entries and bytes.
    #[must_use]
    pub fn with_capacity(entries: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(entries + 1);
        offsets.push(0);
        Self { data: Vec::with_capacity(bytes), offsets }
    }

    /// A column from its parts as the contract defines them. The host has
    /// checked them; [`get`](Self::get) panics if they are no column.
    #[must_use]
    pub fn from_parts(data: Vec<u8>, offsets: Vec<u32>) -> Self {
        Self { data, offsets }
    }

    /// The parts: data and offsets.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Vec<u32>) {
        (self.data, self.offsets)
    }

    /// Whether the column is absent.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Number of entries; 0 if the column is absent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entry `i`; empty if the column is absent.
    ///
    /// # Panics
    /// If the column is there and has no such entry.
    #[must_use]
    #[inline]
    pub fn get(&self, i: usize) -> &[u8] {
        if self.offsets.is_empty() {
            return &[];
        }
        &self.data[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// All entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.offsets.windows(2).map(|w| &self.data[w[0] as usize..w[1] as usize])
    }

    /// Appends an entry.
    ///
    /// # Panics
    /// If the column would hold 4 GiB.
    #[inline]
    pub fn push(&mut self, entry: &[u8]) {
        append(&mut self.data, entry);
        self.close_entry();
    }

    /// Appends an entry by writing behind what is there.
    #[inline]
    pub(crate) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.data);
        self.close_entry();
    }

    #[inline]
    pub(crate) fn close_entry(&mut self) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        let end = u32::try_from(self.data.len()).expect("a column holds less than 4 GiB");
        self.offsets.push(end);
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

/// A batch of records that came in by one input port.
///
/// ```
/// use cofferdam_sdk::{Batch, Column};
///
/// let batch = Batch::new(2, Column::absent(), ["north", "south"].into_iter().collect(), vec![10, 20]);
/// let longest = batch.records().map(|r| r.value().len()).max();
/// assert_eq!(longest, Some(5));
/// assert_eq!(batch.record(1).timestamp(), Some(20));
/// assert_eq!(batch.record(1).key(), b"");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    pub(crate) len: u32,
    pub(crate) input: u32,
    pub(crate) keys: Column,
    pub(crate) values: Column,
    pub(crate) timestamps: Vec<i64>,
}

impl Batch {
    /// A batch of `len` records from input port 0. A column may be absent and
    /// `timestamps` empty.
    ///
    /// # Panics
    /// If a column that is there has another number of entries.
    #[must_use]
    pub fn new(len: usize, keys: Column, values: Column, timestamps: Vec<i64>) -> Self {
        assert!(keys.is_absent() || keys.len() == len, "one key a record");
        assert!(values.is_absent() || values.len() == len, "one value a record");
        assert!(timestamps.is_empty() || timestamps.len() == len, "one time a record");
        let len = u32::try_from(len).expect("a batch holds less than 2^32 records");
        Self { len, input: 0, keys, values, timestamps }
    }

    /// The same records, from this input port.
    #[must_use]
    pub fn with_input(mut self, input: u32) -> Self {
        self.input = input;
        self
    }

    /// The input port that the records came in by, from 0.
    #[must_use]
    pub fn input(&self) -> u32 {
        self.input
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Record `i`.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn record(&self, i: usize) -> Record<'_> {
        assert!(i < self.len(), "record {i} of a batch of {}", self.len);
        #[expect(clippy::cast_possible_truncation, reason = "less than len, which is a u32")]
        Record { batch: self, index: i as u32 }
    }

    /// The records, in order. Nothing is copied.
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record<'_>> + Clone {
        (0..self.len).map(|index| Record { batch: self, index })
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &Column {
        &self.keys
    }

    /// The values.
    #[must_use]
    pub fn values(&self) -> &Column {
        &self.values
    }

    /// Event times in milliseconds since 1970; empty if the stream has none.
    #[must_use]
    pub fn timestamps(&self) -> &[i64] {
        &self.timestamps
    }
}

/// One record of a batch: a view that copies nothing.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) index: u32,
}

impl<'a> Record<'a> {
    /// The record's index in its batch.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The input port that the record came in by, from 0.
    #[must_use]
    pub fn input(&self) -> u32 {
        self.batch.input
    }

    /// The key; empty if the stream has none.
    #[must_use]
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        self.batch.keys.get(self.index as usize)
    }

    /// The value; empty if the stream has none.
    #[must_use]
    #[inline]
    pub fn value(&self) -> &'a [u8] {
        self.batch.values.get(self.index as usize)
    }

    /// Event time in milliseconds since 1970, if the stream has any.
    #[must_use]
    #[inline]
    pub fn timestamp(&self) -> Option<i64> {
        self.batch.timestamps.get(self.index as usize).copied()
    }

    /// The value as text.
    ///
    /// # Errors
    /// If it is not UTF-8; the message says where.
    pub fn value_str(&self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.value()).map_err(|e| {
            Error::new(format!("the value is not UTF-8 from byte {}", e.valid_up_to()))
        })
    }

    /// The value, read as JSON into a type of yours, which may borrow from it.
    /// For one or a few fields of an object, [`crate::json`] is faster.
    ///
    /// # Errors
    /// If the value is not JSON or does not fit the type.
    ///
    /// ```
    /// # use cofferdam_sdk::{Batch, Column};
    /// #[derive(serde::Deserialize)]
    /// struct Reading<'a> {
    ///     sensor: &'a str,
    ///     celsius: f64,
    /// }
    /// let values = [r#"{"sensor":"roof","celsius":-3.5}"#];
    /// let batch = Batch::new(1, Column::absent(), values.iter().collect(), vec![]);
    /// let reading: Reading = batch.record(0).json()?;
    /// assert_eq!((reading.sensor, reading.celsius), ("roof", -3.5));
    /// # Ok::<(), cofferdam_sdk::Error>(())
    /// ```
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, Error> {
        serde_json::from_slice(self.value())
            .map_err(|e| Error::new(format!("not as expected: {e}")))
    }
}

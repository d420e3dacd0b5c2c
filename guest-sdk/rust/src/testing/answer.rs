//! What came back from an operator, with origins resolved as the host does it.

use std::collections::BTreeMap;

use crate::{
    Column, Error,
    contract::{Emission, Origin, Rejection},
};

/// An emitted record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The key; empty if there is none.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// Event time in milliseconds since 1970, if there is any.
    pub timestamp: Option<i64>,
}

/// A record that the operator refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The record's value.
    pub value: Vec<u8>,
    /// Why.
    pub reason: String,
}

/// What an operator answered to one or more calls.
///
/// Its methods are for assertions: where text or JSON is asked for and something
/// else was emitted, they panic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    outputs: BTreeMap<u32, Vec<Output>>,
    /// Refused records, in order.
    pub rejected: Vec<Rejected>,
    /// Values of the records that came too late for their windows, and never
    /// reached the operator.
    pub late: Vec<Vec<u8>>,
    /// Values that were copied out of the operator, as opposed to kept.
    pub values_written: usize,
}

/// The columns that emissions may refer to.
pub(super) struct Origins<'a> {
    pub(super) len: usize,
    pub(super) keys: &'a Column,
    pub(super) values: &'a Column,
    pub(super) timestamps: &'a [i64],
}

impl Answer {
    /// The records that were emitted to a port, in order.
    #[must_use]
    pub fn records(&self, port: u32) -> &[Output] {
        self.outputs.get(&port).map_or(&[], Vec::as_slice)
    }

    /// The values that were emitted to a port, as text.
    ///
    /// # Panics
    /// If one is not UTF-8.
    #[must_use]
    pub fn texts(&self, port: u32) -> Vec<String> {
        let text = |r: &Output| String::from_utf8(r.value.clone()).expect("a value is UTF-8");
        self.records(port).iter().map(text).collect()
    }

    /// The keys of the records that were emitted to a port, as text.
    ///
    /// # Panics
    /// If one is not UTF-8.
    #[must_use]
    pub fn keys(&self, port: u32) -> Vec<String> {
        let text = |r: &Output| String::from_utf8(r.key.clone()).expect("a key is UTF-8");
        self.records(port).iter().map(text).collect()
    }

    /// The values that were emitted to a port, as JSON.
    ///
    /// # Panics
    /// If one is not JSON.
    #[must_use]
    pub fn json(&self, port: u32) -> Vec<serde_json::Value> {
        let json = |r: &Output| {
            serde_json::from_slice(&r.value).unwrap_or_else(|e| {
                panic!("`{}` is not JSON: {e}", String::from_utf8_lossy(&r.value))
            })
        };
        self.records(port).iter().map(json).collect()
    }

    /// The reasons of the refused records.
    #[must_use]
    pub fn reasons(&self) -> Vec<&str> {
        self.rejected.iter().map(|r| r.reason.as_str()).collect()
    }

    /// Everything that `later` holds, after what is here.
    pub(super) fn append(&mut self, later: Self) {
        for (port, records) in later.outputs {
            self.outputs.entry(port).or_default().extend(records);
        }
        self.rejected.extend(later.rejected);
        self.late.extend(later.late);
        self.values_written += later.values_written;
    }

    /// Resolves emissions and rejections, and refuses what the host would refuse.
    pub(super) fn resolve(
        origins: &Origins<'_>,
        emissions: Vec<Emission>,
        rejected: Vec<Rejection>,
    ) -> Result<Self, Error> {
        let mut answer = Self::default();
        for emission in emissions {
            answer.resolve_emission(origins, &emission)?;
        }
        for Rejection { index, reason } in rejected {
            let row = origins.check(index)?;
            answer.rejected.push(Rejected { value: origins.values.get(row).to_vec(), reason });
        }
        Ok(answer)
    }

    fn resolve_emission(&mut self, origins: &Origins<'_>, e: &Emission) -> Result<(), Error> {
        let rows: Vec<Option<usize>> = match &e.origin {
            Origin::Same => (0..origins.len).map(Some).collect(),
            Origin::Keep(rows) => {
                rows.iter().map(|&i| origins.check(i).map(Some)).collect::<Result<_, _>>()?
            }
            Origin::Fresh => {
                let len = e.values.as_ref().or(e.keys.as_ref()).map(Column::len);
                vec![None; len.or(e.timestamps.as_ref().map(Vec::len)).unwrap_or(0)]
            }
        };
        let lens = [
            e.keys.as_ref().map(Column::len),
            e.values.as_ref().map(Column::len),
            e.timestamps.as_ref().map(Vec::len),
        ];
        if lens.iter().flatten().any(|len| *len != rows.len()) {
            return Err(
                format!("an emission of {} records has columns {lens:?}", rows.len()).into()
            );
        }
        let records = self.outputs.entry(e.port).or_default();
        for (i, row) in rows.into_iter().enumerate() {
            let inherited = |column: &Column| row.map_or(vec![], |row| column.get(row).to_vec());
            let given = |column: &Option<Column>| column.as_ref().map(|c| c.get(i).to_vec());
            records.push(Output {
                key: given(&e.keys).unwrap_or_else(|| inherited(origins.keys)),
                value: given(&e.values).unwrap_or_else(|| inherited(origins.values)),
                timestamp: match &e.timestamps {
                    Some(times) => Some(times[i]),
                    None => row.and_then(|row| origins.timestamps.get(row).copied()),
                },
            });
        }
        self.values_written += e.values.as_ref().map_or(0, Column::len);
        Ok(())
    }
}

impl Origins<'_> {
    fn check(&self, index: u32) -> Result<usize, Error> {
        let row = index as usize;
        if row < self.len {
            return Ok(row);
        }
        Err(format!("index {index} is out of range: there are {} records", self.len).into())
    }
}

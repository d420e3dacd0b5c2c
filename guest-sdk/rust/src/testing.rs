//! A host for native tests: it groups by key and window, keeps states in their
//! encoded form, keeps timers, and checks what the operator answers as the real
//! host does. No Wasm, no threads, no clock but the one that you move.
//!
//! [`Harness`] makes one; see [`ProcessorHarness`] and [`KeyedHarness`] for what
//! it can do, and [`Answer`] for what comes back.

mod answer;
mod keyed;
mod processor;
mod windows;

use crate::{Batch, Column, Error, KeyedProcessor, Processor, log::Level};
pub use answer::{Answer, Output, Rejected};
pub use keyed::KeyedHarness;
pub use processor::ProcessorHarness;

/// Makes a host for one operator.
#[derive(Debug, Clone, Copy)]
pub struct Harness;

impl Harness {
    /// Opens a [`Processor`] with this configuration (a JSON object).
    ///
    /// # Errors
    /// If the operator refuses to open.
    #[expect(clippy::needless_pass_by_value, reason = "reads well with json!()")]
    pub fn processor<P: Processor>(
        config: serde_json::Value,
    ) -> Result<ProcessorHarness<P>, Error> {
        ProcessorHarness::open(&config)
    }

    /// Opens a [`KeyedProcessor`] with this configuration (a JSON object), without
    /// windows.
    ///
    /// # Errors
    /// If the operator refuses to open.
    #[expect(clippy::needless_pass_by_value, reason = "reads well with json!()")]
    pub fn keyed<K: KeyedProcessor>(config: serde_json::Value) -> Result<KeyedHarness<K>, Error> {
        KeyedHarness::open(&config)
    }
}

/// A record to send, made from `(key, value, timestamp)`; the value may be text
/// or `json!(...)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRecord {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// Event time, milliseconds since 1970.
    pub timestamp: i64,
}

impl From<(&str, &str, i64)> for TestRecord {
    fn from((key, value, timestamp): (&str, &str, i64)) -> Self {
        Self { key: key.into(), value: value.into(), timestamp }
    }
}

impl From<(&str, String, i64)> for TestRecord {
    fn from((key, value, timestamp): (&str, String, i64)) -> Self {
        Self { key: key.into(), value: value.into(), timestamp }
    }
}

impl From<(&str, serde_json::Value, i64)> for TestRecord {
    fn from((key, value, timestamp): (&str, serde_json::Value, i64)) -> Self {
        Self { key: key.into(), value: value.to_string().into(), timestamp }
    }
}

fn to_batch<R: Into<TestRecord>>(input: u32, records: impl IntoIterator<Item = R>) -> Batch {
    let records: Vec<TestRecord> = records.into_iter().map(Into::into).collect();
    let keys: Column = records.iter().map(|r| &r.key).collect();
    let values: Column = records.iter().map(|r| &r.value).collect();
    let timestamps = records.iter().map(|r| r.timestamp).collect();
    Batch::new(records.len(), keys, values, timestamps).with_input(input)
}

/// What an operator has logged and measured since it was opened.
macro_rules! recorded {
    ($harness:ident<$op:ident: $bound:path>) => {
        impl<$op: $bound> $harness<$op> {
            /// The lines that were logged so far.
            #[must_use]
            pub fn logs(&self) -> &[(Level, String)] {
                &self.recorder.logs
            }

            /// The value of a counter; 0 if it was never added to.
            #[must_use]
            pub fn counter(&self, name: &str) -> u64 {
                self.recorder.counters.get(name).copied().unwrap_or(0)
            }

            /// The value of a gauge, if it was ever set.
            #[must_use]
            pub fn gauge(&self, name: &str) -> Option<f64> {
                self.recorder.gauges.get(name).copied()
            }

            /// The observations of a histogram, in order.
            #[must_use]
            pub fn histogram(&self, name: &str) -> &[f64] {
                self.recorder.histograms.get(name).map_or(&[], Vec::as_slice)
            }
        }
    };
}

recorded!(ProcessorHarness<P: Processor>);
recorded!(KeyedHarness<K: KeyedProcessor>);

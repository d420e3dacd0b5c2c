//! The host of one [`Processor`].

use serde_json::Value;

use super::{Answer, TestRecord, answer::Origins, to_batch};
use crate::{
    Batch, Column, Context, Error, Outcome, Processor, Snapshot,
    platform::{Recorder, recording},
};

/// Runs a [`Processor`]; made by [`Harness::processor`](super::Harness::processor).
#[derive(Debug)]
pub struct ProcessorHarness<P: Processor> {
    operator: P,
    ctx: Context,
    pub(super) recorder: Recorder,
}

impl<P: Processor> ProcessorHarness<P> {
    pub(super) fn open(config: &Value) -> Result<Self, Error> {
        let ctx = Context::for_test(config);
        let mut recorder = Recorder::default();
        let operator = recording(&mut recorder, || P::open(&ctx))?;
        Ok(Self { operator, ctx, recorder })
    }

    /// Sends one batch of values without keys and times.
    ///
    /// # Errors
    /// If the operator fails the batch, or answers what the host refuses.
    pub fn values<V: AsRef<[u8]>>(
        &mut self,
        values: impl IntoIterator<Item = V>,
    ) -> Result<Answer, Error> {
        let values: Column = values.into_iter().collect();
        self.batch(&Batch::new(values.len(), Column::absent(), values, vec![]))
    }

    /// Sends one batch of `(key, value, timestamp)` by input port 0.
    ///
    /// # Errors
    /// As for [`values`](Self::values).
    pub fn send<R: Into<TestRecord>>(
        &mut self,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Answer, Error> {
        self.send_to(0, records)
    }

    /// Sends one batch of `(key, value, timestamp)` by an input port.
    ///
    /// # Errors
    /// As for [`values`](Self::values).
    pub fn send_to<R: Into<TestRecord>>(
        &mut self,
        input: u32,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Answer, Error> {
        self.batch(&to_batch(input, records))
    }

    /// Sends a batch as it is.
    ///
    /// # Errors
    /// As for [`values`](Self::values).
    pub fn batch(&mut self, batch: &Batch) -> Result<Answer, Error> {
        let mut out = Outcome::new(batch);
        recording(&mut self.recorder, || self.operator.process(batch, &mut out))?;
        let origins = Origins {
            len: batch.len(),
            keys: &batch.keys,
            values: &batch.values,
            timestamps: &batch.timestamps,
        };
        let (emissions, rejected) = out.into_parts();
        Answer::resolve(&origins, emissions, rejected)
    }

    /// Ends the input.
    ///
    /// # Errors
    /// As for [`values`](Self::values).
    pub fn finish(&mut self) -> Result<Answer, Error> {
        let mut out = Outcome::default();
        recording(&mut self.recorder, || self.operator.finish(&mut out))?;
        let absent = Column::absent();
        let origins = Origins { len: 0, keys: &absent, values: &absent, timestamps: &[] };
        let (emissions, rejected) = out.into_parts();
        Answer::resolve(&origins, emissions, rejected)
    }
}

impl<P: Snapshot> ProcessorHarness<P> {
    /// Replaces the operator by a fresh instance that is given its snapshot, as
    /// after a crash right behind a checkpoint.
    ///
    /// # Errors
    /// If the operator cannot be saved, opened, or restored.
    pub fn restart(&mut self) -> Result<(), Error> {
        let Self { operator, ctx, recorder } = self;
        recording(recorder, || {
            let state = operator.snapshot()?;
            *operator = P::open(ctx)?;
            operator.restore(&state)
        })
    }
}

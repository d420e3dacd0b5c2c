//! The `discard` sink: drops records. For benchmarks, and for outputs that
//! nobody wants; the runtime counts what goes in.

use async_trait::async_trait;

use crate::stream::Batch;

use super::{ConnectorError, Sink};

/// Drops records.
pub(crate) struct DiscardSink;

#[async_trait]
impl Sink for DiscardSink {
    async fn write(&mut self, _batch: &Batch) -> Result<(), ConnectorError> {
        Ok(())
    }

    async fn prepare_commit(&mut self, _: u64, _: bool) -> Result<Vec<u8>, ConnectorError> {
        Ok(Vec::new())
    }

    async fn commit(&mut self, _: u64) -> Result<(), ConnectorError> {
        Ok(())
    }
}

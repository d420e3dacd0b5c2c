//! The `stdout` sink: prints each value on a line. What was printed cannot be
//! taken back, so after a failure records are printed again: at least once.

use std::{
    io::{self, Write},
    path::Path,
};

use async_trait::async_trait;

use crate::stream::Batch;

use super::{ConnectorError, Sink, files::cannot};

/// Prints records.
pub(crate) struct StdoutSink<W> {
    out: W,
    /// Whether the key and a tab come before the value.
    key: bool,
    lines: Vec<u8>,
}

impl StdoutSink<io::Stdout> {
    pub(crate) fn open(key: bool) -> Self {
        Self { out: io::stdout(), key, lines: Vec::new() }
    }
}

#[async_trait]
impl<W: Write + Send> Sink for StdoutSink<W> {
    async fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.lines.clear();
        for i in 0..batch.len() {
            if self.key {
                self.lines.extend_from_slice(batch.key(i));
                self.lines.push(b'\t');
            }
            self.lines.extend_from_slice(batch.value(i));
            self.lines.push(b'\n');
        }
        // All at once, so that lines of parallel instances do not mix.
        let written = self.out.write_all(&self.lines).and_then(|()| self.out.flush());
        written.map_err(cannot("write to", Path::new("standard output")))
    }

    async fn prepare_commit(&mut self, _: u64, _: bool) -> Result<Vec<u8>, ConnectorError> {
        Ok(Vec::new())
    }

    async fn commit(&mut self, _: u64) -> Result<(), ConnectorError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::BatchBuilder;

    async fn print(key: bool) -> Vec<u8> {
        let mut batch = BatchBuilder::new();
        batch.push(Some(b"k"), b"one", None);
        batch.push(Some(b""), b"two", None);
        let mut sink = StdoutSink { out: Vec::new(), key, lines: Vec::new() };
        sink.write(&batch.take()).await.unwrap();
        sink.out
    }

    #[tokio::test]
    async fn the_key_is_printed_if_asked_for() {
        assert_eq!(print(true).await, b"k\tone\n\ttwo\n");
        assert_eq!(print(false).await, b"one\ntwo\n");
    }
}

//! The `http` sink (webhook): posts records in batches to a URL.
//!
//! Records are put into requests as they come, and a checkpoint holds every request that was not
//! delivered yet, with its identifier and its bytes. They are sent once the checkpoint is
//! complete. So whatever is sent again, after a failure of the receiver or of this process, is the
//! same request under the same identifier: a receiver that drops repeats gets each record once,
//! any other one at least once. What is never sent is a request that a restored job would make
//! otherwise.
//!
//! ```text
//!  write ──▶ batch ──▶ sealed ──▶ in a checkpoint ──▶ owed ──▶ delivered
//! ```

mod reach;
mod send;
mod sign;

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use self::send::{Refused, Sender};
use super::{ConnectorContext, ConnectorError, Sink, file_sink::utf8, json};
use crate::{clock::Clock, config::webhook::WebhookSpec, stream::Batch};

/// When so many bytes wait for a checkpoint, one is asked for.
const MANY: usize = 4 << 20;
/// So many bytes may wait for it at most.
const MOST: usize = 64 << 20;

/// A request that is to be delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outgoing {
    pub(super) id: String,
    #[serde(with = "serde_bytes")]
    pub(super) body: Vec<u8>,
}

/// What a checkpoint holds of one instance.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    owed: Vec<Outgoing>,
}

/// Posts records.
pub(crate) struct HttpSink {
    spec: WebhookSpec,
    name: Arc<str>,
    context: ConnectorContext,
    sender: Sender,
    /// Says that a checkpoint would be welcome.
    due: Arc<Notify>,
    /// Records of the request that is being made.
    batch: Vec<u8>,
    in_batch: usize,
    /// Whole requests that no checkpoint has yet.
    sealed: Vec<Vec<u8>>,
    /// Their bytes.
    waiting: usize,
    /// With the checkpoint that has them: those of the last one that was prepared, and of earlier
    /// ones that came to nothing.
    prepared: VecDeque<(u64, Outgoing)>,
    /// To be delivered, in order.
    owed: VecDeque<Outgoing>,
    records: u64,
}

impl HttpSink {
    pub(crate) fn open(
        spec: &WebhookSpec,
        name: &str,
        context: ConnectorContext,
        (clock, due): (&Clock, Arc<Notify>),
        restore: Option<&[Vec<u8>]>,
    ) -> Result<Self, ConnectorError> {
        let cannot = |reason: String| ConnectorError::CannotResume {
            path: spec.url.to_string().into(),
            reason,
        };
        let mut owed = VecDeque::new();
        for (i, saved) in restore.into_iter().flatten().enumerate() {
            if i % context.parallelism as usize != context.subtask as usize {
                continue;
            }
            let saved: Saved = zstd::decode_all(saved.as_slice())
                .map_err(|e| e.to_string())
                .and_then(|bytes| postcard::from_bytes(&bytes).map_err(|e| e.to_string()))
                .map_err(|e| cannot(format!("what it owes cannot be read: {e}")))?;
            owed.extend(saved.owed);
        }
        if !owed.is_empty() {
            // Sent once a checkpoint is complete, and nothing else may bring one for long.
            due.notify_one();
        }
        Ok(Self {
            sender: Sender::new(spec, clock.clone()).map_err(cannot)?,
            spec: spec.clone(),
            name: name.into(),
            context,
            due,
            batch: Vec::new(),
            in_batch: 0,
            sealed: Vec::new(),
            waiting: 0,
            prepared: VecDeque::new(),
            owed,
            records: 0,
        })
    }

    fn add(&mut self, value: &[u8]) -> Result<(), String> {
        json::check(utf8(value)?)?;
        if self.in_batch > 0 && self.batch.len() + value.len() + 2 > self.spec.batch_size {
            self.seal();
        }
        let begin = self.batch.len();
        if self.spec.array {
            self.batch.push(if self.in_batch == 0 { b'[' } else { b',' });
        }
        self.batch.extend_from_slice(value);
        // In valid JSON these stand only between tokens, where a blank does as well.
        for byte in &mut self.batch[begin..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        if !self.spec.array {
            self.batch.push(b'\n');
        }
        self.waiting += self.batch.len() - begin;
        self.in_batch += 1;
        if self.in_batch >= self.spec.batch_records {
            self.seal();
        }
        Ok(())
    }

    /// Ends the request that is being made.
    fn seal(&mut self) {
        if self.in_batch > 0 {
            if self.spec.array {
                self.batch.push(b']');
            }
            self.sealed.push(std::mem::take(&mut self.batch));
            self.in_batch = 0;
        }
    }

    /// Delivers what is owed. Can be cancelled: what is not known to be delivered is owed still.
    async fn deliver(&mut self) -> Result<(), ConnectorError> {
        while let Some(request) = self.owed.front() {
            if let Err(Refused(why)) = self.sender.deliver(request).await {
                let (url, id) = (&self.spec.url, &request.id);
                if !self.spec.drops_refused {
                    return Err(ConnectorError::Refused {
                        by: url.to_string(),
                        id: id.clone(),
                        why,
                    });
                }
                tracing::error!("{url} refuses {id}, which is left out: {why}");
            }
            self.owed.pop_front();
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for HttpSink {
    async fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let before = self.waiting;
        for i in 0..batch.len() {
            self.records += 1;
            self.add(batch.value(i)).map_err(|problem| ConnectorError::BadRecord {
                record: self.records,
                reason: format!("the value {problem}; a webhook gets JSON"),
            })?;
        }
        if self.waiting > MOST {
            return Err(ConnectorError::TooMuchWaits { waiting: self.waiting, most: MOST });
        }
        if before / MANY != self.waiting / MANY {
            self.due.notify_one();
        }
        Ok(())
    }

    async fn prepare_commit(
        &mut self,
        checkpoint: u64,
        _: bool,
    ) -> Result<Vec<u8>, ConnectorError> {
        self.seal();
        // The same for ever: it is in the checkpoint. No other instance makes it again, since the
        // last part is of this one only.
        let lot = rand::random::<u64>();
        let (name, subtask) = (&self.name, self.context.subtask);
        for (i, body) in self.sealed.drain(..).enumerate() {
            let id = format!("{name}-{subtask}-{checkpoint}-{i}-{lot:016x}");
            self.prepared.push_back((checkpoint, Outgoing { id, body }));
        }
        self.waiting = 0;
        let prepared = self.prepared.iter().map(|(_, request)| request);
        let saved = Saved { owed: self.owed.iter().chain(prepared).cloned().collect() };
        let saved = postcard::to_stdvec(&saved).expect("plain data in memory can be encoded");
        zstd::encode_all(saved.as_slice(), 1).map_err(|source| ConnectorError::Io {
            action: "compress",
            path: "what is to be sent".into(),
            source,
        })
    }

    async fn commit(&mut self, checkpoint: u64) -> Result<(), ConnectorError> {
        while let Some((_, request)) = self.prepared.pop_front_if(|(of, _)| *of <= checkpoint) {
            self.owed.push_back(request);
        }
        self.deliver().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::webhook::{Reach, Target},
        stream::BatchBuilder,
    };
    use std::time::Duration;

    fn spec(array: bool, batch_records: usize) -> WebhookSpec {
        let url = Target {
            tls: false,
            host: "127.0.0.1".into(),
            port: 1,
            authority: "127.0.0.1:1".into(),
            path: "/".into(),
        };
        WebhookSpec {
            url,
            array,
            batch_records,
            batch_size: 1 << 10,
            timeout: Duration::from_secs(1),
            max_backoff: Duration::from_secs(1),
            drops_refused: false,
            headers: Vec::new(),
            sign_with: None,
            roots: Vec::new(),
            reach: Reach::Any,
        }
    }

    fn sink(
        spec: &WebhookSpec,
        subtask: u32,
        parallelism: u32,
        saved: Option<&[Vec<u8>]>,
    ) -> HttpSink {
        let context = ConnectorContext { subtask, parallelism };
        let around = (&Clock::default(), Arc::default());
        HttpSink::open(spec, "out", context, around, saved).unwrap()
    }

    fn batch(values: &[&str]) -> Batch {
        let mut batch = BatchBuilder::new();
        values.iter().for_each(|value| batch.push(None, value.as_bytes(), None));
        batch.take()
    }

    fn owed(saved: &[u8]) -> Vec<(String, String)> {
        let saved: Saved = postcard::from_bytes(&zstd::decode_all(saved).unwrap()).unwrap();
        let text = |o: Outgoing| (o.id, String::from_utf8(o.body).unwrap());
        saved.owed.into_iter().map(text).collect()
    }

    #[tokio::test]
    async fn a_checkpoint_holds_what_is_not_delivered_as_it_will_be_sent() {
        let spec_ = spec(false, 2);
        let mut first = sink(&spec_, 0, 1, None);
        first.write(&batch(&["1", "{\"a\":\n2}", "3"])).await.unwrap();
        let saved = first.prepare_commit(7, false).await.unwrap();
        let all = owed(&saved);
        let bodies: Vec<_> = all.iter().map(|(_, body)| body.as_str()).collect();
        assert_eq!(bodies, ["1\n{\"a\": 2}\n", "3\n"]);
        assert!(all[0].0.starts_with("out-0-7-0-") && all[0].0 != all[1].0, "{all:?}");
        // A checkpoint that came to nothing: the next one has it too, as it was.
        first.write(&batch(&["4"])).await.unwrap();
        let next = owed(&first.prepare_commit(8, false).await.unwrap());
        assert_eq!((next.len(), &next[..2]), (3, &all[..]));
        // Whoever goes on from it owes the same, once, whatever the parallelism is.
        let mut again = sink(&spec_, 1, 2, Some(&[vec_of(&[]).await, saved.clone()]));
        assert_eq!(owed(&again.prepare_commit(9, false).await.unwrap()), all);
        let mut other = sink(&spec_, 0, 2, Some(&[vec_of(&[]).await, saved]));
        assert_eq!(owed(&other.prepare_commit(9, false).await.unwrap()), []);
    }

    async fn vec_of(values: &[&str]) -> Vec<u8> {
        let mut sink = sink(&spec(false, 2), 0, 1, None);
        sink.write(&batch(values)).await.unwrap();
        sink.prepare_commit(1, false).await.unwrap()
    }

    #[tokio::test]
    async fn a_request_is_an_array_if_asked_for_and_no_longer_than_it_may_be() {
        let mut sink = sink(&spec(true, 100), 0, 1, None);
        let long = format!("\"{}\"", "x".repeat(600));
        sink.write(&batch(&["1", "2", &long, &long])).await.unwrap();
        let all = owed(&sink.prepare_commit(1, false).await.unwrap());
        let bodies: Vec<_> = all.iter().map(|(_, body)| body.clone()).collect();
        assert_eq!(bodies, [format!("[1,2,{long}]"), format!("[{long}]")]);
        let error = sink.write(&batch(&["no json"])).await.unwrap_err();
        assert!(matches!(error, ConnectorError::BadRecord { record: 5, .. }), "{error}");
    }
}

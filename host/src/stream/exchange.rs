//! How the output of one operator's subtask is divided among the subtasks of
//! the next.

use crate::stream::{
    Batch, Element,
    channel::{Closed, Sender},
    keys::KeyGroups,
};

/// How records find their receiving subtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Subtask `i` to subtask `i`: both have the same parallelism.
    Forward,
    /// By key.
    Hash(KeyGroups),
    /// Batches in turn.
    Rebalance,
}

/// One subtask's end of an edge: the senders to every receiving subtask that it
/// is connected with.
#[derive(Debug)]
pub struct EdgeOutput {
    exchange: Exchange,
    senders: Vec<Sender>,
    next: usize,
    /// Scratch: record indexes for each receiver.
    buckets: Vec<Vec<u32>>,
}

impl EdgeOutput {
    /// `senders[i]` leads to the receiver's subtask `i`; with
    /// [`Exchange::Forward`] there is just one.
    #[must_use]
    pub fn new(exchange: Exchange, senders: Vec<Sender>) -> Self {
        let buckets = senders.iter().map(|_| Vec::new()).collect();
        Self { exchange, senders, next: 0, buckets }
    }

    /// Sends a batch to where its records belong.
    ///
    /// # Errors
    /// [`Closed`] if a receiver is gone.
    pub async fn send_batch(&mut self, batch: Batch) -> Result<(), Closed> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.senders.len() == 1 {
            return self.senders[0].send(Element::Batch(batch)).await;
        }
        match self.exchange {
            Exchange::Forward | Exchange::Rebalance => {
                self.next = (self.next + 1) % self.senders.len();
                self.senders[self.next].send(Element::Batch(batch)).await
            }
            Exchange::Hash(groups) => {
                self.divide(&batch, groups);
                for (bucket, sender) in self.buckets.iter().zip(&mut self.senders) {
                    if bucket.len() == batch.len() {
                        sender.send(Element::Batch(batch.clone())).await?;
                    } else if !bucket.is_empty() {
                        sender.send(Element::Batch(batch.gather(bucket))).await?;
                    }
                }
                Ok(())
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a batch has fewer than 2^32 records")]
    fn divide(&mut self, batch: &Batch, groups: KeyGroups) {
        for bucket in &mut self.buckets {
            bucket.clear();
        }
        let mut place = |i: usize, key: &[u8]| {
            let subtask = groups.subtask_of(groups.group_of(key));
            self.buckets[subtask as usize].push(i as u32);
        };
        match batch.keys() {
            Some(keys) => keys.iter().enumerate().for_each(|(i, key)| place(i, key)),
            None => (0..batch.len()).for_each(|i| place(i, &[])),
        }
    }

    /// Sends a control element to every receiver.
    ///
    /// # Errors
    /// [`Closed`] if a receiver is gone.
    pub async fn broadcast(&mut self, element: &Element) -> Result<(), Closed> {
        for sender in &mut self.senders {
            sender.send(element.clone()).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{BatchBuilder, channel::gate};

    #[tokio::test]
    async fn a_hash_exchange_sends_every_record_to_the_owner_of_its_key() {
        let groups = KeyGroups::new(128, 3);
        let (mut gates, senders): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (gate, mut senders) = gate(1, 1 << 20);
                (gate, senders.remove(0))
            })
            .unzip();
        let mut edge = EdgeOutput::new(Exchange::Hash(groups), senders);
        let mut builder = BatchBuilder::new();
        for i in 0..200_u8 {
            builder.push(Some(&[i % 50]), &[i], Some(i64::from(i)));
        }
        edge.send_batch(builder.take()).await.unwrap();
        let mut seen = 0;
        for (subtask, gate) in gates.iter_mut().enumerate() {
            let Ok(Some((0, Element::Batch(batch)))) = gate.try_recv() else { panic!("no batch") };
            for i in 0..batch.len() {
                assert_eq!(groups.subtask_of(groups.group_of(batch.key(i))) as usize, subtask);
                assert_eq!(batch.timestamp(i), Some(i64::from(batch.value(i)[0])));
                seen += 1;
            }
        }
        assert_eq!(seen, 200);
    }
}

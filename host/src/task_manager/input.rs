//! A subtask's input: many channels made into one sequence of events, with
//! watermarks combined and barriers aligned.
//!
//! Alignment: when a channel's barrier has come, nothing more is taken from
//! that channel until every other channel's barrier has come too, or the
//! channel has ended. So a snapshot holds the effect of exactly the records
//! before the barrier.

use crate::{
    clock::Stopwatch,
    stream::{
        Barrier, Batch, Element,
        channel::{Closed, Gate},
        watermark::{CombinedWatermark, Progress},
    },
};

/// What comes in.
#[derive(Debug, PartialEq)]
pub enum InputEvent {
    /// Records on an input port.
    Batch(u32, Batch),
    /// The common watermark.
    Watermark(i64),
    /// All channels are idle.
    Idle,
    /// The barrier has come on every channel.
    Barrier(Barrier),
    /// Every channel has ended.
    End,
}

/// The input of a subtask.
#[derive(Debug)]
pub struct Input {
    gate: Gate,
    /// The input port of each channel.
    ports: Vec<u32>,
    watermark: CombinedWatermark,
    alignment: Option<(Barrier, Stopwatch)>,
    /// How long the last alignment took, in microseconds.
    aligned_in: u64,
    aligned: Vec<bool>,
    ended: Vec<bool>,
}

impl Input {
    /// `ports[i]` is the input port that the gate's channel `i` belongs to;
    /// `watermark` is what the common watermark was at the checkpoint that the
    /// subtask was restored from.
    #[must_use]
    pub fn new(gate: Gate, ports: Vec<u32>, watermark: i64) -> Self {
        let channels = gate.channels();
        Self {
            gate,
            ports,
            watermark: CombinedWatermark::new(channels, watermark),
            alignment: None,
            aligned_in: 0,
            aligned: vec![false; channels],
            ended: vec![false; channels],
        }
    }

    /// Bytes that wait in all channels.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.gate.queued_bytes()
    }

    /// How long it took from the first barrier of the last checkpoint to its last, in
    /// microseconds.
    #[must_use]
    pub fn aligned_in(&self) -> u64 {
        self.aligned_in
    }

    /// The next event. Safe to cancel.
    ///
    /// # Errors
    /// [`Closed`] if a neighbour went away before its stream ended.
    pub async fn next(&mut self) -> Result<InputEvent, Closed> {
        loop {
            if let Some(event) = self.completed() {
                return Ok(event);
            }
            let (channel, element) = self.gate.recv().await?;
            let progress = match element {
                Element::Batch(batch) => {
                    self.watermark.active(channel);
                    return Ok(InputEvent::Batch(self.ports[channel], batch));
                }
                Element::Watermark(watermark) => self.watermark.watermark(channel, watermark),
                Element::Idle => self.watermark.idle(channel),
                Element::Barrier(barrier) => {
                    self.gate.block(channel);
                    self.aligned[channel] = true;
                    let began = self.alignment.map_or_else(Stopwatch::start, |(_, clock)| clock);
                    self.alignment = Some((barrier, began));
                    Progress::None
                }
                Element::End => {
                    self.ended[channel] = true;
                    self.watermark.end(channel)
                }
            };
            match progress {
                Progress::None => {}
                Progress::Watermark(watermark) => return Ok(InputEvent::Watermark(watermark)),
                Progress::Idle => return Ok(InputEvent::Idle),
            }
        }
    }

    fn completed(&mut self) -> Option<InputEvent> {
        if let Some((barrier, began)) = self.alignment {
            let all =
                self.aligned.iter().zip(&self.ended).all(|(aligned, ended)| *aligned || *ended);
            if !all {
                return None;
            }
            self.alignment = None;
            self.aligned_in = began.micros();
            self.aligned.fill(false);
            self.gate.unblock_all();
            return Some(InputEvent::Barrier(barrier));
        }
        self.ended.iter().all(|ended| *ended).then_some(InputEvent::End)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        ids::CheckpointId,
        stream::{BatchBuilder, channel::gate},
    };

    fn barrier(id: u64) -> Barrier {
        Barrier { checkpoint: CheckpointId(id), stop: false, seal: false, whole: false }
    }

    fn record(value: u8) -> Element {
        let mut builder = BatchBuilder::new();
        builder.push(None, &[value], None);
        Element::Batch(builder.take())
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Record,
        Barrier,
    }

    proptest! {
        /// Each channel sends records and the same number of barriers, in any
        /// order between the channels; some end early. A snapshot at barrier
        /// `n` must have seen all records before it and none after it.
        #[test]
        fn a_barrier_comes_after_all_records_before_it_and_before_all_after_it(
            scripts in prop::collection::vec(
                (prop::collection::vec(prop_oneof![Just(Step::Record), Just(Step::Barrier)], 0..12), any::<bool>()),
                1..4,
            ),
            order in prop::collection::vec(0_usize..4, 0..80),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let barriers = 3_u8;
                let (gate, mut senders) = gate(scripts.len(), 1 << 20);
                let mut input = Input::new(gate, vec![0; scripts.len()], crate::stream::watermark::NONE);
                // What each channel sends: records carry the epoch they are of.
                let mut queues: Vec<std::collections::VecDeque<Element>> = scripts.iter().map(|(steps, short)| {
                    let mut queue = std::collections::VecDeque::new();
                    let mut epoch = 0;
                    for step in steps {
                        match step {
                            Step::Record => queue.push_back(record(epoch)),
                            Step::Barrier if epoch < barriers => {
                                epoch += 1;
                                queue.push_back(Element::Barrier(barrier(u64::from(epoch))));
                            }
                            Step::Barrier => {}
                        }
                    }
                    while !short && epoch < barriers {
                        epoch += 1;
                        queue.push_back(Element::Barrier(barrier(u64::from(epoch))));
                    }
                    queue.push_back(Element::End);
                    queue
                }).collect();
                let all: Vec<usize> = order.into_iter().chain((0..scripts.len()).cycle().take(200)).collect();
                for channel in all {
                    if let Some(queue) = queues.get_mut(channel)
                        && let Some(element) = queue.pop_front()
                    {
                        senders[channel].send(element).await.unwrap();
                    }
                }
                let mut epoch = 0_u8;
                loop {
                    match input.next().await.unwrap() {
                        InputEvent::Batch(_, batch) => {
                            // A channel that ended early no longer holds the epoch back.
                            assert!(batch.value(0)[0] >= epoch || scripts.iter().any(|s| s.1));
                            assert!(batch.value(0)[0] <= epoch, "a record overtook its barrier");
                        }
                        InputEvent::Barrier(b) => {
                            epoch += 1;
                            assert!(b.checkpoint.0 >= u64::from(epoch));
                            epoch = u8::try_from(b.checkpoint.0).unwrap();
                        }
                        InputEvent::End => break,
                        InputEvent::Watermark(_) | InputEvent::Idle => {}
                    }
                }
            });
        }
    }
}

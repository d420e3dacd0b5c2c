//! Channels between subtasks: bounded in bytes, many into one gate.
//!
//! Every receiving subtask has one [`Gate`]; every sender owns one channel of
//! it. A full channel holds its sender back (backpressure); a channel that is
//! blocked for alignment fills up and does the same.
//!
//! Invariant: an element is lost only when its gate is dropped.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::stream::Element;

/// The other side is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other end of the channel is gone")]
pub struct Closed;

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something came, or a sender went away.
    arrived: Notify,
    /// One for each channel: room was made, or the gate went away.
    room: Vec<Notify>,
    capacity: usize,
}

#[derive(Debug)]
struct State {
    queues: Vec<Queue>,
    gate_open: bool,
}

#[derive(Debug, Default)]
struct Queue {
    elements: VecDeque<Element>,
    bytes: usize,
    /// The sender was dropped without having sent `End`.
    abandoned: bool,
}

impl Shared {
    /// No code panics while it holds the lock, and the state is whole at every
    /// step: a poisoned lock can be used on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiving end of several channels.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    blocked: Vec<bool>,
    next: usize,
}

/// The sending end of one channel.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    channel: usize,
    ended: bool,
}

/// A gate with so many channels, each of which holds elements of `capacity`
/// bytes and then one more, so that an element larger than that still passes.
#[must_use]
pub fn gate(channels: usize, capacity: usize) -> (Gate, Vec<Sender>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            queues: (0..channels).map(|_| Queue::default()).collect(),
            gate_open: true,
        }),
        arrived: Notify::new(),
        room: (0..channels).map(|_| Notify::new()).collect(),
        capacity,
    });
    let senders = (0..channels)
        .map(|channel| Sender { shared: shared.clone(), channel, ended: false })
        .collect();
    (Gate { shared, blocked: vec![false; channels], next: 0 }, senders)
}

impl Sender {
    /// Sends an element as soon as there is room. Safe to cancel: an element
    /// that was not sent is dropped with the future.
    ///
    /// # Errors
    /// [`Closed`] if the gate is gone.
    pub async fn send(&mut self, element: Element) -> Result<(), Closed> {
        let ends = element == Element::End;
        let mut waiting = Some(element);
        loop {
            // Registered before looking, so that no wake-up is missed.
            let room = self.shared.room[self.channel].notified();
            {
                let mut state = self.shared.lock();
                if !state.gate_open {
                    return Err(Closed);
                }
                let queue = &mut state.queues[self.channel];
                if queue.bytes < self.shared.capacity
                    && let Some(element) = waiting.take()
                {
                    queue.bytes += element.bytes();
                    queue.elements.push_back(element);
                }
            }
            if waiting.is_none() {
                self.ended |= ends;
                self.shared.arrived.notify_one();
                return Ok(());
            }
            room.await;
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.lock().queues[self.channel].abandoned = true;
            self.shared.arrived.notify_one();
        }
    }
}

impl Gate {
    /// Number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.blocked.len()
    }

    /// Bytes that wait in all channels.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.shared.lock().queues.iter().map(|q| q.bytes).sum()
    }

    /// Takes nothing from this channel until [`unblock_all`](Self::unblock_all).
    pub fn block(&mut self, channel: usize) {
        self.blocked[channel] = true;
    }

    /// Takes from every channel again.
    pub fn unblock_all(&mut self) {
        self.blocked.fill(false);
    }

    /// The next element of any channel that is not blocked, in turn. Safe to
    /// cancel.
    ///
    /// # Errors
    /// [`Closed`] if a sender was dropped before its stream ended.
    pub async fn recv(&mut self) -> Result<(usize, Element), Closed> {
        loop {
            let shared = self.shared.clone();
            let arrived = shared.arrived.notified();
            if let Some(found) = self.try_recv()? {
                return Ok(found);
            }
            arrived.await;
        }
    }

    /// As [`recv`](Self::recv), without waiting.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Option<(usize, Element)>, Closed> {
        let channels = self.blocked.len();
        let mut state = self.shared.lock();
        for step in 0..channels {
            let channel = (self.next + step) % channels;
            if self.blocked[channel] {
                continue;
            }
            let queue = &mut state.queues[channel];
            if let Some(element) = queue.elements.pop_front() {
                queue.bytes -= element.bytes();
                // A sender that waits is woken when half of the channel is free,
                // not for every element: a switch of threads costs as much as
                // the work on a batch. The queue runs empty, so it is woken.
                let wake = queue.bytes <= self.shared.capacity / 2;
                drop(state);
                self.next = (channel + 1) % channels;
                if wake {
                    self.shared.room[channel].notify_one();
                }
                return Ok(Some((channel, element)));
            }
            if queue.abandoned {
                return Err(Closed);
            }
        }
        Ok(None)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.gate_open = false;
        let waiting: Vec<_> =
            state.queues.iter_mut().map(|q| std::mem::take(&mut q.elements)).collect();
        drop(state);
        drop(waiting);
        for room in &self.shared.room {
            room.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::CheckpointId,
        stream::{Barrier, BatchBuilder},
    };

    fn batch_of(bytes: usize) -> Element {
        let mut builder = BatchBuilder::new();
        builder.push(None, &vec![0; bytes], None);
        Element::Batch(builder.take())
    }

    #[tokio::test]
    async fn a_full_channel_holds_its_sender_back_until_there_is_room() {
        let (mut gate, mut senders) = gate(1, 1000);
        let mut sender = senders.remove(0);
        sender.send(batch_of(2000)).await.unwrap();
        let mut second = tokio::spawn(async move {
            sender.send(Element::Watermark(7)).await.unwrap();
            sender.send(Element::End).await.unwrap();
        });
        tokio::select! {
            biased;
            _ = &mut second => panic!("sent into a full channel"),
            () = tokio::task::yield_now() => {}
        }
        assert!(matches!(gate.recv().await, Ok((0, Element::Batch(_)))));
        assert_eq!(gate.recv().await, Ok((0, Element::Watermark(7))));
        assert_eq!(gate.recv().await, Ok((0, Element::End)));
        second.await.unwrap();
        assert_eq!(gate.queued_bytes(), 0);
        // An ended channel stays silent rather than closed.
        assert_eq!(gate.try_recv(), Ok(None));
    }

    #[tokio::test]
    async fn a_blocked_channel_gives_nothing_and_loses_nothing() {
        let (mut gate, mut senders) = gate(2, 1000);
        let barrier = Element::Barrier(Barrier {
            checkpoint: CheckpointId(1),
            stop: false,
            seal: false,
            whole: false,
        });
        senders[0].send(barrier.clone()).await.unwrap();
        senders[0].send(Element::Watermark(1)).await.unwrap();
        senders[1].send(Element::Watermark(2)).await.unwrap();
        assert_eq!(gate.recv().await, Ok((0, barrier)));
        gate.block(0);
        assert_eq!(gate.recv().await, Ok((1, Element::Watermark(2))));
        assert_eq!(gate.try_recv(), Ok(None));
        gate.unblock_all();
        assert_eq!(gate.recv().await, Ok((0, Element::Watermark(1))));
    }

    #[tokio::test]
    async fn a_lost_sender_and_a_lost_gate_are_noticed() {
        let (mut gate1, mut senders) = gate(1, 10);
        senders[0].send(Element::Watermark(1)).await.unwrap();
        drop(senders);
        assert!(gate1.recv().await.is_ok(), "what was sent still arrives");
        assert_eq!(gate1.recv().await, Err(Closed));

        let (gate2, mut senders) = gate(1, 10);
        senders[0].send(batch_of(100)).await.unwrap();
        let mut sender = senders.remove(0);
        let blocked = tokio::spawn(async move { sender.send(Element::End).await });
        tokio::task::yield_now().await;
        drop(gate2);
        assert_eq!(blocked.await.unwrap(), Err(Closed));
    }
}

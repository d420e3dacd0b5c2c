//! An instance's move to another slot, between two events of its subtask: the new
//! instance is ready before the old one is let go, and takes over its state. Input
//! waits meanwhile; nothing of it is lost or seen twice, since it does not move.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use crate::{
    failure::Failure,
    memory::{Part, SlotMeter},
    task_manager::{
        TaskError,
        guest::Guest,
        operator_task::{Operator, OperatorTask, out_of_memory},
        recorder::Recording,
    },
};

/// What an operator's subtask is told, beside what comes with its input.
pub enum OperatorCommand {
    /// Go on in another slot.
    Relocate(Box<Relocation>),
    /// Record the next so many batches after the next barrier.
    Record(u32, oneshot::Sender<Recording>),
}

/// A slot with an instance that was opened there, and waits for its state.
pub struct Relocation {
    /// The instance.
    pub guest: Guest,
    /// What its slot is charged for.
    pub memory: Arc<SlotMeter>,
    /// Told how long the subtask's input had to wait; or why it stays where it is.
    pub done: oneshot::Sender<Result<Duration, Failure>>,
}

impl OperatorTask {
    /// Hands the state over to the new instance, and lets the old one go. If the new one
    /// cannot take it, everything stays as it was.
    ///
    /// # Errors
    /// If the old instance cannot go on.
    pub(super) async fn relocate(&mut self, to: Relocation) -> Result<(), TaskError> {
        let clock = crate::clock::Stopwatch::start();
        let Relocation { guest, memory, done } = to;
        let taken = match &mut self.operator {
            Operator::Processor(own) => own.calls.move_to(guest, memory.clone()).await?,
            // It remembers nothing; its state is ours, and only who is charged changes.
            Operator::Keyed(keyed) => {
                let charged = memory.set(Part::State, keyed.state_bytes());
                let taken = charged.map_err(|r| out_of_memory("taking over its keyed state", &r));
                if taken.is_ok() {
                    keyed.move_to(guest, memory.clone());
                }
                taken
            }
        };
        if let Err(failure) = taken {
            // Who asked may be gone.
            let _ = done.send(Err(failure));
            return Ok(());
        }
        self.context.memory = memory;
        let _ = done.send(Ok(clock.elapsed()));
        Ok(())
    }
}

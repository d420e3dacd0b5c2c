//! Drives an operator without keyed state, and what becomes of records that crash it.
//! The calls themselves stand in `processing`.

use crate::{
    failure::Failure,
    stream::{Batch, DeadLetter},
    task_manager::{
        TaskError,
        gate::turn::breathe,
        operator_task::OperatorContext,
        poison::{Crashed, Division, reason},
        processing::Processing,
        recorder::Recorded,
    },
};

/// An operator without keyed state, of a subtask.
#[derive(Debug)]
pub struct ProcessorOperator {
    /// Its guest.
    pub calls: Processing,
}

impl ProcessorOperator {
    /// Processes a batch.
    ///
    /// # Errors
    /// As the calls into the guest; if a reader is gone.
    pub async fn batch(
        &mut self,
        context: &mut OperatorContext,
        port: u32,
        batch: &Batch,
    ) -> Result<(), TaskError> {
        match self.calls.process(port, batch).await {
            Ok(outcome) => context.forward(batch, outcome).await?,
            Err(failure) => {
                let event = Recorded::Batch { port, now: context.now(), batch: batch.clone() };
                context.report_crash(event, None, &failure).await;
                let cramped = self.calls.may_be_cramped(&failure);
                if context.watch.divides(&failure) && self.calls.can_go_back() && !cramped {
                    return self.divide(context, port, batch, &failure).await;
                }
                return Err(failure.into());
            }
        }
        self.came_on(context, port, batch).await
    }

    async fn came_on(
        &mut self,
        context: &mut OperatorContext,
        port: u32,
        batch: &Batch,
    ) -> Result<(), TaskError> {
        let now = context.now_if_recorded();
        if let Some(now) = now {
            context.recorder.note(Recorded::Batch { port, now, batch: batch.clone() });
        }
        Ok(self.calls.came_on(port, batch).await?)
    }

    /// Finds what of a batch crashes the guest, and goes on with the rest.
    async fn divide(
        &mut self,
        context: &mut OperatorContext,
        port: u32,
        batch: &Batch,
        first: &Failure,
    ) -> Result<(), TaskError> {
        let mut division = Division::new(batch.len());
        context.say_divided(batch.len(), first);
        self.calls.renew().await?;
        while let Some(part) = division.next() {
            breathe().await;
            let records = batch.slice(part);
            let failure = match self.calls.process(port, &records).await {
                Ok(outcome) => {
                    division.passed();
                    context.forward(&records, outcome).await?;
                    self.came_on(context, port, &records).await?;
                    continue;
                }
                Err(failure)
                    if failure.kind.breaks_call() && !self.calls.may_be_cramped(&failure) =>
                {
                    failure
                }
                Err(failure) => return Err(failure.into()),
            };
            self.calls.renew().await?;
            if let Crashed::Poison(index) = division.crashed(&failure)? {
                context.set_aside(letter_of(batch, index, &failure), &failure).await?;
            }
        }
        Ok(())
    }

    /// The input has ended.
    ///
    /// # Errors
    /// As [`batch`](Self::batch).
    pub async fn finish(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        match self.calls.finish().await {
            Ok(outcome) => context.forward(&Batch::default(), outcome).await,
            Err(failure) => {
                context.report_crash(Recorded::Finish, None, &failure).await;
                Err(failure.into())
            }
        }
    }
}

/// A record that crashed the guest.
#[must_use]
pub fn letter_of(batch: &Batch, index: usize, failure: &Failure) -> DeadLetter {
    DeadLetter {
        reason: reason("the record", failure),
        key: batch.key(index).to_vec(),
        value: batch.value(index).to_vec(),
        timestamp: batch.timestamp(index),
    }
}

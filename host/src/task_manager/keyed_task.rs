//! The calls of a keyed operator: the fold over a batch, and what is due.

use std::sync::Arc;

use crate::{
    failure::{Failure, FailureKind},
    memory::{Part, SlotMeter},
    sandbox::{FoldOutcome, Instance, Now},
    state::{Firing, GroupChunk, Groups, KeyedState},
    stream::{Batch, keys::KeyGroup},
    task_manager::{
        TaskError,
        gate::turn::breathe,
        operator_task::{OperatorContext, charge_call, out_of_memory},
    },
};

/// A keyed operator: its instance, which remembers nothing, and its state.
pub struct KeyedOperator {
    instance: Instance,
    state: KeyedState,
    /// What the slot is charged for.
    memory: Arc<SlotMeter>,
}

impl KeyedOperator {
    /// An instance with its state.
    #[must_use]
    pub fn new(instance: Instance, state: KeyedState, memory: Arc<SlotMeter>) -> Self {
        Self { instance, state, memory }
    }

    /// Goes on with another instance, in another slot.
    pub fn move_to(&mut self, instance: Instance, memory: Arc<SlotMeter>) {
        self.instance = instance;
        self.memory = memory;
    }

    /// Bytes of keyed state.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        self.state.bytes()
    }

    /// What changed, by key group.
    pub fn snapshot(&mut self) -> Vec<(KeyGroup, GroupChunk)> {
        self.state.snapshot()
    }

    /// When the next processing-time timer is due.
    #[must_use]
    pub fn next_processing(&self) -> Option<i64> {
        self.state.next_processing()
    }

    /// Folds a batch.
    ///
    /// # Errors
    /// As the calls into the guest; if a reader is gone.
    pub async fn batch(
        &mut self,
        context: &mut OperatorContext,
        port: u32,
        batch: Batch,
    ) -> Result<(), TaskError> {
        let groups = if self.state.has_sessions() {
            self.session_groups(&batch, context.watermark).await?
        } else {
            self.state.group(&batch, context.watermark)
        };
        context.late(&batch, &groups.late).await?;
        if groups.is_empty() {
            return Ok(());
        }
        let outcome = self.instance.fold(now(context), port, &batch, &groups).await?;
        self.take(context, &batch, &groups, outcome).await?;
        if let Some((due, groups)) = self.state.fire_again(&groups) {
            self.fire(context, &due, &groups).await?;
        }
        Ok(())
    }

    async fn session_groups(&mut self, batch: &Batch, watermark: i64) -> Result<Groups, Failure> {
        let mut plan = self.state.plan_sessions(batch, watermark);
        while let Some(pairs) = plan.pairs() {
            let merged = self.instance.merge(&pairs).await?;
            if !plan.merged(&merged) {
                let what = format!(
                    "`merge` was given {} pairs of states and answered with {}",
                    pairs.keys.len(),
                    merged.len()
                );
                return Err(Failure::new(FailureKind::InvalidOutcome, what));
            }
        }
        Ok(self.state.group_sessions(plan, watermark))
    }

    async fn take(
        &mut self,
        context: &mut OperatorContext,
        records: &Batch,
        groups: &Groups,
        outcome: FoldOutcome,
    ) -> Result<(), TaskError> {
        // Before the state grows by it.
        let copies = records.bytes() + groups.bytes() + outcome.bytes();
        charge_call(&self.memory, copies)?;
        self.state.apply(groups, &outcome.change).map_err(|e| {
            let what = format!("what the operator returned breaks the contract: {e}");
            Failure::new(FailureKind::InvalidOutcome, what)
        })?;
        let charged = self.memory.set(Part::State, self.state.bytes());
        charged.map_err(|refused| out_of_memory("its keyed state", &refused))?;
        context.forward(records, outcome.outcome).await
    }

    /// Fires what is due at a new watermark.
    ///
    /// # Errors
    /// As [`batch`](Self::batch).
    pub async fn advance(
        &mut self,
        context: &mut OperatorContext,
        watermark: i64,
    ) -> Result<(), TaskError> {
        while let Some((due, groups)) = self.state.due(watermark) {
            self.fire(context, &due, &groups).await?;
            // An operator that always sets the next timer must not hold a thread.
            breathe().await;
        }
        Ok(())
    }

    /// Fires processing-time timers that are due, as many as fit into one call.
    /// The rest has to wait its turn, behind the input: barriers must pass an
    /// operator that sets its next timer for now.
    ///
    /// # Errors
    /// As [`batch`](Self::batch).
    pub async fn fire_processing(
        &mut self,
        context: &mut OperatorContext,
    ) -> Result<(), TaskError> {
        let time = context.clock.now_millis();
        match self.state.due_processing(time) {
            Some((due, groups)) => self.fire(context, &due, &groups).await,
            None => Ok(()),
        }
    }

    async fn fire(
        &mut self,
        context: &mut OperatorContext,
        due: &[Firing],
        groups: &Groups,
    ) -> Result<(), TaskError> {
        let times = due.iter().map(|firing| firing.at).collect();
        let records =
            Batch::new(due.len(), Some(Arc::new(groups.keys.clone())), None, Some(Arc::new(times)));
        let outcome = self.instance.fire(now(context), due, groups, &records).await?;
        self.take(context, &records, groups, outcome).await
    }
}

fn now(context: &OperatorContext) -> Now {
    Now { watermark: context.watermark(), processing: context.clock.now_millis() }
}

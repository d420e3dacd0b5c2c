//! A keyed operator's guest with its state: calls that either change the state as
//! a whole or leave it as it was. Outputs are not known here: the subtask's driver
//! stands in `keyed_task`, and replays have one of their own.

use std::sync::Arc;

use crate::{
    failure::{Failure, FailureKind},
    memory::{Part, SlotMeter},
    sandbox::{FoldOutcome, Now, Outcome},
    state::{Firing, Groups, KeyedState},
    stream::{Batch, watermark},
    task_manager::{
        guest::Guest,
        operator_task::{charge_call, out_of_memory},
    },
};

/// A keyed operator: its instance, which remembers nothing, and its state.
#[derive(Debug)]
pub struct Folding {
    /// The instance.
    pub guest: Guest,
    /// The state.
    pub state: KeyedState,
    /// What the slot is charged for.
    pub memory: Arc<SlotMeter>,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Folded {
    /// What the operator made of it.
    pub outcome: Outcome,
    /// Records that came after all their windows were closed.
    pub late: Vec<u32>,
    /// What else is to be fired now: windows that had fired before.
    pub again: Option<(Vec<Firing>, Groups)>,
}

impl Folding {
    /// Folds a batch into the state.
    ///
    /// # Errors
    /// As the calls into the guest; then the state is as it was.
    pub async fn fold(&mut self, now: Now, port: u32, batch: &Batch) -> Result<Folded, Failure> {
        let watermark = now.watermark.unwrap_or(watermark::NONE);
        let mut groups = if self.state.has_sessions() {
            self.session_groups(batch, watermark).await?
        } else {
            self.state.group(batch, watermark)
        };
        let late = std::mem::take(&mut groups.late);
        if groups.is_empty() {
            return Ok(Folded { outcome: Outcome::default(), late, again: None });
        }
        let folded = match self.guest.awake().await {
            Ok(instance) => instance.fold(now, port, batch, &groups).await,
            Err(failure) => Err(failure),
        };
        match folded.and_then(|outcome| self.take(batch, &groups, outcome)) {
            Ok(outcome) => {
                let again = self.state.fire_again(&groups);
                Ok(Folded { outcome, late, again })
            }
            Err(failure) => {
                self.state.abandon(groups);
                Err(failure)
            }
        }
    }

    async fn session_groups(&mut self, batch: &Batch, watermark: i64) -> Result<Groups, Failure> {
        let mut plan = self.state.plan_sessions(batch, watermark);
        while let Some(pairs) = plan.pairs() {
            let merged = self.guest.awake().await?.merge(&pairs).await?;
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

    /// Hands over what is due.
    ///
    /// # Errors
    /// As the call into the guest; then the states are as they were, but what was due
    /// stays taken.
    pub async fn fire(
        &mut self,
        now: Now,
        due: &[Firing],
        groups: &Groups,
        records: &Batch,
    ) -> Result<Outcome, Failure> {
        let outcome = self.guest.awake().await?.fire(now, due, groups, records).await?;
        self.take(records, groups, outcome)
    }

    fn take(
        &mut self,
        records: &Batch,
        groups: &Groups,
        outcome: FoldOutcome,
    ) -> Result<Outcome, Failure> {
        // Before the state grows by it.
        let copies = records.bytes() + groups.bytes() + outcome.bytes();
        charge_call(&self.memory, copies)?;
        self.state.apply(groups, &outcome.change).map_err(|e| {
            let what = format!("what the operator returned breaks the contract: {e}");
            Failure::new(FailureKind::InvalidOutcome, what)
        })?;
        Ok(outcome.outcome)
    }

    /// Charges the slot for the state, which a call may have made larger.
    ///
    /// # Errors
    /// If that is more than it may hold.
    pub fn charge_state(&self) -> Result<(), Failure> {
        let charged = self.memory.set(Part::State, self.state.bytes());
        charged.map_err(|refused| out_of_memory("its keyed state", &refused))
    }
}

/// Firings as records, which emissions refer to.
#[must_use]
pub fn records_of(due: &[Firing], groups: &Groups) -> Batch {
    let times = due.iter().map(|firing| firing.at).collect();
    Batch::new(due.len(), Some(Arc::new(groups.keys.clone())), None, Some(Arc::new(times)))
}

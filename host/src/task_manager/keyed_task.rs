//! Drives a keyed operator: the fold over a batch, what is due, and what becomes of
//! records and timers that crash it. The calls themselves stand in `folding`.

use std::sync::Arc;

use crate::{
    failure::Failure,
    memory::SlotMeter,
    sandbox::{Now, Outcome},
    state::{Firing, GroupChunk, Groups},
    stream::{Batch, keys::KeyGroup},
    task_manager::{
        TaskError,
        folding::{Folded, Folding, records_of},
        gate::turn::breathe,
        guest::Guest,
        operator_task::OperatorContext,
        poison::{Crashed, Division},
        recorder::Recorded,
        work::Work,
    },
};

/// A keyed operator of a subtask.
#[derive(Debug)]
pub struct KeyedOperator {
    calls: Folding,
}

impl KeyedOperator {
    /// A guest with its state.
    #[must_use]
    pub fn new(calls: Folding) -> Self {
        Self { calls }
    }

    /// Goes on with another instance, in another slot.
    pub fn move_to(&mut self, guest: Guest, memory: Arc<SlotMeter>) {
        self.calls.guest = guest;
        self.calls.memory = memory;
    }

    /// Gives the guest's memory back until it is wanted again, with what the state keeps for the
    /// next call. The state stays.
    pub fn rest(&mut self) {
        self.calls.guest.rest();
        self.calls.state.give_back();
    }

    /// Bytes of keyed state.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        self.calls.state.bytes()
    }

    /// What changed, by key group.
    pub fn snapshot(&mut self, whole: bool) -> Vec<(KeyGroup, GroupChunk)> {
        let state = &mut self.calls.state;
        if whole { state.snapshot_whole() } else { state.snapshot() }
    }

    /// All of the state, as a base of each key group.
    #[must_use]
    pub fn whole_state(&self) -> Vec<(KeyGroup, Vec<u8>)> {
        self.calls.state.chunks_of(|_| true)
    }

    /// Whether a processing-time timer is due at a moment, in milliseconds since 1970.
    #[must_use]
    pub fn is_due(&self, now: i64) -> bool {
        self.next_processing().is_some_and(|due| due <= now)
    }

    /// When the next processing-time timer is due.
    #[must_use]
    pub fn next_processing(&self) -> Option<i64> {
        self.calls.state.next_processing()
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
        let now = context.now();
        match self.calls.fold(now, port, &batch).await {
            Ok(folded) => self.deliver(context, now, port, &batch, folded).await,
            Err(failure) => self.crashed(context, now, Work::Batch(port, batch), failure).await,
        }
    }

    /// Sends on what became of a batch, and fires what it made due.
    async fn deliver(
        &mut self,
        context: &mut OperatorContext,
        now: Now,
        port: u32,
        batch: &Batch,
        folded: Folded,
    ) -> Result<(), TaskError> {
        if context.recorder.is_on() {
            context.recorder.note(Recorded::Batch { port, now, batch: batch.clone() });
        }
        self.calls.charge_state()?;
        context.late(batch, &folded.late).await?;
        context.forward(batch, folded.outcome).await?;
        match folded.again {
            Some((due, groups)) => self.fire(context, now, due, groups).await,
            None => Ok(()),
        }
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
        let now = context.now();
        while let Some((due, groups)) = self.calls.state.due(watermark) {
            self.fire(context, now, due, groups).await?;
            // An operator that always sets the next timer must not hold a thread.
            breathe().await;
        }
        if context.recorder.is_on() {
            context.recorder.note(Recorded::Watermark { now });
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
        let now = context.now();
        let Some((due, groups)) = self.calls.state.due_processing(now.processing) else {
            return Ok(());
        };
        self.fire(context, now, due, groups).await?;
        if context.recorder.is_on() {
            context.recorder.note(Recorded::Clock { now });
        }
        Ok(())
    }

    async fn fire(
        &mut self,
        context: &mut OperatorContext,
        now: Now,
        due: Vec<Firing>,
        groups: Groups,
    ) -> Result<(), TaskError> {
        let records = records_of(&due, &groups);
        let firing = context.begin_firing();
        let answer = self.calls.fire(now, &due, &groups, &records).await;
        context.fired(firing, due.len(), answer.as_ref());
        let done = match answer {
            Ok(outcome) => self.fired(context, &records, outcome).await,
            Err(failure) => {
                let work = Work::Firings(due, Box::new(groups));
                self.crashed(context, now, work, failure).await
            }
        };
        context.end_firing(firing);
        done
    }

    async fn fired(
        &mut self,
        context: &mut OperatorContext,
        records: &Batch,
        outcome: Outcome,
    ) -> Result<(), TaskError> {
        self.calls.charge_state()?;
        context.forward(records, outcome).await
    }

    /// A call has crashed the guest, and the state is as it was before: unless this is
    /// no surprise any more, the subtask fails.
    async fn crashed(
        &mut self,
        context: &mut OperatorContext,
        now: Now,
        work: Work,
        failure: Failure,
    ) -> Result<(), TaskError> {
        if context.capsules && failure.kind.breaks_call() {
            let before = work.before(&mut self.calls.state);
            context.report_crash(work.event(now), Some(before), &failure).await;
        }
        if !context.watch.divides(&failure) {
            return Err(failure.into());
        }
        // What is divided may fire windows that crash again: that is divided in turn.
        Box::pin(self.divide(context, now, work, failure)).await
    }

    /// Finds what of it crashes the guest, and goes on with the rest.
    async fn divide(
        &mut self,
        context: &mut OperatorContext,
        now: Now,
        work: Work,
        first: Failure,
    ) -> Result<(), TaskError> {
        let mut division = Division::new(work.len());
        context.say_divided(work.len(), &first);
        self.calls.guest.renew().await?;
        while let Some(part) = division.next() {
            breathe().await;
            let failure = match &work {
                Work::Batch(port, batch) => {
                    let records = batch.slice(part.clone());
                    match self.calls.fold(now, *port, &records).await {
                        Ok(folded) => {
                            division.passed();
                            self.deliver(context, now, *port, &records, folded).await?;
                            continue;
                        }
                        Err(failure) => failure,
                    }
                }
                Work::Firings(due, groups) => {
                    let (due, groups) = self.calls.state.again(due, groups, part.clone());
                    let records = records_of(&due, &groups);
                    match self.calls.fire(now, &due, &groups, &records).await {
                        Ok(outcome) => {
                            division.passed();
                            self.fired(context, &records, outcome).await?;
                            continue;
                        }
                        Err(failure) => failure,
                    }
                }
            };
            if !failure.kind.breaks_call() {
                return Err(failure.into());
            }
            self.calls.guest.renew().await?;
            if let Crashed::Poison(index) = division.crashed(&failure)? {
                let letter = work.letter(index, &failure);
                context.set_aside(letter, &failure).await?;
                if matches!(work, Work::Firings(..)) {
                    // Whoever replays what came in would fire it again.
                    context.recorder.forget();
                }
            }
        }
        Ok(())
    }
}

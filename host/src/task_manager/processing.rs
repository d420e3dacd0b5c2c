//! A guest without keyed state: its calls, and how a fresh instance gets to where the
//! one that crashed was, for guests that keep state in their own memory. Outputs are
//! not known here: the subtask's driver stands in `processor_task`, and replays have
//! one of their own.

use std::sync::Arc;

use crate::{
    failure::Failure,
    memory::SlotMeter,
    sandbox::{MemoryDelta, Outcome},
    stream::Batch,
    task_manager::{gate::turn::breathe, guest::Guest, operator_task::charge_call},
};

/// How many bytes of records a way back may take before it is made shorter.
const LONGEST_WAY_BACK: usize = 4 << 20;

/// An operator without keyed state.
#[derive(Debug)]
pub struct Processing {
    guest: Guest,
    memory: Arc<SlotMeter>,
    /// Whether it keeps state in its own memory, which it can save.
    keeps_state: bool,
    /// How a fresh instance gets to where this one is, for guests that keep state:
    /// there while it may be needed.
    back: Option<WayBack>,
}

/// A state, and what came after it.
#[derive(Debug, Default)]
struct WayBack {
    /// What the guest said in its snapshot; none: it began afresh.
    snapshot: Option<Vec<u8>>,
    batches: Vec<(u32, Batch)>,
    bytes: usize,
}

impl WayBack {
    fn from(snapshot: Option<Vec<u8>>) -> Self {
        Self { snapshot, ..Self::default() }
    }
}

impl Processing {
    /// An instance. `restored` is what it was restored from, `watched` whether it
    /// may have to be brought back after a crash.
    #[must_use]
    pub fn new(
        guest: Guest,
        memory: Arc<SlotMeter>,
        keeps_state: bool,
        watched: bool,
        restored: Option<Vec<u8>>,
    ) -> Self {
        let back = (watched && keeps_state).then(|| WayBack::from(restored));
        Self { guest, memory, keeps_state, back }
    }

    /// Bytes that it holds beside the guest's own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let back = self.back.as_ref();
        back.map_or(0, |back| back.bytes + back.snapshot.as_ref().map_or(0, Vec::len))
    }

    /// Gives up the way back, where there is no memory for it.
    pub fn forget_way_back(&mut self) {
        self.back = None;
    }

    /// Whether [`renew`](Self::renew) leads to where the guest was.
    #[must_use]
    pub fn can_go_back(&self) -> bool {
        self.back.is_some() || !self.keeps_state
    }

    /// Goes on with another instance, in another slot, once that has taken over the
    /// state. If it cannot, everything stays as it was.
    ///
    /// # Errors
    /// That of the present instance, which cannot go on; or, within, that of the other.
    pub async fn move_to(
        &mut self,
        mut guest: Guest,
        memory: Arc<SlotMeter>,
    ) -> Result<Result<(), Failure>, Failure> {
        if self.saves_memory() {
            let whole = self.guest.instance()?.whole_memory().await?;
            if let Err(failure) = guest.take_memory(&whole).await {
                return Ok(Err(failure));
            }
        } else if let Some(state) = self.guest.instance()?.snapshot().await?
            && let Err(failure) = guest.instance()?.restore(&state).await
        {
            return Ok(Err(failure));
        }
        (self.guest, self.memory) = (guest, memory);
        Ok(Ok(()))
    }

    /// Whether the guest keeps state in its own memory.
    #[must_use]
    pub fn keeps_state(&self) -> bool {
        self.keeps_state
    }

    /// Processes a batch. If it goes through, and what came of it was taken,
    /// [`came_on`](Self::came_on) has to be told.
    ///
    /// # Errors
    /// As the call into the guest.
    pub async fn process(&mut self, port: u32, batch: &Batch) -> Result<Outcome, Failure> {
        let outcome = self.guest.instance()?.process(port, batch).await?;
        charge_call(&self.memory, batch.bytes() + outcome.bytes())?;
        Ok(outcome)
    }

    /// The guest has taken a batch in.
    ///
    /// # Errors
    /// If it cannot say its state, where the way back has become too long.
    pub async fn came_on(&mut self, port: u32, batch: &Batch) -> Result<(), Failure> {
        let Some(back) = &mut self.back else { return Ok(()) };
        back.bytes += batch.bytes();
        back.batches.push((port, batch.clone()));
        if back.bytes > LONGEST_WAY_BACK {
            self.begin_here().await?;
        }
        Ok(())
    }

    /// The way back begins at the state that the guest has now.
    async fn begin_here(&mut self) -> Result<(), Failure> {
        if self.back.is_some() {
            let snapshot = self.guest.instance()?.snapshot().await?;
            self.back = Some(WayBack::from(snapshot));
        }
        Ok(())
    }

    /// A fresh instance, with the state that the last one had before its last call.
    ///
    /// # Errors
    /// If it cannot be opened, or brought there.
    pub async fn renew(&mut self) -> Result<(), Failure> {
        self.guest.renew().await?;
        let Some(back) = &self.back else { return Ok(()) };
        let instance = self.guest.instance()?;
        if let Some(snapshot) = &back.snapshot {
            instance.restore(snapshot).await?;
        }
        if back.batches.is_empty() {
            return Ok(());
        }
        for (port, batch) in &back.batches {
            // What it emits was emitted already.
            let again = instance.process(*port, batch).await;
            again.map_err(|mut failure| {
                let what = "on the way back to the state before a crash, over records that it had \
                            taken before";
                failure.message = format!("{what}: {}", failure.message);
                failure
            })?;
            breathe().await;
        }
        // Once is enough.
        self.begin_here().await
    }

    /// The input has ended.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub async fn finish(&mut self) -> Result<Outcome, Failure> {
        self.guest.instance()?.finish().await
    }

    /// What a later instance needs to go on from here. `watched`: whether this one
    /// may have to be brought back to it.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub async fn snapshot(&mut self, watched: bool) -> Result<Option<Vec<u8>>, Failure> {
        let snapshot = self.guest.instance()?.snapshot().await?;
        self.back = self.back.take().filter(|_| watched).map(|_| WayBack::from(snapshot.clone()));
        Ok(snapshot)
    }

    /// Whether the guest's memory is saved.
    #[must_use]
    pub fn saves_memory(&self) -> bool {
        self.guest.saves_memory()
    }

    /// What of its memory changed since the last time.
    ///
    /// # Errors
    /// As [`memory_delta`](crate::sandbox::Instance::memory_delta) of the instance.
    pub async fn memory_delta(&mut self) -> Result<MemoryDelta, Failure> {
        self.guest.instance()?.memory_delta().await
    }

    /// Bytes of the guest's memories and tables.
    #[must_use]
    pub fn guest_memory(&self) -> usize {
        self.guest.memory()
    }
}

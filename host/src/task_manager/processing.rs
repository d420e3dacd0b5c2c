//! A guest without keyed state: its calls, and how a fresh instance gets to where the
//! one that crashed was, for guests that keep state in their own memory. Outputs are
//! not known here: the subtask's driver stands in `processor_task`, and replays have
//! one of their own.

use std::sync::Arc;

use crate::{
    failure::{Failure, FailureKind},
    memory::SlotMeter,
    sandbox::{Instance, MemoryDelta, Outcome},
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
    /// What the guest said before it was laid to rest, if it keeps state.
    asleep: Option<Vec<u8>>,
}

/// A state, and what came after it.
#[derive(Debug, Default)]
struct WayBack {
    base: Base,
    batches: Vec<(u32, Batch)>,
    bytes: usize,
    /// Whether it always begins there, however long it becomes: the slot is charged for
    /// nothing of it.
    fixed: bool,
}

/// What a way back begins with.
#[derive(Debug, Default)]
enum Base {
    /// A fresh instance.
    #[default]
    Fresh,
    /// What the guest said in its snapshot.
    Exported(Vec<u8>),
    /// Its memory. The slot is charged for that already, unless the way back is fixed.
    Memory(Box<MemoryDelta>),
}

impl WayBack {
    fn of(snapshot: Option<Vec<u8>>) -> Self {
        let base = snapshot.map_or(Base::Fresh, Base::Exported);
        Self { base, ..Self::default() }
    }

    fn held(&self) -> usize {
        let base = if let Base::Exported(snapshot) = &self.base { snapshot.len() } else { 0 };
        base + self.bytes
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
        let back = (watched && keeps_state).then(|| WayBack::of(restored));
        Self { guest, memory, keeps_state, back, asleep: None }
    }

    /// An instance whose memory is state, to be fed what another one was fed: what it began
    /// with, if that is not an instance that was just opened, is kept beside its slot,
    /// which so has the room that the other one's had.
    #[must_use]
    pub fn replaying(guest: Guest, memory: Arc<SlotMeter>, began: Option<MemoryDelta>) -> Self {
        let base = began.map_or(Base::Fresh, |whole| Base::Memory(Box::new(whole)));
        let back = Some(WayBack { base, fixed: true, ..WayBack::default() });
        Self { guest, memory, keeps_state: true, back, asleep: None }
    }

    /// Bytes that it holds beside the guest's own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let asleep = self.asleep.as_ref().map_or(0, Vec::len);
        self.back.as_ref().map_or(0, WayBack::held) + asleep
    }

    /// Gives the guest's memory back until it is wanted again. One that keeps state says it
    /// first; one whose memory is its state keeps it, and so does one whose state takes more
    /// than its memory. Says whether it rests.
    ///
    /// # Errors
    /// If it cannot say its state.
    pub async fn rest(&mut self) -> Result<bool, Failure> {
        if self.guest.is_resting() || self.saves_memory() || self.back.is_some() {
            return Ok(self.guest.is_resting());
        }
        if self.keeps_state {
            let Some(said) = self.guest.instance()?.snapshot().await? else { return Ok(false) };
            if said.len() >= self.guest.memory() {
                return Ok(false);
            }
            self.asleep = Some(said);
        }
        self.guest.rest();
        Ok(true)
    }

    /// The instance, with its state, if it rested.
    async fn awake(&mut self) -> Result<&mut Instance, Failure> {
        let rested = self.guest.is_resting();
        let instance = self.guest.awake().await?;
        if rested && let Some(said) = self.asleep.take() {
            instance.restore(&said).await?;
        }
        Ok(instance)
    }

    /// Gives up the way back, where there is no memory for it.
    pub fn forget_way_back(&mut self) {
        self.back = None;
    }

    /// Whether a call may have failed only for want of the room that the way back takes.
    #[must_use]
    pub fn may_be_cramped(&self, failure: &Failure) -> bool {
        let memory = self.back.as_ref().is_some_and(|back| matches!(back.base, Base::Memory(_)));
        memory && failure.kind == FailureKind::OutOfMemory
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
            let whole = match self.guest.instance()?.whole_memory().await {
                Ok(whole) => whole,
                // There is no room for a copy: it stays where it is.
                Err(failure) if failure.kind == FailureKind::OutOfMemory => {
                    return Ok(Err(failure));
                }
                Err(failure) => return Err(failure),
            };
            if let Err(failure) = guest.take_memory(&whole).await {
                return Ok(Err(failure));
            }
        } else if let Some(state) = self.awake().await?.snapshot().await?
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
        let outcome = self.awake().await?.process(port, batch).await?;
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
        if back.bytes > LONGEST_WAY_BACK && !back.fixed {
            self.begin_here().await?;
        }
        Ok(())
    }

    /// The way back begins at the state that the guest has now.
    async fn begin_here(&mut self) -> Result<(), Failure> {
        if self.back.is_some() {
            // First, since there may be no room for two.
            self.back = None;
            self.back = if self.saves_memory() {
                self.memory_here().await?
            } else {
                Some(WayBack::of(self.guest.instance()?.snapshot().await?))
            };
        }
        Ok(())
    }

    /// None if the slot has no room for another copy of the memory.
    async fn memory_here(&mut self) -> Result<Option<WayBack>, Failure> {
        let base = self.whole_memory().await?.map(|whole| Base::Memory(Box::new(whole)));
        Ok(base.map(|base| WayBack { base, ..WayBack::default() }))
    }

    /// All of a guest's memory, which is saved; none if the slot has no room for a copy.
    ///
    /// # Errors
    /// If its memory cannot be read.
    pub async fn whole_memory(&mut self) -> Result<Option<MemoryDelta>, Failure> {
        match self.guest.instance()?.whole_memory().await {
            Ok(whole) => Ok(Some(whole)),
            Err(failure) if failure.kind == FailureKind::OutOfMemory => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Watches a guest whose memory is saved, from here on, and as long as it may be
    /// needed: `watched`.
    ///
    /// # Errors
    /// If its memory cannot be read.
    pub async fn watch_memory(&mut self, watched: bool) -> Result<(), Failure> {
        // What is there goes first, since there may be no room for two.
        self.back = None;
        if watched {
            self.back = self.memory_here().await?;
        }
        Ok(())
    }

    /// A fresh instance, with the state that the last one had before its last call.
    ///
    /// # Errors
    /// If it cannot be opened, or brought there.
    pub async fn renew(&mut self) -> Result<(), Failure> {
        let Some(back) = &self.back else {
            if self.keeps_state {
                // A fresh one would have lost it.
                let what = "there is no room in its slot for a copy of its memory to go back to";
                return Err(Failure::new(FailureKind::OutOfMemory, what));
            }
            return self.guest.renew().await;
        };
        match &back.base {
            Base::Fresh => self.guest.renew().await?,
            Base::Exported(snapshot) => {
                self.guest.renew().await?;
                self.guest.instance()?.restore(snapshot).await?;
            }
            Base::Memory(whole) => self.guest.take_memory(whole).await?,
        }
        let instance = self.guest.instance()?;
        let again = !back.fixed && !back.batches.is_empty();
        for (port, batch) in &back.batches {
            // What it emits was emitted already.
            let taken = instance.process(*port, batch).await;
            taken.map_err(|mut failure| {
                let what = "on the way back to the state before a crash, over records that it had \
                            taken before";
                failure.message = format!("{what}: {}", failure.message);
                failure
            })?;
            breathe().await;
        }
        // Once is enough.
        if again { self.begin_here().await } else { Ok(()) }
    }

    /// The input has ended.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub async fn finish(&mut self) -> Result<Outcome, Failure> {
        self.awake().await?.finish().await
    }

    /// What a later instance needs to go on from here. `watched`: whether this one
    /// may have to be brought back to it.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub async fn snapshot(&mut self, watched: bool) -> Result<Option<Vec<u8>>, Failure> {
        let snapshot = match self.guest.is_resting() {
            // It has done nothing since then.
            true => self.asleep.clone(),
            false => self.guest.instance()?.snapshot().await?,
        };
        self.back = self.back.take().filter(|_| watched).map(|_| WayBack::of(snapshot.clone()));
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
    /// With `whole`, all of it.
    pub async fn memory_delta(&mut self, whole: bool) -> Result<MemoryDelta, Failure> {
        let instance = self.guest.instance()?;
        // The next one begins here, whether or not this one is used.
        let delta = instance.memory_delta().await?;
        if whole { instance.whole_memory().await } else { Ok(delta) }
    }

    /// Bytes of the guest's memories and tables.
    #[must_use]
    pub fn guest_memory(&self) -> usize {
        self.guest.memory()
    }
}

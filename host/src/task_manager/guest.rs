//! The instance of a subtask's operator, and how another one is made in its
//! place. What it is called for stands in `processor_task` and `folding`.

use crate::{
    failure::{Failure, FailureKind},
    sandbox::{Artifact, Instance, MemoryDelta, SlotSettings, memory_snapshot::Restoring},
};

/// Makes instances of one subtask's operator, each in a sandbox of its own.
#[derive(Debug, Clone)]
pub struct Maker {
    /// What they run.
    pub artifact: Artifact,
    /// What the slot gives them.
    pub settings: SlotSettings,
}

impl Maker {
    /// Makes an instance and opens it.
    ///
    /// # Errors
    /// As [`Artifact::instantiate`].
    pub async fn open(&self) -> Result<Instance, Failure> {
        self.artifact.instantiate(&self.settings).await
    }

    /// Makes an instance whose memory will be what it was in another one.
    ///
    /// # Errors
    /// As [`Artifact::restore_memory`].
    pub async fn begin_restore(&self) -> Result<Restoring, Failure> {
        self.artifact.restore_memory(&self.settings).await
    }
}

/// The instance that a subtask has now.
#[derive(Debug)]
pub struct Guest {
    maker: Maker,
    /// None while it rests, between two instances, and after the next one could not be made.
    instance: Option<Instance>,
    /// Whether there is none only because there was nothing to do.
    resting: bool,
}

impl Guest {
    /// Of an instance that `maker` made.
    #[must_use]
    pub fn new(maker: Maker, instance: Instance) -> Self {
        Self { maker, instance: Some(instance), resting: false }
    }

    /// The instance, to be called.
    ///
    /// # Errors
    /// If the last [`renew`](Self::renew) failed.
    pub fn instance(&mut self) -> Result<&mut Instance, Failure> {
        let gone = || Failure::new(FailureKind::HostBug, "a slot is used that has no instance");
        self.instance.as_mut().ok_or_else(gone)
    }

    /// The instance, to be called; one that is opened if it rested.
    ///
    /// # Errors
    /// As [`instance`](Self::instance), and [`Maker::open`].
    pub async fn awake(&mut self) -> Result<&mut Instance, Failure> {
        if self.resting {
            self.renew().await?;
        }
        self.instance()
    }

    /// Drops the instance, whose memory goes back to whoever has use for it, until it is wanted
    /// again. What it remembers is lost.
    pub fn rest(&mut self) {
        self.resting = self.instance.take().is_some() || self.resting;
    }

    /// Whether it rests.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.resting
    }

    /// Bytes of its memories and tables.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.instance.as_ref().map_or(0, Instance::memory)
    }

    /// Whether its memory is saved.
    #[must_use]
    pub fn saves_memory(&self) -> bool {
        self.instance.as_ref().is_some_and(Instance::saves_memory)
    }

    /// Drops the instance, and makes one in its place that goes on with the memory of
    /// another one.
    ///
    /// # Errors
    /// If there is no room for it.
    pub async fn take_memory(&mut self, whole: &MemoryDelta) -> Result<(), Failure> {
        (self.instance, self.resting) = (None, false);
        self.instance = Some(self.maker.begin_restore().await?.fill(whole).await?);
        Ok(())
    }

    /// Drops the instance, and makes a fresh one in its place: the slot never has to
    /// hold two.
    ///
    /// # Errors
    /// As [`Maker::open`].
    pub async fn renew(&mut self) -> Result<(), Failure> {
        (self.instance, self.resting) = (None, false);
        self.instance = Some(self.maker.open().await?);
        Ok(())
    }
}

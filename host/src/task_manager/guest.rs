//! The instance of a subtask's operator, and how another one is made in its
//! place. What it is called for stands in `processor_task` and `folding`.

use crate::{
    failure::{Failure, FailureKind},
    sandbox::{Artifact, Instance, SlotSettings},
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
}

/// The instance that a subtask has now.
#[derive(Debug)]
pub struct Guest {
    maker: Maker,
    /// None only between two instances, and after the next one could not be made.
    instance: Option<Instance>,
}

impl Guest {
    /// Of an instance that `maker` made.
    #[must_use]
    pub fn new(maker: Maker, instance: Instance) -> Self {
        Self { maker, instance: Some(instance) }
    }

    /// The instance, to be called.
    ///
    /// # Errors
    /// If the last [`renew`](Self::renew) failed.
    pub fn instance(&mut self) -> Result<&mut Instance, Failure> {
        let gone = || Failure::new(FailureKind::HostBug, "a slot is used that has no instance");
        self.instance.as_mut().ok_or_else(gone)
    }

    /// Bytes of its memories and tables.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.instance.as_ref().map_or(0, Instance::memory)
    }

    /// Drops the instance, and makes a fresh one in its place: the slot never has to
    /// hold two.
    ///
    /// # Errors
    /// As [`Maker::open`].
    pub async fn renew(&mut self) -> Result<(), Failure> {
        self.instance = None;
        self.instance = Some(self.maker.open().await?);
        Ok(())
    }
}

//! Operators without keyed state: what an author implements.

use crate::{Batch, Context, Error, Outcome};

/// An operator whose answer depends on the batch alone, or on what it keeps in
/// its own memory (then see [`Snapshot`]).
///
/// ```
/// use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor, testing::Harness};
///
/// /// Drops empty lines.
/// struct NonEmpty;
///
/// impl Processor for NonEmpty {
///     fn open(_: &Context) -> Result<Self, Error> {
///         Ok(Self)
///     }
///
///     fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
///         for record in batch.records().filter(|r| !r.value().is_empty()) {
///             out.keep(&record);
///         }
///         Ok(())
///     }
/// }
///
/// cofferdam_sdk::export!(processor: NonEmpty);
///
/// let mut harness = Harness::processor::<NonEmpty>(serde_json::json!({}))?;
/// let answer = harness.values(["a", "", "b"])?;
/// assert_eq!(answer.texts(0), ["a", "b"]);
/// # Ok::<(), Error>(())
/// ```
pub trait Processor: Sized + 'static {
    /// Makes the operator. Read and check the configuration here.
    ///
    /// # Errors
    /// Stop the job; the message is shown to the person who runs it.
    fn open(ctx: &Context) -> Result<Self, Error>;

    /// Processes a batch. Which input port it came in by says [`Batch::input`].
    ///
    /// # Errors
    /// Fail the whole batch, and the job under its restart strategy. To refuse a
    /// single record, use [`Outcome::reject`].
    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error>;

    /// The last chance to emit, after the last batch of a bounded input. Emit
    /// with [`Outcome::emit_fresh`].
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    fn finish(&mut self, out: &mut Outcome) -> Result<(), Error> {
        let _ = out;
        Ok(())
    }
}

/// A [`Processor`] whose memory outlives a restart. Export it with
/// `export!(stateful: ...)`.
///
/// Keyed state in the host ([`KeyedProcessor`](crate::KeyedProcessor)) is nearly
/// always the better choice: it is checkpointed in increments, and moves when
/// the parallelism changes. A snapshot stays with its subtask.
pub trait Snapshot: Processor {
    /// Everything that a fresh instance needs to go on from here, in a format
    /// that later versions of the operator can read.
    ///
    /// # Errors
    /// Fail the checkpoint.
    fn snapshot(&self) -> Result<Vec<u8>, Error>;

    /// Called after `open`, before the first batch, with what
    /// [`snapshot`](Self::snapshot) gave.
    ///
    /// # Errors
    /// Stop the job; say what does not fit.
    fn restore(&mut self, state: &[u8]) -> Result<(), Error>;
}

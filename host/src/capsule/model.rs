//! What is in a capsule. Its bytes stand in `format`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    capsule::memory::GuestMemory,
    failure::Failure,
    ids::{CheckpointId, JobName, OperatorName},
    sandbox::{Now, OperatorKind},
    state::windows::Windows,
    stream::{
        Batch, Column,
        keys::{KeyGroup, MAX_KEY_GROUPS},
    },
    task_manager::recorder::Recorded,
};

/// How many records a batch may have.
const MOST_RECORDS: usize = 16 << 20;

/// All that it takes to run a stretch of an operator's life again. With a failure it is
/// a crash capsule, and ends with the event that crashed; without one, a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capsule {
    /// The program that wrote it, with its version.
    pub written_by: String,
    /// The contract that the operator was run by.
    pub contract: String,
    /// When, milliseconds since 1970.
    pub taken_at: i64,
    /// Whose.
    pub job: JobName,
    /// The operator and its settings.
    pub operator: OperatorSettings,
    /// Whether payloads and state were taken out.
    pub redacted: bool,
    /// What the state is of.
    pub from: From,
    /// The state to begin with.
    pub state: SavedState,
    /// What came in after that, in order.
    pub events: Vec<Event>,
    /// Why it may not lead to the same, if anything is missing.
    pub incomplete: Option<String>,
    /// How it ended.
    pub failure: Option<Failure>,
    /// What its guest had in its memory, which is state with `state = "memory"`. What is of
    /// format version 1 knows nothing of it, and ends before.
    pub memory: GuestMemory,
}

/// What of `[[operator]]` and of the plan it takes to open the operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorSettings {
    /// `name`
    pub name: OperatorName,
    /// `artifact`, as the job file has it.
    pub artifact: String,
    /// The SHA-256 digest of the component, in hexadecimal.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// What it is.
    pub kind: OperatorKind,
    /// Which parallel instance.
    pub subtask: u32,
    /// Of how many.
    pub parallelism: u32,
    /// The number of key groups.
    pub max_parallelism: u32,
    /// How many inputs are connected.
    pub inputs: u32,
    /// How many output ports have names.
    pub outputs: u32,
    /// `window`
    pub windows: Option<Windows>,
    /// `memory`, in bytes.
    pub memory: u64,
    /// `deadline`, in milliseconds.
    pub deadline_millis: u64,
    /// `grants`, as the job file has them.
    pub grants: Vec<String>,
    /// `config`, as JSON.
    pub config: String,
}

/// What the state of a capsule is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum From {
    /// The beginning: there is none.
    Beginning,
    /// A checkpoint.
    Checkpoint(CheckpointId),
    /// The moment before the call that crashed, of the keys in hand only.
    Call,
}

/// State to begin with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedState {
    /// Of a keyed operator: the chunks of each key group, as in a checkpoint.
    pub keyed: Vec<(KeyGroup, Vec<ByteBuf>)>,
    /// Of a guest that keeps its own: what it said in its snapshot.
    pub guest: Option<ByteBuf>,
    /// Where that was taken out: how many bytes there were.
    pub redacted_bytes: u64,
}

/// What came in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A batch.
    Batch {
        /// On which input port.
        port: u32,
        /// When.
        now: Time,
        /// The records.
        batch: SavedBatch,
    },
    /// The watermark came on.
    Watermark {
        /// When.
        now: Time,
    },
    /// The clock came on.
    Clock {
        /// When.
        now: Time,
    },
    /// The input had ended.
    Finish,
}

/// What time it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// The watermark, once there was one.
    pub watermark: Option<i64>,
    /// Milliseconds since 1970.
    pub processing: i64,
}

/// Records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedBatch {
    len: u32,
    keys: Option<SavedColumn>,
    values: Option<SavedColumn>,
    timestamps: Option<Vec<i64>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SavedColumn {
    data: ByteBuf,
    offsets: Vec<u32>,
}

impl std::convert::From<Now> for Time {
    fn from(now: Now) -> Self {
        Self { watermark: now.watermark, processing: now.processing }
    }
}

impl std::convert::From<Time> for Now {
    fn from(time: Time) -> Self {
        Self { watermark: time.watermark, processing: time.processing }
    }
}

impl SavedColumn {
    fn of(column: &Column) -> Self {
        let data = ByteBuf::from(column.data());
        Self { data, offsets: column.offsets().to_vec() }
    }

    fn column(&self) -> Result<Column, String> {
        let column = Column::from_parts(self.data.to_vec(), self.offsets.clone());
        column.map_err(|e| format!("a column is malformed: {e}"))
    }
}

impl SavedBatch {
    /// Of a batch.
    #[must_use]
    pub fn of(batch: &Batch) -> Self {
        Self {
            // Offsets are 32 bits, and so are the indexes of records.
            len: u32::try_from(batch.len()).unwrap_or(u32::MAX),
            keys: batch.keys().map(|c| SavedColumn::of(c)),
            values: batch.values().map(|c| SavedColumn::of(c)),
            timestamps: batch.timestamps().map(|t| t.to_vec()),
        }
    }

    /// As a batch.
    ///
    /// # Errors
    /// If its columns are none, or do not fit each other.
    pub fn batch(&self) -> Result<Batch, String> {
        let len = self.len as usize;
        let column = |saved: &Option<SavedColumn>| {
            let column = saved.as_ref().map(SavedColumn::column).transpose()?;
            match column {
                Some(column) if column.len() != len => {
                    Err(format!("a column has {} entries for {len} records", column.len()))
                }
                column => Ok(column.map(Arc::new)),
            }
        };
        let (keys, values) = (column(&self.keys)?, column(&self.values)?);
        if self.timestamps.as_ref().is_some_and(|times| times.len() != len) {
            return Err(format!("there are not {len} event times for {len} records"));
        }
        if len > MOST_RECORDS {
            // Without a column nothing else bounds their number.
            return Err(format!("there are {len} records in a batch, more than {MOST_RECORDS}"));
        }
        Ok(Batch::new(len, keys, values, self.timestamps.clone().map(Arc::new)))
    }
}

impl Event {
    /// Of what a subtask recorded.
    #[must_use]
    pub fn of(recorded: &Recorded) -> Self {
        match recorded {
            Recorded::Batch { port, now, batch } => {
                Self::Batch { port: *port, now: (*now).into(), batch: SavedBatch::of(batch) }
            }
            Recorded::Watermark { now } => Self::Watermark { now: (*now).into() },
            Recorded::Clock { now } => Self::Clock { now: (*now).into() },
            Recorded::Finish => Self::Finish,
        }
    }

    /// As what a subtask recorded.
    ///
    /// # Errors
    /// As [`SavedBatch::batch`].
    pub fn recorded(&self) -> Result<Recorded, String> {
        Ok(match self {
            Self::Batch { port, now, batch } => {
                Recorded::Batch { port: *port, now: (*now).into(), batch: batch.batch()? }
            }
            Self::Watermark { now } => Recorded::Watermark { now: (*now).into() },
            Self::Clock { now } => Recorded::Clock { now: (*now).into() },
            Self::Finish => Recorded::Finish,
        })
    }
}

impl Capsule {
    /// What the program that writes one calls itself.
    #[must_use]
    pub fn this_program() -> String {
        format!("cofferdam {}", env!("CARGO_PKG_VERSION"))
    }

    /// The events, as a subtask gets them.
    ///
    /// # Errors
    /// As [`SavedBatch::batch`].
    pub fn recorded(&self) -> Result<Vec<Recorded>, String> {
        self.events.iter().map(Event::recorded).collect()
    }

    /// Whether it holds together, as everything that this program writes does.
    pub(super) fn check(&self) -> Result<(), String> {
        let OperatorSettings { subtask, parallelism, max_parallelism, .. } = self.operator;
        if !(1..=MAX_KEY_GROUPS).contains(&max_parallelism)
            || !(1..=max_parallelism).contains(&parallelism)
            || subtask >= parallelism
        {
            return Err(format!(
                "subtask {subtask} of {parallelism}, with {max_parallelism} key groups, cannot be"
            ));
        }
        if let GuestMemory::Then(memory) = &self.memory {
            memory.check()?;
        }
        self.recorded().map(drop)
    }

    /// Whether its operator's memory is state.
    #[must_use]
    pub fn saves_memory(&self) -> bool {
        self.memory != GuestMemory::NotSaved
    }

    /// The same without payloads: values are letters, as many as there were bytes; keys
    /// are others of the same length (the same ones for the same); there is no state.
    /// What the guest said is left out. Times, sizes, and the configuration stay.
    ///
    /// `secret` makes keys that cannot be guessed back; choose it by chance, and forget it.
    #[must_use]
    pub fn redacted(mut self, secret: &[u8; 32]) -> Self {
        self.redacted = true;
        let keyed = self.state.keyed.iter().flat_map(|(_, chunks)| chunks).map(|c| c.len());
        let mut bytes = keyed.sum::<usize>() + self.state.guest.as_ref().map_or(0, |g| g.len());
        if let GuestMemory::Then(memory) = &self.memory {
            bytes += memory.bytes();
            self.memory = GuestMemory::Fresh;
        }
        self.state = SavedState { redacted_bytes: bytes as u64, ..SavedState::default() };
        for event in &mut self.events {
            if let Event::Batch { batch, .. } = event {
                if let Some(values) = &mut batch.values {
                    values.data.fill(b'x');
                }
                if let Some(keys) = &mut batch.keys {
                    redact_keys(keys, secret);
                }
            }
        }
        if let Some(failure) = &mut self.failure {
            failure.message = format!("{} (what it said is redacted)", failure.kind.label());
        }
        self.incomplete = Some("payloads and state were taken out; it may not crash again".into());
        self
    }
}

fn redact_keys(keys: &mut SavedColumn, secret: &[u8; 32]) {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    for i in 1..keys.offsets.len() {
        let range = keys.offsets[i - 1] as usize..keys.offsets[i] as usize;
        let Some(key) = keys.data.get_mut(range) else { continue };
        let mut digits = blake3::Hasher::new_keyed(secret).update(key).finalize_xof();
        digits.fill(key);
        key.iter_mut().for_each(|byte| *byte = DIGITS[usize::from(*byte % 32)]);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        capsule::memory, failure::FailureKind, sandbox::memory_snapshot::PAGE, stream::BatchBuilder,
    };

    /// One with everything in it.
    pub(crate) fn capsule() -> Capsule {
        let now = Time { watermark: Some(-5), processing: 99 };
        let mut builder = BatchBuilder::new();
        builder.push(Some(b"alice"), b"secret 1", Some(1));
        builder.push(Some(b"bob"), b"secret two", Some(2));
        builder.push(Some(b"alice"), b"", Some(3));
        let batch = SavedBatch::of(&builder.take());
        Capsule {
            written_by: Capsule::this_program(),
            contract: "cofferdam:operator@0.1.0".into(),
            taken_at: 1_700_000_000_000,
            job: JobName::new("j").unwrap(),
            operator: OperatorSettings {
                name: OperatorName::new("o").unwrap(),
                artifact: "./o.wasm".into(),
                digest: "00".repeat(32),
                size: 7,
                kind: OperatorKind::Keyed { merge: false },
                subtask: 1,
                parallelism: 2,
                max_parallelism: 128,
                inputs: 1,
                outputs: 1,
                windows: None,
                memory: 1 << 20,
                deadline_millis: 30_000,
                grants: vec!["log".into()],
                config: "{}".into(),
            },
            redacted: false,
            from: From::Checkpoint(CheckpointId(3)),
            state: SavedState {
                keyed: vec![(KeyGroup(5), vec![ByteBuf::from(*b"secret state")])],
                guest: Some(ByteBuf::from(*b"secret snapshot")),
                redacted_bytes: 0,
            },
            events: vec![
                Event::Batch { port: 0, now, batch },
                Event::Watermark { now },
                Event::Clock { now },
                Event::Finish,
            ],
            incomplete: None,
            failure: Some(Failure {
                kind: FailureKind::GuestTrap,
                message: "no secret 1 please".into(),
                backtrace: vec!["o::process".into()],
            }),
            memory: GuestMemory::Then(memory::tests::memory()),
        }
    }

    #[test]
    fn a_redacted_one_keeps_shapes_and_which_keys_are_the_same_but_no_payload() {
        let bytes = capsule().redacted(&[7; 32]).encode();
        let found = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        for payload in ["alice", "bob", "secret"] {
            assert!(!found(payload.as_bytes()), "{payload} is in it");
        }
        assert!(found(b"o::process"), "the backtrace stays");
        let redacted = Capsule::decode(&bytes).unwrap();
        assert_eq!(redacted.state.redacted_bytes, 12 + 15 + 2 * PAGE as u64);
        assert_eq!(redacted.memory, GuestMemory::Fresh);
        let Event::Batch { batch, .. } = &redacted.events[0] else { unreachable!("a batch") };
        let batch = batch.batch().unwrap();
        assert_eq!((batch.key(0), batch.key(1).len()), (batch.key(2), 3));
        assert_eq!((batch.value(0), batch.value(2)), (&b"xxxxxxxx"[..], &b""[..]));
        assert_eq!(batch.timestamp(1), Some(2));
        let other = capsule().redacted(&[8; 32]);
        assert_ne!(redacted.events[0], other.events[0], "keys depend on the secret");
    }

    #[test]
    fn what_does_not_hold_together_is_refused() {
        let mut lone = capsule();
        lone.operator.subtask = 2;
        assert!(lone.check().unwrap_err().contains("subtask 2 of 2"));
        let mut torn = capsule();
        let Event::Batch { batch, .. } = &mut torn.events[0] else { unreachable!("a batch") };
        batch.len = 4;
        assert!(torn.check().unwrap_err().contains("3 entries for 4 records"));
        let Event::Batch { batch, .. } = &mut torn.events[0] else { unreachable!("a batch") };
        *batch = SavedBatch { len: u32::MAX, keys: None, values: None, timestamps: None };
        assert!(torn.check().is_err());
    }
}

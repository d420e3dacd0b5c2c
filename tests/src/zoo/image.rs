//! What an operator answers, as the bytes that lie in its memory: the layout of
//! the Canonical ABI, with room for what no compiler would write, such as lists
//! that leave the memory.

use super::ANSWER;

/// A list: its elements, or a pointer and length that need not make sense.
#[derive(Debug, Clone)]
pub enum List {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Numbers of 32 bits.
    U32(Vec<u32>),
    /// Numbers of 64 bits.
    I64(Vec<i64>),
    /// Wherever this points.
    At {
        /// The address.
        address: u32,
        /// How many elements.
        len: u32,
    },
}

/// A column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its bytes.
    pub data: List,
    /// Where values begin and end.
    pub offsets: List,
}

impl Column {
    /// A column with these bytes and offsets.
    #[must_use]
    pub fn new(data: &[u8], offsets: &[u32]) -> Self {
        Self { data: List::Bytes(data.to_vec()), offsets: List::U32(offsets.to_vec()) }
    }
}

/// Where an emission's records stem from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Nowhere.
    Fresh,
    /// The whole batch.
    Same,
    /// Some records of it.
    Keep(List),
    /// A case that the contract does not have.
    Unknown(u8),
}

/// Records for a port.
#[derive(Debug, Clone)]
pub struct Emission {
    /// The port.
    pub port: u32,
    /// Their origin.
    pub origin: Origin,
    /// New keys.
    pub keys: Option<Column>,
    /// New values.
    pub values: Option<Column>,
    /// New event times.
    pub timestamps: Option<List>,
}

impl Emission {
    /// Records of this origin, with nothing new, to port 0.
    #[must_use]
    pub fn of(origin: Origin) -> Self {
        Self { port: 0, origin, keys: None, values: None, timestamps: None }
    }

    /// Fresh values.
    #[must_use]
    pub fn values(column: Column) -> Self {
        Self { values: Some(column), ..Self::of(Origin::Fresh) }
    }
}

/// A rejected record.
#[derive(Debug, Clone)]
pub struct Rejection {
    /// Which.
    pub index: u32,
    /// Why, in what ought to be UTF-8.
    pub reason: List,
}

/// What `process` answers.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Emissions.
    pub emissions: Vec<Emission>,
    /// Rejections.
    pub rejected: Vec<Rejection>,
}

/// A timer.
#[derive(Debug, Clone, Copy)]
pub struct Timer {
    /// The group.
    pub group: u32,
    /// 0 is event time, 1 processing time.
    pub kind: u8,
    /// When.
    pub at: i64,
}

/// What `fold` answers.
#[derive(Debug, Clone)]
pub struct FoldOutcome {
    /// Emissions and rejections.
    pub outcome: Outcome,
    /// Changed groups.
    pub changed: List,
    /// Their states.
    pub states: Column,
    /// Timers to set.
    pub set_timers: Vec<Timer>,
    /// Timers to delete.
    pub delete_timers: Vec<Timer>,
}

impl Default for FoldOutcome {
    fn default() -> Self {
        Self {
            outcome: Outcome::default(),
            changed: List::U32(Vec::new()),
            states: Column::new(&[], &[]),
            set_timers: Vec::new(),
            delete_timers: Vec::new(),
        }
    }
}

/// Bytes from [`ANSWER`] on. What has a fixed place is written first; lists are
/// laid down behind.
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn with_room(room: usize) -> Self {
        Self { bytes: vec![0; room] }
    }

    fn u32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Lays bytes down, aligned for any element, and says at which index.
    fn lay(&mut self, bytes: &[u8]) -> usize {
        let at = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(at, 0);
        self.bytes.extend_from_slice(bytes);
        at
    }

    fn pair(&mut self, at: usize, index: usize, len: usize) {
        self.u32(at, ANSWER + u32::try_from(index).expect("a small image"));
        self.u32(at + 4, u32::try_from(len).expect("a small image"));
    }

    fn list(&mut self, at: usize, list: &List) {
        let (bytes, len) = match list {
            List::Bytes(bytes) => (bytes.clone(), bytes.len()),
            List::U32(n) => (n.iter().flat_map(|n| n.to_le_bytes()).collect(), n.len()),
            List::I64(n) => (n.iter().flat_map(|n| n.to_le_bytes()).collect(), n.len()),
            List::At { address, len } => {
                self.u32(at, *address);
                self.u32(at + 4, *len);
                return;
            }
        };
        let index = self.lay(&bytes);
        self.pair(at, index, len);
    }

    fn column(&mut self, at: usize, column: &Column) {
        self.list(at, &column.data);
        self.list(at + 8, &column.offsets);
    }

    fn outcome(&mut self, at: usize, outcome: &Outcome) {
        const EMISSION: usize = 68;
        let index = self.lay(&vec![0; outcome.emissions.len() * EMISSION]);
        self.pair(at, index, outcome.emissions.len());
        for (i, emission) in outcome.emissions.iter().enumerate() {
            self.emission(index + i * EMISSION, emission);
        }
        const REJECTION: usize = 12;
        let index = self.lay(&vec![0; outcome.rejected.len() * REJECTION]);
        self.pair(at + 8, index, outcome.rejected.len());
        for (i, rejection) in outcome.rejected.iter().enumerate() {
            self.u32(index + i * REJECTION, rejection.index);
            self.list(index + i * REJECTION + 4, &rejection.reason);
        }
    }

    fn emission(&mut self, at: usize, emission: &Emission) {
        self.u32(at, emission.port);
        self.bytes[at + 4] = match &emission.origin {
            Origin::Fresh => 0,
            Origin::Same => 1,
            Origin::Keep(list) => {
                self.list(at + 8, list);
                2
            }
            Origin::Unknown(case) => *case,
        };
        for (offset, column) in [(16, &emission.keys), (36, &emission.values)] {
            if let Some(column) = column {
                self.bytes[at + offset] = 1;
                self.column(at + offset + 4, column);
            }
        }
        if let Some(times) = &emission.timestamps {
            self.bytes[at + 56] = 1;
            self.list(at + 60, times);
        }
    }

    fn timers(&mut self, at: usize, timers: &[Timer]) {
        let bytes: Vec<u8> = timers
            .iter()
            .flat_map(|timer| {
                let [mut head, mut tail] = [[0; 8]; 2];
                head[..4].copy_from_slice(&timer.group.to_le_bytes());
                head[4] = timer.kind;
                tail.copy_from_slice(&timer.at.to_le_bytes());
                [head, tail].concat()
            })
            .collect();
        let index = self.lay(&bytes);
        self.pair(at, index, timers.len());
    }
}

impl Outcome {
    /// One emission.
    #[must_use]
    pub fn emitting(emission: Emission) -> Self {
        Self { emissions: vec![emission], rejected: Vec::new() }
    }

    /// `ok` with this, as it lies at [`ANSWER`].
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let mut writer = Writer::with_room(20);
        writer.outcome(4, self);
        writer.bytes
    }
}

impl FoldOutcome {
    /// `ok` with this, as it lies at [`ANSWER`].
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let mut writer = Writer::with_room(60);
        writer.outcome(4, &self.outcome);
        writer.list(20, &self.changed);
        writer.column(28, &self.states);
        writer.timers(44, &self.set_timers);
        writer.timers(52, &self.delete_timers);
        writer.bytes
    }
}

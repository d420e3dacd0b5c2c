//! What was measured of a checkpoint: kept with it, for those who want to know
//! where its time goes. Nothing depends on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::format::{self, Kind},
    ids::OperatorName,
};

/// What caused a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger {
    /// `interval` had passed.
    #[serde(rename = "interval")]
    Interval,
    /// `every_records` had come.
    #[serde(rename = "records")]
    Records,
    /// Somebody asked for one.
    #[serde(rename = "manual")]
    Manual,
    /// The job was asked to stop, or its slots back.
    #[serde(rename = "stop")]
    Stop,
    /// All inputs had ended.
    #[serde(rename = "final")]
    Final,
    /// Somebody asked for a savepoint.
    #[serde(rename = "savepoint")]
    Savepoint,
}

impl Trigger {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::Records => "records",
            Self::Manual => "manual",
            Self::Stop => "stop",
            Self::Final => "final",
            Self::Savepoint => "savepoint",
        }
    }
}

/// What was measured of a checkpoint; times in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// What caused it.
    pub trigger: Trigger,
    /// When it was complete, milliseconds since 1970.
    pub completed_at: i64,
    /// The longest time between a subtask's first barrier and its last.
    pub alignment_micros: u64,
    /// The longest time that a subtask was held up for its snapshot.
    pub sync_micros: u64,
    /// From the last subtask's answer until all was durable.
    pub async_micros: u64,
    /// From the trigger until all was durable.
    pub end_to_end_micros: u64,
    /// Bytes that were written for it, the manifest included.
    pub written_bytes: u64,
    /// Bytes of all chunks that it names, those of earlier checkpoints included.
    pub full_bytes: u64,
    /// Of each subtask that took part, by source, operator or sink.
    pub subtasks: BTreeMap<OperatorName, Vec<SubtaskDetails>>,
}

/// What was measured of a subtask; times in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskDetails {
    /// Between its first barrier and its last.
    pub alignment_micros: u64,
    /// How long it was held up for its snapshot.
    pub sync_micros: u64,
}

impl Details {
    /// As they are stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let payload = postcard::to_stdvec(self).expect("plain data in memory can be encoded");
        format::frame(Kind::Details, &payload)
    }

    /// Reads stored ones; none if they are damaged, since nothing depends on them.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(format::unframe(Kind::Details, bytes).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte by byte as in `docs/checkpoint-format.md`.
    #[test]
    fn the_bytes_are_those_that_the_documentation_promises() {
        let subtask = SubtaskDetails { alignment_micros: 8, sync_micros: 300 };
        let details = Details {
            trigger: Trigger::Manual,
            completed_at: -2,
            alignment_micros: 1,
            sync_micros: 2,
            async_micros: 3,
            end_to_end_micros: 4,
            written_bytes: 5,
            full_bytes: 6,
            subtasks: BTreeMap::from([(OperatorName::new("o").unwrap(), vec![subtask])]),
        };
        let bytes = details.encode();
        let payload = format::unframe(Kind::Details, &bytes).unwrap();
        assert_eq!(payload, [2, 3, 1, 2, 3, 4, 5, 6, 1, 1, b'o', 1, 8, 0xac, 2]);
        assert_eq!(Details::decode(&bytes), Some(details));
        assert_eq!(Details::decode(&bytes[1..]), None);
    }
}

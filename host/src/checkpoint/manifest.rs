//! The manifest: what a checkpoint is made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::{
        format::{self, BadFrame, Kind},
        image::MemoryImage,
    },
    ids::{ArtifactDigest, CheckpointId, JobName, OperatorName},
    metrics::Counters,
    stream::keys::KeyGroup,
};

/// The BLAKE3 digest of a chunk's content, which names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkDigest(pub [u8; 32]);

impl ChunkDigest {
    /// Names a content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }
}

/// A chunk that a checkpoint names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoredChunk {
    /// Its name.
    pub digest: ChunkDigest,
    /// Its length.
    pub bytes: u64,
}

impl StoredChunk {
    /// Names a content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self { digest: ChunkDigest::of(content), bytes: content.len() as u64 }
    }
}

/// A completed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its number.
    pub id: CheckpointId,
    /// The job that it belongs to.
    pub job: JobName,
    /// When it was triggered, milliseconds since 1970.
    pub triggered_at: i64,
    /// Which owner of the store wrote it: owners are counted, and one that was
    /// succeeded by another may write no more.
    pub epoch: u64,
    /// The number of key groups that keyed state is divided into.
    pub max_parallelism: u32,
    /// Whether the job was at its end: all sources done, all windows fired.
    pub finished: bool,
    /// The state of each source, operator and sink.
    pub operators: BTreeMap<OperatorName, OperatorState>,
}

/// The state of a source, operator or sink.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorState {
    /// Which component an operator ran.
    pub artifact: Option<ArtifactDigest>,
    /// Keyed state and timers of each key group that has any: a base, then what
    /// changed after it, in order.
    pub key_groups: BTreeMap<KeyGroup, Vec<StoredChunk>>,
    /// What belongs to a parallel instance, in the order of the subtasks.
    pub subtasks: Vec<SubtaskState>,
}

/// The state of a parallel instance that is not divided by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskState {
    /// What a guest that keeps its own state left.
    pub guest: Option<GuestState>,
    /// Where a source stands in its splits.
    pub positions: BTreeMap<String, Vec<u8>>,
    /// The newest event time that a source has seen.
    pub newest: Option<i64>,
    /// The watermark that an operator had reached.
    pub watermark: Option<i64>,
    /// What a sink needs to commit, or to go on.
    pub sink: Option<Vec<u8>>,
    /// Whether its input had ended and it had said all that it had to say.
    pub finished: bool,
    /// What it had counted.
    pub counters: Counters,
}

/// The state that a guest keeps itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestState {
    /// What it said in its `snapshot`.
    Exported(StoredChunk),
    /// Its memory, which was saved without its help.
    Memory(MemoryImage),
}

impl GuestState {
    /// The chunks that hold it.
    pub fn chunks(&self) -> impl Iterator<Item = StoredChunk> + '_ {
        let (exported, image) = match self {
            Self::Exported(chunk) => (Some(*chunk), None),
            Self::Memory(image) => (None, Some(image)),
        };
        exported.into_iter().chain(image.into_iter().flat_map(MemoryImage::chunks))
    }
}

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// The frame is wrong.
    #[error(transparent)]
    Frame(#[from] BadFrame),
    /// The payload cannot be decoded.
    #[error("it cannot be decoded: {0}")]
    Undecodable(String),
}

impl Manifest {
    /// The manifest as it is stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let payload = postcard::to_stdvec(self).expect("plain data in memory can be encoded");
        format::frame(Kind::Manifest, &payload)
    }

    /// Reads a stored manifest.
    ///
    /// # Errors
    /// [`BadManifest`] says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadManifest> {
        let payload = format::unframe(Kind::Manifest, bytes)?;
        postcard::from_bytes(payload).map_err(|e| BadManifest::Undecodable(e.to_string()))
    }

    /// Bytes of all chunks that it needs, each counted once.
    #[must_use]
    pub fn full_bytes(&self) -> u64 {
        let chunks: BTreeMap<ChunkDigest, u64> =
            self.chunks().map(|chunk| (chunk.digest, chunk.bytes)).collect();
        chunks.values().sum()
    }

    /// Every chunk that the checkpoint needs.
    pub fn chunks(&self) -> impl Iterator<Item = StoredChunk> + '_ {
        self.operators.values().flat_map(|operator| {
            let guests = operator.subtasks.iter().filter_map(|s| s.guest.as_ref());
            let guests = guests.flat_map(GuestState::chunks);
            operator.key_groups.values().flatten().copied().chain(guests)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::image::ImageMemory;

    /// Byte by byte as in `docs/checkpoint-format.md`. What fails here cannot be
    /// read by hosts that are out there: raise the format version.
    #[test]
    fn the_bytes_are_those_that_the_documentation_promises() {
        let subtask = SubtaskState {
            guest: Some(GuestState::Exported(StoredChunk {
                digest: ChunkDigest([9; 32]),
                bytes: 2,
            })),
            positions: BTreeMap::from([("s".to_owned(), vec![0xfe, 9])]),
            newest: Some(-1),
            watermark: None,
            sink: None,
            finished: true,
            counters: Counters {
                records_in: 1,
                bytes_in: 2,
                records_out: 3,
                bytes_out: 4,
                rejected: 5,
                late: 6,
            },
        };
        let operator = OperatorState {
            artifact: Some(ArtifactDigest([8; 32])),
            key_groups: BTreeMap::from([(
                KeyGroup(5),
                vec![StoredChunk { digest: ChunkDigest([7; 32]), bytes: 1 }],
            )]),
            subtasks: vec![subtask],
        };
        let manifest = Manifest {
            id: CheckpointId(3),
            job: JobName::new("j").unwrap(),
            triggered_at: 1,
            epoch: 4,
            max_parallelism: 128,
            finished: false,
            operators: BTreeMap::from([(OperatorName::new("o").unwrap(), operator)]),
        };
        let expected: Vec<u8> = [
            // id, job, triggered_at, epoch, max_parallelism, finished
            &[3][..],
            &[1, b'j'],
            &[2],
            &[4],
            &[0x80, 1],
            &[0],
            // one operator, its artifact, one key group of one chunk
            &[1, 1, b'o'],
            &[1],
            &[8; 32],
            &[1, 5, 1],
            &[7; 32],
            &[1],
            // one subtask: guest, positions, newest, watermark, sink, finished, counters
            &[1],
            &[1, 0],
            &[9; 32],
            &[2],
            &[1, 1, b's', 2, 0xfe, 9],
            &[1, 1],
            &[0],
            &[0],
            &[1],
            &[1, 2, 3, 4, 5, 6],
        ]
        .concat();
        assert_eq!(
            postcard::to_stdvec(&GuestState::Memory(MemoryImage {
                memories: vec![ImageMemory {
                    pages: 2,
                    blocks: BTreeMap::from([(7, ChunkDigest([6; 32]))]),
                }],
                globals: vec![128],
            }))
            .unwrap(),
            // memory, one of two pages with one block, one global
            [&[1, 1, 2, 1, 7][..], &[6; 32], &[1, 0x80, 1]].concat()
        );
        let bytes = manifest.encode();
        assert_eq!(format::unframe(Kind::Manifest, &bytes).unwrap(), expected);
        let header =
            [&b"CFDMCKPT"[..], &[1, 0], &[1, 0], &(expected.len() as u64).to_le_bytes()].concat();
        assert_eq!(bytes[..20], header);
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
    }
}

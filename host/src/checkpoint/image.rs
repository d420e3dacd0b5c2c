//! What a checkpoint knows of a guest's memory that was saved from outside: which blocks
//! it is made of, by their digests. Instances of one component have most blocks in
//! common, and a block that several name is stored once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checkpoint::manifest::{ChunkDigest, StoredChunk};

/// Bytes of a block, which is a chunk.
pub const BLOCK: usize = BLOCK_BYTES as usize;
/// The same, as an address is counted.
pub const BLOCK_BYTES: u32 = 16 << 10;

/// The state of an instance of a component: its memories and its mutable globals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryImage {
    /// In the order of the component: core instances as they are made, nested
    /// components' after their own, and the memories of each by their index.
    pub memories: Vec<ImageMemory>,
    /// Mutable globals in the same order, as 64 bits each; vectors are two, the low half
    /// first.
    pub globals: Vec<u64>,
}

/// One memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageMemory {
    /// How large it is, in pages of 64 KiB.
    pub pages: u32,
    /// Its blocks of [`BLOCK`] bytes, by number; what is missing is zero.
    pub blocks: BTreeMap<u32, ChunkDigest>,
}

impl MemoryImage {
    /// The chunks that hold it.
    pub fn chunks(&self) -> impl Iterator<Item = StoredChunk> + '_ {
        let blocks = self.memories.iter().flat_map(|memory| memory.blocks.values());
        blocks.map(|digest| StoredChunk { digest: *digest, bytes: BLOCK as u64 })
    }
}

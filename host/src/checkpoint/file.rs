//! A checkpoint as one file that can be carried to another machine: what a
//! savepoint is. Written and read as a stream, from a store and into one.
//!
//! ```text
//! frame: file header    what follows: job, number, how many chunks and bytes
//! frame: manifest       as in a store
//! frame: chunk          each one once, in the order in which the manifest
//! …                     names them first
//! frame: end            how many chunks, and the BLAKE3 digest of all before it
//! ```
//!
//! Nothing of a file counts before its end was read and found right: until then
//! a reading store has chunks that no manifest names.

use std::{
    collections::HashSet,
    io::{self, Read, Write},
};

use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::{
        format::{self, BadFrame, Kind},
        manifest::{BadManifest, ChunkDigest, Manifest, StoredChunk},
        store::{CheckpointStore, StoreError},
    },
    ids::{CheckpointId, JobName},
};

/// What a file says of itself at its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHeader {
    /// Whose checkpoint it is.
    pub job: JobName,
    /// Its number there.
    pub id: CheckpointId,
    /// How many chunks follow.
    pub chunks: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// Which program wrote it.
    pub written_by: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct FileEnd {
    chunks: u64,
    digest: [u8; 32],
}

/// Why a file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system says no.
    #[error("at byte {at}: {error}")]
    Io {
        /// Where.
        at: u64,
        /// What it said.
        error: io::Error,
    },
    /// It ends too early.
    #[error("it ends at byte {at}, within {what}: it was cut short; copy or export it again")]
    Short {
        /// Where it ends.
        at: u64,
        /// What is not whole.
        what: String,
    },
    /// Something in it was changed.
    #[error("{what}, at byte {at}, is damaged: {reason}; copy or export it again")]
    Damaged {
        /// Where this part begins.
        at: u64,
        /// Which part.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is no such file.
    #[error("it is no exported checkpoint: {0}")]
    NoCheckpoint(BadFrame),
    /// It belongs to another job than the store.
    #[error(
        "it holds a checkpoint of the job `{file}`, and the state directory belongs to `{store}`"
    )]
    OtherJob {
        /// The file's.
        file: JobName,
        /// The store's.
        store: JobName,
    },
    /// The store has that checkpoint already, or newer ones.
    #[error(
        "it holds checkpoint {file}, and the state directory has checkpoint {store} already: \
         a job would go on from that one; import it into another directory"
    )]
    NotNewer {
        /// The file's.
        file: CheckpointId,
        /// The store's newest.
        store: CheckpointId,
    },
    /// The store cannot do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// How many chunks.
    pub chunks: u64,
    /// How long the file is.
    pub bytes: u64,
}

/// The chunks of a checkpoint, each once, in the order of a file.
fn chunks_of(manifest: &Manifest) -> Vec<StoredChunk> {
    let mut seen = HashSet::new();
    manifest.chunks().filter(|chunk| seen.insert(chunk.digest)).collect()
}

/// Writes a checkpoint of a store as a file. Neither syncs nor renames: that is
/// for whoever made the file.
///
/// # Errors
/// If a part of the checkpoint cannot be read whole, or the file not written.
pub fn export(
    store: &dyn CheckpointStore,
    id: CheckpointId,
    writer: &mut dyn Write,
) -> Result<Exported, FileError> {
    let manifest = store.manifest(id)?;
    let chunks = chunks_of(&manifest);
    let header = FileHeader {
        job: manifest.job.clone(),
        id,
        chunks: chunks.len() as u64,
        bytes: chunks.iter().map(|chunk| chunk.bytes).sum(),
        written_by: concat!("cofferdam ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let mut out = Out { writer, at: 0, digest: blake3::Hasher::new() };
    out.put(&format::frame(Kind::FileHeader, &encode(&header)))?;
    out.put(&manifest.encode())?;
    for chunk in &chunks {
        let content = store.chunk(id, chunk.digest)?;
        out.put(&format::frame(Kind::Chunk, &content))?;
    }
    let end = FileEnd { chunks: header.chunks, digest: *out.digest.finalize().as_bytes() };
    out.put(&format::frame(Kind::FileEnd, &encode(&end)))?;
    out.writer.flush().map_err(|error| FileError::Io { at: out.at, error })?;
    Ok(Exported { chunks: header.chunks, bytes: out.at })
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data in memory can be encoded")
}

struct Out<'a> {
    writer: &'a mut dyn Write,
    at: u64,
    digest: blake3::Hasher,
}

impl Out<'_> {
    fn put(&mut self, frame: &[u8]) -> Result<(), FileError> {
        self.digest.update(frame);
        self.writer.write_all(frame).map_err(|error| FileError::Io { at: self.at, error })?;
        self.at += frame.len() as u64;
        Ok(())
    }
}

/// Puts the checkpoint of a file into a store, which must be empty or have older
/// checkpoints of the same job. The store owns it then: its manifest gets the
/// epoch of the store's owner.
///
/// # Errors
/// If the file is not whole; if the store cannot take it. Then the store has no
/// such checkpoint.
pub fn import(
    reader: &mut dyn Read,
    store: &mut dyn CheckpointStore,
) -> Result<Manifest, FileError> {
    let mut input = In::new(reader);
    let (_, mut manifest) = input.begin()?;
    if let Some(newest) = store.list()?.into_iter().max() {
        let job = store.manifest(newest)?.job;
        if job != manifest.job {
            return Err(FileError::OtherJob { file: manifest.job, store: job });
        }
        if newest >= manifest.id {
            return Err(FileError::NotNewer { file: manifest.id, store: newest });
        }
    }
    input.rest(&manifest, |content| store.put_chunk(content).map(|_| ()))?;
    manifest.epoch = store.owner()?.map_or(0, |owner| owner.epoch);
    store.commit(&manifest)?;
    Ok(manifest)
}

/// Reads all of a file and keeps nothing: what it holds, if it is whole.
///
/// # Errors
/// If it is not.
pub fn verify(reader: &mut dyn Read) -> Result<(FileHeader, Manifest), FileError> {
    let mut input = In::new(reader);
    let (header, manifest) = input.begin()?;
    input.rest(&manifest, |_| Ok(()))?;
    Ok((header, manifest))
}

/// Reads a file's header and manifest, and nothing behind them.
///
/// # Errors
/// If they are not there, or damaged.
pub fn peek(reader: &mut dyn Read) -> Result<(FileHeader, Manifest), FileError> {
    In::new(reader).begin()
}

struct In<'a> {
    reader: &'a mut dyn Read,
    at: u64,
    digest: blake3::Hasher,
    buffer: Vec<u8>,
}

impl<'a> In<'a> {
    fn new(reader: &'a mut dyn Read) -> Self {
        Self { reader, at: 0, digest: blake3::Hasher::new(), buffer: Vec::new() }
    }

    fn begin(&mut self) -> Result<(FileHeader, Manifest), FileError> {
        let (what, at) = ("its header", self.at);
        let header = self.frame(Kind::FileHeader, what, None).map_err(|error| match error {
            NoFrame::Bad(reason @ (BadFrame::Magic | BadFrame::Kind(_) | BadFrame::Version(_))) => {
                FileError::NoCheckpoint(reason)
            }
            NoFrame::Bad(reason) => damaged(at, what, &reason),
            NoFrame::Other(error) => error,
        })?;
        let header: FileHeader =
            postcard::from_bytes(header).map_err(|reason| damaged(at, what, &reason))?;
        let (what, at) = ("its manifest", self.at);
        let payload = self.frame(Kind::Manifest, what, None).map_err(|e| e.or_damaged(at, what))?;
        let manifest: Manifest = postcard::from_bytes(payload)
            .map_err(|e| damaged(at, what, &BadManifest::Undecodable(e.to_string())))?;
        let chunks = chunks_of(&manifest);
        let bytes: u64 = chunks.iter().map(|chunk| chunk.bytes).sum();
        let named = (manifest.id, &manifest.job, chunks.len() as u64, bytes);
        if named != (header.id, &header.job, header.chunks, header.bytes) {
            return Err(damaged(at, what, &"it is not the one that the header speaks of"));
        }
        Ok((header, manifest))
    }

    /// The chunks and the end, each chunk handed over once it was found right.
    fn rest(
        &mut self,
        manifest: &Manifest,
        mut take: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), FileError> {
        let chunks = chunks_of(manifest);
        for (i, chunk) in chunks.iter().enumerate() {
            let (what, at) = (format!("chunk {} of {}", i + 1, chunks.len()), self.at);
            let content = self
                .frame(Kind::Chunk, &what, Some(chunk.bytes))
                .map_err(|e| e.or_damaged(at, &what))?;
            if ChunkDigest::of(content) != chunk.digest {
                return Err(damaged(at, &what, &"it is not what the manifest says"));
            }
            take(content)?;
        }
        let digest = *self.digest.finalize().as_bytes();
        let (what, at) = ("its end", self.at);
        let end = self.frame(Kind::FileEnd, what, None).map_err(|e| e.or_damaged(at, what))?;
        let end: FileEnd = postcard::from_bytes(end).map_err(|e| damaged(at, what, &e))?;
        if (end.chunks, end.digest) != (chunks.len() as u64, digest) {
            return Err(damaged(at, what, &"what comes before is not what was written"));
        }
        let at = self.at;
        match self.reader.read(&mut [0; 1]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(damaged(at, "the file", &"something follows its end")),
            Err(error) => Err(FileError::Io { at, error }),
        }
    }

    /// Reads the payload of a frame, whose length may be known.
    fn frame(&mut self, kind: Kind, what: &str, bytes: Option<u64>) -> Result<&[u8], NoFrame> {
        self.buffer.clear();
        self.read(format::HEADER as u64, what)?;
        let said = format::payload_len(&self.buffer).map_err(NoFrame::Bad)?;
        if let Some(bytes) = bytes.filter(|bytes| *bytes != said) {
            let got = usize::try_from(bytes).unwrap_or(usize::MAX);
            return Err(NoFrame::Bad(BadFrame::Length { said, got }));
        }
        self.read(said, what)?;
        self.digest.update(&self.buffer);
        format::unframe(kind, &self.buffer).map_err(NoFrame::Bad)
    }

    fn read(&mut self, bytes: u64, what: &str) -> Result<(), NoFrame> {
        // The buffer grows with what is there, not with what a header says.
        let mut part = (&mut *self.reader).take(bytes);
        let read = part.read_to_end(&mut self.buffer);
        let read = read.map_err(|error| NoFrame::Other(FileError::Io { at: self.at, error }))?;
        self.at += read as u64;
        if (read as u64) < bytes {
            let what = what.to_owned();
            return Err(NoFrame::Other(FileError::Short { at: self.at, what }));
        }
        Ok(())
    }
}

/// A frame that could not be read: what is said of it depends on which it is.
enum NoFrame {
    Bad(BadFrame),
    Other(FileError),
}

impl NoFrame {
    fn or_damaged(self, at: u64, what: &str) -> FileError {
        match self {
            Self::Bad(reason) => damaged(at, what, &reason),
            Self::Other(error) => error,
        }
    }
}

fn damaged(at: u64, what: &str, reason: &dyn std::fmt::Display) -> FileError {
    FileError::Damaged { at, what: what.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;

//! The bytes of a capsule: a header that is checked before any decoder sees the rest,
//! and the payload, as `docs/crash-capsule.md` describes it.
//!
//! ```text
//! offset  size  what
//!      0     8  magic: "CFDMCAPS"
//!      8     2  format version, little-endian: 2
//!     10     2  0
//!     12     8  length of the payload, little-endian
//!     20     4  CRC-32 (IEEE) of bytes 0 to 20 and of the payload
//!     24     …  payload
//! ```

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::capsule::model::Capsule;

/// The format version that is written.
pub const VERSION: u16 = 2;
/// An earlier one, which lacks the last field: what the guest had in its memory.
const WITHOUT_MEMORY: u16 = 1;
const MAGIC: &[u8; 8] = b"CFDMCAPS";
const HEADER: usize = 24;
/// The largest file that is read.
const MOST_BYTES: u64 = 1 << 30;

/// Why a file is no capsule that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BadCapsule {
    /// The file cannot be read.
    #[error("cannot read the capsule {}: {reason}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        reason: io::Error,
    },
    /// It does not begin like one.
    #[error("it is no capsule: it does not begin with the magic of one")]
    Magic,
    /// It ends too early.
    #[error("it is cut off: it has {got} bytes of {wanted}; copy it again")]
    Short {
        /// How many there are.
        got: u64,
        /// How many there should be.
        wanted: u64,
    },
    /// There is more behind it.
    #[error("it is damaged: {0} bytes follow its end")]
    Long(u64),
    /// Another version wrote it.
    #[error(
        "it has format version {0}; this program reads versions {WITHOUT_MEMORY} to {VERSION}: use \
         the one that wrote it"
    )]
    Version(u16),
    /// Something in it was changed.
    #[error("it is damaged: its checksum is wrong; copy it again")]
    Checksum,
    /// It is larger than any that is written.
    #[error("it has {0} bytes, more than any capsule")]
    TooLarge(u64),
    /// The payload makes no sense, though the checksum is right.
    #[error("it cannot be decoded: {0}")]
    Undecodable(String),
}

impl Capsule {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let payload = postcard::to_stdvec(self).expect("plain data in memory can be encoded");
        let mut out = Vec::with_capacity(HEADER + payload.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        let crc = checksum(&out, &payload);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&payload);
        out
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// [`BadCapsule`] says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadCapsule> {
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) || bytes.is_empty() {
            return Err(BadCapsule::Magic);
        }
        let got = bytes.len() as u64;
        let (header, payload) = bytes
            .split_first_chunk::<HEADER>()
            .ok_or(BadCapsule::Short { got, wanted: HEADER as u64 })?;
        let version = u16::from_le_bytes([header[8], header[9]]);
        if !(WITHOUT_MEMORY..=VERSION).contains(&version) {
            return Err(BadCapsule::Version(version));
        }
        let mut said = [0; 8];
        said.copy_from_slice(&header[12..20]);
        let said = u64::from_le_bytes(said);
        let wanted = said.saturating_add(HEADER as u64);
        if wanted > got {
            return Err(BadCapsule::Short { got, wanted });
        }
        if wanted < got {
            return Err(BadCapsule::Long(got - wanted));
        }
        let crc = u32::from_le_bytes([header[20], header[21], header[22], header[23]]);
        if crc != checksum(&header[..20], payload) {
            return Err(BadCapsule::Checksum);
        }
        // Nothing of a memory is the number 0.
        let absent: &[u8] = if version == WITHOUT_MEMORY { &[0] } else { &[] };
        let capsule: Self = postcard::from_bytes(&[payload, absent].concat())
            .map_err(|e| BadCapsule::Undecodable(e.to_string()))?;
        capsule.check().map_err(BadCapsule::Undecodable)?;
        Ok(capsule)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), and if the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, BadCapsule> {
        let unreadable = |reason| BadCapsule::Unreadable { path: path.to_owned(), reason };
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            let reason = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
            return Err(unreadable(reason));
        }
        if metadata.len() > MOST_BYTES {
            return Err(BadCapsule::TooLarge(metadata.len()));
        }
        let mut bytes = Vec::new();
        // It may grow while it is read.
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
        Self::decode(&bytes)
    }
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header);
    crc.update(payload);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capsule::{memory::GuestMemory, model::tests::capsule};

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(Capsule::decode(&capsule().encode()).unwrap(), capsule());
    }

    #[test]
    fn one_of_the_version_without_memories_is_read() {
        let mut capsule = capsule();
        capsule.memory = GuestMemory::NotSaved;
        let mut bytes = capsule.encode();
        assert_eq!(bytes.pop(), Some(0), "the last field is nothing");
        bytes[8] = 1;
        let length = bytes.len() as u64 - 24;
        bytes[12..20].copy_from_slice(&length.to_le_bytes());
        let crc = checksum(&bytes[..20], &bytes[HEADER..]);
        bytes[20..24].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Capsule::decode(&bytes).unwrap(), capsule);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed_and_told_apart() {
        let mut small = capsule();
        small.memory = GuestMemory::Fresh;
        let good = small.encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Capsule::decode(&bad).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            let error = Capsule::decode(&good[..len]).unwrap_err();
            assert_eq!(matches!(error, BadCapsule::Short { .. }), len > 0, "cut to {len}: {error}");
        }
        let long = [&good[..], b"x"].concat();
        assert!(matches!(Capsule::decode(&long), Err(BadCapsule::Long(1))));
        assert!(matches!(Capsule::decode(b"\0asm"), Err(BadCapsule::Magic)));
    }

    /// Begins as `docs/crash-capsule.md` says. What fails here cannot be read by programs
    /// that are out there: raise the format version.
    #[test]
    fn the_header_is_the_one_that_the_documentation_promises() {
        let bytes = capsule().encode();
        let length = (bytes.len() as u64 - 24).to_le_bytes();
        assert_eq!(bytes[..20], [&b"CFDMCAPS"[..], &[2, 0], &[0, 0], &length].concat());
    }

    proptest! {
        #[test]
        fn no_payload_panics_the_reader(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = capsule().encode()[..HEADER].to_vec();
            bytes[12..20].copy_from_slice(&(payload.len() as u64).to_le_bytes());
            let crc = checksum(&bytes[..20], &payload);
            bytes[20..24].copy_from_slice(&crc.to_le_bytes());
            bytes.extend_from_slice(&payload);
            let _ = Capsule::decode(&bytes);
        }

        #[test]
        fn no_change_of_a_payload_panics_the_reader(at in 0_usize..10_000, to in any::<u8>()) {
            let mut bytes = capsule().encode();
            let at = HEADER + at % (bytes.len() - HEADER);
            bytes[at] = to;
            let crc = checksum(&bytes[..20], &bytes[HEADER..]);
            bytes[20..24].copy_from_slice(&crc.to_le_bytes());
            let _ = Capsule::decode(&bytes);
        }
    }
}

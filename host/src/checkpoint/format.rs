//! The frame around everything that is stored: fixed magic, version, length and
//! checksum, all checked before any decoder sees the payload.
//!
//! ```text
//! offset  size  what
//!      0     8  magic: "CFDMCKPT"
//!      8     2  format version, little-endian: 1
//!     10     2  kind: 1 manifest, 2 chunk, 3 details, 4 file header, 5 file end, 6 owner,
//!                 7 record of the registry
//!     12     8  length of the payload, little-endian
//!     20     4  CRC-32 (IEEE) of bytes 0 to 20 and of the payload
//!     24     …  payload
//! ```

/// The format version that is written.
pub const VERSION: u16 = 1;
const MAGIC: &[u8; 8] = b"CFDMCKPT";
/// Bytes before the payload.
pub(super) const HEADER: usize = 24;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// A manifest.
    Manifest = 1,
    /// A chunk of state.
    Chunk = 2,
    /// What was measured of a checkpoint.
    Details = 3,
    /// The beginning of a checkpoint in a file.
    FileHeader = 4,
    /// The end of a checkpoint in a file.
    FileEnd = 5,
    /// Who owns a store.
    Owner = 6,
    /// What a service remembers of one thing.
    Record = 7,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// There are fewer bytes than a header has.
    #[error("it ends after {0} bytes, within the header")]
    Short(usize),
    /// It does not begin with the magic.
    #[error("it does not begin with the magic of a checkpoint")]
    Magic,
    /// Another version wrote it.
    #[error("it has format version {0}; this host reads version {VERSION}")]
    Version(u16),
    /// It holds something else.
    #[error("it holds something else than expected (kind {0})")]
    Kind(u16),
    /// Its length is not what the header says.
    #[error("it has {got} bytes of payload, but the header says {said}")]
    Length {
        /// As the header says.
        said: u64,
        /// As it is.
        got: usize,
    },
    /// Something in it was changed.
    #[error("its checksum is wrong: it was damaged")]
    Checksum,
}

/// Puts a payload into a frame.
#[must_use]
pub fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(kind as u16).to_le_bytes());
    out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    let crc = checksum(&out, payload);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
    out
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header);
    crc.update(payload);
    crc.finalize()
}

/// Reads what a frame's header says of its payload's length, so that as much can
/// be read of a stream.
///
/// # Errors
/// If it is no header, or one of another version.
pub(super) fn payload_len(bytes: &[u8]) -> Result<u64, BadFrame> {
    let (header, _) = bytes.split_first_chunk::<HEADER>().ok_or(BadFrame::Short(bytes.len()))?;
    if !header.starts_with(MAGIC) {
        return Err(BadFrame::Magic);
    }
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version != VERSION {
        return Err(BadFrame::Version(version));
    }
    let mut said = [0; 8];
    said.copy_from_slice(&header[12..20]);
    Ok(u64::from_le_bytes(said))
}

/// Takes the payload out of a frame, after all checks.
///
/// # Errors
/// [`BadFrame`] says what is wrong.
pub fn unframe(kind: Kind, bytes: &[u8]) -> Result<&[u8], BadFrame> {
    let said = payload_len(bytes)?;
    let (header, payload) =
        bytes.split_first_chunk::<HEADER>().ok_or(BadFrame::Short(bytes.len()))?;
    if said != payload.len() as u64 {
        return Err(BadFrame::Length { said, got: payload.len() });
    }
    let crc = u32::from_le_bytes([header[20], header[21], header[22], header[23]]);
    if crc != checksum(&header[..20], payload) {
        return Err(BadFrame::Checksum);
    }
    let found = u16::from_le_bytes([header[10], header[11]]);
    if found != kind as u16 {
        return Err(BadFrame::Kind(found));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_single_flipped_bit_is_noticed() {
        let good = frame(Kind::Chunk, b"state of a key group");
        assert_eq!(unframe(Kind::Chunk, &good).unwrap(), b"state of a key group");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(unframe(Kind::Chunk, &bad).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(unframe(Kind::Chunk, &good[..len]).is_err(), "cut to {len}");
        }
        assert_eq!(unframe(Kind::Manifest, &good), Err(BadFrame::Kind(2)));
    }

    proptest! {
        #[test]
        fn any_payload_comes_back(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let framed = frame(Kind::Manifest, &payload);
            prop_assert_eq!(unframe(Kind::Manifest, &framed).unwrap(), &payload[..]);
        }

        #[test]
        fn no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(unframe(Kind::Manifest, &bytes).is_err());
        }
    }
}

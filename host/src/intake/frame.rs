//! The bytes of one request in a log: a header of fixed length, and the body as it was posted.
//!
//! ```text
//! offset  size  what, numbers little-endian
//!      0     4  length of the body
//!      4     4  CRC-32 (IEEE) of bytes 0 to 4, 8 to 72, and of the body
//!      8     8  where in the log this frame begins: one that was left from elsewhere is none
//!     16     8  number of the frame, from 0
//!     24     8  when it was taken, milliseconds since 1970
//!     32     4  how many records are in it
//!     36     1  kind: 1 records, 2 the end of all input
//!     37     1  1 if it has an idempotency key
//!     38     2  zero
//!     40    16  the beginning of the BLAKE3 digest of the key
//!     56    16  the beginning of the BLAKE3 digest of the body
//!     72     …  body
//! ```

/// Bytes before the body.
pub const HEADER: usize = 72;

/// The beginning of a BLAKE3 digest: nobody finds two texts that share it.
pub type Print = [u8; 16];

/// The print of some bytes.
#[must_use]
pub fn print(bytes: &[u8]) -> Print {
    let mut print = Print::default();
    print.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    print
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Records.
    Records,
    /// That no more will come.
    End,
}

/// A frame, but for its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// How long the body is.
    pub length: u32,
    /// Where the frame begins.
    pub offset: u64,
    /// Its number, from 0.
    pub number: u64,
    /// When it was taken, in milliseconds since 1970.
    pub at: i64,
    /// How many records are in it.
    pub records: u32,
    /// What it holds.
    pub kind: Kind,
    /// The print of its idempotency key.
    pub key: Option<Print>,
    /// The print of its body.
    pub body: Print,
}

impl Head {
    /// Where the next frame begins.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + HEADER as u64 + u64::from(self.length)
    }

    /// Appends the frame to some bytes.
    pub fn write(&self, body: &[u8], out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.at.to_le_bytes());
        out.extend_from_slice(&self.records.to_le_bytes());
        let kind = match self.kind {
            Kind::Records => 1,
            Kind::End => 2,
        };
        out.extend_from_slice(&[kind, u8::from(self.key.is_some()), 0, 0]);
        out.extend_from_slice(&self.key.unwrap_or_default());
        out.extend_from_slice(&self.body);
        let crc = checksum(&out[begin..begin + HEADER], body).to_le_bytes();
        out[begin + 4..begin + 8].copy_from_slice(&crc);
        out.extend_from_slice(body);
    }

    /// Reads a header that is to begin at this place in the log. None if that is none: its
    /// checksum is another matter.
    #[must_use]
    pub fn read(bytes: &[u8], offset: u64) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let part = |from: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&header[from..from + 8]);
            eight
        };
        let four = |from: usize| {
            let mut four = [0; 4];
            four.copy_from_slice(&header[from..from + 4]);
            u32::from_le_bytes(four)
        };
        let sixteen = |from: usize| {
            let mut print = Print::default();
            print.copy_from_slice(&header[from..from + 16]);
            print
        };
        let kind = match header[36] {
            1 => Kind::Records,
            2 => Kind::End,
            _ => return None,
        };
        let head = Self {
            length: four(0),
            offset: u64::from_le_bytes(part(8)),
            number: u64::from_le_bytes(part(16)),
            at: i64::from_le_bytes(part(24)),
            records: four(32),
            kind,
            key: (header[37] == 1).then(|| sixteen(40)),
            body: sixteen(56),
        };
        (head.offset == offset).then_some(head)
    }
}

/// Whether a header and a body are what was written.
#[must_use]
pub fn is_whole(header: &[u8], body: &[u8]) -> bool {
    let said = header.get(4..8).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes);
    header.len() == HEADER && said == Some(checksum(header, body))
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..4]);
    crc.update(&header[8..]);
    crc.update(body);
    crc.finalize()
}

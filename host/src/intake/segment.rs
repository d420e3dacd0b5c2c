//! The files of a log. Each begins with a header that says where in the log it begins, and goes on
//! with frames; only the last one grows. A crash may leave half a frame at its end, which was never
//! acknowledged: that is cut off.
//!
//! ```text
//! offset  size  what
//!      0     8  magic: "CFDMINT1"
//!      8     8  where in the log the segment begins, little-endian
//!     16     4  CRC-32 (IEEE) of bytes 0 to 16
//!     20     …  frames
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::{
    IntakeError,
    frame::{self, HEADER, Head},
};
use crate::database::directory::sync;

/// Bytes before the first frame.
pub(super) const BEGIN: u64 = HEAD as u64;
const HEAD: usize = 20;
const MAGIC: &[u8; 8] = b"CFDMINT1";

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where in the log it begins.
    pub(super) base: u64,
    /// Where in the log it ends.
    pub(super) end: u64,
}

impl Segment {
    /// Its bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        BEGIN + self.end - self.base
    }
}

pub(super) fn path(dir: &Path, base: u64) -> PathBuf {
    // As many digits as there can be: by name they are in order.
    dir.join(format!("{base:020}.log"))
}

/// Makes a directory, and those above it, durably.
pub(super) fn make_dir(dir: &Path) -> Result<(), IntakeError> {
    if dir.as_os_str().is_empty() || dir.exists() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(dir);
    make_dir(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(IntakeError::disk(dir)(error))
        }
        _ if parent.as_os_str().is_empty() => Ok(()),
        _ => sync(parent).map_err(IntakeError::disk(parent)),
    }
}

/// Makes an empty one, durably.
pub(super) fn create(dir: &Path, base: u64) -> Result<File, IntakeError> {
    let path = path(dir, base);
    let make = || -> io::Result<File> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.write_all_at(&header(base), 0)?;
        file.sync_all()?;
        sync(dir)?;
        Ok(file)
    };
    make().map_err(IntakeError::disk(&path))
}

fn header(base: u64) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&base.to_le_bytes());
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    header
}

/// The places where the segments of a directory begin, in order.
pub(super) fn bases(dir: &Path) -> Result<Vec<u64>, IntakeError> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir).map_err(IntakeError::disk(dir))? {
        let name = entry.map_err(IntakeError::disk(dir))?.file_name();
        let name = name.to_string_lossy();
        bases.extend(name.strip_suffix(".log").and_then(|base| base.parse::<u64>().ok()));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// What a look at a segment has found.
pub(super) struct Scanned {
    /// Up to the last whole frame.
    pub(super) segment: Segment,
    /// Its frames.
    pub(super) heads: Vec<Head>,
    /// How many bytes come after the last whole frame.
    pub(super) torn: u64,
}

/// Reads a segment, the bodies too if `whole`: then up to the first frame that is not what was
/// written. None if not even its beginning was ever written.
pub(super) fn scan(dir: &Path, base: u64, whole: bool) -> Result<Option<Scanned>, IntakeError> {
    let path = path(dir, base);
    let file = File::open(&path).map_err(IntakeError::disk(&path))?;
    let length = file.metadata().map_err(IntakeError::disk(&path))?.len();
    if length < BEGIN {
        return Ok(None);
    }
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut begin = [0; HEAD];
    reader.read_exact(&mut begin).map_err(IntakeError::disk(&path))?;
    if begin.as_slice() != header(base) {
        if length == BEGIN {
            // Its length was durable before what is in it; nothing was ever written behind that.
            return Ok(None);
        }
        let reason = "it does not begin as it must".to_owned();
        return Err(IntakeError::Damaged { path, reason });
    }
    let (mut end, mut heads) = (base, Vec::new());
    let mut bytes = [0; HEADER];
    let mut body = Vec::new();
    loop {
        let left = length - BEGIN - (end - base);
        if left < HEADER as u64 {
            return Ok(Some(Scanned { segment: Segment { base, end }, heads, torn: left }));
        }
        reader.read_exact(&mut bytes).map_err(IntakeError::disk(&path))?;
        let head = Head::read(&bytes, end);
        let fits = |head: &Head| u64::from(head.length) <= left - HEADER as u64;
        let Some(head) = head.filter(fits) else {
            return Ok(Some(Scanned { segment: Segment { base, end }, heads, torn: left }));
        };
        if whole {
            body.resize(head.length as usize, 0);
            reader.read_exact(&mut body).map_err(IntakeError::disk(&path))?;
            if !frame::is_whole(&bytes, &body) {
                return Ok(Some(Scanned { segment: Segment { base, end }, heads, torn: left }));
            }
        } else {
            reader.seek_relative(i64::from(head.length)).map_err(IntakeError::disk(&path))?;
        }
        end = head.end();
        heads.push(head);
    }
}

/// Opens the segment that grows, and cuts off what comes after its last whole frame.
pub(super) fn open_last(dir: &Path, scanned: &Scanned) -> Result<File, IntakeError> {
    let path = path(dir, scanned.segment.base);
    let open = || -> io::Result<File> {
        let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
        if scanned.torn > 0 {
            file.set_len(scanned.segment.bytes())?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(file)
    };
    open().map_err(IntakeError::disk(&path))
}

//! The file `job` in a state directory: whose it is, and the newest checkpoint that
//! was completed in it. It stands beside the database, so that a database that lost
//! what it held is not taken for a new one.
//!
//! Two lines of 256 bytes, written in turn and synced, so that one of them is whole
//! whatever happens:
//!
//! ```text
//! cofferdam-state 1 GENERATION JOB CHECKPOINT EPOCH CRC32 (spaces) \n
//! ```
//!
//! The one with the greater generation counts. The checksum is of what stands before
//! it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use crate::ids::{CheckpointId, JobName};

const NAME: &str = "job";
const LINE: usize = 256;
const MAGIC: &str = "cofferdam-state";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) job: JobName,
    pub(super) checkpoint: CheckpointId,
    pub(super) epoch: u64,
}

/// The file.
#[derive(Debug)]
pub(super) struct Marker {
    file: File,
    generation: u64,
}

/// What there is at a path.
#[derive(Debug)]
pub(super) enum Found {
    /// No file: no checkpoint was completed here, or the user says so.
    Nothing,
    /// A file of which no line can be read.
    Unreadable,
    /// What the file says.
    Says(Witness, Marker),
}

impl Marker {
    /// Reads the file of a state directory.
    pub(super) fn find(dir: &Path) -> io::Result<Found> {
        let path = dir.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let newest = bytes.chunks(LINE).filter_map(parse).max_by_key(|(generation, _)| *generation);
        let Some((generation, witness)) = newest else { return Ok(Found::Unreadable) };
        let file = OpenOptions::new().write(true).open(&path)?;
        Ok(Found::Says(witness, Self { file, generation }))
    }

    /// Makes the file, with what it says; there is all of it or none.
    pub(super) fn create(dir: &Path, witness: &Witness) -> io::Result<Self> {
        let (new, path) = (dir.join("job.new"), dir.join(NAME));
        let mut file = File::create(&new)?;
        let line = line(1, witness);
        file.write_all(&line)?;
        file.write_all(&line)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(dir)?.sync_all()?;
        Ok(Self { file, generation: 1 })
    }

    /// Says something else. Durable when it returns.
    pub(super) fn say(&mut self, witness: &Witness) -> io::Result<()> {
        self.generation += 1;
        let at = (self.generation % 2) * LINE as u64;
        self.file.write_all_at(&line(self.generation, witness), at)?;
        self.file.sync_data()
    }
}

fn line(generation: u64, witness: &Witness) -> Vec<u8> {
    let Witness { job, checkpoint, epoch } = witness;
    let said = format!("{MAGIC} 1 {generation} {job} {checkpoint} {epoch}");
    let crc = crc32fast::hash(said.as_bytes());
    let mut line = format!("{said} {crc:08x}").into_bytes();
    line.resize(LINE - 1, b' ');
    line.push(b'\n');
    line
}

fn parse(line: &[u8]) -> Option<(u64, Witness)> {
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let (said, crc) = text.rsplit_once(' ')?;
    if u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(said.as_bytes()) {
        return None;
    }
    let words: Vec<&str> = said.split(' ').collect();
    let [MAGIC, "1", generation, job, checkpoint, epoch] = words[..] else { return None };
    let checkpoint = CheckpointId(checkpoint.parse().ok()?);
    let witness = Witness { job: JobName::new(job).ok()?, checkpoint, epoch: epoch.parse().ok()? };
    Some((generation.parse().ok()?, witness))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(checkpoint: u64) -> Witness {
        let job = JobName::new("a-job").unwrap();
        Witness { job, checkpoint: CheckpointId(checkpoint), epoch: 3 }
    }

    fn said(dir: &Path) -> Option<u64> {
        match Marker::find(dir).unwrap() {
            Found::Says(witness, _) => Some(witness.checkpoint.0),
            Found::Nothing | Found::Unreadable => None,
        }
    }

    #[test]
    fn the_last_that_was_said_counts_and_a_torn_line_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Marker::find(dir.path()).unwrap(), Found::Nothing));
        let mut marker = Marker::create(dir.path(), &witness(1)).unwrap();
        let path = dir.path().join(NAME);
        for n in 2..9 {
            marker.say(&witness(n)).unwrap();
            assert_eq!(said(dir.path()), Some(n));
            let whole = fs::read(&path).unwrap();
            let start = usize::try_from(marker.generation % 2).unwrap() * LINE;
            for torn in 0..LINE {
                let mut bytes = whole.clone();
                bytes[start + torn] ^= 1;
                fs::write(&path, &bytes).unwrap();
                // In what fills the line up it does not matter.
                let found = said(dir.path());
                assert!(found == Some(n - 1) || found == Some(n), "byte {torn}: {found:?}");
                assert!(torn > 30 || found == Some(n - 1), "byte {torn}");
            }
            fs::write(&path, &whole).unwrap();
        }
        let Found::Says(again, mut marker) = Marker::find(dir.path()).unwrap() else { panic!() };
        assert_eq!(again, witness(8));
        marker.say(&witness(9)).unwrap();
        assert_eq!(said(dir.path()), Some(9));
        fs::write(&path, b"").unwrap();
        assert!(matches!(Marker::find(dir.path()).unwrap(), Found::Unreadable));
    }

    #[test]
    fn the_line_is_what_the_documentation_promises() {
        let line = line(7, &witness(4));
        let said = b"cofferdam-state 1 7 a-job 4 3";
        assert_eq!(line[..said.len()], *said);
        let crc = format!(" {:08x} ", crc32fast::hash(said));
        assert_eq!(line[said.len()..said.len() + 10], *crc.as_bytes());
        assert_eq!((line.len(), line[LINE - 1]), (LINE, b'\n'));
    }
}

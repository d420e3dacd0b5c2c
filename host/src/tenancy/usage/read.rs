//! Reads ledgers: every record once, whatever was copied or torn.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use super::{
    UsageRecord,
    ledger::{DIR, EXTENSION, Line},
};

/// The longest line that is read; a record has some hundred bytes.
const LONGEST_LINE: u64 = 64 << 10;

/// What was found in a data directory.
#[derive(Debug, Default)]
pub struct Found {
    /// The records, each once.
    pub records: Vec<UsageRecord>,
    /// What was skipped, in words: lines that are torn or that nobody here wrote.
    pub warnings: Vec<String>,
}

/// Reads all ledgers of a data directory. Where there is none there is no usage.
///
/// # Errors
/// If one cannot be read, with its path.
pub fn read(dir: &Path) -> Result<Found, (PathBuf, io::Error)> {
    let dir = dir.join(DIR);
    let mut found = Found::default();
    let mut seen = HashSet::new();
    for path in ledgers(&dir).map_err(|error| (dir.clone(), error))? {
        let read = File::open(&path).and_then(|file| read_file(&path, file, &mut seen, &mut found));
        read.map_err(|error| (path, error))?;
    }
    Ok(found)
}

/// By name, which is by time.
fn ledgers(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_file(
    path: &Path,
    file: File,
    seen: &mut HashSet<(String, u64)>,
    found: &mut Found,
) -> io::Result<()> {
    let mut lines = BufReader::new(file);
    let mut bytes = Vec::new();
    for number in 1_u64.. {
        bytes.clear();
        let length = (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
        if length == 0 {
            break;
        }
        let whole = bytes.last() == Some(&b'\n');
        match serde_json::from_slice::<Line>(&bytes) {
            // Without its end it may have lost something that does not show.
            Ok(line) if whole => {
                if seen.insert((line.session, line.seq)) {
                    found.records.push(line.record);
                }
            }
            _ => {
                let at = format!("{}:{number}", path.display());
                let torn = !whole && (length as u64) < LONGEST_LINE;
                found.warnings.push(if !torn {
                    format!("{at} is no usage record and is skipped")
                } else {
                    format!("{at} is torn, as a crash leaves it, and is skipped")
                });
                // What is too long for a line goes on to its end.
                while bytes.last() != Some(&b'\n') {
                    bytes.clear();
                    if (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut bytes)? == 0 {
                        break;
                    }
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        clock::Clock,
        ids::{JobName, OperatorName, TenantId},
        tenancy::usage::{Consumption, ledger::Ledger},
    };

    fn record(n: u64) -> UsageRecord {
        UsageRecord {
            tenant: TenantId::new("acme").unwrap(),
            job: JobName::new("j").unwrap(),
            operator: (!n.is_multiple_of(3)).then(|| OperatorName::new("o").unwrap()),
            start: 0,
            end: 1,
            consumed: Consumption { cpu_nanos: n, ..Consumption::default() },
        }
    }

    fn nanos(found: &Found) -> Vec<u64> {
        found.records.iter().map(|record| record.consumed.cpu_nanos).collect()
    }

    #[test]
    fn what_was_written_is_read_from_all_ledgers() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap().records.is_empty());
        for n in 0..3 {
            let ledger = Ledger::begin(dir.path(), &Clock::System).unwrap();
            ledger.append(&[record(n), record(n + 10)]).unwrap();
            ledger.append(&[]).unwrap();
            ledger.append(&[record(n + 20)]).unwrap();
        }
        let found = read(dir.path()).unwrap();
        let mut all = nanos(&found);
        all.sort_unstable();
        assert_eq!((all, found.warnings.len()), (vec![0, 1, 2, 10, 11, 12, 20, 21, 22], 0));
        assert!(found.records.contains(&record(12)), "as it was written");
    }

    #[test]
    fn a_ledger_without_a_record_goes_with_its_run() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::begin(dir.path(), &Clock::System).unwrap();
        assert!(ledger.path().exists());
        let path = ledger.path().to_owned();
        drop(ledger);
        assert!(!path.exists());
    }

    #[test]
    fn a_copied_ledger_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::begin(dir.path(), &Clock::System).unwrap();
        ledger.append(&[record(1), record(2)]).unwrap();
        fs::copy(ledger.path(), dir.path().join(DIR).join("backup.jsonl")).unwrap();
        assert_eq!(nanos(&read(dir.path()).unwrap()), [1, 2]);
    }

    #[test]
    fn what_is_no_record_is_skipped_and_told_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::begin(dir.path(), &Clock::System).unwrap();
        ledger.append(&[record(1)]).unwrap();
        let mut file = File::options().append(true).open(ledger.path()).unwrap();
        let long = "x".repeat(200_000);
        write!(file, "by hand\n{long}\n").unwrap();
        let good = fs::read_to_string(ledger.path()).unwrap();
        let good = good.lines().next().unwrap().replace("\"seq\":0", "\"seq\":1");
        write!(file, "{good}\n{{\"session\":").unwrap();
        let found = read(dir.path()).unwrap();
        assert_eq!(nanos(&found), [1, 1]);
        let at = |i: usize, end: &str| assert!(found.warnings[i].contains(end), "{found:?}");
        at(0, ".jsonl:2 is no usage record");
        at(1, ".jsonl:3 is no usage record");
        at(2, ".jsonl:5 is torn");
        assert_eq!(found.warnings.len(), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// A crash may cut a ledger anywhere: whole lines are read, and no other.
        #[test]
        fn a_ledger_that_is_cut_anywhere_gives_its_whole_lines(cut in 0.0..=1.0_f64) {
            let dir = tempfile::tempdir().unwrap();
            let ledger = Ledger::begin(dir.path(), &Clock::System).unwrap();
            ledger.append(&(0..5).map(record).collect::<Vec<_>>()).unwrap();
            let text = fs::read(ledger.path()).unwrap();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a short text")]
            let cut = (text.len() as f64 * cut) as usize;
            fs::write(ledger.path(), &text[..cut]).unwrap();
            let whole = text[..cut].iter().filter(|byte| **byte == b'\n').count() as u64;
            let torn = cut > 0 && text[cut - 1] != b'\n';
            let found = read(dir.path()).unwrap();
            prop_assert_eq!(nanos(&found), (0..whole).collect::<Vec<_>>());
            prop_assert_eq!(found.warnings.len(), usize::from(torn));
        }
    }
}

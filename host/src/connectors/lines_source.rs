//! The `lines` source: each line of text is a record's value.

use super::{
    ConnectorError,
    file_source::{Format, Output, bad_utf8, place},
    files::Lines,
};

/// Makes a record of each line.
pub(crate) struct LinesFormat;

impl Format for LinesFormat {
    fn begin(&mut self, _lines: &mut Lines) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn read(&mut self, lines: &mut Lines, out: &mut Output) -> Result<bool, ConnectorError> {
        let max_line = lines.max_line();
        let Some(line) = lines.next()? else { return Ok(false) };
        let problem = match line.overlong {
            Some(len) => Err(Some(len)),
            None => std::str::from_utf8(line.bytes).map(|_| ()).map_err(|_| None),
        };
        match problem {
            Ok(()) => out.batch.push(None, line.bytes, None),
            Err(overlong) => {
                // Rare: here a copy does not hurt.
                let (raw, number) = (line.bytes.to_vec(), line.number);
                let place = place(lines, number);
                match (overlong, std::str::from_utf8(&raw)) {
                    (None, Err(error)) => {
                        out.reject(format!("{place}: {}", bad_utf8(error)), &raw);
                    }
                    (len, _) => out.reject_overlong(&place, len.unwrap_or(0), max_line, &raw),
                }
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::job::FileInput,
        connectors::{
            ConnectorContext, Source, SourceEvent,
            file_source::{FileSource, testing::*},
        },
    };
    use proptest::prelude::*;
    use std::{io::Write, path::PathBuf};

    fn open(paths: &[PathBuf]) -> FileSource<LinesFormat> {
        FileSource::open(LinesFormat, &input(paths.to_vec()), alone(), None).unwrap()
    }

    #[test]
    fn bad_utf8_and_endless_lines_become_dead_letters_with_their_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.txt");
        std::fs::write(&path, b"good\nb\xffd\naaaaaaaaaaaaaaaaaaaaaaa\n\nend").unwrap();
        let files = FileInput { paths: vec![path.clone()], max_line: 10 };
        let mut source = FileSource::open(LinesFormat, &files, alone(), None).unwrap();
        let (good, bad, error) = drain(&mut source);
        assert!(error.is_none());
        let values: Vec<_> = good.into_iter().map(|r| r.1).collect();
        assert_eq!(values, [&b"good"[..], b"", b"end"]);
        assert_eq!(
            bad[0].reason,
            format!("{}, line 2: is not UTF-8 from byte 2 on", path.display())
        );
        assert_eq!(bad[0].value, b"b\xffd");
        assert!(
            bad[1].reason.contains("line 3: the line is 23 bytes long, more than max_line = 10")
        );
        assert_eq!(bad.len(), 2);
    }

    #[test]
    fn records_before_a_truncation_are_delivered_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.gz");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        (0..5000).for_each(|i| writeln!(encoder, "line {i}").unwrap());
        let data = encoder.finish().unwrap();
        std::fs::write(&path, &data[..data.len() - 20]).unwrap();
        let (good, _, error) = drain(&mut open(std::slice::from_ref(&path)));
        assert!(good.len() > 4900, "{}", good.len());
        let error = error.unwrap().to_string();
        let place = format!("in.gz, line {}: the gzip data ends too early", good.len() + 1);
        assert!(error.contains(&place), "{error}");
    }

    #[test]
    fn parallel_instances_share_the_files_without_overlap() {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..5).map(|i| dir.path().join(format!("{i}.txt"))).collect();
        for (i, path) in paths.iter().enumerate() {
            std::fs::write(path, format!("{i}")).unwrap();
        }
        let mut seen = Vec::new();
        for subtask in 0..2 {
            let context = ConnectorContext { subtask, parallelism: 2 };
            let mut part =
                FileSource::open(LinesFormat, &input(paths.clone()), context, None).unwrap();
            seen.extend(drain(&mut part).0.into_iter().map(|r| r.1));
        }
        assert_eq!(seen, [b"0", b"2", b"4", b"1", b"3"]);
    }

    #[test]
    fn a_changed_file_is_not_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.txt");
        let text: String = (0..5000).map(|i| format!("{i}\n")).collect();
        std::fs::write(&path, &text).unwrap();
        let mut source = open(std::slice::from_ref(&path));
        source.advance().unwrap();
        let saved = source.positions();
        std::fs::write(&path, text.replacen("4999", "4998", 1)).unwrap();
        let files = input(vec![path]);
        let mut again = FileSource::open(LinesFormat, &files, alone(), Some(&saved)).unwrap();
        let error = again.advance().unwrap_err();
        assert!(matches!(error, ConnectorError::CannotResume { .. }), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        #[test]
        fn resuming_at_any_batch_gives_the_same_records(
            lengths in prop::collection::vec(0_usize..3000, 1..4),
            kind in 0..3,
            widths in 1_usize..60,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut paths = Vec::new();
            for (i, &lines) in lengths.iter().enumerate() {
                let text: String = (0..lines).map(|n| format!("{n:0>width$}\n", width = n % widths)).collect();
                let data = match kind {
                    0 => text.into_bytes(),
                    1 => zstd::encode_all(text.as_bytes(), 1).unwrap(),
                    _ => {
                        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                        e.write_all(text.as_bytes()).unwrap();
                        e.finish().unwrap()
                    }
                };
                paths.push(dir.path().join(format!("{i}")));
                std::fs::write(&paths[i], data).unwrap();
            }
            let whole = drain(&mut open(&paths)).0;
            prop_assert_eq!(whole.len(), lengths.iter().sum::<usize>());
            let mut source = open(&paths);
            let mut before = Vec::new();
            loop {
                let saved = source.positions();
                let mut resumed =
                    FileSource::open(LinesFormat, &input(paths.clone()), alone(), Some(&saved)).unwrap();
                let mut all: Vec<Record> = before.clone();
                all.extend(drain(&mut resumed).0);
                prop_assert!(all == whole, "after {} records", before.len());
                match source.advance().unwrap() {
                    SourceEvent::Batch { batch, .. } => before.extend(records(&batch)),
                    SourceEvent::End => break,
                }
            }
        }
    }
}

//! Tests of the file sinks: exactly-once whatever crashes where.

use super::*;
use crate::{
    config::job::Compression,
    connectors::{file_source::testing::alone, files::Lines, lines_sink::LinesEncoder},
    stream::BatchBuilder,
};
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    fs,
    future::Future,
    io::{Read as _, Write as _},
    path::PathBuf,
};

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn output(path: PathBuf, compression: Compression, roll: Option<u64>) -> FileOutput {
    FileOutput { path, compression, roll }
}

fn batch(records: impl IntoIterator<Item = usize>) -> Batch {
    let mut builder = BatchBuilder::new();
    records.into_iter().for_each(|n| builder.push(None, format!("record {n}").as_bytes(), None));
    builder.take()
}

type LinesSink = FileSink<LinesEncoder>;

fn open(
    output: &FileOutput,
    context: ConnectorContext,
    restore: Option<&[Vec<u8>]>,
) -> Result<LinesSink, ConnectorError> {
    FileSink::open(LinesEncoder, output, context, restore)
}

/// Names of the files there are, without or with hidden ones.
fn names(dir: &Path, hidden: bool) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| hidden || !name.starts_with('.'));
    names.sort();
    names
}

/// Numbers of the records in all visible files, sorted.
fn visible(dir: &Path) -> Vec<usize> {
    let mut out = Vec::new();
    for name in names(dir, false) {
        let mut lines = Lines::open(&dir.join(name), 1000).unwrap().0;
        while let Some(line) = lines.next().unwrap() {
            let text = std::str::from_utf8(line.bytes).unwrap();
            out.push(text.strip_prefix("record ").unwrap().parse().unwrap());
        }
    }
    out.sort_unstable();
    out
}

/// A job that writes the records 0, 1, 2, ... and a checkpoint store that does not crash.
struct World {
    output: FileOutput,
    sinks: Vec<LinesSink>,
    checkpoint: u64,
    /// What the last complete checkpoint holds, and how many records it covers.
    complete: Option<(u64, Vec<Vec<u8>>)>,
    covered: usize,
    written: usize,
}

impl World {
    fn start(output: FileOutput, parallelism: u32) -> Self {
        let mut world = Self {
            output,
            sinks: Vec::new(),
            checkpoint: 0,
            complete: None,
            covered: 0,
            written: 0,
        };
        world.restart(parallelism);
        world
    }

    fn dir(&self) -> &Path {
        self.output.path.parent().unwrap()
    }

    fn restart(&mut self, parallelism: u32) {
        self.sinks.clear();
        let saved = self.complete.as_ref().map(|(_, saved)| &saved[..]);
        for subtask in 0..parallelism {
            let context = ConnectorContext { subtask, parallelism };
            self.sinks.push(open(&self.output, context, saved).unwrap());
        }
        self.written = self.covered;
    }

    /// All is lost but the files; what was not synced may be there, or half of it.
    fn crash(&mut self, parallelism: u32, garbage: bool) {
        self.sinks.clear();
        for name in names(self.dir(), true) {
            if garbage && name.starts_with('.') {
                let path = self.dir().join(name);
                let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
                // Only what is being written can have a half-written end; a sealed part is synced.
                let sealed = self.complete.as_ref().is_some_and(|(_, saved)| {
                    saved.iter().any(|s| {
                        let saved: Saved = postcard::from_bytes(s).unwrap();
                        saved.sealed.iter().any(|p| p.len == file.metadata().unwrap().len())
                    })
                });
                if !sealed {
                    file.write_all(b"half a rec").unwrap();
                }
            }
        }
        self.restart(parallelism);
    }

    async fn write(&mut self, count: usize) {
        let parallelism = self.sinks.len();
        for (subtask, sink) in self.sinks.iter_mut().enumerate() {
            let mine = (self.written..self.written + count).filter(|n| n % parallelism == subtask);
            sink.write(&batch(mine)).await.unwrap();
        }
        self.written += count;
    }

    /// A checkpoint that may get only so far: so many subtasks prepare; if all do and
    /// it completes, so many commit.
    async fn checkpoint(&mut self, prepared: usize, completes: bool, committed: usize, last: bool) {
        self.checkpoint += 1;
        let mut saved = Vec::new();
        for sink in self.sinks.iter_mut().take(prepared) {
            saved.push(sink.prepare_commit(self.checkpoint, last).await.unwrap());
        }
        if saved.len() < self.sinks.len() || !completes {
            return;
        }
        self.complete = Some((self.checkpoint, saved));
        self.covered = self.written;
        for sink in self.sinks.iter_mut().take(committed) {
            sink.commit(self.checkpoint).await.unwrap();
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    Checkpoint { prepared: usize, completes: bool, committed: usize },
    Crash { parallelism: u32, garbage: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let checkpoint = (1_usize..5, any::<bool>(), 0_usize..4);
    prop_oneof![
        (0_usize..300).prop_map(Step::Write),
        checkpoint.prop_map(|(prepared, completes, committed)| Step::Checkpoint {
            prepared,
            completes,
            committed
        }),
        Just(Step::Checkpoint { prepared: 9, completes: true, committed: 9 }),
        (1_u32..4, any::<bool>())
            .prop_map(|(parallelism, garbage)| Step::Crash { parallelism, garbage }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn output_is_exactly_once_whatever_crashes_where(
        steps in prop::collection::vec(step(), 0..14),
        ending in prop::collection::vec((1_usize..5, any::<bool>(), 0_usize..4, 1_u32..4), 0..3),
        compression in prop::sample::select(vec![Compression::None, Compression::Gzip, Compression::Zstd]),
        roll in prop::sample::select(vec![None, Some(1), Some(2000)]),
    ) {
        let dir = tempfile::tempdir().unwrap();
        block(async {
            let mut world = World::start(output(dir.path().join("out.txt"), compression, roll), 1);
            for step in steps {
                match step {
                    Step::Write(count) => world.write(count).await,
                    Step::Checkpoint { prepared, completes, committed } => {
                        world.checkpoint(prepared, completes, committed, false).await;
                    }
                    Step::Crash { parallelism, garbage } => world.crash(parallelism, garbage),
                }
                let seen = visible(dir.path());
                let distinct: BTreeSet<_> = seen.iter().copied().collect();
                prop_assert_eq!(distinct.len(), seen.len(), "a record was seen twice");
                prop_assert!(seen.last().is_none_or(|&n| n < world.covered), "seen too early");
            }
            let total = world.covered.max(world.written) + 10;
            for (prepared, completes, committed, parallelism) in ending {
                world.write(total - world.written).await;
                world.checkpoint(prepared, completes, committed, true).await;
                world.crash(parallelism, false);
            }
            world.write(total - world.written).await;
            world.checkpoint(9, true, 9, true).await;
            prop_assert_eq!(visible(dir.path()), (0..total).collect::<Vec<_>>());
            let hidden: Vec<_> = names(dir.path(), true).into_iter().filter(|n| n.starts_with('.')).collect();
            prop_assert!(hidden.is_empty(), "left behind: {:?}", hidden);
            Ok(())
        })?;
    }
}

#[test]
fn nothing_is_visible_before_the_commit_and_an_empty_result_is_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let out = output(dir.path().join("deep/er/out.csv"), Compression::None, None);
    block(async {
        let encoder = crate::connectors::csv_sink::CsvEncoder::new(&["a".into(), "b".into()], b',');
        let mut sink = FileSink::open(encoder, &out, alone(), None).unwrap();
        sink.prepare_commit(1, true).await.unwrap();
        assert!(!out.path.exists());
        sink.commit(1).await.unwrap();
        sink.commit(1).await.unwrap();
    });
    assert_eq!(fs::read_to_string(&out.path).unwrap(), "a,b\n");
}

#[test]
fn a_packed_part_without_records_can_be_unpacked() {
    for (name, compression) in [("a.gz", Compression::Gzip), ("a.zst", Compression::Zstd)] {
        let dir = tempfile::tempdir().unwrap();
        block(async {
            let mut world = World::start(output(dir.path().join(name), compression, None), 2);
            // One subtask's part is sealed by itself, the other's by who takes it over.
            world.checkpoint(2, true, 2, false).await;
            world.restart(1);
            world.checkpoint(1, true, 1, true).await;
        });
        let names = names(dir.path(), false);
        assert_eq!(names.len(), 2, "{names:?}");
        for name in names {
            let packed = fs::read(dir.path().join(&name)).unwrap();
            let mut bytes = Vec::new();
            let unpacked = match compression {
                Compression::Gzip => {
                    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes)
                }
                _ => zstd::Decoder::new(packed.as_slice()).unwrap().read_to_end(&mut bytes),
            };
            assert_eq!((unpacked.unwrap(), packed.is_empty()), (0, false), "{name}");
        }
        assert_eq!(visible(dir.path()), [0; 0]);
    }
}

#[test]
fn a_fresh_start_replaces_the_old_result_at_the_end_and_mixes_nothing() {
    for roll in [None, Some(1)] {
        let dir = tempfile::tempdir().unwrap();
        let out = output(dir.path().join("out.txt"), Compression::None, roll);
        block(async {
            let mut world = World::start(out.clone(), 1);
            for _ in 0..5 {
                world.write(100).await;
                world.checkpoint(1, true, 1, false).await;
            }
            world.checkpoint(1, true, 1, true).await;
            assert_eq!(visible(dir.path()).len(), 500);
            // One that is killed, and one that goes through.
            World::start(out.clone(), 1).write(90_000).await;
            assert!(names(dir.path(), true).iter().any(|n| n.starts_with('.')));
            let mut world = World::start(out.clone(), 1);
            world.write(7).await;
            world.checkpoint(1, true, 1, true).await;
        });
        assert_eq!(visible(dir.path()), [0, 1, 2, 3, 4, 5, 6]);
        let want = if roll.is_some() { "out-0-00000.txt" } else { "out.txt" };
        assert_eq!(names(dir.path(), true), [want]);
    }
}

#[test]
fn an_older_checkpoint_takes_back_what_came_after_it() {
    for roll in [None, Some(1)] {
        let dir = tempfile::tempdir().unwrap();
        let out = output(dir.path().join("out.txt.gz"), Compression::Gzip, roll);
        block(async {
            let mut world = World::start(out, 2);
            world.write(50).await;
            world.checkpoint(2, true, 2, false).await;
            let (old, covered) = (world.complete.clone(), world.covered);
            for last in [false, false, true] {
                world.write(50).await;
                world.checkpoint(2, true, 2, last).await;
            }
            assert_eq!(visible(dir.path()).len(), 200);
            (world.complete, world.covered) = (old, covered);
            world.crash(2, false);
            world.write(1).await;
            world.checkpoint(2, true, 2, true).await;
        });
        assert_eq!(visible(dir.path()), (0..51).collect::<Vec<_>>());
    }
}

#[test]
fn a_pending_part_of_another_run_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let out = output(dir.path().join("out.txt"), Compression::None, None);
    block(async {
        let mut world = World::start(out.clone(), 1);
        world.write(10).await;
        world.checkpoint(1, true, 1, false).await;
        let saved = world.complete.unwrap().1;
        let refused = |saved: &[Vec<u8>], out: &FileOutput| {
            open(out, alone(), Some(saved)).err().unwrap().to_string()
        };
        let mut other = open(&out, alone(), None).unwrap();
        let error = refused(&saved, &out);
        assert!(error.contains("it has 0 bytes, and the checkpoint covers"), "{error}");
        other.write(&batch(5..50)).await.unwrap();
        other.prepare_commit(1, true).await.unwrap();
        let error = refused(&saved, &out);
        assert!(error.contains("does not begin with what the checkpoint wrote"), "{error}");
        other.commit(1).await.unwrap();
        let error = refused(&saved, &out);
        assert!(error.contains("the pending part is gone"), "{error}");
        let elsewhere = output(dir.path().join("other.txt"), Compression::None, None);
        let error = refused(&saved, &elsewhere);
        assert!(error.contains("was writing `out.txt`"), "{error}");
        assert!(refused(&[vec![7]], &out).contains("cannot be read"));
    });
}

#[test]
fn a_bad_record_is_told_by_its_number_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let out = output(dir.path().join("out.txt"), Compression::None, None);
    let mut bad = BatchBuilder::new();
    bad.push(None, b"good", None);
    bad.push(None, b"b\nd", None);
    block(async {
        let mut sink = open(&out, alone(), None).unwrap();
        sink.write(&batch(0..3)).await.unwrap();
        let error = sink.write(&bad.take()).await.unwrap_err().to_string();
        assert!(error.starts_with("record 5 cannot be written: byte 2 of the value"), "{error}");
        assert!(sink.buffer.ends_with(b"good\n"));
    });
}

#[test]
fn places_that_cannot_be_written_are_named_at_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let refused = |path: PathBuf, roll| {
        let error = open(&output(path, Compression::None, roll), alone(), None).err();
        error.expect("it cannot be written").to_string()
    };
    for roll in [None, Some(5)] {
        let error = refused(dir.path().join("file/out.txt"), roll);
        assert!(error.contains("cannot create the directory") && error.contains("file"), "{error}");
        let error = refused(dir.path().to_owned(), roll);
        assert!(error.contains("it is a directory; add a file's name"), "{error}");
        // The kernel's own file system takes no files, not even from root.
        let error = refused(PathBuf::from("/proc/out.txt"), roll);
        assert!(error.starts_with("cannot create /proc/.out.txt.0.pending"), "{error}");
    }
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let out = output(dir.path().join("out.txt"), Compression::None, Some(1));
    let mut sink = open(&out, alone(), None).unwrap();
    // Writing to it fails as a full disk does.
    std::os::unix::fs::symlink("/dev/full", dir.path().join(".out.txt.0-00000.pending")).unwrap();
    let error = block(async {
        sink.write(&batch(0..10)).await.unwrap();
        sink.prepare_commit(1, true).await.unwrap_err().to_string()
    });
    assert!(
        error.contains(".out.txt.0-00000.pending") && error.contains("No space left"),
        "{error}"
    );
}

#[test]
fn numbers_come_before_the_extension() {
    let split = |name: &str| split_extension(Path::new(name));
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(split("d/out.jsonl.gz"), pair("out", ".jsonl.gz"));
    assert_eq!(split("flights.2013.csv"), pair("flights.2013", ".csv"));
    assert_eq!(split("out.zst"), pair("out", ".zst"));
    assert_eq!(split("out"), pair("out", ""));
    assert_eq!(split(".hidden"), pair(".hidden", ""));
}

//! The `stdin` source: lines of standard input as they come. Event time is the
//! time of arrival (Flink: ingestion time).
//!
//! A thread of its own reads, since a read of standard input cannot be
//! interrupted; it ends with the program. What it has read belongs to the
//! program, not to one instance of the source: after a restart of the job the
//! next instance goes on, unless lines were taken that the checkpoint lacks. These
//! cannot be had again, and saying so is better than a result with a hole.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc};

use crate::clock::Clock;

use super::{
    ConnectorContext, ConnectorError, Source, SourceEvent, SplitPositions,
    file_source::{Output, bad_utf8},
    files::Lines,
};

/// The only split.
const SPLIT: &str = "stdin";
/// The longest line, in bytes.
const MAX_LINE: usize = 1 << 20;
/// How many batches may wait.
const WAITING: usize = 4;

/// Lines that the thread has read, shared by all instances of the source.
pub(crate) struct Shared(Arc<Mutex<Taken>>);

struct Taken {
    batches: mpsc::Receiver<Result<Chunk, ConnectorError>>,
    /// Lines that instances have taken.
    lines: u64,
}

/// What was read at once: good lines or malformed ones, and where it ends.
struct Chunk {
    event: SourceEvent,
    lines: u64,
}

impl Shared {
    /// Standard input itself.
    pub(crate) fn stdin(clock: &Clock) -> Self {
        static STDIN: OnceLock<Arc<Mutex<Taken>>> = OnceLock::new();
        let clock = clock.clone();
        Self(Arc::clone(STDIN.get_or_init(|| Self::over(Box::new(std::io::stdin()), clock).0)))
    }

    /// Begins to read.
    fn over(input: Box<dyn Read + Send>, clock: Clock) -> Self {
        let (sender, batches) = mpsc::channel(WAITING);
        std::thread::spawn(move || {
            let mut lines = Lines::stream(Path::new(SPLIT), input, MAX_LINE);
            loop {
                let Some(chunk) = read(&mut lines, &clock).transpose() else { return };
                let failed = chunk.is_err();
                if sender.blocking_send(chunk).is_err() || failed {
                    return;
                }
            }
        });
        Self(Arc::new(Mutex::new(Taken { batches, lines: 0 })))
    }
}

/// Waits for a line, and takes it with those that have come along.
fn read(lines: &mut Lines, clock: &Clock) -> Result<Option<Chunk>, ConnectorError> {
    let mut out = Output::default();
    let mut now = None;
    while out.is_empty() || (lines.has_line() && !out.is_full()) {
        let Some(line) = lines.next()? else { break };
        let now = *now.get_or_insert_with(|| clock.now_millis());
        let place = || format!("{SPLIT}, line {}", line.number);
        match (line.overlong, std::str::from_utf8(line.bytes)) {
            (Some(len), _) => out.reject_overlong(&place(), len, MAX_LINE, line.bytes),
            (None, Err(error)) => {
                out.reject(format!("{}: {}", place(), bad_utf8(error)), line.bytes);
            }
            (None, Ok(_)) => out.batch.push(None, line.bytes, Some(now)),
        }
    }
    let lines = lines.position().1;
    Ok((!out.is_empty()).then(|| Chunk { event: out.take(), lines }))
}

/// Reads standard input. Only the first of parallel instances has anything to do.
pub(crate) struct StdinSource {
    shared: Option<Shared>,
    /// Lines that this instance and those before it have taken.
    lines: u64,
}

impl StdinSource {
    pub(crate) fn open(
        shared: Shared,
        context: ConnectorContext,
        restore: Option<&SplitPositions>,
    ) -> Result<Self, ConnectorError> {
        if context.subtask > 0 {
            return Ok(Self { shared: None, lines: 0 });
        }
        let saved = match restore.and_then(|positions| positions.get(SPLIT)) {
            None => 0,
            Some(saved) => postcard::from_bytes(saved).map_err(|error| {
                cannot_resume(format!("its saved position is damaged: {error}"))
            })?,
        };
        // The instance before this one is gone, so nobody else holds the lock.
        let taken = shared.0.try_lock().map(|taken| taken.lines).map_err(|_| {
            cannot_resume("another source reads it; one `stdin` source a program".to_owned())
        })?;
        if taken != saved {
            let lost = taken.abs_diff(saved);
            return Err(cannot_resume(format!(
                "{lost} lines were read that cannot be read again; write the input to a file and use \
                 `connector = \"lines\"` for a job that can be resumed"
            )));
        }
        Ok(Self { shared: Some(shared), lines: taken })
    }
}

fn cannot_resume(reason: String) -> ConnectorError {
    ConnectorError::CannotResume { path: PathBuf::from(SPLIT), reason }
}

#[async_trait]
impl Source for StdinSource {
    async fn next(&mut self) -> Result<SourceEvent, ConnectorError> {
        let Some(shared) = &self.shared else { return Ok(SourceEvent::End) };
        let mut taken = shared.0.lock().await;
        // Cancelled here, nothing is taken; after it there is no waiting.
        match taken.batches.recv().await {
            None => Ok(SourceEvent::End),
            Some(Err(error)) => Err(error),
            Some(Ok(batch)) => {
                (taken.lines, self.lines) = (batch.lines, batch.lines);
                Ok(batch.event)
            }
        }
    }

    fn positions(&self) -> SplitPositions {
        let encoded = postcard::to_stdvec(&self.lines).expect("a number can be encoded");
        self.shared.iter().map(|_| (SPLIT.to_owned(), encoded.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ManualClock, connectors::file_source::testing::*};

    fn shared(text: &'static [u8]) -> Shared {
        Shared::over(Box::new(text), Clock::Manual(ManualClock::at(77)))
    }

    #[test]
    fn lines_arrive_with_their_time_of_arrival() {
        let shared = shared(b"one\ntwo\n\xff\nthree");
        let mut source = StdinSource::open(shared, alone(), None).unwrap();
        let (good, bad, error) = drain(&mut source);
        assert!(error.is_none());
        let want = |text: &str| (vec![], text.into(), Some(77));
        assert_eq!(good, [want("one"), want("two"), want("three")]);
        let reasons: Vec<_> = bad.iter().map(|b| b.reason.as_str()).collect();
        assert_eq!(reasons, ["stdin, line 3: is not UTF-8 from byte 1 on"]);
    }

    #[test]
    fn going_on_is_refused_only_where_lines_would_be_lost() {
        let shared = shared(b"one\ntwo\n");
        let again = || Shared(Arc::clone(&shared.0));
        let mut source = StdinSource::open(again(), alone(), None).unwrap();
        let before = source.positions();
        let unread = StdinSource::open(again(), alone(), Some(&before));
        assert!(unread.is_ok(), "nothing was taken yet");
        assert_eq!(drain(&mut source).0.len(), 2);
        let after = source.positions();
        assert!(StdinSource::open(again(), alone(), Some(&after)).is_ok());
        let error = StdinSource::open(again(), alone(), Some(&before)).err().unwrap().to_string();
        assert!(error.contains("2 lines were read that cannot be read again"), "{error}");
        assert!(StdinSource::open(again(), alone(), None).is_err());
    }

    #[test]
    fn only_the_first_instance_reads() {
        let context = ConnectorContext { subtask: 1, parallelism: 2 };
        let mut source = StdinSource::open(shared(b"one\n"), context, None).unwrap();
        assert!(source.positions().is_empty());
        assert_eq!(drain(&mut source).0.len(), 0);
    }
}

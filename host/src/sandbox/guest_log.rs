//! Where a guest's log lines go, however it writes them: through the contract's
//! `log`, or as lines of a WASI program's standard output and error. How many there
//! may be in one call is decided here, and how many over time in `log_budget`.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;
use tracing::field::display;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use crate::{
    sandbox::{GuestMetrics, LogBudget, abi::Level},
    watching::log_book as watching,
};

/// The longest log message that is kept, in bytes.
const MAX_MESSAGE: usize = 4 * 1024;
/// How many log lines a guest may write in one call.
const MAX_LINES: u32 = 100;

/// The log of one instance. Clones share the number of lines.
#[derive(Debug, Clone)]
pub(super) struct GuestLog {
    budget: LogBudget,
    /// Where lines that are dropped count.
    metrics: Arc<Mutex<GuestMetrics>>,
    lines: Arc<AtomicU32>,
}

impl GuestLog {
    pub(super) fn new(budget: LogBudget, metrics: Arc<Mutex<GuestMetrics>>) -> Self {
        let log = Self { budget, metrics, lines: Arc::default() };
        // Other instances in this slot may have dropped some.
        log.count_dropped();
        log
    }

    fn count_dropped(&self) {
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.dropped_log_lines = self.budget.dropped();
    }

    /// A new call may write as many lines again.
    pub(super) fn begin_call(&self) {
        self.lines.store(0, Ordering::Relaxed);
    }

    /// Writes a line, unless there were too many in this call, or in all.
    pub(super) fn write(&self, level: Level, message: &str) {
        let (operator, subtask) = (self.budget.operator(), self.budget.subtask());
        let [tenant, job, job_name] = self.budget.of();
        let before = self.lines.fetch_add(1, Ordering::Relaxed);
        let kept = self.budget.kept();
        // What nobody reads costs nobody anything.
        let noted = noted_as(level).filter(|_| self.budget.has_book());
        if kept.is_none() && noted.is_none() && !is_read(level) {
            return;
        }
        if before >= MAX_LINES {
            if kept.is_none() && before == MAX_LINES && self.budget.allows(0) {
                tracing::warn!(
                    target: "guest", parent: None, tenant, job, job_name, operator, subtask,
                    "more than {MAX_LINES} lines in one call: the rest of them is dropped"
                );
                let said = format!("more than {MAX_LINES} lines in one call: the rest is dropped");
                self.budget.note(watching::Level::Warn, &said);
            }
            self.budget.drop_line(message.len());
            return self.count_dropped();
        }
        let message = shown(message);
        if !self.budget.allows(message.len()) {
            return self.count_dropped();
        }
        if let Some(kept) = kept {
            return kept.put(level.word(), &message);
        }
        if let Some(level) = noted {
            self.budget.note(level, &message);
        }
        let trace_id = self.budget.trace_id().map(display);
        macro_rules! write {
            ($level:ident) => {
                tracing::$level!(
                    target: "guest", parent: None,
                    tenant, job, job_name, operator, subtask, trace_id, "{message}"
                )
            };
        }
        match level {
            Level::Trace => write!(trace),
            Level::Debug => write!(debug),
            Level::Info => write!(info),
            Level::Warn => write!(warn),
            Level::Error => write!(error),
        }
    }

    /// A WASI stream whose lines are logged at a level.
    pub(super) fn stream(&self, level: Level) -> LoggedStream {
        LoggedStream { log: self.clone(), level }
    }
}

/// How a line stands in the book of the job, if it does.
fn noted_as(level: Level) -> Option<watching::Level> {
    match level {
        Level::Trace | Level::Debug => None,
        Level::Info => Some(watching::Level::Info),
        Level::Warn => Some(watching::Level::Warn),
        Level::Error => Some(watching::Level::Error),
    }
}

/// Whether anything is logged at this level.
fn is_read(level: Level) -> bool {
    match level {
        Level::Trace => tracing::enabled!(target: "guest", tracing::Level::TRACE),
        Level::Debug => tracing::enabled!(target: "guest", tracing::Level::DEBUG),
        Level::Info => tracing::enabled!(target: "guest", tracing::Level::INFO),
        Level::Warn => tracing::enabled!(target: "guest", tracing::Level::WARN),
        Level::Error => tracing::enabled!(target: "guest", tracing::Level::ERROR),
    }
}

/// What a guest says, as it may be shown: at most [`MAX_MESSAGE`] bytes of it,
/// and nothing that steers a terminal or passes for a line of ours.
pub(super) fn shown(said: &str) -> Cow<'_, str> {
    shown_up_to(said, MAX_MESSAGE)
}

/// As [`shown`], with another limit.
pub(super) fn shown_up_to(said: &str, limit: usize) -> Cow<'_, str> {
    if said.len() <= limit && !said.contains(is_unseemly) {
        return Cow::Borrowed(said);
    }
    let mut clean = String::with_capacity(said.len().min(limit) + 64);
    for (at, c) in said.char_indices() {
        // What is escaped is longer than it was, so it is the result that counts.
        if clean.len() + c.len_utf8() > limit {
            // Writing into a string does not fail.
            let _ = write!(clean, " … and {} bytes more", said.len() - at);
            break;
        }
        match c {
            // Further lines are indented, so that none looks like one of ours.
            '\n' => clean.push_str("\n    "),
            '\t' => clean.push(' '),
            c if is_unseemly(c) => clean.extend(c.escape_unicode()),
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// Control characters, and those that turn the direction of text around them.
fn is_unseemly(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Standard output or error of a WASI program.
pub(super) struct LoggedStream {
    log: GuestLog,
    level: Level,
}

impl IsTerminal for LoggedStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LoggedStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(LineWriter { log: self.log.clone(), level: self.level, line: Vec::new() })
    }
}

/// Collects bytes into lines. A line that grows too long is logged in pieces.
struct LineWriter {
    log: GuestLog,
    level: Level,
    line: Vec<u8>,
}

impl LineWriter {
    fn log_line(&mut self) {
        self.log.write(self.level, &String::from_utf8_lossy(&self.line));
        self.line.clear();
    }
}

impl AsyncWrite for LineWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        for byte in bytes {
            if *byte == b'\n' || self.line.len() >= MAX_MESSAGE {
                self.log_line();
            }
            if *byte != b'\n' {
                self.line.push(*byte);
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.log_line();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = "ä".repeat(MAX_MESSAGE + 1);
        let cut = shown(&long);
        assert!(cut.ends_with("ä … and 4098 bytes more"), "{cut}");
        assert!(cut.len() < MAX_MESSAGE + 50);
        assert!(shown(&"\0".repeat(MAX_MESSAGE)).len() < MAX_MESSAGE + 50);
        assert_eq!(shown("short"), "short");
    }

    #[test]
    fn what_a_guest_says_neither_steers_the_terminal_nor_passes_for_a_line_of_ours() {
        let said = "\u{1b}[2J\u{9b}1m\u{202e}a\tb\r\nERROR ours\0";
        let expected = "\\u{1b}[2J\\u{9b}1m\\u{202e}a b\\u{d}\n    ERROR ours\\u{0}";
        assert_eq!(shown(said), expected);
    }

    #[tokio::test]
    async fn a_stream_becomes_lines_and_an_endless_one_takes_no_memory() {
        use tokio::io::AsyncWriteExt;
        let budget = LogBudget::new(Arc::from("o"), 0, Clock::default());
        let log = GuestLog::new(budget, Arc::default());
        let mut writer = LineWriter { log: log.clone(), level: Level::Info, line: Vec::new() };
        writer.write_all(b"one\ntw").await.unwrap();
        assert_eq!((log.lines.load(Ordering::Relaxed), writer.line.as_slice()), (1, &b"tw"[..]));
        writer.write_all(&vec![b'x'; 10 * MAX_MESSAGE]).await.unwrap();
        assert!(writer.line.len() <= MAX_MESSAGE);
        assert_eq!(log.lines.load(Ordering::Relaxed), 11);
    }
}

//! Lines of a guest that are kept in memory for whoever tries it, up to so many bytes. What may
//! be logged at all is decided in `guest_log` and `log_budget`.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// What a line takes beside its text.
const LINE_BYTES: usize = 64;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptLine {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// What was said, as it may be shown.
    pub message: String,
}

/// Lines that nobody has taken yet.
#[derive(Debug)]
pub struct KeptLog(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    lines: Vec<KeptLine>,
    /// How many bytes more are kept.
    room: usize,
    /// Lines for which there was no room.
    dropped: u64,
}

impl KeptLog {
    /// One that keeps so many bytes in its life.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Mutex::new(Inner { lines: Vec::new(), room: bytes, dropped: 0 }))
    }

    pub(super) fn put(&self, level: &'static str, message: &str) {
        let inner = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match inner.room.checked_sub(message.len() + LINE_BYTES) {
            Some(left) => {
                inner.room = left;
                inner.lines.push(KeptLine { level, message: message.to_owned() });
            }
            None => inner.dropped += 1,
        }
    }

    /// The lines since they were last taken.
    #[must_use]
    pub fn take(&self) -> Vec<KeptLine> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).lines)
    }

    /// For how many lines there was no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted_and_taking_gives_none_back() {
        let log = KeptLog::new(2 * (LINE_BYTES + 3));
        log.put("info", "one");
        log.put("warn", "much too long");
        log.put("info", "two");
        log.put("info", "six");
        let said: Vec<_> = log.take().into_iter().map(|line| line.message).collect();
        assert_eq!((said, log.dropped()), (vec!["one".to_owned(), "two".to_owned()], 2));
        log.put("info", "more");
        assert_eq!((log.take(), log.dropped()), (vec![], 3));
    }
}

//! The last lines that a job's operators logged: so many, and so many bytes. Each has a number, by
//! which reading goes on; what was dropped for newer ones is told by a gap.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// How many lines are kept.
const MOST_LINES: usize = 1_000;
/// How many bytes of them.
const MOST_BYTES: usize = 512 << 10;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// To be told.
    Info,
    /// To be looked at.
    Warn,
    /// Something is wrong.
    Error,
}

impl Level {
    /// All of them, what matters least first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warn, Self::Error];

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Grows with each line of the job, from 1.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// How much it matters.
    pub level: Level,
    /// Whose.
    pub operator: Arc<str>,
    /// Which of its subtasks.
    pub subtask: u32,
    /// What was said.
    pub message: String,
}

/// The last lines of a job. Clones share them.
#[derive(Debug, Clone)]
pub struct LogBook(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lines: Mutex<Lines>,
    /// The number of the last line, and whether more may come.
    last: watch::Sender<(u64, bool)>,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<Line>,
    bytes: usize,
    last: u64,
}

impl Default for LogBook {
    fn default() -> Self {
        let last = watch::channel((0, true)).0;
        Self(Arc::new(Shared { lines: Mutex::default(), last }))
    }
}

/// Which lines are wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of this operator only.
    pub operator: Option<String>,
    /// Of this level and above.
    pub level: Level,
}

impl Wanted {
    fn is(&self, line: &Line) -> bool {
        line.level >= self.level
            && self.operator.as_ref().is_none_or(|operator| **operator == *line.operator)
    }
}

impl LogBook {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line down.
    pub fn write(&self, at: i64, level: Level, whose: (Arc<str>, u32), message: &str) {
        let mut lines = self.lock();
        lines.last += 1;
        let (operator, subtask) = whose;
        let id = lines.last;
        lines.bytes += message.len();
        lines.kept.push_back(Line {
            id,
            at,
            level,
            operator,
            subtask,
            message: message.to_owned(),
        });
        while lines.kept.len() > MOST_LINES || lines.bytes > MOST_BYTES {
            let Some(gone) = lines.kept.pop_front() else { break };
            lines.bytes -= gone.message.len();
        }
        drop(lines);
        self.0.last.send_modify(|(last, _)| *last = id);
    }

    /// The first lines after a number that are wanted; and the number to go on after: of the
    /// last line that was looked at.
    #[must_use]
    pub fn after(&self, number: u64, wanted: &Wanted, limit: usize) -> (Vec<Line>, u64) {
        let lines = self.lock();
        let (mut found, mut seen) = (Vec::new(), number.min(lines.last));
        let begin = lines.kept.partition_point(|line| line.id <= number);
        for line in lines.kept.range(begin..) {
            if wanted.is(line) {
                if found.len() == limit {
                    break;
                }
                found.push(line.clone());
            }
            seen = line.id;
        }
        (found, seen)
    }

    /// The number after which there are so many lines that are wanted.
    #[must_use]
    pub fn before_last(&self, wanted: &Wanted, count: usize) -> u64 {
        let lines = self.lock();
        let own = lines.kept.iter().rev().filter(|line| wanted.is(line)).take(count).last();
        own.map_or(lines.last, |line| line.id - 1)
    }

    /// Waits until there is a line after a number. False if there will never be one.
    pub async fn beyond(&self, number: u64) -> bool {
        let mut last = self.0.last.subscribe();
        let more = last.wait_for(|(last, open)| *last > number || !open).await;
        more.is_ok_and(|now| now.0 > number)
    }

    /// More may come, again.
    pub(super) fn open(&self) {
        self.0.last.send_modify(|(_, open)| *open = true);
    }

    /// No more will come.
    pub fn close(&self) {
        self.0.last.send_modify(|(_, open)| *open = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(book: &LogBook, level: Level, operator: &str, message: &str) {
        book.write(7, level, (Arc::from(operator), 0), message);
    }

    fn wanted(operator: Option<&str>, level: Level) -> Wanted {
        Wanted { operator: operator.map(str::to_owned), level }
    }

    #[test]
    fn lines_are_read_on_by_their_numbers_and_by_whose_they_are() {
        let book = LogBook::default();
        write(&book, Level::Info, "a", "1");
        write(&book, Level::Error, "b", "2");
        write(&book, Level::Warn, "a", "3");
        let said = |number, wanted: &Wanted, limit| {
            let (lines, next) = book.after(number, wanted, limit);
            (lines.into_iter().map(|line| line.message).collect::<Vec<_>>(), next)
        };
        let all = wanted(None, Level::Info);
        assert_eq!(said(0, &all, 2), (vec!["1".into(), "2".into()], 2));
        assert_eq!(said(2, &all, 2), (vec!["3".into()], 3));
        assert_eq!(said(3, &all, 2), (vec![], 3));
        assert_eq!(said(0, &wanted(Some("a"), Level::Warn), 9), (vec!["3".into()], 3));
        assert_eq!(said(0, &wanted(None, Level::Error), 9), (vec!["2".into()], 3));
        assert_eq!((book.before_last(&all, 2), book.before_last(&all, 0)), (1, 3));
    }

    #[test]
    fn a_flood_takes_no_more_memory_than_it_may() {
        let book = LogBook::default();
        let long = "x".repeat(4_096);
        for _ in 0..10_000 {
            write(&book, Level::Info, "a", &long);
            write(&book, Level::Info, "a", "");
        }
        let lines = book.lock();
        assert!(lines.kept.len() <= MOST_LINES && lines.bytes <= MOST_BYTES);
        assert_eq!(lines.bytes, lines.kept.iter().map(|line| line.message.len()).sum::<usize>());
    }

    #[tokio::test]
    async fn who_follows_is_told_of_each_line_and_of_the_end() {
        let book = LogBook::default();
        let follower = book.clone();
        let following = tokio::spawn(async move {
            (follower.beyond(0).await, follower.beyond(1).await, follower.beyond(0).await)
        });
        write(&book, Level::Info, "a", "1");
        book.close();
        assert_eq!(following.await.unwrap(), (true, false, true));
    }
}

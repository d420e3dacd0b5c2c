//! Mistakes in a job file: where they are, and how they are shown. What counts
//! as a mistake is decided by the readers.

use std::{cell::RefCell, fmt, ops::Range, path::Path};

/// How many mistakes of a file are shown. The others are counted.
const MOST_SHOWN: usize = 50;
/// How much of a long line is shown, in characters.
const WIDEST_LINE: usize = 120;

/// Where something stands: a range of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the job file.
    File(Range<usize>),
    /// In the `--set` with this number.
    Set(usize, Range<usize>),
}

impl Place {
    fn order(&self) -> (usize, usize) {
        match self {
            Place::File(range) => (0, range.start),
            Place::Set(number, range) => (number + 1, range.start),
        }
    }
}

/// What a reader found wrong.
#[derive(Debug)]
struct Problem {
    place: Place,
    message: String,
    help: Option<String>,
}

/// Collects what readers find wrong. Shared by all readers of one file.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: RefCell<Vec<Problem>>,
}

impl Problems {
    pub(super) fn add(&self, place: &Place, message: impl Into<String>, help: Option<String>) {
        let problem = Problem { place: place.clone(), message: message.into(), help };
        self.list.borrow_mut().push(problem);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// All of them in the file's order, ready to be shown.
    pub(super) fn into_errors(self, text: &str, origin: &Path, sets: &[&str]) -> JobFileErrors {
        let mut list = self.list.into_inner();
        list.sort_by_key(|problem| problem.place.order());
        let file = origin.display().to_string();
        let errors = list.into_iter().map(|problem| {
            let (name, source, range) = match problem.place {
                Place::File(range) => (file.clone(), text, range),
                Place::Set(number, range) => {
                    ("--set".to_owned(), sets.get(number).copied().unwrap_or(""), range)
                }
            };
            JobFileError::new(name, source, range, problem.message, problem.help)
        });
        JobFileErrors { errors: errors.collect() }
    }
}

/// One mistake. Its [`Display`](fmt::Display) shows the line with a caret:
///
/// ```text
/// error: unknown key `paralelism` in [job]
///  --> flights.toml:3:1
///   |
/// 3 | paralelism = 4
///   | ^^^^^^^^^^ did you mean `parallelism`?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFileError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The job file as it was named, or `--set`.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// The part of the line that is shown, how many of its characters come
    /// before the caret, and how many carets there are.
    excerpt: (String, usize, usize),
}

impl JobFileError {
    fn new(
        file: String,
        source: &str,
        range: Range<usize>,
        message: String,
        help: Option<String>,
    ) -> Self {
        let start = floor_boundary(source, range.start);
        let end = floor_boundary(source, range.end.max(start));
        let before = &source[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let column = source[line_start..start].chars().count();
        let width = source[start..end.min(line_end)].trim_end().chars().count().max(1);
        Self {
            message,
            help,
            file,
            line: before.matches('\n').count() + 1,
            column: column + 1,
            excerpt: excerpt(source[line_start..line_end].trim_end(), column, width),
        }
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

/// Cuts a line down to what fits around the place, and makes it safe to print.
fn excerpt(line: &str, column: usize, width: usize) -> (String, usize, usize) {
    let safe = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    let skip = if column > WIDEST_LINE - 40 { column - 40 } else { 0 };
    let mut shown: String = line.chars().skip(skip).take(WIDEST_LINE).map(safe).collect();
    let mut lead = column - skip;
    if skip > 0 {
        shown.insert(0, '…');
        lead += 1;
    }
    if line.chars().count() > skip + WIDEST_LINE {
        shown.push('…');
    }
    let carets = width.min(shown.chars().count().saturating_sub(lead)).max(1);
    (shown, lead, carets)
}

impl fmt::Display for JobFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, lead, carets) = &self.excerpt;
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "error: {}", self.message)?;
        if self.file == "--set" {
            writeln!(f, "{gutter}--> --set {shown}")?;
        } else {
            writeln!(f, "{gutter}--> {}:{}:{}", self.file, self.line, self.column)?;
        }
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {shown}")?;
        write!(f, "{gutter} | {}{}", " ".repeat(*lead), "^".repeat(*carets))?;
        match &self.help {
            Some(help) => write!(f, " {help}"),
            None => Ok(()),
        }
    }
}

/// Every mistake of a job file, in its order; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFileErrors {
    /// The mistakes.
    pub errors: Vec<JobFileError>,
}

impl fmt::Display for JobFileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in self.errors.iter().take(MOST_SHOWN) {
            writeln!(f, "{error}\n")?;
        }
        if self.errors.len() > MOST_SHOWN {
            writeln!(f, "and {} more\n", self.errors.len() - MOST_SHOWN)?;
        }
        let file = self.errors.first().map_or("the job file", |error| error.file.as_str());
        match self.errors.len() {
            1 => write!(f, "1 error in {file}"),
            n => write!(f, "{n} errors in {file}"),
        }
    }
}

impl std::error::Error for JobFileErrors {}

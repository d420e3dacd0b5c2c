//! What people see of a job while it runs, beside its figures: the last lines that its operators
//! logged, and samples of what they put out. Neither can hold the job up: who looks too slowly
//! misses something, and is told how much.
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`log_book`] | the last log lines |
//! | [`tap`] | samples of records |

pub mod log_book;
pub mod tap;

use self::{log_book::LogBook, tap::Taps};

/// What can be seen of one job. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Watching {
    /// What its operators log.
    pub book: LogBook,
    /// What its sources and operators put out.
    pub taps: Taps,
}

impl Watching {
    /// The same, for a job that is started again: with the lines that are there.
    #[must_use]
    pub fn opened(&self) -> Self {
        self.book.open();
        let taps = if self.taps.is_closed() { Taps::default() } else { self.taps.clone() };
        Self { book: self.book.clone(), taps }
    }

    /// The job has ended: nothing more will come.
    pub fn close(&self) {
        self.book.close();
        self.taps.close();
    }
}

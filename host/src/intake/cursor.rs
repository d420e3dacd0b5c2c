//! Reading a log from a position, as far as it is durable.

use std::{fs::File, os::unix::fs::FileExt as _, path::PathBuf, sync::Arc};

use super::{
    IntakeError,
    frame::{self, HEADER, Head},
    log::Log,
    segment::{self, BEGIN},
};

/// A place in a log, between two frames, and the file that it is in.
#[derive(Debug)]
pub struct Cursor {
    log: Arc<Log>,
    offset: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    base: u64,
    path: PathBuf,
    file: File,
}

impl Cursor {
    /// At a place where a frame begins, or the log ends.
    #[must_use]
    pub fn new(log: Arc<Log>, offset: u64) -> Self {
        Self { log, offset, open: None }
    }

    /// Where it is.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The frame that begins here, if there is one by now, with the bytes of its header.
    ///
    /// # Errors
    /// If it cannot be read, or is not what was written.
    pub fn head(&mut self) -> Result<Option<(Head, [u8; HEADER])>, IntakeError> {
        if self.offset >= self.log.durable() {
            return Ok(None);
        }
        let base = self.log.segment_at(self.offset).ok_or_else(|| IntakeError::Damaged {
            path: self.log.dir().to_owned(),
            reason: format!("what stood at {} was removed", self.offset),
        })?;
        if self.open.as_ref().is_none_or(|open| open.base != base) {
            let path = segment::path(self.log.dir(), base);
            let file = File::open(&path).map_err(IntakeError::disk(&path))?;
            self.open = Some(Open { base, path, file });
        }
        let Some(open) = &self.open else { return Ok(None) };
        let mut bytes = [0; HEADER];
        let at = BEGIN + self.offset - base;
        open.file.read_exact_at(&mut bytes, at).map_err(IntakeError::disk(&open.path))?;
        let head = Head::read(&bytes, self.offset).ok_or_else(|| self.damaged())?;
        Ok(Some((head, bytes)))
    }

    /// The body of the frame that begins here.
    ///
    /// # Errors
    /// If it cannot be read, or is not what was written.
    pub fn body(&self, head: &Head, header: &[u8; HEADER]) -> Result<Vec<u8>, IntakeError> {
        let open = self.open.as_ref().ok_or_else(|| self.damaged())?;
        let mut body = vec![0; head.length as usize];
        let at = BEGIN + self.offset - open.base + HEADER as u64;
        open.file.read_exact_at(&mut body, at).map_err(IntakeError::disk(&open.path))?;
        if frame::is_whole(header, &body) { Ok(body) } else { Err(self.damaged()) }
    }

    /// Goes to the next frame.
    pub fn pass(&mut self, head: &Head) {
        self.offset = head.end();
    }

    fn damaged(&self) -> IntakeError {
        let path = self.open.as_ref().map_or_else(|| self.log.dir().to_owned(), |o| o.path.clone());
        let reason = format!("what stands at {} is not what was written", self.offset);
        IntakeError::Damaged { path, reason }
    }
}

//! Bytes of a snapshot, in memory that is used again for the next one: the kernel clears
//! every page that it gives, and to take pages back it interrupts all cores; both would
//! take as long as the snapshot.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// The memory of snapshots that nobody reads any more. It holds as much as the last
/// snapshot took, and only until the next one.
#[derive(Debug, Default)]
pub(super) struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

/// More room than so many times what is wanted is given back.
const TOO_LARGE: usize = 4;

impl Spare {
    /// An empty vector with room for so many bytes.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut taken = spare
            .filter(|spare| spare.capacity() <= TOO_LARGE * bytes.max(1024))
            .unwrap_or_default();
        taken.reserve(bytes);
        taken
    }

    /// Bytes whose memory comes back.
    pub(super) fn lend(&self, bytes: Vec<u8>) -> Buffer {
        Buffer { bytes, home: Arc::downgrade(&self.0) }
    }

    /// Gives back what was not wanted for the snapshot that was just taken.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
    }
}

/// Bytes of a snapshot.
pub struct Buffer {
    bytes: Vec<u8>,
    home: Weak<Mutex<Vec<Vec<u8>>>>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            home.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, home: Weak::new() }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        self.bytes.clone().into()
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Buffer {}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_once_nobody_reads_it_and_is_not_hoarded() {
        let spare = Spare::default();
        let first = spare.lend(vec![7; 10_000]);
        let (at, copy) = (first.as_ptr(), first.clone());
        let second = spare.take(10_000);
        assert!(second.as_ptr() != at, "it is still read");
        drop(first);
        drop(copy);
        let again = spare.take(5_000);
        assert_eq!((again.as_ptr(), again.len()), (at, 0));
        assert!(spare.take(1).capacity() < 5_000, "a copy does not come back");
        drop(spare.lend(again));
        assert!(spare.take(10).capacity() < 5_000, "too much for so little");
        let other = spare.lend(Vec::with_capacity(100));
        drop(spare);
        drop(other);
    }
}

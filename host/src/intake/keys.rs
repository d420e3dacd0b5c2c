//! Which requests a log has taken already, by their idempotency keys: for a while, and so many.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    IntakeError,
    frame::{Head, Print},
};
use crate::database::directory::sync;

/// The file of keys whose frames may be gone.
const FILE: &str = "keys";
const NEW: &str = "keys.new";
/// How it begins.
const MAGIC: &[u8; 8] = b"CFDMKEY1";

/// A request that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    /// Its key.
    pub(super) key: Print,
    /// Its body.
    pub(super) body: Print,
    /// Where the log ended with it.
    pub(super) end: u64,
    /// When, in milliseconds since 1970.
    pub(super) at: i64,
    /// How many records it had.
    pub(super) records: u32,
}

/// The requests that are remembered.
#[derive(Debug)]
pub(super) struct Keys {
    window: i64,
    most: usize,
    taken: HashMap<Print, Taken>,
    /// In the order in which they were taken.
    order: VecDeque<(Print, u64)>,
}

impl Keys {
    pub(super) fn new(window: Duration, most: usize) -> Self {
        let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        Self { window, most, taken: HashMap::new(), order: VecDeque::new() }
    }

    /// The request that had this key.
    pub(super) fn get(&mut self, key: &Print, now: i64) -> Option<Taken> {
        self.forget(now);
        self.taken.get(key).copied()
    }

    /// Once more is no change.
    pub(super) fn add(&mut self, taken: Taken) {
        if self.taken.get(&taken.key) == Some(&taken) {
            return;
        }
        self.order.push_back((taken.key, taken.end));
        self.taken.insert(taken.key, taken);
        self.forget(taken.at);
    }

    pub(super) fn add_head(&mut self, head: &Head) {
        if let Some(key) = head.key {
            let (body, at, records) = (head.body, head.at, head.records);
            self.add(Taken { key, body, end: head.end(), at, records });
        }
    }

    /// Forgets what came after this place: it was not taken after all.
    pub(super) fn roll_back(&mut self, to: u64) {
        while let Some((key, _)) = self.order.pop_back_if(|(_, end)| *end > to) {
            if self.taken.get(&key).is_some_and(|taken| taken.end > to) {
                self.taken.remove(&key);
            }
        }
    }

    fn forget(&mut self, now: i64) {
        let (most, window) = (self.most, self.window);
        while let Some((key, end)) = self.order.front() {
            let taken = self.taken.get(key).filter(|taken| taken.end == *end);
            let is_over = taken.is_none_or(|taken| now.saturating_sub(taken.at) > window);
            if !is_over && self.order.len() <= most {
                return;
            }
            if taken.is_some() {
                self.taken.remove(key);
            }
            self.order.pop_front();
        }
    }

    /// Those of requests up to this place, in order.
    pub(super) fn up_to(&self, place: u64) -> Vec<Taken> {
        let all = self.order.iter();
        all.filter_map(|(key, end)| self.taken.get(key).filter(|taken| taken.end == *end))
            .filter(|taken| taken.end <= place)
            .copied()
            .collect()
    }

    /// Reads what [`save`] wrote.
    pub(super) fn load(&mut self, dir: &Path) -> Result<(), IntakeError> {
        let path = dir.join(FILE);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read.map_err(IntakeError::disk(&path))?,
        };
        let damaged = || IntakeError::Damaged {
            path: path.clone(),
            reason: "its checksum is wrong; delete it to go on without these idempotency keys"
                .to_owned(),
        };
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let (crc, body) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        if u32::from_le_bytes(*crc) != crc32fast::hash(body) {
            return Err(damaged());
        }
        let saved: Vec<Taken> = postcard::from_bytes(body).map_err(|_| damaged())?;
        saved.into_iter().for_each(|taken| self.add(taken));
        Ok(())
    }
}

/// Writes keys down, durably.
pub(super) fn save(dir: &Path, taken: &[Taken]) -> Result<(), IntakeError> {
    let body = postcard::to_stdvec(taken).expect("plain data in memory can be encoded");
    let path = dir.join(NEW);
    let write = || -> io::Result<()> {
        let mut file = File::create(&path)?;
        file.write_all(MAGIC)?;
        file.write_all(&crc32fast::hash(&body).to_le_bytes())?;
        file.write_all(&body)?;
        file.sync_all()?;
        fs::rename(&path, dir.join(FILE))?;
        sync(dir)
    };
    write().map_err(IntakeError::disk(&path))
}

/// The files beside the segments.
pub(super) fn files() -> [&'static str; 1] {
    [FILE]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(n: u8, at: i64) -> Taken {
        Taken { key: [n; 16], body: [n; 16], end: u64::from(n) + 1, at, records: 1 }
    }

    #[test]
    fn keys_are_forgotten_after_the_window_or_when_there_are_too_many() {
        let mut keys = Keys::new(Duration::from_millis(100), 3);
        (0..3).for_each(|n| keys.add(taken(n, i64::from(n) * 10)));
        assert!(keys.get(&[0; 16], 100).is_some());
        assert!(keys.get(&[0; 16], 101).is_none());
        assert!(keys.get(&[1; 16], 101).is_some());
        (3..5).for_each(|n| keys.add(taken(n, 101)));
        assert!(keys.get(&[1; 16], 101).is_none(), "there are three others");
        assert!(keys.get(&[2; 16], 101).is_some());
        assert_eq!((keys.taken.len(), keys.order.len()), (3, 3));
    }

    #[test]
    fn what_was_rolled_back_was_never_taken_and_what_was_saved_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = Keys::new(Duration::from_secs(1), 10);
        (0..4).for_each(|n| keys.add(taken(n, 0)));
        keys.roll_back(3);
        assert!(keys.get(&[3; 16], 0).is_none() && keys.get(&[2; 16], 0).is_some());
        save(dir.path(), &keys.up_to(2)).unwrap();
        let mut again = Keys::new(Duration::from_secs(1), 10);
        again.load(dir.path()).unwrap();
        assert_eq!(again.get(&[1; 16], 0), Some(taken(1, 0)));
        assert!(again.get(&[2; 16], 0).is_none(), "it was not saved");
        let path = dir.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(again.load(dir.path()).is_err());
    }
}

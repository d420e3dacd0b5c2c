//! One log. Requests are appended to what is pending; one thread at a time writes all that is
//! pending, syncs it, and tells everybody whose request was in it. So the more come at once, the
//! fewer syncs there are for each.
//!
//! What cannot be written or synced was not taken: the log goes back to where it was durable, and
//! whoever waits is told. Only what is durable is ever read.

use std::{
    collections::VecDeque,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{oneshot, watch};

use super::{
    IntakeError, NoBound, Room,
    frame::{self, Head, Kind},
    keys::{self, Keys, Taken},
    segment::{self, BEGIN, Segment},
    traced::TracedPosts,
};
use crate::{clock::Clock, trace::SpanRef};

/// A segment that has grown to this is followed by another one, if the log may be large.
const LARGEST_SEGMENT: u64 = 16 << 20;
/// A segment of which nothing is needed is followed by another one from this length on.
const WORTH_REMOVING: u64 = 64 << 10;
/// How many segments there are room for, at least: whole ones are removed.
const SEGMENTS: u64 = 8;

/// How much a log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on disk.
    pub bytes: u64,
    /// For how long idempotency keys are remembered.
    pub window: Duration,
    /// How many of them at most.
    pub keys: usize,
}

/// What was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// How many records.
    pub records: u32,
    /// Where the log ends with them: grows with each request that is taken.
    pub position: u64,
}

/// What a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Bytes on disk.
    pub bytes: u64,
    /// How many there may be.
    pub limit: u64,
    /// Where the log ends, as far as it is durable.
    pub position: u64,
    /// Whether it was said that no more will come.
    pub ended: bool,
}

/// A log of one source.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    limits: Limits,
    clock: Clock,
    room: Arc<dyn Room>,
    state: Mutex<State>,
    /// Where the log ends, as far as it is durable.
    durable: watch::Sender<u64>,
    traced: TracedPosts,
}

/// Somebody who waits until the log is durable up to a place.
type Waiting = (u64, oneshot::Sender<Result<(), IntakeError>>);

#[derive(Debug)]
struct State {
    /// All of them, the last one grows. Their ends are where they are durable.
    segments: VecDeque<Segment>,
    /// The last segment's.
    file: Arc<File>,
    /// Where the next frame begins.
    end: u64,
    next_number: u64,
    /// Frames that are to be written.
    pending: Vec<u8>,
    waiting: Vec<Waiting>,
    /// Somebody writes.
    committing: bool,
    keys: Keys,
    /// Where the log ended for good.
    ended: Option<u64>,
    closed: bool,
    /// Something stands behind the last durable frame that must not be there.
    torn: bool,
}

impl State {
    fn durable(&self) -> u64 {
        self.segments.back().map_or(0, |last| last.end)
    }

    fn held(&self) -> u64 {
        self.segments.iter().map(Segment::bytes).sum::<u64>() + self.end - self.durable()
    }
}

impl Log {
    /// Opens the log of a directory, which is made if it is not there. Blocks.
    ///
    /// # Errors
    /// If the disk says no, or what is there is damaged.
    pub fn open(dir: &Path, limits: Limits, clock: Clock) -> Result<Arc<Self>, IntakeError> {
        Self::within(dir, limits, clock, Arc::new(NoBound))
    }

    /// As [`open`](Self::open), one that shares its room with others.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn within(
        dir: &Path,
        limits: Limits,
        clock: Clock,
        room: Arc<dyn Room>,
    ) -> Result<Arc<Self>, IntakeError> {
        segment::make_dir(dir)?;
        let mut keys = Keys::new(limits.window, limits.keys);
        keys.load(dir)?;
        let bases = segment::bases(dir)?;
        let (mut segments, mut next_number, mut ended) = (VecDeque::<Segment>::new(), 0, None);
        let mut file = None;
        for (i, base) in bases.iter().enumerate() {
            let last = i + 1 == bases.len();
            let Some(scanned) = segment::scan(dir, *base, last)? else {
                if last {
                    // It was being made when the power went.
                    continue;
                }
                return Err(damaged(dir, *base, "it has no beginning"));
            };
            if segments.back().is_some_and(|before| before.end != *base) {
                return Err(damaged(dir, *base, "what comes before it is missing"));
            }
            if scanned.torn > 0 && !last {
                return Err(damaged(dir, *base, "it ends too early"));
            }
            if scanned.torn > 0 {
                tracing::warn!(
                    "{} bytes that were never acknowledged are cut off from {}",
                    scanned.torn,
                    segment::path(dir, *base).display()
                );
            }
            for head in &scanned.heads {
                keys.add_head(head);
                next_number = head.number + 1;
                if head.kind == Kind::End {
                    ended = Some(head.end());
                }
            }
            if last {
                file = Some(segment::open_last(dir, &scanned)?);
            }
            segments.push_back(scanned.segment);
        }
        let file = match file {
            Some(file) => file,
            None => {
                let base = segments.back().map_or(0, |last| last.end);
                segments.push_back(Segment { base, end: base });
                segment::create(dir, base)?
            }
        };
        let state = State {
            end: segments.back().map_or(0, |last| last.end),
            segments,
            file: Arc::new(file),
            next_number,
            pending: Vec::new(),
            waiting: Vec::new(),
            committing: false,
            keys,
            ended,
            closed: false,
            torn: false,
        };
        let durable = watch::channel(state.durable()).0;
        room.holds(state.held());
        let (state, traced) = (Mutex::new(state), TracedPosts::default());
        Ok(Arc::new(Self { dir: dir.to_owned(), limits, clock, room, state, durable, traced }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the log ends, as far as it is durable.
    #[must_use]
    pub fn durable(&self) -> u64 {
        *self.durable.borrow()
    }

    /// Where the log begins: what came before was removed.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.lock().segments.front().map_or(0, |first| first.base)
    }

    /// What it holds.
    #[must_use]
    pub fn held(&self) -> Held {
        let state = self.lock();
        let position = state.durable();
        let ended = state.ended.is_some_and(|end| end <= position);
        Held { bytes: state.held(), limit: self.limits.bytes, position, ended }
    }

    /// Whether the log ends for good at this place.
    #[must_use]
    pub fn is_over_at(&self, offset: u64) -> bool {
        self.lock().ended.is_some_and(|end| end <= offset && offset <= self.durable())
    }

    /// Waits until something durable comes after this place. Can be cancelled.
    pub async fn beyond(&self, offset: u64) {
        let mut durable = self.durable.subscribe();
        // The sender is ours.
        let _ = durable.wait_for(|durable| *durable > offset).await;
    }

    /// Where the segment begins that a place is in.
    pub(super) fn segment_at(&self, offset: u64) -> Option<u64> {
        let state = self.lock();
        let found = state.segments.partition_point(|segment| segment.base <= offset);
        found.checked_sub(1).map(|i| state.segments[i].base)
    }

    /// Takes records: durable when this returns. With a key that was taken before it is what was
    /// said then. If nobody waits any more, they may be taken all the same.
    ///
    /// # Errors
    /// [`IntakeError`] says why they are not; nothing of them is.
    pub async fn append(
        self: &Arc<Self>,
        body: &[u8],
        records: u32,
        key: Option<&str>,
    ) -> Result<Accepted, IntakeError> {
        self.put(Kind::Records, body, records, key, None).await
    }

    /// As [`append`](Self::append), for a request that may be traced.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn append_traced(
        self: &Arc<Self>,
        body: &[u8],
        records: u32,
        key: Option<&str>,
        span: Option<SpanRef>,
    ) -> Result<Accepted, IntakeError> {
        self.put(Kind::Records, body, records, key, span).await
    }

    /// Which requests were traced.
    #[must_use]
    pub fn traced(&self) -> &TracedPosts {
        &self.traced
    }

    /// Says that no more will come. Said again it is no mistake.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn end(self: &Arc<Self>) -> Result<Accepted, IntakeError> {
        self.put(Kind::End, b"", 0, None, None).await
    }

    async fn put(
        self: &Arc<Self>,
        kind: Kind,
        body: &[u8],
        records: u32,
        key: Option<&str>,
        span: Option<SpanRef>,
    ) -> Result<Accepted, IntakeError> {
        let body_print = frame::print(body);
        let key = key.map(|key| frame::print(key.as_bytes()));
        let (heard, accepted, begin) = {
            let mut state = self.lock();
            let position = match self.known(&mut state, kind, key.as_ref(), &body_print)? {
                Some((position, records)) => (position, records),
                None => {
                    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
                    let head = Head {
                        length,
                        offset: state.end,
                        number: state.next_number,
                        at: self.clock.now_millis(),
                        records,
                        kind,
                        key,
                        body: body_print,
                    };
                    self.enter(&mut state, &head, body)?;
                    if let Some(span) = span {
                        self.traced.add(&head, span);
                    }
                    (head.end(), records)
                }
            };
            let accepted = Accepted { position: position.0, records: position.1 };
            if accepted.position <= state.durable() {
                return Ok(accepted);
            }
            let (say, heard) = oneshot::channel();
            state.waiting.push((accepted.position, say));
            (heard, accepted, !std::mem::replace(&mut state.committing, true))
        };
        if begin {
            let log = self.clone();
            tokio::task::spawn_blocking(move || log.commit());
        }
        match heard.await {
            Ok(said) => said.map(|()| accepted),
            Err(_) => Err(IntakeError::Closed),
        }
    }

    /// What was said to the same request before.
    fn known(
        &self,
        state: &mut State,
        kind: Kind,
        key: Option<&frame::Print>,
        body: &frame::Print,
    ) -> Result<Option<(u64, u32)>, IntakeError> {
        if let Some(Taken { body: before, end, records, .. }) =
            key.and_then(|key| state.keys.get(key, self.clock.now_millis()))
        {
            return if before == *body {
                Ok(Some((end, records)))
            } else {
                Err(IntakeError::OtherBody)
            };
        }
        match (state.closed, state.ended) {
            (true, _) => Err(IntakeError::Closed),
            (_, Some(end)) if kind == Kind::End => Ok(Some((end, 0))),
            (_, Some(_)) => Err(IntakeError::Ended),
            _ => Ok(None),
        }
    }

    fn enter(&self, state: &mut State, head: &Head, body: &[u8]) -> Result<(), IntakeError> {
        let (held, limit) = (state.held(), self.limits.bytes);
        // The end needs no room: it is what lets a full log be emptied for good.
        let then = held + head.end() - head.offset;
        if head.kind == Kind::Records {
            if then > limit {
                return Err(IntakeError::Full { held, limit });
            }
            self.room.grow(then).map_err(IntakeError::NoRoom)?;
        }
        head.write(body, &mut state.pending);
        state.end = head.end();
        state.next_number += 1;
        state.keys.add_head(head);
        if head.kind == Kind::End {
            state.ended = Some(head.end());
            self.room.holds(then);
        }
        Ok(())
    }

    /// Writes what is pending, until nothing is. Blocks.
    fn commit(&self) {
        loop {
            let (frames, end, file, last, torn) = {
                let mut state = self.lock();
                if state.pending.is_empty() {
                    state.committing = false;
                    return;
                }
                let frames = std::mem::take(&mut state.pending);
                let last = state.segments.back().cloned();
                let last = last.unwrap_or(Segment { base: 0, end: 0 });
                (frames, state.end, state.file.clone(), last, state.torn)
            };
            match self.write(&frames, file, &last, torn) {
                Ok(made) => self.written(end, made),
                Err(error) => self.failed(&error),
            }
        }
    }

    /// Writes frames behind the last durable one; into a new segment, if the last one has grown
    /// enough: then that is returned.
    fn write(
        &self,
        frames: &[u8],
        mut file: Arc<File>,
        last: &Segment,
        torn: bool,
    ) -> Result<Option<(Arc<File>, u64)>, IntakeError> {
        let (mut base, mut made) = (last.base, None);
        if torn {
            let path = segment::path(&self.dir, base);
            file.set_len(last.bytes()).map_err(IntakeError::disk(&path))?;
        }
        if last.end - base >= self.largest_segment() {
            base = last.end;
            file = Arc::new(segment::create(&self.dir, base)?);
            made = Some((file.clone(), base));
        }
        let path = segment::path(&self.dir, base);
        let at = BEGIN + last.end - base;
        file.write_all_at(frames, at).map_err(IntakeError::disk(&path))?;
        file.sync_data().map_err(IntakeError::disk(&path))?;
        Ok(made)
    }

    fn largest_segment(&self) -> u64 {
        (self.limits.bytes / SEGMENTS).min(LARGEST_SEGMENT)
    }

    fn written(&self, end: u64, made: Option<(Arc<File>, u64)>) {
        let mut state = self.lock();
        state.torn = false;
        if let Some((file, base)) = made {
            state.file = file;
            state.segments.push_back(Segment { base, end });
            self.room.holds(state.held());
        } else if let Some(last) = state.segments.back_mut() {
            last.end = end;
        }
        let (done, rest) = state.waiting.drain(..).partition(|(to, _)| *to <= end);
        state.waiting = rest;
        self.durable.send_replace(end);
        drop(state);
        tell(done, || Ok(()));
    }

    /// Nothing of what was pending was taken, nor of what came meanwhile: it stands behind it.
    fn failed(&self, error: &IntakeError) {
        tracing::error!("what was posted could not be kept: {error}");
        let mut state = self.lock();
        let durable = state.durable();
        state.pending.clear();
        state.torn = true;
        state.end = durable;
        state.keys.roll_back(durable);
        self.traced.roll_back(durable);
        state.ended = state.ended.filter(|end| *end <= durable);
        let all = std::mem::take(&mut state.waiting);
        self.room.holds(state.held());
        drop(state);
        let (path, full) = match error {
            IntakeError::Disk { path, full, .. } => (path.clone(), *full),
            _ => (self.dir.clone(), false),
        };
        let reason = error.to_string();
        tell(all, || Err(IntakeError::Disk { path: path.clone(), reason: reason.clone(), full }));
    }

    /// Takes nothing more. What is being written is waited for. Blocks.
    pub fn close(&self) {
        self.lock().closed = true;
        // Whoever writes ends by itself, and soon; there is none in nearly all cases.
        while self.lock().committing {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes what comes before a place: whole segments, and the keys of their requests are
    /// written down before. If that is everything, another segment is begun, so that the last one
    /// can go too. Blocks.
    ///
    /// # Errors
    /// If the disk says no.
    pub fn trim(&self, to: u64) -> Result<(), IntakeError> {
        self.begin_anew(to)?;
        let (gone, keys) = {
            let state = self.lock();
            let whole = state.segments.iter().take(state.segments.len().saturating_sub(1));
            let gone = whole.take_while(|segment| segment.end <= to).map(|segment| segment.base);
            let gone: Vec<u64> = gone.collect();
            if gone.is_empty() {
                return Ok(());
            }
            (gone, state.keys.up_to(state.durable()))
        };
        keys::save(&self.dir, &keys)?;
        for base in gone {
            let path = segment::path(&self.dir, base);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(IntakeError::disk(&path)(error));
                }
                _ => {
                    let mut state = self.lock();
                    state.segments.pop_front_if(|first| first.base == base);
                    self.room.holds(state.held());
                }
            }
        }
        Ok(())
    }
}

impl Log {
    /// Begins another segment if nothing that comes before a place is needed, that is all there is,
    /// and it is worth it. Blocks.
    fn begin_anew(&self, to: u64) -> Result<(), IntakeError> {
        let base = {
            let mut state = self.lock();
            let last = state.segments.back().map_or(0, Segment::bytes);
            let all = to >= state.end && state.pending.is_empty() && state.ended.is_none();
            if !all || last < WORTH_REMOVING || state.committing || state.torn || state.closed {
                return Ok(());
            }
            // Whoever posts meanwhile waits for it.
            state.committing = true;
            state.durable()
        };
        let made = segment::create(&self.dir, base);
        let mut state = self.lock();
        let made = match made {
            Ok(file) => {
                state.file = Arc::new(file);
                state.segments.push_back(Segment { base, end: base });
                self.room.holds(state.held());
                Ok(())
            }
            Err(error) => {
                // What is written next goes on in the last one: there must not be two of them.
                let path = segment::path(&self.dir, base);
                match fs::remove_file(&path) {
                    Err(other) if other.kind() != std::io::ErrorKind::NotFound => {
                        tracing::error!("{} cannot be removed: {other}", path.display());
                        state.closed = true;
                    }
                    _ => {}
                }
                Err(error)
            }
        };
        drop(state);
        self.commit();
        made
    }
}

fn tell(waiting: Vec<Waiting>, what: impl Fn() -> Result<(), IntakeError>) {
    for (_, say) in waiting {
        // Whoever went away is not told.
        let _ = say.send(what());
    }
}

fn damaged(dir: &Path, base: u64, reason: &str) -> IntakeError {
    IntakeError::Damaged { path: segment::path(dir, base), reason: reason.to_owned() }
}

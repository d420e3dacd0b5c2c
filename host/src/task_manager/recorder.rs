//! What a subtask remembers of its input since its last checkpoints, so that a crash
//! can be looked at afterwards, and so that two versions of an operator can be
//! compared. Batches are shared columns: nothing is copied. How it gets into a file is
//! the job manager's and the capsule's.
//!
//! What is remembered before a crash depends on what it takes to see the crash again:
//!
//! | operator | remembered | and at the crash |
//! | --- | --- | --- |
//! | without state | nothing | the batch |
//! | keyed | nothing | the batch or timer, and the state of its keys just before |
//! | with state of its own, or whose memory is saved | what came since its last checkpoints | the batch |
//! | any that crashed since the last checkpoint | the same | the same |

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::{
    failure::Failure,
    ids::CheckpointId,
    sandbox::{MemoryDelta, Now},
    stream::{Batch, keys::KeyGroup},
};

/// How many bytes of records a subtask remembers, at most.
pub const MOST_RECORDED: usize = 16 << 20;
/// How many checkpoints' records are kept beside those since the last one: it may not be
/// complete yet, and one may have been given up.
const CHECKPOINTS: usize = 3;
/// What an event takes beside its batch.
const EVENT_BYTES: usize = 96;

/// Something that came in.
#[derive(Debug, Clone, PartialEq)]
pub enum Recorded {
    /// A batch.
    Batch {
        /// On which input port.
        port: u32,
        /// What time it was.
        now: Now,
        /// The records.
        batch: Batch,
    },
    /// The watermark came on: timers and windows were fired.
    Watermark {
        /// What time it was: the new watermark, and the clock.
        now: Now,
    },
    /// The clock came on: timers of processing time were fired.
    Clock {
        /// What time it was.
        now: Now,
    },
    /// The input had ended.
    Finish,
}

impl Recorded {
    /// What it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Batch { batch, .. } => EVENT_BYTES + batch.bytes(),
            _ => EVENT_BYTES,
        }
    }
}

/// What came in after a checkpoint's barrier, up to the next one's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Segment {
    /// The checkpoint; none: the beginning.
    pub since: Option<CheckpointId>,
    /// In order.
    pub events: Vec<Recorded>,
}

/// A crash, as the subtask saw it.
#[derive(Debug)]
pub struct Crash {
    /// What happened.
    pub failure: Failure,
    /// In which event.
    pub event: Recorded,
    /// Of a keyed operator: the state of that event's keys, just before it.
    pub before: Option<Vec<(KeyGroup, Vec<u8>)>>,
    /// What came before it, by checkpoint, as far as that is known.
    pub segments: Vec<Segment>,
}

/// The state of an operator at a barrier.
#[derive(Debug, Default)]
pub struct StateThen {
    /// Of a keyed operator: a base of each key group.
    pub keyed: Vec<(KeyGroup, Vec<u8>)>,
    /// Of a guest that keeps its own: what it said.
    pub guest: Option<Vec<u8>>,
    /// Of one whose memory is saved: all of that, if there was room for a copy.
    pub memory: Option<MemoryDelta>,
}

/// A stretch of a subtask's life, recorded on request.
#[derive(Debug)]
pub struct Recording {
    /// The checkpoint at whose barrier it begins.
    pub since: CheckpointId,
    /// The state there.
    pub state: StateThen,
    /// In order.
    pub events: Vec<Recorded>,
    /// Whether all batches that were asked for are in it; not if there were too many
    /// bytes, or the input ended.
    pub whole: bool,
}

/// A request to record.
#[derive(Debug)]
struct Request {
    /// So many batches are still to come.
    batches: u32,
    bytes: usize,
    /// Begins at the next barrier.
    recording: Option<Recording>,
    done: oneshot::Sender<Recording>,
}

/// Remembers.
#[derive(Debug)]
pub struct Recorder {
    segments: VecDeque<Segment>,
    bytes: usize,
    on: bool,
    /// Events were dropped for want of room: only what follows the next barrier is whole.
    lost: bool,
    limit: usize,
    request: Option<Request>,
}

impl Recorder {
    /// Of a subtask that starts from a checkpoint, or from the beginning. `limit` is in
    /// bytes.
    #[must_use]
    pub fn new(on: bool, since: Option<CheckpointId>, limit: usize) -> Self {
        let first = Segment { since, events: Vec::new() };
        Self {
            segments: VecDeque::from([first]),
            bytes: 0,
            on,
            lost: false,
            limit: limit.min(MOST_RECORDED),
            request: None,
        }
    }

    /// Whether [`note`](Self::note) has to be called.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on || self.request.as_ref().is_some_and(|request| request.recording.is_some())
    }

    /// What it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.request.as_ref().map_or(0, |request| request.bytes)
    }

    /// Something came in, and went through.
    pub fn note(&mut self, event: Recorded) {
        self.note_requested(&event);
        if !self.on || self.lost {
            return;
        }
        self.bytes += event.bytes();
        if let Some(last) = self.segments.back_mut() {
            last.events.push(event);
        }
        while self.bytes > self.limit {
            if self.segments.len() > 1 {
                self.drop_oldest();
            } else {
                self.forget();
            }
        }
    }

    /// There is no room for what it holds. What follows the next barrier is kept again.
    pub fn forget(&mut self) {
        self.segments.clear();
        self.bytes = 0;
        self.lost = true;
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.segments.pop_front() {
            self.bytes -= oldest.events.iter().map(Recorded::bytes).sum::<usize>();
        }
    }

    /// A checkpoint's barrier has come, and the state was saved.
    pub fn barrier(&mut self, checkpoint: CheckpointId) {
        self.lost = false;
        self.segments.push_back(Segment { since: Some(checkpoint), events: Vec::new() });
        while self.segments.len() > CHECKPOINTS {
            self.drop_oldest();
        }
    }

    /// Whether a recording was requested that begins at the next barrier, for which
    /// [`begin`](Self::begin) needs the state there.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.recording.is_none())
    }

    /// The recording that was requested begins, at a checkpoint's barrier.
    pub fn begin(&mut self, since: CheckpointId, state: StateThen) {
        if let Some(request) = &mut self.request {
            let events = Vec::new();
            request.recording = Some(Recording { since, state, events, whole: true });
        }
    }

    /// What came in since each of the last checkpoints, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        if self.on { self.segments.iter().cloned().collect() } else { Vec::new() }
    }

    /// Records the next so many batches after the next barrier, in place of what was
    /// requested before.
    pub fn request(&mut self, batches: u32, done: oneshot::Sender<Recording>) {
        let batches = batches.max(1);
        self.request = Some(Request { batches, bytes: 0, recording: None, done });
    }

    fn note_requested(&mut self, event: &Recorded) {
        let Some(request) = &mut self.request else { return };
        let Some(recording) = &mut request.recording else { return };
        request.bytes += event.bytes();
        recording.whole = request.bytes <= self.limit;
        if recording.whole {
            recording.events.push(event.clone());
            if matches!(event, Recorded::Batch { .. }) {
                request.batches -= 1;
            }
        }
        if !recording.whole || request.batches == 0 {
            self.answer();
        }
    }

    /// The input ends: what was requested and begun is as whole as it gets.
    pub fn end(&mut self) {
        let recording = self.request.as_mut().and_then(|request| request.recording.as_mut());
        if let Some(recording) = recording {
            recording.whole = false;
        }
        self.answer();
    }

    fn answer(&mut self) {
        if let Some(Request { recording: Some(recording), done, .. }) = self.request.take() {
            // Who asked may be gone.
            let _ = done.send(recording);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::BatchBuilder;

    fn batch(bytes: usize) -> Recorded {
        let mut builder = BatchBuilder::new();
        builder.push(None, &vec![7; bytes], None);
        let now = Now { watermark: None, processing: 0 };
        Recorded::Batch { port: 0, now, batch: builder.take() }
    }

    fn since(recorder: &Recorder) -> Vec<(Option<u64>, usize)> {
        let segments = recorder.segments();
        segments.iter().map(|s| (s.since.map(|id| id.0), s.events.len())).collect()
    }

    #[test]
    fn it_remembers_what_came_since_each_of_the_last_checkpoints() {
        let mut recorder = Recorder::new(true, None, MOST_RECORDED);
        recorder.note(batch(10));
        for id in 1..=3 {
            recorder.barrier(CheckpointId(id));
            (0..id).for_each(|_| recorder.note(batch(10)));
        }
        assert_eq!(since(&recorder), [(Some(1), 1), (Some(2), 2), (Some(3), 3)]);
        assert_eq!(recorder.bytes(), 6 * batch(10).bytes());
    }

    #[test]
    fn with_too_much_in_hand_it_forgets_the_oldest_and_then_all_up_to_the_next_barrier() {
        let mut recorder = Recorder::new(true, None, 4 * batch(1_000).bytes());
        (0..3).for_each(|_| recorder.note(batch(1_000)));
        recorder.barrier(CheckpointId(1));
        (0..3).for_each(|_| recorder.note(batch(1_000)));
        assert_eq!(since(&recorder), [(Some(1), 3)]);
        (0..3).for_each(|_| recorder.note(batch(1_000)));
        assert_eq!((since(&recorder), recorder.bytes()), (vec![], 0));
        recorder.barrier(CheckpointId(2));
        recorder.note(batch(1_000));
        assert_eq!(since(&recorder), [(Some(2), 1)]);
    }

    #[test]
    fn a_request_records_from_the_next_barrier_on_whether_or_not_all_is_remembered() {
        for on in [true, false] {
            let mut recorder = Recorder::new(on, None, MOST_RECORDED);
            let (done, mut heard) = oneshot::channel();
            recorder.request(2, done);
            recorder.note(batch(1));
            assert!(recorder.is_waiting());
            recorder.barrier(CheckpointId(7));
            let state = StateThen { guest: Some(vec![1]), ..StateThen::default() };
            recorder.begin(CheckpointId(7), state);
            assert!(recorder.is_on() && !recorder.is_waiting());
            recorder.note(batch(2));
            recorder.note(Recorded::Watermark { now: Now { watermark: Some(1), processing: 0 } });
            assert!(heard.try_recv().is_err());
            recorder.note(batch(3));
            let recording = heard.try_recv().unwrap();
            assert_eq!((recording.since, recording.events.len()), (CheckpointId(7), 3));
            assert!(recording.whole && recording.state.guest == Some(vec![1]));
            assert_eq!(recorder.is_on(), on);
        }
    }

    #[test]
    fn a_recording_that_is_too_large_or_cut_short_says_so() {
        let mut recorder = Recorder::new(false, None, 2 * batch(1_000).bytes());
        let (done, mut heard) = oneshot::channel();
        recorder.request(5, done);
        recorder.begin(CheckpointId(1), StateThen::default());
        (0..3).for_each(|_| recorder.note(batch(1_000)));
        let recording = heard.try_recv().unwrap();
        assert_eq!((recording.events.len(), recording.whole), (2, false));
        let (done, mut heard) = oneshot::channel();
        recorder.request(5, done);
        recorder.begin(CheckpointId(2), StateThen::default());
        recorder.note(batch(1));
        recorder.end();
        let recording = heard.try_recv().unwrap();
        assert_eq!((recording.events.len(), recording.whole), (1, false));
    }
}

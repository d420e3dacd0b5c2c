//! Watermarks: how far event time has come, at a source and where streams meet.

/// Before the first watermark.
pub const NONE: i64 = i64::MIN;
/// After the last record: every window and event-time timer is due.
pub const END: i64 = i64::MAX;

/// Makes watermarks from the event times of a source whose records come out of
/// order by at most a bound (Flink's `BoundedOutOfOrdernessWatermarks`): the
/// watermark is `newest - bound - 1`.
#[derive(Debug, Clone)]
pub struct BoundedOutOfOrderness {
    bound: i64,
    newest: i64,
}

impl BoundedOutOfOrderness {
    /// With a bound in milliseconds.
    #[must_use]
    pub fn new(bound_millis: i64) -> Self {
        Self { bound: bound_millis, newest: NONE }
    }

    /// With what it had seen at a checkpoint.
    #[must_use]
    pub fn restored(bound_millis: i64, newest: Option<i64>) -> Self {
        Self { bound: bound_millis, newest: newest.unwrap_or(NONE) }
    }

    /// The newest event time seen, to be restored.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        (self.newest != NONE).then_some(self.newest)
    }

    /// Takes note of records, and returns the watermark after them, or [`NONE`].
    pub fn observe(&mut self, timestamps: &[i64]) -> i64 {
        self.newest = timestamps.iter().copied().fold(self.newest, i64::max);
        self.current()
    }

    /// The watermark now, or [`NONE`].
    #[must_use]
    pub fn current(&self) -> i64 {
        if self.newest == NONE {
            NONE
        } else {
            self.newest.saturating_sub(self.bound).saturating_sub(1).max(NONE + 1)
        }
    }
}

/// The watermark of several streams that meet: the least of those that are
/// neither idle nor at their end.
#[derive(Debug, Clone)]
pub struct CombinedWatermark {
    channels: Vec<ChannelTime>,
    current: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChannelTime {
    Active(i64),
    Idle(i64),
    Ended,
}

/// What came of a change in one of the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing.
    None,
    /// The common watermark is now this.
    Watermark(i64),
    /// All streams are idle, or idle and ended.
    Idle,
}

impl CombinedWatermark {
    /// For so many streams, where the common watermark is `current` already: it
    /// never falls behind that. [`NONE`] at the beginning.
    #[must_use]
    pub fn new(channels: usize, current: i64) -> Self {
        Self { channels: vec![ChannelTime::Active(NONE); channels], current }
    }

    /// The common watermark now, or [`NONE`].
    #[must_use]
    pub fn current(&self) -> i64 {
        self.current
    }

    /// A stream's watermark came.
    pub fn watermark(&mut self, channel: usize, watermark: i64) -> Progress {
        let before = match self.channels[channel] {
            ChannelTime::Active(before) | ChannelTime::Idle(before) => before,
            ChannelTime::Ended => END,
        };
        let now = watermark.max(before);
        self.channels[channel] =
            if now == END { ChannelTime::Ended } else { ChannelTime::Active(now) };
        self.advance()
    }

    /// Records came: the stream is not idle.
    pub fn active(&mut self, channel: usize) {
        if let ChannelTime::Idle(at) = self.channels[channel] {
            self.channels[channel] = ChannelTime::Active(at);
        }
    }

    /// A stream fell idle.
    pub fn idle(&mut self, channel: usize) -> Progress {
        if let ChannelTime::Active(at) = self.channels[channel] {
            self.channels[channel] = ChannelTime::Idle(at);
        }
        self.advance()
    }

    /// A stream ended.
    pub fn end(&mut self, channel: usize) -> Progress {
        self.channels[channel] = ChannelTime::Ended;
        self.advance()
    }

    /// An idle stream that wakes up may be behind the common watermark, which
    /// never goes back: its records are then late, as in Flink. But the end of
    /// time comes only when every stream has ended: one that is idle may wake up.
    fn advance(&mut self) -> Progress {
        let active = self.channels.iter().filter_map(|c| match c {
            ChannelTime::Active(at) => Some(*at),
            ChannelTime::Idle(_) | ChannelTime::Ended => None,
        });
        match active.min() {
            Some(least) if least > self.current => {
                self.current = least;
                Progress::Watermark(least)
            }
            Some(_) => Progress::None,
            None if self.channels.iter().any(|c| matches!(c, ChannelTime::Idle(_))) => {
                Progress::Idle
            }
            None if self.current < END => {
                self.current = END;
                Progress::Watermark(END)
            }
            None => Progress::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_watermark_stays_behind_the_newest_record_by_the_bound() {
        let mut source = BoundedOutOfOrderness::new(100);
        assert_eq!(source.current(), NONE);
        assert_eq!(source.observe(&[1000, 500]), 899);
        assert_eq!(source.observe(&[700]), 899);
        assert_eq!(source.observe(&[1001]), 900);
        assert_eq!(BoundedOutOfOrderness::new(5).observe(&[i64::MIN + 1]), NONE + 1);
    }

    #[test]
    fn the_slowest_active_stream_holds_the_watermark() {
        let mut all = CombinedWatermark::new(3, NONE);
        assert_eq!(all.watermark(0, 10), Progress::None);
        assert_eq!(all.watermark(1, 20), Progress::None);
        assert_eq!(all.watermark(2, 5), Progress::Watermark(5));
        assert_eq!(all.watermark(2, 30), Progress::Watermark(10));
        assert_eq!(all.end(0), Progress::Watermark(20));
        assert_eq!(all.current(), 20);
    }

    #[test]
    fn an_idle_stream_holds_nothing_back_and_wakes_without_going_back() {
        let mut all = CombinedWatermark::new(2, NONE);
        assert_eq!(all.watermark(0, 50), Progress::None);
        assert_eq!(all.idle(1), Progress::Watermark(50));
        all.active(1);
        assert_eq!(all.watermark(1, 40), Progress::None);
        assert_eq!(all.watermark(0, 60), Progress::None);
        assert_eq!(all.watermark(1, 70), Progress::Watermark(60));
        assert_eq!(all.idle(0), Progress::Watermark(70));
        assert_eq!(all.idle(1), Progress::Idle);
    }

    #[test]
    fn the_end_of_time_waits_for_idle_streams() {
        let mut all = CombinedWatermark::new(2, NONE);
        assert_eq!(all.watermark(0, 50), Progress::None);
        assert_eq!(all.idle(1), Progress::Watermark(50));
        assert_eq!(all.watermark(0, END), Progress::Idle, "the other one may wake up");
        all.active(1);
        assert_eq!(all.watermark(1, 60), Progress::Watermark(60));
        assert_eq!(all.end(1), Progress::Watermark(END));
        assert_eq!(all.end(0), Progress::None);
    }

    #[test]
    fn a_restored_watermark_never_goes_back() {
        let mut all = CombinedWatermark::new(1, 40);
        assert_eq!(all.watermark(0, 30), Progress::None);
        assert_eq!((all.current(), all.watermark(0, 41)), (40, Progress::Watermark(41)));
    }
}

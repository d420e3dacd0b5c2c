//! What is done to a job, and when: pure, and the same for the same seed. A job's life is
//! one process; each life is drawn by itself, so that it can be looked at alone.

use std::{fmt, time::Duration};

use super::{phases::Mark, random::Random};

/// No life is longer, if it is to be ended: the moment for it may never come.
const LONGEST: Duration = Duration::from_secs(15);

/// A moment in a life: so long after something was done for the nth time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) mark: Mark,
    pub(super) nth: u32,
    pub(super) after: Duration,
}

/// What is done to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// `kill -9`.
    Kill,
    /// SIGTERM: it stops with a checkpoint.
    Terminate,
    /// `cofferdam slot drain`.
    Drain(u32),
    /// `cofferdam slot restore`.
    Restore(u32),
    /// `cofferdam job rescale`.
    Rescale(u32),
    /// `cofferdam savepoint take`.
    Savepoint,
    /// `cofferdam job stop`: it stops with a savepoint, which it goes on from in a fresh
    /// state directory.
    Leave,
}

/// When guests trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traps {
    /// After an instance has made so many snapshots,
    pub(super) snapshots: u32,
    /// and so many records more.
    pub(super) records: u32,
    /// In this subtask only.
    pub(super) subtask: u32,
}

/// What happens in one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) number: u64,
    pub(super) parallelism: u32,
    pub(super) traps: Option<Traps>,
    pub(super) deeds: Vec<(Moment, Deed)>,
}

/// What there is to disturb.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) slots: u32,
    pub(super) parallelism: u32,
    /// Subtasks whose guests can be told to trap.
    pub(super) trapping: u32,
}

impl Life {
    /// The life of this number.
    pub(super) fn draw(seed: u64, number: u64, bounds: Bounds) -> Self {
        let mut random = Random::new(seed, number);
        let parallelism = match random.percent(60) {
            true => bounds.parallelism,
            false => 1 + random.below_u32(bounds.parallelism),
        };
        let traps = random.percent(50).then(|| Traps {
            snapshots: 2 + random.below_u32(3),
            records: random.below_u32(5_000),
            subtask: random.below_u32(bounds.trapping),
        });
        let mut deeds = Vec::new();
        for _ in 0..random.choose(&[(5, 0), (3, 1), (2, 2), (1, 3)]) {
            let deed = match random.choose(&[(3, 0), (2, 1), (2, 2), (1, 3)]) {
                0 => Deed::Drain(random.below_u32(bounds.slots)),
                1 => Deed::Restore(random.below_u32(bounds.slots)),
                2 => Deed::Rescale(1 + random.below_u32(bounds.parallelism)),
                _ => Deed::Savepoint,
            };
            let after = random.even(Duration::from_millis(250));
            deeds.push((Moment { mark: Mark::Running, nth: 1, after }, deed));
        }
        deeds.extend(end(&mut random, traps.is_some()));
        deeds.push((Moment { mark: Mark::Started, nth: 1, after: LONGEST }, Deed::Kill));
        Self { number, parallelism, traps, deeds }
    }

    /// A life in which nothing happens.
    pub(super) fn quiet(number: u64, parallelism: u32) -> Self {
        Self { number, parallelism, traps: None, deeds: Vec::new() }
    }
}

/// How a life is to end: half of the times in the middle of a checkpoint.
fn end(random: &mut Random, traps: bool) -> Vec<(Moment, Deed)> {
    let millis = Duration::from_millis;
    let nth = 1 + random.below_u32(4);
    let mark = random.choose(&[
        (2, Mark::Started),
        (2, Mark::Restoring),
        (5, Mark::Running),
        (6, Mark::Begun),
        (6, Mark::Writing),
        (6, Mark::Written),
        (if traps { 3 } else { 0 }, Mark::Failed),
    ]);
    let (nth, after) = match mark {
        Mark::Started => (1, random.even(millis(400))),
        Mark::Restoring => (1, random.even(millis(60))),
        Mark::Running => (1, random.even(millis(1_200))),
        Mark::Begun | Mark::Writing => (nth, random.uneven(millis(20))),
        Mark::Written | Mark::Committed => (nth, random.uneven(millis(5))),
        Mark::Failed => (1, random.even(millis(60))),
    };
    let moment = Moment { mark, nth, after };
    match random.choose(&[(14, Deed::Kill), (2, Deed::Terminate), (4, Deed::Leave)]) {
        // Not so fast: half of the times it is killed while it stops.
        Deed::Terminate => {
            let later = random.percent(50).then(|| random.uneven(millis(60)));
            stop(Deed::Terminate, moment, later)
        }
        Deed::Leave => {
            // Nobody hears what is asked before it runs.
            let early = matches!(mark, Mark::Started | Mark::Restoring);
            let mark = if early { Mark::Running } else { mark };
            // It takes a process to ask.
            let later = random.percent(50).then(|| random.even(millis(300)));
            stop(Deed::Leave, Moment { mark, ..moment }, later)
        }
        _ => vec![(moment, Deed::Kill)],
    }
}

/// Has a job stop, and kills it so much later, if it is killed.
fn stop(deed: Deed, moment: Moment, later: Option<Duration>) -> Vec<(Moment, Deed)> {
    let kill = later.map(|later| {
        let after = moment.after + later;
        (Moment { after, ..moment }, Deed::Kill)
    });
    [(moment, deed)].into_iter().chain(kill).collect()
}

/// The deeds of a life that are still to be done.
pub(super) struct Agenda {
    waiting: Vec<(Moment, Deed)>,
    due: Vec<(Duration, Deed)>,
    seen: Vec<Mark>,
}

impl Agenda {
    pub(super) fn new(life: &Life) -> Self {
        Self { waiting: life.deeds.clone(), due: Vec::new(), seen: Vec::new() }
    }

    /// Something was done, so long after the start.
    pub(super) fn mark(&mut self, mark: Mark, now: Duration) {
        self.seen.push(mark);
        let nth = self.seen.iter().filter(|seen| **seen == mark).count();
        let is_it =
            |(moment, _): &&(Moment, Deed)| moment.mark == mark && moment.nth as usize == nth;
        self.due.extend(self.waiting.iter().filter(is_it).map(|(m, deed)| (now + m.after, *deed)));
        self.due.sort_by_key(|(at, _)| *at);
    }

    /// When there is something to do next, as far as is known.
    pub(super) fn next(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What is to be done now.
    pub(super) fn take(&mut self, now: Duration) -> Option<Deed> {
        self.next().filter(|at| *at <= now).map(|_| self.due.remove(0).1)
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "life {}: parallelism {}", self.number, self.parallelism)?;
        if let Some(Traps { snapshots, records, subtask }) = self.traps {
            write!(f, "; traps in subtask {subtask} after {snapshots} snapshots")?;
            write!(f, " and {records} records")?;
        }
        for (Moment { mark, nth, after }, deed) in &self.deeds {
            if *after < LONGEST {
                write!(f, "; {deed:?} {after:?} after {mark:?} {nth}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { slots: 9, parallelism: 4, trapping: 2 };

    #[test]
    fn a_life_is_the_same_for_the_same_seed_whatever_came_before() {
        let draw = |seed| (0..50).map(|n| Life::draw(seed, n, BOUNDS)).collect::<Vec<_>>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(Life::draw(1, 30, BOUNDS), draw(1)[30]);
    }

    #[test]
    fn lives_have_everything_in_them_and_come_to_an_end() {
        let lives: Vec<_> = (0..400).map(|n| Life::draw(5, n, BOUNDS)).collect();
        let deeds = || lives.iter().flat_map(|life| &life.deeds);
        let has = |is: fn(&Deed) -> bool| deeds().filter(|(_, deed)| is(deed)).count();
        assert!(has(|deed| matches!(deed, Deed::Drain(0..9))) > 50);
        assert!(has(|deed| matches!(deed, Deed::Restore(0..9))) > 30);
        assert!(has(|deed| matches!(deed, Deed::Rescale(1..=4))) > 30);
        assert!(has(|deed| *deed == Deed::Savepoint) > 15);
        assert!(has(|deed| *deed == Deed::Terminate) > 15);
        assert!(has(|deed| *deed == Deed::Leave) > 15);
        for mark in [Mark::Started, Mark::Restoring, Mark::Begun, Mark::Writing, Mark::Written] {
            let killed = |(moment, deed): &&(Moment, Deed)| {
                moment.mark == mark && moment.after < LONGEST && *deed == Deed::Kill
            };
            assert!(deeds().filter(killed).count() > 10, "{mark:?}");
        }
        for life in &lives {
            assert!((1..=4).contains(&life.parallelism));
            assert!(life.traps.is_none_or(|traps| traps.subtask < 2 && traps.snapshots >= 2));
            let ends = |(moment, deed): &(Moment, Deed)| {
                *deed == Deed::Kill && moment.mark == Mark::Started
            };
            assert!(life.deeds.iter().any(ends), "nothing is sure to end it");
        }
    }

    #[test]
    fn deeds_are_done_at_their_moments_in_order() {
        let at = |mark, nth, millis| Moment { mark, nth, after: Duration::from_millis(millis) };
        let mut life = Life::quiet(0, 1);
        life.deeds = vec![
            (at(Mark::Begun, 2, 5), Deed::Kill),
            (at(Mark::Begun, 1, 20), Deed::Savepoint),
            (at(Mark::Written, 1, 0), Deed::Rescale(2)),
        ];
        let mut agenda = Agenda::new(&life);
        let millis = Duration::from_millis;
        assert_eq!(agenda.next(), None);
        agenda.mark(Mark::Begun, millis(100));
        agenda.mark(Mark::Begun, millis(110));
        assert_eq!(agenda.next(), Some(millis(115)));
        assert_eq!(agenda.take(millis(114)), None);
        assert_eq!(agenda.take(millis(130)), Some(Deed::Kill));
        assert_eq!(agenda.take(millis(130)), Some(Deed::Savepoint));
        assert_eq!(agenda.take(millis(130)), None);
    }
}

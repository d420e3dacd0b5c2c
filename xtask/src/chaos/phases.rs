//! What a job is doing, as its log says: it is told line by line. With that come the
//! moments to strike at, and one promise that can be held against the log itself: a job
//! never goes on from an earlier checkpoint than the last one that it said was written.

use std::fmt;

/// Something that a job did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// Its process was started.
    Started,
    /// Its subtasks are being made, with the state of a checkpoint.
    Restoring,
    /// All of it runs.
    Running,
    /// A checkpoint began.
    Begun,
    /// Every subtask has made its snapshot; the checkpoint is being written.
    Writing,
    /// The checkpoint counts; the sinks are told to commit.
    Written,
    /// A sink has committed.
    Committed,
    /// A subtask failed; a region or the whole job restarts.
    Failed,
}

impl Mark {
    /// What every job does. Of a job that was never heard to do one of these the log has
    /// other words by now: whatever is to be done at that moment is not done any more.
    pub(super) const OF_EVERY_JOB: [Self; 6] = [
        Self::Restoring,
        Self::Running,
        Self::Begun,
        Self::Writing,
        Self::Written,
        Self::Committed,
    ];
}

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Nothing of it is deployed yet.
    Starting,
    /// Subtasks are made, with the state of a checkpoint.
    Restoring,
    /// Records move, and no checkpoint is under way.
    Running,
    /// Barriers are on their way, and subtasks make snapshots.
    Snapshots,
    /// All snapshots are there and are being written.
    Writing,
    /// The checkpoint counts, and not every sink has committed.
    Committing,
    /// A region is on its way back from a failure.
    Recovering,
    /// It takes the checkpoint with which it stops, or goes on with another parallelism.
    Stopping,
    /// Its input has ended; it takes its last checkpoint.
    Finishing,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Restoring => "restoring",
            Self::Running => "running, no checkpoint under way",
            Self::Snapshots => "checkpoint: barriers and snapshots",
            Self::Writing => "checkpoint: being written",
            Self::Committing => "checkpoint: sinks commit",
            Self::Recovering => "recovering from a trap",
            Self::Stopping => "stopping, or stopped to rescale",
            Self::Finishing => "last checkpoint at the end of input",
        })
    }
}

/// Listens to the log of one process.
pub(super) struct Tracker {
    phase: Phase,
    /// Stands above what the checkpoint is at.
    ending: Option<Phase>,
    sinks: u32,
    commits: u32,
    /// The last checkpoint that is known to be written, by this or an earlier process.
    pub(super) durable: u64,
    /// The checkpoint that it went on from at first, 0 if from the beginning; none while it
    /// is not known.
    pub(super) from: Option<u64>,
}

impl Tracker {
    /// Of a job with so many sink subtasks, whose last checkpoint is known to be this one.
    pub(super) fn new(sinks: u32, durable: u64) -> Self {
        Self { phase: Phase::Starting, ending: None, sinks, commits: 0, durable, from: None }
    }

    /// What it is doing now.
    pub(super) fn phase(&self) -> Phase {
        self.ending.unwrap_or(self.phase)
    }

    /// Hears a line; says what was done, if something was.
    ///
    /// # Errors
    /// If the job goes on from too early a checkpoint.
    pub(super) fn hear(&mut self, line: &str) -> Result<Option<Mark>, String> {
        let mark = if let Some(from) = after(line, "deploying from ") {
            let from = self.check(from)?;
            self.from.get_or_insert(from);
            (self.ending, self.phase) = (None, Phase::Restoring);
            Mark::Restoring
        } else if line.ends_with("the job runs") {
            self.phase = Phase::Running;
            Mark::Running
        } else if let Some((_, purpose)) = checkpoint(line, " begins: ") {
            self.phase = Phase::Snapshots;
            self.ending = match purpose {
                "Final" => Some(Phase::Finishing),
                "Stop" | "StopWithSavepoint" => Some(Phase::Stopping),
                _ => None,
            };
            Mark::Begun
        } else if checkpoint(line, " has every answer").is_some() {
            self.phase = Phase::Writing;
            Mark::Writing
        } else if let Some((id, _)) = checkpoint(line, " took ") {
            (self.phase, self.commits) = (Phase::Committing, 0);
            self.durable = self.durable.max(id);
            Mark::Written
        } else if let Some(from) = after(line, "restarting from ") {
            self.check(from)?;
            self.phase = Phase::Recovering;
            Mark::Failed
        } else if after(line, "a sink has committed checkpoint ").is_some() {
            self.commits += 1;
            if self.commits >= self.sinks && self.phase == Phase::Committing {
                self.phase = Phase::Running;
            }
            Mark::Committed
        } else {
            self.hear_the_rest(line);
            return Ok(None);
        };
        Ok(Some(mark))
    }

    fn hear_the_rest(&mut self, line: &str) {
        if line.ends_with("the region that failed runs again")
            || (line.contains(" is given up") && self.phase != Phase::Recovering)
        {
            self.phase = Phase::Running;
        }
    }

    fn check(&self, from: &str) -> Result<u64, String> {
        let id = from.strip_prefix("checkpoint ").and_then(number).unwrap_or(0);
        if id >= self.durable {
            return Ok(id);
        }
        Err(format!("it goes on from {from}, although checkpoint {} was written", self.durable))
    }
}

fn after<'a>(line: &'a str, text: &str) -> Option<&'a str> {
    line.split_once(text).map(|(_, rest)| rest)
}

/// A line about a checkpoint: its number, and what stands after the text.
fn checkpoint<'a>(line: &'a str, text: &str) -> Option<(u64, &'a str)> {
    let (before, rest) = line.split_once(text)?;
    let (_, id) = before.rsplit_once("checkpoint ")?;
    Some((id.parse().ok()?, rest))
}

fn number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(tracker: &mut Tracker, lines: &[&str]) -> Vec<Mark> {
        lines.iter().filter_map(|line| tracker.hear(line).unwrap()).collect()
    }

    #[test]
    fn a_life_is_followed_from_its_start_to_its_end() {
        let mut tracker = Tracker::new(2, 0);
        assert_eq!(tracker.phase(), Phase::Starting);
        let begun = hear(&mut tracker, &["2026 DEBUG cofferdam: deploying from the beginning"]);
        assert_eq!((begun, tracker.phase()), (vec![Mark::Restoring], Phase::Restoring));
        hear(&mut tracker, &["x: the job runs"]);
        assert_eq!(tracker.phase(), Phase::Running);
        hear(&mut tracker, &["x: checkpoint 3 begins: Periodic"]);
        assert_eq!(tracker.phase(), Phase::Snapshots);
        hear(&mut tracker, &["x: checkpoint 3 has every answer and is being written"]);
        assert_eq!(tracker.phase(), Phase::Writing);
        hear(&mut tracker, &["x: checkpoint 3 took 2000 µs"]);
        assert_eq!((tracker.phase(), tracker.durable), (Phase::Committing, 3));
        hear(&mut tracker, &["x: a sink has committed checkpoint 3"]);
        assert_eq!(tracker.phase(), Phase::Committing, "there is another one");
        hear(&mut tracker, &["x: a sink has committed checkpoint 3"]);
        assert_eq!(tracker.phase(), Phase::Running);
        hear(&mut tracker, &["x: checkpoint 4 begins: Final", "checkpoint 4 has every answer"]);
        assert_eq!(tracker.phase(), Phase::Finishing);
    }

    #[test]
    fn a_checkpoint_that_is_given_up_is_under_way_no_more() {
        let mut tracker = Tracker::new(1, 0);
        hear(&mut tracker, &["checkpoint 1 begins: Periodic"]);
        hear(&mut tracker, &["checkpoint 1 was not complete in time and is given up"]);
        assert_eq!(tracker.phase(), Phase::Running);
        hear(&mut tracker, &["restarting from the beginning in 10ms"]);
        assert_eq!(tracker.phase(), Phase::Recovering);
        hear(&mut tracker, &["x: the region that failed runs again"]);
        assert_eq!(tracker.phase(), Phase::Running);
    }

    #[test]
    fn a_job_that_goes_on_from_too_early_a_checkpoint_is_noticed() {
        let mut tracker = Tracker::new(1, 7);
        assert!(tracker.hear("deploying from checkpoint 7").is_ok());
        assert_eq!(tracker.from, Some(7));
        let error = tracker.hear("deploying from checkpoint 6").unwrap_err();
        assert!(error.contains("from checkpoint 6, although checkpoint 7 was written"), "{error}");
        assert!(tracker.hear("deploying from the beginning").is_err());
        tracker.hear("checkpoint 9 took 1000 µs").unwrap();
        assert!(tracker.hear("restarting from checkpoint 8 in 10ms").is_err());
    }
}

//! Which subtasks have crashed since the last checkpoint: those are watched when they
//! run again. Pure. What a watched subtask does stands in the TaskManager's `poison`.

use std::collections::BTreeMap;

use crate::{failure::FailureKind, ids::CheckpointId, task_manager::SubtaskId};

/// The crashes of a job.
#[derive(Debug, Default)]
pub struct CrashBook {
    crashed: BTreeMap<SubtaskId, Since>,
}

/// When a subtask crashed last.
#[derive(Debug, PartialEq, Eq)]
enum Since {
    /// Since it was deployed last.
    Deployed,
    /// After this checkpoint, from which it was deployed then; none: from the beginning.
    Checkpoint(Option<CheckpointId>),
}

impl CrashBook {
    /// A subtask failed.
    pub fn failed(&mut self, id: SubtaskId, kind: FailureKind) {
        if kind.breaks_call() {
            self.crashed.insert(id, Since::Deployed);
        }
    }

    /// A subtask is deployed from this checkpoint, or from the beginning. Says whether
    /// it is suspect: whether it has crashed after that checkpoint.
    pub fn deploy(&mut self, id: SubtaskId, from: Option<CheckpointId>) -> bool {
        let Some(since) = self.crashed.get_mut(&id) else { return false };
        if *since == Since::Deployed {
            // It ran on from an earlier checkpoint, or from this one: it has passed it.
            *since = Since::Checkpoint(from);
        }
        *since == Since::Checkpoint(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SubtaskIndex;

    #[test]
    fn who_crashed_after_the_checkpoint_that_it_starts_from_is_suspect() {
        let id = |index| SubtaskId { vertex: 1, index: SubtaskIndex(index) };
        let (first, second) = (Some(CheckpointId(1)), Some(CheckpointId(2)));
        let mut book = CrashBook::default();
        assert!(!book.deploy(id(0), None), "nothing has happened");
        book.failed(id(0), FailureKind::GuestTrap);
        assert!(!book.deploy(id(1), None), "its neighbour did not crash");
        assert!(book.deploy(id(0), None));
        assert!(book.deploy(id(0), None), "another subtask failed in the meantime");
        assert!(!book.deploy(id(0), first), "a checkpoint has passed it");
        book.failed(id(0), FailureKind::DeadlineExceeded);
        assert!(book.deploy(id(0), first), "whether or not it began with that");
        assert!(!book.deploy(id(0), second));
        book.failed(id(1), FailureKind::ConnectorFailure);
        assert!(!book.deploy(id(1), first), "that was no crash of a guest");
    }
}

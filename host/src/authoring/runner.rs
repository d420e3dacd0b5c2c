//! Trying a component on a case, in a slot of a TaskManager that is there for that.

use std::{path::Path, time::Duration};

use super::case::Case;
use crate::{
    clock::{Clock, ManualClock},
    config::{self, Override},
    ids::{ArtifactName, TenantId},
    job_manager::plan::check_windows,
    sandbox::Artifact,
    task_manager::{TaskManager, TaskManagerSettings},
    trial::{
        self, Feed, Limits, NotRun, Report, Trial,
        settings::{Tried, check_size, read_settings},
    },
};

/// How long a trial may take.
const TIME: Duration = Duration::from_secs(120);
/// How long a batch may take if the case does not say: less than in a job, since an author waits
/// while the record is looked for that an endless loop goes on with.
const DEADLINE: &str = "5s";
/// How much of what it emits is kept, to be compared.
const OUTPUT: usize = 256 << 20;
/// What time it is for operators: the same in every trial, so that answers are.
const NOW: i64 = 1_700_000_000_000;

/// What tries components.
#[derive(Debug)]
pub struct Runner {
    /// The slots.
    pub task_manager: TaskManager,
}

/// A case that can be run with another feed again and again.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What it is fed.
    pub feed: Feed,
    /// What it is, in a job.
    pub spec: config::job::OperatorSpec,
}

impl Runner {
    /// Starts one.
    ///
    /// # Errors
    /// In words, if the engine does not start on this machine.
    pub fn start(settings: TaskManagerSettings) -> Result<Self, String> {
        let settings = TaskManagerSettings { slots: Some(1), ..settings };
        Ok(Self { task_manager: TaskManager::start(&settings)? })
    }

    /// Reads what a case says, for a component of that name whose files are in that folder.
    ///
    /// # Errors
    /// In words, if it cannot be fed so.
    pub fn prepare(
        &self,
        (name, dir): (&ArtifactName, &Path),
        artifact: &Artifact,
        case: &mut Case,
    ) -> Result<Prepared, String> {
        let feed = case.request.feed()?;
        let inputs = case.request.ports(&feed)?;
        feed.check(inputs)?;
        let mut given = std::mem::take(&mut case.request.operator);
        given.entry("deadline").or_insert_with(|| DEADLINE.into());
        let tried = Tried { name: name.as_str(), artifact: name.as_str(), inputs };
        let here = dir.join("case.toml");
        let none: [Override; 0] = [];
        let spec = read_settings(tried, given, |text| config::parse(text, &here, &none))?;
        check_windows(&spec, artifact.kind()).map_err(|error| error.to_string())?;
        if let Some(window) = &spec.window {
            check_size(window, &feed)?;
        }
        Ok(Prepared { feed, spec })
    }

    /// Tries a component.
    ///
    /// # Errors
    /// In words, if there is no slot for it.
    pub async fn run(&self, artifact: &Artifact, prepared: &Prepared) -> Result<Report, String> {
        let trial = Trial {
            tenant: TenantId::default(),
            artifact: artifact.clone(),
            spec: prepared.spec.clone(),
            feed: prepared.feed.clone(),
            limits: Limits { patience: TIME, time: TIME, output: OUTPUT },
            clock: Clock::Manual(ManualClock::at(NOW)),
        };
        let report = trial::run(&self.task_manager, trial).await.map_err(|error| match error {
            NotRun::Busy(why) | NotRun::OverQuota(why) => why,
        })?;
        if report.left_out.records > 0 || report.left_out.rejected > 0 {
            return Err(format!(
                "it emits more than the {} MiB that can be compared: give it less input",
                OUTPUT >> 20
            ));
        }
        Ok(report)
    }
}

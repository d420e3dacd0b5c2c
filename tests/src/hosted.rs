//! Jobs that run in the test's own process, in a TaskManager that the test can look
//! into and change.

use std::{path::Path, sync::Arc, time::Duration};

use cofferdam::{
    config,
    ids::TenantId,
    job_manager::{
        self,
        control::{Control, Outcome, RunOptions},
        status::JobStatus,
    },
    task_manager::TaskManager,
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::guests;

/// How long something may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A tenant of that name.
///
/// # Panics
/// If it is no name.
#[must_use]
pub fn tenant(name: &str) -> TenantId {
    TenantId::new(name).expect("a name")
}

/// A job that runs in this process.
#[derive(Debug)]
pub struct Hosted {
    /// What there is to see of it.
    pub status: watch::Receiver<Arc<JobStatus>>,
    control: watch::Sender<Control>,
    job: JoinHandle<Outcome>,
}

impl Hosted {
    /// Starts the job of a file with that text, for a tenant.
    ///
    /// # Panics
    /// If the text is no job.
    #[must_use]
    pub fn start(text: &str, of: &str, shared: &TaskManager) -> Self {
        let spec =
            config::parse(text, Path::new("job.toml"), &[]).unwrap_or_else(|e| panic!("{e}"));
        let options = RunOptions {
            tenant: tenant(of),
            task_manager: Some(shared.clone()),
            artifacts: Some(guests()),
            ..RunOptions::default()
        };
        let (control, listen) = watch::channel(Control::Run);
        let (publish, status) = JobStatus::watched(spec.job.name.clone());
        let job = tokio::spawn(job_manager::run(spec, options, listen, publish));
        Self { status, control, job }
    }

    /// Waits for a status of which this is so.
    ///
    /// # Panics
    /// If that does not come.
    pub async fn until(&mut self, what: &str, is_so: impl Fn(&JobStatus) -> bool) -> JobStatus {
        let found = timeout(PATIENCE, self.status.wait_for(|s| is_so(s))).await;
        match found.map(|found| found.map(|status| JobStatus::clone(&status))) {
            Ok(Ok(status)) => status,
            Ok(Err(_)) => panic!("not {what}: it ended: {:?}", (&mut self.job).await),
            Err(_) => panic!("not {what}: {:?}", self.status.borrow()),
        }
    }

    /// Has it stop with a checkpoint, and waits for that.
    ///
    /// # Panics
    /// If the job panics.
    pub async fn stop(self) -> Outcome {
        self.control.send_replace(Control::Stop);
        self.outcome().await
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If the job panics, or does not end.
    pub async fn outcome(self) -> Outcome {
        let ended = timeout(PATIENCE, self.job).await;
        ended.expect("it ends in time").expect("it does not panic")
    }

    /// Ends it as it is, and waits until it is gone.
    pub async fn kill(self) {
        self.job.abort();
        let _ = self.job.await;
    }
}

//! Jobs that run in this process while they are measured.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cofferdam::{
    config,
    job_manager::{
        self,
        control::{Answer, Ask, Control, Controls, Outcome, Request, RunOptions},
        status::JobStatus,
    },
    task_manager::TaskManagerSettings,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::Places;

/// A job that runs in this process, and can be asked.
pub(crate) struct Running {
    ask: mpsc::Sender<Request>,
    pub(crate) status: watch::Receiver<Arc<JobStatus>>,
    control: watch::Sender<Control>,
    job: tokio::task::JoinHandle<Outcome>,
}

/// Starts a job with so many slots.
pub(crate) fn start(
    places: &Places,
    text: &str,
    slots: u32,
    state: Option<PathBuf>,
) -> anyhow::Result<Running> {
    let spec = config::parse(text, Path::new("bench.toml"), &[])
        .map_err(|e| anyhow::anyhow!("{e}\n{text}"))?;
    let settings = TaskManagerSettings { slots: Some(slots), ..TaskManagerSettings::default() };
    let options = RunOptions {
        artifacts: Some(places.guests.clone()),
        settings,
        state,
        ..RunOptions::default()
    };
    let (control, listen) = watch::channel(Control::Run);
    let (ask, requests) = mpsc::channel(4);
    let (publish, status) = JobStatus::watched(spec.job.name.clone());
    let controls = Controls { control: listen, requests };
    let job = tokio::spawn(job_manager::run(spec, options, controls, publish));
    Ok(Running { ask, status, control, job })
}

impl Running {
    pub(crate) async fn until(
        &mut self,
        is_so: impl Fn(&JobStatus) -> bool,
    ) -> anyhow::Result<Arc<JobStatus>> {
        match self.status.wait_for(|status| is_so(status)).await {
            Ok(status) => Ok(status.clone()),
            Err(_) => anyhow::bail!("the job ended: {:?}", (&mut self.job).await),
        }
    }

    pub(crate) async fn ask(&self, ask: Ask) -> anyhow::Result<Answer> {
        let (answer, heard) = oneshot::channel();
        self.ask.send(Request { ask, answer }).await?;
        heard.await?.map_err(|error| anyhow::anyhow!(error))
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.control.send_replace(Control::Stop);
        self.job.await?;
        Ok(())
    }

    /// Waits for its end.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        let outcome = self.job.await?;
        anyhow::ensure!(outcome == Outcome::Finished, "{outcome:?}");
        Ok(())
    }
}

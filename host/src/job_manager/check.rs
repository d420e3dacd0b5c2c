//! Whether a job could be started: its operators are loaded and opened, and its
//! plan is made, but no source or sink is touched and nothing runs.

use crate::{
    config::{OperatorFault, job::JobSpec},
    job_manager::{control::RunOptions, instances, plan::Plan, prepare::load},
};

/// Why a job could not be started: everything that was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is wrong with operators, in the job file's order.
    pub operators: Vec<OperatorFault>,
    /// What is wrong with the job as a whole.
    pub job: Option<String>,
}

/// Loads every operator of a job, opens one instance of each with its
/// configuration, limits and grants, and plans the job.
///
/// # Errors
/// With all that is wrong, not only the first.
pub async fn check(spec: &JobSpec, options: &RunOptions) -> Result<Plan, Findings> {
    let loaded = load(spec, options)
        .map_err(|error| Findings { job: Some(error), ..Findings::default() })?;
    let mut operators = loaded.faults.clone();
    operators.extend(instances::open_each(&options.tenant, spec, &loaded.artifacts).await);
    // Without an artifact its operator's kind is not known, and so is no plan.
    let plan = loaded.faults.is_empty().then(|| loaded.plan(spec)).transpose();
    match plan {
        Ok(Some(plan)) if operators.is_empty() => Ok(plan),
        Ok(_) => Err(Findings { operators, job: None }),
        Err(error) => Err(Findings { operators, job: Some(error) }),
    }
}

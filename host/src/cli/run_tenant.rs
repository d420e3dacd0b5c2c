//! What `--tenant` and `--data` do to a run: the tenant is looked up, its job's grants
//! are checked, its quotas are given to the TaskManager, and what it uses is recorded.
//! Without them there is the default tenant without quotas, and nothing is written.

use std::path::{Path, PathBuf};

use super::{
    JobFile,
    exit::Exit,
    tenant::{data_dir, say as say_registry},
    tenant_args::TenantArgs,
    terminal,
};
use crate::{
    clock::Clock,
    config::{self, OperatorFault, Override, tenant::TenantSpec},
    hardening::Needs,
    job_manager::{control::RunOptions, prepare::slots_of},
    task_manager::{TaskManager, TaskManagerSettings, tenants::Follower},
    tenancy::{
        grants,
        registry::{Registry, Tenants},
        usage::ledger::{self, Ledger},
        watch::Watch,
    },
};

/// The tenant that a job is to run as.
pub(super) struct Owner {
    dir: PathBuf,
    watch: Watch,
    tenants: Tenants,
    pub(super) tenant: TenantSpec,
}

impl Owner {
    /// Looks the tenant up. None if nobody speaks of tenants.
    pub(super) fn of(args: &TenantArgs) -> Result<Option<Self>, Exit> {
        let named = std::env::var_os("COFFERDAM_DATA").is_some_and(|dir| !dir.is_empty());
        if args.tenant.is_none() && args.data.is_none() && !named {
            return Ok(None);
        }
        let dir = data_dir(args.data.as_deref())?;
        let (watch, tenants) = Watch::start(Registry::at(&dir)).map_err(say_registry)?;
        let name = args.tenant.clone().unwrap_or_default();
        let tenant = tenants.get(&name).map_err(say_registry)?.clone();
        Ok(Some(Self { dir, watch, tenants, tenant }))
    }

    /// What the job grants beyond what the tenant may.
    pub(super) fn refused(&self, file: &JobFile) -> Vec<OperatorFault> {
        grants::refused(&self.tenant, &file.spec)
    }

    /// What of the files it goes on needing: the registry, which is replaced when it is
    /// changed, and where usage is written.
    pub(super) fn add_needs(&self, needs: &mut Needs) {
        needs.read.push(self.dir.clone());
        let usage = self.dir.join(ledger::DIR);
        // One that cannot be made is told with its reason when it is used.
        needs.write.extend(std::fs::create_dir_all(&usage).is_ok().then_some(usage));
    }

    /// Makes a TaskManager with the quotas of every tenant and a ledger, and puts them
    /// into the options. What is returned keeps the quotas as the file has them.
    pub(super) fn take(self, options: &mut RunOptions, file: &JobFile) -> Result<Follower, Exit> {
        let slots = options.settings.slots.or(Some(slots_of(&file.spec)));
        let settings = TaskManagerSettings { slots, ..options.settings.clone() };
        let task_manager = TaskManager::start(&settings).map_err(|error| {
            terminal::say(&format!("error: the job cannot be started: {error}"));
            Exit::Usage
        })?;
        let ledger = Ledger::begin(&self.dir, &Clock::System).map_err(|error| {
            let dir = self.dir.display();
            terminal::say(&format!("error: usage cannot be recorded in {dir}: {error}"));
            Exit::State
        })?;
        options.tenant = self.tenant.name.clone();
        options.task_manager = Some(task_manager.clone());
        options.usage = Some(ledger);
        Ok(Follower::start(task_manager, self.watch, &self.tenants))
    }
}

/// Says what is wrong with operators, each with its line.
pub(super) fn say_faults(
    faults: &[OperatorFault],
    file: &JobFile,
    origin: &Path,
    sets: &[Override],
) -> Exit {
    terminal::say(&config::point_out(&file.text, origin, sets, faults).to_string());
    Exit::Usage
}

//! Where a hostile operator meets the real sandbox, beside a neighbour in the
//! same process that has to go on.

use std::{path::PathBuf, sync::Arc, time::Duration};

use cofferdam::{
    config::job::Grant,
    failure::Failure,
    hardening::Mode,
    ids::TenantId,
    memory::SlotMeter,
    sandbox::{
        Artifact, CompileLimits, Compiler, CpuMeter, Instance, LoadError, LogBudget, Outcome,
        Sandbox, SandboxConfig, SlotSettings,
    },
    stream::{Batch, BatchBuilder},
};

use super::{Emission, Guest, Origin};
use crate::program;

/// What operators of a job are granted if it does not say otherwise.
const GRANTS: [Grant; 3] = [Grant::Log, Grant::Config, Grant::Metrics];

/// A sandbox with an operator in it that hands every batch on.
#[derive(Debug)]
pub struct Arena {
    sandbox: Sandbox,
    neighbour: Instance,
}

/// A slot as a job gives it to an operator: 16 MiB and half a second a call.
///
/// # Panics
/// Never: the name is valid.
#[must_use]
pub fn settings(tenant: &str) -> SlotSettings {
    SlotSettings {
        memory: SlotMeter::alone(16 << 20),
        deadline: Duration::from_millis(500),
        operator: Arc::from("zoo"),
        tenant: TenantId::new(tenant).expect("a valid name"),
        subtask: 0,
        parallelism: 1,
        inputs: 1,
        outputs: 1,
        config: Arc::default(),
        metrics: Arc::default(),
        cpu: CpuMeter::default(),
        log: LogBudget::default(),
        folders: Arc::default(),
        http_hosts: Arc::default(),
        http_roots: Arc::default(),
    }
}

/// So many records with a key of one byte, a value of three and a time.
#[must_use]
pub fn batch(len: u8) -> Batch {
    let mut builder = BatchBuilder::new();
    (0..len).for_each(|i| builder.push(Some(&[i]), &[i; 3], Some(i64::from(i))));
    builder.take()
}

impl Arena {
    /// A sandbox of so many slots, one of which the neighbour has.
    ///
    /// # Panics
    /// If the machine cannot have one.
    pub async fn new(slots: u32) -> Self {
        Self::with(|sandbox| sandbox, slots).await
    }

    /// A sandbox whose components are compiled within limits, by the program.
    ///
    /// # Panics
    /// If the machine cannot have one.
    pub async fn compiling_within(limits: CompileLimits) -> Self {
        let program = PathBuf::from(program().get_program());
        let compiler = Compiler::Child { program, limits, hardening: Mode::Auto };
        Self::with(|sandbox| sandbox.compiling_in(compiler), 2).await
    }

    async fn with(change: impl FnOnce(Sandbox) -> Sandbox, slots: u32) -> Self {
        let sandbox = Sandbox::new(&SandboxConfig::uncached(slots)).expect("an engine starts");
        let sandbox = change(sandbox);
        let identity = super::Outcome::emitting(Emission::of(Origin::Same)).image();
        let neighbour = sandbox
            .load(&Guest::answering(identity).build(), &GRANTS)
            .expect("the neighbour is sound")
            .instantiate(&settings("neighbour"))
            .await
            .expect("the neighbour opens");
        Self { sandbox, neighbour }
    }

    /// Compiles within other limits from now on.
    #[must_use]
    pub fn then_compiling_in(mut self, compiler: Compiler) -> Self {
        self.sandbox = self.sandbox.compiling_in(compiler);
        self
    }

    /// The sandbox.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Loads an operator with the usual grants.
    ///
    /// # Errors
    /// As [`Sandbox::load`].
    pub fn load(&self, guest: &Guest) -> Result<Artifact, LoadError> {
        self.sandbox.load(&guest.build(), &GRANTS)
    }

    /// Loads and opens an operator.
    ///
    /// # Errors
    /// If it does not open.
    ///
    /// # Panics
    /// If it is refused at upload.
    pub async fn open(&self, guest: &Guest, slot: &SlotSettings) -> Result<Instance, Failure> {
        self.load(guest).expect("the attack passes as an operator").instantiate(slot).await
    }

    /// Loads and opens an operator and hands it a batch of five records.
    ///
    /// # Errors
    /// How the operator failed.
    ///
    /// # Panics
    /// If it is refused at upload.
    pub async fn run(&self, guest: &Guest, slot: &SlotSettings) -> Result<Outcome, Failure> {
        self.open(guest, slot).await?.process(0, &batch(5)).await
    }

    /// How an operator fails at its first batch; the neighbour must go on.
    ///
    /// # Panics
    /// If it does not fail, or the neighbour does.
    pub async fn failure(&mut self, guest: &Guest) -> Failure {
        self.failure_in(guest, &settings("hostile")).await
    }

    /// As [`failure`](Self::failure), in a slot of the test's own.
    ///
    /// # Panics
    /// As there.
    pub async fn failure_in(&mut self, guest: &Guest, slot: &SlotSettings) -> Failure {
        let failure = self.run(guest, slot).await.expect_err("the attack gets through");
        self.neighbour_goes_on().await;
        failure
    }

    /// The neighbour still does its work.
    ///
    /// # Panics
    /// If it does not.
    pub async fn neighbour_goes_on(&mut self) {
        let outcome = self.neighbour.process(0, &batch(9)).await.expect("the neighbour goes on");
        assert_eq!(outcome.emissions, [(0, batch(9))], "the neighbour's records");
    }
}

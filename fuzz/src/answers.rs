//! Mutated answers: an operator that answers with whatever bytes its first
//! record holds, so that they go all the way through the Canonical ABI into the
//! host's checks, and into keyed state.

use anyhow::{Result, bail, ensure};
use cofferdam::{
    failure::{Failure, FailureKind},
    memory::SlotMeter,
    sandbox::{Artifact, Instance, Now, Sandbox, SandboxConfig, SlotSettings},
    state::KeyedState,
    stream::{Batch, BatchBuilder, keys::KeyGroups, watermark},
};
use cofferdam_tests::zoo::{
    Column, Emission, FoldOutcome, Guest, List, Origin, Outcome, Rejection, Timer, settings,
};

use crate::{Taker, corpus::without_numbers};

/// Copies a list of bytes to where the answer lies, on a clean ground.
fn echo(address: &str, len: &str) -> String {
    format!(
        "(memory.fill (i32.const 1024) (i32.const 0) (i32.const 64512))
        (memory.copy (i32.const 1024) {address} {len}) (i32.const 1024)"
    )
}

fn slot() -> SlotSettings {
    SlotSettings { memory: SlotMeter::alone(4 << 20), ..settings("fuzz") }
}

/// One record that is the answer, and four more.
fn batch(answer: &[u8]) -> Batch {
    let mut builder = BatchBuilder::new();
    builder.push(Some(b"a"), answer, Some(7));
    for i in 0..4_u8 {
        builder.push(Some(&[i]), &[i; 3], Some(i.into()));
    }
    builder.take()
}

struct Echo {
    artifact: Artifact,
    instance: Instance,
    // Stops the ticker when it goes.
    _sandbox: Sandbox,
}

impl Echo {
    async fn new(guest: &Guest) -> Result<Self> {
        let sandbox = Sandbox::new(&SandboxConfig::uncached(2))?;
        let artifact = sandbox.load(&guest.build(), &[])?;
        let instance = artifact.instantiate(&slot()).await?;
        Ok(Self { artifact, instance, _sandbox: sandbox })
    }

    /// What a failure was; the next input gets a fresh instance.
    async fn failed(&mut self, failure: &Failure) -> Result<String> {
        use FailureKind::{DeadlineExceeded, GuestError, GuestTrap, InvalidOutcome, OutOfMemory};
        match failure.kind {
            GuestTrap | GuestError | InvalidOutcome | OutOfMemory => {}
            DeadlineExceeded => bail!("it took too long: {failure}"),
            _ => bail!("no guest can be at fault for this: {failure}"),
        }
        ensure!(failure.message.len() < 16 * 1024, "{} bytes of message", failure.message.len());
        if !matches!(failure.kind, GuestError | InvalidOutcome) {
            self.instance = self.artifact.instantiate(&slot()).await?;
        }
        if failure.kind == GuestError {
            // Its words are the input's, not ours.
            return Ok("guest error".to_owned());
        }
        Ok(without_numbers(&format!("{}: {}", failure.kind.label(), failure.message)))
    }
}

/// Whatever passes the checks can be read from one end to the other.
fn read(outcome: &cofferdam::sandbox::Outcome, input: &Batch) -> Result<String> {
    let mut bytes = 0;
    for (port, batch) in &outcome.emissions {
        ensure!(*port <= 255, "port {port}");
        for i in 0..batch.len() {
            bytes += batch.key(i).len() + batch.value(i).len();
            bytes += usize::from(batch.timestamp(i).is_some());
        }
    }
    ensure!(bytes <= 256 << 20, "{bytes} bytes");
    for (index, reason) in &outcome.rejected {
        ensure!((*index as usize) < input.len() && reason.len() <= 1024, "rejection of {index}");
    }
    let some = |n: usize| n.min(4);
    Ok(format!(
        "ok, {} emitted, {} rejected",
        some(outcome.emissions.len()),
        some(outcome.rejected.len())
    ))
}

/// Answers of `process`.
pub(crate) struct Processor(Echo);

impl Processor {
    pub(crate) async fn new() -> Result<Self> {
        let guest = Guest::processing(&echo("(local.get 6)", "(local.get 7)"));
        Ok(Self(Echo::new(&guest).await?))
    }
}

impl Taker for Processor {
    async fn take(&mut self, input: &[u8]) -> Result<String> {
        let batch = batch(input);
        match self.0.instance.process(0, &batch).await {
            Ok(outcome) => read(&outcome, &batch),
            Err(failure) => self.0.failed(&failure).await,
        }
    }
}

/// Answers of `fold`.
pub(crate) struct Folder {
    echo: Echo,
    state: KeyedState,
    folds: u64,
}

/// After so many folds the state begins anew: mutated timers would fill it.
const FOLDS: u64 = 1_000;

impl Folder {
    pub(crate) async fn new() -> Result<Self> {
        // The batch's values stand 48 bytes into the parameters.
        let at = |offset: u32| format!("(i32.load offset={offset} (local.get 0))");
        let guest =
            Guest { world: "keyed-operator".into(), ..Guest::processing(&echo(&at(48), &at(52))) };
        Ok(Self { echo: Echo::new(&guest).await?, state: empty(), folds: 0 })
    }
}

fn empty() -> KeyedState {
    KeyedState::new(None, KeyGroups::new(128, 1))
}

impl Taker for Folder {
    async fn take(&mut self, input: &[u8]) -> Result<String> {
        self.folds += 1;
        if self.folds.is_multiple_of(FOLDS) {
            self.state = empty();
        }
        let batch = batch(input);
        let groups = self.state.group(&batch, watermark::NONE);
        let now = Now { watermark: None, processing: 0 };
        match self.echo.instance.fold(now, 0, &batch, &groups).await {
            Ok(answer) => {
                let words = read(&answer.outcome, &batch)?;
                let applied = match self.state.apply(&groups, &answer.change) {
                    Ok(()) => format!("applied, {} changed", answer.change.changed.len().min(6)),
                    Err(invalid) => without_numbers(&invalid.to_string()),
                };
                Ok(format!("{words}, {applied}"))
            }
            Err(failure) => self.echo.failed(&failure).await,
        }
    }
}

fn column(data: &[u8], offsets: &[u32]) -> Column {
    Column::new(data, offsets)
}

/// Answers of `process` to begin with.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let keep = || Emission::of(Origin::Keep(List::U32(vec![4, 0, 0, 2])));
    let fresh = || Emission {
        keys: Some(column(b"kk", &[0, 1, 2])),
        timestamps: Some(List::I64(vec![1, -1])),
        ..Emission::values(column(b"abc", &[0, 2, 3]))
    };
    let same = || Emission {
        port: 3,
        values: Some(column(b"abcde", &[0, 1, 2, 3, 4, 5])),
        ..Emission::of(Origin::Same)
    };
    let rejected = || {
        let reason = |text: &str| List::Bytes(text.as_bytes().to_vec());
        vec![
            Rejection { index: 1, reason: reason("no number") },
            Rejection { index: 4, reason: reason("zu spät") },
        ]
    };
    let said = b"it does not go on";
    let mut err = vec![1, 0, 0, 0];
    err.extend(1036_u32.to_le_bytes());
    err.extend(17_u32.to_le_bytes());
    err.extend(said);
    vec![
        ("nothing", Outcome::default().image()),
        ("same", Outcome::emitting(same()).image()),
        ("keep", Outcome::emitting(keep()).image()),
        ("fresh", Outcome::emitting(fresh()).image()),
        ("rejected", Outcome { emissions: vec![], rejected: rejected() }.image()),
        ("all", Outcome { emissions: vec![keep(), fresh(), same()], rejected: rejected() }.image()),
        ("err", err),
    ]
}

/// Answers of `fold` to begin with.
pub(crate) fn fold_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let changed = || FoldOutcome {
        changed: List::U32(vec![0, 3, 1]),
        states: column(b"state1", &[0, 2, 5, 6]),
        ..FoldOutcome::default()
    };
    let timers = || FoldOutcome {
        set_timers: (0..4).map(|g| Timer { group: g, kind: 0, at: i64::from(g) - 2 }).collect(),
        delete_timers: vec![Timer { group: 1, kind: 1, at: 9 }],
        ..FoldOutcome::default()
    };
    let emission = Emission::of(Origin::Keep(List::U32(vec![0, 4])));
    let all = FoldOutcome { outcome: Outcome::emitting(emission), ..changed() };
    let all = FoldOutcome { set_timers: timers().set_timers, ..all };
    vec![
        ("nothing", FoldOutcome::default().image()),
        ("changed", changed().image()),
        ("timers", timers().image()),
        ("all", all.image()),
    ]
}

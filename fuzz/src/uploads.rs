//! Mutated components: loaded with every grant, and what loads is instantiated
//! and handed a batch, in a slot with little time and memory.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, bail, ensure};
use cofferdam::{
    config::job::Grant,
    failure::FailureKind,
    hardening::Mode,
    memory::SlotMeter,
    sandbox::{CompileLimits, Compiler, LoadError, Sandbox, SandboxConfig, SlotSettings},
};
use cofferdam_tests::zoo::{Emission, FoldOutcome, Guest, Origin, Outcome, batch, settings};

use crate::{Taker, corpus::without_numbers};

const GRANTS: [Grant; 6] = [
    Grant::Log,
    Grant::Config,
    Grant::Metrics,
    Grant::Wasi,
    Grant::WasiFilesystem,
    Grant::WasiHttp,
];

/// Every so many uploads one is compiled in a child, as the program does; the
/// rest, in this process, which is faster and shows more.
const CHILD: u64 = 1_000;

/// Uploads, one after the other.
pub(crate) struct Uploads {
    here: Sandbox,
    child: Option<Sandbox>,
    count: u64,
}

impl Uploads {
    pub(crate) fn new(program: Option<PathBuf>) -> Result<Self> {
        let sandbox = || Sandbox::new(&SandboxConfig::uncached(2));
        let limits = CompileLimits { memory: 1 << 30, time: Duration::from_secs(10) };
        let child = program
            .map(|program| {
                Ok(sandbox()?.compiling_in(Compiler::Child {
                    program,
                    limits,
                    hardening: Mode::Auto,
                }))
            })
            .transpose()
            .map_err(|error: anyhow::Error| error)?;
        Ok(Self { here: sandbox()?, child, count: 0 })
    }
}

impl Taker for Uploads {
    async fn take(&mut self, input: &[u8]) -> Result<String> {
        self.count += 1;
        let sandbox = match &self.child {
            Some(child) if self.count.is_multiple_of(CHILD) => child,
            _ => &self.here,
        };
        let artifact = match sandbox.load(input, &GRANTS) {
            Ok(artifact) => artifact,
            Err(error @ LoadError::NoCompiler(_)) => bail!("{error}"),
            Err(error) => {
                let said = error.to_string();
                ensure!(said.len() < 16 * 1024, "a refusal of {} bytes", said.len());
                return Ok(without_numbers(&said));
            }
        };
        let slot = SlotSettings {
            memory: SlotMeter::alone(4 << 20),
            deadline: Duration::from_millis(20),
            ..settings("fuzz")
        };
        let ended = match artifact.instantiate(&slot).await {
            Ok(mut instance) => instance.process(0, &batch(5)).await.map(|_| ()),
            Err(failure) => Err(failure),
        };
        match ended {
            Ok(()) => Ok("ok, and runs".to_owned()),
            // It is keyed, and was called as one that is not.
            Err(failure) if failure.message.contains("wrong kind") => {
                Ok("ok, and opens".to_owned())
            }
            Err(failure) if failure.kind == FailureKind::HostBug => bail!("{failure}"),
            Err(failure) => {
                let said = format!("ok, then {}: {}", failure.kind.label(), failure.message);
                ensure!(said.len() < 16 * 1024, "a failure of {} bytes", said.len());
                Ok(without_numbers(&said))
            }
        }
    }
}

/// Components to begin with.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let same = || Outcome::emitting(Emission::of(Origin::Same)).image();
    let logging = Guest {
        imports: r#"(import "cofferdam:operator/log@0.1.0" "log"
            (func $log (param i32 i32 i32)))
            (import "cofferdam:operator/config@0.1.0" "all" (func $all (param i32)))
            (import "cofferdam:operator/metrics@0.1.0" "counter-add"
                (func $count (param i32 i32 i64)))"#
            .into(),
        ..Guest::processing(
            r#"(call $log (i32.const 2) (i32.const 900) (i32.const 10))
            (call $all (i32.const 800))
            (call $count (i32.const 900) (i32.const 3) (i64.const 1))
            (i32.const 16)"#,
        )
    };
    let tables = Guest {
        fields: "(type $t (func (param i32) (result i32))) (table $t 4 8 funcref)
            (elem (i32.const 0) $double $double)
            (global $g (mut i64) (i64.const 7)) (memory $more 1 2)
            (func $double (param i32) (result i32)
                (i32.add (local.get 0) (local.get 0)))
            (func $start (global.set $g (i64.extend_i32_u (memory.size $more)))) (start $start)"
            .into(),
        ..Guest::processing(
            "(drop (call_indirect $t (type $t) (i32.const 21) (i32.const 1)))
            (drop (memory.grow (i32.const 1))) (loop $l (if (memory.size) (then) (else (br $l))))
            (i32.const 16)",
        )
    };
    let waiting = Guest::sleeping(1_000);
    vec![
        ("nothing", Guest::default().build()),
        ("same", Guest::answering(same()).build()),
        ("keyed", Guest::folding(FoldOutcome::default().image()).build()),
        ("imports", logging.build()),
        ("tables", tables.build()),
        ("wasi", waiting.build()),
    ]
}

//! `cofferdam operator bench`.

use std::{path::Path, time::Duration};

use serde_json::json;

use super::{
    args::BenchArgs,
    print, refuse,
    subject::{Ready, Writes},
};
use crate::{
    authoring::bench::{Measured, NotMeasured, Start, bench, start_of},
    cli::{exit::Exit, human},
    clock::Stopwatch,
    sandbox::{Compiler, Metering, Sandbox, SandboxConfig},
};

pub(in crate::cli) fn bench_operator(args: &BenchArgs) -> Result<Exit, Exit> {
    let scratch = tempfile::tempdir()
        .map_err(|error| refuse(&format!("no place for a cache of compiled code: {error}")))?;
    let ready = Ready::of(&args.subject, None, Writes::Scratch(scratch.path()))?;
    let compiler = Compiler::this_program_for_its_author(args.subject.hardening);
    let start = start_of(&ready.built.bytes, || load(&ready, scratch.path(), &compiler));
    let start = start.map_err(|error| refuse(&error))?;
    if !args.subject.json {
        print(&start_text(&start))?;
    }
    let time = Duration::from_secs(args.seconds);
    for (case, prepared) in &ready.cases {
        if case.rules.fails.is_some() {
            continue;
        }
        let run = bench(&ready.runner, &ready.built.artifact, prepared, time);
        let measured = match ready.runtime.block_on(run) {
            Ok(measured) => measured,
            Err(NotMeasured::Failed(crash)) => {
                refuse(&format!("case `{}`: the operator failed: {}", case.name, crash.message));
                return Ok(Exit::JobFailed);
            }
            Err(error) => return Err(refuse(&format!("case `{}`: {error}", case.name))),
        };
        print(&if args.subject.json {
            format!("{}\n", json!({"case": case.name, "start": start, "measured": measured}))
        } else {
            text(&case.name, &measured)
        })?;
    }
    Ok(Exit::Success)
}

/// Loads the component by a sandbox of its own.
fn load(ready: &Ready, cache: &Path, compiler: &Compiler) -> Result<u64, String> {
    let cache_dir = Some(cache.to_owned());
    let config = SandboxConfig { instances: 1, cache_dir, metering: Metering::default() };
    let sandbox = Sandbox::new(&config).map_err(|error| format!("{error:#}"))?;
    let sandbox = sandbox.compiling_in(compiler.clone());
    let watch = Stopwatch::start();
    sandbox.load(&ready.built.bytes, &ready.grants).map_err(|error| error.to_string())?;
    Ok(watch.nanos())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn start_text(start: &Start) -> String {
    format!(
        "component {}; compiled in {}, loaded from compiled code in {}\n",
        human::bytes(start.size as f64),
        nanos(start.compile_nanos),
        nanos(start.load_nanos),
    )
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn text(name: &str, measured: &Measured) -> String {
    let Measured { operator, identity, batch_records } = measured;
    let (ours, theirs) = (operator.nanos_a_record(), identity.nanos_a_record());
    format!(
        "{name}: {:.0} ns a record, {} records a second, in batches of {batch_records}\n  \
         {:.1} times as long as an operator that does nothing ({theirs:.1} ns)\n  \
         instance made and opened in {}, its first record answered {} later; {} at the end\n",
        ours,
        human::count(1e9 / ours.max(0.001)),
        ours / theirs.max(0.001),
        nanos(operator.open_nanos),
        nanos(operator.first_record_nanos),
        human::bytes(operator.memory as f64),
    )
}

fn nanos(nanos: u64) -> String {
    human::micros(nanos / 1_000)
}

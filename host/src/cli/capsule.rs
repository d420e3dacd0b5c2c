//! `cofferdam replay` and `cofferdam operator compare`: reads a capsule, gives up what is
//! not needed, finds and loads the components, runs them, and says what came of it.

use std::path::Path;

use serde_json::json;

use super::{
    capsule_args::{Common, CompareArgs, ReplayArgs},
    capsule_view as view,
    exit::Exit,
    harden::harden,
    terminal::{self, print, refuse},
};
use crate::{
    capsule::{
        Capsule,
        compare::{Verdict, compare},
        machine::{find_component, load_component},
        replay::replay,
    },
    catalog::{self, Located},
    hardening::Needs,
    sandbox::{Artifact, Compiler, Sandbox, SandboxConfig, usable_cache_dir},
};

pub(super) fn replay_capsule(args: &ReplayArgs) -> Exit {
    let ran = Bench::prepare(&args.file, [args.with.as_deref()], &args.common).and_then(|bench| {
        let [component] = bench.load()?;
        let replayed = bench.block_on(replay(component, &bench.capsule))?;
        let replayed =
            replayed.map_err(|failure| refuse(&format!("it does not open: {failure}")))?;
        show(&args.common, &view::replay_json(&bench.capsule, &replayed), || {
            view::replay_text(&bench.capsule, &replayed)
        })?;
        Ok(if replayed.crash.is_some() { Exit::JobFailed } else { Exit::Success })
    });
    ran.unwrap_or_else(|exit| exit)
}

pub(super) fn compare_two(args: &CompareArgs) -> Exit {
    compare_versions(args).unwrap_or_else(|exit| exit)
}

fn compare_versions(args: &CompareArgs) -> Result<Exit, Exit> {
    let given = [args.old.as_deref(), Some(args.new.as_path())];
    let bench = Bench::prepare(&args.file, given, &args.common)?;
    let [old, new] = bench.load()?;
    let compared = bench.block_on(compare(old, new, &bench.capsule))?;
    let compared =
        compared.map_err(|failure| refuse(&format!("the old version does not open: {failure}")))?;
    show(&args.common, &json!({"type": "comparison", "comparison": compared}), || {
        view::comparison_text(&bench.capsule, &compared)
    })?;
    Ok(if compared.verdict == Verdict::Same { Exit::Success } else { Exit::JobFailed })
}

fn show(
    common: &Common,
    json: &serde_json::Value,
    text: impl FnOnce() -> String,
) -> Result<(), Exit> {
    print(&if common.json { format!("{json}\n") } else { text() })
}

/// A capsule, the components that it is to be fed to, and what runs them.
struct Bench<const N: usize> {
    capsule: Capsule,
    components: [Located; N],
    sandbox: Sandbox,
}

impl<const N: usize> Bench<N> {
    /// Reads the capsule, finds the components (the one that was recorded, where none is
    /// given), and gives up all that running them does not need.
    fn prepare(file: &Path, given: [Option<&Path>; N], common: &Common) -> Result<Self, Exit> {
        let capsule = Capsule::read(file)
            .map_err(|error| refuse(&format!("the capsule {}: {error}", file.display())))?;
        let dirs = catalog::search_path(common.artifacts.as_deref());
        let find = |given: Option<&Path>| match given {
            Some(path) => Ok(Located::File(path.to_owned())),
            None => {
                find_component(&capsule.operator, &dirs).map_err(|error| refuse(&error.to_string()))
            }
        };
        let found: Vec<_> = given.into_iter().map(find).collect::<Result<_, Exit>>()?;
        let components: [Located; N] =
            found.try_into().map_err(|_| refuse("a component is missing"))?;
        let cache_dir = usable_cache_dir();
        let compiler = Compiler::this_program(common.hardening);
        let needs = Needs {
            read: components.iter().cloned().filter_map(Located::file).collect(),
            write: cache_dir.clone().into_iter().collect(),
            starts_itself: matches!(compiler, Compiler::Child { .. }),
            ..Needs::default()
        };
        // Before there is any other thread.
        let report = harden(common.hardening, &needs)?;
        if !report.missing.is_empty() {
            terminal::say(&format!("hardening: {report}"));
        }
        let config = SandboxConfig { instances: 4, cache_dir, metering: common.metering };
        let sandbox = Sandbox::new(&config).map_err(|error| {
            refuse(&format!("cannot set up the sandbox on this machine: {error:#}"))
        })?;
        Ok(Self { capsule, components, sandbox: sandbox.compiling_in(compiler) })
    }

    fn load(&self) -> Result<[Artifact; N], Exit> {
        let mut loaded = Vec::with_capacity(N);
        for place in &self.components {
            let artifact = load_component(&self.sandbox, place.clone(), &self.capsule);
            loaded.push(artifact.map_err(|error| refuse(&error.to_string()))?);
        }
        loaded.try_into().map_err(|_| refuse("a component is missing"))
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> Result<T, Exit> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| refuse(&format!("cannot start the runtime: {error}")))?;
        Ok(runtime.block_on(work))
    }
}

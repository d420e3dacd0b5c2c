//! WASI preview 2, interface by interface: only those whose grant an operator has
//! are linked, so the rest is absent. Sockets can be granted to nobody; the network
//! that there is is that of `http`.

use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::{
    FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
    cli::{WasiCli, WasiCliView as _},
    clocks::{WasiClocks, WasiClocksView as _},
    filesystem::{WasiFilesystem, WasiFilesystemView as _},
    p2::bindings::{cli, clocks, filesystem, random},
    random::WasiRandom,
};
use wasmtime_wasi_http::{WasiHttp, WasiHttpCtxView, p2::bindings::http};
use wasmtime_wasi_io::bindings::wasi::io;

use crate::{
    config::job::{FolderGrant, Grant},
    failure::{Failure, FailureKind},
    sandbox::{
        abi::Level,
        capabilities::SlotState,
        guest_log::GuestLog,
        http::{Http, Outside},
    },
};

/// How many things of WASI an instance may hold: open files, streams, what it waits
/// for, requests and what they consist of. An open file is one of the whole process's
/// descriptors.
const MOST_RESOURCES: usize = 128;

/// Any of these grants gives the interfaces of a package.
fn grants_for(package: &str) -> &'static [Grant] {
    match package {
        "clocks" => &[Grant::Wasi, Grant::WasiClocks],
        "random" => &[Grant::Wasi, Grant::WasiRandom],
        "cli" => &[Grant::Wasi, Grant::WasiStdio],
        "filesystem" => &[Grant::WasiFilesystem],
        "http" => &[Grant::WasiHttp],
        // What the others speak of: streams, and what can be waited for.
        "io" => &[
            Grant::Wasi,
            Grant::WasiClocks,
            Grant::WasiStdio,
            Grant::WasiFilesystem,
            Grant::WasiHttp,
        ],
        _ => &[],
    }
}

/// Whether an import, such as `wasi:clocks/wall-clock@0.2.0`, is granted.
pub(super) fn is_granted(import: &str, grants: &[Grant]) -> bool {
    let package = import.strip_prefix("wasi:").and_then(|rest| rest.split('/').next());
    package.is_some_and(|package| has(package, grants))
}

fn has(package: &str, grants: &[Grant]) -> bool {
    grants_for(package).iter().any(|grant| grants.contains(grant))
}

/// What to write into the job file for an import, if anything helps.
pub(super) fn hint_for(import: &str) -> &'static str {
    let package = import.strip_prefix("wasi:").and_then(|rest| rest.split('/').next());
    match package {
        Some("clocks") => "; add \"wasi-clocks\" to the operator's `grants` to allow it",
        Some("random") => "; add \"wasi-random\" to the operator's `grants` to allow it",
        Some("cli") => "; add \"wasi-stdio\" to the operator's `grants` to allow it",
        Some("io") => {
            "; it comes with \"wasi-clocks\", \"wasi-stdio\", \"wasi-filesystem\" or \"wasi-http\" in \
             `grants`"
        }
        Some("filesystem") => "; add \"wasi-filesystem\" to the operator's `grants` to allow it",
        Some("http") => {
            "; add \"wasi-http\" to the operator's `grants`, and `http_hosts`, to allow it"
        }
        _ => ", and cannot be: of the network, operators have outgoing HTTP at most",
    }
}

/// What an instance with WASI has.
pub(super) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    http: Http,
}

impl Wasi {
    /// No files, no environment, no arguments, and no network but these hosts.
    pub(super) fn new(log: &GuestLog, outside: Outside) -> Self {
        Self::of(builder(log), outside)
    }

    /// As [`new`](Self::new), with folders to read. A path that leads out of a folder,
    /// by `..` or by a link, leads nowhere, and nothing in it can be changed.
    pub(super) fn with_folders(
        log: &GuestLog,
        outside: Outside,
        folders: &[FolderGrant],
    ) -> Result<Self, Failure> {
        let mut builder = builder(log);
        for FolderGrant { path, name } in folders {
            builder.preopened_dir(path, name, FsPerms::ReadOnly).map_err(|error| {
                Failure::new(
                    FailureKind::ConnectorFailure,
                    format!("its folder `{name}`, {}, cannot be opened: {error:#}", path.display()),
                )
            })?;
        }
        Ok(Self::of(builder, outside))
    }

    fn of(mut builder: WasiCtxBuilder, outside: Outside) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MOST_RESOURCES);
        Self { ctx: builder.build(), table, http: Http::new(outside) }
    }

    pub(super) fn view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.ctx, table: &mut self.table }
    }

    /// Whether the guest holds anything of it.
    pub(super) fn holds_handles(&self) -> bool {
        !self.table.is_empty()
    }

    pub(super) fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http.view(&mut self.table)
    }
}

/// What its output goes to.
fn builder(log: &GuestLog) -> WasiCtxBuilder {
    let mut builder = WasiCtx::builder();
    builder.stdout(log.stream(Level::Info)).stderr(log.stream(Level::Warn));
    builder
}

struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

/// Puts what is granted into the linker.
pub(super) fn link(l: &mut Linker<SlotState>, grants: &[Grant]) -> wasmtime::Result<()> {
    type S = SlotState;
    if has("io", grants) {
        io::error::add_to_linker::<S, Io>(l, |s| s.ctx().table)?;
        io::poll::add_to_linker::<S, Io>(l, |s| s.ctx().table)?;
        io::streams::add_to_linker::<S, Io>(l, |s| s.ctx().table)?;
    }
    if has("clocks", grants) {
        clocks::wall_clock::add_to_linker::<S, WasiClocks>(l, S::clocks)?;
        clocks::monotonic_clock::add_to_linker::<S, WasiClocks>(l, S::clocks)?;
    }
    if has("random", grants) {
        random::random::add_to_linker::<S, WasiRandom>(l, |s| s.ctx().ctx.random())?;
        random::insecure::add_to_linker::<S, WasiRandom>(l, |s| s.ctx().ctx.random())?;
        random::insecure_seed::add_to_linker::<S, WasiRandom>(l, |s| s.ctx().ctx.random())?;
    }
    if has("cli", grants) {
        cli::exit::add_to_linker::<S, WasiCli>(l, S::cli)?;
        cli::environment::add_to_linker::<S, WasiCli>(l, S::cli)?;
        cli::stdin::add_to_linker::<S, WasiCli>(l, S::cli)?;
        cli::stdout::add_to_linker::<S, WasiCli>(l, S::cli)?;
        cli::stderr::add_to_linker::<S, WasiCli>(l, S::cli)?;
        cli::terminal_input::add_to_linker::<S, WasiCli>(l, S::cli)?;
        cli::terminal_output::add_to_linker::<S, WasiCli>(l, S::cli)?;
        cli::terminal_stdin::add_to_linker::<S, WasiCli>(l, S::cli)?;
        cli::terminal_stdout::add_to_linker::<S, WasiCli>(l, S::cli)?;
        cli::terminal_stderr::add_to_linker::<S, WasiCli>(l, S::cli)?;
    }
    if has("filesystem", grants) {
        filesystem::preopens::add_to_linker::<S, WasiFilesystem>(l, S::filesystem)?;
        filesystem::types::add_to_linker::<S, WasiFilesystem>(l, S::filesystem)?;
    }
    if has("http", grants) {
        let options = http::types::LinkOptions::default();
        http::types::add_to_linker::<S, WasiHttp>(l, &options, |s| s.wasi().http())?;
        http::outgoing_handler::add_to_linker::<S, WasiHttp>(l, |s| s.wasi().http())?;
    }
    Ok(())
}

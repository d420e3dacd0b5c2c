//! `cofferdam serve`: starts the service and its API in this process, and ends them when asked to.

use std::{
    fs, io,
    net::TcpListener,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::watch;

use super::{
    exit::Exit, harden::harden, log, serve_args::ServeArgs, signals::Signals, tenant::data_dir,
    terminal,
};
use crate::{
    catalog::{self, shelf::Shelf},
    clock::Clock,
    config::{
        self,
        server::{Configured, ServerSpec},
    },
    http::{server, tls::Tls},
    otlp::Exporter,
    sandbox::{Compiler, PageWatch, make_private_dir},
    service::{CannotServe, Service, needs},
    task_manager::{self, TaskManagerSettings},
};

/// Slots for each core, if nothing is configured.
const SLOTS_PER_CORE: usize = 16;

/// A server that has given up what it does not need, and has no threads yet.
struct Prepared {
    dir: PathBuf,
    spec: ServerSpec,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    settings: TaskManagerSettings,
    exporter: Option<Exporter>,
    shelf: Shelf,
}

pub(super) fn serve(args: &ServeArgs) -> Exit {
    match prepare(args) {
        Ok(prepared) => run(prepared),
        Err(exit) => exit,
    }
}

fn refuse(exit: Exit, text: &str) -> Exit {
    terminal::say(&format!("error: {text}"));
    exit
}

fn prepare(args: &ServeArgs) -> Result<Prepared, Exit> {
    let mut spec = read_config(args.config.as_deref())?.spec;
    log::start_as(&spec.log);
    spec.listen = args.listen.unwrap_or(spec.listen);
    let dir = data_dir(args.data.as_deref())?;
    let dir = make(&dir).map_err(|error| {
        let dir = dir.display();
        refuse(Exit::State, &format!("the data directory {dir} cannot be made: {error}"))
    })?;
    let listener = TcpListener::bind(spec.listen).map_err(|error| {
        refuse(
            Exit::Usage,
            &format!("cannot listen at {}: {error}; choose another with --listen", spec.listen),
        )
    })?;
    // The port, if any was wanted.
    spec.listen = listener.local_addr().unwrap_or(spec.listen);
    let tls = spec.tls.as_ref().map(Tls::open).transpose();
    let tls = tls.map_err(|error| refuse(Exit::Usage, &error))?.map(Arc::new);
    if tls.is_none() && !spec.listen.ip().is_loopback() {
        terminal::say(
            "warning: without `[tls]` tokens go over the network as they are; have a proxy with \
             TLS before the server, or configure a certificate",
        );
    }
    let traced = Exporter::open(&spec.traces).map_err(|error| refuse(Exit::Usage, &error))?;
    let (tracer, exporter) = traced.unzip();
    let compiled = dir.join("compiled");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let slots = u32::try_from(cores * SLOTS_PER_CORE).unwrap_or(u32::MAX);
    let settings = TaskManagerSettings {
        slots: Some(spec.slots.unwrap_or(slots)),
        memory: spec.memory,
        idle_after: Some(spec.idle_after).filter(|after| !after.is_zero()),
        compiler: Compiler::this_program(args.hardening),
        cache_dir: make_private_dir(&compiled).is_ok().then_some(compiled),
        // It cannot be had later, and any job may need it.
        page_watch: PageWatch::open().ok(),
        tracer: tracer.unwrap_or_default(),
        ..TaskManagerSettings::default()
    };
    let shelf = Shelf::find(&catalog::search_path(None));
    // Before there is any other thread: what follows starts them.
    let hardened = harden(args.hardening, &needs::of_service(&dir, &spec, &shelf))?;
    tracing::info!("{hardened}");
    say_shelf(&shelf);
    Ok(Prepared { dir, spec, listener, tls, settings, exporter, shelf })
}

/// What every tenant has without uploading it.
fn say_shelf(shelf: &Shelf) {
    let names: Vec<_> = shelf.iter().map(|operator| operator.name.as_str()).collect();
    if shelf.is_empty() {
        tracing::warn!(
            "no operators come with this program: it was built without them, and there are none \
             beside it (folder `operators`) or where COFFERDAM_ARTIFACTS says"
        );
    } else {
        tracing::info!("operators for every tenant: {}", names.join(", "));
    }
}

/// The configuration of a file, if there is one, with what the environment changes of it.
pub(super) fn read_config(path: Option<&Path>) -> Result<Configured, Exit> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| {
            let path = path.display();
            refuse(Exit::Usage, &format!("cannot read the configuration {path}: {error}"))
        })
    };
    let text = path.map(read).transpose()?.unwrap_or_default();
    let variables = config::environment::settings(config::environment::variables());
    let origin = path.unwrap_or(Path::new("cofferdam.toml"));
    config::parse_server(&text, origin, &variables).map_err(|errors| {
        terminal::say(&errors.to_string());
        Exit::Usage
    })
}

/// Makes the data directory, for this user alone; one that is there keeps who may read it, but
/// nobody else may write to it.
fn make(dir: &Path) -> io::Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mode = fs::metadata(dir)?.permissions().mode();
    if mode & 0o022 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode & !0o022))?;
    }
    fs::canonicalize(dir)
}

fn run(prepared: Prepared) -> Exit {
    let Prepared { dir, spec, listener, tls, settings, exporter, shelf } = prepared;
    let runtime = match task_manager::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            let text = format!("cannot start the threads of the runtime: {error}");
            return refuse(Exit::JobFailed, &text);
        }
    };
    let exit = runtime.block_on(async {
        let opened = Service::open(&dir, spec, settings, Clock::System, &shelf);
        let (service, follower) = match opened {
            Ok(opened) => opened,
            Err(error @ CannotServe::Data(_)) => return refuse(Exit::State, &error.to_string()),
            Err(error @ CannotServe::TaskManager(_)) => {
                return refuse(Exit::Usage, &error.to_string());
            }
        };
        let exporting = exporter.map(Exporter::start);
        // It ends with the runtime.
        tokio::spawn(follower.follow());
        tokio::spawn(service.clone().watch_machine());
        let exit = match answer(&service, listener, tls).await {
            Ok(exit) => exit,
            Err(error) => refuse(Exit::JobFailed, &format!("the server cannot go on: {error}")),
        };
        if let Some(exporting) = exporting.filter(|_| !matches!(exit, Exit::Aborted)) {
            exporting.finish().await;
        }
        exit
    });
    // A source that waits would hold the program up.
    runtime.shutdown_background();
    exit
}

/// Answers until a signal comes; then the jobs end, and with a second signal the program at once.
async fn answer(
    service: &Arc<Service>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
) -> io::Result<Exit> {
    let mut signals = Signals::new()?;
    let (end, ending) = watch::channel(false);
    service.bring_back();
    let mut answering = tokio::spawn(server::serve(listener, tls.clone(), service.clone(), ending));
    if let Some(path) = service.first_token() {
        terminal::say(&format!("a token that may do everything is in {}", path.display()));
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://{}", service.spec().listen);
    terminal::say(&format!("the console is at {address}/console"));
    terminal::say(&format!("serving at {address}"));
    tokio::select! {
        ended = &mut answering => {
            ended.map_err(io::Error::other)??;
            return Ok(Exit::JobFailed);
        }
        () = signals.next() => {}
    }
    terminal::say("ending with a final checkpoint of every job; once more to end at once");
    let last = async {
        // Whoever waits for an answer that a job gives gets it.
        let in_time = service.shut_down().await;
        end.send_replace(true);
        // What it failed with does not matter any more.
        let _ = answering.await;
        in_time
    };
    Ok(tokio::select! {
        in_time = last => {
            if !in_time {
                terminal::say(
                    "warning: some jobs took no final checkpoint in time; they go on from their \
                     last one",
                );
            }
            Exit::Success
        }
        () = signals.next() => Exit::Aborted,
    })
}

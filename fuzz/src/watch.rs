//! Keeps the input that is under way, so that it can be saved when the host
//! panics or hangs.

use std::{
    fs,
    path::PathBuf,
    process::abort,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use cofferdam::clock::Stopwatch;

/// After so long an input hangs.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct UnderWay {
    input: Vec<u8>,
    since: Option<Stopwatch>,
}

/// Looks on.
#[derive(Clone)]
pub(crate) struct Watch {
    path: PathBuf,
    under_way: Arc<Mutex<UnderWay>>,
}

impl Watch {
    /// Looks on from a thread of its own, and whenever something panics.
    pub(crate) fn start(failures: PathBuf, target: String) -> Result<Self> {
        fs::create_dir_all(&failures)
            .with_context(|| format!("cannot create {}", failures.display()))?;
        let path = failures.join(format!("{target}-{}", std::process::id()));
        let watch = Self { path, under_way: Arc::default() };
        let hook = std::panic::take_hook();
        let on_panic = watch.clone();
        std::panic::set_hook(Box::new(move |panic| {
            hook(panic);
            eprintln!("the host panicked; the input is in {}", on_panic.save().display());
            abort();
        }));
        let on_hang = watch.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(PATIENCE / 10);
                if on_hang.hangs() {
                    eprintln!("the host hangs; the input is in {}", on_hang.save().display());
                    abort();
                }
            }
        });
        Ok(watch)
    }

    fn with<T>(&self, look: impl FnOnce(&mut UnderWay) -> T) -> T {
        look(&mut self.under_way.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An input is under way.
    pub(crate) fn begin(&self, input: &[u8]) {
        self.with(|it| {
            it.input.clear();
            it.input.extend_from_slice(input);
            it.since = Some(Stopwatch::start());
        });
    }

    /// None is any more.
    pub(crate) fn end(&self) {
        self.with(|it| it.since = None);
    }

    fn hangs(&self) -> bool {
        self.with(|it| it.since.is_some_and(|since| since.elapsed() > PATIENCE))
    }

    /// Saves the input that is under way; says where.
    pub(crate) fn save(&self) -> PathBuf {
        let input = self.with(|it| it.input.clone());
        if let Err(error) = fs::write(&self.path, input) {
            eprintln!("cannot save the input: {error}");
        }
        self.path.clone()
    }
}

/// What the process holds of the machine's memory.
pub(crate) fn resident_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("how much memory is in use")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.context("the kernel does not say how much memory is in use")
}

//! Compiled code on disk, by the artifact's digest and the engine's settings.
//!
//! wasmtime maps such a file and runs it as it is, so whoever can write to the
//! cache directory can run code as us. The directory is made for its owner
//! only, and is not used if it is another's or others can write to it; a file
//! is renamed into place when it is whole.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError},
};

use wasmtime::{Engine, component::Component};

/// Where compiled code is kept: `$XDG_CACHE_HOME/cofferdam/compiled`, or the
/// same below `~/.cache`. Nowhere if there is no home.
#[must_use]
pub fn default_cache_dir() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(base.join("cofferdam").join("compiled"))
}

/// The same, if it is there, or can be made, for its owner alone.
#[must_use]
pub fn usable_cache_dir() -> Option<PathBuf> {
    default_cache_dir().filter(|dir| make_private_dir(dir).is_ok())
}

/// Grows when more is checked before code is stored: what an earlier build let pass is looked at again.
const CHECKS: u32 = 1;

/// A directory of compiled components.
#[derive(Debug)]
pub(super) struct CompiledCache {
    dir: PathBuf,
    turns: Turns,
}

/// Which artifacts are being compiled: of those who want the same one at the same time, one
/// compiles it, and the others wait for what it stores.
#[derive(Debug, Default)]
struct Turns {
    under_way: Mutex<BTreeSet<String>>,
    ended: Condvar,
}

/// Whose turn it is to compile an artifact. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    digest: String,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = self.turns.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.digest);
        self.turns.ended.notify_all();
    }
}

impl CompiledCache {
    /// Uses a directory, which is created when the first file is stored. Code
    /// that another engine version, other settings or another version of this program compiled lies
    /// elsewhere.
    pub(super) fn new(dir: &Path, engine: &Engine) -> Self {
        use std::hash::{Hash, Hasher};
        let mut hasher = blake3_hasher::Blake3Hasher::default();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        (env!("CARGO_PKG_VERSION"), CHECKS).hash(&mut hasher);
        Self { dir: dir.join(format!("{:016x}", hasher.finish())), turns: Turns::default() }
    }

    /// Waits until nobody else compiles this artifact; then it may be [there](Self::load). Blocks.
    pub(super) fn turn(&self, digest: &str) -> Turn<'_> {
        let turns = &self.turns;
        let under_way = turns.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = turns.ended.wait_while(under_way, |under_way| under_way.contains(digest));
        waited.unwrap_or_else(PoisonError::into_inner).insert(digest.to_owned());
        Turn { turns, digest: digest.to_owned() }
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}.cwasm"))
    }

    /// The compiled component, if it is there and fits. A file that does not
    /// is as good as none: it will be replaced.
    pub(super) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(digest);
        if !path.is_file() || !self.is_ours(&path) {
            return None;
        }
        // SAFETY: the file was written by `store` below, under a name that
        // depends on the engine's settings, and neither it nor its directory can
        // be written to by others (`is_ours`); wasmtime checks the header and version on top of that.
        #[expect(unsafe_code, reason = "compiled code is mapped and run; see the module's doc")]
        let loaded = unsafe { Component::deserialize_file(engine, &path) };
        loaded.inspect_err(|e| tracing::warn!("{} is not used: {e:#}", path.display())).ok()
    }

    /// Whether nobody else can have put a file there.
    fn is_ours(&self, file: &Path) -> bool {
        [self.dir.as_path(), file].into_iter().all(|path| {
            let private = is_private(path);
            if !private {
                tracing::warn!(
                    "compiled code in {} is not used: others own {} or can write to it",
                    self.dir.display(),
                    path.display()
                );
            }
            private
        })
    }

    /// Stores compiled code. Failing to is no failure: it costs time.
    pub(super) fn store(&self, code: &[u8], digest: &str) {
        let stored = self.try_store(code, digest);
        if let Err(error) = stored {
            tracing::warn!("compiled code is not cached in {}: {error:#}", self.dir.display());
        }
    }

    fn try_store(&self, code: &[u8], digest: &str) -> anyhow::Result<()> {
        make_private_dir(&self.dir)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(code)?;
        file.persist(self.path(digest))?;
        Ok(())
    }
}

/// Whether something is ours, and only we can write to it.
fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    const OTHERS_WRITE: u32 = 0o022;
    std::fs::metadata(path).is_ok_and(|metadata| {
        metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & OTHERS_WRITE == 0
    })
}

/// Makes a directory for its owner only, with those above it, if it is not there.
///
/// # Errors
/// As the system says.
pub fn make_private_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// `Hasher` over blake3, since the standard one may change between releases.
mod blake3_hasher {
    #[derive(Default)]
    pub(super) struct Blake3Hasher(blake3::Hasher);

    impl std::hash::Hasher for Blake3Hasher {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            let (first, _) = self
                .0
                .finalize()
                .as_bytes()
                .split_first_chunk::<8>()
                .map_or(([0; 8], ()), |(f, _)| (*f, ()));
            u64::from_le_bytes(first)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn of_those_who_compile_the_same_at_the_same_time_one_does_and_the_others_find_it() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let code = engine.precompile_component(&wat::parse_str("(component)").unwrap()).unwrap();
        let cache = CompiledCache::new(dir.path(), &engine);
        let compiled = std::sync::atomic::AtomicU32::new(0);
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    let _turn = cache.turn("digest");
                    if cache.load(&engine, "digest").is_none() {
                        compiled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        cache.store(&code, "digest");
                    }
                });
            }
        });
        assert_eq!(compiled.into_inner(), 1);
        // One that is over stands in nobody's way, nor does another artifact.
        let _other = cache.turn("other");
        drop(cache.turn("digest"));
    }

    #[test]
    fn code_that_others_could_have_written_is_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let code = engine.precompile_component(&wat::parse_str("(component)").unwrap()).unwrap();
        let cache = CompiledCache::new(dir.path(), &engine);
        cache.store(&code, "digest");
        assert!(cache.load(&engine, "digest").is_some());
        let (file, dir) = (cache.path("digest"), cache.dir.clone());
        for path in [file, dir] {
            let before = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
            assert!(cache.load(&engine, "digest").is_none(), "{}", path.display());
            fs::set_permissions(&path, before).unwrap();
        }
        assert!(cache.load(&engine, "digest").is_some());
    }
}

//! Compiled code on disk, by the artifact's digest and the engine's settings.
//!
//! wasmtime maps such a file and runs it as it is, so whoever can write to the
//! cache directory can run code as us. The directory is made for its owner
//! only, and a file is renamed into place when it is whole.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use wasmtime::{Engine, component::Component};

/// A directory of compiled components.
#[derive(Debug)]
pub(super) struct CompiledCache {
    dir: PathBuf,
}

impl CompiledCache {
    /// Uses a directory, which is created when the first file is stored. Code
    /// that another engine version or other settings compiled lies elsewhere.
    pub(super) fn new(dir: &Path, engine: &Engine) -> Self {
        use std::hash::{Hash, Hasher};
        let mut hasher = blake3_hasher::Blake3Hasher::default();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self { dir: dir.join(format!("{:016x}", hasher.finish())) }
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}.cwasm"))
    }

    /// The compiled component, if it is there and fits. A file that does not
    /// is as good as none: it will be replaced.
    pub(super) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(digest);
        if !path.is_file() {
            return None;
        }
        // SAFETY: the file was written by `store` below, under a name that
        // depends on the engine's settings, in a directory that only its owner
        // can write to; wasmtime checks the header and version on top of that.
        #[expect(unsafe_code, reason = "compiled code is mapped and run; see the module's doc")]
        let loaded = unsafe { Component::deserialize_file(engine, &path) };
        loaded.inspect_err(|e| tracing::warn!("{} is not used: {e:#}", path.display())).ok()
    }

    /// Stores a compiled component. Failing to is no failure: it costs time.
    pub(super) fn store(&self, component: &Component, digest: &str) {
        let stored = self.try_store(component, digest);
        if let Err(error) = stored {
            tracing::warn!("compiled code is not cached in {}: {error:#}", self.dir.display());
        }
    }

    fn try_store(&self, component: &Component, digest: &str) -> anyhow::Result<()> {
        create_private_dir(&self.dir)?;
        let bytes = component.serialize()?;
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(&bytes)?;
        file.persist(self.path(digest))?;
        Ok(())
    }
}

fn create_private_dir(dir: &Path) -> std::io::Result<()> {
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

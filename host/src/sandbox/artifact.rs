//! A component that was checked against the contract, and is ready to be
//! instantiated.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::component::{
    Component, ComponentExportIndex, InstancePre, Linker, types::ComponentItem,
};

use crate::{
    config::job::Grant,
    ids::Hex,
    sandbox::{
        capabilities::{self, SlotState},
        compile,
        engine::{Metering, Sandbox},
        guest_log,
        memory_snapshot::{self, MemoryExports, PageWatch},
        wasi,
    },
};

/// The contract, as interfaces name it.
pub const CONTRACT: &str = "cofferdam:operator@0.1.0";
/// The package that the contract's interfaces belong to.
const PACKAGE: &str = "cofferdam:operator";
/// Its version, which compatible ones answer to.
const VERSION: &str = "0.1.0";
/// The largest component that is accepted, in bytes.
pub const MAX_ARTIFACT: usize = 64 * 1024 * 1024;
/// How many of a component's names a refusal shows, and how much of each: they
/// are the uploader's to choose.
const MAX_SHOWN_NAMES: usize = 8;
const MAX_SHOWN_NAME: usize = 256;

/// What wasmtime said, which may quote the component.
fn said(error: &wasmtime::Error) -> String {
    guest_log::shown(&format!("{error:#}")).into_owned()
}

/// Which of the two kinds of operator a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorKind {
    /// Exports `processor`.
    Processor {
        /// Exports `snapshot` too.
        snapshot: bool,
    },
    /// Exports `keyed-processor`.
    Keyed {
        /// Exports `session-merge` too.
        merge: bool,
    },
}

/// Why a component was refused.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not a component.
    #[error("it is {0}, not a WebAssembly component")]
    NotAComponent(&'static str),
    /// It is a core module that does not say how to make a component of it.
    #[error("{0}")]
    CoreModule(String),
    /// It is larger than [`MAX_ARTIFACT`].
    #[error("it has {size} bytes, more than the {limit} that are accepted")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// wasmtime cannot validate or compile it.
    #[error("it is not valid WebAssembly for this host: {0}")]
    Invalid(String),
    /// Compiling it takes more than an upload may take.
    #[error(
        "compiling it {what}, and may take {time:?} and {} MiB; make its functions smaller, or split it",
        memory >> 20
    )]
    TooCostly {
        /// What was too much.
        what: String,
        /// Bytes that it may take.
        memory: u64,
        /// Time that it may take.
        time: Duration,
    },
    /// The compiler does not run. That is not the component's fault.
    #[error("the compiler does not run: {0}")]
    NoCompiler(String),
    /// It exports neither kind of operator, or both.
    #[error(
        "it must export either `{PACKAGE}/processor@{VERSION}` or \
         `{PACKAGE}/keyed-processor@{VERSION}`, but it exports {found}"
    )]
    NoOperator {
        /// What it exports.
        found: String,
    },
    /// An interface that it exports lacks a function.
    #[error("it exports `{PACKAGE}/{interface}@{VERSION}` without its function `{name}`")]
    MissingFunction {
        /// Which interface.
        interface: &'static str,
        /// Which function.
        name: &'static str,
    },
    /// It wants something that it was not granted.
    #[error("it imports `{import}`, which is not granted{hint}")]
    NotGranted {
        /// The import's name.
        import: String,
        /// What to write into the job file, if anything helps.
        hint: &'static str,
    },
    /// Its memory is to be saved, and cannot be.
    #[error("its memory cannot be saved (`state = \"memory\"`): {0}")]
    MemoryNotSaved(memory_snapshot::Refused),
    /// It does not fit in some other way, such as a function of a wrong type.
    #[error("it does not fit the contract: {0}")]
    Mismatch(String),
}

/// A component that was checked, compiled and linked.
#[derive(Clone)]
pub struct Artifact {
    pub(super) pre: InstancePre<SlotState>,
    pub(super) exports: Exports,
    /// Access to its memory, if that is to be saved.
    pub(super) memory: Option<Arc<MemoryExports>>,
    /// How what changed of it is found.
    pub(super) watch: Option<Arc<PageWatch>>,
    /// Whether its code counts fuel.
    pub(super) fuel: bool,
    kind: OperatorKind,
    digest: String,
    size: usize,
}

impl std::fmt::Debug for Artifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Artifact")
            .field("kind", &self.kind)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Where a component's functions are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Exports {
    Processor {
        open: ComponentExportIndex,
        process: ComponentExportIndex,
        finish: ComponentExportIndex,
        snapshot: Option<(ComponentExportIndex, ComponentExportIndex)>,
    },
    Keyed {
        open: ComponentExportIndex,
        fold: ComponentExportIndex,
        fire: ComponentExportIndex,
        merge: Option<ComponentExportIndex>,
        check: Option<ComponentExportIndex>,
    },
}

impl Artifact {
    /// Which kind of operator it is.
    #[must_use]
    pub fn kind(&self) -> OperatorKind {
        self.kind
    }

    /// The SHA-256 digest of its bytes, in hexadecimal: what identifies it.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many bytes it has, as it was uploaded.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }
}

/// The SHA-256 digest of an artifact's bytes, in hexadecimal.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    Hex(&Sha256::digest(bytes)).to_string()
}

impl Sandbox {
    /// Checks and compiles a component, or takes its code from the cache.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong with it.
    pub fn load(&self, bytes: &[u8], grants: &[Grant]) -> Result<Artifact, LoadError> {
        check_header(bytes)?;
        let digest = digest_of(bytes);
        let component = self.compiled(bytes, &digest)?;
        self.link(&component, (digest, bytes.len()), grants, None)
    }

    /// As [`load`](Self::load), for instances whose memory is saved.
    ///
    /// # Errors
    /// As [`load`](Self::load), and if there is more to an instance than its memory and
    /// its globals, with every reason.
    pub fn load_saving_memory(
        &self,
        bytes: &[u8],
        grants: &[Grant],
    ) -> Result<Artifact, LoadError> {
        check_header(bytes)?;
        let rewritten = memory_snapshot::rewrite(bytes).map_err(LoadError::MemoryNotSaved)?;
        check_header(&rewritten.bytes)?;
        // What is compiled is another component, and it is another one again when what
        // is added to it changes.
        let component = self.compiled(&rewritten.bytes, &digest_of(&rewritten.bytes))?;
        let memory = MemoryExports::find(&component, &rewritten).ok_or_else(|| {
            LoadError::Mismatch("the access to its memory that was added is not there".to_owned())
        })?;
        let own = (digest_of(bytes), bytes.len());
        self.link(&component, own, grants, Some(Arc::new(memory)))
    }

    /// Compiles a component, or takes its code from the cache.
    pub(super) fn compiled(&self, bytes: &[u8], digest: &str) -> Result<Component, LoadError> {
        let known = || self.cache.as_ref().and_then(|cache| cache.load(&self.engine, digest));
        if let Some(component) = known() {
            return Ok(component);
        }
        let _turn = self.cache.as_ref().map(|cache| cache.turn(digest));
        if let Some(component) = known() {
            return Ok(component);
        }
        let code = self.compiler.compile(self, bytes)?;
        if let Some(cache) = &self.cache {
            cache.store(&code, digest);
        }
        compile::load_compiled(&self.engine, &code)
    }

    fn link(
        &self,
        component: &Component,
        (digest, size): (String, usize),
        grants: &[Grant],
        memory: Option<Arc<MemoryExports>>,
    ) -> Result<Artifact, LoadError> {
        let exports = find_exports(component)?
            .ok_or_else(|| LoadError::NoOperator { found: self.export_names(component) })?;
        let mut linker = Linker::new(&self.engine);
        capabilities::link(&mut linker, grants).map_err(|e| LoadError::Mismatch(said(&e)))?;
        self.check_imports(component, grants)?;
        let pre = linker.instantiate_pre(component).map_err(|e| LoadError::Mismatch(said(&e)))?;
        let kind = match exports {
            Exports::Processor { snapshot, .. } => {
                OperatorKind::Processor { snapshot: snapshot.is_some() }
            }
            Exports::Keyed { merge, .. } => OperatorKind::Keyed { merge: merge.is_some() },
        };
        let fuel = self.metering == Metering::Fuel;
        let watch = self.watch.clone();
        Ok(Artifact { pre, exports, memory, watch, fuel, kind, digest, size })
    }

    /// Interfaces that hold functions must have been granted; those of types
    /// alone need nothing.
    fn check_imports(&self, component: &Component, grants: &[Grant]) -> Result<(), LoadError> {
        for (name, item) in component.component_type().imports(&self.engine) {
            let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
            let functions = instance
                .exports(&self.engine)
                .any(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
            if functions && !is_granted(name, grants) {
                return Err(LoadError::NotGranted {
                    import: guest_log::shown_up_to(name, MAX_SHOWN_NAME).into_owned(),
                    hint: hint_for(name),
                });
            }
        }
        Ok(())
    }

    fn export_names(&self, component: &Component) -> String {
        let component = component.component_type();
        let mut names: Vec<_> = component
            .exports(&self.engine)
            .take(MAX_SHOWN_NAMES)
            .map(|(name, _)| format!("`{}`", guest_log::shown_up_to(name, MAX_SHOWN_NAME)))
            .collect();
        let more = component.exports(&self.engine).len().saturating_sub(MAX_SHOWN_NAMES);
        if more > 0 {
            names.push(format!("{more} more"));
        }
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    }
}

fn is_granted(import: &str, grants: &[Grant]) -> bool {
    if import.starts_with("wasi:") {
        return wasi::is_granted(import, grants);
    }
    let interface = import.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/'));
    let grant = match interface.and_then(|rest| rest.split('@').next()) {
        Some("log") => Grant::Log,
        Some("config") => Grant::Config,
        Some("metrics") => Grant::Metrics,
        _ => return false,
    };
    grants.contains(&grant)
}

fn hint_for(import: &str) -> &'static str {
    if import.starts_with("wasi:") {
        wasi::hint_for(import)
    } else if import.starts_with(PACKAGE) {
        "; add it to the operator's `grants` to allow it"
    } else {
        ", and nothing of that name can be: the contract is in `wit/`"
    }
}

fn check_header(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.len() > MAX_ARTIFACT {
        return Err(LoadError::TooLarge { size: bytes.len(), limit: MAX_ARTIFACT });
    }
    match bytes.get(..8) {
        Some(b"\0asm\x0d\0\x01\0") => Ok(()),
        Some(b"\0asm\x01\0\0\0") => Err(LoadError::NotAComponent(
            "a core module (make a component of it with `wasm-tools component new`)",
        )),
        Some([0, b'a', b's', b'm', ..]) => {
            Err(LoadError::NotAComponent("WebAssembly of a version that this host does not know"))
        }
        _ => Err(LoadError::NotAComponent("some other file")),
    }
}

/// Where the operator's functions are; nothing if it exports neither kind of
/// operator, or both.
fn find_exports(component: &Component) -> Result<Option<Exports>, LoadError> {
    let processor = interface(component, "processor");
    let keyed = interface(component, "keyed-processor");
    Ok(match (processor, keyed) {
        (Some(at), None) => {
            let function = |name| function(component, &at, "processor", name);
            Some(Exports::Processor {
                open: function("open")?,
                process: function("process")?,
                finish: function("finish")?,
                snapshot: find_snapshot(component)?,
            })
        }
        (None, Some(at)) => {
            let function = |name| function(component, &at, "keyed-processor", name);
            Some(Exports::Keyed {
                open: function("open")?,
                fold: function("fold")?,
                fire: function("fire")?,
                merge: find_merge(component)?,
                check: find_check(component)?,
            })
        }
        _ => None,
    })
}

type Found<T> = Result<Option<T>, LoadError>;

fn find_snapshot(component: &Component) -> Found<(ComponentExportIndex, ComponentExportIndex)> {
    let Some(at) = interface(component, "snapshot") else { return Ok(None) };
    let function = |name| function(component, &at, "snapshot", name);
    Ok(Some((function("snapshot")?, function("restore")?)))
}

fn find_check(component: &Component) -> Found<ComponentExportIndex> {
    let Some(at) = interface(component, "state-check") else { return Ok(None) };
    function(component, &at, "state-check", "check").map(Some)
}

fn find_merge(component: &Component) -> Found<ComponentExportIndex> {
    let Some(at) = interface(component, "session-merge") else { return Ok(None) };
    function(component, &at, "session-merge", "merge").map(Some)
}

fn interface(component: &Component, name: &str) -> Option<ComponentExportIndex> {
    component.get_export_index(None, format!("{PACKAGE}/{name}@{VERSION}").as_str())
}

fn function(
    component: &Component,
    at: &ComponentExportIndex,
    interface: &'static str,
    name: &'static str,
) -> Result<ComponentExportIndex, LoadError> {
    let found = component.get_export_index(Some(at), name);
    found.ok_or(LoadError::MissingFunction { interface, name })
}

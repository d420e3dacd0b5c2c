//! Core modules as components. What compilers and wit-bindgen leave is a core module that says in
//! sections of its own which interfaces it exports and imports; wrapping it is what every build of
//! an operator ends with. It is done here for those who upload the module, in the compiler's
//! child, since it reads whatever the uploader has made. A module without such sections is refused
//! with what to do.
//!
//! Who builds an operator here ([`component_of`]) knows more than who uploads one: the world that
//! the module is of, and what is to answer WASI as it was before components (`preview1`).

use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageId, Resolve, SourceMap};

use super::{Sandbox, artifact::LoadError, guest_log, preview1};
pub use preview1::Preview1;

/// The contract as this program knows it: the files of `wit/`, each with its name and its text.
pub const CONTRACT_WIT: [(&str, &str); 4] = [
    ("capabilities.wit", include_str!("../../../wit/capabilities.wit")),
    ("operators.wit", include_str!("../../../wit/operators.wit")),
    ("types.wit", include_str!("../../../wit/types.wit")),
    ("world.wit", include_str!("../../../wit/world.wit")),
];

/// What the sections are called, or begin with, that wit-bindgen makes.
const SECTION: &str = "component-type";
/// What modules import that were built for WASI as it was before components.
const OLD_WASI: &str = "wasi_snapshot_preview1";

/// Whether it is a core module, by its first bytes.
#[must_use]
pub fn is_core_module(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x01\0\0\0")
}

impl Sandbox {
    /// A core module as a component; none if it is no core module.
    ///
    /// # Errors
    /// If it does not say what it exports and imports, or it does not do what it says.
    pub fn componentize(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, LoadError> {
        if !is_core_module(bytes) {
            return Ok(None);
        }
        let said = Said::of(bytes);
        if !said.of_components {
            return Err(LoadError::CoreModule(said.what_to_do()));
        }
        self.compiler.componentize(self, bytes).map(Some)
    }
}

/// How a core module that was built here becomes a component.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<'a> {
    /// The world that it is of, if nothing in it says so: one of `wit`, such as
    /// `processor-operator`.
    pub world: &'a str,
    /// The WIT of the contract that it was built against, each file with its name and its text;
    /// [`CONTRACT_WIT`], unless it is an older one.
    pub wit: &'a [(&'a str, &'a str)],
    /// What answers its imports of `wasi_snapshot_preview1`, if it has any.
    pub preview1: Preview1,
}

/// Makes a component of a core module that was built here: in this process and without limits,
/// since its author is who runs this program.
///
/// # Errors
/// If there is no such world, or the module has not got the exports of its world, or imports
/// something else.
pub fn component_of(module: &[u8], recipe: &Recipe<'_>) -> Result<Vec<u8>, LoadError> {
    let refused = |error: anyhow::Error| {
        let said = format!("no component can be made of the core module: {error:#}");
        LoadError::CoreModule(guest_log::shown(&said).into_owned())
    };
    let mut module = module.to_vec();
    if !Said::of(&module).of_components {
        embed(&mut module, recipe).map_err(refused)?;
    }
    let encoder = if preview1::is_imported_by(&module) {
        preview1::encoder(&module, recipe.preview1)
    } else {
        ComponentEncoder::default().module(&module)
    };
    encoder.and_then(|encoder| encoder.validate(true).encode()).map_err(refused)
}

/// The contract's interfaces of which a core module exports something, as `processor`: by the names
/// that its exports have in the canonical ABI. None if it cannot be read.
#[must_use]
pub fn interfaces_of(module: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(module).map_while(Result::ok) {
        let Payload::ExportSection(exports) = payload else { continue };
        for export in exports.into_iter().map_while(Result::ok) {
            let name = export.name.strip_prefix("cofferdam:operator/");
            let interface = name.and_then(|name| name.split(['@', '#']).next()).unwrap_or_default();
            if !interface.is_empty() && !found.iter().any(|known| known == interface) {
                found.push(interface.to_owned());
            }
        }
    }
    found
}

/// Adds the section that says which world a module is of.
fn embed(module: &mut Vec<u8>, recipe: &Recipe<'_>) -> anyhow::Result<()> {
    let (resolve, package) = resolved(recipe.wit)?;
    let world = resolve.select_world(&[package], Some(recipe.world))?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8)
}

/// The contract of this program.
pub(super) fn contract() -> anyhow::Result<(Resolve, PackageId)> {
    resolved(&CONTRACT_WIT)
}

fn resolved(wit: &[(&str, &str)]) -> anyhow::Result<(Resolve, PackageId)> {
    let mut files = SourceMap::default();
    wit.iter().for_each(|(name, text)| files.push_str(name, *text));
    let group = files.parse().map_err(|(files, error)| {
        anyhow::anyhow!("the WIT cannot be read: {}", error.render(&files))
    })?;
    let mut resolve = Resolve::default();
    let package = resolve.push_group(group)?;
    Ok((resolve, package))
}

/// Wraps a core module.
///
/// # Errors
/// In words.
pub(super) fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let encoder = ComponentEncoder::default().module(module);
    let encoded = encoder.and_then(|encoder| encoder.validate(true).encode());
    encoded.map_err(|error| {
        let help = if Said::of(module).old_wasi { BUILD_FOR_P2 } else { "" };
        format!("no component can be made of the core module: {error:#}{help}")
    })
}

const BUILD_FOR_P2: &str = "; it imports `wasi_snapshot_preview1`, of WASI before components: build it \
                            for `wasm32-wasip2`, or for `wasm32-unknown-unknown`";

/// What a module says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    /// Which interfaces it exports and imports.
    of_components: bool,
    old_wasi: bool,
}

impl Said {
    /// As far as it can be read.
    fn of(module: &[u8]) -> Self {
        let mut said = Self::default();
        for payload in Parser::new(0).parse_all(module).map_while(Result::ok) {
            match payload {
                Payload::CustomSection(section) => {
                    said.of_components |= section.name().starts_with(SECTION);
                }
                Payload::ImportSection(imports) => {
                    let imports = imports.into_imports().map_while(Result::ok);
                    said.old_wasi |= imports.take(10_000).any(|import| import.module == OLD_WASI);
                }
                _ => {}
            }
        }
        said
    }

    fn what_to_do(&self) -> String {
        let old_wasi = if self.old_wasi { BUILD_FOR_P2 } else { "" };
        format!(
            "it is a core module, and nothing in it says what it exports and imports (the section \
             `{SECTION}`, which wit-bindgen and the SDK write): build it with one of them, or say it \
             with `wasm-tools component embed --world processor-operator wit module.wasm -o \
             embedded.wasm`, where `wit` is the contract's directory, and upload that{old_wasi}"
        )
    }
}

#[cfg(test)]
pub(in crate::sandbox) mod tests {
    use super::*;
    use crate::sandbox::SandboxConfig;

    /// As wit-bindgen and others do it.
    pub(in crate::sandbox) fn embed_for_tests(module: &mut Vec<u8>, world: &str) {
        let recipe = Recipe { world, wit: &CONTRACT_WIT, preview1: Preview1::Stub };
        embed(module, &recipe).unwrap();
    }

    #[test]
    fn a_module_that_says_nothing_of_components_is_refused_with_what_to_do() {
        let sandbox = Sandbox::new(&SandboxConfig::uncached(1)).unwrap();
        let wat = r#"(module (import "wasi_snapshot_preview1" "x" (func)))"#;
        let error = sandbox.componentize(&wat::parse_str(wat).unwrap()).unwrap_err().to_string();
        for part in ["`component-type`", "wasm-tools component embed", "wasm32-wasip2"] {
            assert!(error.contains(part), "{error}");
        }
        let plain = sandbox.componentize(&wat::parse_str("(module)").unwrap()).unwrap_err();
        assert!(!plain.to_string().contains("wasip2"), "{plain}");
        assert!(sandbox.componentize(&wat::parse_str("(component)").unwrap()).unwrap().is_none());
        assert!(sandbox.componentize(b"").unwrap().is_none());
    }

    #[test]
    fn interfaces_are_known_by_the_names_of_exports() {
        let wat = r#"(module (func)
            (export "cofferdam:operator/processor@0.1.0#open" (func 0))
            (export "cofferdam:operator/processor@0.1.0#process" (func 0))
            (export "cofferdam:operator/snapshot@0.1.0#restore" (func 0))
            (export "cabi_post_cofferdam:operator/log@0.1.0#x" (func 0))
            (export "memory" (func 0)))"#;
        assert_eq!(interfaces_of(&wat::parse_str(wat).unwrap()), ["processor", "snapshot"]);
        assert_eq!(interfaces_of(b"nonsense").len(), 0);
    }

    #[test]
    fn a_module_that_lies_about_itself_is_refused() {
        let sandbox = Sandbox::new(&SandboxConfig::uncached(1)).unwrap();
        for wat in [
            r#"(module (@custom "component-type" "nonsense"))"#,
            r#"(module (@custom "component-type:x" ""))"#,
        ] {
            let error = sandbox.componentize(&wat::parse_str(wat).unwrap()).unwrap_err();
            assert!(error.to_string().contains("no component can be made"), "{error}");
        }
    }
}

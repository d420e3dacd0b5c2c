//! Core modules as components. What compilers and wit-bindgen leave is a core module that says in
//! sections of its own which interfaces it exports and imports; wrapping it is what every build of
//! an operator ends with. It is done here for those who upload the module, in the compiler's
//! child, since it reads whatever the uploader has made. A module without such sections is refused
//! with what to do.

use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use super::{Sandbox, artifact::LoadError};

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
mod tests {
    use super::*;
    use crate::sandbox::SandboxConfig;

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

//! The promise of the contract: a component that was built against a published
//! version goes on loading. `tests/fixtures/contract-VERSION` holds one of each
//! kind, as they were built when the version was published.

use std::path::PathBuf;

use crate::{
    config::job::Grant,
    sandbox::{OperatorKind, Sandbox, SandboxConfig},
};

const GRANTS: [Grant; 3] = [Grant::Log, Grant::Config, Grant::Metrics];

fn sandbox() -> Sandbox {
    Sandbox::new(&SandboxConfig::uncached(4)).unwrap()
}

#[test]
fn components_built_against_every_published_contract_go_on_loading() {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let sandbox = sandbox();
    for version in ["0.1.0"] {
        for (name, kind) in [
            ("identity", OperatorKind::Processor { snapshot: false }),
            ("stateful-count", OperatorKind::Processor { snapshot: true }),
            ("sessionize", OperatorKind::Keyed { merge: true }),
        ] {
            let path = fixtures.join(format!("contract-{version}/{name}.wasm"));
            let loaded = sandbox.load(&std::fs::read(&path).unwrap(), &GRANTS);
            assert_eq!(loaded.unwrap().kind(), kind, "{version} {name}");
        }
    }
}

#[test]
fn what_is_no_operator_is_refused_in_words() {
    let sandbox = sandbox();
    let refusal = |bytes: &[u8]| sandbox.load(bytes, &GRANTS).unwrap_err().to_string();
    let component = |text: &str| wat::parse_str(text).unwrap();
    assert!(refusal(b"#!/bin/sh").contains("some other file"));
    assert!(refusal(&component("(module)")).contains("a core module"));
    assert!(refusal(&component("(component)")).contains("it exports nothing"));
    assert!(refusal(b"\0asm\x0d\0\x01\0garbage").contains("not valid WebAssembly"));
    let large = [b"\0asm\x0d\0\x01\0".to_vec(), vec![0; super::artifact::MAX_ARTIFACT]].concat();
    assert!(refusal(&large).contains("more than the"));
}

#[test]
fn an_import_that_is_not_granted_is_refused_by_its_name() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/contract-0.1.0/identity.wasm");
    let bytes = std::fs::read(path).unwrap();
    let refused = sandbox().load(&bytes, &[Grant::Config]).unwrap_err().to_string();
    assert!(
        refused.contains("cofferdam:operator/") && refused.contains("which is not granted"),
        "{refused}"
    );
}

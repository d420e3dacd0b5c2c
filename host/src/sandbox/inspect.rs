//! What can be said of a component without running it: what it exports, what it asks for, and
//! whether its memory could be saved. For people who upload one; whether it is taken is
//! `artifact`'s.

use wasmtime::component::types::ComponentItem;
use wit_component::DecodedWasm;
use wit_parser::WorldItem;

use super::{
    Sandbox,
    artifact::{Artifact, CONTRACT, LoadError, OperatorKind, digest_of},
    guest_log, memory_snapshot,
    producers::Producers,
};

/// How many interfaces are told of each kind, and how much of a name: a component may have any
/// number of them, of any length.
const MOST_NAMES: usize = 100;
const LONGEST_NAME: usize = 200;

/// What is known of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The contract that it was built for.
    pub contract: &'static str,
    /// Which kind of operator it is.
    pub kind: OperatorKind,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// The interfaces with functions that it imports.
    pub imports: Vec<String>,
    /// Why its memory cannot be saved without its help; nothing if it can.
    pub memory_not_saved_because: Vec<String>,
    /// What it says it was made with.
    pub producers: Producers,
}

/// Looks at a component without compiling it: at one of ours, which is known to fit the contract.
///
/// # Errors
/// In words, if it is no operator.
pub fn without_compiling(bytes: &[u8]) -> Result<Inspection, String> {
    let decoded = wit_component::decode(bytes).map_err(|error| format!("{error:#}"))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err("it is no component".to_owned());
    };
    let world = &resolve.worlds[world];
    let exports: Vec<_> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    let has_functions = |item: &WorldItem| match item {
        WorldItem::Interface { id, .. } => !resolve.interfaces[*id].functions.is_empty(),
        _ => false,
    };
    let imports = world.imports.iter().filter(|(_, item)| has_functions(item));
    let imports = imports.map(|(key, _)| resolve.name_world_key(key)).collect();
    let has = |interface: &str| {
        let (package, version) = CONTRACT.split_once('@').unwrap_or((CONTRACT, ""));
        exports.contains(&format!("{package}/{interface}@{version}"))
    };
    let kind = match (has("processor"), has("keyed-processor")) {
        (true, false) => OperatorKind::Processor { snapshot: has("snapshot") },
        (false, true) => OperatorKind::Keyed { merge: has("session-merge") },
        _ => return Err("it is neither kind of operator".to_owned()),
    };
    Ok(Inspection {
        contract: CONTRACT,
        kind,
        exports,
        imports,
        memory_not_saved_because: why_not_saved(bytes),
        producers: Producers::of(bytes),
    })
}

fn why_not_saved(bytes: &[u8]) -> Vec<String> {
    match memory_snapshot::rewrite(bytes) {
        Ok(_) => Vec::new(),
        Err(refused) => refused
            .reasons
            .iter()
            .take(MOST_NAMES)
            .map(|reason| format!("{}: {}", reason.place, reason.why))
            .collect(),
    }
}

impl Sandbox {
    /// Looks at a component that was loaded.
    ///
    /// # Errors
    /// If it has to be compiled again, and cannot be.
    pub fn inspect(&self, artifact: &Artifact, bytes: &[u8]) -> Result<Inspection, LoadError> {
        let component = self.compiled(bytes, &digest_of(bytes))?;
        let ty = component.component_type();
        let shown = |name: &str| guest_log::shown_up_to(name, LONGEST_NAME).into_owned();
        let exports = ty.exports(&self.engine).map(|(name, _)| shown(name));
        let imports = ty.imports(&self.engine).filter_map(|(name, item)| {
            let ComponentItem::ComponentInstance(instance) = item.ty else { return None };
            let is_function = |item: ComponentItem| matches!(item, ComponentItem::ComponentFunc(_));
            instance
                .exports(&self.engine)
                .any(|(_, item)| is_function(item.ty))
                .then(|| shown(name))
        });
        Ok(Inspection {
            contract: CONTRACT,
            kind: artifact.kind(),
            exports: exports.take(MOST_NAMES).collect(),
            imports: imports.take(MOST_NAMES).collect(),
            memory_not_saved_because: why_not_saved(bytes),
            producers: Producers::of(bytes),
        })
    }
}

//! What start functions of core modules do: they run again in the fresh instance
//! that a snapshot is restored into. What they do to memory is undone by that; what
//! they do outside is not, so they may call nothing outside.
//!
//! Calls are followed through all modules of a component. A call that names no
//! function may go to any function that a reference was taken of.

use std::collections::HashSet;

use super::{
    component::{CoreFunction, CoreInstance, Level},
    module::CoreModule,
    reasons::{Reasons, Why, shown},
};

/// A function of an instance.
type At = (u32, u32);

/// Adds a reason for each instance whose start function calls what is outside.
pub(super) fn check(level: &Level, reasons: &mut Reasons) {
    for (instance, index) in level.core_instances.iter().zip(0..) {
        let CoreInstance::Of(Some(module), _) = instance else { continue };
        let Some(start) = module.start else { continue };
        let mut search = Search { level, seen: HashSet::new(), next: vec![(index, start)] };
        if let Some(outside) = search.run() {
            reasons.add(&module.place, Why::StartCallsImport(outside));
        }
    }
}

struct Search<'a> {
    level: &'a Level,
    seen: HashSet<At>,
    next: Vec<At>,
}

impl<'a> Search<'a> {
    /// The first way out that is found, in words.
    fn run(&mut self) -> Option<String> {
        let mut indirect = false;
        while let Some(at) = self.next.pop() {
            if !self.seen.insert(at) {
                continue;
            }
            let Some(module) = self.module(at.0) else {
                return Some("a module that is not known".to_owned());
            };
            if let Some((from, name)) = module.imports.get(at.1 as usize) {
                // Tools that make components leave the names of what they put between empty.
                let what = match (shown(from), shown(name)) {
                    (from, _) if from.is_empty() => "a function of the host's".to_owned(),
                    (from, name) => format!("`{name}` of `{from}`"),
                };
                match self.resolve(at.0, from, name) {
                    Some(found) => self.next.push(found),
                    None => return Some(what),
                }
                continue;
            }
            let Some(code) = module.function(at.1) else { continue };
            self.next.extend(code.calls.iter().map(|function| (at.0, *function)));
            if code.indirect && !indirect {
                indirect = true;
                self.all_taken();
            }
        }
        None
    }

    fn module(&self, instance: u32) -> Option<&'a CoreModule> {
        match self.level.core_instances.get(instance as usize)? {
            CoreInstance::Of(module, _) => module.as_deref(),
            CoreInstance::Bundle(_) => None,
        }
    }

    /// Every function that a reference was taken of.
    fn all_taken(&mut self) {
        for (instance, index) in self.level.core_instances.iter().zip(0..) {
            if let CoreInstance::Of(Some(module), _) = instance {
                self.next.extend(module.taken.iter().map(|function| (index, *function)));
            }
        }
    }

    /// The function behind an import, if it is one of a module.
    fn resolve(&self, importer: u32, from: &str, name: &str) -> Option<At> {
        let CoreInstance::Of(_, arguments) = self.level.core_instances.get(importer as usize)?
        else {
            return None;
        };
        let (mut instance, mut name) = (*arguments.get(from)?, name);
        // Each step goes to an instance that was made before, so that there are no more.
        for _ in 0..=self.level.core_instances.len() {
            match self.level.core_instances.get(instance as usize)? {
                CoreInstance::Of(module, _) => {
                    return Some((instance, *module.as_ref()?.exports.get(name)?));
                }
                CoreInstance::Bundle(functions) => {
                    let function = *functions.get(name)? as usize;
                    match self.level.core_functions.get(function)? {
                        CoreFunction::Export(of, called) => (instance, name) = (*of, called),
                        CoreFunction::Outside => return None,
                    }
                }
            }
        }
        None
    }
}

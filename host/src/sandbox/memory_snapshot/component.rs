//! A component, level by level: what is instantiated in it, and the component again
//! with access to all of that.

use std::{collections::HashMap, rc::Rc};

use wasm_encoder::{Component, RawSection};
use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, ComponentAlias,
    ComponentAliasSectionReader, ComponentCanonicalSectionReader, ComponentExportSectionReader,
    ComponentExternalKind, ComponentImportSectionReader, ComponentInstance,
    ComponentInstanceSectionReader, ComponentOuterAliasKind, ComponentType, ComponentTypeRef,
    ComponentTypeSectionReader, ExternalKind, Instance, InstanceSectionReader,
};

use super::{
    accessor,
    module::CoreModule,
    reasons::{Reasons, Why},
    shape::Shape,
    starts,
};
use crate::sandbox::sections::{in_component as id, sections};

/// How deep components may be nested: far deeper than any tool makes them.
const MAX_DEPTH: usize = 16;

/// A core instance.
#[derive(Debug)]
pub(super) enum CoreInstance {
    /// Of a module, with the instances that its imports come from, by name.
    Of(Option<Rc<CoreModule>>, HashMap<String, u32>),
    /// Put together of items; those that are functions, by name.
    Bundle(HashMap<String, u32>),
}

/// Where a core function comes from.
#[derive(Debug)]
pub(super) enum CoreFunction {
    /// A core instance exports it under this name.
    Export(u32, String),
    /// It leads out of the component, or into the host.
    Outside,
}

/// A component that was read.
#[derive(Debug)]
pub(super) struct Nested {
    pub(super) bytes: Vec<u8>,
    pub(super) shape: Rc<Shape>,
}

/// The index spaces of a component, as far as they matter; of the others, their length.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) modules: Vec<Option<Rc<CoreModule>>>,
    pub(super) core_instances: Vec<CoreInstance>,
    pub(super) core_functions: Vec<CoreFunction>,
    pub(super) core_memories: u32,
    pub(super) core_globals: u32,
    pub(super) components: Vec<Option<Rc<Nested>>>,
    /// What is nested in each instance.
    pub(super) instances: Vec<Option<Rc<Shape>>>,
    pub(super) functions: u32,
    pub(super) types: u32,
}

/// Reads and rewrites a component. What cannot be saved is told to `reasons`.
pub(super) fn read(bytes: &[u8], reasons: &mut Reasons) -> Result<Nested, BinaryReaderError> {
    Walk { outer: Vec::new(), reasons }.component(bytes, String::new())
}

struct Walk<'r> {
    /// The components around the one that is read.
    outer: Vec<Level>,
    reasons: &'r mut Reasons,
}

impl Walk<'_> {
    /// `within` is appended to places, such as ` of component 2`.
    fn component(&mut self, bytes: &[u8], within: String) -> Result<Nested, BinaryReaderError> {
        let mut level = Level::default();
        let mut output = Component::new();
        for section in sections(bytes)? {
            let reader = section.reader();
            let whole = RawSection { id: section.id, data: section.content };
            match section.id {
                id::CORE_MODULE => {
                    let place = format!("core module {}{within}", level.modules.len());
                    let module = CoreModule::read(section.content, place, self.reasons)?;
                    output.section(&RawSection { id: section.id, data: &module.bytes });
                    level.modules.push(Some(Rc::new(module)));
                    continue;
                }
                id::COMPONENT => {
                    let nested = self.nested(&mut level, section.content, &within)?;
                    output.section(&RawSection { id: section.id, data: &nested.bytes });
                    level.components.push(Some(Rc::new(nested)));
                    continue;
                }
                id::CORE_INSTANCE => {
                    for instance in InstanceSectionReader::new(reader)? {
                        level.core_instance(instance?);
                    }
                }
                id::INSTANCE => {
                    for instance in ComponentInstanceSectionReader::new(reader)? {
                        level.instance(&instance?);
                    }
                }
                id::ALIAS => {
                    for alias in ComponentAliasSectionReader::new(reader)? {
                        self.alias(&mut level, &alias?, &within);
                    }
                }
                id::TYPE => {
                    for ty in ComponentTypeSectionReader::new(reader)? {
                        level.types += 1;
                        if matches!(ty?, ComponentType::Resource { .. }) {
                            self.reasons.add(the_component(&within), Why::OwnResource);
                        }
                    }
                }
                id::CANONICAL => {
                    for function in ComponentCanonicalSectionReader::new(reader)? {
                        self.canonical(&mut level, &function?, &within);
                    }
                }
                id::START => self.reasons.add(the_component(&within), Why::ComponentStart),
                id::IMPORT => {
                    for import in ComponentImportSectionReader::new(reader)? {
                        self.import(&mut level, import?.ty, &within);
                    }
                }
                id::EXPORT => {
                    for export in ComponentExportSectionReader::new(reader)? {
                        let export = export?;
                        if export.name.name == accessor::INTERFACE {
                            let why = Why::ReservedName(accessor::INTERFACE.to_owned());
                            self.reasons.add(the_component(&within), why);
                        }
                        level.export(export.kind, export.index);
                    }
                }
                _ => {}
            }
            output.section(&whole);
        }
        starts::check(&level, self.reasons);
        let shape = accessor::append(&mut output, &level);
        Ok(Nested { bytes: output.finish(), shape: Rc::new(shape) })
    }

    fn nested(
        &mut self,
        level: &mut Level,
        bytes: &[u8],
        within: &str,
    ) -> Result<Nested, BinaryReaderError> {
        let within = format!(" of component {}{within}", level.components.len());
        if self.outer.len() >= MAX_DEPTH {
            let why = Why::TooMany(MAX_DEPTH, "components nested in each other");
            self.reasons.add(the_component(&within), why);
            return Ok(Nested { bytes: bytes.to_vec(), shape: Rc::default() });
        }
        self.outer.push(std::mem::take(level));
        let nested = self.component(bytes, within);
        *level = self.outer.pop().unwrap_or_default();
        nested
    }

    fn alias(&mut self, level: &mut Level, alias: &ComponentAlias<'_>, within: &str) {
        match alias {
            ComponentAlias::InstanceExport { kind, .. } => match kind {
                ComponentExternalKind::Module => {
                    let why = Why::ImportedCode("a core module that an instance exports");
                    self.reasons.add(the_component(within), why);
                    level.modules.push(None);
                }
                ComponentExternalKind::Component => {
                    let why = Why::ImportedCode("a component that an instance exports");
                    self.reasons.add(the_component(within), why);
                    level.components.push(None);
                }
                ComponentExternalKind::Instance => level.instances.push(None),
                ComponentExternalKind::Func => level.functions += 1,
                ComponentExternalKind::Type => level.types += 1,
                ComponentExternalKind::Value => {}
            },
            ComponentAlias::CoreInstanceExport { kind, instance_index, name } => match kind {
                ExternalKind::Func | ExternalKind::FuncExact => {
                    let function = CoreFunction::Export(*instance_index, (*name).to_owned());
                    level.core_functions.push(function);
                }
                ExternalKind::Memory => level.core_memories += 1,
                ExternalKind::Global => level.core_globals += 1,
                ExternalKind::Table | ExternalKind::Tag => {}
            },
            ComponentAlias::Outer { kind, count, index } => {
                let (count, index) = (*count as usize, *index as usize);
                let around = count.checked_sub(1).and_then(|n| self.outer.iter().rev().nth(n));
                match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        let from = around.unwrap_or(level);
                        let module = from.modules.get(index).cloned().flatten();
                        level.modules.push(module);
                    }
                    ComponentOuterAliasKind::Component => {
                        let from = around.unwrap_or(level);
                        let component = from.components.get(index).cloned().flatten();
                        level.components.push(component);
                    }
                    ComponentOuterAliasKind::Type => level.types += 1,
                    ComponentOuterAliasKind::CoreType => {}
                }
            }
        }
    }

    fn canonical(&mut self, level: &mut Level, function: &CanonicalFunction, within: &str) {
        let (name, options) = match function {
            CanonicalFunction::Lift { options, .. } => {
                level.functions += 1;
                ("lift", options)
            }
            CanonicalFunction::Lower { options, .. } => {
                level.core_functions.push(CoreFunction::Outside);
                ("lower", options)
            }
            other => {
                level.core_functions.push(CoreFunction::Outside);
                if !matches!(other, CanonicalFunction::ResourceDrop { .. }) {
                    let name = builtin_name(&format!("{other:?}"));
                    self.reasons.add(the_component(within), Why::Builtin(name));
                }
                return;
            }
        };
        for option in options {
            let how = match option {
                CanonicalOption::Async => "asynchronous",
                CanonicalOption::Callback(_) => "asynchronous with a callback",
                CanonicalOption::Gc => "one of the garbage collector",
                _ => continue,
            };
            self.reasons.add(the_component(within), Why::Asynchronous(name, how));
        }
    }

    fn import(&mut self, level: &mut Level, ty: ComponentTypeRef, within: &str) {
        match ty {
            ComponentTypeRef::Module(_) => {
                self.reasons.add(the_component(within), Why::ImportedCode("a core module"));
                level.modules.push(None);
            }
            ComponentTypeRef::Component(_) => {
                self.reasons.add(the_component(within), Why::ImportedCode("a component"));
                level.components.push(None);
            }
            ComponentTypeRef::Instance(_) => level.instances.push(None),
            ComponentTypeRef::Func(_) => level.functions += 1,
            ComponentTypeRef::Type(_) => level.types += 1,
            ComponentTypeRef::Value(_) => {}
        }
    }
}

impl Level {
    fn core_instance(&mut self, instance: Instance<'_>) {
        let instance = match instance {
            Instance::Instantiate { module_index, args } => {
                let module = self.modules.get(module_index as usize).cloned().flatten();
                let args = args.iter().map(|arg| (arg.name.to_owned(), arg.index)).collect();
                CoreInstance::Of(module, args)
            }
            Instance::FromExports(exports) => {
                let functions = exports
                    .iter()
                    .filter(|e| matches!(e.kind, ExternalKind::Func | ExternalKind::FuncExact))
                    .map(|export| (export.name.to_owned(), export.index));
                CoreInstance::Bundle(functions.collect())
            }
        };
        self.core_instances.push(instance);
    }

    fn instance(&mut self, instance: &ComponentInstance<'_>) {
        let shape = match instance {
            ComponentInstance::Instantiate { component_index, .. } => {
                let component = self.components.get(*component_index as usize).cloned().flatten();
                component.map(|nested| nested.shape.clone())
            }
            ComponentInstance::FromExports(_) => None,
        };
        self.instances.push(shape);
    }

    /// An export has an index of its own.
    fn export(&mut self, kind: ComponentExternalKind, index: u32) {
        let index = index as usize;
        match kind {
            ComponentExternalKind::Module => {
                let module = self.modules.get(index).cloned().flatten();
                self.modules.push(module);
            }
            ComponentExternalKind::Component => {
                let component = self.components.get(index).cloned().flatten();
                self.components.push(component);
            }
            // Its state is reached by its first index.
            ComponentExternalKind::Instance => self.instances.push(None),
            ComponentExternalKind::Func => self.functions += 1,
            ComponentExternalKind::Type => self.types += 1,
            ComponentExternalKind::Value => {}
        }
    }
}

fn the_component(within: &str) -> String {
    match within.strip_prefix(" of ") {
        Some(place) => place.to_owned(),
        None => "the component".to_owned(),
    }
}

/// `ContextGet { … }` as `context.get`.
fn builtin_name(debug: &str) -> String {
    let word = debug.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let mut name = String::new();
    for (i, c) in word.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            name.push(if name.contains('.') { '-' } else { '.' });
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

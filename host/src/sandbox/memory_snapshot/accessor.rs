//! Access to the state of a component from outside: a core module of ours, which is
//! appended to the component, imports all of its memories and mutable globals, and is
//! lifted to an interface that the component exports.
//!
//! ```text
//!   core modules ── memories, globals ──▶ our module ── lift ──▶ cofferdam:memory-snapshot/access
//! ```
//!
//! | function | what it does |
//! | --- | --- |
//! | `size0()` | pages of memory 0 |
//! | `view0()` | all of memory 0 as a list of bytes; nothing is copied |
//! | `grow0(pages)` | grows it |
//! | `seek(at)`, then `write0(bytes)` | writes bytes to an address |
//! | `get(i)`, `set(i, value)` | a mutable global, as 64 bits |
//! | `child0` | the same interface of a nested component's instance |
//!
//! A list crosses as address and length, which have to stand in the memory itself. So
//! `view` puts them into its last 8 bytes, and what was there goes back as soon as the
//! call returns. A list that comes in is copied to where a function for allocating
//! says: ours says where `seek` was told.

use wasm_encoder::{
    Alias, BlockType, CanonicalFunctionSection, CanonicalOption, CodeSection, Component,
    ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentInstanceSection,
    ComponentTypeSection, ComponentValType, ConstExpr, EntityType, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, ImportSection, InstanceSection, MemArg,
    MemoryType, Module, ModuleArg, ModuleSection, PrimitiveValType, TypeSection, ValType,
};

use super::{
    component::{CoreInstance, Level},
    module::{CoreModule, Number},
    shape::Shape,
};

/// The interface that access is exported as.
pub(super) const INTERFACE: &str = "cofferdam:memory-snapshot/access@1.0.0";

/// Appends access to all that was instantiated. Says what there is.
pub(super) fn append(output: &mut Component, level: &Level) -> Shape {
    let mut items: Vec<(&'static str, ComponentExportKind, u32, String)> = Vec::new();
    let own = Own::alias(output, level);
    let mut children = Vec::new();
    let mut nested = ComponentAliasSection::new();
    let first_instance = index(level.instances.len());
    for (shape, instance) in level.instances.iter().zip(0..) {
        let Some(shape) = shape.as_ref().filter(|shape| !shape.is_empty()) else { continue };
        let kind = ComponentExportKind::Instance;
        nested.alias(Alias::InstanceExport { instance, kind, name: INTERFACE });
        let at = first_instance + index(children.len());
        items.push(("child", kind, at, children.len().to_string()));
        children.push(shape.clone());
    }
    if !nested.is_empty() {
        output.section(&nested);
    }
    if own.has_state() {
        own.lift(output, level, &mut items);
    }
    let shape = Shape::new(index(own.memories.len()), own.globals, children);
    if !shape.is_empty() {
        let mut instances = ComponentInstanceSection::new();
        let named: Vec<(String, ComponentExportKind, u32)> =
            items.into_iter().map(|(name, kind, at, n)| (format!("{name}{n}"), kind, at)).collect();
        instances.export_items(named.iter().map(|(name, kind, at)| (name.as_str(), *kind, *at)));
        output.section(&instances);
        let mut exports = ComponentExportSection::new();
        let at = first_instance + index(shape.children.len());
        exports.export(INTERFACE, ComponentExportKind::Instance, at, None);
        output.section(&exports);
    }
    shape
}

/// The state of a component's own core instances.
struct Own {
    /// Indexes of the memories, aliased.
    memories: Vec<u32>,
    globals: Vec<Number>,
    first_global: u32,
}

impl Own {
    /// Aliases the exports that [`CoreModule`] made.
    fn alias(output: &mut Component, level: &Level) -> Self {
        let mut aliases = ComponentAliasSection::new();
        let mut own =
            Self { memories: Vec::new(), globals: Vec::new(), first_global: level.core_globals };
        for (of, instance) in level.core_instances.iter().zip(0..) {
            let CoreInstance::Of(Some(module), _) = of else { continue };
            for memory in 0..module.memories {
                let name = CoreModule::memory_name(memory);
                let kind = ExportKind::Memory;
                aliases.alias(Alias::CoreInstanceExport { instance, kind, name: &name });
                own.memories.push(level.core_memories + index(own.memories.len()));
            }
            for (global, number) in module.globals.iter().enumerate() {
                let name = CoreModule::global_name(global);
                let kind = ExportKind::Global;
                aliases.alias(Alias::CoreInstanceExport { instance, kind, name: &name });
                own.globals.push(*number);
            }
        }
        if !aliases.is_empty() {
            output.section(&aliases);
        }
        own
    }

    fn has_state(&self) -> bool {
        !self.memories.is_empty() || !self.globals.is_empty()
    }

    /// Instantiates our module with them, and lifts its functions.
    fn lift(
        &self,
        output: &mut Component,
        level: &Level,
        items: &mut Vec<(&'static str, ComponentExportKind, u32, String)>,
    ) {
        let functions = functions(index(self.memories.len()));
        output.section(&ModuleSection(&core_module(index(self.memories.len()), &self.globals)));
        let mut instances = InstanceSection::new();
        let memories = self.memories.iter().enumerate();
        let memories = memories.map(|(i, at)| (format!("m{i}"), ExportKind::Memory, *at));
        let globals = (0..self.globals.len())
            .map(|i| (format!("g{i}"), ExportKind::Global, self.first_global + index(i)));
        let state: Vec<_> = memories.chain(globals).collect();
        instances.export_items(state);
        let bundle = index(level.core_instances.len());
        let module = index(level.modules.len());
        instances.instantiate(module, [("state", ModuleArg::Instance(bundle))]);
        output.section(&instances);

        let mut aliases = ComponentAliasSection::new();
        let first = index(level.core_functions.len());
        for function in &functions {
            let (instance, kind) = (bundle + 1, ExportKind::Func);
            aliases.alias(Alias::CoreInstanceExport { instance, kind, name: &function.name() });
        }
        output.section(&aliases);

        let list = level.types;
        output.section(&types(list));
        let mut lifts = CanonicalFunctionSection::new();
        let mut lifted = level.functions;
        let at = |role| functions.iter().position(|f| f.role == role).map(|i| first + index(i));
        for (i, function) in functions.iter().enumerate() {
            let memory = function.memory.and_then(|m| self.memories.get(m as usize));
            let memory = memory.map(|at| CanonicalOption::Memory(*at));
            let helper = match function.role {
                Role::View => {
                    // Its helper stands behind it.
                    Some(CanonicalOption::PostReturn(first + index(i) + 1))
                }
                Role::Write => at(Role::Allocate).map(CanonicalOption::Realloc),
                Role::Viewed | Role::Allocate => continue,
                _ => None,
            };
            let options: Vec<_> = match helper {
                Some(helper) => memory.into_iter().chain([helper]).collect(),
                None => Vec::new(),
            };
            lifts.lift(first + index(i), list + function.role.ty(), options);
            let n = function.memory.map(|m| m.to_string()).unwrap_or_default();
            items.push((function.role.name(), ComponentExportKind::Func, lifted, n));
            lifted += 1;
        }
        output.section(&lifts);
    }
}

/// What a function of our module is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Seek,
    Allocate,
    Get,
    Set,
    Size,
    View,
    /// After a view: puts back what was there.
    Viewed,
    Grow,
    Write,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Seek => "seek",
            Self::Allocate => "allocate",
            Self::Get => "get",
            Self::Set => "set",
            Self::Size => "size",
            Self::View => "view",
            Self::Viewed => "viewed",
            Self::Grow => "grow",
            Self::Write => "write",
        }
    }

    /// Its component type, counted from that of the list of bytes: see [`types`].
    fn ty(self) -> u32 {
        match self {
            Self::Size => 1,
            Self::View => 2,
            Self::Seek => 3,
            Self::Grow => 4,
            Self::Write => 5,
            Self::Get => 6,
            Self::Set => 7,
            // They are not lifted.
            Self::Allocate | Self::Viewed => 0,
        }
    }

    /// Its core type: see [`core_module`].
    fn core_ty(self) -> u32 {
        match self {
            Self::Size | Self::View => 0,
            Self::Seek | Self::Viewed => 1,
            Self::Grow => 2,
            Self::Write => 3,
            Self::Allocate => 4,
            Self::Get => 5,
            Self::Set => 6,
        }
    }
}

/// A function of our module.
struct Exported {
    role: Role,
    memory: Option<u32>,
}

impl Exported {
    fn name(&self) -> String {
        match self.memory {
            Some(memory) => format!("{}{memory}", self.role.name()),
            None => self.role.name().to_owned(),
        }
    }
}

/// The functions of our module, in the order of their indexes.
fn functions(memories: u32) -> Vec<Exported> {
    let whole = [Role::Seek, Role::Allocate, Role::Get, Role::Set];
    let mut all: Vec<_> = whole.map(|role| Exported { role, memory: None }).into();
    for memory in (0..memories).map(Some) {
        let each = [Role::Size, Role::View, Role::Viewed, Role::Grow, Role::Write];
        all.extend(each.map(|role| Exported { role, memory }));
    }
    all
}

/// The component types, the first of which has the index `list`.
fn types(list: u32) -> ComponentTypeSection {
    let number = ComponentValType::Primitive(PrimitiveValType::U32);
    let long = ComponentValType::Primitive(PrimitiveValType::U64);
    let bytes = ComponentValType::Type(list);
    let none: [(&str, ComponentValType); 0] = [];
    let mut types = ComponentTypeSection::new();
    types.defined_type().list(PrimitiveValType::U8);
    types.function().params(none).result(Some(number));
    types.function().params(none).result(Some(bytes));
    types.function().params([("at", number)]).result(None);
    types.function().params([("pages", number)]).result(Some(number));
    types.function().params([("bytes", bytes)]).result(None);
    types.function().params([("index", number)]).result(Some(long));
    types.function().params([("index", number), ("value", long)]).result(None);
    types
}

/// Bytes of a page, as a shift.
const PAGE_SHIFT: i32 = 16;
/// Address and length of a list.
const PAIR: i32 = 8;

fn core_module(memories: u32, globals: &[Number]) -> Module {
    use ValType::{I32, I64};
    let mut types = TypeSection::new();
    types.ty().function([], [I32]);
    types.ty().function([I32], []);
    types.ty().function([I32], [I32]);
    types.ty().function([I32, I32], []);
    types.ty().function([I32; 4], [I32]);
    types.ty().function([I32], [I64]);
    types.ty().function([I32, I64], []);
    let mut imports = ImportSection::new();
    for memory in 0..memories {
        let ty = MemoryType {
            minimum: 0,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        };
        imports.import("state", &format!("m{memory}"), EntityType::Memory(ty));
    }
    for (i, number) in globals.iter().enumerate() {
        let ty = GlobalType { val_type: val_type(*number), mutable: true, shared: false };
        imports.import("state", &format!("g{i}"), EntityType::Global(ty));
    }
    // Where `seek` was told, and what a view put aside.
    let at = index(globals.len());
    let aside = at + 1;
    let mut own = GlobalSection::new();
    let of = |val_type| GlobalType { val_type, mutable: true, shared: false };
    own.global(of(I32), &ConstExpr::i32_const(0));
    own.global(of(I64), &ConstExpr::i64_const(0));
    let (mut declared, mut exports) = (FunctionSection::new(), ExportSection::new());
    let mut code = CodeSection::new();
    for (i, function) in functions(memories).iter().enumerate() {
        declared.function(function.role.core_ty());
        exports.export(&function.name(), ExportKind::Func, index(i));
        code.function(&body(function, globals, at, aside));
    }
    let mut module = Module::new();
    module.section(&types);
    module.section(&imports);
    module.section(&declared);
    module.section(&own);
    module.section(&exports);
    module.section(&code);
    module
}

fn body(function: &Exported, globals: &[Number], at: u32, aside: u32) -> Function {
    let memory = function.memory.unwrap_or(0);
    let arg = |offset, align| MemArg { offset, align, memory_index: memory };
    let locals = if function.role == Role::View { vec![(1, ValType::I32)] } else { Vec::new() };
    let mut body = Function::new(locals);
    let mut code = body.instructions();
    match function.role {
        Role::Seek => {
            code.local_get(0).global_set(at);
        }
        Role::Allocate => {
            code.global_get(at);
        }
        Role::Size => {
            code.memory_size(memory);
        }
        Role::Grow => {
            code.local_get(0).memory_grow(memory);
        }
        // The host has written the list to where it belongs.
        Role::Write => {}
        Role::View => {
            let bytes = |code: &mut wasm_encoder::InstructionSink<'_>| {
                code.memory_size(memory).i32_const(PAGE_SHIFT).i32_shl();
            };
            bytes(&mut code);
            code.i32_const(PAIR).i32_sub().local_tee(0);
            code.i64_load(arg(0, 2)).global_set(aside);
            code.local_get(0).i32_const(0).i32_store(arg(0, 2));
            code.local_get(0);
            bytes(&mut code);
            code.i32_store(arg(4, 2));
            code.local_get(0);
        }
        Role::Viewed => {
            code.local_get(0).global_get(aside).i64_store(arg(0, 2));
        }
        Role::Get | Role::Set => {
            let mut slot = 0;
            for (number, global) in globals.iter().zip(0..) {
                for half in 0..number.slots() {
                    code.local_get(0).i32_const(slot).i32_eq().if_(BlockType::Empty);
                    match function.role {
                        Role::Get => get(&mut code, *number, global, half),
                        _ => set(&mut code, *number, global, half),
                    }
                    code.return_().end();
                    slot += 1;
                }
            }
            // The host asks for what there is.
            code.unreachable();
        }
    }
    code.end();
    body
}

fn lane(half: u32) -> u8 {
    u8::from(half > 0)
}

fn get(code: &mut wasm_encoder::InstructionSink<'_>, number: Number, global: u32, half: u32) {
    code.global_get(global);
    match number {
        Number::I32 => code.i64_extend_i32_u(),
        Number::I64 => code,
        Number::F32 => code.i32_reinterpret_f32().i64_extend_i32_u(),
        Number::F64 => code.i64_reinterpret_f64(),
        Number::V128 => code.i64x2_extract_lane(lane(half)),
    };
}

fn set(code: &mut wasm_encoder::InstructionSink<'_>, number: Number, global: u32, half: u32) {
    if number == Number::V128 {
        code.global_get(global).local_get(1).i64x2_replace_lane(lane(half)).global_set(global);
        return;
    }
    code.local_get(1);
    match number {
        Number::I32 => code.i32_wrap_i64(),
        Number::F32 => code.i32_wrap_i64().f32_reinterpret_i32(),
        Number::F64 => code.f64_reinterpret_i64(),
        Number::I64 | Number::V128 => code,
    };
    code.global_set(global);
}

fn val_type(number: Number) -> ValType {
    match number {
        Number::I32 => ValType::I32,
        Number::I64 => ValType::I64,
        Number::F32 => ValType::F32,
        Number::F64 => ValType::F64,
        Number::V128 => ValType::V128,
    }
}

/// Of things that are counted by 32 bits in every component.
fn index(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

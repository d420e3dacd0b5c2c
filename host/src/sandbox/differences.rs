//! How a component differs from the contract, as a diff of WIT: for its author, who is told which
//! function of which interface has another type, or is missing. Works on the component's types
//! alone, in the compiler's child.

use std::fmt::Write as _;

use wit_component::{DecodedWasm, decode};
use wit_parser::{
    Function, Interface, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner, WorldItem,
};

use super::componentize;

/// How much is told.
const MOST_BYTES: usize = 6 * 1024;
/// How deep a type is written out.
const DEEPEST: usize = 16;

/// What is different, in lines that begin with `-` (the contract's) and `+` (the component's); none
/// if nothing is. Interfaces of other packages or versions are not looked at.
pub(super) fn differences(bytes: &[u8]) -> Option<String> {
    let (contract, package) = componentize::contract().ok()?;
    let Ok(DecodedWasm::Component(theirs, world)) = decode(bytes) else { return None };
    let ours = &contract.packages[package];
    let mut out = String::new();
    for item in theirs.worlds[world].exports.values() {
        let WorldItem::Interface { id, .. } = item else { continue };
        let interface = &theirs.interfaces[*id];
        let (Some(name), Some(package)) = (&interface.name, interface.package) else { continue };
        if theirs.packages[package].name != ours.name {
            continue;
        }
        let Some(known) = ours.interfaces.get(name) else { continue };
        let found = of_interface((&contract, *known), (&theirs, *id));
        if !found.is_empty() {
            let _ = write!(out, "\n  in the interface `{name}`:\n{}", found.trim_end());
        }
        if out.len() > MOST_BYTES {
            let end = (0..=MOST_BYTES).rev().find(|at| out.is_char_boundary(*at)).unwrap_or(0);
            out.truncate(end);
            out.push_str("\n  … and more");
            break;
        }
    }
    if out.is_empty() {
        return None;
    }
    Some(format!(
        "(-) is the contract's, (+) is what it exports:{out}\nbuild it against the contract of this \
         host, `{}`, which `cofferdam operator new` writes into each project, and give each function \
         the parameters and results that stand there",
        ours.name
    ))
}

fn of_interface(
    (contract, known): (&Resolve, InterfaceId),
    (theirs, found): (&Resolve, InterfaceId),
) -> String {
    let (known, found) = (&contract.interfaces[known], &theirs.interfaces[found]);
    let mut out = String::new();
    for (name, function) in &known.functions {
        let wanted = signature(contract, function);
        match found.functions.get(name).map(|function| signature(theirs, function)) {
            Some(found) if found == wanted => {}
            Some(found) => {
                let _ = writeln!(out, "    - {wanted}\n    + {found}");
            }
            None => {
                let _ = writeln!(out, "    - {wanted}\n    + (no function `{name}`)");
            }
        }
    }
    out + &of_types((contract, known), (theirs, found))
}

/// The types that both name. One that is not used need not be there.
fn of_types(
    (contract, known): (&Resolve, &Interface),
    (theirs, found): (&Resolve, &Interface),
) -> String {
    let mut out = String::new();
    for (name, id) in &known.types {
        let Some(other) = found.types.get(name) else { continue };
        let (wanted, found) = (definition(contract, *id, 0), definition(theirs, *other, 0));
        if wanted != found {
            let _ = writeln!(out, "    - {name} = {wanted}\n    + {name} = {found}");
        }
    }
    out
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let params = function.params.iter();
    let params: Vec<_> =
        params.map(|param| format!("{}: {}", param.name, shown(resolve, &param.ty, 0))).collect();
    let result = function.result.as_ref();
    let result = result.map(|ty| format!(" -> {}", shown(resolve, ty, 0))).unwrap_or_default();
    format!("{}: func({}){result}", function.name, params.join(", "))
}

/// A type where it is used: by its name, if it has one.
fn shown(resolve: &Resolve, ty: &Type, depth: usize) -> String {
    match ty {
        Type::Id(id) => match &resolve.types[*id].name {
            Some(name) => name.clone(),
            None => definition(resolve, *id, depth),
        },
        Type::Bool => "bool".to_owned(),
        Type::U8 => "u8".to_owned(),
        Type::U16 => "u16".to_owned(),
        Type::U32 => "u32".to_owned(),
        Type::U64 => "u64".to_owned(),
        Type::S8 => "s8".to_owned(),
        Type::S16 => "s16".to_owned(),
        Type::S32 => "s32".to_owned(),
        Type::S64 => "s64".to_owned(),
        Type::F32 => "f32".to_owned(),
        Type::F64 => "f64".to_owned(),
        Type::Char => "char".to_owned(),
        Type::String => "string".to_owned(),
        Type::ErrorContext => "error-context".to_owned(),
    }
}

/// What a type is. That it is used from another interface makes no difference.
fn definition(resolve: &Resolve, id: TypeId, depth: usize) -> String {
    if depth > DEEPEST {
        return "…".to_owned();
    }
    let inner = |ty: &Type| shown(resolve, ty, depth + 1);
    let perhaps = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), inner);
    let list = |all: Vec<String>| all.join(", ");
    let def = &resolve.types[id];
    match &def.kind {
        TypeDefKind::Type(Type::Id(of)) if matches!(def.owner, TypeOwner::Interface(_)) => {
            definition(resolve, *of, depth + 1)
        }
        TypeDefKind::Type(ty) => inner(ty),
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter().map(|f| format!("{}: {}", f.name, inner(&f.ty)));
            format!("record {{ {} }}", list(fields.collect()))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| match &case.ty {
                Some(ty) => format!("{}({})", case.name, inner(ty)),
                None => case.name.clone(),
            });
            format!("variant {{ {} }}", list(cases.collect()))
        }
        TypeDefKind::Enum(of) => {
            format!("enum {{ {} }}", list(of.cases.iter().map(|case| case.name.clone()).collect()))
        }
        TypeDefKind::Flags(of) => {
            format!("flags {{ {} }}", list(of.flags.iter().map(|flag| flag.name.clone()).collect()))
        }
        TypeDefKind::Tuple(of) => format!("tuple<{}>", list(of.types.iter().map(inner).collect())),
        TypeDefKind::List(ty) => format!("list<{}>", inner(ty)),
        TypeDefKind::Option(ty) => format!("option<{}>", inner(ty)),
        TypeDefKind::Result(of) => format!("result<{}, {}>", perhaps(&of.ok), perhaps(&of.err)),
        other => other.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

    use super::*;

    /// A module with the functions of a processor.
    const MODULE: &[u8] = include_bytes!("../authoring/identity.wasm");

    /// A component of the contract's world, with something changed in the contract that makes no
    /// difference to the module.
    fn component(from: &str, to: &str) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let changed = componentize::CONTRACT_WIT.map(|(name, text)| (name, text.replace(from, to)));
        let mut files = wit_parser::SourceMap::default();
        changed.iter().for_each(|(name, text)| files.push_str(name, text));
        let group = files.parse().map_err(|(_, error)| format!("{error:?}")).unwrap();
        let package = resolve.push_group(group).unwrap();
        let world = resolve.select_world(&[package], Some("processor-operator")).unwrap();
        let mut module = MODULE.to_vec();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
    }

    #[test]
    fn a_component_of_the_contract_differs_in_nothing() {
        assert_eq!(differences(&component("nothing of that", "")), None);
        assert_eq!(differences(&wat::parse_str("(component)").unwrap()), None);
        assert_eq!(differences(b"junk"), None);
    }

    #[test]
    fn a_function_of_another_type_is_told_beside_the_contracts() {
        let told = differences(&component("func(input: u32, records", "func(port: s32, records"));
        let told = told.unwrap();
        for line in [
            "in the interface `processor`:",
            "- process: func(input: u32, records: batch) -> result<outcome, string>",
            "+ process: func(port: s32, records: batch) -> result<outcome, string>",
        ] {
            assert!(told.contains(line), "`{line}` is not in:\n{told}");
        }
        assert!(!told.contains("open"), "{told}");
    }

    #[test]
    fn a_missing_function_and_another_record_are_told() {
        let told = component("finish: func() -> result<outcome, string>;", "");
        assert!(differences(&told).unwrap().contains("+ (no function `finish`)"));
        let told = differences(&component("    len: u32,", "    len: s32,")).unwrap();
        assert!(told.contains("- batch = record { len: u32, keys: column"), "{told}");
        assert!(told.contains("+ batch = record { len: s32, keys: column"), "{told}");
    }
}

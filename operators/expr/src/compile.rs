//! What can be known to be wrong with an expression before there is a record: that it is none, that
//! it names what is not there, that it can only give something of the wrong type.

use cel::{
    Context, ExecutionError, IdedExpr, ParseErrors, Value,
    common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators},
};

/// The functions that people look for, to be told when one is not there.
const FUNCTIONS: [&str; 23] = [
    "bool",
    "bytes",
    "charAt",
    "contains",
    "double",
    "endsWith",
    "format",
    "indexOf",
    "int",
    "join",
    "lastIndexOf",
    "lowerAscii",
    "matches",
    "replace",
    "size",
    "split",
    "startsWith",
    "string",
    "substring",
    "trim",
    "type",
    "uint",
    "upperAscii",
];

/// Where an expression stops to be one, in a line.
pub(crate) fn wrong_syntax(text: &str, errors: &ParseErrors) -> String {
    let Some(first) = errors.errors.first() else {
        return format!("`{text}` is no expression");
    };
    // What would have been right instead is a list of all that there is.
    let said = first.msg.split(" expecting ").next().unwrap_or_default();
    let said = said.strip_prefix("Syntax error: ").unwrap_or(said).replace("'<EOF>'", "its end");
    let (line, column) = first.pos;
    let place = match text.trim().contains('\n') {
        true => format!("line {line}, character {column}"),
        false => format!("character {column}"),
    };
    let hint = if said.contains("'= '") { "; `==` says that two are equal" } else { "" };
    format!("`{text}` is no expression: at {place}: {said}{hint}")
}

/// The first function that an expression calls and that does not exist.
pub(crate) fn unknown_function(code: &IdedExpr, context: &Context<'_, '_>) -> Option<String> {
    match &code.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => None,
        Expr::Select(select) => unknown_function(&select.operand, context),
        Expr::Call(call) => {
            let inner = call.target.iter().map(|target| &**target).chain(&call.args);
            let inner = inner.into_iter().find_map(|one| unknown_function(one, context));
            inner.or_else(|| (!is_known(call, context)).then(|| call.func_name.clone()))
        }
        Expr::List(list) => list.elements.iter().find_map(|one| unknown_function(one, context)),
        Expr::Map(map) => map.entries.iter().find_map(|one| in_entry(&one.expr, context)),
        Expr::Struct(made) => made.entries.iter().find_map(|one| in_entry(&one.expr, context)),
        Expr::Comprehension(over) => {
            let parts =
                [&over.iter_range, &over.accu_init, &over.loop_cond, &over.loop_step, &over.result];
            parts.into_iter().find_map(|part| unknown_function(part, context))
        }
    }
}

fn in_entry(entry: &EntryExpr, context: &Context<'_, '_>) -> Option<String> {
    match entry {
        EntryExpr::StructField(field) => unknown_function(&field.value, context),
        EntryExpr::MapEntry(entry) => unknown_function(&entry.key, context)
            .or_else(|| unknown_function(&entry.value, context)),
    }
}

/// Whether there is a function of this name, for some arguments: it is called with none that fit.
fn is_known(call: &CallExpr, context: &Context<'_, '_>) -> bool {
    let name = call.func_name.as_str();
    if name.starts_with(['_', '@', '!', '-']) {
        return true;
    }
    let nothing = || IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Null) };
    let probe = CallExpr {
        func_name: name.to_owned(),
        target: call.target.is_some().then(|| Box::new(nothing())),
        args: call.args.iter().map(|_| nothing()).collect(),
    };
    let probe = IdedExpr { id: 0, expr: Expr::Call(probe) };
    !matches!(
        Value::resolve_val(&probe, context),
        Err(ExecutionError::UndeclaredReference(unknown)) if unknown.as_str() == name
    )
}

pub(crate) fn no_function(text: &str, name: &str) -> String {
    format!("in `{text}` there is no function `{name}`; there is {}", FUNCTIONS.join(", "))
}

/// What an expression gives if that is plain, and no truth: a number, a text, a list.
pub(crate) fn never_true_or_false(code: &IdedExpr) -> Option<&'static str> {
    match &code.expr {
        Expr::Literal(LiteralValue::Boolean(_)) => None,
        Expr::Literal(LiteralValue::String(_)) => Some("a text"),
        Expr::Literal(LiteralValue::Null) => Some("nothing"),
        Expr::Literal(LiteralValue::Bytes(_)) => Some("bytes"),
        Expr::Literal(_) => Some("a number"),
        Expr::List(_) => Some("a list"),
        Expr::Map(_) => Some("a map"),
        Expr::Call(call) => match call.func_name.as_str() {
            operators::ADD => Some("a sum"),
            operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::NEGATE => Some("a number"),
            operators::CONDITIONAL => call.args.iter().skip(1).find_map(never_true_or_false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::FUNCTIONS;
    use crate::Expr;

    fn refusal(filter: &str) -> String {
        match Harness::processor::<Expr>(json!({"filter": filter})) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_function_that_does_not_exist_is_told_before_there_is_a_record() {
        for (filter, function) in [
            ("lower(record.a) == 'x'", "lower"),
            ("record.a.lower() == 'x'", "lower"),
            ("record.a > 1 || [now()].size() > 0", "now"),
            ("record.l.exists(x, x.shout() == 'A')", "shout"),
            ("{'a': nothing(1)}.a", "nothing"),
        ] {
            let said = refusal(filter);
            assert!(said.contains(&format!("no function `{function}`")), "{filter}: {said}");
        }
        for filter in [
            "size(record.a) > 1 && record.a.size() > 1",
            "record.a.startsWith('x') || record.a.matches('^x+$') || record.a.contains('x')",
            "int(record.a) > 1 && double(record.a) > 1.0 && string(record.a) != ''",
            "record.a.lowerAscii().split(',').exists(x, x == 'a')",
            "record.l.map(x, x + 1).all(x, x > 0) && type(record.l) == list",
        ] {
            assert_eq!(refusal(filter), "", "{filter}");
        }
    }

    #[test]
    fn the_functions_that_are_listed_exist() {
        for function in FUNCTIONS {
            let either =
                [format!("{function}(record.a) == 1"), format!("record.a.{function}() == 1")];
            let known = either.iter().any(|filter| !refusal(filter).contains("no function"));
            assert!(known, "{function}");
        }
    }

    #[test]
    fn a_filter_that_can_never_be_true_or_false_is_told_before_there_is_a_record() {
        for filter in
            ["1", "'x'", "record.a + 1", "-record.a", "[true]", "record.a > 1 ? 'yes' : 'no'"]
        {
            let said = refusal(filter);
            assert!(said.contains("must give true or false"), "{filter}: {said}");
        }
        for filter in ["true", "record.a", "record.a ? record.b : false", "!record.a"] {
            assert_eq!(refusal(filter), "", "{filter}");
        }
    }

    #[test]
    fn a_mistake_of_syntax_is_told_in_a_line_with_its_place() {
        for (filter, said) in [
            ("record.delay >", "at character 15: mismatched input its end"),
            ("a &&\n b = 1", "at line 2, character 4"),
            ("a = 1", "`==` says that two are equal"),
            ("(record.a > 1", "its end"),
        ] {
            let found = refusal(filter);
            assert!(found.contains(said), "{filter}: {found}");
            let told = found.split("is no expression").nth(1).unwrap();
            assert!(!told.contains('\n') && told.len() < 120, "{filter}: {found}");
        }
    }
}

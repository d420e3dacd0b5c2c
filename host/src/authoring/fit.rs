//! Whether a module that a language's tools made exports what `world` in `operator.toml` says: a line
//! that was forgotten, or a world that is not that of the source, is told before a component is made.
//! What each function must be like, the contract says when one is.

use super::{kind::World, language::Language};

/// What is wrong, and what to do, if the module does not export what it should; given the
/// interfaces of the contract of which it exports something.
pub(super) fn misfit(language: Language, world: World, exported: &[String]) -> Option<String> {
    let is_there = |interface: &&str| exported.iter().any(|name| name == interface);
    let missing: Vec<&str> =
        world.interfaces().iter().copied().filter(|name| !is_there(name)).collect();
    if missing.is_empty() {
        return None;
    }
    let mut said = format!(
        "it does not export {} of the contract, which `world = \"{}\"` in operator.toml says that it does; ",
        listed(&missing),
        world.word(),
    );
    let fitting = World::of(exported);
    said += &match (exported, fitting) {
        ([], _) => format!(
            "it exports nothing of the contract: is the line missing that makes it an operator, {}?",
            export_line(language, world)
        ),
        (_, Some(fitting)) => format!(
            "what it exports is `world = \"{}\"`: write that there, or export the rest",
            fitting.word()
        ),
        (some, None) => format!("it exports {} only", listed(some)),
    };
    Some(said)
}

/// How an operator of that world is made one in a language, as its SDK has it.
fn export_line(language: Language, world: World) -> String {
    let word = world.word().trim_end_matches("-operator");
    match language {
        Language::C => format!("`CFD_{}(…)`", word.replace('-', "_").to_uppercase()),
        Language::Cpp => format!("`COFFERDAM_{}(…)`", word.replace('-', "_").to_uppercase()),
        Language::Zig => {
            format!("`cofferdam.exportOperator(.{}, @This())`", word.replace('-', "_"))
        }
        Language::Rust => {
            let word = word.trim_start_matches("checked-");
            format!("`cofferdam_sdk::export!({word}: …);`")
        }
        Language::Go => "`cofferdam.Register…(…)` in `func init()`".to_owned(),
        Language::JavaScript | Language::TypeScript | Language::Python | Language::Expr => {
            "as the language's page says".to_owned()
        }
    }
}

fn listed(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exported(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_module_that_exports_what_its_world_says_is_fine() {
        for (world, names) in [
            (World::Processor, &["processor"][..]),
            (World::Keyed, &["keyed-processor", "state-check"]),
            (World::Stateful, &["processor", "snapshot"]),
        ] {
            assert_eq!(misfit(Language::C, world, &exported(names)), None);
        }
    }

    #[test]
    fn a_line_that_was_forgotten_is_named_in_the_authors_language() {
        for (language, line) in [
            (Language::C, "CFD_CHECKED_KEYED(…)"),
            (Language::Cpp, "COFFERDAM_CHECKED_KEYED(…)"),
            (Language::Zig, "exportOperator(.checked_keyed, @This())"),
            (Language::Rust, "export!(keyed: …)"),
            (Language::Go, "cofferdam.Register"),
        ] {
            let said = misfit(language, World::CheckedKeyed, &[]).unwrap();
            assert!(
                said.contains(line) && said.contains("`keyed-processor` and `state-check`"),
                "{said}"
            );
        }
    }

    #[test]
    fn another_world_that_fits_is_named() {
        let said = misfit(Language::C, World::Keyed, &exported(&["processor"])).unwrap();
        assert!(said.contains("`world = \"processor-operator\"`: write that there"), "{said}");
        let said = misfit(Language::C, World::Stateful, &exported(&["snapshot"])).unwrap();
        assert!(said.contains("it exports `snapshot` only"), "{said}");
    }
}

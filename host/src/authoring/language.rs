//! The languages that operators are written in, and what is known of each: where its texts are,
//! where they go in a project, and who builds it.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Deserialize;

use super::{
    kind::Kind,
    languages,
    project::Project,
    tool::{ToolError, Tools},
};

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Language {
    /// Rust.
    Rust,
    /// C (C11).
    C,
    /// C++ (C++20).
    #[value(alias = "c++")]
    Cpp,
    /// Zig.
    Zig,
    /// JavaScript.
    #[value(alias = "js")]
    JavaScript,
    /// TypeScript.
    #[value(alias = "ts")]
    TypeScript,
    /// Python.
    #[value(alias = "py")]
    Python,
    /// Go.
    Go,
    /// Expressions (CEL), without a toolchain.
    Expr,
}

/// What is known of a language. All paths of texts are from the top of the repository.
#[derive(Debug)]
pub struct Recipe {
    /// What the files of a new project are called: folders below which all files go to the
    /// project's top, as `guest-sdk/c/project`.
    pub project: &'static str,
    /// The files of a kind: where each stands and where it goes in a project. `{kind}` stands for
    /// the kind's word, or for that with `_` for `-` where it is written `{kind_}`.
    pub sources: &'static [(&'static str, &'static str)],
    /// What of the SDK goes into a project's `cofferdam/`: files and folders, and where each goes
    /// there.
    pub sdk: &'static [(&'static str, &'static str)],
    /// What may stand in `[build]` of its projects.
    pub settings: &'static [&'static str],
    /// The command that runs a project's own tests, without WebAssembly.
    pub native_test: &'static str,
    /// Makes a core module or a component, and says where it is.
    pub build: fn(&Project, &Tools<'_>) -> Result<PathBuf, ToolError>,
}

impl Language {
    /// As it is called on the command line, in `operator.toml` and in `guest-sdk/`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Zig => "zig",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
            Self::Python => "python",
            Self::Go => "go",
            Self::Expr => "expr",
        }
    }

    /// Whether operators of a kind are made in it. Expressions have no state.
    #[must_use]
    pub fn makes(self, kind: Kind) -> bool {
        self != Self::Expr || matches!(kind, Kind::Filter | Kind::Map)
    }

    /// Where the cases of a kind stand, from the top of the repository: all languages have the
    /// same, but expressions, which stand in the cases.
    #[must_use]
    pub fn cases(self, kind: Kind) -> String {
        let folder = if self == Self::Expr { "guest-sdk/expr/cases" } else { "guest-sdk/cases" };
        format!("{folder}/{}", kind.word())
    }

    /// What is known of it.
    #[must_use]
    pub fn recipe(self) -> &'static Recipe {
        match self {
            Self::Rust => &languages::rust::RECIPE,
            Self::C => &languages::c::RECIPE,
            Self::Cpp => &languages::cpp::RECIPE,
            Self::Zig => &languages::zig::RECIPE,
            Self::JavaScript => &languages::javascript::RECIPE,
            Self::TypeScript => &languages::typescript::RECIPE,
            Self::Python => &languages::python::RECIPE,
            Self::Go => &languages::go::RECIPE,
            Self::Expr => &languages::expr::RECIPE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_called_the_same_everywhere() {
        for language in Language::value_variants() {
            let value = language.to_possible_value().unwrap();
            assert_eq!(value.get_name(), language.word());
            let read: Language = serde_json::from_value(language.word().into()).unwrap();
            assert_eq!(read, *language);
        }
    }
}

//! What a component says it was made with: the custom sections `producers` of it and of all that
//! is in it, as compilers, wit-bindgen and others write them. It is what whoever made it says, and
//! nothing is decided by it.

use wasmparser::{KnownCustom, Parser, Payload, ProducersSectionReader};

use super::guest_log;

/// How many are told of each kind, and how much of a name.
const MOST: usize = 20;
const LONGEST: usize = 80;

/// Languages and tools, each with its version if it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Producers {
    /// What it was written in.
    pub languages: Vec<String>,
    /// What has worked on it.
    pub processed_by: Vec<String>,
    /// With which libraries for components.
    pub sdks: Vec<String>,
}

impl Producers {
    /// Of a component or module, as far as it can be read.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
            if let Payload::CustomSection(section) = payload
                && let KnownCustom::Producers(producers) = section.as_known()
            {
                found.add(producers);
            }
        }
        found
    }

    fn add(&mut self, section: ProducersSectionReader<'_>) {
        for field in section.into_iter().map_while(Result::ok) {
            let told = match field.name {
                "language" => &mut self.languages,
                "processed-by" => &mut self.processed_by,
                "sdk" => &mut self.sdks,
                _ => continue,
            };
            for value in field.values.into_iter().map_while(Result::ok) {
                let text = format!("{} {}", value.name, value.version);
                let text = guest_log::shown_up_to(text.trim(), LONGEST).into_owned();
                if told.len() < MOST && !told.contains(&text) {
                    told.push(text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_of_all_modules_in_a_component_are_told_once() {
        let wat = r#"(component
            (core module (@producers (language "Rust" "2024") (processed-by "rustc" "1.95")))
            (core module (@producers (language "Rust" "2024") (sdk "kit" "")))
            (@producers (processed-by "wit-component" "0.254"))
        )"#;
        let found = Producers::of(&wat::parse_str(wat).unwrap());
        assert_eq!(found.languages, ["Rust 2024"]);
        assert_eq!(found.processed_by, ["rustc 1.95", "wit-component 0.254"]);
        assert_eq!(found.sdks, ["kit"]);
        assert_eq!(Producers::of(b"no wasm"), Producers::default());
    }

    #[test]
    fn what_is_told_is_bounded_and_steers_no_terminal() {
        let many: String =
            (0..100).map(|n| format!("(language \"{n}\\1b[2J\" \"{n}\") ")).collect();
        let long = format!("(language \"{}\" \"\")", "x".repeat(10_000));
        let wat = format!("(module (@producers {long} {many}))");
        let found = Producers::of(&wat::parse_str(wat).unwrap());
        assert!(found.languages.len() <= MOST && !found.languages.is_empty());
        assert!(found.languages.iter().all(|l| l.len() < 2 * LONGEST && !l.contains('\u{1b}')));
    }
}

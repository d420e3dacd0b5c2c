//! What an operator is told when it is opened, and its configuration. Messages
//! are for the author of a job file, so they name the operator and the field.

use serde::de::DeserializeOwned;

use crate::Error;

/// What an operator is told about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The operator's name in the job.
    pub operator: String,
    /// Which of the operator's parallel instances this is, from 0.
    pub subtask: u32,
    /// How many parallel instances the operator has.
    pub parallelism: u32,
    /// How many inputs are connected.
    pub inputs: u32,
    /// How many output ports the job has given names to.
    pub outputs: u32,
    /// The configuration, a JSON object.
    pub(crate) config: String,
}

impl Context {
    /// A context for tests: subtask 0 of 1, one input, one output.
    #[must_use]
    pub fn for_test(config: &serde_json::Value) -> Self {
        let config = config.to_string();
        Self { operator: "test".into(), subtask: 0, parallelism: 1, inputs: 1, outputs: 1, config }
    }

    /// The operator's configuration. Derive `Deserialize` with
    /// `deny_unknown_fields`, and a misspelt field is an error with a suggestion.
    ///
    /// # Errors
    /// If the configuration does not fit the type; the message names the
    /// operator and the field.
    ///
    /// ```
    /// use cofferdam_sdk::Context;
    ///
    /// #[derive(serde::Deserialize)]
    /// #[serde(deny_unknown_fields)]
    /// struct Config {
    ///     threshold: f64,
    /// }
    /// let ctx = Context::for_test(&serde_json::json!({ "treshold": 3 }));
    /// let Err(e) = ctx.config::<Config>() else { panic!("a misspelt field was taken") };
    /// assert_eq!(
    ///     e.to_string(),
    ///     "operator `test`, config `treshold`: unknown field `treshold`, \
    ///      expected `threshold`; did you mean `threshold`?"
    /// );
    /// ```
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let mut json = serde_json::Deserializer::from_str(&self.config);
        serde_path_to_error::deserialize(&mut json).map_err(|e| {
            let message = e.inner().to_string();
            // Where it stands in our JSON says nothing to the author of a TOML file.
            let message = message.rsplit_once(" at line ").map_or(&*message, |(m, _)| m);
            let hint =
                suggestion(message).map_or_else(String::new, |s| format!("; did you mean `{s}`?"));
            match e.path().to_string() {
                path if path == "." => self.error(format!("config: {message}{hint}")),
                path => self.error(format!("config `{path}`: {message}{hint}")),
            }
        })
    }

    /// An error about one field of the configuration, for checks of your own.
    #[must_use]
    pub fn config_error(&self, field: &str, problem: impl std::fmt::Display) -> Error {
        self.error(format!("config `{field}`: {problem}"))
    }

    fn error(&self, message: String) -> Error {
        Error::new(format!("operator `{}`, {message}", self.operator))
    }
}

/// The known name nearest to an unknown one, from serde's own message:
/// "unknown field `a`, expected one of `b`, `c`".
fn suggestion(message: &str) -> Option<&str> {
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let mut names = message.split('`').skip(1).step_by(2);
    let given = names.next().filter(|_| is_unknown)?;
    let (distance, best) = names.map(|name| (edit_distance(given, name), name)).min()?;
    (distance <= 1 + given.len() / 3).then_some(best)
}

/// Levenshtein's distance, in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[expect(dead_code, reason = "only its type matters")]
        rules: Vec<Rule>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    enum Rule {
        KeepAll,
        AtLeast(#[expect(dead_code, reason = "only its type matters")] u32),
    }

    fn message(config: serde_json::Value) -> String {
        Context::for_test(&config).config::<Config>().unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_value_is_named_by_its_path() {
        let m = message(json!({"rules": ["keep-all", {"at-least": "3"}]}));
        assert!(m.starts_with("operator `test`, config `rules[1]"), "{m}");
        assert!(m.contains("expected u32") && !m.contains("line"), "{m}");
    }

    #[test]
    fn a_missing_field_is_named() {
        assert_eq!(message(json!({})), "operator `test`, config: missing field `rules`");
    }

    #[test]
    fn a_misspelt_variant_is_suggested_and_a_far_one_is_not() {
        assert!(message(json!({"rules": ["keepall"]})).ends_with("did you mean `keep-all`?"));
        assert!(!message(json!({"rules": ["zzzzzzzz"]})).contains("did you mean"));
    }

    #[test]
    fn edit_distance_counts_changes() {
        for (a, b, d) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0)] {
            assert_eq!(edit_distance(a, b), d, "{a} {b}");
        }
    }
}

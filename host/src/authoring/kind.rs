//! The kinds of operators that a project may begin with. Each exists in every language, does the
//! same there, and is held to the same cases.

use clap::ValueEnum;

/// What a new operator does at first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Keep some of the records
    #[default]
    Filter,
    /// Make another record of each
    Map,
    /// Make none, one or many of each
    FlatMap,
    /// Send records to several outputs, and reject bad ones
    Route,
    /// Count by key, with state that the host keeps
    Keyed,
    /// Count by key and window of event time
    Window,
    /// Say when a key has been silent for a while, with timers
    Timer,
    /// Add up by key and session, with states that merge
    Session,
    /// Keep state in its own memory, and save it
    Stateful,
    /// Read configuration, log, and count in metrics of its own
    Telemetry,
    /// Fail in the ways in which an operator can; for tests
    #[value(hide = true)]
    Failing,
}

impl Kind {
    /// As it is called on the command line and in names of files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Map => "map",
            Self::FlatMap => "flat-map",
            Self::Route => "route",
            Self::Keyed => "keyed",
            Self::Window => "window",
            Self::Timer => "timer",
            Self::Session => "session",
            Self::Stateful => "stateful",
            Self::Telemetry => "telemetry",
            Self::Failing => "failing",
        }
    }

    /// Which of the contract's worlds it is.
    #[must_use]
    pub fn world(self) -> World {
        match self {
            Self::Filter
            | Self::Map
            | Self::FlatMap
            | Self::Route
            | Self::Telemetry
            | Self::Failing => World::Processor,
            Self::Keyed | Self::Window | Self::Timer => World::Keyed,
            Self::Session => World::Session,
            Self::Stateful => World::Stateful,
        }
    }
}

/// The contract's worlds: which interfaces an operator exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, ValueEnum)]
pub enum World {
    /// `processor`.
    #[serde(rename = "processor-operator")]
    #[value(name = "processor-operator")]
    Processor,
    /// `processor` and `snapshot`.
    #[serde(rename = "stateful-operator")]
    #[value(name = "stateful-operator")]
    Stateful,
    /// `keyed-processor`.
    #[serde(rename = "keyed-operator")]
    #[value(name = "keyed-operator")]
    Keyed,
    /// `keyed-processor` and `state-check`.
    #[serde(rename = "checked-keyed-operator")]
    #[value(name = "checked-keyed-operator")]
    CheckedKeyed,
    /// `keyed-processor` and `session-merge`.
    #[serde(rename = "session-operator")]
    #[value(name = "session-operator")]
    Session,
    /// All three of keyed operators.
    #[serde(rename = "checked-session-operator")]
    #[value(name = "checked-session-operator")]
    CheckedSession,
}

impl World {
    /// As the contract calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Processor => "processor-operator",
            Self::Stateful => "stateful-operator",
            Self::Keyed => "keyed-operator",
            Self::CheckedKeyed => "checked-keyed-operator",
            Self::Session => "session-operator",
            Self::CheckedSession => "checked-session-operator",
        }
    }

    /// The contract's interfaces that it exports.
    #[must_use]
    pub fn interfaces(self) -> &'static [&'static str] {
        match self {
            Self::Processor => &["processor"],
            Self::Stateful => &["processor", "snapshot"],
            Self::Keyed => &["keyed-processor"],
            Self::CheckedKeyed => &["keyed-processor", "state-check"],
            Self::Session => &["keyed-processor", "session-merge"],
            Self::CheckedSession => &["keyed-processor", "session-merge", "state-check"],
        }
    }

    /// The world with the most interfaces, all of which are among these.
    #[must_use]
    pub fn of(exported: &[String]) -> Option<Self> {
        let fits = |world: &&Self| {
            world.interfaces().iter().all(|name| exported.iter().any(|have| have == name))
        };
        let all = Self::value_variants().iter();
        all.filter(fits).max_by_key(|world| world.interfaces().len()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authoring::embedded;

    #[test]
    fn kinds_and_worlds_are_called_what_the_command_line_and_the_contract_call_them() {
        for kind in Kind::value_variants() {
            let value = kind.to_possible_value().unwrap();
            assert_eq!(value.get_name(), kind.word());
        }
        let (_, wit) = embedded::below("wit").find(|(name, _)| *name == "world.wit").unwrap();
        for world in World::value_variants() {
            let mut exports = exports_of(wit, world.word());
            exports.sort_unstable();
            let mut known = world.interfaces().to_vec();
            known.sort_unstable();
            assert_eq!(exports, known, "{}", world.word());
            assert_eq!(World::of(&exports), Some(*world));
            assert_eq!(world.to_possible_value().unwrap().get_name(), world.word());
        }
    }

    /// What a world exports, with those that it includes.
    fn exports_of(wit: &str, world: &str) -> Vec<String> {
        let (_, text) = wit.split_once(&format!("world {world} {{")).unwrap();
        let lines = text.split_once('}').unwrap().0.lines().map(|line| line.trim());
        lines
            .filter_map(|line| line.trim_end_matches(';').split_once(' '))
            .flat_map(|(word, name)| match word {
                "export" => vec![name.to_owned()],
                "include" => exports_of(wit, name),
                _ => Vec::new(),
            })
            .collect()
    }
}

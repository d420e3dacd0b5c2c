//! The command line as a client of a server: commands that are run to their end, with a server in
//! their environment or without.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{
    place::Place,
    program::{guests, program},
    served::Served,
};

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its code; none if it was killed.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it said on standard error.
    pub said: String,
}

impl Ended {
    /// Runs a command to its end.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn of(mut command: Command) -> Self {
        let output =
            command.stdin(Stdio::null()).output().expect("the program runs, and prints text");
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("the program runs, and prints text"),
            said: String::from_utf8(output.stderr).expect("the program runs, and prints text"),
        }
    }

    /// What it printed, if it ended well.
    ///
    /// # Panics
    /// If it did not.
    #[must_use]
    pub fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.said);
        self.out
    }

    /// The same, as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.well()).expect("the program runs, and prints text")
    }

    /// That it ended so, and said this.
    ///
    /// # Panics
    /// If it did not.
    pub fn refused(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.said);
        for said in said {
            assert!(self.said.contains(said), "`{said}` is not in {}", self.said);
        }
        assert_eq!(self.out, "");
    }
}

/// The program in a place that is also its home, and with nothing about servers in its environment.
#[must_use]
pub fn alone(place: &Place) -> Command {
    let mut command = program();
    command.current_dir(place.path("")).env("HOME", place.path("home"));
    command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME").env_remove("COFFERDAM_DATA");
    for name in ["SERVER", "PROFILE", "TOKEN", "TOKEN_FILE", "CA"] {
        command.env_remove(format!("COFFERDAM_{name}"));
    }
    command
}

/// A command without a server.
#[must_use]
pub fn offline(place: &Place, arguments: &[&str]) -> Ended {
    let mut command = alone(place);
    command.args(arguments);
    Ended::of(command)
}

/// A command with the server, and its first token, in the environment.
#[must_use]
pub fn ask(place: &Place, served: &Served, arguments: &[&str]) -> Ended {
    let mut command = alone(place);
    command.env("COFFERDAM_SERVER", format!("http://{}", served.address()));
    command.env("COFFERDAM_TOKEN", &served.token).args(arguments);
    Ended::of(command)
}

/// The path of an operator that was built from this repository.
#[must_use]
pub fn guest(name: &str) -> String {
    guests().join(format!("{name}.wasm")).display().to_string()
}

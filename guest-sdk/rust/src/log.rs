//! Log lines, which the host shows with the operator's name. In native tests
//! they go to the harness.

use std::fmt;

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For the operator's author, in abundance.
    Trace,
    /// For the operator's author.
    Debug,
    /// Good to know for whoever runs the job.
    Info,
    /// Whoever runs the job should look at it.
    Warn,
    /// Something is broken.
    Error,
}

/// Writes one line. The macros [`info!`](crate::info) and so on are shorter.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    let text;
    let line = match message.as_str() {
        Some(line) => line,
        None => {
            text = message.to_string();
            &text
        }
    };
    crate::platform::log(level, line);
}

macro_rules! level_macro {
    ($d:tt $name:ident, $level:ident) => {
        #[doc = concat!("Logs a line with level ", stringify!($name), "; takes what `format!` takes.")]
        ///
        /// ```
        #[doc = concat!("cofferdam_sdk::", stringify!($name), "!(\"{} stations known\", 12);")]
        /// ```
        #[macro_export]
        macro_rules! $name {
            ($d($d arg:tt)*) => {
                $crate::log::write($crate::log::Level::$level, ::core::format_args!($d($d arg)*))
            };
        }
    };
}

level_macro!($ trace, Trace);
level_macro!($ debug, Debug);
level_macro!($ info, Info);
level_macro!($ warn, Warn);
level_macro!($ error, Error);

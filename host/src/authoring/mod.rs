//! What an author does with an operator's source before anybody else sees it: a project is made,
//! built with the tools of its language, tried on recorded input, and measured. Needs no server.
//!
//! ```text
//!  new ──▶ a project ──▶ build ──▶ a component ──▶ check: cases, properties ──▶ bench
//!           operator.toml           by the language's   in a real slot (`trial`)
//!           source, cases, SDK      tools, and ours
//! ```
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`project`] | a project and its `operator.toml` |
//! | [`kind`] | the kinds of operators that a project may begin with |
//! | [`language`] | the languages, and what is known of each |
//! | `languages/` | one file a language: its tools, and how a module is made with them |
//! | [`embedded`] | the text of SDKs and of new projects, which is in the program |
//! | [`new`](mod@new) | making a project |
//! | [`tool`] | finding and running the programs of a language |
//! | [`build`](mod@build) | from source to a checked component |
//! | `fit` | whether a module exports what its project says |
//! | [`case`] | recorded input, and what is to come of it |
//! | [`runner`] | trying a component on it |
//! | [`properties`] | what every operator should hold |
//! | [`check`](mod@check) | a case with all of that |
//! | [`bench`](mod@bench) | how fast it is, beside one that does nothing |
//! | [`changes`] | whether a project's files have changed |

pub mod bench;
pub mod build;
pub mod case;
pub mod changes;
pub mod check;
pub mod embedded;
mod fit;
pub mod kind;
pub mod language;
mod languages;
pub mod new;
pub mod project;
pub mod properties;
pub mod runner;
pub mod tool;

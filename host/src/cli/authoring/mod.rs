//! `cofferdam operator new`, `build`, `test`, `bench` and `dev`: what an author does on their own
//! machine. What is done stands in the room `authoring`; here it is asked for and shown.
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`args`] | their options and help |
//! | `new` | `operator new` |
//! | `build` | `operator build`, and `operator inspect` of a file |
//! | `subject` | what `test` and `bench` are about: a component and its cases, and what runs them |
//! | `test`, `test_view` | `operator test` |
//! | `bench` | `operator bench` |
//! | `dev` | `operator dev` |

pub mod args;
pub(super) mod bench;
pub(super) mod build;
pub(super) mod dev;
pub(super) mod new;
mod subject;
pub(super) mod test;
mod test_view;

use super::terminal::{print, refuse};

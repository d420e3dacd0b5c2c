//! The zoo: hostile operators, made for a test in the moment that it runs. An
//! operator is a core module written as text ([`Guest`]), and what it answers
//! is an image of its memory ([`Outcome`]), so that it may hold anything that
//! no compiler would write. The [`Arena`] runs it in the real sandbox beside a
//! neighbour that behaves. The attacks themselves stand in `tests/hostile*.rs`.

mod arena;
pub mod bombs;
mod guest;
mod image;

pub use arena::{Arena, batch, settings};
pub use guest::{ANSWER, Guest, component, of_other_types};
pub use image::{Column, Emission, FoldOutcome, List, Origin, Outcome, Rejection, Timer};

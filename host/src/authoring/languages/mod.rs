//! One file a language: the tools that it needs, what to install where they are missing, and how
//! a module is made with them.

pub(super) mod c;
pub(super) mod cpp;
pub(super) mod expr;
pub(super) mod go;
pub(super) mod javascript;
pub(super) mod python;
pub(super) mod rust;
pub(super) mod typescript;
pub(super) mod zig;

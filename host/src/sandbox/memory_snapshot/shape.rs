//! How much state a component has, and where access to it is.

use std::rc::Rc;

use super::module::Number;

/// How many memories an instance of a component may have, all together. The sandbox
/// gives it far fewer.
pub(super) const MAX_MEMORIES: usize = 64;
/// How many mutable globals. Real components have a handful.
pub(super) const MAX_GLOBALS: usize = 4096;
/// How many nested instances with state.
pub(super) const MAX_INSTANCES: usize = 256;

/// The state of a component, and of the components in it.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Memories of its own core instances.
    pub(super) memories: u32,
    /// Mutable globals of its own core instances.
    pub(super) globals: Vec<Number>,
    /// Instances of nested components that have any state.
    pub(super) children: Vec<Rc<Shape>>,
    /// Memories, globals and instances, with all that is nested.
    total: (usize, usize, usize),
}

impl Shape {
    pub(super) fn new(memories: u32, globals: Vec<Number>, children: Vec<Rc<Shape>>) -> Self {
        let own: (usize, usize, usize) = (memories as usize, globals.len(), 1);
        // A few nested components can be instantiated very often.
        let total = children.iter().fold(own, |sum, child| {
            let (memories, globals, instances) = child.total;
            (
                sum.0.saturating_add(memories),
                sum.1.saturating_add(globals),
                sum.2.saturating_add(instances),
            )
        });
        Self { memories, globals, children, total }
    }

    /// Whether there is nothing to save.
    pub(super) fn is_empty(&self) -> bool {
        self.memories == 0 && self.globals.is_empty() && self.children.is_empty()
    }

    /// Memories, globals and instances, with all that is nested.
    pub(super) fn total(&self) -> (usize, usize, usize) {
        self.total
    }

    /// How many values its own globals are read as.
    pub(super) fn slots(&self) -> u32 {
        self.globals.iter().map(|number| number.slots()).sum()
    }
}

//! Counts the records of each key in each window, and emits the count when the window ends.

const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.keyed, @This());
}

const State = extern struct { count: u64 = 0 };

pub fn fold(group: *cofferdam.Group, _: *cofferdam.Outcome) !void {
    var state = try group.load(State) orelse State{};
    state.count += group.rows.len;
    try group.store(state);
}

pub fn fire(group: *cofferdam.Group, firing: cofferdam.Firing, out: *cofferdam.Outcome) !void {
    const state = try group.load(State) orelse State{};
    const window = group.window orelse return cofferdam.fail("this operator needs a window", .{});
    const value = try out.emitWriter(firing, .{});
    try value.put("{\"key\":");
    try value.json(group.key);
    try value.put(",\"window_start\":");
    try value.int(window.start);
    try value.put(",\"window_end\":");
    try value.int(window.end);
    try value.put(",\"count\":");
    try value.int(state.count);
    try value.put("}");
}

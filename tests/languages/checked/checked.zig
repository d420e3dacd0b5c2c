//! Every export there is, and timers of processing time; the same as checked.c and checked.cpp.

const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.checked_session, @This());
}

pub fn fold(group: *cofferdam.Group, _: *cofferdam.Outcome) !void {
    try group.setTimer(.processing, group.now.processing + 1000);
    try group.setTimer(.processing, group.now.processing + 2000);
    try group.deleteTimer(.processing, group.now.processing + 2000);
    try group.setState(group.batch.record(group.rows[group.rows.len - 1]).value);
}

pub fn fire(group: *cofferdam.Group, firing: cofferdam.Firing, out: *cofferdam.Outcome) !void {
    try out.emit(firing, .{ .value = group.state, .timestamp = @intFromBool(firing.kind == .processing) });
    try group.deleteState();
}

pub fn merge(_: []const u8, earlier: []const u8, later: []const u8, merged: *cofferdam.Writer) !void {
    try merged.put(earlier);
    try merged.put(later);
}

pub fn check(_: []const u8, state: []const u8) !void {
    if (state.len >= 3) return cofferdam.fail("a state of {d} bytes", .{state.len});
}

//! Counts the records of each key in each window, and emits the count when the window ends.

const std = @import("std");
const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.keyed, @This());
}

const State = extern struct { count: u64 = 0 };

pub fn fold(group: *cofferdam.Group, out: *cofferdam.Outcome) !void {
    if (!std.unicode.utf8ValidateSlice(group.key)) {
        var refused = group.records();
        while (refused.next()) |record| try out.reject(record, "the key is not UTF-8");
        return;
    }
    var state = try group.load(State) orelse State{};
    state.count += group.rows.len;
    try group.store(state);
}

pub fn fire(group: *cofferdam.Group, firing: cofferdam.Firing, out: *cofferdam.Outcome) !void {
    const state = try group.load(State) orelse return; // All that came was refused.
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

const Harness = cofferdam.testing.Harness(@This());

test "a window is emitted when it ends" {
    var t = try Harness.open("{}");
    defer t.deinit();
    t.tumbling(1000);
    try t.send(&.{ .{ .key = "a", .timestamp = 0 }, .{ .key = "a", .timestamp = 999 }, .{ .key = "a", .timestamp = 1000 } });
    try t.expectValues(0, &.{});
    try t.watermark(999);
    try t.expectValues(0, &.{"{\"key\":\"a\",\"window_start\":0,\"window_end\":1000,\"count\":2}"});
    t.clear();
    try t.close();
    try t.expectValues(0, &.{"{\"key\":\"a\",\"window_start\":1000,\"window_end\":2000,\"count\":1}"});
}

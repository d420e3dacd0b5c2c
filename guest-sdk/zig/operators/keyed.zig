//! Counts the records of each key, and emits the count so far for each record.

const std = @import("std");
const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.keyed, @This());
}

const State = extern struct { count: u64 = 0 };

pub fn fold(group: *cofferdam.Group, out: *cofferdam.Outcome) !void {
    var records = group.records();
    if (!std.unicode.utf8ValidateSlice(group.key)) {
        while (records.next()) |record| try out.reject(record, "the key is not UTF-8");
        return;
    }
    var state = try group.load(State) orelse State{};
    while (records.next()) |record| {
        state.count += 1;
        const value = try out.emitWriter(record, .{});
        try value.put("{\"key\":");
        try value.json(group.key);
        try value.put(",\"count\":");
        try value.int(state.count);
        try value.put("}");
    }
    try group.store(state);
}

const Harness = cofferdam.testing.Harness(@This());

test "each key is counted by itself" {
    var t = try Harness.open("{}");
    defer t.deinit();
    try t.send(&.{ .{ .key = "a" }, .{ .key = "b\"" } });
    try t.send(&.{.{ .key = "a" }});
    try t.expectValues(0, &.{ "{\"key\":\"a\",\"count\":1}", "{\"key\":\"b\\\"\",\"count\":1}", "{\"key\":\"a\",\"count\":2}" });
    try t.send(&.{.{ .key = "\xff" }});
    try t.expectReasons(&.{"the key is not UTF-8"});
    try std.testing.expectEqual(2, t.states());
}

//! Adds up the numbers of each key's sessions, and emits sum and count when a session ends.

const std = @import("std");
const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.session, @This());
}

const State = extern struct { sum: i64 = 0, count: u64 = 0 };

pub fn fold(group: *cofferdam.Group, out: *cofferdam.Outcome) !void {
    if (!std.unicode.utf8ValidateSlice(group.key)) {
        var refused = group.records();
        while (refused.next()) |record| try out.reject(record, "the key is not UTF-8");
        return;
    }
    var state = try group.load(State) orelse State{};
    var records = group.records();
    while (records.next()) |record| {
        const number = integer(record.value) orelse {
            try out.reject(record, "not a number");
            continue;
        };
        state.sum += number;
        state.count += 1;
    }
    if (state.count > 0) try group.store(state);
}

/// `std.fmt.parseInt` reads `1_000`, too.
fn integer(text: []const u8) ?i64 {
    if (std.mem.findScalar(u8, text, '_') != null) return null;
    return std.fmt.parseInt(i64, text, 10) catch null;
}

pub fn merge(_: []const u8, earlier: []const u8, later: []const u8, merged: *cofferdam.Writer) !void {
    const a, const b = .{ try cofferdam.stateOf(State, earlier), try cofferdam.stateOf(State, later) };
    const both: State = .{ .sum = a.sum + b.sum, .count = a.count + b.count };
    try merged.put(std.mem.asBytes(&both));
}

pub fn fire(group: *cofferdam.Group, firing: cofferdam.Firing, out: *cofferdam.Outcome) !void {
    const state = try group.load(State) orelse return;
    const value = try out.emitWriter(firing, .{});
    try value.put("{\"key\":");
    try value.json(group.key);
    try value.put(",\"sum\":");
    try value.int(state.sum);
    try value.put(",\"count\":");
    try value.int(state.count);
    try value.put("}");
}

const Harness = cofferdam.testing.Harness(@This());

test "a record between two sessions makes them one" {
    var t = try Harness.open("{}");
    defer t.deinit();
    t.session(10);
    try t.send(&.{
        .{ .key = "a", .value = "1", .timestamp = 0 },
        .{ .key = "a", .value = "2", .timestamp = 15 },
        .{ .key = "a", .value = "1_000", .timestamp = 16 },
    });
    try t.expectReasons(&.{"not a number"});
    try t.send(&.{.{ .key = "a", .value = "4", .timestamp = 8 }});
    try t.close();
    try t.expectValues(0, &.{"{\"key\":\"a\",\"sum\":7,\"count\":3}"});
}

//! Adds up the numbers of each key's sessions, and emits sum and count when a session ends.

const std = @import("std");
const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.session, @This());
}

const State = extern struct { sum: i64 = 0, count: u64 = 0 };

pub fn fold(group: *cofferdam.Group, out: *cofferdam.Outcome) !void {
    var state = try group.load(State) orelse State{};
    var records = group.records();
    while (records.next()) |record| {
        const number = std.fmt.parseInt(i64, record.value, 10) catch {
            try out.reject(record, "not a number");
            continue;
        };
        state.sum += number;
        state.count += 1;
    }
    if (state.count > 0) try group.store(state);
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

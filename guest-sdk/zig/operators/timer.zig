//! Says when a key has been idle: no record for `timeout_ms` of event time.

const std = @import("std");
const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.keyed, @This());
}

const Config = struct { timeout_ms: i64 = 10_000 };
var config: Config = undefined;

const State = extern struct {
    /// Event time of the last record.
    last: i64,
    count: u64,
};

pub fn open(_: cofferdam.Context) !void {
    config = try cofferdam.config(Config);
}

pub fn fold(group: *cofferdam.Group, out: *cofferdam.Outcome) !void {
    if (!std.unicode.utf8ValidateSlice(group.key)) {
        var refused = group.records();
        while (refused.next()) |record| try out.reject(record, "the key is not UTF-8");
        return;
    }
    var known = try group.load(State);
    var records = group.records();
    while (records.next()) |record| {
        const time = record.timestamp orelse {
            try out.reject(record, "the record has no event time");
            continue;
        };
        if (known) |state| try group.deleteTimer(.event, state.last + config.timeout_ms);
        try group.setTimer(.event, time + config.timeout_ms);
        const before = if (known) |state| state.count else 0;
        known = .{ .last = time, .count = before + 1 };
    }
    if (known) |state| try group.store(state);
}

pub fn fire(group: *cofferdam.Group, firing: cofferdam.Firing, out: *cofferdam.Outcome) !void {
    const state = try group.load(State) orelse return;
    const value = try out.emitWriter(firing, .{});
    try value.put("{\"key\":");
    try value.json(group.key);
    try value.put(",\"idle_since\":");
    try value.int(state.last);
    try value.put(",\"records\":");
    try value.int(state.count);
    try value.put("}");
    try group.deleteState();
}

const Harness = cofferdam.testing.Harness(@This());

test "a key that falls silent is told once" {
    var t = try Harness.open("{\"timeout_ms\":100}");
    defer t.deinit();
    try t.send(&.{ .{ .key = "a", .timestamp = 0 }, .{ .key = "a", .timestamp = 50 } });
    try t.watermark(149);
    try t.expectValues(0, &.{});
    try t.watermark(150);
    try t.expectValues(0, &.{"{\"key\":\"a\",\"idle_since\":50,\"records\":2}"});
    try std.testing.expectEqual(0, t.states() + t.timers.items.len);
}

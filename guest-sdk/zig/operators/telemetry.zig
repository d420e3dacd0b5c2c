//! Keeps every record, and shows configuration, log lines and metrics.

const std = @import("std");
const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.processor, @This());
}

const Config = struct { greeting: []const u8, every: u32 = 2 };
var config: Config = undefined;
var seen: u64 = 0;

pub fn open(context: cofferdam.Context) !void {
    config = try cofferdam.config(Config);
    if (config.every == 0) return cofferdam.fail("config: every must be 1 at least", .{});
    seen = 0;
    cofferdam.log(.info, "{s}, subtask {d} of {d}", .{ config.greeting, context.subtask, context.parallelism });
}

pub fn process(batch: cofferdam.Batch, out: *cofferdam.Outcome) !void {
    var records = batch.records();
    while (records.next()) |record| {
        cofferdam.metrics.histogram("value_bytes", @floatFromInt(record.value.len));
        seen += 1;
        if (seen % config.every == 0) cofferdam.log(.debug, "record {d}: {s}", .{ seen, record.value });
    }
    if (batch.len > 0) {
        cofferdam.metrics.counter("records", batch.len);
        const last = batch.record(batch.len - 1);
        cofferdam.metrics.gauge("last_value_bytes", @floatFromInt(last.value.len));
    }
    try out.keepAll(0);
}

const Harness = cofferdam.testing.Harness(@This());

test "it says hello, and counts" {
    try std.testing.expectError(error.Failed, Harness.open("{}"));
    try std.testing.expectEqualStrings("config: greeting is missing", cofferdam.testing.message());

    var t = try Harness.open("{\"greeting\":\"hello\"}");
    defer t.deinit();
    try t.send(&.{ .{ .value = "a" }, .{ .value = "bcd" } });
    try t.expectValues(0, &.{ "a", "bcd" });
    try std.testing.expectEqualStrings("hello, subtask 0 of 1", t.lines()[0].text);
    try std.testing.expectEqualStrings("record 2: bcd", t.lines()[1].text);
    try std.testing.expectEqual(2, t.counter("records"));
    try std.testing.expectEqualSlices(f64, &.{ 1, 3 }, t.histogram("value_bytes"));
    try std.testing.expectEqual(3, t.gauge("last_value_bytes"));
}

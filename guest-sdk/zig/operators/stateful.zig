//! Emits, for each record, how many bytes of values have come so far: state in the operator's own
//! memory, which a snapshot saves.

const std = @import("std");
const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.stateful, @This());
}

var total: u64 = 0;

pub fn open(_: cofferdam.Context) !void {
    total = 0;
}

pub fn process(batch: cofferdam.Batch, out: *cofferdam.Outcome) !void {
    var records = batch.records();
    while (records.next()) |record| {
        total += record.value.len;
        try (try out.emitWriter(record, .{})).int(total);
    }
}

pub fn snapshot(state: *cofferdam.Writer) !void {
    try state.put(std.mem.asBytes(&total));
}

pub fn restore(state: []const u8) !void {
    total = try cofferdam.stateOf(u64, state);
}

const Harness = cofferdam.testing.Harness(@This());

test "the total survives a restart" {
    var t = try Harness.open("{}");
    defer t.deinit();
    try t.send(&.{ .{ .value = "abc" }, .{ .value = "de" } });
    try t.expectValues(0, &.{ "3", "5" });
    const state = try t.snapshot();

    var fresh = try Harness.open("{}");
    defer fresh.deinit();
    try restore(state);
    try fresh.send(&.{.{ .value = "f" }});
    try fresh.expectValues(0, &.{"6"});
    try std.testing.expectError(error.Failed, restore("?"));
}

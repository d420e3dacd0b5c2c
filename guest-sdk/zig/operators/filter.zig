//! Keeps the records whose value contains a text: `contains` of the config.

const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.processor, @This());
}

const Config = struct { contains: []const u8 = "error" };
var config: Config = undefined;

pub fn open(_: cofferdam.Context) !void {
    config = try cofferdam.config(Config);
}

pub fn process(batch: cofferdam.Batch, out: *cofferdam.Outcome) !void {
    var records = batch.records();
    while (records.next()) |record| {
        if (cofferdam.contains(record.value, config.contains)) try out.keep(record);
    }
}

const Harness = cofferdam.testing.Harness(@This());

test "only what contains the text is kept" {
    var t = try Harness.open("{\"contains\":\"x\"}");
    defer t.deinit();
    try t.send(&.{ .{ .value = "an x" }, .{ .value = "none" }, .{ .value = "x" } });
    try t.expectValues(0, &.{ "an x", "x" });
}

//! Keeps every record, and shows configuration, log lines and metrics.

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

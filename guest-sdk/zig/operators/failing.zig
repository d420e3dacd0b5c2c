//! Fails when it is told to, in every way that there is.

const std = @import("std");
const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.processor, @This());
}

pub fn process(batch: cofferdam.Batch, out: *cofferdam.Outcome) !void {
    var records = batch.records();
    while (records.next()) |record| {
        if (std.mem.eql(u8, record.value, "panic")) @panic("boom: told to panic");
        if (std.mem.eql(u8, record.value, "error")) return cofferdam.fail("told to fail", .{});
        if (std.mem.eql(u8, record.value, "trap")) @trap();
        try out.keep(record);
    }
}

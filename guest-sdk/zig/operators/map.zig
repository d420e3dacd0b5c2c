//! Writes every ASCII digit of the value as `#`; key and time stay.

const std = @import("std");
const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.processor, @This());
}

pub fn process(batch: cofferdam.Batch, out: *cofferdam.Outcome) !void {
    var records = batch.records();
    while (records.next()) |record| {
        const value = try out.emitWriter(record, .{});
        mask(try value.extend(record.value.len), record.value);
    }
}

/// Sixteen bytes at a time: Zig does not make vectors of loops by itself.
fn mask(to: []u8, from: []const u8) void {
    const Block = @Vector(16, u8);
    var i: usize = 0;
    while (i + 16 <= from.len) : (i += 16) {
        const block: Block = from[i..][0..16].*;
        const digits = block -% @as(Block, @splat('0')) < @as(Block, @splat(10));
        to[i..][0..16].* = @select(u8, digits, @as(Block, @splat('#')), block);
    }
    for (to[i..], from[i..]) |*t, byte| t.* = if (byte >= '0' and byte <= '9') '#' else byte;
}

const Harness = cofferdam.testing.Harness(@This());

test "digits are masked, and the rest stays" {
    var t = try Harness.open("{}");
    defer t.deinit();
    try t.send(&.{.{ .value = "card 4711 0815 4242, 1 item", .key = "k", .timestamp = 7 }});
    try t.expectValues(0, &.{"card #### #### ####, # item"});
    try std.testing.expectEqualStrings("k", t.outputs.items[0].key);
    try std.testing.expectEqual(7, t.outputs.items[0].timestamp);
}

//! A record for each word of the value: key = the word in lower case, value = the word.

const std = @import("std");
const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.processor, @This());
}

pub fn process(batch: cofferdam.Batch, out: *cofferdam.Outcome) !void {
    var records = batch.records();
    while (records.next()) |record| {
        var words = std.mem.tokenizeScalar(u8, record.value, ' ');
        while (words.next()) |word| {
            const key = try std.ascii.allocLowerString(cofferdam.allocator(), word);
            try out.emit(record, .{ .key = key, .value = word });
        }
    }
}

const Harness = cofferdam.testing.Harness(@This());

test "each word is a record, with its lower case as key" {
    var t = try Harness.open("{}");
    defer t.deinit();
    try t.send(&.{.{ .value = "To be  or", .timestamp = 7 }});
    try t.expectValues(0, &.{ "To", "be", "or" });
    try std.testing.expectEqualStrings("to", t.outputs.items[0].key);
    try std.testing.expectEqual(7, t.outputs.items[2].timestamp);
}

//! What looks like a JSON object leaves by port 0, other values by port 1, empty ones are refused.

const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.processor, @This());
}

const objects = 0;
const others = 1;

pub fn process(batch: cofferdam.Batch, out: *cofferdam.Outcome) !void {
    var records = batch.records();
    while (records.next()) |record| {
        if (record.value.len == 0) {
            try out.reject(record, "the value is empty");
        } else {
            try out.keepTo(if (record.value[0] == '{') objects else others, record);
        }
    }
}

const Harness = cofferdam.testing.Harness(@This());

test "values leave by what they look like" {
    var t = try Harness.open("{}");
    defer t.deinit();
    try t.send(&.{ .{ .value = "{}" }, .{ .value = "text" }, .{ .value = "" } });
    try t.expectValues(objects, &.{"{}"});
    try t.expectValues(others, &.{"text"});
    try t.expectReasons(&.{"the value is empty"});
}

//! Mixes everything that a record can be emitted as; the same as mixed.c and mixed.cpp.

const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.processor, @This());
}

pub fn process(batch: cofferdam.Batch, out: *cofferdam.Outcome) !void {
    var records = batch.records();
    while (records.next()) |record| switch (record.index % 7) {
        0 => try out.keep(record),
        1 => try out.emit(record, .{ .value = "new" }),
        2 => try out.emit(record, .{ .key = "other" }),
        3 => try out.emit(record, .{ .timestamp = -1, .value = "" }),
        4 => try out.emit(record, .{ .port = 2, .key = "", .value = record.value, .timestamp = 4 }),
        5 => {
            try out.keepTo(2, record);
            try out.keep(batch.record(0));
        },
        else => try out.emit({}, .{ .key = "fresh", .value = record.value }),
    };
    try out.keepAll(1);
    try out.emit(batch.record(batch.len - 1), .{ .port = 1, .value = "after all" });
}

pub fn finish(out: *cofferdam.Outcome) !void {
    try out.emit({}, .{ .value = "the end", .timestamp = 99 });
    try out.emit({}, .{ .port = 1, .key = "only a key" });
    try out.keepTo(2, {});
}

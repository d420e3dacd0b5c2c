//! Writes every ASCII digit of the value as `#`; key and time stay.

const cofferdam = @import("cofferdam");

pub const panic = cofferdam.panic;
comptime {
    cofferdam.exportOperator(.processor, @This());
}

pub fn process(batch: cofferdam.Batch, out: *cofferdam.Outcome) !void {
    var records = batch.records();
    while (records.next()) |record| {
        const value = try out.emitWriter(record, .{});
        for (try value.extend(record.value.len), record.value) |*to, byte| {
            to.* = if (byte >= '0' and byte <= '9') '#' else byte;
        }
    }
}

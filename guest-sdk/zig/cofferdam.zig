//! Stream operators for Cofferdam in Zig. An operator is a file with some functions and one line:
//!
//!     const cofferdam = @import("cofferdam");
//!
//!     pub const panic = cofferdam.panic;
//!     comptime {
//!         cofferdam.exportOperator(.processor, @This());
//!     }
//!
//!     pub fn process(batch: cofferdam.Batch, out: *cofferdam.Outcome) !void {
//!         var records = batch.records();
//!         while (records.next()) |record| {
//!             if (record.value.len > 0) try out.keep(record);
//!         }
//!     }
//!
//! Memory: what `allocator()` gives lives until the call that the host made is over, and is then
//! forgotten as a whole; nothing needs to be freed. What is allocated in `open` stays for good.
//! Slices of a batch, a key or a state are valid during the call.
//!
//! Errors: whatever error comes out of your functions fails the batch (from `open`: the job) with its
//! name as the message; `fail` gives it a message of your own.
//!
//! What stands here is the surface, and what goes out. How a call of the host becomes calls of yours
//! is in `contract.zig`, native tests are in `testing.zig`.

const std = @import("std");
const builtin = @import("builtin");
const Allocator = std.mem.Allocator;
const contract = @import("contract.zig");

/// For native tests: a host that needs no Wasm.
pub const testing = @import("testing.zig");
pub const Kind = contract.Kind;
pub const exportOperator = contract.exportOperator;

// ------------------------------------------------------------------------------------ bytes

/// Where a text begins in some bytes; null if it is not there. Sixteen places are looked at at a time,
/// for the text's first and last byte: in Wasm this is ten times as fast as `std.mem.find`.
pub fn find(bytes: []const u8, text: []const u8) ?usize {
    if (text.len == 0) return 0;
    if (text.len > bytes.len) return null;
    const places, const tail = .{ bytes.len - text.len + 1, text.len - 1 };
    const Block = @Vector(16, u8);
    const first: Block, const last: Block = .{ @splat(text[0]), @splat(text[tail]) };
    var i: usize = 0;
    while (i + 16 <= places) {
        const begins: Block = bytes[i..][0..16].*;
        const ends: Block = bytes[i + tail ..][0..16].*;
        var maybe: u16 = @bitCast((begins == first) & (ends == last));
        while (maybe != 0) : (maybe &= maybe - 1) {
            const at = i + @ctz(maybe);
            if (std.mem.eql(u8, bytes[at..][0..text.len], text)) return at;
        }
        i += 16;
        // The last ones together with some of those before.
        if (i < places and i + 16 > places) i = places - 16;
    }
    while (i < places) : (i += 1) {
        if (bytes[i] == text[0] and std.mem.eql(u8, bytes[i..][0..text.len], text)) return i;
    }
    return null;
}

/// Whether a text is in some bytes. The empty one always is.
pub fn contains(bytes: []const u8, text: []const u8) bool {
    return find(bytes, text) != null;
}

test "a text is found where std.mem finds it" {
    var random: std.Random.DefaultPrng = .init(7);
    var bytes: [70]u8 = undefined;
    var text: [5]u8 = undefined;
    for (0..20_000) |_| {
        for (&bytes) |*b| b.* = 'a' + random.random().uintLessThan(u8, 3);
        for (&text) |*b| b.* = 'a' + random.random().uintLessThan(u8, 3);
        const where = bytes[0..random.random().uintAtMost(usize, bytes.len)];
        const what = text[0..random.random().uintAtMost(usize, text.len)];
        try std.testing.expectEqual(std.mem.find(u8, where, what), find(where, what));
    }
}

// ----------------------------------------------------------------------------------- memory

/// Memory until the end of the call; in `open`, for good.
pub fn allocator() Allocator {
    return contract.allocator();
}

/// Copies some bytes. A copy of unknown length leaves compiled code in Wasm, some 10 ns whatever the
/// length: short ones are plain loads and stores, of a piece from the beginning and one up to the
/// end, which overlap in the middle.
inline fn copy(to: [*]u8, from: []const u8) void {
    const len = from.len;
    if (len < 4) {
        if (len == 0) return;
        const first, const middle, const last = .{ from[0], from[len / 2], from[len - 1] };
        to[0] = first;
        to[len / 2] = middle;
        to[len - 1] = last;
    } else if (len < 8) {
        copyEnds(4, to, from);
    } else if (len <= 16) {
        copyEnds(8, to, from);
    } else if (len < 256) {
        const last: [16]u8 = from[len - 16 ..][0..16].*;
        var i: usize = 0;
        while (i + 16 <= len) : (i += 16) to[i..][0..16].* = from[i..][0..16].*;
        to[len - 16 ..][0..16].* = last;
    } else {
        @memcpy(to[0..len], from);
    }
}

inline fn copyEnds(comptime n: usize, to: [*]u8, from: []const u8) void {
    const first: [n]u8 = from[0..n].*;
    const last: [n]u8 = from[from.len - n ..][0..n].*;
    to[0..n].* = first;
    to[from.len - n ..][0..n].* = last;
}

/// Bytes that grow: a value, a state, a snapshot.
pub const Writer = struct {
    bytes: std.ArrayList(u8) = .empty,

    /// Makes room for `n` bytes more and takes them as written; they are yours to fill.
    pub inline fn extend(w: *Writer, n: usize) Allocator.Error![]u8 {
        if (w.bytes.capacity - w.bytes.items.len < n) try w.grow(n);
        const start = w.bytes.items.len;
        w.bytes.items.len += n;
        return w.bytes.items[start..];
    }

    fn grow(w: *Writer, n: usize) Allocator.Error!void {
        @branchHint(.cold);
        try w.bytes.ensureUnusedCapacity(allocator(), n);
    }

    /// Appends bytes.
    pub inline fn put(w: *Writer, text: []const u8) Allocator.Error!void {
        copy((try w.extend(text.len)).ptr, text);
    }

    /// Appends an integer in decimal.
    pub fn int(w: *Writer, n: anytype) Allocator.Error!void {
        var digits: [40]u8 = undefined;
        var at = digits.len;
        var left: u64 = @abs(n);
        while (true) {
            at -= 1;
            digits[at] = '0' + @as(u8, @intCast(left % 10));
            left /= 10;
            if (left == 0) break;
        }
        if (n < 0) {
            at -= 1;
            digits[at] = '-';
        }
        try w.put(digits[at..]);
    }

    /// Appends text, which must be UTF-8, as a JSON string, with its quotes.
    pub fn json(w: *Writer, text: []const u8) Allocator.Error!void {
        try w.put("\"");
        var clean: usize = 0;
        for (text, 0..) |c, i| {
            if (c >= 0x20 and c != '"' and c != '\\') continue;
            try w.put(text[clean..i]);
            clean = i + 1;
            switch (c) {
                '"' => try w.put("\\\""),
                '\\' => try w.put("\\\\"),
                0x08 => try w.put("\\b"),
                '\t' => try w.put("\\t"),
                '\n' => try w.put("\\n"),
                0x0c => try w.put("\\f"),
                '\r' => try w.put("\\r"),
                else => try w.put(&.{ '\\', 'u', '0', '0', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15] }),
            }
        }
        try w.put(text[clean..]);
        try w.put("\"");
    }

    /// Appends as `std.fmt` does.
    pub fn print(w: *Writer, comptime format: []const u8, args: anytype) Allocator.Error!void {
        try w.bytes.print(allocator(), format, args);
    }
};

// ------------------------------------------------------------------- log, metrics, errors

/// How much a line of log matters.
pub const Level = enum(u8) { trace, debug, info, warn, err };

/// Logs one line, formatted as `std.fmt` does.
pub fn log(level: Level, comptime format: []const u8, args: anytype) void {
    const line = std.fmt.allocPrint(allocator(), format, args) catch "(no memory for a line of log)";
    contract.host.log(level, line);
}

/// Metrics of your own. A call leaves the sandbox (some 200 ns): add up in the batch, report once.
pub const metrics = struct {
    /// Adds to a counter.
    pub fn counter(name: []const u8, delta: u64) void {
        contract.host.counter(name, delta);
    }

    /// Sets a gauge.
    pub fn gauge(name: []const u8, value: f64) void {
        contract.host.gauge(name, value);
    }

    /// Adds one observation to a histogram.
    pub fn histogram(name: []const u8, value: f64) void {
        contract.host.histogram(name, value);
    }
};

/// The error of `fail`.
pub const Failure = error{Failed};

/// An error with this message: `return cofferdam.fail("no such {s}", .{name});`
pub fn fail(comptime format: []const u8, args: anytype) Failure {
    contract.message = std.fmt.allocPrint(allocator(), format, args) catch "out of memory";
    return error.Failed;
}

/// What a root file should have as `panic`: it logs the message at `error`, and traps. The host finds
/// the record that was to blame, and shows where in the source it was.
pub const panic = std.debug.FullPanic(panicked);

fn panicked(text: []const u8, _: ?usize) noreturn {
    if (builtin.cpu.arch != .wasm32) std.debug.defaultPanic(text, @returnAddress());
    contract.host.log(.err, text);
    @trap();
}

// --------------------------------------------------------------------------- configuration

/// What an operator is told about itself when it is opened.
pub const Context = struct {
    /// The operator's name in the job.
    name: []const u8,
    /// Which of its parallel instances this is, from 0.
    subtask: u32,
    /// How many there are.
    parallelism: u32,
    /// How many inputs are connected.
    inputs: u32,
    /// How many output ports the job has given names to.
    outputs: u32,
};

/// The operator's whole `config`, a JSON object.
pub fn configJson() []const u8 {
    return contract.host.configAll();
}

/// The value of a key of the `config`: text as it is, anything else as JSON; null if it is not there.
pub fn configText(key: []const u8) ?[]const u8 {
    return contract.host.configGet(key);
}

/// The `config` as a struct of yours. A field without a default must be there, and nothing may be
/// there that is no field: then it is an error that says which. Read it in `open`, then it stays.
pub fn config(comptime T: type) !T {
    const text = configJson();
    const given = std.json.parseFromSliceLeaky(std.json.Value, allocator(), text, .{}) catch |e|
        return fail("config: {s}", .{@errorName(e)});
    if (given != .object) return fail("config: not an object", .{});
    var result: T = undefined;
    inline for (@typeInfo(T).@"struct".field_names, @typeInfo(T).@"struct".field_types, 0..) |name, Field, i| {
        if (given.object.get(name)) |value| {
            @field(result, name) = std.json.parseFromValueLeaky(Field, allocator(), value, .{}) catch |e|
                return fail("config: {s} is not what it must be ({s}): {s}", .{ name, @typeName(Field), @errorName(e) });
        } else if (defaultOf(T, i)) |default| {
            @field(result, name) = default;
        } else {
            return fail("config: {s} is missing", .{name});
        }
    }
    for (given.object.keys()) |key| {
        const known = inline for (@typeInfo(T).@"struct".field_names) |name| {
            if (std.mem.eql(u8, key, name)) break true;
        } else false;
        if (!known) return fail("config: there is no `{s}`; there is: {s}", .{ key, comptime namesOf(T) });
    }
    return result;
}

fn namesOf(comptime T: type) []const u8 {
    var all: []const u8 = "";
    for (@typeInfo(T).@"struct".field_names) |name| all = all ++ (if (all.len == 0) "" else ", ") ++ name;
    return all;
}

fn defaultOf(comptime T: type, comptime i: usize) ?@typeInfo(T).@"struct".field_types[i] {
    return @typeInfo(T).@"struct".field_attrs[i].defaultValue(@typeInfo(T).@"struct".field_types[i]);
}

// --------------------------------------------------------------------------------- batches

/// A column of byte strings: entry `i` is `data[offsets[i]..offsets[i + 1]]`. Without offsets it is
/// absent: every entry is empty.
pub const Column = struct {
    data: []const u8 = "",
    offsets: []const u32 = &.{},

    /// Entry `i`, which must be there.
    pub inline fn get(column: Column, i: usize) []const u8 {
        if (column.offsets.len == 0) return "";
        return column.data[column.offsets[i]..column.offsets[i + 1]];
    }

    /// How many entries there are; 0 if it is absent.
    pub fn len(column: Column) usize {
        return column.offsets.len -| 1;
    }
};

/// A record of a batch; its slices lie in the batch.
pub const Record = struct {
    /// Its index in the batch.
    index: u32,
    /// Empty where the stream has no keys.
    key: []const u8,
    value: []const u8,
    /// Event time, milliseconds since 1970.
    timestamp: ?i64,
};

/// Records that came in by one input port.
pub const Batch = struct {
    len: u32 = 0,
    keys: Column = .{},
    values: Column = .{},
    /// Event times, milliseconds since 1970; empty if the stream has none.
    timestamps: []const i64 = &.{},
    /// The input port, from 0.
    input: u32 = 0,

    /// Record `i`. Nothing is copied.
    pub inline fn record(batch: *const Batch, i: u32) Record {
        return .{
            .index = i,
            .key = batch.keys.get(i),
            .value = batch.values.get(i),
            .timestamp = if (i < batch.timestamps.len) batch.timestamps[i] else null,
        };
    }

    /// All records, in order.
    pub fn records(batch: *const Batch) Records {
        return .{ .batch = batch, .len = batch.len };
    }
};

/// Goes over records.
pub const Records = struct {
    batch: *const Batch,
    /// Which ones; all of the batch if there are none here.
    rows: ?[*]const u32 = null,
    len: u32,
    next_index: u32 = 0,

    /// The next one.
    pub inline fn next(records: *Records) ?Record {
        const i = records.next_index;
        if (i >= records.len) return null;
        records.next_index += 1;
        return records.batch.record(if (records.rows) |rows| rows[i] else i);
    }
};

// ----------------------------------------------------------------------------- what goes out

/// What an emitted record sets afresh; the rest comes from the record that it stems from.
pub const New = struct {
    /// The output port, from 0.
    port: u32 = 0,
    key: ?[]const u8 = null,
    value: ?[]const u8 = null,
    /// Event time, milliseconds since 1970.
    timestamp: ?i64 = null,
};

const fresh = std.math.maxInt(u32);

/// A column that is written: entry `i` begins at `starts[i]` and ends where the next one begins.
pub const Built = struct {
    data: Writer = .{},
    starts: []u32 = &.{},

    inline fn begin(column: *Built, i: usize) *Writer {
        column.starts[i] = @intCast(column.data.bytes.items.len);
        return &column.data;
    }

    /// What it has become, with so many entries.
    pub fn seal(column: *Built, n: usize) Column {
        column.starts[n] = @intCast(column.data.bytes.items.len);
        return .{ .data = column.data.bytes.items, .offsets = column.starts[0 .. n + 1] };
    }
};

/// Records for one port that set the same columns afresh.
pub const Segment = struct {
    next: ?*Segment = null,
    port: u32,
    origin: enum { fresh, all, rows },
    len: u32 = 0,
    capacity: u32,
    rows: []u32 = &.{},
    keys: ?Built = null,
    values: ?Built = null,
    times: ?[]i64 = null,

    fn grow(s: *Segment) Allocator.Error!void {
        @branchHint(.cold);
        const a, const capacity = .{ allocator(), @max(16, s.capacity * 2) };
        if (s.origin == .rows) s.rows = try a.realloc(s.rows, capacity);
        if (s.keys) |*keys| keys.starts = try a.realloc(keys.starts, capacity + 1);
        if (s.values) |*values| values.starts = try a.realloc(values.starts, capacity + 1);
        if (s.times) |times| s.times = try a.realloc(times, capacity);
        s.capacity = capacity;
    }
};

/// A record that is refused.
pub const Rejection = struct { index: u32, reason: []const u8 };

/// What a call is answered with: records for the output ports, and records that are refused. A source
/// is what a record stems from: a `Record`, in `fire` a `Firing`, or `{}`, which is nothing.
pub const Outcome = struct {
    batch: *const Batch,
    /// How many there are to stem from.
    rows: u32,
    /// How many bytes of values to make room for.
    value_room: usize,
    first: ?*Segment = null,
    last: ?*Segment = null,
    recent: ?*Segment = null,
    segments: u32 = 0,
    rejected: std.ArrayList(Rejection) = .empty,

    /// Emits the record as it is to port 0. It costs four bytes.
    pub inline fn keep(out: *Outcome, source: anytype) Allocator.Error!void {
        try out.emit(source, .{});
    }

    /// Emits the record as it is to a port.
    pub inline fn keepTo(out: *Outcome, port: u32, source: anytype) Allocator.Error!void {
        try out.emit(source, .{ .port = port });
    }

    /// Emits the whole batch as it is to a port, at no cost a record.
    pub fn keepAll(out: *Outcome, port: u32) Allocator.Error!void {
        if (out.rows > 0) out.recent = try out.beginSegment(port, .all, false, false, false);
    }

    /// Emits a record that stems from `source`, with what is given set afresh:
    /// `try out.emit(record, .{ .port = 1, .value = text });`
    pub inline fn emit(out: *Outcome, source: anytype, new: New) Allocator.Error!void {
        const from = originOf(source);
        const s = try out.segmentFor(from, new, new.value != null);
        const i = try begin(s, from, new);
        if (s.values) |*values| try values.begin(i).put(new.value orelse from.value);
    }

    /// The same, but the value is what is written to the writer that comes back, until the next record
    /// is emitted: it is written straight to where the host reads it.
    pub inline fn emitWriter(out: *Outcome, source: anytype, new: New) Allocator.Error!*Writer {
        const from = originOf(source);
        const s = try out.segmentFor(from, new, true);
        const i = try begin(s, from, new);
        return s.values.?.begin(i);
    }

    /// Refuses a record: it goes, with the reason, to the dead letters, and the others go on.
    pub fn reject(out: *Outcome, source: Record, reason: []const u8) Allocator.Error!void {
        try out.rejected.append(allocator(), .{ .index = source.index, .reason = reason });
    }

    inline fn originOf(source: anytype) Record {
        return switch (@TypeOf(source)) {
            Record => source,
            Firing => .{ .index = source.index, .key = source.key, .value = "", .timestamp = source.time },
            void, @TypeOf(.{}) => .{ .index = fresh, .key = "", .value = "", .timestamp = null },
            else => @compileError("a record stems from a Record, a Firing or {}"),
        };
    }

    /// Everything of a record but its value.
    inline fn begin(s: *Segment, from: Record, new: New) Allocator.Error!u32 {
        const i = s.len;
        s.len += 1;
        if (s.origin == .rows) s.rows[i] = from.index;
        if (s.keys) |*keys| try keys.begin(i).put(new.key orelse from.key);
        if (s.times) |times| times[i] = new.timestamp orelse (from.timestamp orelse 0);
        return i;
    }

    /// The segment that a record goes to. It joins the port's last one if that sets at least the columns
    /// that the record sets: columns beyond are copied, which is cheaper than another segment.
    inline fn segmentFor(out: *Outcome, from: Record, new: New, value: bool) Allocator.Error!*Segment {
        const recent = if (out.recent) |s| (if (s.port == new.port) s else out.lastOf(new.port)) else null;
        const s = recent orelse try out.beginFor(from, new, value);
        const target = if (takes(s, from, new, value)) s else try out.beginFor(from, new, value);
        out.recent = target;
        if (target.len == target.capacity) try target.grow();
        return target;
    }

    inline fn takes(s: *const Segment, from: Record, new: New, value: bool) bool {
        if (s.origin != @as(@FieldType(Segment, "origin"), if (from.index == fresh) .fresh else .rows)) return false;
        if (new.key != null and s.keys == null) return false;
        if (value and s.values == null) return false;
        if (s.times == null) return new.timestamp == null;
        // There is no such thing as a missing time within a column.
        return new.timestamp != null or from.timestamp != null;
    }

    fn lastOf(out: *Outcome, port: u32) ?*Segment {
        @branchHint(.cold);
        var found: ?*Segment = null;
        var at = out.first;
        while (at) |s| : (at = s.next) {
            if (s.port == port) found = s;
        }
        return found;
    }

    fn beginFor(out: *Outcome, from: Record, new: New, value: bool) Allocator.Error!*Segment {
        @branchHint(.cold);
        const stems = from.index != fresh;
        const key, const time = .{ new.key != null, new.timestamp != null };
        // Something must count the records that stem from nothing.
        return out.beginSegment(new.port, if (stems) .rows else .fresh, key, value or (!stems and !key and !time), time);
    }

    fn beginSegment(
        out: *Outcome,
        port: u32,
        origin: @FieldType(Segment, "origin"),
        key: bool,
        value: bool,
        time: bool,
    ) Allocator.Error!*Segment {
        const a, const s = .{ allocator(), try allocator().create(Segment) };
        const capacity = if (out.rows > 0) out.rows else 4;
        s.* = .{ .port = port, .origin = origin, .capacity = capacity };
        if (origin == .rows) s.rows = try a.alloc(u32, capacity);
        if (key) s.keys = .{ .starts = try a.alloc(u32, capacity + 1) };
        if (value) {
            s.values = .{ .starts = try a.alloc(u32, capacity + 1) };
            try s.values.?.data.bytes.ensureTotalCapacityPrecise(a, out.value_room);
        }
        if (time) s.times = try a.alloc(i64, capacity);
        if (out.last) |last| last.next = s else out.first = s;
        out.last = s;
        out.segments += 1;
        return s;
    }
};

// ----------------------------------------------------------- keyed state, timers and windows

/// A window of event time, milliseconds since 1970.
pub const Window = struct {
    /// The first millisecond.
    start: i64,
    /// The first millisecond behind it.
    end: i64,
};

/// What time it is. Use this and no clock of your own, so that a replay does the same again.
pub const Now = struct {
    /// No record older than this is expected any more.
    watermark: ?i64 = null,
    /// The host's clock, milliseconds since 1970.
    processing: i64 = 0,
};

/// Which time a timer waits for.
pub const TimerKind = enum(u8) { event, processing };

/// Why a group is fired: its window has ended, or a timer of event time or processing time is due.
pub const FiringKind = enum(u8) { window, event, processing };

/// What is due. Records may stem from it: they have the group's key and its time.
pub const Firing = struct {
    index: u32,
    key: []const u8,
    kind: FiringKind,
    /// The timer's time; for a window its last millisecond.
    time: i64,
};

/// A timer of a group.
pub const Timer = struct { group: u32, kind: TimerKind, at: i64 };

/// What the groups of a call change beside what they emit.
pub const Effects = struct {
    changed: std.ArrayList(u32) = .empty,
    states: Built = .{},
    set: std.ArrayList(Timer) = .empty,
    deleted: std.ArrayList(Timer) = .empty,

    fn note(timers: *std.ArrayList(Timer), others: *std.ArrayList(Timer), timer: Timer) Allocator.Error!void {
        // The contract applies the two lists in no order: the last word stands in one of them only.
        var i = others.items.len;
        while (i > 0 and others.items[i - 1].group == timer.group) : (i -= 1) {
            if (std.meta.eql(others.items[i - 1], timer)) _ = others.orderedRemove(i - 1);
        }
        if (timers.getLastOrNull()) |last| if (std.meta.eql(last, timer)) return;
        try timers.append(allocator(), timer);
    }
};

fn checkLayout(comptime T: type) void {
    if (!std.meta.hasUniqueRepresentation(T))
        @compileError(@typeName(T) ++ " has padding or no fixed layout: make it an extern struct, or use JSON");
}

/// A state or snapshot, as a value of yours that was stored byte by byte (`std.mem.asBytes`).
pub inline fn stateOf(comptime T: type, bytes: []const u8) Failure!T {
    comptime checkLayout(T);
    if (bytes.len != @sizeOf(T)) return fail(
        "a state of {d} bytes, not {d}: was it written by a version of this operator with another state?",
        .{ bytes.len, @sizeOf(T) },
    );
    return std.mem.bytesToValue(T, bytes[0..@sizeOf(T)]);
}

/// One key of a call, or one pair of key and window: its records, its state, its timers.
pub const Group = struct {
    index: u32,
    key: []const u8,
    window: ?Window,
    now: Now,
    batch: *const Batch,
    /// Which records of the batch are the group's, in order of arrival; none in `fire`.
    rows: []const u32,
    /// The state as bytes; empty where there is none.
    state: []const u8,
    effects: *Effects,
    touched: bool = false,

    /// The group's records, in order of arrival.
    pub fn records(group: *const Group) Records {
        return .{ .batch = group.batch, .rows = group.rows.ptr, .len = @intCast(group.rows.len) };
    }

    /// Sets the state. An empty one is none.
    pub fn setState(group: *Group, state: []const u8) Allocator.Error!void {
        const states = &group.effects.states;
        const start = states.starts[group.effects.changed.items.len];
        states.data.bytes.items.len = start;
        try states.data.put(state);
        group.touched = true;
        group.state = states.data.bytes.items[start..];
    }

    /// Deletes the state.
    pub fn deleteState(group: *Group) Allocator.Error!void {
        try group.setState("");
    }

    /// The state, as a value of yours that was stored byte by byte: an integer, an array, an
    /// `extern struct` or `packed struct` without padding. null where there is none.
    pub inline fn load(group: *const Group, comptime T: type) (Failure || Allocator.Error)!?T {
        if (group.state.len == 0) return null;
        return try stateOf(T, group.state);
    }

    /// Stores a value of yours byte by byte; see `load`.
    pub inline fn store(group: *Group, value: anytype) Allocator.Error!void {
        comptime checkLayout(@TypeOf(value));
        try group.setState(std.mem.asBytes(&value));
    }

    /// The state, as a value of yours that was stored as JSON.
    pub fn loadJson(group: *const Group, comptime T: type) !?T {
        if (group.state.len == 0) return null;
        return try std.json.parseFromSliceLeaky(T, allocator(), group.state, .{});
    }

    /// Stores a value of yours as JSON: slower, but later versions may add fields with defaults.
    pub fn storeJson(group: *Group, value: anytype) Allocator.Error!void {
        try group.setState(try std.json.Stringify.valueAlloc(allocator(), value, .{}));
    }

    /// Has `fire` called when the time has passed `at`, milliseconds since 1970. Setting a timer twice
    /// is setting it once.
    pub fn setTimer(group: *Group, kind: TimerKind, at: i64) Allocator.Error!void {
        const timer: Timer = .{ .group = group.index, .kind = kind, .at = at };
        try Effects.note(&group.effects.set, &group.effects.deleted, timer);
    }

    /// Deletes a timer; nothing happens if there is none. Of setting and deleting the same timer, the
    /// last counts.
    pub fn deleteTimer(group: *Group, kind: TimerKind, at: i64) Allocator.Error!void {
        const timer: Timer = .{ .group = group.index, .kind = kind, .at = at };
        try Effects.note(&group.effects.deleted, &group.effects.set, timer);
    }
};

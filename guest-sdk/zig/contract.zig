//! The contract of `wit/` by hand: the canonical ABI's layouts as extern structs, the imports, and how
//! a call of the host becomes calls of an operator's functions. Authors need nothing of this but
//! `exportOperator`.

const std = @import("std");
const builtin = @import("builtin");
const cofferdam = @import("cofferdam.zig");
const Allocator = std.mem.Allocator;
const Batch = cofferdam.Batch;
const Column = cofferdam.Column;
const Outcome = cofferdam.Outcome;

const is_wasm = builtin.cpu.arch == .wasm32;

/// Which world of `wit/world.wit` an operator is of, and what functions it has:
pub const Kind = enum {
    /// `processor-operator`: `process`; perhaps `open`, `finish`.
    processor,
    /// `stateful-operator`: and `snapshot`, `restore`.
    stateful,
    /// `keyed-operator`: `fold`; perhaps `open`, `fire`.
    keyed,
    /// `session-operator`: and `merge`.
    session,
    /// `checked-keyed-operator`: `keyed` and `check`.
    checked_keyed,
    /// `checked-session-operator`: `session` and `check`.
    checked_session,
};

// ----------------------------------------------------------------------------------- memory

const page = if (is_wasm) std.heap.wasm_allocator else std.heap.page_allocator;
/// What a call allocates, and what `open` does, which stays.
var call_memory: std.heap.ArenaAllocator = .init(page);
var open_memory: std.heap.ArenaAllocator = .init(page);
var opened = false;

pub fn allocator() Allocator {
    return if (opened) call_memory.allocator() else open_memory.allocator();
}

/// The message of the error that is about to be returned.
pub var message: ?[]const u8 = null;

/// Forgets what a call allocated.
pub fn forget() void {
    _ = call_memory.reset(.retain_capacity);
}

/// For tests: back to before `open`.
pub fn restart() void {
    forget();
    opened = false;
}

fn messageOf(e: anyerror) []const u8 {
    defer message = null;
    if (e == error.Failed) if (message) |text| return text;
    return @errorName(e);
}

// ------------------------------------------------------------------------------------- host

const OptionBytes = extern struct { is_some: u8, value: List(u8) };

const imports = struct {
    extern "cofferdam:operator/log@0.1.0" fn log(level: i32, message: [*]const u8, len: usize) void;
    extern "cofferdam:operator/config@0.1.0" fn get(key: [*]const u8, len: usize, value: *OptionBytes) void;
    extern "cofferdam:operator/config@0.1.0" fn all(json: *List(u8)) void;
    extern "cofferdam:operator/metrics@0.1.0" fn @"counter-add"(name: [*]const u8, len: usize, delta: u64) void;
    extern "cofferdam:operator/metrics@0.1.0" fn @"gauge-set"(name: [*]const u8, len: usize, value: f64) void;
    extern "cofferdam:operator/metrics@0.1.0" fn @"histogram-record"(name: [*]const u8, len: usize, value: f64) void;
};

/// What an operator may ask of the host; in native tests, of the harness.
pub const host = if (is_wasm) struct {
    pub fn log(level: cofferdam.Level, line: []const u8) void {
        imports.log(@intFromEnum(level), line.ptr, line.len);
    }
    pub fn configGet(key: []const u8) ?[]const u8 {
        var value: OptionBytes = undefined;
        imports.get(key.ptr, key.len, &value);
        return if (value.is_some != 0) value.value.slice() else null;
    }
    pub fn configAll() []const u8 {
        var json: List(u8) = undefined;
        imports.all(&json);
        return json.slice();
    }
    pub fn counter(name: []const u8, delta: u64) void {
        imports.@"counter-add"(name.ptr, name.len, delta);
    }
    pub fn gauge(name: []const u8, value: f64) void {
        imports.@"gauge-set"(name.ptr, name.len, value);
    }
    pub fn histogram(name: []const u8, value: f64) void {
        imports.@"histogram-record"(name.ptr, name.len, value);
    }
} else cofferdam.testing.host;

// ---------------------------------------------------------------------------------- layouts

fn List(comptime T: type) type {
    return extern struct {
        ptr: usize = @alignOf(u64), // An empty list's pointer must be aligned all the same.
        len: usize = 0,

        fn of(items: []const T) @This() {
            return if (items.len == 0) .{} else .{ .ptr = @intFromPtr(items.ptr), .len = items.len };
        }

        fn slice(list: @This()) []const T {
            return if (list.len == 0) &.{} else @as([*]const T, @ptrFromInt(list.ptr))[0..list.len];
        }
    };
}

const WireColumn = extern struct {
    data: List(u8) = .{},
    offsets: List(u32) = .{},

    fn of(column: Column) WireColumn {
        return .{ .data = .of(column.data), .offsets = .of(column.offsets) };
    }

    fn in(column: WireColumn) Column {
        return .{ .data = column.data.slice(), .offsets = column.offsets.slice() };
    }
};

fn Option(comptime T: type) type {
    return extern struct { is_some: u8 = 0, value: T = .{} };
}

const WireEmission = extern struct {
    port: u32,
    origin: u8,
    keep: List(u32) = .{},
    keys: Option(WireColumn) = .{},
    values: Option(WireColumn) = .{},
    times: Option(List(i64)) = .{},
};

const WireRejection = extern struct { index: u32, reason: List(u8) };
const WireOutcome = extern struct { emissions: List(WireEmission) = .{}, rejected: List(WireRejection) = .{} };
const WireTimer = extern struct { group: u32, kind: u8, at: i64 };
const WireFold = extern struct {
    outcome: WireOutcome = .{},
    changed: List(u32) = .{},
    states: WireColumn = .{},
    set: List(WireTimer) = .{},
    deleted: List(WireTimer) = .{},
};

/// Every answer is a result whose error is a text.
const Answer = extern struct {
    is_error: u8 = 0,
    as: extern union { err: List(u8), bytes: List(u8), column: WireColumn, outcome: WireOutcome, fold: WireFold } =
        .{ .fold = .{} },

    fn failed(e: anyerror) Answer {
        return .{ .is_error = 1, .as = .{ .err = .of(messageOf(e)) } };
    }
};

const WireNow = extern struct {
    has_watermark: u8,
    watermark: i64,
    processing: i64,

    fn in(now: WireNow) cofferdam.Now {
        return .{ .watermark = if (now.has_watermark != 0) now.watermark else null, .processing = now.processing };
    }
};

const WireBatch = extern struct { len: u32, keys: WireColumn, values: WireColumn, times: List(i64) };

const WireGroups = extern struct {
    keys: WireColumn,
    states: WireColumn,
    window_starts: List(i64),
    window_ends: List(i64),
    rows: List(u32),
    row_offsets: List(u32),
};

const FoldCall = extern struct { now: WireNow, input: u32, records: WireBatch, groups: WireGroups };
const FireCall = extern struct { now: WireNow, kinds: List(u8), times: List(i64), groups: WireGroups };

comptime {
    if (is_wasm) {
        std.debug.assert(@sizeOf(WireEmission) == 68 and @sizeOf(WireTimer) == 16 and @sizeOf(WireRejection) == 12);
        std.debug.assert(@sizeOf(WireFold) == 56 and @offsetOf(Answer, "as") == 4);
        std.debug.assert(@offsetOf(FoldCall, "records") == 28 and @offsetOf(FoldCall, "groups") == 72);
        std.debug.assert(@offsetOf(FireCall, "kinds") == 24 and @offsetOf(FireCall, "groups") == 40);
    }
}

// ------------------------------------------------------------------------------------ calls

/// The groups of a call.
pub const Groups = struct {
    keys: Column,
    states: Column,
    window_starts: []const i64 = &.{},
    window_ends: []const i64 = &.{},
    rows: []const u32,
    row_offsets: []const u32,

    fn in(wire: WireGroups) Groups {
        return .{
            .keys = wire.keys.in(),
            .states = wire.states.in(),
            .window_starts = wire.window_starts.slice(),
            .window_ends = wire.window_ends.slice(),
            .rows = wire.rows.slice(),
            .row_offsets = wire.row_offsets.slice(),
        };
    }
};

/// What is due, one entry a firing.
pub const Due = struct { kinds: []const u8, times: []const i64 };

/// The functions of an operator, as calls of the contract; tests come this way too.
pub fn Calls(comptime Op: type) type {
    return struct {
        pub fn open(context: cofferdam.Context) anyerror!void {
            if (@hasDecl(Op, "open")) try Op.open(context);
            opened = true;
        }

        pub fn process(batch: *const Batch) anyerror!Outcome {
            var out = outcomeFor(batch, batch.len, batch.values.data.len);
            try Op.process(batch.*, &out);
            return out;
        }

        pub fn finish() anyerror!Outcome {
            var out = outcomeFor(&nothing, 0, 0);
            if (@hasDecl(Op, "finish")) try Op.finish(&out);
            return out;
        }

        pub fn snapshot() anyerror![]const u8 {
            var state: cofferdam.Writer = .{};
            try Op.snapshot(&state);
            return state.bytes.items;
        }

        pub fn fold(now: cofferdam.Now, batch: *const Batch, groups: Groups, effects: *cofferdam.Effects) anyerror!Outcome {
            var out = outcomeFor(batch, batch.len, batch.values.data.len);
            try begin(groups, effects);
            for (groups.row_offsets[0..groups.row_offsets.len -| 1], 0..) |_, g| {
                var group = groupAt(groups, @intCast(g), now, batch, effects);
                try Op.fold(&group, &out);
                try end(&group, groups.states.get(g));
            }
            return out;
        }

        pub fn fire(now: cofferdam.Now, due: Due, groups: Groups, effects: *cofferdam.Effects) anyerror!Outcome {
            var out = outcomeFor(&nothing, @intCast(due.times.len), 32 * due.times.len);
            try begin(groups, effects);
            for (groups.row_offsets[0..groups.row_offsets.len -| 1], 0..) |_, g| {
                var group = groupAt(groups, @intCast(g), now, &nothing, effects);
                const firings = group.rows;
                group.rows = &.{};
                for (firings) |f| {
                    if (!@hasDecl(Op, "fire")) break;
                    const kind: cofferdam.FiringKind = @enumFromInt(due.kinds[f]);
                    try Op.fire(&group, .{ .index = f, .key = group.key, .kind = kind, .time = due.times[f] }, &out);
                }
                try end(&group, groups.states.get(g));
            }
            return out;
        }

        pub fn merge(keys: Column, left: Column, right: Column) anyerror!Column {
            var merged: cofferdam.Built = .{ .starts = try allocator().alloc(u32, keys.len() + 1) };
            for (0..keys.len()) |i| {
                merged.starts[i] = @intCast(merged.data.bytes.items.len);
                const earlier, const later = .{ left.get(i), right.get(i) };
                if (earlier.len == 0 or later.len == 0) {
                    try merged.data.put(if (earlier.len > 0) earlier else later);
                } else {
                    try Op.merge(keys.get(i), earlier, later, &merged.data);
                }
            }
            return merged.seal(keys.len());
        }

        pub fn check(keys: Column, states: Column) anyerror!void {
            for (0..keys.len()) |i| {
                Op.check(keys.get(i), states.get(i)) catch |e|
                    return cofferdam.fail("key `{s}`: {s}", .{ keys.get(i), messageOf(e) });
            }
        }
    };
}

const nothing: Batch = .{};

fn outcomeFor(batch: *const Batch, rows: u32, value_bytes: usize) Outcome {
    // As many bytes as came in are the best guess; but not too much of a small memory at once.
    return .{ .batch = batch, .rows = rows, .value_room = @min(@max(value_bytes, 64), 128 * 1024) };
}

fn begin(groups: Groups, effects: *cofferdam.Effects) Allocator.Error!void {
    const a, const count = .{ allocator(), groups.row_offsets.len -| 1 };
    try effects.changed.ensureTotalCapacityPrecise(a, count);
    effects.states.starts = try a.alloc(u32, count + 1);
    effects.states.starts[0] = 0;
    try effects.states.data.bytes.ensureTotalCapacityPrecise(a, groups.states.data.len + 16 * count);
}

inline fn groupAt(
    groups: Groups,
    g: u32,
    now: cofferdam.Now,
    batch: *const Batch,
    effects: *cofferdam.Effects,
) cofferdam.Group {
    return .{
        .index = g,
        .key = groups.keys.get(g),
        .window = if (groups.window_starts.len == 0)
            null
        else
            .{ .start = groups.window_starts[g], .end = groups.window_ends[g] },
        .now = now,
        .batch = batch,
        .rows = groups.rows[groups.row_offsets[g]..groups.row_offsets[g + 1]],
        .state = groups.states.get(g),
        .effects = effects,
    };
}

/// Takes over what a group has become. A state that was set but is the same as before is not
/// reported, which spares the next checkpoint.
inline fn end(group: *const cofferdam.Group, before: []const u8) Allocator.Error!void {
    if (!group.touched) return;
    const effects = group.effects;
    const bytes = &effects.states.data.bytes;
    const start = effects.states.starts[effects.changed.items.len];
    if (std.mem.eql(u8, bytes.items[start..], before)) {
        bytes.items.len = start;
        return;
    }
    effects.changed.appendAssumeCapacity(group.index);
    effects.states.starts[effects.changed.items.len] = @intCast(bytes.items.len);
}

// ---------------------------------------------------------------------------------- exports

fn outcomeOut(out: *Outcome) Allocator.Error!WireOutcome {
    const a = allocator();
    const emissions = try a.alloc(WireEmission, out.segments);
    var at = out.first;
    for (emissions) |*e| {
        const s = at.?;
        at = s.next;
        e.* = .{ .port = s.port, .origin = 0 };
        switch (s.origin) {
            .fresh => {},
            .all => e.origin = 1,
            .rows => if (allRows(s.rows[0..s.len], out.rows)) {
                e.origin = 1;
            } else {
                e.origin = 2;
                e.keep = .of(s.rows[0..s.len]);
            },
        }
        if (s.keys) |*keys| e.keys = .{ .is_some = 1, .value = .of(keys.seal(s.len)) };
        if (s.values) |*values| e.values = .{ .is_some = 1, .value = .of(values.seal(s.len)) };
        if (s.times) |times| e.times = .{ .is_some = 1, .value = .of(times[0..s.len]) };
    }
    const rejected = try a.alloc(WireRejection, out.rejected.items.len);
    for (rejected, out.rejected.items) |*to, r| to.* = .{ .index = r.index, .reason = .of(r.reason) };
    return .{ .emissions = .of(emissions), .rejected = .of(rejected) };
}

fn allRows(rows: []const u32, count: u32) bool {
    if (rows.len != count) return false;
    for (rows, 0..) |row, i| if (row != i) return false;
    return true;
}

fn timersOut(timers: []const cofferdam.Timer) Allocator.Error!List(WireTimer) {
    const to = try allocator().alloc(WireTimer, timers.len);
    for (to, timers) |*t, timer| t.* = .{ .group = timer.group, .kind = @intFromEnum(timer.kind), .at = timer.at };
    return .of(to);
}

fn foldOut(effects: *cofferdam.Effects, out: *Outcome) Allocator.Error!WireFold {
    return .{
        .outcome = try outcomeOut(out),
        .changed = .of(effects.changed.items),
        .states = .of(effects.states.seal(effects.changed.items.len)),
        .set = try timersOut(effects.set.items),
        .deleted = try timersOut(effects.deleted.items),
    };
}

/// Where answers lie.
var result: Answer = .{};

fn Exports(comptime Op: type) type {
    return struct {
        const calls = Calls(Op);

        fn answer(got: anyerror!Answer) *const Answer {
            result = got catch |e| Answer.failed(e);
            return &result;
        }

        fn open(name: [*]const u8, len: usize, subtask: u32, parallelism: u32, inputs: u32, outputs: u32) callconv(.c) *const Answer {
            calls.open(.{
                .name = name[0..len],
                .subtask = subtask,
                .parallelism = parallelism,
                .inputs = inputs,
                .outputs = outputs,
            }) catch |e| return answer(e);
            return answer(.{});
        }

        fn process(input: u32, len: u32, k: usize, k_len: usize, ko: usize, ko_len: usize, v: usize, v_len: usize, vo: usize, vo_len: usize, t: usize, t_len: usize) callconv(.c) *const Answer {
            const batch: Batch = .{
                .len = len,
                .keys = .{ .data = (List(u8){ .ptr = k, .len = k_len }).slice(), .offsets = (List(u32){ .ptr = ko, .len = ko_len }).slice() },
                .values = .{ .data = (List(u8){ .ptr = v, .len = v_len }).slice(), .offsets = (List(u32){ .ptr = vo, .len = vo_len }).slice() },
                .timestamps = (List(i64){ .ptr = t, .len = t_len }).slice(),
                .input = input,
            };
            return answer(processed(&batch));
        }

        fn processed(batch: *const Batch) anyerror!Answer {
            var out = try calls.process(batch);
            return .{ .as = .{ .outcome = try outcomeOut(&out) } };
        }

        fn finish() callconv(.c) *const Answer {
            return answer(finished());
        }

        fn finished() anyerror!Answer {
            var out = try calls.finish();
            return .{ .as = .{ .outcome = try outcomeOut(&out) } };
        }

        fn snapshot() callconv(.c) *const Answer {
            const state = calls.snapshot() catch |e| return answer(e);
            return answer(.{ .as = .{ .bytes = .of(state) } });
        }

        fn restore(ptr: usize, len: usize) callconv(.c) *const Answer {
            Op.restore((List(u8){ .ptr = ptr, .len = len }).slice()) catch |e| return answer(e);
            return answer(.{});
        }

        fn fold(call: *const FoldCall) callconv(.c) *const Answer {
            return answer(folded(call));
        }

        fn folded(call: *const FoldCall) anyerror!Answer {
            const batch: Batch = .{
                .len = call.records.len,
                .keys = call.records.keys.in(),
                .values = call.records.values.in(),
                .timestamps = call.records.times.slice(),
                .input = call.input,
            };
            var effects: cofferdam.Effects = .{};
            var out = try calls.fold(call.now.in(), &batch, .in(call.groups), &effects);
            return .{ .as = .{ .fold = try foldOut(&effects, &out) } };
        }

        fn fire(call: *const FireCall) callconv(.c) *const Answer {
            return answer(fired(call));
        }

        fn fired(call: *const FireCall) anyerror!Answer {
            var effects: cofferdam.Effects = .{};
            const due: Due = .{ .kinds = call.kinds.slice(), .times = call.times.slice() };
            var out = try calls.fire(call.now.in(), due, .in(call.groups), &effects);
            return .{ .as = .{ .fold = try foldOut(&effects, &out) } };
        }

        fn merge(keys: WireColumn, left: WireColumn, right: WireColumn) *const Answer {
            const merged = calls.merge(keys.in(), left.in(), right.in()) catch |e| return answer(e);
            return answer(.{ .as = .{ .column = .of(merged) } });
        }

        fn mergeFlat(k: usize, kn: usize, ko: usize, kon: usize, l: usize, ln: usize, lo: usize, lon: usize, r: usize, rn: usize, ro: usize, ron: usize) callconv(.c) *const Answer {
            return merge(flat(k, kn, ko, kon), flat(l, ln, lo, lon), flat(r, rn, ro, ron));
        }

        fn checkFlat(k: usize, kn: usize, ko: usize, kon: usize, s: usize, sn: usize, so: usize, son: usize) callconv(.c) *const Answer {
            calls.check(flat(k, kn, ko, kon).in(), flat(s, sn, so, son).in()) catch |e| return answer(e);
            return answer(.{});
        }
    };
}

fn flat(data: usize, len: usize, offsets: usize, offsets_len: usize) WireColumn {
    return .{ .data = .{ .ptr = data, .len = len }, .offsets = .{ .ptr = offsets, .len = offsets_len } };
}

fn post(_: *const Answer) callconv(.c) void {
    forget();
}

fn postOpen(_: *const Answer) callconv(.c) void {}

fn realloc(at: ?[*]u8, old: usize, alignment: usize, size: usize) callconv(.c) usize {
    if (size == 0) return alignment;
    const a = allocator();
    const to = a.rawAlloc(size, .fromByteUnits(alignment), @returnAddress()) orelse @panic("out of memory");
    if (at) |from| @memcpy(to[0..@min(old, size)], from[0..@min(old, size)]);
    return @intFromPtr(to);
}

/// Makes the functions of a file, or of any struct, the operator of the program:
/// `comptime { cofferdam.exportOperator(.processor, @This()); }`
pub fn exportOperator(comptime kind: Kind, comptime Op: type) void {
    if (!is_wasm) return;
    const e = Exports(Op);
    @export(&realloc, .{ .name = "cabi_realloc" });
    switch (kind) {
        .processor, .stateful => {
            one("processor", "open", &e.open, &postOpen);
            one("processor", "process", &e.process, &post);
            one("processor", "finish", &e.finish, &post);
        },
        else => {
            one("keyed-processor", "open", &e.open, &postOpen);
            one("keyed-processor", "fold", &e.fold, &post);
            one("keyed-processor", "fire", &e.fire, &post);
        },
    }
    if (kind == .stateful) {
        one("snapshot", "snapshot", &e.snapshot, &post);
        one("snapshot", "restore", &e.restore, &post);
    }
    if (kind == .session or kind == .checked_session) one("session-merge", "merge", &e.mergeFlat, &post);
    if (kind == .checked_keyed or kind == .checked_session) one("state-check", "check", &e.checkFlat, &post);
}

fn one(comptime interface: []const u8, comptime name: []const u8, comptime function: anytype, comptime after: anytype) void {
    const full = "cofferdam:operator/" ++ interface ++ "@0.1.0#" ++ name;
    @export(function, .{ .name = full });
    @export(after, .{ .name = "cabi_post_" ++ full });
}

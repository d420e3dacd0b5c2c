//! Native tests: a host that groups by key and window, keeps states and timers, and refuses what the real
//! host refuses. No Wasm, no clock but the one that you move.
//!
//!     test "only what contains the text is kept" {
//!         var t = try cofferdam.testing.Harness(@This()).open("{\"contains\":\"x\"}");
//!         defer t.deinit();
//!         try t.send(&.{ .{ .value = "an x" }, .{ .value = "none" } });
//!         try t.expectValues(0, &.{"an x"});
//!     }
//!
//! What is not here (sliding windows, lateness) is in `cofferdam operator test`.

const std = @import("std");
const cofferdam = @import("cofferdam.zig");
const contract = @import("contract.zig");

/// A record that is sent.
pub const Record = struct { value: []const u8 = "", key: []const u8 = "", timestamp: ?i64 = null };

/// A record that was emitted.
pub const Output = struct { port: u32, key: []const u8, value: []const u8, timestamp: ?i64 };

/// A line of log.
pub const Line = struct { level: cofferdam.Level, text: []const u8 };

/// What an operator has logged and measured, and what it asks for: there is one operator at a time.
const Recorder = struct {
    arena: std.mem.Allocator,
    config: []const u8,
    lines: std.ArrayList(Line) = .empty,
    counters: std.StringHashMapUnmanaged(u64) = .empty,
    gauges: std.StringHashMapUnmanaged(f64) = .empty,
    histograms: std.StringHashMapUnmanaged(std.ArrayList(f64)) = .empty,
};
var recorder: ?*Recorder = null;

/// What stands for the host; operators reach it by `cofferdam.log` and so on.
pub const host = struct {
    fn now() *Recorder {
        return recorder orelse @panic("there is no harness: cofferdam.testing.Harness(Op).open");
    }
    pub fn log(level: cofferdam.Level, line: []const u8) void {
        const r = now();
        const text = r.arena.dupe(u8, line) catch @panic("out of memory");
        r.lines.append(r.arena, .{ .level = level, .text = text }) catch @panic("out of memory");
    }
    pub fn configAll() []const u8 {
        return now().config;
    }
    pub fn configGet(key: []const u8) ?[]const u8 {
        const r = now();
        const given = std.json.parseFromSliceLeaky(std.json.Value, r.arena, r.config, .{}) catch @panic("the config is no JSON");
        const value = given.object.get(key) orelse return null;
        if (value == .string) return value.string;
        return std.json.Stringify.valueAlloc(r.arena, value, .{}) catch @panic("out of memory");
    }
    pub fn counter(name: []const u8, delta: u64) void {
        const r = now();
        const entry = r.counters.getOrPutValue(r.arena, name, 0) catch @panic("out of memory");
        entry.value_ptr.* += delta;
    }
    pub fn gauge(name: []const u8, value: f64) void {
        const r = now();
        r.gauges.put(r.arena, name, value) catch @panic("out of memory");
    }
    pub fn histogram(name: []const u8, value: f64) void {
        const r = now();
        const entry = r.histograms.getOrPutValue(r.arena, name, .empty) catch @panic("out of memory");
        entry.value_ptr.append(r.arena, value) catch @panic("out of memory");
    }
};

/// A key, or a key and a window, and what is known of it.
const Owner = struct {
    key: []const u8,
    window: ?cofferdam.Window,
    state: []const u8 = "",
    fired: bool = false,
    gone: bool = false,
};

const Timer = struct { owner: u32, kind: cofferdam.TimerKind, at: i64 };
const Due = struct { time: i64, owner: u32, kind: cofferdam.FiringKind };

/// Where emitted records may stem from.
const Origins = struct { keys: []const []const u8, values: ?[]const []const u8, times: []const ?i64 };

/// Runs an operator: `@This()` of its file.
pub fn Harness(comptime Op: type) type {
    const calls = contract.Calls(Op);
    return struct {
        const Self = @This();

        memory: *std.heap.ArenaAllocator,
        recorder: *Recorder,
        /// What was emitted since the last `clear`, in order.
        outputs: std.ArrayList(Output) = .empty,
        /// What was refused, by the index in its batch.
        rejected: std.ArrayList(cofferdam.Rejection) = .empty,
        owners: std.ArrayList(Owner) = .empty,
        timers: std.ArrayList(Timer) = .empty,
        window_size: i64 = 0,
        session_gap: i64 = 0,
        now: cofferdam.Now = .{},

        /// Opens the operator with a configuration, a JSON object. Variables of the file that `open` does not
        /// set keep what they have.
        ///
        /// What it refuses is the error that it returns; `message` says why.
        pub fn open(config: []const u8) !Self {
            const memory = try std.heap.page_allocator.create(std.heap.ArenaAllocator);
            memory.* = .init(std.heap.page_allocator);
            const r = try memory.allocator().create(Recorder);
            r.* = .{ .arena = memory.allocator(), .config = try memory.allocator().dupe(u8, config) };
            recorder = r;
            contract.restart();
            contract.message = null;
            try calls.open(.{ .name = "test", .subtask = 0, .parallelism = 1, .inputs = 1, .outputs = 1 });
            return .{ .memory = memory, .recorder = r };
        }

        /// Frees what the harness holds.
        pub fn deinit(t: *Self) void {
            recorder = null;
            t.memory.deinit();
            std.heap.page_allocator.destroy(t.memory);
        }

        fn own(t: *Self, bytes: []const u8) ![]const u8 {
            return t.memory.allocator().dupe(u8, bytes);
        }

        /// Has records fall into tumbling windows of so many milliseconds.
        pub fn tumbling(t: *Self, size: i64) void {
            t.window_size = size;
        }

        /// Has records fall into session windows that end when nothing came for so many milliseconds.
        pub fn session(t: *Self, gap: i64) void {
            t.session_gap = gap;
        }

        /// Forgets what was emitted and refused so far.
        pub fn clear(t: *Self) void {
            t.outputs.clearRetainingCapacity();
            t.rejected.clearRetainingCapacity();
        }

        /// Sends one batch.
        pub fn send(t: *Self, records: []const Record) !void {
            const a = t.memory.allocator();
            const keys = try a.alloc([]const u8, records.len);
            const values = try a.alloc([]const u8, records.len);
            const times = try a.alloc(?i64, records.len);
            const stamps = try a.alloc(i64, records.len);
            var timed = records.len > 0;
            for (records, 0..) |record, i| {
                keys[i] = record.key;
                values[i] = record.value;
                times[i] = record.timestamp;
                stamps[i] = record.timestamp orelse 0;
                timed = timed and record.timestamp != null;
            }
            const batch: cofferdam.Batch = .{
                .len = @intCast(records.len),
                .keys = try t.column(keys),
                .values = try t.column(values),
                .timestamps = if (timed) stamps else &.{},
            };
            const origins: Origins = .{ .keys = keys, .values = values, .times = times };
            defer contract.forget();
            if (@hasDecl(Op, "fold")) {
                const owner = try a.alloc(u32, records.len);
                for (records) |record| _ = try t.ownerOf(record);
                // Again: sessions may have been joined since.
                for (records, owner) |record, *o| o.* = try t.ownerOf(record);
                var called: std.ArrayList(u32) = .empty;
                const groups = try t.groupsOf(owner, &called);
                var effects: cofferdam.Effects = .{};
                var out = try calls.fold(t.now, &batch, groups, &effects);
                try t.apply(&effects, called.items);
                try t.take(&out, origins);
            } else {
                var out = try calls.process(&batch);
                try t.take(&out, origins);
            }
        }

        /// Moves event time on: fires the windows and timers that are due by then, in order of time.
        pub fn watermark(t: *Self, to: i64) !void {
            t.now.watermark = if (t.now.watermark) |before| @max(before, to) else to;
            try t.fireDue();
        }

        /// Moves the host's clock on: fires the timers of processing time that are due.
        pub fn clock(t: *Self, to: i64) !void {
            t.now.processing = @max(t.now.processing, to);
            try t.fireDue();
        }

        /// Ends the input: event time passes everything, and a processor is told.
        pub fn close(t: *Self) !void {
            if (@hasDecl(Op, "fold")) return t.watermark(std.math.maxInt(i64));
            defer contract.forget();
            var out = try calls.finish();
            try t.take(&out, .{ .keys = &.{}, .values = null, .times = &.{} });
        }

        /// What `snapshot` writes.
        pub fn snapshot(t: *Self) ![]const u8 {
            defer contract.forget();
            return t.own(try calls.snapshot());
        }

        /// The state of a key outside of windows; empty where there is none.
        pub fn state(t: *Self, key: []const u8) []const u8 {
            for (t.owners.items) |owner| {
                if (!owner.gone and owner.window == null and std.mem.eql(u8, owner.key, key)) return owner.state;
            }
            return "";
        }

        /// How many states there are.
        pub fn states(t: *const Self) usize {
            var count: usize = 0;
            for (t.owners.items) |owner| count += @intFromBool(!owner.gone and owner.state.len > 0);
            return count;
        }

        /// What was logged.
        pub fn lines(t: *const Self) []const Line {
            return t.recorder.lines.items;
        }

        /// What a counter has come to.
        pub fn counter(t: *const Self, name: []const u8) u64 {
            return t.recorder.counters.get(name) orelse 0;
        }

        /// What a gauge is set to.
        pub fn gauge(t: *const Self, name: []const u8) ?f64 {
            return t.recorder.gauges.get(name);
        }

        /// The observations of a histogram, in order.
        pub fn histogram(t: *const Self, name: []const u8) []const f64 {
            const list = t.recorder.histograms.getPtr(name) orelse return &.{};
            return list.items;
        }

        /// That these, and no others, are the values that were emitted to a port, in order.
        pub fn expectValues(t: *const Self, port: u32, wanted: []const []const u8) !void {
            var at: usize = 0;
            for (t.outputs.items) |output| {
                if (output.port != port) continue;
                if (at == wanted.len) {
                    std.debug.print("one record more than expected: {s}\n", .{output.value});
                    return error.TestExpectedEqual;
                }
                try std.testing.expectEqualStrings(wanted[at], output.value);
                at += 1;
            }
            try std.testing.expectEqual(wanted.len, at);
        }

        /// That these are the reasons of what was refused, in order.
        pub fn expectReasons(t: *const Self, wanted: []const []const u8) !void {
            try std.testing.expectEqual(wanted.len, t.rejected.items.len);
            for (wanted, t.rejected.items) |reason, rejection| try std.testing.expectEqualStrings(reason, rejection.reason);
        }

        fn column(t: *Self, entries: []const []const u8) !cofferdam.Column {
            const a = t.memory.allocator();
            const offsets = try a.alloc(u32, entries.len + 1);
            var len: u32 = 0;
            for (entries, 0..) |entry, i| {
                offsets[i] = len;
                len += @intCast(entry.len);
            }
            offsets[entries.len] = len;
            return .{ .data = try std.mem.concat(a, u8, entries), .offsets = offsets };
        }

        fn ownerOf(t: *Self, record: Record) !u32 {
            const time = record.timestamp orelse 0;
            if (t.session_gap > 0) return t.join(try t.find(record.key, .{ .start = time, .end = time + t.session_gap }));
            if (t.window_size == 0) return t.find(record.key, null);
            const start = @divFloor(time, t.window_size) * t.window_size;
            return t.find(record.key, .{ .start = start, .end = start + t.window_size });
        }

        fn find(t: *Self, key: []const u8, window: ?cofferdam.Window) !u32 {
            for (t.owners.items, 0..) |owner, i| {
                if (!owner.gone and std.meta.eql(owner.window, window) and std.mem.eql(u8, owner.key, key)) return @intCast(i);
            }
            try t.owners.append(t.memory.allocator(), .{ .key = try t.own(key), .window = window });
            return @intCast(t.owners.items.len - 1);
        }

        /// Makes one of the new session and those that it meets.
        fn join(t: *Self, id: u32) !u32 {
            for (t.owners.items, 0..) |*other, i| {
                const new = &t.owners.items[id];
                if (i == id or other.gone or !std.mem.eql(u8, other.key, new.key)) continue;
                if (other.window.?.start > new.window.?.end or new.window.?.start > other.window.?.end) continue;
                const first = other.window.?.start <= new.window.?.start;
                const early, const late = if (first) .{ other, new } else .{ new, other };
                if (early.state.len > 0 and late.state.len > 0) {
                    if (!@hasDecl(Op, "merge")) @panic("session windows need `merge`");
                    var merged: cofferdam.Writer = .{};
                    if (@hasDecl(Op, "merge")) try Op.merge(early.key, early.state, late.state, &merged);
                    early.state = try t.own(merged.bytes.items);
                } else if (late.state.len > 0) {
                    early.state = late.state;
                }
                early.window.?.end = @max(early.window.?.end, late.window.?.end);
                late.gone = true;
                const kept: u32, const left: u32 = if (first) .{ @intCast(i), id } else .{ id, @intCast(i) };
                for (t.timers.items) |*timer| {
                    if (timer.owner == left) timer.owner = kept;
                }
                return t.join(kept);
            }
            return id;
        }

        /// The groups of a call, and who owns each: `owner[i]` owns row `i`.
        fn groupsOf(t: *Self, owner: []const u32, called: *std.ArrayList(u32)) !contract.Groups {
            const a = t.memory.allocator();
            for (owner) |o| {
                if (std.mem.findScalar(u32, called.items, o) == null) try called.append(a, o);
            }
            var rows: std.ArrayList(u32) = .empty;
            const keys = try a.alloc([]const u8, called.items.len);
            const old = try a.alloc([]const u8, called.items.len);
            const starts = try a.alloc(i64, called.items.len);
            const ends = try a.alloc(i64, called.items.len);
            const offsets = try a.alloc(u32, called.items.len + 1);
            var windowed = false;
            for (called.items, 0..) |id, g| {
                const o = t.owners.items[id];
                keys[g] = o.key;
                old[g] = o.state;
                if (o.window) |window| {
                    windowed = true;
                    starts[g] = window.start;
                    ends[g] = window.end;
                }
                offsets[g] = @intCast(rows.items.len);
                for (owner, 0..) |of, i| if (of == id) try rows.append(a, @intCast(i));
            }
            offsets[called.items.len] = @intCast(rows.items.len);
            return .{
                .keys = try t.column(keys),
                .states = try t.column(old),
                .window_starts = if (windowed) starts else &.{},
                .window_ends = if (windowed) ends else &.{},
                .rows = rows.items,
                .row_offsets = offsets,
            };
        }

        /// Takes over states and timers.
        fn apply(t: *Self, effects: *cofferdam.Effects, called: []const u32) !void {
            const new = effects.states.seal(effects.changed.items.len);
            for (effects.changed.items, 0..) |g, i| t.owners.items[called[g]].state = try t.own(new.get(i));
            for (effects.deleted.items) |timer| {
                if (t.timerAt(.{ .owner = called[timer.group], .kind = timer.kind, .at = timer.at })) |at| {
                    _ = t.timers.swapRemove(at);
                }
            }
            for (effects.set.items) |timer| {
                const mine: Timer = .{ .owner = called[timer.group], .kind = timer.kind, .at = timer.at };
                if (t.timerAt(mine) == null) try t.timers.append(t.memory.allocator(), mine);
            }
        }

        fn timerAt(t: *const Self, wanted: Timer) ?usize {
            for (t.timers.items, 0..) |timer, i| if (std.meta.eql(timer, wanted)) return i;
            return null;
        }

        /// Resolves what was emitted, as the host does.
        fn take(t: *Self, out: *cofferdam.Outcome, origins: Origins) !void {
            const a = t.memory.allocator();
            var at = out.first;
            while (at) |s| : (at = s.next) {
                const len = if (s.origin == .all) origins.keys.len else s.len;
                for (0..len) |i| {
                    const row: ?usize = switch (s.origin) {
                        .fresh => null,
                        .all => i,
                        .rows => s.rows[i],
                    };
                    const inherited = if (row) |r| (if (origins.values) |values| values[r] else "") else "";
                    try t.outputs.append(a, .{
                        .port = s.port,
                        .key = try t.own(if (s.keys) |*keys| keys.seal(s.len).get(i) else if (row) |r| origins.keys[r] else ""),
                        .value = try t.own(if (s.values) |*values| values.seal(s.len).get(i) else inherited),
                        .timestamp = if (s.times) |times| times[i] else if (row) |r| origins.times[r] else null,
                    });
                }
            }
            for (out.rejected.items) |rejection| {
                try t.rejected.append(a, .{ .index = rejection.index, .reason = try t.own(rejection.reason) });
            }
        }

        fn takeDue(t: *Self) ![]Due {
            const a = t.memory.allocator();
            var due: std.ArrayList(Due) = .empty;
            for (t.owners.items, 0..) |*owner, i| {
                const window = owner.window orelse continue;
                if (owner.gone or owner.fired or (t.now.watermark orelse continue) < window.end - 1) continue;
                owner.fired = true;
                try due.append(a, .{ .time = window.end - 1, .owner = @intCast(i), .kind = .window });
            }
            var i: usize = 0;
            while (i < t.timers.items.len) {
                const timer = t.timers.items[i];
                const passed = switch (timer.kind) {
                    .event => if (t.now.watermark) |mark| mark >= timer.at else false,
                    .processing => t.now.processing >= timer.at,
                };
                if (!passed) {
                    i += 1;
                    continue;
                }
                _ = t.timers.swapRemove(i);
                try due.append(a, .{ .time = timer.at, .owner = timer.owner, .kind = if (timer.kind == .event) .event else .processing });
            }
            std.mem.sort(Due, due.items, {}, earlier);
            return due.items;
        }

        fn earlier(_: void, a: Due, b: Due) bool {
            return if (a.time != b.time) a.time < b.time else @intFromEnum(a.kind) < @intFromEnum(b.kind);
        }

        /// Fires what is due, and what that makes due.
        fn fireDue(t: *Self) !void {
            const a = t.memory.allocator();
            while (true) {
                const due = try t.takeDue();
                if (due.len == 0) break;
                const owner, const kinds, const times = .{ try a.alloc(u32, due.len), try a.alloc(u8, due.len), try a.alloc(i64, due.len) };
                const keys, const origin_times = .{ try a.alloc([]const u8, due.len), try a.alloc(?i64, due.len) };
                for (due, 0..) |d, i| {
                    owner[i] = d.owner;
                    kinds[i] = @intFromEnum(d.kind);
                    times[i] = d.time;
                    origin_times[i] = d.time;
                    keys[i] = t.owners.items[d.owner].key;
                }
                var called: std.ArrayList(u32) = .empty;
                const groups = try t.groupsOf(owner, &called);
                defer contract.forget();
                var effects: cofferdam.Effects = .{};
                var out = try calls.fire(t.now, .{ .kinds = kinds, .times = times }, groups, &effects);
                try t.apply(&effects, called.items);
                try t.take(&out, .{ .keys = keys, .values = null, .times = origin_times });
            }
            // Nothing comes for windows that have ended.
            for (t.owners.items) |*owner| owner.gone = owner.gone or owner.fired;
        }
    };
}

/// What the error says that the operator returned last.
pub fn message() []const u8 {
    return contract.message orelse "";
}

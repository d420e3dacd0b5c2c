//! `zig build test` runs the operator's own tests, natively. `cofferdam operator build` builds it for the
//! sandbox.

const std = @import("std");

pub fn build(b: *std.Build) void {
    const target = b.graph.host;
    const cofferdam = b.createModule(.{
        .root_source_file = b.path("cofferdam/cofferdam.zig"),
        .target = target,
    });
    const operator = b.createModule(.{
        .root_source_file = b.path("src/operator.zig"),
        .target = target,
        .imports = &.{.{ .name = "cofferdam", .module = cofferdam }},
    });
    const tests = b.addTest(.{ .root_module = operator });
    const run = b.addRunArtifact(tests);
    b.step("test", "Runs the operator's tests").dependOn(&run.step);
}

//! Less traffic to deployments that have more to do. See README.md.

const std = @import("std");
const strategy = @import("strategy.zig");

/// A JSON Schema: the gateway checks `routing_parameter` against it before it calls `configure`.
const schema =
    \\{"type": "object", "additionalProperties": false, "properties": {
    \\  "remote": {
    \\    "description": "The weight of a remote deployment, relative to an equally busy local one.",
    \\    "type": "number", "minimum": 0, "maximum": 1, "default": 1}
{{request}}
    \\  , "long_prompt": {
    \\    "description": "Prompts of at least this many tokens stay on local deployments that have room.",
    \\    "type": "integer", "minimum": 1, "default": 4000},
    \\  "patience": {
    \\    "description": "Milliseconds that a long prompt waits for room at a local deployment.",
    \\    "type": "integer", "minimum": 1, "maximum": 60000, "default": 1000}
{{end}}
    \\}}
;

/// `gateway strategy inspect FILE --signals` lists all.
const signals = [_]strategy.Signal{
    .{ .name = .of("engine.running") },
    .{ .name = .of("engine.waiting") },
};

var remote_factor: f64 = 1;
{{request}}
var long_prompt: f64 = 4000;
var patience: f64 = 1000;
{{end}}
/// `places[deployment.id]` has the name, the capacity and the price.
var places: []const strategy.Place = &.{};

pub fn describe() strategy.Description {
    return .{
        .name = .of("{{name}}"),
        .version = .of("0.1.0"),
        .summary = .of("Less traffic to deployments that have more to do"),
        .parameters = .of(schema),
        .refresh_interval = .some(1000), // the load changes, so the gateway asks again each second
{{request}}
        .needs = .{ .prompt_tokens = true },
{{end}}
        .signals = .of(&signals),
    };
}

/// Returns why the parameters are wrong, where the schema cannot say it.
pub fn configure(json: []const u8, _: []const strategy.String, given: []const strategy.Place) ?[]const u8 {
    // Enough for numbers. `std.json` reads everything, and makes the component 40 KB larger.
    remote_factor = strategy.number(json, "remote") orelse remote_factor;
{{request}}
    long_prompt = strategy.number(json, "long_prompt") orelse long_prompt;
    patience = strategy.number(json, "patience") orelse patience;
{{end}}
    places = given;
    return null;
}

/// Only proportions count.
pub fn assign(local: []const strategy.Deployment, remote: []const strategy.Deployment) strategy.Weights {
    const rows = strategy.readSignals();
    const factor = if (local.len > 0) remote_factor else 1;
    return .{
        .local = weigh(local, rows, 1),
        .remote = weigh(remote, rows[local.len * signals.len ..], factor),
    };
}

fn weigh(deployments: []const strategy.Deployment, rows: []const f64, factor: f64) strategy.List(f64) {
    const weights = strategy.arena.allocator().alloc(f64, deployments.len) catch @trap();
    for (weights, deployments, 0..) |*weight, deployment, at| {
        weight.* = factor / (1 + load(deployment, rows[at * signals.len ..]));
    }
    return .of(weights);
}

/// The requests that a deployment has to do. The engine counts those of others, too. Where it does not
/// tell, its signals are NaN.
fn load(deployment: strategy.Deployment, row: []const f64) f64 {
    const told = row[0] + row[1];
    return if (std.math.isNan(told)) @floatFromInt(deployment.in_flight) else told;
}
{{request}}

pub fn assignRequest(
    request: *const strategy.Request,
    local: []const strategy.Deployment,
    remote: []const strategy.Deployment,
) strategy.Verdict {
    var weights = assign(local, remote);
    const tokens: f64 = @floatFromInt(request.prompt_tokens.get() orelse 0);
    if (local.len > 0 and tokens >= long_prompt) {
        if (hasRoom(local)) {
            weights.remote = .of(zeros(remote.len));
        } else if (request.held == 0) {
            // Asked again when there is room, or when the time is over.
            return .hold(@intFromFloat(patience));
        }
    }
    return .route(.{ .weights = weights });
}

fn hasRoom(deployments: []const strategy.Deployment) bool {
    for (deployments) |deployment| {
        if (deployment.in_flight < deployment.limit) return true;
    }
    return false;
}

fn zeros(len: usize) []const f64 {
    const weights = strategy.arena.allocator().alloc(f64, len) catch @trap();
    @memset(weights, 0);
    return weights;
}
{{end}}

//! What the gateway and a strategy exchange, for wit/0.3.0-draft, which documents each function and
//! field. `policy.zig` has the strategy: its functions of the names below are exported.

const std = @import("std");
const policy = @import("policy.zig");

const package = "hybrid:routing/";
const version = "@0.3.0-draft";

/// A list, as the component model passes it.
pub fn List(comptime T: type) type {
    return extern struct {
        ptr: ?[*]const T,
        len: usize,

        pub fn of(items: []const T) @This() {
            // The pointer of an empty slice may lie outside the memory, which is a fault.
            return .{ .ptr = if (items.len > 0) items.ptr else null, .len = items.len };
        }

        pub fn slice(list: @This()) []const T {
            return if (list.ptr) |items| items[0..list.len] else &.{};
        }
    };
}

pub const String = List(u8);

pub fn Option(comptime T: type) type {
    return extern struct {
        is_some: bool,
        value: T,

        pub const none: @This() = .{ .is_some = false, .value = undefined };

        pub fn some(value: T) @This() {
            return .{ .is_some = true, .value = value };
        }

        pub fn get(option: @This()) ?T {
            return if (option.is_some) option.value else null;
        }
    };
}

pub const Side = enum(u8) { local, remote };

pub const Price = extern struct { prompt: f64, cached: f64, completion: f64 };

pub const Modalities = packed struct(u8) { image: bool, audio: bool, video: bool, _: u5 };

pub const Place = extern struct {
    name: String,
    model: u32,
    side: Side,
    weight: f64,
    capacity: u32,
    price: Option(Price),
    context_length: u64,
    takes: Modalities,
    tools: bool,
    tags: List(String),
};

pub const Condition = enum(u8) { healthy, slow_start, half_open, stalled };

pub const Deployment = extern struct {
    id: u32,
    in_flight: u32,
    queued: u32,
    limit: u32,
    condition: Condition,
    latency: f64,
    duration: f64,
    error_rate: f64,
    refused_rate: f64,
};

pub const Weights = extern struct { local: List(f64), remote: List(f64) };

pub const Facts = packed struct(u8) {
    prompt_tokens: bool = false,
    session: bool = false,
    prefixes: bool = false,
    tenant_name: bool = false,
    _: u4 = 0,
};

pub const Signal = extern struct { name: String, optional: bool = false };

pub const Description = extern struct {
    name: String,
    version: String,
    summary: String,
    parameters: String,
    refresh_interval: Option(u32) = .none,
    needs: Facts = .{},
    signals: List(Signal) = .of(&.{}),
    reasons: List(String) = .of(&.{}),
};

pub const Header = extern struct { name: String, value: String };

pub const Request = extern struct {
    model: u32,
    stream: bool,
    prompt_tokens: Option(u32),
    max_output_tokens: Option(u32),
    holds: Modalities,
    tools: bool,
    priority: i32,
    objective: Option(u32),
    held: u32,
    session: Option(u64),
    prefixes: List(u64),
    tenant: Option(u64),
    tenant_name: Option(String),
    headers: List(Header),
};

pub const WhenFull = extern struct {
    kind: enum(u8) { as_configured, next, wait } = .as_configured,
    milliseconds: u32 = 0,
};

pub const Tiers = extern struct { local: List(u8), remote: List(u8) };

pub const Hedge = extern struct { after: u32, weights: Weights, max_cost: Option(f64) = .none };

pub const Plan = extern struct {
    weights: Weights,
    tiers: Option(Tiers) = .none,
    when_full: WhenFull = .{},
    hedge: Option(Hedge) = .none,
    reason: Option(u16) = .none,
};

pub const Refusal = extern struct { retry_after: u32, reason: Option(u16) = .none };

pub const Verdict = extern struct {
    kind: enum(u8) { route, hold, refuse },
    as: extern union { route: Plan, hold: u32, refuse: Refusal },

    pub fn route(plan: Plan) Verdict {
        return .{ .kind = .route, .as = .{ .route = plan } };
    }

    pub fn hold(milliseconds: u32) Verdict {
        return .{ .kind = .hold, .as = .{ .hold = milliseconds } };
    }

    pub fn refuse(refusal: Refusal) Verdict {
        return .{ .kind = .refuse, .as = .{ .refuse = refusal } };
    }
};

pub const Ending = enum(u8) { ok, client_error, cancelled, refused, stalled, failed, timed_out, broken, hedged };

pub const Attempt = extern struct {
    deployment: u32,
    request: u64,
    session: Option(u64),
    tenant: Option(u64),
    ending: Ending,
    status: Option(u16),
    queued: f64,
    first_byte: f64,
    total: f64,
    probability: f64,
    prompt_tokens: Option(u32),
    cached_tokens: Option(u32),
    completion_tokens: Option(u32),
    reasoning_tokens: Option(u32),
    cost: f64,
};

/// The number of a key in the JSON object that `configure` is given. It has no spaces.
pub fn number(json: []const u8, comptime key: []const u8) ?f64 {
    const begin = "\"" ++ key ++ "\":";
    const found = std.mem.indexOf(u8, json, begin) orelse return null;
    var digits: f64 = 0;
    var exponent: i32 = 0;
    var is_fraction = false;
    var negative = false;
    for (json[found + begin.len ..], found + begin.len..) |byte, at| switch (byte) {
        '-' => negative = true,
        '.' => is_fraction = true,
        '0'...'9' => {
            digits = digits * 10 + @as(f64, @floatFromInt(byte - '0'));
            exponent -= @intFromBool(is_fraction);
        },
        'e', 'E' => {
            exponent += integer(json[at + 1 ..]);
            break;
        },
        else => break,
    };
    var power: f64 = 1;
    for (0..@min(@abs(exponent), 400)) |_| power *= 10;
    const size = if (exponent < 0) digits / power else digits * power;
    return if (negative) -size else size;
}

fn integer(text: []const u8) i32 {
    var value: i32 = 0;
    for (text) |byte| switch (byte) {
        '+', '-' => {},
        '0'...'9' => value = value *| 10 +| (byte - '0'),
        else => break,
    };
    return if (text[0] == '-') -value else value;
}

// What the gateway offers.

pub const Level = enum(u32) { debug, info, warn, err };

pub fn log(level: Level, message: []const u8) void {
    const import = @extern(*const fn (Level, [*]const u8, usize) callconv(.c) void, .{
        .name = "log",
        .library_name = package ++ "logging" ++ version,
    });
    import(level, message.ptr, message.len);
}

/// A row for each deployment of the call, local ones first, and after the rows the global signals.
/// NaN: unknown.
pub fn readSignals() []const f64 {
    const import = @extern(*const fn (*List(f64)) callconv(.c) void, .{
        .name = "read",
        .library_name = package ++ "signals" ++ version,
    });
    var list: List(f64) = undefined;
    import(&list);
    return list.slice();
}

pub const Moment = extern struct { milliseconds: u64, offset: i32 };

pub fn now() Moment {
    const import = @extern(*const fn (*Moment) callconv(.c) void, .{
        .name = "now",
        .library_name = package ++ "clock" ++ version,
    });
    var moment: Moment = undefined;
    import(&moment);
    return moment;
}

/// A random number from 0 to below 1.
pub fn draw() f64 {
    const import = @extern(*const fn () callconv(.c) f64, .{
        .name = "draw",
        .library_name = package ++ "chance" ++ version,
    });
    return import();
}

/// The value of a key of the store.
pub fn get(key: []const u8) ?[]const u8 {
    const import = @extern(*const fn ([*]const u8, usize, *Option(String)) callconv(.c) void, .{
        .name = "get",
        .library_name = package ++ "store" ++ version,
    });
    var found: Option(String) = undefined;
    import(key.ptr, key.len, &found);
    return if (found.get()) |value| value.slice() else null;
}

/// Sets the value of a key, for so many milliseconds if `ttl` is given. Whether it was kept.
pub fn set(key: []const u8, value: []const u8, ttl: ?u32) bool {
    const Import = fn ([*]const u8, usize, [*]const u8, usize, bool, u32, *[2]u8) callconv(.c) void;
    const import = @extern(*const Import, .{
        .name = "set",
        .library_name = package ++ "store" ++ version,
    });
    var refused: [2]u8 = undefined;
    import(key.ptr, key.len, value.ptr, value.len, ttl != null, ttl orelse 0, &refused);
    return refused[0] == 0;
}

/// Adds to a number of the store and returns the sum. None: it was not kept.
pub fn add(key: []const u8, delta: i64) ?i64 {
    const Sum = extern struct { refused: bool, value: i64 };
    const import = @extern(*const fn ([*]const u8, usize, i64, *Sum) callconv(.c) void, .{
        .name = "add",
        .library_name = package ++ "store" ++ version,
    });
    var sum: Sum = undefined;
    import(key.ptr, key.len, delta, &sum);
    return if (sum.refused) null else sum.value;
}

// What the gateway calls.

/// The memory of the current call. Arguments are in it, and answers that need memory belong there.
/// After `configure` it is kept, after other calls it is freed.
pub var arena: std.heap.ArenaAllocator = .init(std.heap.wasm_allocator);

fn realloc(old: ?[*]u8, old_len: usize, alignment: usize, len: usize) callconv(.c) [*]u8 {
    const allocator = arena.allocator();
    const new = allocator.rawAlloc(len, .fromByteUnits(alignment), 0) orelse @trap();
    if (old) |bytes| @memcpy(new[0..@min(old_len, len)], bytes[0..@min(old_len, len)]);
    return new;
}

fn free(_: *const anyopaque) callconv(.c) void {
    _ = arena.reset(.retain_capacity);
}

fn describe() callconv(.c) *const Description {
    const description = arena.allocator().create(Description) catch @trap();
    description.* = policy.describe();
    return description;
}

const Configured = extern struct { refused: bool, why: String };

fn configure(
    parameters: [*]const u8,
    parameters_len: usize,
    models: [*]const String,
    models_len: usize,
    places: [*]const Place,
    places_len: usize,
) callconv(.c) *const Configured {
    const S = struct {
        var configured: Configured = undefined;
    };
    const json = parameters[0..parameters_len];
    const why = policy.configure(json, models[0..models_len], places[0..places_len]);
    S.configured = .{ .refused = why != null, .why = .of(why orelse "") };
    return &S.configured;
}

fn keep(_: *const anyopaque) callconv(.c) void {
    arena = .init(std.heap.wasm_allocator);
}

fn assign(
    local: [*]const Deployment,
    local_len: usize,
    remote: [*]const Deployment,
    remote_len: usize,
) callconv(.c) *const Weights {
    const S = struct {
        var weights: Weights = undefined;
    };
    S.weights = policy.assign(local[0..local_len], remote[0..remote_len]);
    return &S.weights;
}

const Question = extern struct { request: Request, local: List(Deployment), remote: List(Deployment) };

fn assignRequest(question: *const Question) callconv(.c) *const Verdict {
    const S = struct {
        var verdict: Verdict = undefined;
    };
    S.verdict = policy.assignRequest(&question.request, question.local.slice(), question.remote.slice());
    return &S.verdict;
}

fn outcome(attempts: [*]const Attempt, len: usize) callconv(.c) void {
    policy.outcome(attempts[0..len]);
    _ = arena.reset(.retain_capacity);
}

fn exported(comptime function: anytype, comptime name: []const u8, comptime after: anytype) void {
    @export(function, .{ .name = package ++ name });
    @export(after, .{ .name = "cabi_post_" ++ package ++ name });
}

comptime {
    @export(&realloc, .{ .name = "cabi_realloc" });
    exported(&describe, "policy" ++ version ++ "#describe", &free);
    exported(&configure, "policy" ++ version ++ "#configure", &keep);
    exported(&assign, "policy" ++ version ++ "#assign", &free);
    if (@hasDecl(policy, "assignRequest")) {
        exported(&assignRequest, "request-policy" ++ version ++ "#assign-request", &free);
    }
    if (@hasDecl(policy, "outcome")) {
        @export(&outcome, .{ .name = package ++ "learning" ++ version ++ "#outcome" });
    }
}

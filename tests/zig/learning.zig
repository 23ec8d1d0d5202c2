
// Appended to policy.zig of a new project: calls each import of the contract, and learns.

var good: [64]f64 = @splat(1);

pub fn outcome(attempts: []const strategy.Attempt) void {
    for (attempts) |attempt| {
        const is_it = attempt.total == 20 and attempt.status.get() == 500 and attempt.cost == 0.25;
        if (attempt.ending == .failed and is_it) good[attempt.deployment] = 0.5;
    }
    strategy.log(.warn, "attempts ended");
    if (strategy.add("turn", 7) != 12) @trap();
    if (!strategy.set("word", "hello", 5000)) @trap();
    if (!std.mem.eql(u8, strategy.get("word") orelse @trap(), "hello")) @trap();
    if (strategy.get("nothing") != null) @trap();
    const moment = strategy.now();
    if (moment.milliseconds != 1767648600000 or moment.offset != 60) @trap();
    const chance = strategy.draw();
    if (chance < 0 or chance >= 1) @trap();
}

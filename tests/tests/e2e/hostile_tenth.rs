//! Hostile strategies on a tenth of the models fail no request, and the strategies of all other
//! models go on.

use tests::{CoreGuest, Engine, Traffic, eventually, routed};

const MODELS: usize = 20;
const REMOTE: &str =
    "(return (call $answer (local.get $locals) (f64.const 0) (local.get $remotes) (f64.const 1)))";
/// Faults from the second call on: the first is the trial at load, which must be good.
const LATER: &str = "(i32.store (i32.const 700) (i32.add (i32.load (i32.const 700)) (i32.const 1)))
    (if (i32.ge_u (i32.load (i32.const 700)) (i32.const 2)) (then {fault}))";

/// The faults of two hostile strategies.
const FAULTS: [[&str; 2]; 3] = [
    ["(loop $forever (br $forever))", "unreachable"],
    [
        "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
        "(return (call $answer (i32.const 300) (f64.const nan) (i32.const 200) (f64.const -1)))",
    ],
    [
        "(loop $forever (memory.fill (i32.const 16384) (i32.const 7) (i32.const 900000)) (br $forever))",
        "(i32.store (i32.const 1024) (i32.const 0)) (i32.store (i32.const 1028) (i32.const 0x8000000))
         (return (i32.const 1024))",
    ],
];

async fn harms_nobody(faults: [&str; 2]) {
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    let (l, r) = (local.url(), remote.url());
    let hostile = |name: &'static str, fault: &str| {
        let assign = LATER.replace("{fault}", fault);
        // Refreshed ten times a second.
        let (refresh, request) = (Some(100), Some(fault));
        CoreGuest { name, refresh, assign: &assign, request, ..CoreGuest::default() }.component()
    };
    let good = CoreGuest { name: "good", request: Some(REMOTE), ..CoreGuest::default() };
    let route = format!("    route: [{{base_url: '{l}'}}, {{base_url: '{r}'}}]\n");
    let models: String = (0..MODELS).map(|i| format!("  - id: m{i}\n{route}")).collect();
    let names: Vec<String> = (0..MODELS).map(|i| format!("m{i}")).collect();
    let more = "good\nstrategies: {m3: {routing_strategy: one}, m7: {routing_strategy: two}}\n\
                sandbox: {compile_timeout: 60, request_timeout: 0.02}";
    let routing = routed(more, &[&l], &[&r]).replace("[m]", &format!("[{}]", names.join(", ")));
    let gateway = tests::setup!()
        .models(format!("models:\n{models}"))
        .file("plugins/good.wasm", good.component())
        .file("plugins/one.wasm", hostile("one", faults[0]))
        .file("plugins/two.wasm", hostile("two", faults[1]))
        .routing(routing)
        .start();
    let traffic: Vec<Traffic> =
        names.iter().map(|model| Traffic::start(&gateway, model, 1)).collect();
    eventually("both are off the path and failed off it", async || {
        let routing = gateway.routing().await;
        let bad = |model: &str| {
            let strategy = &routing["strategies"][model];
            strategy["on_path"]["state"] == "off" && !strategy["last_error"].is_null()
        };
        (bad("m3") && bad("m7")).then_some(())
    })
    .await;
    for (model, traffic) in names.iter().zip(traffic) {
        traffic.more(20).await;
        let tally = traffic.stop().await;
        assert!(tally.failures.is_empty(), "{model}: {:?}", tally.failures);
        // A few requests find no free instance of the good strategy and use the published weights.
        let own = model == "m3" || model == "m7";
        assert!(own || tally.share(&["remote"]) > 0.8, "{model}: {:?}", tally.answered);
    }
    assert!(gateway.routing().await["strategy"]["last_error"].is_null());
}

#[tokio::test]
async fn hostile_strategies_harm_no_other_model() {
    for faults in FAULTS {
        harms_nobody(faults).await;
    }
}

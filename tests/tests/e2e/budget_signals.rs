//! How budgets stand is told to strategies and to operators.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tests::{Gate, Gateway, Raw, Reply, eventually, logged};

const MODELS: &str =
    "models:\n- id: m\n  context_length: 9000\n  max_output_length: 900\n  route:\n";
/// Dollars of one answer of the paid engine: 100 + 100 x 9 millionths.
const COST: f64 = 0.001;

/// An engine of our own that answers its first request at once and others when the gate is open, and
/// a paid one. A budget of 10 dollars, which the strategy `budget` paces with these parameters.
async fn gateway(own: &Raw, paid: &Raw, folder: &std::path::Path, parameters: &str) -> Gateway {
    let models = format!(
        "{MODELS}  - {{name: own, base_url: '{}', side: local}}\n  - {{name: paid, base_url: '{}', side: remote, pricing: {{per_million: true, prompt: 1, completion: 9}}}}\n",
        own.url(),
        paid.url(),
    );
    let ledger = folder.join("l.redb");
    let routing = format!(
        "routing_strategy: budget\nrouting_parameter: {{budget: a.b, ahead: 1, {parameters}}}\n\
         ledger: {{file: '{}'}}\nbudgets:\n- {{name: a.b, amount: 10, per: month}}\n\
         - {{name: each, amount: 1, per: day, each: tenant}}\n\
         concurrency: {{local: {{max: 1, queue: 9, wait: 30}}}}\n\
         local_deployment: [{{endpoint: '{}', models: [m]}}]\n\
         remote_deployment: [{{endpoint: '{}', models: [m]}}]\n",
        ledger.display(),
        own.url(),
        paid.url(),
    );
    tests::setup!().models(models).routing(logged(&routing)).start()
}

fn own(gate: &Gate) -> Raw {
    let (gate, count) = (gate.clone(), AtomicU64::new(0));
    Raw::start(move |request, wire| {
        if request.method == "POST" && count.fetch_add(1, Ordering::Relaxed) > 0 {
            gate.wait();
        }
        wire.answer(200, r#"{"choices":[{"message":{"content":"own"},"finish_reason":"stop"}]}"#);
    })
}

fn paid() -> Raw {
    let answer = json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "paid"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 100},
    });
    Raw::answering(200, &answer.to_string())
}

/// Requests that an engine has received, without probes.
fn sent(engine: &Raw) -> usize {
    engine.received().iter().filter(|request| request.method == "POST").count()
}

async fn ask(gateway: &Gateway) -> Reply {
    let body =
        json!({"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]});
    let request = gateway.client().post(gateway.url("/v1/chat/completions")).body(body.to_string());
    Reply::read(request.send().await.expect("an answer")).await.expect("a whole answer")
}

#[tokio::test]
async fn a_request_is_paid_for_or_waits_as_its_budget_says() {
    // What a wait is worth: next to nothing, and more than anybody has.
    for (patience, expected) in [("0.000001", "paid"), ("1000000000", "own")] {
        let (folder, gate) = (tempfile::tempdir().expect("a folder"), Gate::default());
        let (own, paid) = (own(&gate), paid());
        let parameters = format!("patience_ms: {patience}");
        let gateway = gateway(&own, &paid, folder.path(), &parameters).await;
        assert!(ask(&gateway).await.text().contains("own"), "its place is free");
        let opens = async {
            let both = async || (sent(&own) + sent(&paid) == 3).then_some(());
            if expected == "paid" {
                eventually("all are sent", both).await;
            } else {
                // The third is in line: only the gate lets it through.
                eventually("two are sent", async || (sent(&own) == 2).then_some(())).await;
            }
            gate.open();
        };
        let second = async { ask(&gateway).await };
        let third = async {
            eventually("the place is taken", async || (sent(&own) == 2).then_some(())).await;
            ask(&gateway).await
        };
        let (second, third, ()) = tokio::join!(second, third, opens);
        assert!(second.text().contains("own"));
        assert!(third.text().contains(expected), "{patience}: {}", third.text());
        let budgets = gateway.routing().await["budgets"].clone();
        let spent = if expected == "paid" { COST } else { 0.0 };
        let number = |key: &str| budgets["a.b"][key].as_f64().expect("a number");
        assert!((10.0 - spent - number("left")).abs() < 1e-9, "{budgets}");
        let share = number("pace") * number("elapsed") * 10.0;
        assert!((share - spent).abs() < 1e-9 && number("elapsed") <= 1.0, "{budgets}");
        assert!(budgets["each"].is_null(), "those of tenants are nobody else's business");
    }
}

#[test]
fn an_unknown_budget_is_an_error_that_names_those_there_are() {
    let models = "models: [{id: m, base_url: 'http://127.0.0.1:1'}]\n";
    let routing = "routing_strategy: budget\nrouting_parameter: {budget: compny}\n\
                   budgets:\n- {name: company, amount: 1, per: day}\n- {name: x, amount: 1, per: day}\n";
    let output = tests::setup!().models(models).routing(routing).arg("check").output();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("config/routing.yaml:2:29"), "{said}");
    let expected = "`budget`: it asks for the signal `budget.compny.elapsed` of the budget `compny`: \
                    did you mean `company`? There are company, x";
    assert!(said.replace('\n', " ").contains(expected), "{said}");
}

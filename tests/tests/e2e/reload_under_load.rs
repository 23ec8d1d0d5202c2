//! Reloads at 200 requests a second: each edit takes effect, and no request fails.

use std::time::Instant;

use rustix::process::Signal;
use tests::{Engine, Reply, Steady, eventually, one_model, split};

const ROUTING: &str = "config/routing.yaml";
/// Requests a second.
const RATE: u32 = 200;

/// Edits a file this many times, each time after the edit before took effect. A signal after each
/// edit makes the gateway look at once.
async fn edits_cost_no_request(edits: u64, signal: Option<Signal>) {
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    let (l, r) = (local.url(), remote.url());
    let fixed = |fraction| split(fraction, &[&l], &[&r], "");
    let local_first =
        fixed(0.6).replace("fixed\nrouting_parameter:\n  local_fraction: 0.6", "local-first");
    let gateway = tests::setup!().models(one_model(&[&l, &r])).routing(fixed(0.6)).start();
    let (client, url) = (gateway.client().clone(), gateway.url("/v1/chat/completions"));
    let load = Steady::start(RATE, move |n| {
        let stream = n % 2 == 0;
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"stream":{stream}}}"#
        );
        let request = client.post(&url).body(body);
        async move {
            let reply = Reply::read(request.send().await.map_err(|e| format!("{e:?}"))?).await;
            let reply = reply.map_err(|e| format!("{e:?}"))?;
            let whole = !stream || reply.text().ends_with("data: [DONE]\n\n");
            let good = reply.status == 200 && whole;
            if good { Ok(reply.engine().to_owned()) } else { Err(reply.text()) }
        }
    });
    let start = Instant::now();
    for edit in 0..edits {
        let (text, wanted, name) = match edit % 4 {
            0 => (local_first.clone(), 1.0, "local-first"),
            1 => (fixed(0.25), 0.25, "fixed"),
            2 => (fixed(0.75), 0.75, "fixed"),
            _ => (fixed(0.6), 0.6, "fixed"),
        };
        gateway.replace(ROUTING, text);
        signal.iter().for_each(|signal| gateway.signal(*signal));
        eventually("the edit in /routing", async || {
            let routing = gateway.routing().await;
            let weight = &routing["models"]["m"]["deployments"][0]["weight"];
            (routing["strategy"]["name"] == name && *weight == wanted).then_some(())
        })
        .await;
    }
    let took = start.elapsed().as_secs_f64();
    let ends = load.stop().await;
    let failed: Vec<_> = ends.iter().filter_map(|end| end.as_ref().err()).collect();
    eprintln!("{edits} edits in {took:.1} s, {} requests, {} failed", ends.len(), failed.len());
    assert_eq!(failed, [""; 0]);
    let of = |name: &str| ends.iter().filter(|end| end.as_ref().is_ok_and(|e| e == name)).count();
    assert!(of("local") > 0 && of("remote") > 0, "both engines were asked");
    gateway.loaded_since(edits - 1).await;
    let (loaded, refused) = (gateway.reloads("loaded").await, gateway.reloads("refused").await);
    assert_eq!(refused, 0);
    // A signal after the edit was noticed causes one more reload.
    assert!(loaded == edits || signal.is_some(), "one reload for each edit, and not {loaded}");
}

#[tokio::test]
async fn sixty_edits_under_load_cost_no_request() {
    edits_cost_no_request(60, None).await;
}

#[tokio::test]
#[ignore = "takes half a minute"]
async fn three_hundred_edits_under_load_cost_no_request() {
    edits_cost_no_request(300, Some(Signal::HUP)).await;
}

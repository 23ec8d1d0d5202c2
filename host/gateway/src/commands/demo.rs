//! `gateway demo`: a gateway that shares traffic 60/40 between two stub engines, and commands to
//! try. Needs nothing but the binary.

use std::io::{Write, stdout};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use config::Paths;
use sandbox::Compiler;

use crate::reload::Loader;
use crate::run::RunOptions;

use super::signals;

/// The only model of the demo.
const MODEL: &str = "demo-model";

/// Run a gateway with two stub engines, and show what to type next
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// The port of the gateway; a free one if it is taken
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// Answer one chat request, show it, and end
    #[arg(long)]
    once: bool,
}

pub(super) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let received = signals::receive().context("signals cannot be received")?;
    proxy::telemetry::init_log(proxy::telemetry::LevelFilter::WARN);
    let folder = tempfile::Builder::new().prefix("gateway-demo-").tempdir()?;
    let (local, remote) = (engine("local")?, engine("remote")?);
    let models = folder.path().join("models.yaml");
    let routing = folder.path().join("routing.yaml");
    std::fs::write(&models, models_yaml(remote))?;
    std::fs::write(&routing, routing_yaml(local, remote, folder.path()))?;
    let paths = Paths { models, routing, routing_required: true };
    let compiler = Compiler::child_of_this()?;
    let loader = Loader::new(paths.clone(), folder.path().into(), compiler)?;
    let loaded = loader.load(None).map_err(|refused| anyhow::anyhow!("{}", refused.diagnostics))?;
    let listener = TcpListener::bind(("127.0.0.1", args.port))
        .or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
        .context("cannot listen on any port")?;
    let gateway = listener.local_addr()?;
    let once = args.once;
    let (shown, done) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let showed = ask(gateway).and_then(|answer| show(&answer, gateway, local, &paths.routing));
        // Fails only if the demo has already ended.
        let _ = shown.send(showed);
    });
    let shutdown = async {
        received.stop_in_order();
        tokio::select! {
            () = received.stopped() => return Ok(()),
            showed = done => showed?.context("the demo's own request failed")?,
        }
        if !once {
            received.stopped().await;
        }
        Ok(())
    };
    let options = RunOptions { cores: 1, admin_token: None };
    crate::run::run(listener, loader, loaded, options, &received.signals, shutdown)?;
    Ok(ExitCode::SUCCESS)
}

/// Starts a stub engine on its own thread. It runs until the process ends.
fn engine(name: &str) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let options = stub_engine::EngineOptions {
        name: name.to_owned(),
        latency: Duration::from_millis(50),
        tokens_per_second: 20.0,
        models: vec![MODEL.to_owned()],
        ..stub_engine::EngineOptions::default()
    };
    std::thread::Builder::new().name(format!("engine-{name}")).spawn(move || {
        let served = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            stub_engine::serve(listener, options, std::future::pending()).await
        });
        if let Err(error) = served {
            tracing::error!(%error, "a stub engine ended");
        }
    })?;
    Ok(address)
}

fn models_yaml(remote: SocketAddr) -> String {
    format!("models:\n  - id: {MODEL}\n    provider: openai\n    base_url: http://{remote}/v1\n")
}

fn routing_yaml(local: SocketAddr, remote: SocketAddr, folder: &Path) -> String {
    let log = folder.join("access.log");
    format!(
        "# Save this file and watch /routing: changes take effect at once.
routing_strategy: fixed     # try local-first
routing_parameter:
  local_fraction: 0.6       # try 0.1
timeout: 1
health_check: 1
shutdown: {{accept: 0}}
logging:
  output: {log:?}
local_deployment:
  - endpoint: http://{local}
    models: [{MODEL}]
remote_deployment:
  - endpoint: http://{remote}
    models: [{MODEL}]
"
    )
}

/// Sends one chat request through the gateway. Its port is already bound, so the request waits
/// until the gateway serves.
fn ask(gateway: SocketAddr) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(proxy::tls::client()?)
        .no_proxy()
        .build()?;
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "Who are you?"}]});
    runtime.block_on(async {
        let request = client.post(format!("http://{gateway}/v1/chat/completions"));
        let answer = request.body(body.to_string()).timeout(Duration::from_secs(20)).send().await?;
        Ok(serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?)
    })
}

/// Prints the first answer and commands to try.
fn show(
    answer: &Value,
    gateway: SocketAddr,
    local: SocketAddr,
    routing: &Path,
) -> anyhow::Result<()> {
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap_or_default();
    let routing = routing.display();
    let mut out = stdout().lock();
    writeln!(
        out,
        r#"listening on http://{gateway}

  A gateway with two stub engines behind it: 60% of requests go to "local", 40% to "remote".
  It has just answered a chat request: {text:?}

  Ask it again, a few times, and see who answers:
    curl http://{gateway}/v1/chat/completions -d '{{"model":"{MODEL}","messages":[{{"role":"user","content":"hi"}}]}}'

  As a stream:
    curl -N http://{gateway}/v1/chat/completions -d '{{"model":"{MODEL}","stream":true,"messages":[{{"role":"user","content":"hi"}}]}}'

  With the OpenAI SDK (pip install openai):
    python3 -c 'from openai import OpenAI; c = OpenAI(base_url="http://{gateway}/v1", api_key="none"); print(c.chat.completions.create(model="{MODEL}", messages=[dict(role="user", content="hi")]).choices[0].message.content)'

  Break the local engine, and watch its weight go to the other; then mend it:
    curl http://{local}/stub -d '{{"healthy":false}}'
    sleep 3     # two probes, a second apart
    curl http://{gateway}/routing
    curl http://{local}/stub -d '{{"healthy":true}}'

  Change how traffic is shared while it runs (the file says what to try), and look again:
    ${{EDITOR:-vi}} {routing}
    curl http://{gateway}/routing

  What is counted:  curl http://{gateway}/metrics
  Stop:             Ctrl-C"#
    )?;
    out.flush()?;
    Ok(())
}

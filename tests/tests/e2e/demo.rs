//! `gateway demo`: the test runs every command that its screen shows.

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Gateway, Reply, eventually};

/// The screen of a running demo, once all of it is there.
async fn screen(demo: &Gateway) -> String {
    eventually("the screen is shown", async || {
        let screen = demo.printed();
        screen.contains("Ctrl-C").then_some(screen)
    })
    .await
}

/// One `curl` of the screen: its address, and its body where it has one.
#[derive(Debug)]
struct Curl {
    url: String,
    body: Option<String>,
}

/// The commands of the screen that begin like this, after the first place that says `after`.
fn curls(screen: &str, after: &str) -> Vec<Curl> {
    let rest = screen.split_once(after).unwrap_or_else(|| panic!("no {after:?}: {screen}")).1;
    let commands = rest.lines().filter_map(|line| line.split_once("curl ").map(|(_, curl)| curl));
    let curl = |command: &str| {
        let url = command.split(' ').find(|word| word.starts_with("http://")).expect("a URL");
        let body = command.split_once(" -d '").map(|(_, body)| body.trim_end_matches('\''));
        Curl { url: url.to_owned(), body: body.map(str::to_owned) }
    };
    commands.map(curl).collect()
}

impl Curl {
    /// Does what curl does, with the content type that it gives.
    async fn run(&self, demo: &Gateway) -> Reply {
        let form = "application/x-www-form-urlencoded";
        let request = match &self.body {
            Some(body) => {
                demo.client().post(&self.url).header("content-type", form).body(body.clone())
            }
            None => demo.client().get(&self.url),
        };
        let answer = request.send().await.expect("an answer");
        let reply = Reply::read(answer).await.expect("a whole answer");
        assert_eq!(reply.status, 200, "{self:?}: {}", reply.text());
        reply
    }
}

/// The weights that a command of the screen shows: of the local engine and of the remote one.
async fn weights(curl: &Curl, demo: &Gateway) -> [f64; 2] {
    let routing: Value = curl.run(demo).await.json();
    let deployments = routing["models"]["demo-model"]["deployments"].as_array();
    let deployments = deployments.expect("the demo's model");
    ["local", "remote"].map(|side| {
        let of_side = deployments.iter().find(|deployment| deployment["side"] == side);
        // A file that is just being written may list neither.
        of_side.map_or(0.0, |of_side| of_side["weight"].as_f64().expect("a number"))
    })
}

async fn become_weights(curl: &Curl, demo: &Gateway, expected: [f64; 2]) {
    eventually(&format!("weights {expected:?}"), async || {
        (weights(curl, demo).await == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_the_screen_says_works() {
    let mut demo = tests::setup!().arg("demo").start();
    let screen = screen(&demo).await;
    let asks = curls(&screen, "Ask it again");
    let answer = asks[0].run(&demo).await;
    assert_eq!(answer.json()["model"], "demo-model");
    assert!(["local", "remote"].contains(&answer.engine()), "{:?}", answer.headers);
    let stream = asks[1].run(&demo).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    assert!(stream.text().ends_with("data: [DONE]\n\n"), "{}", stream.text());
    let steps = curls(&screen, "Break the local engine");
    let [break_it, look, mend_it] = &steps[..3] else { panic!("{steps:?}") };
    become_weights(look, &demo, [0.6, 0.4]).await;
    assert_eq!(break_it.run(&demo).await.json()["healthy"], json!(false));
    become_weights(look, &demo, [0.0, 1.0]).await;
    for _ in 0..3 {
        assert_eq!(asks[0].run(&demo).await.engine(), "remote");
    }
    mend_it.run(&demo).await;
    become_weights(look, &demo, [0.6, 0.4]).await;
    let file = screen.lines().find_map(|line| line.trim().strip_prefix("${EDITOR:-vi} "));
    let file = file.expect("the file to edit");
    let text = std::fs::read_to_string(file).expect("a file");
    for tried in
        ["routing_strategy: fixed     # try local-first\n", "local_fraction: 0.6       # try 0.1\n"]
    {
        assert!(text.contains(tried), "{text}");
    }
    let save = |text: String| std::fs::write(file, text).expect("a writable file");
    save(text.replace("local_fraction: 0.6", "local_fraction: 0.1"));
    become_weights(look, &demo, [0.1, 0.9]).await;
    save(text.replace("routing_strategy: fixed", "routing_strategy: local-first"));
    become_weights(look, &demo, [1.0, 0.0]).await;
    save(text.clone());
    become_weights(look, &demo, [0.6, 0.4]).await;
    let metrics = curls(&screen, "What is counted").remove(0).run(&demo).await;
    assert!(metrics.text().contains("gateway_requests_total"), "{}", metrics.text());
    demo.signal(Signal::INT);
    assert_eq!(demo.ended().await.code(), Some(0));
    assert!(!std::path::Path::new(file).exists(), "its folder is left behind");
}

#[test]
fn once_answers_one_request_and_ends() {
    let output = tests::setup!().arg("demo").arg("--once").output();
    let screen = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let (_, answer) =
        screen.split_once("It has just answered a chat request: ").expect("an answer");
    assert!(answer.contains("Who are you?"), "{screen}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn two_demos_run_side_by_side() {
    let one = tests::setup!().arg("demo").start();
    let port = one.address().rsplit(':').next().expect("a port").to_owned();
    // Its port is taken, so it chooses a free one and prints it.
    let other = tests::setup!().env("PORT", port).arg("demo").start();
    assert_ne!(one.address(), other.address());
    let local = |screen: String| curls(&screen, "Break the local engine").remove(0).url;
    assert_ne!(local(screen(&one).await), local(screen(&other).await));
    assert_eq!(other.chat("demo-model").await.status, 200);
}

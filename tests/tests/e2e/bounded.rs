//! The gateway is not held up by logs that nobody reads, files that never end, its own answers, or
//! requests that come back.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use tests::{Engine, Port, Raw, Step, eventually, in_order, logged, one_model};

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    // Each request is a warning.
    let broken = Raw::steps(vec![
        Step::stream(),
        Step::chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"),
        Step::chunk(""),
    ]);
    let good = Engine::start("good");
    let models = in_order(&[("broken", &[&broken.url()]), ("good", &[&good.url()])]);
    let setup = tests::setup!().models(models).env("RUST_LOG", "trace");
    let mut gateway = setup.unread().start();
    let burst = async || {
        let mut requests = JoinSet::new();
        for _ in 0..64 {
            let request = gateway.client().post(gateway.url("/v1/chat/completions"));
            let request = request.body(r#"{"model":"broken","stream":true,"messages":[]}"#);
            requests.spawn(async { request.send().await.expect("an answer").bytes().await });
        }
        requests.join_all().await;
    };
    eventually("lines are dropped", async || {
        burst().await;
        gateway.metric("gateway_log_dropped_total", &[]).await.filter(|dropped| *dropped > 0.0)
    })
    .await;
    assert_eq!(gateway.chat("good").await.status, 200);
    gateway.read_log();
    eventually("the log tells of it", async || {
        assert_eq!(gateway.chat("good").await.status, 200);
        gateway.log().contains("lines of this log were dropped").then_some(())
    })
    .await;
}

#[test]
fn files_that_never_end_are_refused_at_once() {
    let make = |what: &str, folder: &Path| -> String {
        let path = folder.join("odd");
        match what {
            "fifo" => fifo(&path),
            "folder" => std::fs::create_dir(&path).expect("a folder"),
            "sparse" => {
                let file = std::fs::File::create(&path).expect("a file");
                file.set_len(1 << 40).expect("a sparse file");
            }
            device => return device.into(),
        }
        path.display().to_string()
    };
    for (what, error) in [
        ("fifo", "it is no regular file"),
        ("folder", "it is a folder"),
        ("sparse", "it is larger than 32 MiB"),
        ("/dev/zero", "it is no regular file"),
    ] {
        for file in ["--models", "--routing"] {
            let setup = tests::setup!().models(one_model(&["http://127.0.0.1:9"]));
            let odd = make(what, setup.folder());
            let begun = Instant::now();
            let output = setup.arg("check").arg(file).arg(&odd).output();
            assert!(!output.status.success());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains(error) && said.contains(&odd), "{what} {file}: {said}");
            assert!(begun.elapsed() < Duration::from_secs(10), "{what} {file}");
        }
    }
}

#[tokio::test]
async fn a_fifo_in_place_of_a_file_is_refused_and_reloads_go_on() {
    let engine = Engine::start("good");
    let gateway = tests::setup!().models(one_model(&[&engine.url()])).routing(logged("")).start();
    let routing = gateway.path("config/routing.yaml");
    std::fs::remove_file(&routing).expect("it is there");
    fifo(&routing);
    eventually("a refusal", async || {
        gateway.refusal().await.contains("it is no regular file").then_some(())
    })
    .await;
    assert_eq!(gateway.chat("m").await.status, 200);
    let before = gateway.reloads("loaded").await;
    gateway.replace("config/routing.yaml", logged("limits: {requests: 7}"));
    gateway.loaded_since(before).await;
    assert_eq!(gateway.refusal().await, "");
}

#[test]
fn a_fifo_without_a_reader_is_no_access_log() {
    for (make, help) in
        [(true, "start the reader of this FIFO first"), (false, "name a file in that folder")]
    {
        let setup = tests::setup!().models(one_model(&["http://127.0.0.1:9"]));
        let path = setup.folder().join("log");
        match make {
            true => fifo(&path),
            false => std::fs::create_dir(&path).expect("a folder"),
        }
        let output = setup.routing("logging: {output: log}\n").output();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(help), "{said}");
    }
}

#[tokio::test]
async fn a_gateway_that_is_its_own_deployment_sees_the_loop() {
    let port = Port::take();
    let number = port.address().port().to_string();
    let setup = tests::setup!().models(in_order(&[("m", &[&port.url()])])).env("PORT", &number);
    let gateway = setup.routing(logged("")).start();
    let reply = gateway.chat("m").await;
    assert_eq!(reply.status, 508, "{}", reply.text());
    let error = &reply.json()["error"];
    assert_eq!(error["code"], "loop_detected");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("first")), "{error}");
    assert!(gateway.log().contains("leads to the gateway itself"), "{}", gateway.log());
    // The request and its return, and no more.
    let requests = gateway.metric("gateway_requests_total", &[("model", "m")]).await;
    assert_eq!(requests, Some(2.0));

    let setup = tests::setup!().models(in_order(&[("m", &[&port.url()])])).env("PORT", &number);
    let checked = setup.arg("check").output();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(said.contains("deployment first of model m leads to the gateway itself"), "{said}");
}

#[tokio::test]
async fn gateways_that_stand_by_for_each_other_see_the_loop() {
    let (down, ports) = (Port::take(), [Port::take(), Port::take()]);
    let start = |own: &Port, other: &Port| {
        let models = in_order(&[("m", &[&down.url(), &other.url()])]);
        let setup = tests::setup!().models(models).routing(logged(""));
        setup.env("PORT", own.address().port().to_string()).start()
    };
    let first = start(&ports[0], &ports[1]);
    let second = start(&ports[1], &ports[0]);
    let reply = first.chat("m").await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (508, &"loop_detected".into()));
    for (gateway, most) in [(&first, 2.0), (&second, 1.0)] {
        let requests = gateway.metric("gateway_requests_total", &[("model", "m")]).await;
        assert_eq!(requests, Some(most));
    }
}

#[tokio::test]
async fn well_formed_floods_hold_no_core() {
    // 976 KiB that took 23 s, and a refusal of 63 KB that took 130 ms.
    let usage = format!("{{\"text\":[{}", "{\"usage\":{".repeat(100_000));
    let urls = format!("{{\"error\":{{\"message\":\"{}\"}}}}", "a://10.0.0.1/".repeat(4800));
    let [usage, urls] = [(200, usage), (400, urls)].map(|(status, body)| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n");
        Raw::steps(vec![Step::send(&format!("{head}content-length: {length}\r\n\r\n{body}"))])
    });
    let events = Raw::steps(vec![
        Step::stream(),
        Step::chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"),
        Step::chunk("data: {\"usage\":{\"usage\":{\n\n".repeat(40_000)),
        Step::chunk(""),
    ]);
    let good = Engine::start("good");
    let models = in_order(&[
        ("usage", &[&usage.url()]),
        ("urls", &[&urls.url()]),
        ("events", &[&events.url()]),
        ("good", &[&good.url()]),
    ]);
    let gateway = tests::setup!().models(models).arg("--cores").arg("1").start();
    let begun = Instant::now();
    assert_eq!(gateway.chat("usage").await.status, 502);
    let refused = gateway.chat("urls").await;
    assert_eq!((refused.status, refused.text().contains("10.0.0.1")), (400, false));
    let mut stream = gateway.stream("events").await.expect("an answer");
    while let Ok(Some(_)) = stream.chunk().await {}
    assert_eq!(gateway.chat("good").await.status, 200);
    // A generous bound: before, one of them alone took longer on a fast machine.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

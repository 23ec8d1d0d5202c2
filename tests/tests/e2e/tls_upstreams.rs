//! TLS to upstreams: connections are reused, and a connection cut below TLS is a failure.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tests::{Gateway, Reply, eventually, logged, one_model};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

/// What an upstream does after it has answered.
#[derive(Clone, Copy)]
enum End {
    /// Waits for the next request.
    Stay,
    /// Sends the `close_notify` of TLS.
    Notify,
    /// Closes the TCP connection without `close_notify`, as an attacker could.
    Cut,
}

/// A TLS upstream, with a channel that gets one message for each connection.
struct Upstream {
    url: String,
    certificate: String,
    connections: tokio::sync::mpsc::UnboundedReceiver<()>,
}

async fn start(answer: &'static str, end: End) -> Upstream {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider's own versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a key that fits");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let url = format!("https://{}", listener.local_addr().expect("bound"));
    let (count, connections) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.send(()).ok();
            let acceptor = acceptor.clone();
            tokio::spawn(
                async move { converse(acceptor.accept(stream).await?, answer, end).await },
            );
        }
    });
    Upstream { url, certificate: cert.pem(), connections }
}

async fn converse(mut stream: TlsStream<TcpStream>, answer: &str, end: End) -> std::io::Result<()> {
    loop {
        let mut request = [0; 64 * 1024];
        // Each request of this test fits one read.
        if stream.read(&mut request).await? == 0 {
            return Ok(());
        }
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
        match end {
            End::Stay => {}
            End::Notify => return stream.shutdown().await,
            End::Cut => return stream.get_mut().0.shutdown().await,
        }
    }
}

fn in_front_of(upstream: &Upstream) -> Gateway {
    let setup = tests::setup!().arg("--cores").arg("1").models(one_model(&[&upstream.url]));
    let setup = setup.file("ca.pem", &upstream.certificate);
    let path = setup.folder().join("ca.pem");
    setup.env("SSL_CERT_FILE", path).start()
}

#[tokio::test]
async fn a_connection_with_tls_is_used_again() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let mut upstream = start(answer, End::Stay).await;
    let gateway = in_front_of(&upstream);
    for _ in 0..5 {
        let reply = gateway.chat("m").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "{}"), "{}", gateway.log());
    }
    assert_eq!(upstream.connections.recv().await, Some(()));
    assert!(upstream.connections.try_recv().is_err(), "one connection is enough");
}

#[tokio::test]
async fn an_engine_behind_tls_is_scraped() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\nllamacpp:requests_processing 2\n";
    let upstream = start(answer, End::Stay).await;
    let other = start(answer, End::Stay).await;
    let setup = tests::setup!().models(one_model(&[&upstream.url, &other.url]));
    let setup = setup.routing(logged("signals: {interval: 50ms, always: true}"));
    let setup = setup.file("ca.pem", &upstream.certificate);
    let path = setup.folder().join("ca.pem");
    let gateway = setup.env("SSL_CERT_FILE", path).start();
    let shown = async |nth: usize| {
        gateway.routing().await["models"]["m"]["deployments"][nth]["engine"].clone()
    };
    let read = async || (shown(0).await["running"] == 2.0).then_some(());
    eventually("the engine is read", read).await;
    let metric = "gateway_engine_scrape_failures_total";
    let refused = async || gateway.metric(metric, &[]).await.filter(|count| *count >= 2.0);
    eventually("nobody trusts the other one's certificate", refused).await;
    assert_eq!(shown(1).await, serde_json::Value::Null);
}

#[tokio::test]
async fn close_delimited_answer_needs_tls_close_notify() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\n\r\n{}";
    let upstream = start(ANSWER, End::Notify).await;
    let reply = in_front_of(&upstream).chat("m").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));

    let upstream = start(ANSWER, End::Cut).await;
    let gateway = in_front_of(&upstream);
    let answer = gateway.stream("m").await.expect("a head");
    let told = answer.status().as_u16();
    let read = Reply::read(answer).await;
    assert!(told == 502 || read.is_err(), "{read:?}");
}

#[tokio::test]
async fn untrusted_certificate_is_a_failed_attempt() {
    let upstream = start("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", End::Stay).await;
    let other = start("", End::Stay).await;
    let setup = tests::setup!().models(one_model(&[&upstream.url]));
    let setup = setup.file("ca.pem", &other.certificate);
    let path = setup.folder().join("ca.pem");
    let gateway = setup.env("SSL_CERT_FILE", path).start();
    let reply = gateway.chat("m").await;
    assert_eq!(reply.status, 502, "{}", reply.text());
    assert!(reply.text().contains("no TLS connection"), "{}", reply.text());
}

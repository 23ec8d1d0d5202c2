//! TLS to upstreams: certificates that the system trusts are accepted, others fall back.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tests::{Engine, Gateway, Reply, in_order, logged};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// TLS in front of an engine, on a port of its own. Ends with the test's runtime.
struct Front {
    url: String,
    /// What a client has to trust.
    certificate: String,
}

impl Front {
    async fn start(engine: &Engine, name: &str) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider's own versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("the key of the certificate");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://{}", listener.local_addr().expect("bound"));
        let engine = engine.url().trim_start_matches("http://").parse().expect("an address");
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), engine));
        Self { url, certificate: cert.pem() }
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, engine: SocketAddr) {
    while let Ok((stream, _)) = listener.accept().await {
        let tls = tls.clone();
        tokio::spawn(async move {
            // A client that does not trust the certificate closes the connection.
            let Ok(mut client) = tls.accept(stream).await else { return };
            let mut engine = TcpStream::connect(engine).await.expect("the engine runs");
            tokio::io::copy_bidirectional(&mut client, &mut engine).await.ok();
        });
    }
}

async fn chat_and_stream(gateway: &Gateway) -> [Reply; 2] {
    let streamed = gateway.stream("m").await.expect("an answer");
    [gateway.chat("m").await, Reply::read(streamed).await.expect("a whole answer")]
}

#[tokio::test]
async fn an_upstream_with_a_trusted_certificate_answers() {
    let (engine, plain) = (Engine::start("behind-tls"), Engine::start("plain"));
    let front = Front::start(&engine, "127.0.0.1").await;
    let gateway = tests::setup!()
        .file("config/ca.pem", &front.certificate)
        .env("SSL_CERT_FILE", "config/ca.pem")
        .models(in_order(&[("m", &[&front.url, &plain.url()])]))
        .routing(logged(""))
        .start();
    let [whole, streamed] = chat_and_stream(&gateway).await;
    assert!(streamed.text().ends_with("data: [DONE]\n\n"), "{}", streamed.text());
    for reply in [whole, streamed] {
        assert_eq!((reply.status, reply.engine()), (200, "behind-tls"), "{}", reply.text());
    }
    assert_eq!(engine.requests().await, 2);
}

#[tokio::test]
async fn untrusted_upstream_falls_back() {
    let (engine, plain) = (Engine::start("behind-tls"), Engine::start("plain"));
    let unknown = Front::start(&engine, "127.0.0.1").await;
    let of_another_name = Front::start(&engine, "elsewhere.test").await;
    for (url, trusted) in [
        // The certificate is not among the trusted ones.
        (&unknown.url, &of_another_name.certificate),
        (&of_another_name.url, &of_another_name.certificate),
    ] {
        let gateway = tests::setup!()
            .file("config/ca.pem", trusted)
            .env("SSL_CERT_FILE", "config/ca.pem")
            .models(in_order(&[("m", &[url, &plain.url()]), ("alone", &[url])]))
            .routing(logged(""))
            .start();
        for reply in chat_and_stream(&gateway).await {
            assert_eq!((reply.status, reply.engine()), (200, "plain"), "{}", reply.text());
            let want = [("first", "tls"), ("second", "ok")].map(|(d, o)| (d.into(), o.into()));
            assert_eq!(gateway.attempts(&reply).await, want);
        }
        let alone = gateway.chat("alone").await;
        assert_eq!((alone.status, &alone.error()["code"]), (502, &"no_deployment_answered".into()));
    }
    assert_eq!(engine.requests().await, 0, "nothing is said to whom nobody trusts");
}

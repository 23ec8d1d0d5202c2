//! Connections: name, address (with happy eyeballs, by hyper-util), TLS, HTTP/1.1.

use std::sync::Arc;

use hyper::Uri;
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::Origin;

use super::{Cause, Sender};

#[derive(Debug, Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    tls: TlsSetup,
}

#[derive(Clone)]
struct TlsSetup(TlsConnector);

impl std::fmt::Debug for TlsSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsSetup")
    }
}

impl Connector {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        Self { tcp, tls: TlsSetup(tls.into()) }
    }

    /// A new connection, ready for a request. Its driver runs as a task of this core and ends with
    /// the connection.
    pub(super) async fn connect(&self, origin: &Origin) -> Result<Sender, Cause> {
        let uri: Uri = origin.to_string().parse().map_err(|_| Cause::Connect)?;
        let mut tcp = self.tcp.clone();
        let stream = tower_call(&mut tcp, uri).await?;
        if !origin.tls {
            return handshake(stream).await;
        }
        let name = ServerName::try_from(origin.host.clone()).map_err(|_| Cause::Tls)?;
        let stream = self.tls.0.connect(name, stream.into_inner()).await;
        handshake(TokioIo::new(stream.map_err(|_| Cause::Tls)?)).await
    }
}

async fn tower_call(tcp: &mut HttpConnector, uri: Uri) -> Result<TokioIo<TcpStream>, Cause> {
    use tower_service::Service;
    std::future::poll_fn(|cx| tcp.poll_ready(cx)).await.map_err(|_| Cause::Connect)?;
    tcp.call(uri).await.map_err(|error| {
        tracing::debug!(%error, "no connection");
        Cause::Connect
    })
}

async fn handshake<T>(io: T) -> Result<Sender, Cause>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(|_| Cause::Broken)?;
    tokio::task::spawn_local(async move {
        // The request on the connection learns of the same error.
        let _ = connection.await;
    });
    Ok(sender)
}

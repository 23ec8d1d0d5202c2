//! Makes connections: DNS, TCP (with happy eyeballs, by hyper-util), TLS.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;

use config::Origin;
use routing::Cause;

use crate::descriptors;

use super::SendError;
use super::connection::{Connection, Stream};

#[derive(Debug, Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    tls: TlsSetup,
}

#[derive(Clone)]
struct TlsSetup(TlsConnector);

impl fmt::Debug for TlsSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

    /// A new connection, ready for a request.
    pub(super) async fn connect(&self, origin: &Origin) -> Result<Connection, SendError> {
        let uri: Uri = origin.to_string().parse().map_err(|_| Cause::Connect)?;
        let mut tcp = self.tcp.clone();
        poll_fn(|cx| tcp.poll_ready(cx)).await.map_err(|_| Cause::Connect)?;
        let stream = tcp.call(uri).await.map_err(|error| {
            let is_ours = descriptors::are_exhausted(&error);
            let cause = if is_ours { Cause::NoDescriptors } else { Cause::Connect };
            SendError { detail: Some(detail(&error)), ..cause.into() }
        })?;
        let stream = stream.into_inner();
        if !origin.tls {
            return Ok(Connection::new(Stream::Plain(stream)));
        }
        let name = ServerName::try_from(origin.host.clone()).map_err(|_| Cause::Tls)?;
        let stream = self
            .tls
            .0
            .connect(name, stream)
            .await
            .map_err(|error| SendError { detail: Some(detail(&error)), ..Cause::Tls.into() })?;
        Ok(Connection::new(Stream::Tls(Box::new(stream))))
    }
}

/// An error with its sources, the most telling of which is the last: `Connection refused`,
/// `UnknownIssuer`.
fn detail(error: &dyn Error) -> Box<str> {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text.into()
}

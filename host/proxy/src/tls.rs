//! TLS towards upstreams and probed places. Trusts the certificates of the system, else Mozilla's.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A client configuration that trusts the certificates of the system (`SSL_CERT_FILE` and
/// `SSL_CERT_DIR` are honoured), or Mozilla's list if the system has none.
///
/// # Errors
/// If the TLS library supports no protocol version. Its enabled features rule this out.
pub fn client() -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "some of the system's certificates cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

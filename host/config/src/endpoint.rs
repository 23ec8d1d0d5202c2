//! Parses the URLs of the files into [`Endpoint`]s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use contract::Side;

use super::{Endpoint, Origin};

/// Why a URL is no endpoint, and the remedy. Neither contains a part of the URL.
pub(super) type BadUrl = (&'static str, &'static str);

/// Parses the URL of a deployment.
pub(super) fn parse(text: &str) -> Result<Endpoint, BadUrl> {
    const FORM: &str = "write it as http://host:8000 or https://host/path";
    if text.trim().is_empty() {
        return Err(("the URL is empty", FORM));
    }
    let url = Url::parse(text.trim()).map_err(|_| ("this is not a URL", FORM))?;
    let tls = match url.scheme() {
        "http" => false,
        "https" => true,
        _ => return Err(("this is not an http or https URL", FORM)),
    };
    if !url.username().is_empty() || url.password().is_some() {
        let help = "move the credential to `api_key`, as ${VAR}, and change it if others saw it";
        return Err(("the URL has a user name or password in it", help));
    }
    if url.query().is_some() || url.fragment().is_some() {
        let help = "end the URL before the `?` or `#`; a credential belongs in `api_key`";
        return Err(("the URL has a query or fragment", help));
    }
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Err(("the URL has no host", FORM));
    };
    let host = match host {
        // A name with a final dot is the same origin as without it.
        Host::Domain(name) => name.strip_suffix('.').unwrap_or(name).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    if host.is_empty() {
        return Err(("the URL has no host", FORM));
    }
    if host.split('.').any(str::is_empty) {
        return Err(("the URL's host has a dot where a part of its name must be", FORM));
    }
    let path = url.path().trim_end_matches('/');
    if path.ends_with("/completions") || path.ends_with("/embeddings") {
        return Err((
            "the URL goes on after the base",
            "end it at or before `/v1`: https://api.example.com/v1",
        ));
    }
    let prefix = path.strip_suffix("/v1").unwrap_or(path).trim_end_matches('/').to_owned();
    Ok(Endpoint { origin: Origin { tls, host, port }, prefix })
}

/// The side of a deployment for which none is given: local if its host is in a private network.
pub(super) fn side(origin: &Origin) -> Side {
    if is_private(&origin.host) { Side::Local } else { Side::Remote }
}

/// Whether a host, in lower case, is in a private network.
pub(super) fn is_private(host: &str) -> bool {
    match host.parse() {
        Ok(IpAddr::V4(address)) => is_private_v4(address),
        Ok(IpAddr::V6(address)) => is_private_v6(address),
        Err(_) => {
            let suffix = [".local", ".internal", ".localhost"];
            !host.contains('.') || suffix.iter().any(|suffix| host.ends_with(suffix))
        }
    }
}

pub(super) fn is_private_v4(address: Ipv4Addr) -> bool {
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
}

pub(super) fn is_private_v6(address: Ipv6Addr) -> bool {
    match address.to_ipv4_mapped() {
        Some(mapped) => is_private_v4(mapped),
        None => {
            address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_unspecified()
        }
    }
}

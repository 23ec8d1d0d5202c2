//! Who sends a request: a program, or a web page, and of which origin.
//!
//! A browser lets any page send requests to any host, and to this machine. Those of foreign pages
//! are refused before anything is read or spent, unless `cors.origins` allows their origin. A
//! listener that only this machine reaches answers only to names of this machine. Otherwise a page
//! could point its own name here (DNS rebinding), and would count as of the gateway's origin.

use std::net::IpAddr;

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request, Response, StatusCode};

use config::{Config, Cors};
use http1::Refusal;

use crate::attempts::Body;

const FOREIGN_PAGE: Refusal = Refusal {
    status: 403,
    code: "origin_not_allowed",
    message: "requests of this web page are refused: list its origin under `cors.origins` in \
              routing.yaml to allow them",
};
const OTHER_HOST: Refusal = Refusal {
    status: 403,
    code: "host_not_allowed",
    message: "this listener answers to localhost only: list the name in the URL under `hosts` in \
              routing.yaml to allow it",
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

/// The sender of a request.
#[derive(Debug)]
pub(super) enum Visitor {
    /// A program, or a page of the gateway's own origin. `varies`: a page of another origin might
    /// get another answer.
    Own { varies: bool },
    /// A page that `cors.origins` allows. The value is that of `access-control-allow-origin`.
    Allowed(HeaderValue),
    /// A sender whose request is refused.
    Refused { refusal: Refusal, varies: bool },
}

impl Visitor {
    /// The sender of `request`. `is_loopback`: only this machine reaches the listener.
    pub(super) fn of<B>(request: &Request<B>, config: &Config, is_loopback: bool) -> Self {
        let (headers, varies) = (request.headers(), !config.cors.origins.is_empty());
        if is_loopback
            && let Some(Authority { host, .. }) = reached(request)
            && !(is_this_machine(host) || is_named(config, host) || is_named(config, "*"))
        {
            return Self::Refused { refusal: OTHER_HOST, varies };
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else {
            let is_foreign = headers
                .get(SEC_FETCH_SITE)
                .is_some_and(|site| site.as_bytes().eq_ignore_ascii_case(b"cross-site"));
            return match is_foreign && !allows_all(&config.cors) {
                true => Self::Refused { refusal: FOREIGN_PAGE, varies },
                false => Self::Own { varies },
            };
        };
        let is_alone = origins.next().is_none();
        let text = origin.to_str().ok().filter(|_| is_alone).map(str::to_ascii_lowercase);
        match text {
            Some(text) if config.cors.origins.contains(&text) => Self::Allowed(origin.clone()),
            Some(_) if allows_all(&config.cors) => Self::Allowed(HeaderValue::from_static("*")),
            Some(text) if is_own(&text, reached(request), config) => Self::Own { varies },
            _ => Self::Refused { refusal: FOREIGN_PAGE, varies },
        }
    }

    /// The answer to a preflight. None if the request is not a preflight, or its page is not
    /// allowed.
    pub(super) fn preflight<B>(&self, request: &Request<B>, cors: &Cors) -> Option<Response<Body>> {
        let Self::Allowed(_) = self else { return None };
        let asked = request.headers();
        if request.method() != Method::OPTIONS || !asked.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        let mut response = Response::new(Body::own(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, cors.max_age.as_secs().into());
        if let Some(names) = allowed_headers(asked, cors) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        if asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|asks| asks == "true") {
            headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        for name in ["access-control-request-method", "access-control-request-headers"] {
            headers.append(VARY, HeaderValue::from_static(name));
        }
        Some(response)
    }

    /// Tells the browser and caches who may read the answer.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        let varies = match self {
            Self::Own { varies } | Self::Refused { varies, .. } => *varies,
            Self::Allowed(origin) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
                true
            }
        };
        if varies {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
    }
}

fn allows_all(cors: &Cors) -> bool {
    cors.origins.iter().any(|origin| origin == "*")
}

/// The value of `access-control-allow-headers`. If all headers are allowed, it lists those that the
/// page asks for, because `*` does not cover `authorization`.
fn allowed_headers(asked: &HeaderMap, cors: &Cors) -> Option<HeaderValue> {
    if cors.headers.iter().any(|name| name == "*") {
        return asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    }
    HeaderValue::from_str(&cors.headers.join(", ")).ok().filter(|names| !names.is_empty())
}

/// The host and port that a request was sent to. None if an HTTP/1.0 request does not say it.
fn reached<B>(request: &Request<B>) -> Option<Authority<'_>> {
    let text = match request.uri().authority() {
        // A target with a host overrides the header (RFC 9112, 3.2.2).
        Some(authority) => Some(authority.as_str()),
        None => request.headers().get(HOST).and_then(|host| host.to_str().ok()),
    };
    text.map(Authority::of)
}

fn is_named(config: &Config, host: &str) -> bool {
    config.hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// Whether an origin is the gateway's own: that of the URL by which it was reached, or one of its
/// names.
fn is_own(origin: &str, reached: Option<Authority<'_>>, config: &Config) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let page = Authority::of(authority);
    let port = page.port.unwrap_or(default);
    let reached_port = reached.map(|reached| reached.port.unwrap_or(default));
    if is_named(config, page.host) {
        return port == default || Some(port) == reached_port;
    }
    // If `hosts` is set, another name may belong to a foreign page (DNS rebinding). An IP address
    // cannot be rebound.
    let is_trusted = |host: &str| {
        let all = config.hosts.is_empty() || is_named(config, "*");
        all || is_this_machine(host) || address(host).is_some()
    };
    reached.is_some_and(|reached| {
        let is_same = reached.host.eq_ignore_ascii_case(page.host);
        is_same && Some(port) == reached_port && is_trusted(reached.host)
    })
}

/// Whether a host means this machine.
fn is_this_machine(host: &str) -> bool {
    const NAME: &str = "localhost";
    let end = host.len().checked_sub(NAME.len()).and_then(|at| host.split_at_checked(at));
    let is_name = end.is_some_and(|(before, name)| {
        name.eq_ignore_ascii_case(NAME) && (before.is_empty() || before.ends_with('.'))
    });
    is_name || address(host).is_some_and(|address| address.is_loopback())
}

fn address(host: &str) -> Option<IpAddr> {
    host.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// Host and port of a URL or a `Host` header.
#[derive(Debug, Clone, Copy)]
struct Authority<'a> {
    /// Without the brackets of IPv6 and without a final dot.
    host: &'a str,
    /// None: the default of the scheme.
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    fn of(text: &'a str) -> Self {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        // An invalid port becomes 0, which equals the port of no page and no listener.
        let port = port.filter(|port| !port.is_empty()).map(|port| port.parse().unwrap_or(0));
        Self { host, port }
    }
}

#[cfg(test)]
#[path = "visitor_tests.rs"]
mod tests;

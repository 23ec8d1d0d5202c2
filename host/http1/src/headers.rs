//! Decides which headers cross the gateway. Hop-by-hop headers never do (RFC 9110, 7.6.1). They are
//! a fixed set, so that neither side can have headers dropped by naming them in `Connection`. The
//! client's credentials never go up, nor the headers in which a browser describes the page that
//! asks. Headers that reveal the upstream or its account, or that command the client's browser or
//! proxy, never come down. Settings decide which other headers pass.

mod class;
mod down;

use std::io::Write;
use std::net::IpAddr;

use http::HeaderMap;
use http::header::HeaderName;

use class::Class;
pub use down::Down;

/// The addresses that a request came through, as reported by proxies in front of the gateway.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The hops of a request (RFC 8586). A gateway that finds itself among them would forward the
/// request for ever.
const CDN_LOOP: &str = "cdn-loop";

/// Asks an engine to tell its load with its answer (ORCA).
const LOAD_FORMAT: &str = "endpoint-load-metrics-format";

/// The load of an engine, in a header of its answer. Its first word says its form.
pub const LOAD: &str = "endpoint-load-metrics";
/// The same as JSON.
pub const LOAD_JSON: &str = "endpoint-load-metrics-json";
/// The same as a serialised report in base64.
pub const LOAD_BINARY: &str = "endpoint-load-metrics-bin";

/// The `user-agent` for remote APIs. Some refuse requests without one.
const USER_AGENT: &str = concat!("gateway/", env!("CARGO_PKG_VERSION"));

/// Where headers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// From clients to remote deployments.
    ToRemote,
    /// From clients to local deployments.
    ToLocal,
    /// From deployments to clients.
    ToClient,
}

/// Which headers pass where no fixed rule decides. Names are in lower case, and a final `*` stands
/// for any ending.
#[derive(Debug, Clone, Copy)]
pub enum Passing<'a> {
    /// These and what the API needs: the rule for remote deployments.
    Only(&'a [String]),
    /// All but these: the rule for local deployments, and for clients.
    AllBut(&'a [String]),
}

impl Passing<'_> {
    fn lets(&self, class: Class, name: &str) -> bool {
        match (self, class) {
            (_, Class::Hop | Class::Own | Class::Credential | Class::Page | Class::Account) => {
                false
            }
            (Self::Only(_), Class::Api) => true,
            (Self::Only(names), _) => is_named(names, name),
            (Self::AllBut(names), _) => !is_named(names, name),
        }
    }

    fn way(&self) -> Way {
        match self {
            Self::Only(_) => Way::ToRemote,
            Self::AllBut(_) => Way::ToLocal,
        }
    }
}

/// Whether one of `names` is this name, or a beginning of it followed by `*`.
fn is_named(names: &[String], name: &str) -> bool {
    names.iter().any(|named| match named.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => named == name,
    })
}

/// True if clients cannot have this header sent to a deployment, whatever is configured: it is a
/// credential, it is about one connection, or the gateway sets it itself.
#[must_use]
pub fn never_goes_up(name: &str) -> bool {
    let class = class::of(&name.to_ascii_lowercase());
    !Passing::AllBut(&[]).lets(class, name)
}

/// True if the header is a client's credential, by its name.
#[must_use]
pub fn is_credential(name: &str) -> bool {
    class::of(&name.to_ascii_lowercase()) == Class::Credential
}

/// Whether the request has passed the gateway of this name.
#[must_use]
pub fn passed(headers: &HeaderMap, hop: &str) -> bool {
    let values = headers.get_all(CDN_LOOP).iter();
    let mut hops = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    hops.any(|found| {
        // Parameters follow a semicolon.
        let name = found.split(|byte| *byte == b';').next().unwrap_or_default();
        name.trim_ascii() == hop.as_bytes()
    })
}

/// Drops the forwarding headers. Needed for a client that is not a trusted proxy.
pub fn drop_forwarding(headers: &mut HeaderMap) {
    drop_all(headers, |name| class::of(name.as_str()) == Class::Forwarding);
}

/// Called with each header that a client or a deployment sent and that does not pass. Not called
/// for those that belong to one connection or that the gateway sets itself.
pub type OnDropped = fn(Way, &str);

/// The headers of an upstream request, without `host`, credential and length: those of the client
/// that may pass, and the gateway's own.
#[derive(Debug, Clone, Copy)]
pub struct Up<'a> {
    /// The client's headers.
    pub headers: &'a HeaderMap,
    /// The id of the request, in printable ASCII.
    pub request_id: &'a str,
    /// The client's address, if the upstream may know it. It is appended to `x-forwarded-for`,
    /// after the addresses from a trusted proxy.
    pub client: Option<IpAddr>,
    /// The name of this gateway. It is appended to the hops of the request.
    pub hop: &'a str,
    /// Whether the engine is asked to tell its load with the answer. The client's own header for
    /// it stays if it passes.
    pub asks_load: bool,
    /// Which of the client's headers pass.
    pub passing: Passing<'a>,
    /// Told of those that do not.
    pub on_dropped: OnDropped,
}

impl Up<'_> {
    /// Calls `header` for each header. This takes 1,400 instructions; building a map took 4,300.
    ///
    /// The content type is always JSON, because the body was read as JSON. Engines refuse the type
    /// that `curl -d` sends.
    pub fn each(&self, mut header: impl FnMut(&[u8], &[u8])) {
        let is_told = self.client.is_some();
        let (mut names_agent, mut asks_load) = (false, self.asks_load);
        for (name, value) in self.headers {
            let name = name.as_str();
            let class = class::of(name);
            if self.passing.lets(class, name) {
                names_agent |= class == Class::Agent;
                asks_load &= name != LOAD_FORMAT;
                if !(is_told && name == FORWARDED_FOR) {
                    header(name.as_bytes(), value.as_bytes());
                }
            } else if !matches!(class, Class::Hop | Class::Own) {
                (self.on_dropped)(self.passing.way(), name);
            }
        }
        if matches!(self.passing, Passing::Only(_)) && !names_agent {
            header(b"user-agent", USER_AGENT.as_bytes());
        }
        if let Some(client) = self.client {
            let mut all = Vec::with_capacity(64);
            for value in self.headers.get_all(FORWARDED_FOR) {
                all.extend_from_slice(value.as_bytes());
                all.extend_from_slice(b", ");
            }
            address(&mut all, client);
            header(FORWARDED_FOR.as_bytes(), &all);
        }
        match self.headers.get(CDN_LOOP) {
            None => header(CDN_LOOP.as_bytes(), self.hop.as_bytes()),
            Some(_) => {
                let hops = self.headers.get_all(CDN_LOOP).iter().map(|value| value.as_bytes());
                let hops: Vec<&[u8]> = hops.chain([self.hop.as_bytes()]).collect();
                header(CDN_LOOP.as_bytes(), &hops.join(&b", "[..]));
            }
        }
        if asks_load {
            // In lower case: Triton takes nothing else, vLLM takes any case.
            header(LOAD_FORMAT.as_bytes(), b"json");
        }
        header(b"x-request-id", self.request_id.as_bytes());
        header(b"content-type", b"application/json");
        // The gateway reads answers: errors, their end and usage. Without this header the upstream
        // could choose any encoding (RFC 9110, 12.5.3).
        header(b"accept-encoding", b"identity");
    }
}

fn address(to: &mut Vec<u8>, address: IpAddr) {
    match address {
        // Most addresses are IPv4, and fmt takes 620 instructions for one.
        IpAddr::V4(address) => {
            for (i, octet) in address.octets().into_iter().enumerate() {
                if i > 0 {
                    to.push(b'.');
                }
                to.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        // Writing to memory does not fail.
        IpAddr::V6(address) => drop(write!(to, "{address}")),
    }
}

fn drop_all(headers: &mut HeaderMap, dropped: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| dropped(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
#[path = "headers/tests.rs"]
mod tests;

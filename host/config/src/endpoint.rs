//! Parses the URLs of the files into [`Endpoint`]s.
//!
//! Engines and providers have their API at different paths. The first of these gives the prefix of
//! the paths, which comes before `/chat/completions`:
//!
//! 1. `path` of the file
//! 2. the known path of the host
//! 3. the path of the URL, if it ends in a version or `openai`
//! 4. the known path of the kind, if the URL has no path
//! 5. the path of the URL and `/v1`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use contract::Side;

use super::{Endpoint, Origin, providers};

/// A URL as a file has it.
#[derive(Debug, Clone)]
pub(super) struct BaseUrl {
    /// The endpoint without regard to kind and `path`.
    pub(super) endpoint: Endpoint,
    /// The endpoint without a final `/v1`. Entries and routes join if their keys are equal. `kind`
    /// and `path` do not count.
    pub(super) join_key: Endpoint,
    /// The URL has no path.
    is_bare: bool,
}

impl BaseUrl {
    /// The endpoint of an upstream of this kind. `path` is the setting, which overrides all else.
    pub(super) fn at(&self, kind: &str, path: Option<&str>) -> Endpoint {
        let mut endpoint = self.endpoint.clone();
        if let Some(path) = path {
            endpoint.prefix = path.trim_end_matches('/').to_owned();
            return endpoint;
        }
        // A stand-in for a provider in a private network has the paths of an engine.
        let host = &endpoint.origin.host;
        let known = self.is_bare && providers::of_host(host).is_none() && !is_private(host);
        if let Some(provider) = providers::of_kind(kind).filter(|_| known) {
            provider.path.clone_into(&mut endpoint.prefix);
        }
        endpoint
    }
}

/// Why a URL is no endpoint, and the remedy. Neither contains a part of the URL.
pub(super) type BadUrl = (&'static str, &'static str);

/// Parses the URL of a deployment.
pub(super) fn parse(text: &str) -> Result<BaseUrl, BadUrl> {
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
    if url.fragment().is_some() {
        return Err(("the URL has a fragment", "end the URL before the `#`"));
    }
    if url.query_pairs().any(|(name, _)| is_credential(&name)) {
        let help = "move the credential to `api_key`, as ${VAR}, and change it if others saw it";
        return Err(("the URL has a credential in its query", help));
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
    let prefix = prefix(&host, path);
    let query = url.query().filter(|query| !query.is_empty());
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    let is_bare = path.is_empty();
    let endpoint = Endpoint { origin: Origin { tls, host, port }, prefix, query };
    let join_key = Endpoint {
        prefix: endpoint.prefix.strip_suffix("/v1").unwrap_or(&endpoint.prefix).to_owned(),
        ..endpoint.clone()
    };
    Ok(BaseUrl { endpoint, join_key, is_bare })
}

/// The prefix of the API's paths, for a URL with this host and path.
fn prefix(host: &str, path: &str) -> String {
    if let Some(provider) = providers::of_host(host) {
        let known = provider.path;
        let is_beginning = known.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        if is_beginning || path.is_empty() {
            return known.to_owned();
        }
        if path.ends_with(known) {
            return path.to_owned();
        }
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    // One `/v1` too many is the most frequent mistake.
    let path = path.strip_suffix("/v1").filter(|path| path.ends_with("/v1")).unwrap_or(path);
    if is_version(last) || last == "openai" { path.to_owned() } else { format!("{path}/v1") }
}

/// True for `v1`, `v4`, `v1beta`: the name of a version of an API.
pub(super) fn is_version(segment: &str) -> bool {
    let Some(rest) = segment.strip_prefix('v') else { return false };
    let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_stage = |text: &str| {
        let stage = text.trim_end_matches(|c: char| c.is_ascii_digit());
        matches!(stage, "" | "alpha" | "beta")
    };
    digits.len() < rest.len() && is_stage(digits)
}

/// True if a parameter of this name is a credential.
fn is_credential(parameter: &str) -> bool {
    let name = parameter.to_ascii_lowercase();
    matches!(&*name, "sig" | "code" | "pwd") || http1::headers::is_credential(&name)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str, kind: &str) -> String {
        parse(text).expect("a URL").at(kind, None).url("/chat/completions")
    }

    #[test]
    fn the_path_of_the_api_is_found() {
        for (url, asked_at) in [
            ("http://gpu:8000", "http://gpu:8000/v1"),
            ("http://gpu:8000/", "http://gpu:8000/v1"),
            ("http://gpu:8000/v1", "http://gpu:8000/v1"),
            ("http://gpu:8000/v1/", "http://gpu:8000/v1"),
            ("http://gpu:8000/v1/v1", "http://gpu:8000/v1"),
            ("http://ingress/llama", "http://ingress/llama/v1"),
            ("http://ingress/v1/llama", "http://ingress/v1/llama/v1"),
            ("http://proxy/v2", "http://proxy/v2"),
            ("http://proxy/version", "http://proxy/version/v1"),
            ("http://proxy/some/openai", "http://proxy/some/openai"),
            ("https://api.openai.com", "https://api.openai.com/v1"),
            (
                "https://generativelanguage.googleapis.com",
                "https://generativelanguage.googleapis.com/v1beta/openai",
            ),
            (
                "https://generativelanguage.googleapis.com/v1beta",
                "https://generativelanguage.googleapis.com/v1beta/openai",
            ),
            (
                "https://generativelanguage.googleapis.com/v1beta/openai/",
                "https://generativelanguage.googleapis.com/v1beta/openai",
            ),
            ("https://api.z.ai/api/paas/v4", "https://api.z.ai/api/paas/v4"),
            ("https://api.z.ai/api/coding/paas/v4", "https://api.z.ai/api/coding/paas/v4"),
            ("https://api.deepinfra.com/v1/openai", "https://api.deepinfra.com/v1/openai"),
            ("https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1"),
            ("https://API.groq.com/openai", "https://api.groq.com/openai/v1"),
            ("https://models.github.ai/inference", "https://models.github.ai/inference"),
            (
                "https://models.github.ai/orgs/o/inference",
                "https://models.github.ai/orgs/o/inference",
            ),
            ("https://api.perplexity.ai", "https://api.perplexity.ai"),
            ("https://openrouter.ai/api", "https://openrouter.ai/api/v1"),
            ("https://example.com/api", "https://example.com/api/v1"),
        ] {
            assert_eq!(
                asked(url, "openai_compat"),
                format!("{asked_at}/chat/completions"),
                "{url}"
            );
        }
        let azure = "https://x.openai.azure.com/openai/v1?api-version=preview";
        let all = "https://x.openai.azure.com/openai/v1/chat/completions?api-version=preview";
        assert_eq!(asked(azure, "azure"), all);
    }

    #[test]
    fn the_root_is_what_stands_before_the_api() {
        for (url, root) in [
            ("http://gpu:8000", ""),
            ("http://gpu:8000/v1", ""),
            ("http://gpu:8000/openai/v1", ""),
            ("http://gpu:8000/v1beta/openai", ""),
            ("http://gpu:8000/api/v1", ""),
            ("http://ingress/llama", "/llama"),
            ("http://ingress/a/llama/v1", "/a/llama"),
            ("http://ingress/v1/llama/openai/v1", "/v1/llama"),
            ("http://ingress/openai-a", "/openai-a"),
        ] {
            assert_eq!(parse(url).expect("a URL").at("vllm", None).root(), root, "{url}");
        }
        assert_eq!(parse("http://gpu/x").expect("a URL").at("", Some("/")).root(), "");
    }

    #[test]
    fn a_kind_counts_where_neither_host_nor_path_say_more() {
        let at = |url| asked(url, "gemini");
        assert_eq!(at("https://p.example"), "https://p.example/v1beta/openai/chat/completions");
        assert_eq!(at("https://p.example/v1"), "https://p.example/v1/chat/completions");
        assert_eq!(at("https://openrouter.ai"), "https://openrouter.ai/api/v1/chat/completions");
        assert_eq!(at("http://127.0.0.1:9"), "http://127.0.0.1:9/v1/chat/completions");
    }

    #[test]
    fn a_setting_overrides_the_path() {
        let at = |path| parse("http://gpu/x/v1").expect("a URL").at("vllm", Some(path)).prefix;
        assert_eq!([at("/y"), at("/y/"), at(""), at("/")], ["/y", "/y", "", ""]);
    }

    #[test]
    fn no_credential_is_in_a_query() {
        for query in ["key=x", "api_key=x", "a=b&Access-Token=x", "sig=x", "subscription-key=x"] {
            let bad = parse(&format!("https://a.example/v1?{query}")).expect_err("a credential");
            assert_eq!(bad.0, "the URL has a credential in its query");
        }
        assert!(parse("https://a.example/v1?api-version=2024-10-21&max_keys=1").is_ok());
        assert_eq!(parse("https://a.example/v1?").expect("a URL").endpoint.query, "");
    }
}

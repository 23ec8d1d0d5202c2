//! What is known of kinds of upstreams: where their API begins, and where they answer probes. The
//! facts are in `providers.txt`.

use std::sync::LazyLock;

use super::diagnostic::nearest;

/// One line of the file.
pub(super) struct Provider {
    kinds: Vec<&'static str>,
    hosts: Vec<&'static str>,
    /// The prefix before `/chat/completions`.
    pub(super) path: &'static str,
    /// Where a local engine of this kind answers probes. None if not known.
    pub(super) health: Option<&'static str>,
}

static PROVIDERS: LazyLock<Vec<Provider>> = LazyLock::new(|| {
    let text = include_str!("providers.txt");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(provider).collect()
});

fn provider(line: &'static str) -> Option<Provider> {
    let mut columns = line.split_ascii_whitespace();
    let mut column = || columns.next().map(|text| (text != "-").then_some(text));
    let (kinds, hosts, path, health) = (column()??, column()?, column()?, column()?);
    Some(Provider {
        kinds: kinds.split(',').collect(),
        hosts: hosts.map_or_else(Vec::new, |hosts| hosts.split(',').collect()),
        path: match path {
            None => "/v1",
            Some("none") => "",
            Some(path) => path,
        },
        health,
    })
}

/// The provider that a host in lower case belongs to.
pub(super) fn of_host(host: &str) -> Option<&'static Provider> {
    let is_its = |of: &&str| match of.strip_prefix('*') {
        Some(end) => host.ends_with(end) && host.len() > end.len(),
        None => host == *of,
    };
    // A row for the whole host name goes before a row for its end.
    let all = || PROVIDERS.iter();
    all()
        .find(|provider| provider.hosts.contains(&host))
        .or_else(|| all().find(|provider| provider.hosts.iter().any(&is_its)))
}

/// The provider that a `kind` names.
pub(super) fn of_kind(kind: &str) -> Option<&'static Provider> {
    let kind = kind.to_ascii_lowercase();
    PROVIDERS.iter().find(|provider| provider.kinds.contains(&&*kind))
}

/// The known kind whose name is nearest to an unknown one.
pub(super) fn nearest_kind(kind: &str) -> Option<&'static str> {
    nearest(kind, PROVIDERS.iter().flat_map(|provider| provider.kinds.iter().copied()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_line_is_read() {
        let text = include_str!("providers.txt");
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        assert_eq!(lines.count(), PROVIDERS.len());
        let (mut kinds, mut hosts) = (HashSet::new(), HashSet::new());
        for provider in PROVIDERS.iter() {
            assert!(provider.kinds.iter().all(|kind| kinds.insert(kind)), "{:?}", provider.kinds);
            assert!(provider.hosts.iter().all(|host| hosts.insert(host)), "{:?}", provider.hosts);
            let is_path = |path: &str| path.starts_with('/') && path.is_ascii();
            assert!(provider.path.is_empty() || is_path(provider.path), "{}", provider.path);
            assert!(!provider.path.ends_with('/'));
            assert!(provider.health.is_none_or(is_path));
        }
    }

    #[test]
    fn hosts_and_kinds_find_their_provider() {
        let path = |host| of_host(host).map(|provider| provider.path);
        assert_eq!(path("openrouter.ai"), Some("/api/v1"));
        assert_eq!(path("my.openai.azure.com"), Some("/openai/v1"));
        assert_eq!(path("generativelanguage.googleapis.com"), Some("/v1beta/openai"));
        assert_eq!(path("us-central1-aiplatform.googleapis.com"), Some("/endpoints/openapi"));
        assert_eq!((path("openai.azure.com"), path("example.com")), (None, None));
        assert_eq!(of_kind("Ollama").and_then(|provider| provider.health), Some("/"));
        assert!(of_kind("olama").is_none());
        assert_eq!(nearest_kind("openruter"), Some("openrouter"));
    }
}

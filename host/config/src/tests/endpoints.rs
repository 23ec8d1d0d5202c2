//! URLs of deployments, and the side of a host.

use contract::Side;

use super::super::endpoint::is_private;
use super::*;

#[test]
fn hosts_of_private_networks_are_local() {
    let private = [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.1.1",
        "0.0.0.0",
        "::1",
        "fd00::1",
        "fe80::1",
        "::",
        "::ffff:10.0.0.1",
        "gpu-a",
        "gpu.local",
        "vllm.ns.svc.cluster.internal",
        "a.localhost",
    ];
    for host in private {
        assert!(is_private(host), "{host}");
    }
    for host in [
        "8.8.8.8",
        "172.32.0.1",
        "2001:db8::1",
        "::ffff:8.8.8.8",
        "api.example.com",
        "localhost.example",
    ] {
        assert!(!is_private(host), "{host}");
    }
}

#[test]
fn urls_that_are_no_endpoints_are_refused() {
    use super::super::endpoint::{is_private, parse, side};
    for (url, why) in [
        ("  ", "the URL is empty"),
        ("http://a/embeddings", "the URL goes on after the base"),
        ("http://a/v1/completions/", "the URL goes on after the base"),
        ("http://user@a", "the URL has a user name or password in it"),
        ("http://:pass@a", "the URL has a user name or password in it"),
        ("http://a#b", "the URL has a fragment"),
        ("unix:/a", "this is not an http or https URL"),
    ] {
        assert_eq!(parse(url).unwrap_err().0, why, "{url}");
    }
    for host in [
        "engine",
        "a.local",
        "a.internal",
        "a.localhost",
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.0.1",
        "0.0.0.0",
        "::1",
        "::",
        "fd00::1",
        "fe80::1",
        "::ffff:10.0.0.1",
    ] {
        assert!(is_private(host), "{host}");
    }
    for host in ["a.example", "a.locals", "8.8.8.8", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8"]
    {
        assert!(!is_private(host), "{host}");
    }
    let of = |host: &str| side(&Origin { tls: false, host: host.into(), port: 80 });
    assert_eq!((of("engine"), of("8.8.8.8")), (Side::Local, Side::Remote));
}

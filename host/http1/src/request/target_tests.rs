//! Targets that mean one path pass, and all others are refused.

use crate::Refusal;
use crate::oracle::request::read;

use super::super::refusals::*;

fn refusal(target: &str) -> Option<Refusal> {
    read([format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()]).refusal
}

#[test]
fn targets_mean_one_path() {
    for good in [
        "/",
        "/v1/models/org/m-1.5",
        "/v1/models/org%2Fm%3Alatest",
        "/a..b/...",
        "/a?b=%00&c[]=../",
        "http://a",
        "HTTP://a:8000/v1/models",
        "https://[::1]:80?b",
        "http://other/a..b",
    ] {
        assert_eq!(refusal(good), None, "{good}");
    }
    for bad in [
        "/a%2fb",
        "/v1/models/..%2fm",
        "/v1/models/a%2f..",
        "/a/./b",
        "/..",
        "/%2e%2e",
        "/a%5cb",
        "/a\\b",
        "*",
        "a:80",
        "v1/models",
        "http:/a",
        "http:///a",
        "http://user@a/",
        "http://a:b/",
        "http://a/../b",
        "http://a/b%2fc",
        "http://a\\b/",
        "ftp://a/",
    ] {
        assert!(refusal(bad).is_some(), "{bad}");
    }
}

#[test]
fn every_kind_of_bad_target_has_its_refusal() {
    for (bad, expected) in [
        ("*", TARGET_FORM),
        ("a/", TARGET_FORM),
        ("http:a/", TARGET_FORM),
        ("/a#b", TARGET_BYTE),
        ("/a\"", TARGET_BYTE),
        ("/a?b#c", TARGET_BYTE),
        ("/a[", TARGET_BYTE),
        ("/%", TARGET_ESCAPE),
        ("/%4", TARGET_ESCAPE),
        ("/%4g", TARGET_ESCAPE),
        ("/%+1", TARGET_ESCAPE),
        ("/%00", TARGET_ESCAPE),
        ("/%7f", TARGET_ESCAPE),
        ("/%2E", TARGET_ESCAPE),
        ("/%5C", TARGET_ESCAPE),
        ("/a%2Fb", TARGET_ESCAPE),
        ("/v1/models%2Fb", TARGET_ESCAPE),
        ("/v1/models/a%5Cb", TARGET_ESCAPE),
        ("/a?b=%", TARGET_ESCAPE),
        ("/a?b=%4", TARGET_ESCAPE),
        ("/a?b=%zz", TARGET_ESCAPE),
        // Escapes in both parts.
        ("/%2e?%41", TARGET_ESCAPE),
        ("/%41?%4", TARGET_ESCAPE),
        ("/.", TARGET_DOTS),
        ("/a/../b?c", TARGET_DOTS),
        ("/v1/models/a%2F..%2Fb", TARGET_DOTS),
        ("/v1/models/a/b%2fc%2f.", TARGET_DOTS),
        ("/v1/models/.%2Fa%2Fb", TARGET_DOTS),
        ("/v1/models/a%2Fb/..%2fc", TARGET_DOTS),
    ] {
        assert_eq!(refusal(bad), Some(expected), "{bad}");
    }
    for good in [
        "/%41%c3%a9?%2e%2f%5c%00",
        "/v1/models/a%2F.b%2F..c%2F...",
        "/v1/models/a%2F%2Fb.%2F",
        "/.a/b./c?../.",
        "/?",
        "/a?b?c/[]{}|",
        "/~a!$&'()*+,;=:@-_",
    ] {
        assert_eq!(refusal(good), None, "{good}");
    }
}

use super::*;

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let parsed = |(name, value): &(&'static str, &str)| {
        (hyper::header::HeaderName::from_static(name), value.parse().expect("a value"))
    };
    list.iter().map(parsed).collect()
}

/// What headers tell, as text: `requests/minute 7 of 10 in 1500ms`.
fn read(list: &[(&'static str, &str)]) -> Vec<String> {
    let or = |number: Option<u64>| number.map_or("?".into(), |number| number.to_string());
    let shown = |told: ToldQuota| {
        let per = match told.per {
            Some(Period::Seconds(60)) => "/minute",
            Some(Period::Day) => "/day",
            Some(Period::Month) => "/month",
            Some(_) => "/other",
            None => "",
        };
        let reset = told.reset.map(|reset| u64::try_from(reset.as_millis()).unwrap_or(u64::MAX));
        let (unit, limit) = (told.unit.as_str(), or(told.limit));
        format!("{unit}{per} {} of {limit} in {}ms", told.remaining, or(reset))
    };
    let mut told: Vec<_> = told(&headers(list)).into_iter().map(shown).collect();
    told.sort();
    told
}

#[test]
fn answers_as_providers_send_them_are_read() {
    for (provider, list, expected) in [
        (
            "OpenAI",
            &[
                ("x-ratelimit-limit-requests", "5000"),
                ("x-ratelimit-limit-tokens", "160000"),
                ("x-ratelimit-limit-tokens_usage_based", "160000"),
                ("x-ratelimit-remaining-requests", "4999"),
                ("x-ratelimit-remaining-tokens", "159976"),
                ("x-ratelimit-remaining-tokens_usage_based", "159970"),
                ("x-ratelimit-reset-requests", "12ms"),
                ("x-ratelimit-reset-tokens", "6m0s"),
                ("x-ratelimit-reset-tokens_usage_based", "9ms"),
                ("openai-processing-ms", "1032"),
            ][..],
            &[
                "requests 4999 of 5000 in 12ms",
                "tokens 159970 of 160000 in 9ms",
                "tokens 159976 of 160000 in 360000ms",
            ][..],
        ),
        (
            "Azure",
            &[
                ("x-ratelimit-limit-requests", "-1"),
                ("x-ratelimit-remaining-requests", "-1"),
                ("x-ratelimit-remaining-tokens", "79965"),
                ("x-ratelimit-limit-tokens", "80000"),
            ],
            &["tokens 79965 of 80000 in ?ms"],
        ),
        (
            "Anthropic",
            &[
                ("date", "Thu, 21 Aug 2025 12:41:00 GMT"),
                ("anthropic-ratelimit-input-tokens-limit", "80000"),
                ("anthropic-ratelimit-input-tokens-remaining", "79000"),
                ("anthropic-ratelimit-input-tokens-reset", "2025-08-21T12:41:01Z"),
                ("anthropic-ratelimit-output-tokens-limit", "16000"),
                ("anthropic-ratelimit-output-tokens-remaining", "15000"),
                ("anthropic-ratelimit-output-tokens-reset", "2025-08-21T12:41:04Z"),
                ("anthropic-ratelimit-requests-limit", "1000"),
                ("anthropic-ratelimit-requests-remaining", "999"),
                ("anthropic-ratelimit-requests-reset", "2025-08-21T12:40:59Z"),
                ("anthropic-ratelimit-tokens-limit", "96000"),
                ("anthropic-ratelimit-tokens-remaining", "94000"),
                ("anthropic-ratelimit-tokens-reset", "2025-08-21T12:41:00.250Z"),
                ("anthropic-ratelimit-unified-remaining", "3"),
            ],
            &[
                "requests 999 of 1000 in 0ms",
                "tokens 15000 of 16000 in 4000ms",
                "tokens 79000 of 80000 in 1000ms",
                "tokens 94000 of 96000 in 250ms",
            ],
        ),
        (
            "Groq",
            &[
                ("x-ratelimit-limit-requests", "14400"),
                ("x-ratelimit-remaining-requests", "14370"),
                ("x-ratelimit-reset-requests", "2m59.56s"),
                ("x-ratelimit-limit-tokens", "18000"),
                ("x-ratelimit-remaining-tokens", "17997"),
                ("x-ratelimit-reset-tokens", "7.66s"),
            ],
            &["requests 14370 of 14400 in 179560ms", "tokens 17997 of 18000 in 7660ms"],
        ),
        (
            "Cerebras",
            &[
                ("x-ratelimit-limit-requests-day", "1000000000"),
                ("x-ratelimit-limit-tokens-minute", "1000000000"),
                ("x-ratelimit-remaining-requests-day", "999997455"),
                ("x-ratelimit-remaining-tokens-minute", "999998298"),
                ("x-ratelimit-reset-requests-day", "33011.382867"),
                ("x-ratelimit-reset-tokens-minute", "11.382867"),
            ],
            &[
                "requests/day 999997455 of 1000000000 in 33011382ms",
                "tokens/minute 999998298 of 1000000000 in 11382ms",
            ],
        ),
        (
            "Mistral",
            &[
                ("x-ratelimit-limit-req-minute", "50"),
                ("x-ratelimit-remaining-req-minute", "49"),
                ("x-ratelimit-limit-tokens-minute", "50000"),
                ("x-ratelimit-remaining-tokens-minute", "47300"),
                ("x-ratelimit-limit-tokens-month", "4000000"),
                ("x-ratelimit-remaining-tokens-month", "3999000"),
                ("x-ratelimit-tokens-query-cost", "1300"),
            ],
            &[
                "requests/minute 49 of 50 in ?ms",
                "tokens/minute 47300 of 50000 in ?ms",
                "tokens/month 3999000 of 4000000 in ?ms",
            ],
        ),
        (
            "OpenRouter",
            &[
                ("date", "Tue, 12 Aug 2025 12:00:00 GMT"),
                ("x-ratelimit-limit", "20"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1755000060000"),
            ],
            &["requests 0 of 20 in 60000ms"],
        ),
        (
            "Together",
            &[
                ("x-ratelimit-limit", "10"),
                ("x-ratelimit-remaining", "9"),
                ("x-ratelimit-reset", "1"),
                ("x-tokenlimit-limit", "3000"),
                ("x-tokenlimit-remaining", "2950"),
            ],
            &["requests 9 of 10 in 1000ms", "tokens 2950 of 3000 in ?ms"],
        ),
        (
            "Fireworks",
            &[
                ("x-ratelimit-over-limit", "no"),
                ("x-ratelimit-limit-tokens-prompt", "60000"),
                ("x-ratelimit-remaining-tokens-prompt", "59000"),
            ],
            &["tokens 59000 of 60000 in ?ms"],
        ),
        (
            "the IETF's draft",
            &[("ratelimit-limit", "100"), ("ratelimit-remaining", "3"), ("ratelimit-reset", "30")],
            &["requests 3 of 100 in 30000ms"],
        ),
    ] {
        assert_eq!(read(list), expected, "{provider}");
    }
}

#[test]
fn a_deployments_own_clock_times_its_resets() {
    // An hour behind, and without a clock that is told: the gateway's.
    let hour = Duration::from_secs(3600);
    let behind = SystemTime::now() - hour;
    let date = httpdate::fmt_http_date(behind);
    let reset = OffsetDateTime::from(behind + Duration::from_secs(30));
    let reset = reset.format(&Rfc3339).expect("a date");
    let list = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &*reset), ("date", &*date)];
    let wait_of = |list| wait(&headers(list)).expect("a time").as_secs();
    assert!((29..=31).contains(&wait_of(&list)), "{}", wait_of(&list));
    assert_eq!(wait_of(&list[..2]), 0, "long ago, by the gateway's clock");
}

#[test]
fn what_is_no_quota_is_ignored() {
    let [left, reset] = ["x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
    for value in ["soon", "5 parsecs", "1e400", "-1", "", "nan"] {
        assert_eq!(read(&[(left, "3"), (reset, value)]), [""; 0], "{value}");
    }
    for remaining in ["-1", "nan", "", "0, 5", "none"] {
        assert_eq!(read(&[(left, remaining), (reset, "60s")]), [""; 0], "{remaining}");
    }
    for name in ["x-ratelimit-remaining-images", "x-ratelimit-used", "x-ratelimit-requests"] {
        assert_eq!(read(&[(name, "3")]), [""; 0], "{name}");
    }
    let others = [(left, "3"), ("x-ratelimit-reset-tokens", "1s")];
    assert_eq!(read(&others), ["requests 3 of ? in ?ms"], "the time of another quota");
    assert_eq!(
        read(&[(left, "1e300"), (reset, "1s")]),
        ["requests 1000000000000000 of ? in 1000ms"]
    );
}

#[test]
fn endless_headers_are_read_in_part() {
    let mut list = HeaderMap::new();
    for at in 0..100 {
        let name = format!("x-ratelimit-remaining-tokens-n{at}");
        let name: hyper::header::HeaderName = name.parse().expect("a name");
        list.insert(name, "1".parse().expect("a value"));
    }
    assert_eq!(told(&list).len(), MOST);
}

#[test]
fn the_most_exact_wait_counts() {
    let all = [
        ("retry-after-ms", "250"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "3s"),
    ];
    assert_eq!(wait(&headers(&all)), Some(Duration::from_millis(250)));
    assert_eq!(wait(&headers(&all[1..])), Some(Duration::from_secs(3)));
    assert_eq!(wait(&headers(&[])), None);
    let left = [("x-ratelimit-remaining", "2"), ("x-ratelimit-reset", "3")];
    assert_eq!(wait(&headers(&left)), None, "something is left");
    assert_eq!(wait(&headers(&[("retry-after", "9"), all[0]])), Some(Duration::from_secs(9)));
    let long = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "99999999999999")];
    assert_eq!(wait(&headers(&long)), Some(LONGEST));
}

#[test]
fn a_wait_is_seconds_or_a_date_and_at_most_an_hour() {
    let read = |text: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", text.parse().expect("a header"));
        retry_after(&headers)
    };
    assert_eq!(read("30"), Some(Duration::from_secs(30)));
    assert_eq!(read("0"), Some(Duration::ZERO));
    assert_eq!(read("86400"), Some(LONGEST));
    assert_eq!(read("99999999999999999999999"), Some(LONGEST));
    assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO), "long ago");
    assert_eq!(read("Fri, 31 Dec 9999 23:59:59 GMT"), Some(LONGEST));
    assert_eq!(read("1.5"), Some(Duration::from_millis(1500)));
    assert_eq!(read("250ms"), Some(Duration::from_millis(250)));
    assert_eq!(read("1600000000"), Some(Duration::ZERO), "a Unix time long ago");
    assert_eq!(read("99999999999"), Some(LONGEST), "a Unix time");
    for text in ["", "-1", "-0.5", "nan", "inf", "1e400", "2, 3", "7;q=1", "soon"] {
        assert_eq!(read(text), None, "{text}");
    }
    let soon = SystemTime::now() + Duration::from_secs(60);
    let mut headers = HeaderMap::new();
    let date = httpdate::fmt_http_date(soon).parse().expect("a header");
    headers.insert("retry-after", date);
    let wait = retry_after(&headers).expect("a date");
    assert!((58..=60).contains(&wait.as_secs()), "{wait:?}");
}

use pieces::work;

use super::*;

fn used(prompt_tokens: u64, completion_tokens: u64) -> Usage {
    Usage { prompt_tokens, completion_tokens, ..Usage::default() }
}

#[test]
fn usage_is_found_however_the_answer_is_cut() {
    let text = br#"data: {"x":"\"usage\":{}","usage":null}

data: {"usage": {"prompt_tokens":3,"completion_tokens":4,"details":{"cached":1}}}

data: [DONE]"#;
    for size in 1..text.len() {
        let mut scan = UsageScan::default();
        text.chunks(size).for_each(|chunk| scan.feed(chunk));
        let want = used(3, 4);
        assert_eq!(scan.found(), Some(want), "in chunks of {size}");
        assert!(scan.text.is_empty());
    }
}

#[test]
fn usage_is_found_behind_and_within_other_text() {
    let good = r#""usage":{"prompt_tokens":3}"#;
    for text in [
        format!("\"usag{good}"),
        format!("\"usage\" : 1,{good}"),
        format!("\"usage\":\n\t{{{good}}}"),
        format!("\"usage\":{{\"a\":{{}},{good}}}}}}}"),
        format!("{}{good}", "\"usage\":{".repeat(300)),
    ] {
        let mut scan = UsageScan::default();
        scan.feed(text.as_bytes());
        assert_eq!(scan.found().map(|usage| usage.prompt_tokens), Some(3), "{text}");
    }
}

#[test]
fn the_work_is_a_multiple_of_the_bytes() {
    for part in ["\"usage\":{", "\"usage\":{}", "\"usage\"", "{\"usage\":{\"a\":1}", "\"usag"] {
        let text = part.repeat((1 << 20) / part.len());
        for size in [1, 7, 1000, 1 << 16] {
            let calls = text.len().div_ceil(size);
            work::bounded(2 + MOST_NESTED, text.len(), (calls, 0), || {
                let mut scan = UsageScan::default();
                text.as_bytes().chunks(size).for_each(|chunk| scan.feed(chunk));
                assert!(scan.text.len() <= LONGEST + 1);
            });
        }
    }
}

#[test]
fn cached_tokens_are_told_in_several_ways() {
    let cached = |text: &str| of_object(text).and_then(|usage| usage.cached_tokens);
    for (details, want) in [
        (r#""prompt_tokens_details":{"audio_tokens":1,"cached_tokens":7}"#, Some(7)),
        (r#""input_tokens_details": { "cached_tokens" : 0 }"#, Some(0)),
        (r#""prompt_cache_hit_tokens":9,"prompt_cache_miss_tokens":1"#, Some(9)),
        (r#""prompt_tokens_details":null"#, None),
        (r#""prompt_tokens_details":{"cached_tokens":null}"#, None),
        (r#""prompt_tokens_details":{"cached_tokens":-5}"#, None),
        (r#""prompt_tokens_details":{"cached_tokens":1e300}"#, None),
        (r#""prompt_tokens_details":[7]"#, None),
        (r#""prompt_cache_hit_tokens":9,"prompt_tokens_details":null"#, Some(9)),
    ] {
        assert_eq!(cached(&format!("{{\"prompt_tokens\":12,{details}}}")), want, "{details}");
        assert_eq!(cached(&format!("{{{details},\"prompt_tokens\":12}}")), want, "{details}");
    }
    assert_eq!(cached(r#"{"prompt_tokens":12}"#), None);
}

#[test]
fn every_shape_is_read() {
    let cached = |cached| Usage { cached_tokens: Some(cached), ..used(12, 5) };
    let reasoning = |reasoning| Usage { reasoning_tokens: Some(reasoning), ..used(12, 5) };
    let audio = Duration::from_millis(2500);
    for (text, want) in [
        (r#"{"prompt_tokens":12,"completion_tokens":5,"total_tokens":17}"#, used(12, 5)),
        (
            r#"{"prompt_tokens":12,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0}}"#,
            Usage { audio_output_tokens: Some(0), ..reasoning(3) },
        ),
        (
            r#"{"prompt_tokens":12,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":8},"completion_tokens_details":{"audio_tokens":3}}"#,
            Usage { audio_tokens: Some(8), audio_output_tokens: Some(3), ..cached(4) },
        ),
        (
            r#"{"input_tokens":12,"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0}}"#,
            reasoning(0),
        ),
        (
            r#"{"input_tokens":12,"input_tokens_details":{"cached_tokens":4},"output_tokens":5}"#,
            cached(4),
        ),
        (
            r#"{"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":8,"prompt_tokens":12,"completion_tokens":5}"#,
            cached(4),
        ),
        // Anthropic, then a gateway that has its names beside those of OpenAI.
        (
            r#"{"input_tokens":2,"cache_read_input_tokens":7,"cache_creation_input_tokens":3,"output_tokens":5}"#,
            Usage { cache_write_tokens: Some(3), ..cached(7) },
        ),
        (
            r#"{"cache_creation_input_tokens":0,"cache_read_input_tokens":7,"completion_tokens":5,"prompt_tokens":12}"#,
            Usage { cache_write_tokens: Some(0), ..cached(7) },
        ),
        (
            r#"{"prompt_tokens":12,"completion_tokens":5,"input_tokens":0,"output_tokens":0}"#,
            used(12, 5),
        ),
        (
            r#"{"prompt_tokens":0,"completion_tokens":0,"input_tokens":12,"output_tokens":5}"#,
            used(12, 5),
        ),
        // Embeddings and rerankers.
        (r#"{"prompt_tokens":12,"total_tokens":12}"#, used(12, 0)),
        (r#"{"total_tokens":12}"#, used(12, 0)),
        (r#"{"prompt_tokens":12.0,"completion_tokens":5e0}"#, used(12, 5)),
        (r#"{"type":"duration","seconds":2.5}"#, Usage { audio: Some(audio), ..used(0, 0) }),
        (
            r#"{"type":"tokens","input_tokens":12,"input_token_details":{"audio_tokens":12},"output_tokens":5}"#,
            Usage { audio_tokens: Some(12), ..used(12, 5) },
        ),
    ] {
        assert_eq!(of_object(text), Some(want), "{text}");
    }
    let timings = r#"{"cache_n":4,"prompt_n":8,"prompt_ms":1.5,"predicted_n":5,"predicted_ms":9}"#;
    assert_eq!(of_timings(timings), Some(cached(4)));
    assert_eq!(of_timings(r#"{"prompt_n":12,"predicted_n":5}"#), Some(used(12, 5)));
    assert_eq!(of_timings(r#"{"prompt_n":12}"#), None);
    assert_eq!(of_timings("null"), None);
}

#[test]
fn hostile_numbers_are_not_believed() {
    for number in [
        "-1",
        "1.5",
        "1e300",
        "\"7\"",
        "null",
        "true",
        "[7]",
        "{}",
        "-0.5",
        "1e-3",
        "4294967296",
        "18446744073709551616",
    ] {
        assert_eq!(of_object(&format!("{{\"prompt_tokens\":{number}}}")), None, "{number}");
        let seconds = of_object(&format!("{{\"seconds\":{number}}}"));
        assert!(seconds.is_none_or(|usage| usage.audio < Some(Duration::from_secs(1 << 33))));
        let text = format!("{{\"prompt_tokens\":3,\"completion_tokens\":{number}}}");
        let want = (number == "null").then(|| used(3, 0));
        assert_eq!(of_object(&text), want, "{number}");
        let details = format!(
            "{{\"prompt_tokens\":3,\"prompt_tokens_details\":{{\"cached_tokens\":{number}}}}}"
        );
        assert_eq!(of_object(&details), Some(used(3, 0)), "{number}");
    }
    let most = format!("{{\"prompt_tokens\":{MOST_TOKENS}}}");
    assert_eq!(of_object(&most), Some(used(MOST_TOKENS, 0)));
    let deep = format!("{{\"prompt_tokens\":3,\"x\":{}{}}}", "[".repeat(500), "]".repeat(500));
    assert_eq!(of_object(&deep), None, "no parser of a deployment reads it");
}

#[test]
fn the_last_valid_usage_counts() {
    let mut scan = UsageScan::default();
    for (text, found) in [
        (&b"\"usage\":1"[..], None),
        (b"\"usage\":{\"input_tokens\":1,\"output_tokens\":2}", Some(used(1, 2))),
        (b"\"usage\":{\"completion_tokens\":9}", Some(used(1, 2))),
        (b"\"usage\":{\"prompt_tokens\":-1}", Some(used(1, 2))),
        (b"\"usage\":{\"a\":{\"b\":{}},\"prompt_tokens\":3} }", Some(used(3, 0))),
    ] {
        scan.feed(text);
        assert_eq!(scan.found(), found, "{}", String::from_utf8_lossy(text));
    }
}

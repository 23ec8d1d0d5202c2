//! Reads the header `endpoint-load-metrics`: the load of an engine, told with an answer (ORCA).
//!
//! It comes as `JSON {"named_metrics":{"num_requests_waiting":2}}` or as
//! `TEXT named_metrics.num_requests_waiting=2, cpu_utilization=0.3`. The first word may be missing.

use serde_json::{Map, Value};

/// In bytes. A longer header is ignored.
const LONGEST: usize = 8 << 10;
/// Where the numbers of the engine itself are.
const NAMED: &str = "named_metrics";

/// Calls `each` with the numbers of a header and their names, without `named_metrics`. Values that
/// are no numbers are left out. A text that is malformed has none.
pub fn read(header: &[u8], mut each: impl FnMut(&str, f64)) {
    let Some(text) = std::str::from_utf8(header).ok().filter(|text| text.len() <= LONGEST) else {
        return;
    };
    let text = text.trim_ascii();
    let text = behind(text, "JSON").or_else(|| behind(text, "TEXT")).unwrap_or(text);
    if text.starts_with('{') {
        let Ok(report) = serde_json::from_str::<Map<String, Value>>(text) else { return };
        let named = report.get(NAMED).and_then(Value::as_object);
        for (name, value) in report.iter().chain(named.into_iter().flatten()) {
            if let Some(value) = value.as_f64() {
                each(name, value);
            }
        }
        return;
    }
    for (name, value) in text.split(',').filter_map(|pair| pair.split_once('=')) {
        let name = name.trim_ascii();
        let name = name.strip_prefix(NAMED).and_then(|name| name.strip_prefix('.')).unwrap_or(name);
        if let Ok(value) = value.trim_ascii().parse() {
            each(name, value);
        }
    }
}

/// What follows the word that says the form, in any case.
fn behind<'t>(text: &'t str, form: &str) -> Option<&'t str> {
    let (word, rest) = text.split_once(' ')?;
    word.eq_ignore_ascii_case(form).then_some(rest.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(header: &str) -> Vec<(String, f64)> {
        let mut all = Vec::new();
        read(header.as_bytes(), |name, value| all.push((name.to_owned(), value)));
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    #[test]
    fn every_form_gives_the_same_numbers() {
        let expected =
            [("kv_cache_usage_perc".to_owned(), 0.3), ("num_requests_waiting".to_owned(), 2.0)];
        for header in [
            r#"JSON {"named_metrics":{"kv_cache_usage_perc":0.3,"num_requests_waiting":2}}"#,
            r#"json  {"named_metrics": {"kv_cache_usage_perc": 0.3, "num_requests_waiting": 2.0}}"#,
            r#"{"kv_cache_usage_perc":0.3,"named_metrics":{"num_requests_waiting":2,"x":"y"}}"#,
            "TEXT named_metrics.kv_cache_usage_perc=0.3, named_metrics.num_requests_waiting=2",
            "text kv_cache_usage_perc=0.3,num_requests_waiting=2,cpu=high,none",
            "kv_cache_usage_perc = 0.3 , num_requests_waiting = 2e0",
        ] {
            assert_eq!(all(header), expected, "{header}");
        }
    }

    #[test]
    fn hostile_headers_give_nothing() {
        let deep = format!("JSON {}", "{\"named_metrics\":".repeat(300));
        let long = format!("TEXT a=1,{}", "b=2,".repeat(4096));
        for header in [
            "",
            "JSON",
            "JSON [1,2]",
            r#"JSON {"named_metrics":{"a":NaN}}"#,
            r#"JSON {"named_metrics":{"a":1e999}}"#,
            r#"JSON {"named_metrics":[1]}"#,
            "TEXT =,=,,",
            "BIN CgkJ",
            &deep,
            &long,
        ] {
            let named: Vec<_> =
                all(header).into_iter().filter(|(name, _)| !name.is_empty()).collect();
            assert_eq!(named, [], "{header}");
        }
        read(b"\xff\xfe", |_, _| panic!("it is no text"));
    }

    proptest! {
        #[test]
        fn any_text_is_read(form in "(JSON |TEXT |)", text in r#"[{}\[\]":,=. a-c0-9eN+-]{0,200}"#) {
            // Each number stands in the text, so there are fewer than bytes.
            let found = all(&(form + &text)).len();
            prop_assert!(found <= text.len());
        }
    }
}

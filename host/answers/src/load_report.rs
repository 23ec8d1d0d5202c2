//! Reads the load report (ORCA) that an engine sends with an answer.
//!
//! The header `endpoint-load-metrics` has one of three forms, named by its first word:
//!
//! - `JSON {"named_metrics":{"num_requests_waiting":2}}`
//! - `TEXT named_metrics.num_requests_waiting=2, cpu_utilization=0.3`
//! - `BIN` and a serialised `xds.data.orca.v3.OrcaLoadReport` in base64
//!
//! The first word may be missing. Older servers send the first and the last form, without their
//! words, as `endpoint-load-metrics-json` and `endpoint-load-metrics-bin`.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::protobuf::{Field, fields};

/// In bytes. A longer header is ignored.
const LONGEST: usize = 8 << 10;
/// Where the numbers of the engine itself are.
const NAMED: &str = "named_metrics";
/// The number of the field `named_metrics` in the binary form: a map of names to doubles,
/// serialised as messages of a key and a value.
const NAMED_FIELD: u64 = 8;
const KEY: u64 = 1;
const VALUE: u64 = 2;

/// gRPC sends no padding, Envoy does.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Calls `each` with the numbers of `endpoint-load-metrics` or `endpoint-load-metrics-json` and
/// their names, without `named_metrics`. Leaves out values that are no numbers, and everything if
/// the text is malformed.
pub fn read(header: &[u8], mut each: impl FnMut(&str, f64)) {
    let Some(text) = std::str::from_utf8(header).ok().filter(|text| text.len() <= LONGEST) else {
        return;
    };
    let text = text.trim_ascii();
    if let Some(report) = behind(text, "BIN") {
        return read_binary(report.as_bytes(), each);
    }
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
    for pair in text.split(',') {
        // Older versions of Envoy write a colon. Names have colons, too.
        let Some((name, value)) = pair.split_once('=').or_else(|| pair.rsplit_once(':')) else {
            continue;
        };
        let name = name.trim_ascii();
        let name = name.strip_prefix(NAMED).and_then(|name| name.strip_prefix('.')).unwrap_or(name);
        if let Ok(value) = value.trim_ascii().parse() {
            each(name, value);
        }
    }
}

/// Calls `each` with the named metrics of `endpoint-load-metrics-bin`. Stops at the first fault of
/// a malformed report.
pub fn read_binary(header: &[u8], mut each: impl FnMut(&str, f64)) {
    if header.len() > LONGEST {
        return;
    }
    let Ok(report) = BASE64.decode(header.trim_ascii()) else { return };
    for (number, field) in fields(&report) {
        let Field::Bytes(entry) = field else { continue };
        if number != NAMED_FIELD {
            continue;
        }
        // A missing field has the default of its type.
        let (mut name, mut value) = ("", 0.0);
        for (number, field) in fields(entry) {
            match (number, field) {
                (KEY, Field::Bytes(key)) => name = std::str::from_utf8(key).unwrap_or_default(),
                (VALUE, Field::Fixed64(bits)) => value = f64::from_bits(bits),
                _ => {}
            }
        }
        each(name, value);
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

    /// The two numbers of the first test and a `cpu_utilization` of 0.7, as a serialised report.
    const REPORT: &str = "CWZmZmZmZuY/Qh4KE2t2X2NhY2hlX3VzYWdlX3BlcmMRMzMzMzMz0z9CHwoUbnVtX3JlcXVl\
                          c3RzX3dhaXRpbmcRAAAAAAAAAEA=";

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
            "named_metrics.kv_cache_usage_perc:0.3,named_metrics.num_requests_waiting:2",
            &format!("BIN {REPORT}"),
            &format!("bin  {}", REPORT.trim_end_matches('=')),
        ] {
            assert_eq!(all(header), expected, "{header}");
        }
        let mut binary = Vec::new();
        read_binary(REPORT.as_bytes(), |name, value| binary.push((name.to_owned(), value)));
        assert_eq!(binary, expected);
        assert_eq!(all("TEXT named_metrics.vllm:kv=0.5"), [("vllm:kv".to_owned(), 0.5)]);
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
            "BIN not in base64",
            "BIN",
            "BIN =",
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

        #[test]
        fn any_report_is_read(report in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut found = 0;
            read_binary(BASE64.encode(&report).as_bytes(), |_, _| found += 1);
            prop_assert!(found <= report.len() / 2);
        }
    }
}

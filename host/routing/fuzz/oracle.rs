//! Fuzz oracles: the invariants of the scan, of weights and of the draw, for any input.

use std::convert::Infallible;
use std::fmt;

use rand::TryRng;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use config::{Fallback, Standby};
use contract::{BadWeights, RawWeights, Weights};
use http1::{ScanError, json};
use pieces::work;

use crate::draw::draw;
use crate::facts;

/// Checks the scan of a request against serde_json. Both must find the same, and the scan may
/// refuse only bodies that serde_json refuses, or that it is documented to refuse.
pub fn scan(body: &[u8]) {
    let theirs = serde_json::from_slice::<Fields>(body);
    // Keys are read once more, for their names.
    let ours = work::bounded(3, body.len(), (1, 16), || http1::scan(body));
    if let Err(ScanError::Json(said)) = &ours {
        let deep = said.ends_with("levels deep") && depth(body) > json::DEPTH;
        let large = said.ends_with("too large") && is_near_the_largest(body);
        assert!(theirs.is_err() || deep || large, "refused, and JSON: {said}");
        return;
    }
    let theirs = match theirs {
        Err(error) if error.to_string().contains("out of range") && is_near_the_largest(body) => {
            return;
        }
        theirs => theirs.expect("the scan accepted this JSON"),
    };
    assert!(depth(body) <= json::DEPTH, "deeper than the limit");
    let (models, streams) = (theirs.all("model"), theirs.all("stream"));
    match ours {
        Ok(found) => {
            let ([Value::String(model)], [] | [_]) = (&models[..], &streams[..]) else {
                panic!("{} models, {} stream", models.len(), streams.len());
            };
            assert_eq!(&found.model, model);
            assert_eq!(found.stream, streams == [Value::Bool(true)]);
            let (tokens, _, prefixes) = facts::found(body, &found.fields, 1);
            // The shortest that is counted as an image is `"data:"`.
            assert!(u64::from(tokens.unwrap_or(0)) <= 500 / 7 * body.len() as u64 + 500);
            assert!(prefixes.len() <= 64);
            let mut other = body.to_vec();
            other.splice(found.model_at, *b"\"another\"");
            let other = http1::scan(&other).expect("as good as before");
            assert_eq!((other.model.as_str(), other.stream), ("another", found.stream));
        }
        Err(ScanError::NoModel) => assert!(models.is_empty()),
        Err(ScanError::ModelType) => assert!(!matches!(models[..], [Value::String(_)])),
        Err(ScanError::ModelLong) => {
            assert!(matches!(&models[..], [Value::String(name)] if name.len() > 256));
        }
        Err(ScanError::Duplicate(name)) => assert!(theirs.in_any_case(name) > 1),
        Err(ScanError::Json(_)) => {}
    }
}

/// The fields of a JSON object as serde_json reads them, duplicates included.
struct Fields(Vec<(String, Value)>);

impl Fields {
    /// How often a parser that ignores case finds this field. The long s folds to an s.
    fn in_any_case(&self, name: &str) -> usize {
        let is = |key: &str| key.replace('ſ', "s").eq_ignore_ascii_case(name);
        self.0.iter().filter(|(key, _)| is(key)).count()
    }

    fn all(&self, name: &str) -> Vec<Value> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfObject;
        impl<'de> Visitor<'de> for OfObject {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    // Parsed separately, because serde_json's limit of depth is one less than ours.
                    let value = serde_json::from_str(value.get());
                    fields.push((key, value.map_err(serde::de::Error::custom)?));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(OfObject)
    }
}

/// True if a number may be close to the largest float. serde_json does not round such a number to
/// the last bit.
fn is_near_the_largest(text: &[u8]) -> bool {
    let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_digit).collect();
    memchr::memmem::find(&digits, b"17976931348623").is_some()
}

/// The depth of the brackets that are outside of strings.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Checks weights and the draw. Weights that pass the check keep the order of the answer, and their
/// sum is 1. Refused ones are as bad as the error says. The draw yields each usable deployment once,
/// standby last.
///
/// The input is text: a line of local weights, one of remote weights, one of digits (attempts,
/// whether standby is used, by how much the answer is too long), and one with an `x` for each
/// deployment that is not usable. The rest is the source of random numbers.
pub fn weights(data: &[u8]) {
    let mut lines = data.splitn(5, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (local, remote, options) = (numbers(line()), numbers(line()), line());
    let (unusable, chance) = (line(), line());
    let digit = |at: usize| options.get(at).map_or(0, |digit| usize::from(*digit % 16));
    let (too_long, raw) = (digit(2), [&local[..], &remote[..]].concat());
    let (locals, remotes) = (local.len().saturating_sub(too_long), remote.len());
    let checked = Weights::check(RawWeights { local, remote }, locals, remotes);
    let weights = match checked {
        Ok(weights) => [weights.local(), weights.remote()].concat(),
        Err(BadWeights::Length { got, want, .. }) => return assert_ne!(got, want),
        Err(BadWeights::Number { side, index, value }) => {
            let at = if side == "local" { index } else { locals + index };
            assert!(raw[at].to_bits() == value.to_bits() && !(0.0..=f64::MAX).contains(&value));
            return;
        }
        Err(BadWeights::Sum(sum)) => {
            return assert!(raw.iter().all(|weight| *weight == 0.0) || sum == f64::INFINITY);
        }
    };
    assert_eq!(weights.len(), raw.len());
    assert!(weights.iter().all(|weight| (0.0..=1.0).contains(weight)), "{weights:?}");
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{weights:?}");
    for (a, b) in (0..raw.len()).zip(1..raw.len()) {
        assert!(raw[a] < raw[b] || weights[a] >= weights[b], "{raw:?} became {weights:?}");
        assert!(raw[a] > raw[b] || weights[a] <= weights[b], "{raw:?} became {weights:?}");
    }
    let standby = if digit(1) == 0 { Standby::Never } else { Standby::Last };
    let attempts = 1 + u32::try_from(digit(0)).expect("a digit");
    let fallback = Fallback { attempts, standby, ..Fallback::default() };
    let usable = |i: usize| unusable.get(i) != Some(&b'x');
    drawn(&weights, usable, fallback, &mut Chance { bytes: chance, then: 1 });
}

fn numbers(line: &[u8]) -> Vec<f64> {
    let words = line.split(|byte| *byte == b' ').filter_map(|word| str::from_utf8(word).ok());
    words.filter_map(|word| word.parse().ok()).collect()
}

fn drawn(
    weights: &[f64],
    usable: impl Fn(usize) -> bool + Copy,
    fallback: Fallback,
    chance: &mut Chance<'_>,
) {
    let order = draw(weights, usable, fallback, chance);
    let mut taken = vec![false; weights.len()];
    for &i in &order {
        assert!(usable(i), "{i} may not be tried");
        assert!(!std::mem::replace(&mut taken[i], true), "{i} is tried twice");
    }
    let positive = |i: &usize| weights[*i] > 0.0;
    assert!(order.iter().is_sorted_by_key(|i| !positive(i)), "standby before others");
    let eligible = (0..weights.len()).filter(|i| usable(*i));
    let eligible = eligible.filter(|i| positive(i) || fallback.standby == Standby::Last);
    assert_eq!(order.len(), eligible.count().min(fallback.attempts as usize));
}

/// Random numbers from the input, and after its end from a fixed generator.
struct Chance<'a> {
    bytes: &'a [u8],
    then: u64,
}

impl TryRng for Chance<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| number as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        if let Some((first, rest)) = self.bytes.split_first_chunk() {
            self.bytes = rest;
            return Ok(u64::from_le_bytes(*first));
        }
        self.then = self.then.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Ok(self.then.rotate_left(32))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        to.fill_with(|| self.try_next_u64().map_or(0, |number| number as u8));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_holds() {
        pieces::replay("scan", super::scan);
        pieces::replay("weights", super::weights);
    }
}

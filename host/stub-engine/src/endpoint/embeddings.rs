//! `POST /v1/embeddings`: texts that share words get vectors that point the same way.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::text::count;
use super::{InferenceCall, Problem, Reply};

/// Length of a vector if the request gives none.
const DIMENSIONS: u64 = 8;

/// Length of the longest vector that the engine makes.
const MOST_DIMENSIONS: u64 = 4096;

pub(super) fn reply(call: &InferenceCall<'_>) -> Result<Reply, Problem> {
    let inputs = inputs(call.field("input")?)?;
    let dimensions = match &call.body["dimensions"] {
        Value::Null => DIMENSIONS,
        given => given.as_u64().filter(|n| (1..=MOST_DIMENSIONS).contains(n)).ok_or_else(|| {
            let message = format!("'dimensions' is not from 1 to {MOST_DIMENSIONS}");
            Problem::bad(Some("dimensions"), message)
        })?,
    };
    let as_base64 = call.body["encoding_format"] == "base64";
    let embed = |(index, input): (usize, &String)| {
        let vector = vector(input, dimensions);
        let embedding = if as_base64 { packed(&vector) } else { json!(vector) };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    };
    let data: Vec<Value> = inputs.iter().enumerate().map(embed).collect();
    let tokens: usize = inputs.iter().map(|input| count(input)).sum();
    let body = json!({
        "object": "list",
        "data": data,
        "model": call.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    });
    Ok(Reply::Whole { tokens: 0, body })
}

/// The texts to embed: one or several. Token numbers are accepted too, and count as words.
fn inputs(input: &Value) -> Result<Vec<String>, Problem> {
    let wrong = || Problem::bad(Some("input"), "'input' must be text or a list that is not empty");
    let tokens = |list: &[Value]| {
        let words: Vec<String> = list.iter().map(Value::to_string).collect();
        words.join(" ")
    };
    match input {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(list) if list.is_empty() => Err(wrong()),
        Value::Array(list) if list.iter().all(Value::is_u64) => Ok(vec![tokens(list)]),
        Value::Array(list) => list
            .iter()
            .map(|item| match item {
                Value::String(text) => Ok(text.clone()),
                Value::Array(list) => Ok(tokens(list)),
                _ => Err(wrong()),
            })
            .collect(),
        _ => Err(wrong()),
    }
}

/// A unit vector. Each word adds to the dimension that its hash selects.
fn vector(text: &str, dimensions: u64) -> Vec<f32> {
    let mut vector = vec![0.0_f32; dimensions as usize];
    for word in text.split_whitespace() {
        let mut hasher = DefaultHasher::new();
        word.to_lowercase().hash(&mut hasher);
        vector[(hasher.finish() % dimensions) as usize] += 1.0;
    }
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length == 0.0 {
        vector[0] = 1.0;
        return vector;
    }
    vector.into_iter().map(|x| x / length).collect()
}

/// Little-endian floats in base64, the encoding that the OpenAI SDK asks for.
fn packed(vector: &[f32]) -> Value {
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    Value::String(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_length_one_and_are_repeatable() {
        for text in ["", "one", "one two two three"] {
            let vector = vector(text, 16);
            let length: f32 = vector.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-6, "{text:?}: {length}");
            assert_eq!(vector, super::vector(text, 16));
        }
    }

    #[test]
    fn floats_are_packed_little_endian() {
        assert_eq!(packed(&[1.0, 0.0]), "AACAPwAAAAA=");
    }

    #[test]
    fn every_form_of_input_is_read() {
        let read = |input: Value| inputs(&input).ok();
        assert_eq!(read(json!("a b")), Some(vec!["a b".to_owned()]));
        assert_eq!(read(json!(["a", "b"])), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(read(json!([1, 2])), Some(vec!["1 2".to_owned()]));
        assert_eq!(read(json!([[1, 2], [3]])), Some(vec!["1 2".to_owned(), "3".to_owned()]));
        assert_eq!(read(json!([])), None);
        assert_eq!(read(json!([{}])), None);
        assert_eq!(read(json!(1)), None);
    }
}

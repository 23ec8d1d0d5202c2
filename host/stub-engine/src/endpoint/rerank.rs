//! `POST /v1/rerank`: the score of a document is the share of the query's words that it contains.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::text::count;
use super::{InferenceCall, Problem, Reply};

pub(super) fn reply(call: &InferenceCall<'_>) -> Result<Reply, Problem> {
    let query = call.field("query")?.as_str();
    let query = query.ok_or_else(|| Problem::bad(Some("query"), "'query' is not text"))?;
    let documents = call.field("documents")?.as_array();
    let documents =
        documents.ok_or_else(|| Problem::bad(Some("documents"), "'documents' is not a list"))?;
    let texts: Vec<&str> = documents
        .iter()
        .map(|document| document.as_str().or_else(|| document["text"].as_str()).unwrap_or_default())
        .collect();

    let mut scores: Vec<(usize, f64)> =
        texts.iter().map(|text| score(query, text)).enumerate().collect();
    scores.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let top = call.body["top_n"].as_u64().map_or(usize::MAX, |n| n as usize);
    let result = |&(index, score): &(usize, f64)| {
        json!({
            "index": index,
            "document": {"text": texts[index]},
            "relevance_score": score,
        })
    };
    let results: Vec<Value> = scores.iter().take(top).map(result).collect();
    let tokens = count(query) + texts.iter().map(|text| count(text)).sum::<usize>();
    let body = json!({
        "id": format!("rerank-stub-{}", call.number),
        "model": call.model,
        "results": results,
        "usage": {"total_tokens": tokens},
    });
    Ok(Reply::Whole { tokens: 0, body })
}

/// The score, from 0 (no word of the query) to 1 (all of them).
fn score(query: &str, document: &str) -> f64 {
    let words = |text: &str| -> HashSet<String> {
        text.split_whitespace().map(str::to_lowercase).collect()
    };
    let query = words(query);
    if query.is_empty() {
        return 0.0;
    }
    let shared = query.intersection(&words(document)).count();
    shared as f64 / query.len() as f64
}

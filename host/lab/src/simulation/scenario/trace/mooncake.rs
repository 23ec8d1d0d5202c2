//! Mooncake's traces (github.com/kvcache-ai/Mooncake): lines of JSON with the blocks of prompts.

use serde::Deserialize;

use crate::simulation::random::mix;

use super::{Traced, nanoseconds};

/// Prompt tokens of a block.
pub(in crate::simulation) const BLOCK: u32 = 512;

/// A line. Other keys are ignored.
#[derive(Deserialize)]
struct Line {
    /// Milliseconds.
    timestamp: f64,
    input_length: u32,
    output_length: u32,
    /// One for each block. Equal ids at the beginning of two prompts are an equal prefix.
    #[serde(default)]
    hash_ids: Vec<u64>,
}

pub(super) fn parse(line: &str) -> Result<Traced, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| {
        let cause = cause(&error);
        format!("not an object with `timestamp`, `input_length` and `output_length`: {cause}")
    })?;
    let Line { timestamp, input_length: prompt, output_length: output, hash_ids } = line;
    let at = nanoseconds(timestamp, 1e6).ok_or_else(|| {
        format!("`timestamp` is {timestamp}; write milliseconds since the start of the trace")
    })?;
    if hash_ids.len() > prompt.div_ceil(BLOCK) as usize {
        let blocks = hash_ids.len();
        return Err(format!(
            "{blocks} `hash_ids`, but `input_length` is {prompt}; write one for each {BLOCK} tokens"
        ));
    }
    // An engine has a block only together with all before it.
    let chain = |before: &mut u64, id| {
        *before = mix(*before, id);
        Some(*before)
    };
    Ok(Traced { at, prompt, output, blocks: hash_ids.into_iter().scan(0, chain).collect() })
}

/// The cause of an error, and its column. Serde's line is left out: it is always 1, because each
/// line is parsed by itself, and stands beside the line of the file.
fn cause(error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    match text.strip_suffix(&format!(" at line {} column {column}", error.line())) {
        Some(cause) => format!("{cause} (column {column})"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn errors_name_the_column_alone() {
        for (line, cause) in [
            ("{\"timestamp\": 1, ", "EOF while parsing a value (column 17)"),
            ("{\"timestamp\": x}", "expected value (column 15)"),
            ("{\"timestamp\": 1}", "missing field `input_length` (column 16)"),
            ("[1]", "invalid length 1, expected struct Line with 4 elements (column 3)"),
            (
                "{\"timestamp\": 1, \"input_length\": -1}",
                "invalid value: integer `-1`, expected u32 (column 35)",
            ),
        ] {
            let error = parse(line).expect_err(line);
            let keys = "`timestamp`, `input_length` and `output_length`";
            assert_eq!(error, format!("not an object with {keys}: {cause}"));
        }
    }
}

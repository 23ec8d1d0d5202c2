//! Azure's traces (github.com/Azure/AzurePublicDataset): CSV with a line of headings.

use super::super::recorded::instant;
use super::{Traced, nanoseconds};

/// The headings of the columns that are read. Others are ignored.
const HEADINGS: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

/// Where the columns are.
#[derive(Debug, PartialEq)]
pub(super) struct Columns {
    /// Index of each of [`HEADINGS`].
    at: [usize; 3],
    /// Number of fields of a line.
    fields: usize,
}

impl Columns {
    /// Parses the first line.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let fields = fields(line);
        let mut at = [0; 3];
        for (at, heading) in at.iter_mut().zip(HEADINGS) {
            let mut found =
                fields.iter().enumerate().filter(|(_, field)| field.eq_ignore_ascii_case(heading));
            *at = match (found.next(), found.next()) {
                (Some((at, _)), None) => at,
                (None, _) => {
                    let all = HEADINGS.join(",");
                    return Err(format!(
                        "no column `{heading}` in the first line; begin a CSV with `{all}`, or write JSON lines"
                    ));
                }
                (Some(_), Some(_)) => return Err(format!("the column `{heading}` is there twice")),
            };
        }
        Ok(Self { at, fields: fields.len() })
    }

    /// Parses `2023-11-16 18:17:03.9799600,4808,10`.
    pub(super) fn request(&self, line: &str) -> Result<Traced, String> {
        let fields = fields(line);
        if fields.len() != self.fields {
            let (got, want) = (fields.len(), self.fields);
            return Err(format!("{got} fields, but the first line has {want}"));
        }
        let [time, prompt, output] = self.at.map(|at| fields[at]);
        let at = nanoseconds_of(time).ok_or_else(|| {
            let help = "write it like `2023-11-16 18:17:03.97`, or as a number of seconds";
            format!("`{time}` is not a time in UTC; {help}")
        })?;
        let count = |text: &str| {
            let help = "write a whole number from 0 to 4294967295";
            text.parse::<u32>().map_err(|_| format!("`{text}` is not a number of tokens; {help}"))
        };
        Ok(Traced { at, prompt: count(prompt)?, output: count(output)?, blocks: Vec::new() })
    }
}

/// The fields of a line, without spaces and quotes around them. A field has no comma.
fn fields(line: &str) -> Vec<&str> {
    line.split(',').map(|field| field.trim().trim_matches('"')).collect()
}

/// Nanoseconds since 1970 of a time in UTC, or of a number of seconds.
fn nanoseconds_of(text: &str) -> Option<i128> {
    if let Ok(seconds) = text.parse::<f64>() {
        return nanoseconds(seconds, 1e9);
    }
    let local = text.strip_suffix("+00:00").or(text.strip_suffix('Z')).unwrap_or(text);
    let at = instant(&(local.replacen(' ', "T", 1) + "Z"))?;
    Some(at.unix_timestamp_nanos())
}

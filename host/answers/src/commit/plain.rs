//! A plain answer: a body that must be one whole JSON object or array, at every endpoint.

use std::ops::Range;

use http1::json_stream::{Found, JsonStream};

use crate::count;
use crate::refusal::Words;
use crate::usage::{self, Usage};

use super::held::Held;
use super::reported;
use super::{Defect, End};

/// In bytes. A body up to this size is parsed as a whole in search of an error, and passed on in
/// one piece. In a larger one only the fields of an error are parsed.
pub(super) const SMALL: usize = 64 * 1024;
/// In bytes. A longer field of an error is not shown.
const LONGEST_FIELD: usize = 16 * 1024;
/// The fields of an outermost object that tell an error, and those that have words of it.
const OF_ERROR: [&str; 14] = [
    "error",
    "object",
    "type",
    "message",
    "code",
    "status",
    "detail",
    "response",
    "errors",
    "msg",
    "param",
    "error_type",
    "success",
    "base_resp",
];

/// Reads a plain answer as it arrives.
#[derive(Debug, Default)]
pub(super) struct Plain {
    json: JsonStream,
    /// The position of `usage`.
    usage: Option<Range<usize>>,
    /// The position of `timings`, which llama.cpp adds.
    timings: Option<Range<usize>>,
    /// The positions of the fields of [`OF_ERROR`].
    fields: [Option<Range<usize>>; OF_ERROR.len()],
}

impl Plain {
    /// Takes the next piece.
    ///
    /// # Errors
    /// If the body cannot become JSON.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<(), Defect> {
        // Each byte is read twice: once to find the end of a string, once to check it.
        count(2 * piece.len());
        let Self { json, usage, timings, fields } = self;
        let read = json.feed(piece, |found| {
            let Found::Top(field) = found else { return };
            if field.key == b"usage" {
                *usage = Some(field.value);
            } else if field.key == b"timings" {
                *timings = Some(field.value);
            } else if let Some(at) = OF_ERROR.iter().position(|name| name.as_bytes() == field.key) {
                fields[at] = field.says().then_some(field.value);
            }
        });
        read.map_err(|_| Defect::Malformed)
    }

    /// Judges the end of the body.
    ///
    /// # Errors
    /// If it is not one whole object or array.
    pub(super) fn end(&self, end: End) -> Result<(), Defect> {
        match end {
            End::Early => Err(Defect::Truncated),
            End::Framed | End::Closed if self.json.is_done() => Ok(()),
            End::Framed | End::Closed if self.json.is_blank() => Err(Defect::Empty),
            End::Framed | End::Closed => Err(Defect::Truncated),
        }
    }

    /// The error that the whole body reports, if it reports one.
    pub(super) fn error(&self, held: &Held) -> Option<Words> {
        // In a list the first value may be the error. Only a parse finds it.
        let beginning = held.copy(0..held.len().min(SMALL));
        if held.len() <= SMALL || beginning.trim_ascii_start().starts_with(b"[") {
            count(3 * beginning.len());
            return reported::error_in(&beginning);
        }
        let mut error = Vec::from(b"{");
        for (name, value) in OF_ERROR.iter().zip(&self.fields) {
            let Some(value) = value else { continue };
            let value = match value.len() {
                ..=LONGEST_FIELD => held.copy(value.clone()),
                _ => b"{\"message\":\"\"}".to_vec(),
            };
            let separator = if error.len() > 1 { "," } else { "" };
            error.extend_from_slice(format!("{separator}\"{name}\":").as_bytes());
            error.extend_from_slice(&value);
        }
        error.push(b'}');
        count(3 * error.len());
        reported::error_in(&error)
    }

    /// The usage that the whole body reports.
    pub(super) fn usage(&self, held: &Held) -> Option<Usage> {
        let read = |at: &Option<Range<usize>>, of: fn(&str) -> Option<Usage>| {
            let at = at.clone().filter(|at| at.len() <= LONGEST_FIELD)?;
            count(at.len());
            of(str::from_utf8(&held.copy(at)).ok()?)
        };
        read(&self.usage, usage::of_object).or_else(|| read(&self.timings, usage::of_timings))
    }
}

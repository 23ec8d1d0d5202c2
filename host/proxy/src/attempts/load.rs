//! What an engine tells of its load with an answer.

use hyper::HeaderMap;

use answers::load_report;
use fleet::{EngineNumbers, EngineSignals};
use http1::headers::{LOAD, LOAD_BINARY, LOAD_JSON};

/// Takes the numbers in the headers of an answer, if they are wanted.
pub(super) fn take(engine: &EngineSignals, headers: &HeaderMap) {
    if !engine.takes_reports() {
        return;
    }
    let (mut numbers, mut is_told) = (EngineNumbers::default(), false);
    let mut each = |name: &str, value| {
        if let Some(signal) = config::reported_signal(name) {
            numbers[signal] = Some(value);
            is_told = true;
        }
    };
    for report in [LOAD, LOAD_JSON].into_iter().filter_map(|name| headers.get(name)) {
        load_report::read(report.as_bytes(), &mut each);
    }
    if let Some(report) = headers.get(LOAD_BINARY) {
        load_report::read_binary(report.as_bytes(), &mut each);
    }
    if is_told {
        engine.record(numbers, engine.moment_of_answer(fleet::now()));
    }
}

//! What an engine tells of its load with an answer.

use hyper::HeaderMap;

use answers::load_report;
use fleet::{EngineNumbers, EngineSignals};
use http1::headers::LOAD;

/// Takes the numbers in the headers of an answer, if they are wanted.
pub(super) fn take(engine: &EngineSignals, headers: &HeaderMap) {
    if !engine.is_asked() {
        return;
    }
    let Some(report) = headers.get(LOAD) else { return };
    let mut numbers = EngineNumbers::default();
    load_report::read(report.as_bytes(), |name, value| {
        if let Some(signal) = config::reported_signal(name) {
            numbers[signal] = Some(value);
        }
    });
    engine.record(numbers, engine.moment_of_answer(fleet::now()));
}

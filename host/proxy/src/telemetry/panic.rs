//! Panics. Each is one line of the log, and ends only the work that it happened in.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::time::Duration;

/// Longest wait for the log to be written after a panic, which may end the process.
const LAST: Duration = Duration::from_millis(200);

thread_local! {
    /// Whether a caller further up will log the panic.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// A panic, for the log. Its message may contain anything, so it is never sent to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    message: String,
    /// File, line and column. Empty if unknown.
    location: String,
    /// Some if `RUST_BACKTRACE` asks for it.
    backtrace: Option<String>,
}

impl Panic {
    /// Logs the panic. The message, `happened`, says what the panic means for the gateway.
    pub fn log(&self, happened: &str) {
        let Self { message, location, backtrace } = self;
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(panic = message, location, backtrace, thread, "{happened}");
    }

    /// Logs the panic as that of a request.
    pub fn log_of_request(&self, request_id: &str) {
        let Self { message, location, backtrace } = self;
        tracing::error!(request_id, panic = message, location, backtrace, "a request panicked");
    }
}

impl From<&PanicHookInfo<'_>> for Panic {
    fn from(info: &PanicHookInfo<'_>) -> Self {
        let backtrace = Backtrace::capture();
        let asked = backtrace.status() == BacktraceStatus::Captured;
        Self {
            message: info.payload_as_str().unwrap_or("(the payload is no text)").to_owned(),
            location: info.location().map(ToString::to_string).unwrap_or_default(),
            backtrace: asked.then(|| backtrace.to_string()),
        }
    }
}

/// Logs every panic of the process from now on. Panics inside [`catch`] are left to the caller.
pub(super) fn log_panics() {
    std::panic::set_hook(Box::new(report));
}

fn report(info: &PanicHookInfo<'_>) {
    let panic = Panic::from(info);
    let kept = CATCHING.get()
        && CAUGHT.with(|caught| {
            // A second panic, from a `Drop` during unwinding, ends the process: it is logged now.
            let free = caught.try_borrow_mut().ok().filter(|caught| caught.is_none());
            free.map(|mut caught| *caught = Some(panic.clone())).is_some()
        });
    if !kept {
        panic.log("a panic");
        // The process may end by it.
        super::log::flush(LAST);
    }
}

/// Runs `run`. After a panic, the values that `run` changes may be in any state.
///
/// # Errors
/// The panic. The caller must log it.
pub fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    let outer = CATCHING.replace(true);
    let done = catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(outer);
    let caught = CAUGHT.take();
    match (done, caught) {
        (Ok(done), None) => Ok(done),
        (Ok(done), Some(panic)) => {
            // Code inside `run` caught a panic without logging it.
            panic.log("a panic");
            Ok(done)
        }
        (Err(_), Some(panic)) => Err(panic),
        // Another panic hook is in place, and recorded nothing.
        (Err(payload), None) => {
            let text = payload.downcast_ref::<&str>().copied();
            let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let message = text.unwrap_or("(the payload is no text)").to_owned();
            Err(Panic { message, location: String::new(), backtrace: None })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_what_it_said_and_nothing_else_is() {
        let caught = catch(|| -> u32 { panic!("number {}", 7) }).expect_err("a panic");
        assert_eq!(caught.message, "number 7");
        let inner = || catch(|| -> u32 { panic!("inside") }).expect_err("a panic").message;
        assert_eq!(catch(inner), Ok("inside".to_owned()));
        assert!(!CATCHING.get());
    }
}

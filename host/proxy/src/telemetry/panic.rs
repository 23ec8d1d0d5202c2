//! Panics: each is one line of the log, and harms nothing but what it happened in.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

thread_local! {
    /// Whether somebody further up will say what happened.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// A panic, for the log. What it says may hold anything: it is not for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    message: String,
    /// File, line and column; empty where nobody knows.
    location: String,
    /// Where `RUST_BACKTRACE` asks for it.
    backtrace: Option<String>,
}

impl Panic {
    /// Writes it down; `happened` is what it means.
    pub fn log(&self, happened: &str) {
        let Self { message, location, backtrace } = self;
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(panic = message, location, backtrace, thread, "{happened}");
    }

    /// Writes it down as what happened to this request.
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
            message: info.payload_as_str().unwrap_or("of an unknown kind").to_owned(),
            location: info.location().map(ToString::to_string).unwrap_or_default(),
            backtrace: asked.then(|| backtrace.to_string()),
        }
    }
}

/// Lets every panic of the process be a line of the log from now on. Those inside [`catch`] are left to
/// the caller.
pub(super) fn log_panics() {
    std::panic::set_hook(Box::new(report));
}

fn report(info: &PanicHookInfo<'_>) {
    let panic = Panic::from(info);
    let kept = CATCHING.get()
        && CAUGHT.with(|caught| {
            // A second one, from what was dropped on the way up, ends the process: it is logged now.
            let free = caught.try_borrow_mut().ok().filter(|caught| caught.is_none());
            free.map(|mut caught| *caught = Some(panic.clone())).is_some()
        });
    if !kept {
        panic.log("a panic");
    }
}

/// Runs `run`, which may leave what it works on in any state when it panics.
///
/// # Errors
/// The panic, which the caller logs.
pub fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    let outer = CATCHING.replace(true);
    let done = catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(outer);
    let caught = CAUGHT.take();
    match (done, caught) {
        (Ok(done), None) => Ok(done),
        (Ok(done), Some(panic)) => {
            // Somebody further down has caught it, and said nothing.
            panic.log("a panic");
            Ok(done)
        }
        (Err(_), Some(panic)) => Err(panic),
        // The hook is another's.
        (Err(payload), None) => {
            let text = payload.downcast_ref::<&str>().copied();
            let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let message = text.unwrap_or("of an unknown kind").to_owned();
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

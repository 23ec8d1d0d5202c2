//! From bytes to machine code, without being felt by traffic.
//!
//! Compiling takes from milliseconds to, for a hostile component, minutes, and cannot be
//! interrupted. So it happens on a thread that its caller can walk away from; what was abandoned goes
//! on, and the next one waits for it. Strangers' code is compiled at a low priority: it takes at most a
//! tenth of one core from traffic, and still gets on where the machine has no idle time. The built-in
//! strategies are small, and a gateway on a busy machine needs one before it can serve.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::Component;

use super::LoadError;
use super::cache::Cache;
use super::source::Bytes;
use super::text::printable;

/// Components kept: a reload back to what was used before does not compile.
const KEPT: usize = 8;

/// Compiles one component at a time, and keeps the last few.
#[derive(Default)]
pub(super) struct Compiler {
    /// Held by the thread that compiles.
    turn: Mutex<()>,
    /// By digest, the latest last.
    kept: Mutex<VecDeque<(String, Component)>>,
    /// What outlives the process.
    cache: Option<Cache>,
}

impl Compiler {
    /// One that finds in `cache` what was compiled before, and keeps there what was not.
    pub(super) fn with(cache: Cache) -> Self {
        Self { cache: Some(cache), ..Self::default() }
    }

    /// Compiles a component within `limit`, or finds it among those kept.
    pub(super) fn compile(
        self: &Arc<Self>,
        engine: &Engine,
        what: &str,
        source: Bytes,
        limit: Duration,
    ) -> Result<Component, LoadError> {
        let what = || what.to_owned();
        if let Some(found) = not_a_component(&source.bytes) {
            return Err(LoadError::NotAComponent { what: what(), found });
        }
        if let Some(component) = self.find(engine, &source.digest) {
            return Ok(component);
        }
        let (send, receive) = mpsc::channel();
        let abandoned = Arc::new(AtomicBool::new(false));
        let (compiler, engine, given_up) = (Arc::clone(self), engine.clone(), abandoned.clone());
        let work = move || {
            let _turn = compiler.turn.lock().unwrap_or_else(PoisonError::into_inner);
            if !given_up.load(Ordering::Relaxed) {
                // Nobody may be left to hear it; it is kept for the next who asks.
                let _ = send.send(compiler.work(&engine, &source));
            }
        };
        let spawned = thread::Builder::new().name("strategy-compile".to_owned()).spawn(work);
        spawned.map_err(|e| LoadError::Host { what: what(), cause: e.to_string() })?;
        match receive.recv_timeout(limit) {
            Ok(Ok(component)) => Ok(component),
            Ok(Err(e)) => {
                Err(LoadError::Compile { what: what(), cause: printable(&format!("{e:#}"), 1_000) })
            }
            Err(RecvTimeoutError::Timeout) => {
                abandoned.store(true, Ordering::Relaxed);
                Err(LoadError::CompileTimedOut { what: what(), after: limit })
            }
            Err(RecvTimeoutError::Disconnected) => {
                let cause = "the compiler failed on it; this is a bug of the compiler".to_owned();
                Err(LoadError::Compile { what: what(), cause })
            }
        }
    }

    fn work(&self, engine: &Engine, source: &Bytes) -> wasmtime::Result<Component> {
        // Another load may have compiled it while this one waited for its turn.
        if let Some(component) = self.find(engine, &source.digest) {
            return Ok(component);
        }
        let cached = self.cache.as_ref().and_then(|cache| cache.find(engine, &source.digest));
        let component = match cached {
            Some(component) => component,
            None => self.translate(engine, source)?,
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((source.digest.clone(), component.clone()));
        Ok(component)
    }

    fn translate(&self, engine: &Engine, source: &Bytes) -> wasmtime::Result<Component> {
        if source.is_foreign() {
            // A courtesy: without it the component still compiles. At 19 it would not, within its
            // time, on a machine that is busy with anything else.
            let _ = rustix::process::nice(10);
        }
        let component = Component::from_binary(engine, &source.bytes)?;
        if let Some(cache) = &self.cache {
            cache.keep(engine, &source.digest, &component);
        }
        Ok(component)
    }

    fn find(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(of, component): &&(String, Component)| {
            of == digest && Engine::same(component.engine(), engine)
        };
        kept.iter().find(same).map(|(_, component)| component.clone())
    }
}

/// What the bytes are instead, in words that help; the compiler's own speak of magic numbers.
fn not_a_component(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [] => Some("the file is empty"),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => None,
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Some(
            "it is a core module; build for `wasm32-wasip2`, or wrap it with `wasm-tools component new`",
        ),
        [0, b'a', b's', b'm', ..] => {
            Some("it is of a WebAssembly version this gateway does not know")
        }
        [b'(', ..] => {
            Some("it looks like WebAssembly text; make it binary with `wasm-tools parse`")
        }
        _ => Some("it does not begin like WebAssembly"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Source;

    #[test]
    fn what_is_abandoned_before_its_turn_is_not_compiled() {
        let (compiler, engine) = (Arc::new(Compiler::default()), Engine::default());
        let bytes: &[u8] = wat::parse_str("(component)").unwrap().leak();
        let compile = |limit| {
            let source = Source::BuiltIn { name: "x", bytes }.read(None, 1_000).unwrap();
            compiler.compile(&engine, "x", source, limit)
        };
        let turn = compiler.turn.lock().unwrap();
        let error = compile(Duration::from_millis(20)).err().unwrap();
        assert!(matches!(error, LoadError::CompileTimedOut { .. }), "{error}");
        drop(turn);
        assert!(compiler.kept.lock().unwrap().is_empty());
        for _ in 0..2 {
            compile(Duration::from_secs(60)).unwrap();
            assert_eq!(compiler.kept.lock().unwrap().len(), 1);
        }
    }
}

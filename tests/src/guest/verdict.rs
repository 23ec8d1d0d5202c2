//! Request strategies of version 0.3.0, made from a core module in text form.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A strategy that is asked for each request. Its only reason is "as the test wants it".
#[derive(Debug, Clone, Copy)]
pub struct VerdictGuest<'a> {
    /// The signal that it asks for.
    pub signal: &'a str,
    /// The verdict, as WebAssembly that leaves its address. There are four forms:
    ///
    /// - `(call $route N A M B F)`: N local weights A, M remote weights B, `when-full` F.
    /// - `(call $hold MS)`.
    /// - `(call $refuse S)`.
    /// - `(call $hedged ROUTE MS N M MOST)`: a route with a second attempt to a remote deployment. It
    ///   may cost MOST dollars; NaN allows any price.
    ///
    /// `$priority` and `$held` are those of the request, `$locals` and `$remotes` the numbers of
    /// deployments, `$local` the address of the local ones. `(call $signal N)` is the value of the
    /// signal at the nth of them.
    pub verdict: &'a str,
}

impl VerdictGuest<'_> {
    /// The component.
    ///
    /// # Panics
    /// If the text is no WebAssembly.
    #[must_use]
    pub fn component(&self) -> Vec<u8> {
        let text = include_str!("verdict.wat")
            .replace("{signal}", self.signal)
            .replace("{signal-length}", &format!("\\{:02x}", self.signal.len()))
            .replace("{verdict}", self.verdict);
        let mut module = wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let mut resolve = Resolve::default();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/0.3.0-draft");
        let (package, _) = resolve.push_dir(folder).expect("the contract");
        let world = resolve.select_world(&[package], Some("request-strategy")).expect("a world");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .expect("metadata");
        let encoder = ComponentEncoder::default().validate(true).module(&module);
        encoder.and_then(|mut encoder| encoder.encode()).unwrap_or_else(|e| panic!("{e:#}\n{text}"))
    }
}

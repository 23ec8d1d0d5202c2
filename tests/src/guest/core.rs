//! Strategies of version 0.2.0, made from a core module in text form: the fault of a hostile guest
//! is one line of it.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A strategy for `hybrid:routing@0.2.0`. Each text is WebAssembly of one function, which ends in
/// an even split where the text does not return. `$locals` and `$remotes` are the lengths of the
/// lists (and `$request`, of `request`, the address of its arguments: the record `request` and both
/// lists); `(call $answer N A M B)` makes an answer of N local weights A and M remote weights B.
/// `$i` is an `i32` to use.
#[derive(Debug, Clone, Copy)]
pub struct CoreGuest<'a> {
    /// At most 15 bytes.
    pub name: &'a str,
    /// At most 31 bytes.
    pub summary: &'a str,
    /// The schema of the parameters, at most 383 bytes.
    pub parameters: &'a str,
    /// Imports and further functions of the module.
    pub imports: &'a str,
    /// The `refresh-interval`, in milliseconds.
    pub refresh: Option<u32>,
    /// Bits of the flags `needs`: 1 prompt-tokens, 2 session, 4 prefixes.
    pub needs: u8,
    /// Body of `configure`.
    pub configure: &'a str,
    /// Body of `assign`.
    pub assign: &'a str,
    /// Body of `assign-request`. None: it is not exported. An instance whose `assign` was called
    /// answers evenly, so that the guest passes its trial at load; instances of the request path
    /// never get that call.
    pub request: Option<&'a str>,
    /// Body of `outcome`, whose list is `$attempts` and `$count`. None: it is not exported.
    pub outcome: Option<&'a str>,
    /// Further WIT packages, and the imports that the world takes from them: `import
    /// wasi:cli/environment@0.2.6;`.
    pub more: (&'a str, &'a str),
}

impl Default for CoreGuest<'_> {
    /// An even split, off the request path.
    fn default() -> Self {
        Self {
            name: "guest",
            summary: "a guest of the tests",
            parameters: "{}",
            imports: "",
            refresh: None,
            needs: 0,
            configure: "",
            assign: "",
            request: None,
            outcome: None,
            more: ("", ""),
        }
    }
}

impl CoreGuest<'_> {
    /// The component.
    ///
    /// # Panics
    /// If a text is no WebAssembly.
    #[must_use]
    pub fn component(&self) -> Vec<u8> {
        let component = self.component_of(self.module());
        component.unwrap_or_else(|e| panic!("{e:#}\n{}", self.text()))
    }

    /// The core module.
    ///
    /// # Panics
    /// If a text is no WebAssembly.
    #[must_use]
    pub fn module(&self) -> Vec<u8> {
        let text = self.text();
        wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    /// The component of another module that has the exports and imports of this one. Its code is
    /// not checked.
    ///
    /// # Errors
    /// If it has not.
    ///
    /// # Panics
    /// If the contract cannot be read.
    pub fn component_of(&self, mut module: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let mut resolve = Resolve::default();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/0.2.0");
        resolve.push_dir(folder).expect("the contract");
        let (packages, imports) = self.more;
        let world = self.world();
        let text = format!(
            "package tests:guest;\n{packages}\nworld guest {{\n\
             include hybrid:routing/{world}@0.2.0;\n{imports}\n}}"
        );
        let package =
            resolve.push_str("guest.wit", &text).unwrap_or_else(|e| panic!("{e:#}\n{text}"));
        let world = resolve.select_world(&[package], Some("guest")).expect("a world");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .expect("metadata");
        ComponentEncoder::default().validate(true).module(&module)?.encode()
    }

    fn world(&self) -> &'static str {
        match (self.request, self.outcome) {
            (None, None) => "strategy",
            (Some(_), None) => "request-strategy",
            (None, Some(_)) => "learning-strategy",
            (Some(_), Some(_)) => "learning-request-strategy",
        }
    }

    fn text(&self) -> String {
        let name = "hybrid:routing/request-policy@0.2.0#assign-request";
        let request = self.request.map(|body| {
            format!(
                r#"(func (export "{name}") (param $request i32) (result i32)
                (local $locals i32) (local $remotes i32) (local $i i32)
                (local.set $locals (i32.load offset=84 (local.get $request)))
                (local.set $remotes (i32.load offset=92 (local.get $request)))
                (if (i32.eqz (global.get $off-path)) (then {body}))
                (call $answer (local.get $locals) (f64.const 1) (local.get $remotes) (f64.const 1)))
                (func (export "cabi_post_{name}") (param i32) (call $free (i32.const 0)))"#
            )
        });
        let outcome = self.outcome.map(|body| {
            format!(
                r#"(func (export "hybrid:routing/learning@0.2.0#outcome")
                (param $attempts i32) (param $count i32) (local $i i32)
                {body}
                (call $free (i32.const 0)))"#
            )
        });
        include_str!("core.wat")
            .replace("{imports}", self.imports)
            .replace("{name}", self.name)
            .replace("{summary}", &bytes(self.summary.as_bytes()))
            .replace("{summary-length}", &bytes(&[self.summary.len() as u8]))
            .replace("{parameters}", &bytes(self.parameters.as_bytes()))
            .replace("{parameters-length}", &bytes(&(self.parameters.len() as u16).to_le_bytes()))
            .replace("{name-length}", &format!("\\{:02x}", self.name.len()))
            .replace("{refreshes}", &u8::from(self.refresh.is_some()).to_string())
            .replace("{refresh}", &self.refresh.unwrap_or(0).to_string())
            .replace("{needs}", &self.needs.to_string())
            .replace("{configure}", self.configure)
            .replace("{assign}", self.assign)
            .replace("{more}", &(request.unwrap_or_default() + &outcome.unwrap_or_default()))
    }
}

/// Bytes as a string of the text format.
fn bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

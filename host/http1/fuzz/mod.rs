//! Oracles: what must hold whatever comes in, as functions of bytes that panic where it does not. The targets
//! beside this file have libFuzzer look for such bytes.

mod headers;
pub(crate) mod request;
pub(crate) mod response;

pub use headers::headers;
pub use request::edge;
pub use response::upstream;

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_holds() {
        pieces::replay("edge", super::edge);
        pieces::replay("headers", super::headers);
        pieces::replay("upstream", super::upstream);
    }
}

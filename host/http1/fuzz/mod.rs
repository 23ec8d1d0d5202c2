//! Fuzz oracles: functions of bytes that panic if an invariant does not hold. With the targets
//! beside this file, libFuzzer searches for such bytes.

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

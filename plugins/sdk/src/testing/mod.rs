//! Fleets, questions and checks for the tests of strategies.
//!
//! Only in native builds. `gateway strategy test` makes the same checks on the built component, and
//! runs its `fixtures.yaml`.

mod checks;
mod fleet;
mod schema;
pub(crate) mod stand_in;

pub use checks::{check, check_requests, is_good, is_good_verdict, shares};
pub use fleet::{Fleet, configured, deployment, place};
pub use schema::{check_schema, not_understood};
pub use stand_in::{asked, logged, set_draws, set_now, set_signals};

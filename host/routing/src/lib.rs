//! How a model's traffic is shared, and who is tried for a request: values and `now` in, the next step out.
//! No socket, no clock, no runtime.
//!
//! - [`plan`](Plan): asks the strategies off the request path and makes the next snapshot; [`Agenda`] says when.
//! - [`weigh`]: asks a strategy about one request; [`facts`] is what it is told of it.
//! - [`draw`]: the weighted order of a request.

mod agenda;
mod draw;
pub mod facts;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/oracle.rs"]
pub mod oracle;
mod plan;
mod seat;
mod share;
mod timetable;
mod waiting;
mod weigh;

pub use agenda::{Agenda, AgendaStep};
pub use draw::{Draw, draw};
pub use plan::{Decision, Failed, Plan};
pub use seat::Seat;
pub use weigh::weigh;

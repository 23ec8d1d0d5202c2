//! How a model's traffic is shared, and who is tried for a request: values and `now` in, the next step out.
//! No socket, no clock, no runtime.
//!
//! - [`plan`](Plan): asks the strategies off the request path and makes the next snapshot; [`Agenda`] says when.
//! - [`weigh`]: asks a strategy about one request; [`facts`] is what it is told of it.
//! - [`choose`]: the weights of a request, with the trial of a candidate beside the strategy in use.
//! - [`Itinerary`]: who is tried next, in a weighted order; driven by the data path and by the simulator.
//! - [`Cause`]: why an attempt failed, and what follows from that. [`Failure`] is one failed attempt,
//!   [`Exhausted`] a request without an answer.

mod agenda;
mod cause;
mod choice;
mod draw;
mod endpoint;
mod exhausted;
pub mod facts;
mod failure;
mod itinerary;
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
pub use cause::{Cause, CauseFacts, Charged, Effect, Phase, Speaker, Wording};
pub use choice::{Choice, Inquiry, Shadow, TrialPart, choose};
pub use endpoint::InferenceEndpoint;
pub use exhausted::Exhausted;
pub use failure::{Failure, Overtime};
pub use itinerary::{Deployments, Event, Itinerary, Step, Terms};
pub use plan::{Decision, Failed, Plan};
pub use seat::Seat;
pub use weigh::weigh;

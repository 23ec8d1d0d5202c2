//! Shares a model's traffic, and picks the deployments to try for a request. The caller passes
//! values and `now`, and gets the next step. There is no socket and no runtime. The system clock is
//! read only to ask strategies and after a wait in line.
//!
//! - [`plan`](Plan): asks the strategies off the request path and builds the next snapshot.
//!   [`Agenda`] decides when.
//! - [`choose`]: what happens with one request: [`Said`] by the strategy in use or the candidate on
//!   trial beside it, or the published weights. [`facts`] finds what strategies are told.
//! - [`Itinerary`]: the deployments to try, in weighted order. [`Turns`] follows it for the data path
//!   and the simulation of tests, and the simulator of strategies drives it.
//! - [`Cause`]: why an attempt failed, and what follows from that. [`Failure`] is one failed
//!   attempt, [`Exhausted`] a request without an answer.

mod agenda;
mod asking;
mod cause;
mod choice;
mod classify;
mod demand;
mod digest;
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
mod stake;
mod timetable;
mod turns;
mod waiting;

pub use agenda::{Agenda, AgendaStep};
pub use asking::Said;
pub use cause::{Cause, CauseFacts, Charged, Effect, Lack, Phase, Speaker, Wording};
pub use choice::{Choice, Inquiry, MOST_HOLDS, Shadow, TrialPart, choose};
pub use demand::demand;
pub use digest::digest;
pub use draw::{HedgePlan, RequestWeights};
pub use endpoint::InferenceEndpoint;
pub use exhausted::Exhausted;
pub use failure::{Failure, Overtime};
pub use itinerary::{Deployments, Event, Hedged, Itinerary, Step, Terms, Unfit};
pub use plan::{Decision, Failed, FailedCall, Plan};
pub use seat::Seat;
pub use stake::{AskedAnswers, Stakes, quota_needs};
pub use turns::{RoutedRequest, Turns, WaitLog, hold};

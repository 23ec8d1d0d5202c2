//! Tools for strategies without traffic: a simulator, and the tests and measurements of `gateway
//! strategy`.

pub mod simulation;
pub mod workbench;

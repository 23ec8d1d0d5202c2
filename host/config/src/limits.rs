//! How much is let in at one time: the checked settings of admission.

use std::time::Duration;

/// What is let in, over all clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body. Default 32 MiB.
    pub body: usize,
    /// Bytes of all bodies that are held at one time. Default 1 GiB.
    pub bodies: usize,
    /// Connections of clients: at least 1. Default 10,000.
    pub connections: usize,
    /// Requests to deployments that are under way: at least 1. Default 5,000.
    pub requests: usize,
}

/// How many attempts are made at one deployment at a time, and who waits for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// Attempts under way: at least 1. Default 1,000.
    pub max: u32,
    /// Requests that wait for one of them to end. Default 100.
    pub queue: u32,
    /// How long they wait before the next deployment is tried. Default 10 s.
    pub wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 32 << 20, bodies: 1 << 30, connections: 10_000, requests: 5_000 }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { max: 1_000, queue: 100, wait: Duration::from_secs(10) }
    }
}

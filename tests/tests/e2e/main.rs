//! End-to-end tests: clients, a gateway in a process of its own, and engines.
//!
//! All modules are one binary, because linking a binary costs more than compiling it. Each test
//! starts its own gateway and engines, so tests share nothing and run in parallel.

mod access_log;
mod api;
mod api_errors;
mod browsers;
mod c_bindings;
mod cache;
mod candidates;
mod cli;
mod client_limits;
mod commit;
mod compiling;
mod configuration;
mod counters;
mod demo;
mod descriptors;
mod disconnect;
mod ejection;
mod examples;
mod fallback;
mod guests_at_load;
mod guests_at_run;
mod headers_pass;
mod health;
mod health_probes;
mod hostile_http;
mod hostile_tenth;
mod hostile_upstreams;
mod memory;
mod on_path;
mod openai_sdk;
mod outage;
mod overload;
mod panics;
mod reload;
mod reload_saving;
mod reload_under_load;
mod routing_split;
mod sandbox;
mod secrets;
mod signals;
mod simulate;
mod slow_clients;
mod stop;
mod strategy_new;
mod strategy_pages;
mod streaming;
mod swaps;
mod timeouts;
mod tls;
mod tls_upstreams;
mod upstream_connections;

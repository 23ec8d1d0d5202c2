//! The gateway that the tests start. The variable `CORRUPT` gives it a configuration that no file
//! could have, so that it panics.

use std::io::Write;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gateway::{Loaded, Loader, RunOptions, Seen, Signals};

use config::{self, Config, Paths};
use fleet::{Fleet, Generation};
use routing::Plan;
use sandbox::Compiler;

fn main() -> ExitCode {
    match std::env::var("CORRUPT") {
        Ok(what) => corrupt(&what),
        Err(_) => gateway::main(),
    }
}

/// Serves until it is killed.
fn corrupt(what: &str) -> ExitCode {
    proxy::telemetry::init_log(proxy::telemetry::LevelFilter::INFO);
    let routing_required = true;
    let (models, routing) = ("config/models.yaml".into(), "config/routing.yaml".into());
    let paths = Paths { models, routing, routing_required };
    let loader =
        Loader::new(paths.clone(), "plugins".into(), Compiler::InProcess).expect("a sandbox");
    let mut config = config::load(&paths, &|_| None).expect("good files");
    match what {
        "ejection" => ejected_for_ever(&mut config),
        unknown => panic!("CORRUPT={unknown}"),
    }
    let fleet = Fleet::build(&config, None);
    let generation = Generation {
        config,
        fleet,
        strategies: Vec::new(),
        books: None,
        loaded_at: SystemTime::now(),
    };
    let tried = Plan::tried(Arc::new(generation), Vec::new());
    let (plan, snapshot) = tried.expect("no strategy that could fail");
    let loaded = Loaded { plan, snapshot, seen: Seen::default() };
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    writeln!(std::io::stdout(), "listening on http://{address}").expect("the test reads it");
    let options = RunOptions { cores: 2, admin_token: None };
    let never = std::future::pending();
    gateway::run(listener, loader, loaded, options, &Signals::default(), never).expect("it serves");
    ExitCode::SUCCESS
}

/// The end of an ejection is a time that does not exist: ejecting overflows.
fn ejected_for_ever(config: &mut Config) {
    config.ejection.consecutive = Some(1);
    let ever = Duration::MAX / 10 * 8;
    (config.ejection.base, config.ejection.connect_base) = (ever, ever);
    config.ejection.max = ever;
}

//! What a guest may ask of the host.

use std::time::Duration;

use super::generated::hybrid::routing::{chance, clock, logging, signals, store, types};
use crate::describe::Demand;
use crate::guest::{Asking, StoreData};
use crate::logging::Level;
use crate::values::StoreRefusal;

impl types::Host for StoreData {}

impl logging::Host for StoreData {
    fn log(&mut self, level: logging::Level, message: String) {
        let level = match level {
            logging::Level::Debug => Level::Debug,
            logging::Level::Info => Level::Info,
            logging::Level::Warn => Level::Warn,
            logging::Level::Error => Level::Error,
        };
        self.log.write(level, &message);
    }
}

impl store::Host for StoreData {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        self.values.get(&key)
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl: Option<u32>) -> Result<(), store::Refusal> {
        Ok(self.values.set(key, value, lasts(ttl))?)
    }

    fn compare_and_set(
        &mut self,
        key: String,
        old: Option<Vec<u8>>,
        value: Vec<u8>,
        ttl: Option<u32>,
    ) -> Result<(), store::Refusal> {
        Ok(self.values.compare_and_set(key, old.as_deref(), value, lasts(ttl))?)
    }

    fn add(&mut self, key: String, delta: i64) -> Result<i64, store::Refusal> {
        Ok(self.values.add(key, delta)?)
    }

    fn remove(&mut self, key: String) {
        self.values.remove(&key);
    }
}

fn lasts(ttl: Option<u32>) -> Option<Duration> {
    ttl.map(|milliseconds| Duration::from_millis(milliseconds.into()))
}

impl From<StoreRefusal> for store::Refusal {
    fn from(refusal: StoreRefusal) -> Self {
        match refusal {
            StoreRefusal::Key => Self::Key,
            StoreRefusal::Value => Self::Value,
            StoreRefusal::Full => Self::Full,
            StoreRefusal::Other => Self::Other,
        }
    }
}

impl signals::Host for StoreData {
    fn read(&mut self) -> Vec<f64> {
        self.signals.clone()
    }

    fn ask(&mut self, signals: Vec<String>, facts: Vec<String>) -> Result<(), String> {
        let Asking::Open(demand) = &mut self.asking else {
            return Err("only `configure` may ask for signals".to_owned());
        };
        *demand = Some(Demand::of_names(signals, &facts, &self.budgets)?);
        Ok(())
    }
}

impl clock::Host for StoreData {
    fn now(&mut self) -> clock::Moment {
        let contract::Moment { milliseconds, offset } = self.surroundings.now();
        clock::Moment { milliseconds, offset }
    }
}

impl chance::Host for StoreData {
    fn draw(&mut self) -> f64 {
        self.surroundings.draw()
    }
}

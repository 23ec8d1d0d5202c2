//! Deployments and the models they serve: configuration joined with live state.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{Config, DeploymentConfig, Model, Origin, ProbeTarget};

use super::{Health, Load};

/// One place a model runs: how it is configured and how it is doing.
#[derive(Debug)]
pub struct Deployment {
    /// The model it serves.
    pub model: Arc<str>,
    /// As configured.
    pub config: DeploymentConfig,
    /// Requests on it and how the recent ones went.
    pub load: Arc<Load>,
    /// What its probes say; shared with every deployment that asks the same question. None: not
    /// probed.
    pub health: Option<Arc<Health>>,
}

impl Deployment {
    /// Whether it may be given traffic.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.health.as_ref().is_none_or(|health| health.is_up())
    }
}

/// A model and its deployments.
#[derive(Debug)]
pub struct FleetModel {
    /// As configured.
    pub config: Model,
    /// In the order of the configuration.
    pub deployments: Vec<Arc<Deployment>>,
}

/// All models, and the names clients know them by.
#[derive(Debug)]
pub struct Fleet {
    /// In the order of `models.yaml`.
    pub models: Vec<FleetModel>,
    by_name: HashMap<String, usize>,
}

impl Fleet {
    /// Joins a configuration with the live state of `previous`: a deployment that is still
    /// configured keeps its load and its health, so that a reload forgets nothing.
    #[must_use]
    pub fn build(config: &Config, previous: Option<&Fleet>) -> Self {
        let mut healths: HashMap<(Origin, ProbeTarget), Arc<Health>> = HashMap::new();
        for old in previous.into_iter().flat_map(Fleet::deployments) {
            if let (Some(health), Some(probe)) = (&old.health, &old.config.probe) {
                let key = (old.config.endpoint.origin.clone(), probe.clone());
                healths.insert(key, Arc::clone(health));
            }
        }
        let mut health_of = |config: &DeploymentConfig, probing: bool| {
            let probe = config.probe.clone().filter(|_| probing)?;
            let key = (config.endpoint.origin.clone(), probe);
            Some(Arc::clone(healths.entry(key).or_default()))
        };
        let probing = config.probing.interval.is_some();
        let models = config.models.iter().map(|model| {
            let id: Arc<str> = model.id.as_str().into();
            let deployment = |config: &DeploymentConfig| {
                Arc::new(Deployment {
                    model: Arc::clone(&id),
                    load: previous
                        .and_then(|fleet| fleet.find(&model.id, config))
                        .map_or_else(Arc::default, |old| Arc::clone(&old.load)),
                    health: health_of(config, probing),
                    config: config.clone(),
                })
            };
            FleetModel {
                deployments: model.deployments.iter().map(deployment).collect(),
                config: model.clone(),
            }
        });
        let models: Vec<FleetModel> = models.collect();
        let mut by_name = HashMap::new();
        for (index, model) in models.iter().enumerate() {
            by_name.insert(model.config.id.clone(), index);
            by_name.extend(model.config.aliases.iter().map(|alias| (alias.clone(), index)));
        }
        Self { models, by_name }
    }

    /// The index of the model a client means by `name`: an id or an alias.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Every deployment of every model.
    pub fn deployments(&self) -> impl Iterator<Item = &Arc<Deployment>> {
        self.models.iter().flat_map(|model| &model.deployments)
    }

    fn find(&self, model: &str, config: &DeploymentConfig) -> Option<&Arc<Deployment>> {
        let model = &self.models[self.index_of(model)?];
        model.deployments.iter().find(|old| old.config.endpoint == config.endpoint)
    }
}

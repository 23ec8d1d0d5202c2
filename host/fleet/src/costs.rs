//! Where the costs of a fleet are counted, and what its local deployments save.

use std::collections::HashMap;
use std::sync::Arc;

use config::{DeploymentConfig, Origin};
use contract::{Picodollars, Side};
use ledger::{Place, Watched};

use super::{Deployment, Fleet, Tariff};

/// The prices of a model's remote deployments that cost something.
pub(super) struct Alternatives(Arc<[Tariff]>);

impl Alternatives {
    pub(super) fn of_model(deployments: &[DeploymentConfig]) -> Self {
        let is_paid =
            |config: &&DeploymentConfig| config.side == Side::Remote && config.pricing.costs();
        let paid = deployments.iter().filter(is_paid);
        Self(paid.map(|config| Tariff::of(&config.pricing)).collect())
    }

    /// What a deployment on this side saves: only local ones save anything.
    pub(super) fn of(&self, side: Side) -> Arc<[Tariff]> {
        match side {
            Side::Local => Arc::clone(&self.0),
            Side::Remote => Arc::default(),
        }
    }
}

impl Fleet {
    /// Where the costs of each deployment are counted. Deployments at one origin share a machine, and
    /// its price.
    #[must_use]
    pub fn watched(&self) -> Vec<Watched> {
        let mut sharing: HashMap<&Origin, u64> = HashMap::new();
        for deployment in self.deployments().filter(|one| one.tariff.hourly.is_some()) {
            *sharing.entry(&deployment.config.endpoint.origin).or_default() += 1;
        }
        let watched = |deployment: &Arc<Deployment>| {
            let config = &deployment.config;
            let hourly = deployment.tariff.hourly.zip(sharing.get(&config.endpoint.origin));
            let place = Place {
                model: Arc::clone(&deployment.model),
                deployment: config.name.as_str().into(),
                side: config.side,
            };
            Watched {
                place: Arc::new(place),
                meter: Arc::clone(&deployment.meters.costs),
                hourly: hourly.map(|(price, by)| Picodollars::new(price.get() / by)),
            }
        };
        self.deployments().map(watched).collect()
    }
}

#[cfg(test)]
mod tests {
    use config::{Config, Pricing};

    use super::*;

    fn priced(port: u16, side: Side, change: impl FnOnce(&mut Pricing)) -> DeploymentConfig {
        let mut config = DeploymentConfig { side, ..samples::deployment(port) };
        change(&mut config.pricing);
        config
    }

    fn fleet(models: Vec<Vec<DeploymentConfig>>) -> Fleet {
        let models = models.into_iter().map(samples::model).collect();
        Fleet::build(&Config { models, ..Config::default() }, None)
    }

    #[test]
    fn local_deployments_save_what_paid_remote_ones_cost() {
        let fleet = fleet(vec![vec![
            priced(1, Side::Local, |pricing| pricing.request = "9".into()),
            priced(2, Side::Remote, |_| {}),
            priced(3, Side::Remote, |pricing| pricing.request = "2".into()),
            priced(4, Side::Remote, |pricing| pricing.prompt = "1".into()),
        ]]);
        let of = |at: usize| fleet.models[0].deployments[at].alternatives.len();
        assert_eq!([0, 1, 2, 3].map(of), [2, 0, 0, 0], "one without a price is no comparison");
    }

    #[test]
    fn deployments_of_one_machine_share_its_price() {
        let hourly = |pricing: &mut Pricing| pricing.hourly = Some("3".into());
        let same = priced(1, Side::Local, hourly);
        let fleet = fleet(vec![
            vec![same.clone(), priced(2, Side::Local, hourly)],
            vec![same.clone(), priced(3, Side::Local, |_| {})],
            vec![same],
        ]);
        let prices = fleet.watched().into_iter().map(|watched| watched.hourly);
        let prices: Vec<_> = prices.map(|price| price.map(|price| price.to_string())).collect();
        let one = || Some("1".to_owned());
        assert_eq!(prices, [one(), Some("3".to_owned()), one(), None, one()]);
    }
}

//! What strategies are told of a deployment once.

use config::{DeploymentConfig, Model};
use contract::{Place, Price};

use super::Tariff;

/// The fixed facts of a deployment, as strategies are told them. If the strategy places sessions by
/// name, a key of the endpoint takes the place of a default name. Default names count positions, so
/// an inserted line would move nearly all sessions.
pub(super) fn place_of(model: &Model, config: &DeploymentConfig, is_affine: bool) -> Place {
    let prices = Tariff::of(&config.pricing).prices();
    let name = match is_affine && has_default_name(config) {
        true => endpoint_key(model, config),
        false => config.name.clone(),
    };
    Place {
        name,
        model: model.id.clone(),
        side: config.side,
        weight: config.weight,
        capacity: config.concurrency.max,
        price: Some(Price {
            prompt: prices.prompt,
            cached: prices.cached,
            completion: prices.completion,
        }),
        context_length: config.capability.context_length,
        takes: config.capability.input,
        tools: config.capability.tools,
        tags: config.tags.clone(),
    }
}

fn has_default_name(config: &DeploymentConfig) -> bool {
    let number = config.name.strip_prefix(config.side.as_str());
    let number = number.and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// A name made from the endpoint, the same in every gateway and version. It does not show the
/// endpoint.
fn endpoint_key(model: &Model, config: &DeploymentConfig) -> String {
    let endpoint = config.endpoint.url("");
    let upstream = |of: &DeploymentConfig| (of.endpoint.url(""), of.provider_model_id.clone());
    let own = upstream(config);
    // Two routes may differ in their keys alone.
    let before = model.deployments.iter().take_while(|other| other.name != config.name);
    let nth = before.filter(|other| upstream(other) == own).count();
    // FNV-1a, 64 bits.
    let text = [endpoint.as_bytes(), b"\n", config.provider_model_id.as_bytes()].concat();
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}-{nth}")
}

#[cfg(test)]
mod tests {
    use contract::Side;
    use samples::{deployment, model};

    use super::*;

    fn names(ports: &[(&str, u16)], is_affine: bool) -> Vec<String> {
        let named = |(name, port): &(&str, u16)| DeploymentConfig {
            name: (*name).to_owned(),
            side: Side::Local,
            ..deployment(*port)
        };
        let model = model(ports.iter().map(named).collect());
        let place = |config| place_of(&model, config, is_affine).name;
        model.deployments.iter().map(place).collect()
    }

    #[test]
    fn sessions_follow_endpoints_and_not_positions() {
        let before = names(&[("local-1", 1), ("local-2", 2), ("gpu", 3)], true);
        let after = names(&[("local-1", 9), ("local-2", 1), ("local-3", 2), ("gpu", 3)], true);
        assert_eq!(before, after[1..], "an inserted line moves nobody");
        assert_eq!(before[2], "gpu");
        assert!(before[..2].iter().all(|key| !key.contains("local") && key.len() == 18));
        let twice = names(&[("local-1", 1), ("local-2", 1)], true);
        assert_ne!(twice[0], twice[1], "names are unique");
        assert_eq!(names(&[("local-1", 1)], false), ["local-1"]);
    }
}

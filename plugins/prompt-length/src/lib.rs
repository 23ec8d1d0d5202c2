//! The strategy `prompt-length`: sends each prompt to the smallest deployment that it fits, and so
//! keeps larger ones free.

use std::collections::{BTreeMap, BTreeSet};

use gateway_strategy::{
    Deployment, Needs, Order, Place, Request, RequestStrategy, Side, Strategy, Verdict, Weights,
    hash, squash,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// `routing_parameter` of this strategy.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The longest prompt for a local deployment, in tokens. Default: the model's context length.
    #[serde(default)]
    pub local_max_tokens: Option<u32>,
    /// The longest prompt for a deployment, in tokens, by its name. It takes the place of
    /// `local_max_tokens`.
    #[serde(default)]
    pub max_tokens: BTreeMap<String, u32>,
}

/// The strategy.
#[derive(Debug)]
pub struct PromptLength {
    sites: Vec<Site>,
    order: Order,
}

#[derive(Debug, Clone, Copy)]
struct Site {
    /// The longest prompt that is meant for it, in tokens. Infinite without a parameter.
    limit: f64,
    /// The context length of its model: tokens of prompt and answer together.
    context: f64,
    capacity: u32,
}

gateway_strategy::export!(PromptLength, request; schema = "parameters.json");

impl Strategy for PromptLength {
    const SUMMARY: &'static str = "Each prompt to the smallest deployment that it fits";
    const NEEDS: Needs = Needs { prompt_tokens: true, ..Needs::NOTHING };

    type Parameters = Parameters;

    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        let Parameters { local_max_tokens, max_tokens } = parameters;
        let limits = max_tokens.iter().map(|(name, limit)| (hash::key(name), *limit));
        let limits: BTreeMap<_, u32> = limits.collect();
        let mut known = BTreeSet::new();
        let sites = places.iter().map(|place| {
            let named = limits.get_key_value(&hash::key(&place.name));
            known.extend(named.map(|(name, _)| *name));
            let of_side = local_max_tokens.filter(|_| place.side == Side::Local);
            let limit = named.map(|(_, limit)| *limit).or(of_side);
            Site {
                limit: limit.map_or(f64::INFINITY, f64::from),
                #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 tokens")]
                context: place.context_length as f64,
                capacity: place.capacity,
            }
        });
        let sites = sites.collect();
        if let Some(name) = max_tokens.keys().find(|name| !known.contains(&hash::key(name))) {
            Place::named(name, &places).map_err(|why| format!("`max_tokens`: {why}"))?;
        }
        Ok(Self { sites, order: Order::default() })
    }

    /// Shares among the largest deployments by free places, because any prompt may come.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        self.fitting(None, 0, local, remote)
    }
}

impl RequestStrategy for PromptLength {
    fn assign_request(
        &mut self,
        request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict {
        let output = request.max_output_tokens.unwrap_or(0);
        self.fitting(request.prompt_tokens, output, local, remote).into()
    }
}

impl PromptLength {
    /// First the deployments that the prompt fits, the lowest limit first, so that larger ones stay
    /// free. Then those that it does not fit, the largest first.
    fn fitting(
        &mut self,
        prompt: Option<u32>,
        output: u32,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Weights {
        let (prompt, output) = (prompt.map_or(f64::INFINITY, f64::from), f64::from(output));
        let cost = |one: &Deployment| {
            let Site { limit, context, .. } = self.sites[one.place()];
            match prompt <= limit && prompt + output <= context {
                true => squash(limit),
                false => 3.0 - squash(limit.min(context)),
            }
        };
        let weights = self.order.steep(Weights::each(local, remote, cost));
        weights.share_by(local, remote, |one| one.room(self.sites[one.place()].capacity))
    }
}

#[cfg(test)]
mod tests {
    use gateway_strategy::Request;
    use gateway_strategy::testing::{self, Fleet};

    use super::PromptLength;

    fn fleet() -> Fleet {
        Fleet::new().local("small").local("big").remote("api").context_length(128_000)
    }

    fn shares(parameters: &str, prompt: Option<u32>, output: Option<u32>) -> Vec<f64> {
        let mut strategy: PromptLength = fleet().configure(parameters);
        let (prompt_tokens, max_output_tokens) = (prompt, output);
        let request = Request { prompt_tokens, max_output_tokens, ..Request::default() };
        fleet().ask_for(&mut strategy, &request)
    }

    #[test]
    fn a_prompt_goes_to_its_smallest_fit() {
        let parameters = r#"{"max_tokens": {"small": 1000, "big": 8000}}"#;
        assert_eq!(shares(parameters, Some(1_000), None), [1.0, 0.0, 0.0]);
        assert_eq!(shares(parameters, Some(1_001), None), [0.0, 1.0, 0.0]);
        assert_eq!(shares(parameters, Some(8_001), None), [0.0, 0.0, 1.0]);
        assert_eq!(shares(parameters, Some(999), Some(8_000)), [0.0, 0.0, 1.0], "with its answer");
        assert_eq!(shares(parameters, Some(900_000), None), [0.0, 0.0, 1.0], "the largest");
    }

    #[test]
    fn prompts_too_long_for_local_deployments_go_remote() {
        let parameters = r#"{"local_max_tokens": 2000}"#;
        assert_eq!(shares(parameters, Some(2_000), None), [0.5, 0.5, 0.0]);
        assert_eq!(shares(parameters, Some(2_001), None), [0.0, 0.0, 1.0]);
        let parameters = r#"{"local_max_tokens": 2000, "max_tokens": {"big": 4000}}"#;
        assert_eq!(shares(parameters, Some(2_001), None), [0.0, 1.0, 0.0]);
    }

    #[test]
    fn without_limits_what_a_model_takes_decides() {
        assert_eq!(shares("{}", Some(8_192), None), [0.33333; 3]);
        assert_eq!(shares("{}", Some(8_193), None), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn an_unknown_length_may_be_any() {
        assert_eq!(shares("{}", None, None), [0.0, 0.0, 1.0]);
        let same = fleet().ask::<PromptLength>(&mut fleet().configure("{}"));
        assert!(same[2] > 0.999, "{same:?}");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let parameters = r#"{"max_tokens": {"huge": 1000}}"#;
        let refused = testing::configured::<PromptLength>(parameters, fleet().places).err();
        let says = "`max_tokens`: no deployment is named `huge`; there are api, big, small";
        assert_eq!(refused.as_deref(), Some(says));
    }

    #[test]
    fn answers_are_good_whatever_is_asked() {
        for parameters in ["{}", r#"{"local_max_tokens": 700}"#, r#"{"local_max_tokens": 0}"#] {
            testing::check_requests::<PromptLength>(parameters);
        }
    }
}

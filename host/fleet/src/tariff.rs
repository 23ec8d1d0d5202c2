//! What attempts at a deployment cost, without rounding.

use config::Pricing;
use contract::Picodollars;

use super::Prices;

/// The prices of a deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tariff {
    /// Of a token of the prompt.
    pub prompt: Picodollars,
    /// Of a token of the prompt that comes from the deployment's cache.
    pub cached: Picodollars,
    /// Of a token of the prompt that is written to the deployment's cache.
    pub written: Picodollars,
    /// Of a token of the answer.
    pub completion: Picodollars,
    /// Of an image in the prompt.
    pub image: Picodollars,
    /// Of a request, whatever its tokens.
    pub request: Picodollars,
    /// Of an hour of the machine, whether it is used or not.
    pub hourly: Option<Picodollars>,
}

/// What one attempt took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consumed {
    /// Tokens of the prompt, with those from and for a cache.
    pub prompt: u64,
    /// Those of them that came from the deployment's cache.
    pub cached: u64,
    /// Those of them that were written to the deployment's cache.
    pub written: u64,
    /// Tokens of the answer.
    pub completion: u64,
    /// Images in the prompt.
    pub images: u64,
}

impl Tariff {
    /// The prices of a configuration, which has checked that they are amounts.
    #[must_use]
    pub fn of(pricing: &Pricing) -> Self {
        let price = |text: &str| Picodollars::from_decimal(text).unwrap_or_default();
        let prompt = price(&pricing.prompt);
        let written = price(&pricing.input_cache_writes);
        Self {
            prompt,
            cached: price(pricing.cached()),
            written: if written.is_zero() { prompt } else { written },
            completion: price(&pricing.completion),
            image: price(&pricing.image),
            request: price(&pricing.request),
            hourly: pricing.hourly.as_deref().map(price),
        }
    }

    /// The cost of one attempt. Of a prompt, no more tokens than it has are cached or written.
    #[must_use]
    pub fn cost(&self, consumed: Consumed) -> Picodollars {
        let Consumed { prompt, cached, written, completion, images } = consumed;
        let cached = cached.min(prompt);
        let written = written.min(prompt - cached);
        let parts = [
            (self.prompt, prompt - cached - written),
            (self.cached, cached),
            (self.written, written),
            (self.completion, completion),
            (self.image, images),
            (self.request, 1),
        ];
        parts.into_iter().map(|(price, count)| price.saturating_mul(count)).sum()
    }

    /// The prices as strategies are told them.
    #[must_use]
    pub fn prices(&self) -> Prices {
        Prices {
            prompt: self.prompt.as_dollars(),
            cached: self.cached.as_dollars(),
            completion: self.completion.as_dollars(),
            request: self.request.as_dollars(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tariff(change: impl FnOnce(&mut Pricing)) -> Tariff {
        let mut pricing = Pricing {
            prompt: "0.00000015".into(),
            completion: "6e-7".into(),
            request: "0.001".into(),
            image: "0.0002".into(),
            ..Pricing::default()
        };
        change(&mut pricing);
        Tariff::of(&pricing)
    }

    const TAKEN: Consumed =
        Consumed { prompt: 1000, cached: 400, written: 100, completion: 7, images: 2 };

    #[test]
    fn a_cost_is_the_exact_sum_of_its_parts() {
        let cost = |tariff: Tariff| tariff.cost(TAKEN).to_string();
        assert_eq!(cost(tariff(|_| {})), "0.0015542");
        let cached = tariff(|pricing| pricing.input_cache_reads = Some("0.000000015".into()));
        assert_eq!(cost(cached), "0.0015002");
        let free = tariff(|pricing| pricing.input_cache_reads = Some("0".into()));
        assert_eq!(cost(free), "0.0014942");
        let written = tariff(|pricing| pricing.input_cache_writes = "0.0000003".into());
        assert_eq!(cost(written), "0.0015692");
        assert_eq!(cost(Tariff::default()), "0");
    }

    #[test]
    fn hostile_counts_neither_wrap_nor_go_below_zero() {
        let tariff = tariff(|_| {});
        let more = Consumed { cached: u64::MAX, written: u64::MAX, ..TAKEN };
        let all = Consumed { cached: 1000, written: 0, ..TAKEN };
        assert_eq!(tariff.cost(more), tariff.cost(all));
        let most = Consumed { prompt: u64::MAX, completion: u64::MAX, ..TAKEN };
        assert_eq!(tariff.cost(most), Picodollars::MAX);
    }

    #[test]
    fn strategies_are_told_the_nearest_floats() {
        let prices = tariff(|_| {}).prices();
        assert_eq!((prices.prompt, prices.cached), (0.000_000_15, 0.000_000_15));
        assert_eq!((prices.completion, prices.request), (6e-7, 0.001));
    }
}

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
    /// Of a token of sound in the prompt. None: as any other.
    pub audio: Option<Picodollars>,
    /// Of a token of sound in the answer. None: as any other.
    pub audio_output: Option<Picodollars>,
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
    /// Those of the prompt that are sound.
    pub audio: u64,
    /// Those of the answer that are sound.
    pub audio_output: u64,
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
            audio: pricing.audio.as_deref().map(price),
            audio_output: pricing.audio_output.as_deref().map(price),
            image: price(&pricing.image),
            request: price(&pricing.request),
            hourly: pricing.hourly.as_deref().map(price),
        }
    }

    /// The cost of one attempt. Of a prompt, no more tokens than it has are cached, written or sound.
    /// Where sound has a price of its own, cached tokens count as text first.
    #[must_use]
    pub fn cost(&self, consumed: Consumed) -> Picodollars {
        let Consumed { prompt, cached, written, completion, audio, audio_output, images } =
            consumed;
        let (audio, audio_price) = apart(self.audio, audio, prompt);
        let (audio_output, audio_output_price) = apart(self.audio_output, audio_output, completion);
        let text = prompt - audio;
        let cached = cached.min(text);
        let written = written.min(text - cached);
        let parts = [
            (self.prompt, text - cached - written),
            (self.cached, cached),
            (self.written, written),
            (self.completion, completion - audio_output),
            (audio_price, audio),
            (audio_output_price, audio_output),
            (self.image, images),
            (self.request, 1),
        ];
        parts.into_iter().map(|(price, count)| price.saturating_mul(count)).sum()
    }

    /// The cost if all tokens have the dearest of their prices. `sound`: some may be sound.
    #[must_use]
    pub fn most(&self, consumed: Consumed, sound: bool) -> Picodollars {
        let prompt = consumed.prompt;
        let audio_output = if sound { consumed.completion } else { 0 };
        let text = [
            consumed,
            Consumed { cached: prompt, ..consumed },
            Consumed { written: prompt, ..consumed },
            Consumed { audio: if sound { prompt } else { 0 }, ..consumed },
        ];
        let spoken = text.map(|consumed| Consumed { audio_output, ..consumed });
        let all = text.into_iter().chain(spoken).map(|consumed| self.cost(consumed));
        all.max().unwrap_or_default()
    }

    /// What the cheapest of some tariffs costs more than this one, for the same attempt.
    #[must_use]
    pub fn saved(&self, consumed: Consumed, others: &[Self]) -> Picodollars {
        let cheapest = others.iter().map(|other| other.cost(consumed)).min();
        cheapest.map_or(Picodollars::ZERO, |other| other.saturating_sub(self.cost(consumed)))
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

/// The tokens of sound that have a price of their own, and the price.
fn apart(price: Option<Picodollars>, tokens: u64, of: u64) -> (u64, Picodollars) {
    price.map_or((0, Picodollars::ZERO), |price| (tokens.min(of), price))
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

    const TAKEN: Consumed = Consumed {
        prompt: 1000,
        cached: 400,
        written: 100,
        completion: 7,
        audio: 300,
        audio_output: 5,
        images: 2,
    };

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
    fn sound_costs_its_own_price_and_no_part_of_it_is_cached_before_text() {
        let sound = |prompt: &str, answer: &str| {
            tariff(|pricing| {
                pricing.input_cache_reads = Some("0".into());
                let price = |text: &str| (!text.is_empty()).then(|| text.to_owned());
                (pricing.audio, pricing.audio_output) = (price(prompt), price(answer));
            })
        };
        let cost = |tariff: Tariff, taken: Consumed| tariff.cost(taken).to_string();
        // Beside the prices of text: 300 at 32 instead of 0.15, 5 at 64 instead of 0.6 millionths.
        assert_eq!(cost(sound("", ""), TAKEN), "0.0014942");
        assert_eq!(cost(sound("0.000032", ""), TAKEN), "0.0110492");
        assert_eq!(cost(sound("", "0.000064"), TAKEN), "0.0018112");
        let all = Consumed { audio: u64::MAX, cached: 900, ..TAKEN };
        assert_eq!(cost(sound("0.000032", ""), all), "0.0334042");
        let cheap = sound("0", "0");
        assert_eq!(cost(cheap, TAKEN), "0.0014462");
    }

    #[test]
    fn the_most_is_never_less_than_any_split_of_the_tokens() {
        let prices = ["0", "0.00000001", "0.0000003"];
        for (at, prompt) in prices.iter().enumerate() {
            let tariff = tariff(|pricing| {
                pricing.prompt = (*prompt).into();
                pricing.input_cache_reads = Some(prices[(at + 1) % 3].into());
                pricing.audio = Some(prices[(at + 2) % 3].into());
                pricing.audio_output = Some("0.001".into());
            });
            let whole = Consumed { prompt: 30, completion: 20, ..Consumed::default() };
            for part in 0..900 {
                let (cached, written, audio) = (part % 31, part / 31, part * 7 % 31);
                let split = Consumed { cached, written, audio, audio_output: part % 21, ..whole };
                assert!(tariff.cost(split) <= tariff.most(whole, true), "{split:?}");
                let text = Consumed { audio: 0, audio_output: 0, ..split };
                assert!(tariff.cost(text) <= tariff.most(whole, false), "{text:?}");
            }
            assert!(tariff.most(whole, false) < tariff.most(whole, true));
        }
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
    fn what_is_saved_is_the_price_of_the_cheapest_other() {
        let [cheap, own] = ["0.001", "0.0001"].map(|request| {
            let more = |pricing: &mut Pricing| pricing.request = request.into();
            tariff(more)
        });
        let long = tariff(|pricing| (pricing.prompt, pricing.request) = ("1".into(), "0".into()));
        assert_eq!(own.saved(TAKEN, &[long, cheap]).to_string(), "0.0009");
        // Another one is the cheapest of an empty request.
        assert_eq!(own.saved(Consumed::default(), &[long, cheap]).to_string(), "0");
        assert_eq!(cheap.saved(TAKEN, &[own]), Picodollars::ZERO, "nothing is saved");
        assert_eq!(cheap.saved(TAKEN, &[]), Picodollars::ZERO);
    }

    #[test]
    fn strategies_are_told_the_nearest_floats() {
        let prices = tariff(|_| {}).prices();
        assert_eq!((prices.prompt, prices.cached), (0.000_000_15, 0.000_000_15));
        assert_eq!((prices.completion, prices.request), (6e-7, 0.001));
    }
}

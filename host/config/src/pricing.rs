//! Checks prices. Their text is read as decimals, never as floats.

use contract::{BadAmount, Picodollars};

use super::document::steps;
use super::models::Check;
use super::raw::models::RawPricing;
use super::{PathStep, Pricing};

impl Check<'_> {
    /// The prices under `at`. Those that are not given are of `default`.
    pub(super) fn pricing(
        &mut self,
        at: &[PathStep],
        raw: &RawPricing,
        default: &Pricing,
    ) -> Pricing {
        let cached = self.price(at, "input_cache_reads", raw.per_million);
        let short = self.price(at, "cached", raw.per_million);
        if cached.is_some() && short.is_some() {
            let at = [at, &steps!["pricing", "cached"]].concat();
            let message = "`cached` and `input_cache_reads` are the same price";
            self.errors.push(self.document.error(&at, message, "remove one of the two"));
        }
        let mut token = |key: &str, default: &String| {
            self.price(at, key, raw.per_million).unwrap_or_else(|| default.clone())
        };
        let prompt = token("prompt", &default.prompt);
        let completion = token("completion", &default.completion);
        let input_cache_writes = token("input_cache_writes", &default.input_cache_writes);
        let mut own = |key: &str, default: &Option<String>| {
            self.price(at, key, raw.per_million).or_else(|| default.clone())
        };
        let audio = own("audio", &default.audio);
        let audio_output = own("audio_output", &default.audio_output);
        Pricing {
            prompt,
            completion,
            image: self.price(at, "image", false).unwrap_or_else(|| default.image.clone()),
            request: self.price(at, "request", false).unwrap_or_else(|| default.request.clone()),
            input_cache_writes,
            audio,
            audio_output,
            input_cache_reads: short.or(cached).or_else(|| default.input_cache_reads.clone()),
            hourly: self.price(at, "hourly", false).or_else(|| default.hourly.clone()),
        }
    }

    /// One price, as dollars of one token, image, request or hour. Its text is kept as it is
    /// written, unless it is the price of a million tokens.
    fn price(&mut self, at: &[PathStep], key: &str, per_million: bool) -> Option<String> {
        let at = [at, &steps!["pricing", key]].concat();
        let text = self.document.text(&at).filter(|text| !text.is_empty())?;
        let read = match per_million {
            true => Picodollars::from_decimal_per_million(text).map(|price| price.to_string()),
            false => Picodollars::from_decimal(text).map(|_| text.to_owned()),
        };
        let (message, help) = match read {
            Ok(price) => return Some(price),
            Err(BadAmount::NotANumber | BadAmount::Negative) => (
                "a price is a number, at least 0".to_owned(),
                "write dollars as a decimal: \"0.0000015\"",
            ),
            Err(BadAmount::TooFine) if per_million => (
                "a price of a million tokens has at most 6 decimals".to_owned(),
                "costs are counted in units of 0.000000000001 dollars a token",
            ),
            Err(error) => {
                (error.to_string(), "costs are counted in units of 0.000000000001 dollars")
            }
        };
        self.errors.push(self.document.error(&at, message, help));
        Some("0".to_owned())
    }
}

impl Default for Pricing {
    /// All prices are 0.
    fn default() -> Self {
        let zero = || "0".to_owned();
        Self {
            prompt: zero(),
            completion: zero(),
            image: zero(),
            request: zero(),
            input_cache_reads: None,
            input_cache_writes: zero(),
            audio: None,
            audio_output: None,
            hourly: None,
        }
    }
}

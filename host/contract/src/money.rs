//! Amounts of money as exact integers. Prices of tokens have up to twelve decimals, and a sum of
//! floats is not exact: a budget would drift by what was added up.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

/// Picodollars in a dollar.
const DOLLAR: u64 = 1_000_000_000_000;
/// Decimals of a dollar that an amount can have.
const DECIMALS: i64 = 12;
/// Powers of ten by which a price of one token is smaller than the price of a million.
const MILLION: i64 = -6;

/// US dollars in units of 10^-12 dollars, from 0 to [`Picodollars::MAX`], 18,446,744 dollars.
///
/// Sums and products saturate: an amount never wraps around to a small one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Picodollars(u64);

/// Why a text is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAmount {
    /// Not a decimal number.
    #[error("this is not a decimal number")]
    NotANumber,
    /// Below 0.
    #[error("an amount is at least 0")]
    Negative,
    /// Smaller parts than 10^-12 dollars.
    #[error("the smallest part of a dollar is 0.000000000001 (12 decimals)")]
    TooFine,
    /// More than [`Picodollars::MAX`].
    #[error("an amount is at most {} dollars", Picodollars::MAX)]
    TooLarge,
}

impl Picodollars {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount.
    pub const MAX: Self = Self(u64::MAX);

    /// An amount in units of 10^-12 dollars.
    #[must_use]
    pub const fn new(picodollars: u64) -> Self {
        Self(picodollars)
    }

    /// The amount in units of 10^-12 dollars.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Reads dollars from decimal text, without rounding: `0.0000005`, `15`, `.5`, `1.5e-6`.
    ///
    /// # Errors
    /// If the text is not a decimal number, or the amount has no exact value.
    pub fn from_decimal(text: &str) -> Result<Self, BadAmount> {
        scaled(text, 0)
    }

    /// Reads the price of one token from the price of a million tokens, likewise: `0.15` is
    /// 0.00000015 dollars a token.
    ///
    /// # Errors
    /// As [`from_decimal`](Self::from_decimal).
    pub fn from_decimal_per_million(text: &str) -> Result<Self, BadAmount> {
        scaled(text, MILLION)
    }

    /// The sum. The largest amount if it is larger.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference. Nothing if `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The price of `count` things that cost this amount each. The largest amount if it is larger.
    #[must_use]
    pub const fn saturating_mul(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// The sum. None if it is larger than the largest amount.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference. None if `other` is larger.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// The price of `count` things that cost this amount each. None if it is larger than the
    /// largest amount.
    #[must_use]
    pub const fn checked_mul(self, count: u64) -> Option<Self> {
        match self.0.checked_mul(count) {
            Some(product) => Some(Self(product)),
            None => None,
        }
    }

    /// True for nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The nearest float, in dollars: for strategies and displays. Never add these up.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
    pub fn as_dollars(self) -> f64 {
        self.0 as f64 / DOLLAR as f64
    }
}

impl Sum for Picodollars {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

impl FromStr for Picodollars {
    type Err = BadAmount;

    fn from_str(text: &str) -> Result<Self, BadAmount> {
        Self::from_decimal(text)
    }
}

/// Dollars as a decimal number with all its digits and no trailing zeros: `0.0000005`, `15`. A
/// precision gives at least that many decimals, and never drops a digit: `{:.2}` gives `15.00`.
impl fmt::Display for Picodollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, mut part) = (self.0 / DOLLAR, self.0 % DOLLAR);
        let mut digits = [b'0'; DECIMALS as usize];
        for digit in digits.iter_mut().rev() {
            *digit += (part % 10) as u8;
            part /= 10;
        }
        let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        let decimals = f.precision().unwrap_or(0).clamp(kept, digits.len());
        match str::from_utf8(&digits[..decimals]) {
            Ok("") | Err(_) => write!(f, "{whole}"),
            Ok(decimals) => write!(f, "{whole}.{decimals}"),
        }
    }
}

/// Reads a decimal number that is multiplied by ten to the power of `scale` dollars.
fn scaled(text: &str, scale: i64) -> Result<Picodollars, BadAmount> {
    let (is_negative, text) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, self::exponent(exponent)?),
        None => (text, 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = || whole.bytes().chain(part.bytes());
    if all().next().is_none() || !all().all(|byte| byte.is_ascii_digit()) {
        return Err(BadAmount::NotANumber);
    }
    // Zero has no size and no sign, whatever its exponent.
    let Some(zeros) = all().rev().position(|digit| digit != b'0') else {
        return Ok(Picodollars::ZERO);
    };
    let last = whole.len() + part.len() - 1 - zeros;
    if is_negative {
        return Err(BadAmount::Negative);
    }
    let mut units: u64 = 0;
    for digit in all().take(last + 1) {
        let more = units.checked_mul(10).and_then(|ten| ten.checked_add(u64::from(digit - b'0')));
        units = more.ok_or(BadAmount::TooLarge)?;
    }
    // The power of ten of the last digit that is not 0, in picodollars.
    let place = i64::try_from(whole.len()).unwrap_or(i64::MAX);
    let last = i64::try_from(last).unwrap_or(i64::MAX);
    let power = (place - 1 - last).saturating_add(exponent) + scale + DECIMALS;
    if power < 0 {
        return Err(BadAmount::TooFine);
    }
    let power = u32::try_from(power).ok().and_then(|power| 10_u64.checked_pow(power));
    let amount = power.and_then(|power| units.checked_mul(power));
    amount.map(Picodollars).ok_or(BadAmount::TooLarge)
}

/// The exponent of a number in scientific notation. One of many digits counts as very large: the
/// amount is then zero or out of range.
fn exponent(text: &str) -> Result<i64, BadAmount> {
    /// Above every exponent that an amount can have, and far from an overflow.
    const FAR: i64 = i64::MAX / 4;
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => (-1, &text[1..]),
        [b'+', ..] => (1, &text[1..]),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadAmount::NotANumber);
    }
    Ok(sign * digits.parse().unwrap_or(FAR).min(FAR))
}

#[cfg(test)]
#[path = "money_tests.rs"]
mod tests;

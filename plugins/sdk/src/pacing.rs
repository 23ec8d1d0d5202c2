//! Pacing of a budget, so that its money lasts its window.
//!
//! A strategy weighs dollars against something else, such as waiting, and a *shadow price* says what a
//! dollar is worth in it. [`price`] makes it grow exponentially with the money that is spent ahead of
//! time. That is dual mirror descent with an entropic regulariser: S. Balseiro, H. Lu, V. Mirrokni,
//! "The Best of Many Worlds: Dual Mirror Descent for Online Allocation Problems", Operations Research
//! 71(1), 2023. Its update multiplies the price by `exp(step * (spent - planned))` after each request. The
//! product over all requests depends on the sums alone, so no state is needed but the budget's own.

use crate::parameters::Fraction;
use crate::{Needs, Signals};

/// The price changes by at most this many doublings.
const MOST: f64 = 30.0;

/// The global signals that [`lead`] reads, in its order.
#[must_use]
pub fn signals(budget: &str) -> [String; 2] {
    [format!("budget.{budget}.elapsed"), format!("budget.{budget}.pace")]
}

/// The share of the budget that is spent, less the share of its window that is over. Above 0, the money
/// goes faster than the time. `nth` is the position of its [`signals`] among the global ones, in a call
/// with so many deployments. None: the budget does not count for the request.
#[must_use]
pub fn lead(signals: &Signals, deployments: usize, nth: usize) -> Option<f64> {
    let [elapsed, pace] = [0, 1].map(|at| signals.global(deployments, nth + at));
    let lead = elapsed * pace - elapsed;
    (!lead.is_nan()).then_some(lead)
}

/// The factor of the shadow price: 1 while the money goes as fast as the time, and twice as much with
/// each further `ahead`, a share of the amount, that is spent ahead of time. Linear between the
/// doublings, so that every machine computes the same bits.
#[must_use]
pub fn price(lead: f64, ahead: f64) -> f64 {
    let doublings = (lead / ahead).clamp(-MOST, MOST);
    if doublings.is_nan() {
        return 1.0;
    }
    let whole = doublings.floor();
    #[expect(clippy::cast_possible_truncation, reason = "it is within 30")]
    let power = 2_f64.powi(whole as i32);
    power * (1.0 + doublings - whole)
}

/// A budget that limits are stretched for, so that its money lasts.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// The share of the amount that doubles the factor. None: there is no budget.
    ahead: Option<f64>,
}

impl Stretch {
    /// Asks for the signals of a budget, as the only ones of the strategy. Works in `configure` alone.
    ///
    /// # Errors
    /// There is no such budget, or `ahead` is 0. The text is for the operator.
    pub fn by(budget: Option<&str>, ahead: Fraction, needs: Needs) -> Result<Self, String> {
        let Some(budget) = budget else { return Ok(Self { ahead: None }) };
        if ahead.get() == 0.0 {
            return Err("`ahead`: 0 is not above 0".to_owned());
        }
        crate::ask(&signals(budget), needs).map_err(|why| format!("`budget`: {why}"))?;
        Ok(Self { ahead: Some(ahead.get()) })
    }

    /// The factor of limits in a call with so many deployments: 1 while money goes as slowly as time, and
    /// the [`price`] else.
    #[must_use]
    pub fn factor(&self, deployments: usize) -> f64 {
        let Some(ahead) = self.ahead else { return 1.0 };
        let lead = lead(&Signals::read(0), deployments, 0);
        lead.map_or(1.0, |lead| price(lead, ahead).max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_doubles_with_each_share_ahead() {
        for (lead, factor) in
            [(0.0, 1.0), (0.02, 2.0), (0.01, 1.5), (0.06, 8.0), (-0.02, 0.5), (-0.03, 0.375)]
        {
            assert!((price(lead, 0.02) - factor).abs() < 1e-9, "{lead}");
        }
        assert_eq!(price(1.0, 0.02), price(0.7, 0.02), "it has an end");
        assert!(price(-1.0, 0.02) > 0.0);
        assert_eq!(price(0.0, 0.0), 1.0);
        let mut last = 0.0;
        for step in -100..100 {
            let next = price(f64::from(step) / 100.0 / 3.0, 0.02);
            assert!(next >= last, "{step}");
            last = next;
        }
    }

    #[test]
    fn limits_are_stretched_while_money_goes_faster_than_time() {
        let ahead = Fraction::percent(2);
        let stretch = Stretch::by(Some("b"), ahead, Needs::NOTHING).expect("known");
        assert_eq!(crate::testing::asked().0, signals("b"));
        for (elapsed, pace, factor) in
            [(0.5, 1.0, 1.0), (0.5, 1.08, 4.0), (0.5, 0.2, 1.0), (f64::NAN, 1.0, 1.0)]
        {
            crate::testing::set_signals(&[elapsed, pace]);
            assert!((stretch.factor(3) - factor).abs() < 1e-9, "{elapsed} {pace}");
        }
        let none = Stretch::by(None, ahead, Needs::NOTHING).expect("none");
        crate::testing::set_signals(&[0.5, 1.08]);
        assert_eq!(none.factor(3), 1.0);
        crate::testing::set_signals(&[]);
        let zero = Stretch::by(Some("b"), Fraction::percent(0), Needs::NOTHING).err();
        assert_eq!(zero.as_deref(), Some("`ahead`: 0 is not above 0"));
    }

    #[test]
    fn the_lead_is_what_is_spent_less_what_is_over() {
        let lead = |elapsed: f64, pace: f64| {
            crate::testing::set_signals(&[7.0, 9.0, elapsed, pace]);
            let lead = lead(&Signals::read(1), 2, 0);
            crate::testing::set_signals(&[]);
            lead
        };
        assert_eq!(lead(0.5, 1.5), Some(0.25));
        assert_eq!(lead(0.5, 0.0), Some(-0.5));
        assert_eq!(lead(f64::NAN, 1.0), None);
        assert_eq!(super::lead(&Signals::read(1), 2, 0), None);
        assert_eq!(signals("a.b"), ["budget.a.b.elapsed", "budget.a.b.pace"]);
    }
}

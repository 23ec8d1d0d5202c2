//! The rules that the parameters make: checked scorers and filters.

use gateway_strategy::{Deployment, Place, Side};

use crate::parameters::{self, Better, Filter, Scorer};
use crate::quantity::{self, Call, End, Quantity};

/// A scorer that was checked.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    quantity: Quantity,
    /// The share of this scorer in the score. Those of all scorers sum to 1.
    pub(crate) share: f64,
    /// The best and the worst end of the scale.
    ends: [End; 2],
    more_is_better: bool,
}

/// A filter that was checked. Values that are not known pass.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    quantity: Quantity,
    above: f64,
    below: f64,
}

/// What a scorer or filter goes by, of which exactly one must be given.
struct Subject<'p> {
    signal: Option<&'p str>,
    tag: Option<&'p str>,
    side: Option<parameters::Side>,
}

impl Subject<'_> {
    /// The number for it, or what is wrong.
    fn quantity(&self, places: &[Place], signals: &mut Vec<String>) -> Result<Quantity, String> {
        let yes_or_no = |is: &dyn Fn(&Place) -> bool| {
            Quantity::Fixed(places.iter().map(|place| f64::from(u8::from(is(place)))).collect())
        };
        match (self.signal, self.tag, self.side) {
            (Some(signal), None, None) if signal.starts_with("model.") => {
                Err(format!("the signal `{signal}` is of a model, not of a deployment"))
            }
            (Some(signal), None, None) => Ok(Quantity::named(signal, places, signals)),
            (None, Some(tag), None) => {
                known_tag(tag, places)?;
                Ok(yes_or_no(&|place| place.tags.iter().any(|one| one == tag)))
            }
            (None, None, Some(side)) => {
                let side = match side {
                    parameters::Side::Local => Side::Local,
                    parameters::Side::Remote => Side::Remote,
                };
                Ok(yes_or_no(&|place| place.side == side))
            }
            _ => Err("it needs one of signal, tag and side".to_owned()),
        }
    }
}

/// Checks that a deployment has this tag: one that none has is a typing mistake.
fn known_tag(tag: &str, places: &[Place]) -> Result<(), String> {
    /// The text lists at most this many tags.
    const SHOWN: usize = 16;

    let tags = || places.iter().flat_map(|place| &place.tags);
    if tags().any(|known| known == tag) {
        return Ok(());
    }
    let mut known: Vec<&str> = tags().map(String::as_str).collect();
    known.sort_unstable();
    known.dedup();
    let more = if known.len() > SHOWN { ", and more" } else { "" };
    known.truncate(SHOWN);
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(format!("no deployment has the tag `{tag}`; there are {known}{more}"))
}

impl Rule {
    /// Checks scorers. Adds the signals that they go by to `signals`.
    pub(crate) fn all(
        scorers: &[Scorer],
        places: &[Place],
        signals: &mut Vec<String>,
    ) -> Result<Vec<Self>, String> {
        if scorers.is_empty() {
            return Err("`scorers`: there must be one at least".to_owned());
        }
        let rule = |(index, scorer): (usize, &Scorer)| {
            let rule = Self::of(scorer, places, signals);
            rule.map_err(|why| format!("`scorers[{index}]`: {why}"))
        };
        let mut rules = (0..).zip(scorers).map(rule).collect::<Result<Vec<_>, _>>()?;
        // The largest weight first, so that no sum of weights is infinite.
        let largest = rules.iter().map(|rule| rule.share).fold(0.0, f64::max);
        let sum: f64 = rules.iter().map(|rule| rule.share / largest).sum();
        rules.iter_mut().for_each(|rule| rule.share = rule.share / largest / sum);
        Ok(rules)
    }

    fn of(scorer: &Scorer, places: &[Place], signals: &mut Vec<String>) -> Result<Self, String> {
        let Scorer { signal, tag, side, weight, better, best, worst } = scorer;
        let subject = Subject { signal: signal.as_deref(), tag: tag.as_deref(), side: *side };
        let quantity = subject.quantity(places, signals)?;
        if signal.is_none() && (best.is_some() || worst.is_some()) {
            return Err("best and worst are of signals: a tag or a side scores 1 or 0".to_owned());
        }
        let by_ends = best.zip(*worst).map(|(best, worst)| (best > worst, best == worst));
        let known = signal.as_deref().is_none_or(quantity::more_is_better);
        let more_is_better = match (better, by_ends) {
            (_, Some((_, true))) => return Err("best and worst are the same".to_owned()),
            (Some(Better::Higher), Some((false, _))) | (Some(Better::Lower), Some((true, _))) => {
                return Err("best and worst contradict better".to_owned());
            }
            (_, Some((more, _))) => more,
            (Some(better), None) => *better == Better::Higher,
            (None, None) => known,
        };
        let default = match signal {
            Some(name) => quantity::ends(name, more_is_better),
            None if more_is_better => [End::At(1.0), End::At(0.0)],
            None => [End::At(0.0), End::At(1.0)],
        };
        let ends = ends([*best, *worst], default, more_is_better);
        Ok(Self { quantity, share: weight.0.get(), ends, more_is_better })
    }

    /// True if it goes by the session of a request.
    pub(crate) fn is_of_session(&self) -> bool {
        self.quantity == Quantity::Session
    }

    /// True if it goes by the length of a prompt.
    pub(crate) fn is_of_prompt(&self) -> bool {
        self.ends.contains(&End::Prompt)
    }

    /// Adds its part to the score of each deployment that `is_in`. A deployment of unknown value gets
    /// the average of the others. If all score alike, nothing is added.
    pub(crate) fn add(
        &self,
        call: &Call<'_>,
        all: &[&Deployment],
        is_in: &[bool],
        (values, scores): (&mut [f64], &mut [f64]),
    ) {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        call.each(&self.quantity, all, is_in, |row, value| {
            values[row] = value;
            // `min` and `max` ignore NaN.
            (least, most) = (least.min(value), most.max(value));
        });
        if least > most {
            return;
        }
        let [best, worst] = self.scale([least, most], call.prompt);
        let sign = if self.more_is_better { 0.5 } else { -0.5 };
        // Halves, because a difference of whole numbers could be infinite.
        let span = best * sign - worst * sign;
        if span <= 0.0 {
            return;
        }
        let rows = || (0..all.len()).filter(|row| is_in[*row]);
        let (mut sum, mut known) = (0.0, 0.0);
        for row in rows() {
            values[row] = ((values[row] * sign - worst * sign) / span).clamp(0.0, 1.0);
            if !values[row].is_nan() {
                (sum, known) = (sum + values[row], known + 1.0);
            }
        }
        for row in rows() {
            let score = if values[row].is_nan() { sum / known } else { values[row] };
            scores[row] += self.share * score;
        }
    }

    /// The values that score 1 and 0, where the values go from `least` to `most`.
    fn scale(&self, [least, most]: [f64; 2], prompt: f64) -> [f64; 2] {
        let extremes = if self.more_is_better { [most, least] } else { [least, most] };
        let end = |at: usize| {
            let is_upper = (at == 0) == self.more_is_better;
            match self.ends[at] {
                End::At(value) => value,
                End::AtLeast(value) if is_upper => value.max(most),
                End::AtLeast(value) => value.min(least),
                End::Prompt if !prompt.is_nan() => prompt,
                End::Extreme | End::Prompt => extremes[at],
            }
        };
        [end(0), end(1)]
    }
}

/// The best and the worst end of a scale: those that are given, else the default ones. A default
/// that lies on the wrong side of a given one becomes the extreme.
fn ends(given: [Option<f64>; 2], default: [End; 2], more_is_better: bool) -> [End; 2] {
    let at = |end: &End| match end {
        End::At(value) | End::AtLeast(value) => Some(*value),
        End::Extreme | End::Prompt => None,
    };
    let ends = [0, 1].map(|end| given[end].map_or(default[end], End::At));
    match (at(&ends[0]), at(&ends[1])) {
        (Some(best), Some(worst)) if (best > worst) != more_is_better || best == worst => {
            [0, 1].map(|end| given[end].map_or(End::Extreme, End::At))
        }
        _ => ends,
    }
}

impl Gate {
    /// Checks filters. Adds the signals that they go by to `signals`.
    pub(crate) fn all(
        filters: &[Filter],
        places: &[Place],
        signals: &mut Vec<String>,
    ) -> Result<Vec<Self>, String> {
        let gate = |(index, filter): (usize, &Filter)| {
            let gate = Self::of(filter, places, signals);
            gate.map_err(|why| format!("`filters[{index}]`: {why}"))
        };
        (0..).zip(filters).map(gate).collect()
    }

    fn of(filter: &Filter, places: &[Place], signals: &mut Vec<String>) -> Result<Self, String> {
        let Filter { signal, above, below, tag, side } = filter;
        let subject = Subject { signal: signal.as_deref(), tag: tag.as_deref(), side: *side };
        let quantity = subject.quantity(places, signals)?;
        let (above, below) = match (signal, above, below) {
            (None, None, None) => (0.0, f64::INFINITY),
            (None, ..) => return Err("above and below are of signals".to_owned()),
            (Some(_), None, None) => return Err("a signal needs above or below".to_owned()),
            (Some(_), above, below) => {
                (above.unwrap_or(f64::NEG_INFINITY), below.unwrap_or(f64::INFINITY))
            }
        };
        match above < below {
            true => Ok(Self { quantity, above, below }),
            false => Err(format!("no number is above {above} and below {below}")),
        }
    }

    /// True if it goes by the session of a request.
    pub(crate) fn is_of_session(&self) -> bool {
        self.quantity == Quantity::Session
    }

    /// Takes the deployments that do not pass out of `is_in`, unless it would take all.
    pub(crate) fn narrow(
        &self,
        call: &Call<'_>,
        all: &[&Deployment],
        is_in: &mut [bool],
        passes: &mut Vec<bool>,
    ) {
        passes.clear();
        passes.resize(all.len(), false);
        let mut any = false;
        call.each(&self.quantity, all, is_in, |row, value| {
            // Comparisons with NaN are false.
            passes[row] = !(value <= self.above || value >= self.below);
            any |= passes[row];
        });
        if any {
            is_in.copy_from_slice(passes);
        }
    }
}

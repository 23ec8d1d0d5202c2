//! What is kept in the store: the times of a deployment, and what is known of a model's requests.

use crate::cost;
use crate::output::{BINS, Lengths, Mean};
use crate::profile::{KEPT, Profile, View};
use crate::shelf::Record;

/// The most costs that are remembered of a model.
const COSTS: usize = 256;
/// The range of these costs: the shares below which the lower and the upper end are.
const RANGE: [f64; 2] = [0.1, 0.9];

/// The measurements of a deployment, and what they say now.
#[derive(Debug, Default)]
pub(crate) struct Known {
    profile: Profile,
    /// None: the measurements have changed since the last look.
    view: Option<View>,
}

impl Known {
    /// The measurements.
    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The measurements, to be added to.
    pub(crate) fn profile_mut(&mut self) -> &mut Profile {
        self.view = None;
        &mut self.profile
    }

    /// Finds out what the measurements say now.
    pub(crate) fn look(&mut self, now: u64) {
        if self.view.as_ref().is_none_or(|view| now > view.until) {
            self.view = Some(self.profile.view(now));
        }
    }

    /// What they said at the last look.
    #[must_use]
    pub(crate) fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }
}

impl Record for Known {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let (streak, out_until) = (from.number()?, from.long()?);
        let mut measured = Vec::with_capacity(KEPT);
        while let (Some(second), Some(time)) = (from.number(), from.number()) {
            measured.push((u64::from(second) * 1_000, f64::from(f32::from_bits(time))));
        }
        Some(Self { profile: Profile { measured, streak, out_until }, view: None })
    }

    /// Times are kept to the second, and times to first byte to seven digits.
    fn write(&self) -> Vec<u8> {
        let Profile { measured, streak, out_until } = &self.profile;
        let mut bytes = streak.to_le_bytes().to_vec();
        bytes.extend(out_until.to_le_bytes());
        for (at, time) in measured {
            bytes.extend(u32::try_from(at / 1_000).unwrap_or(u32::MAX).to_le_bytes());
            #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough")]
            bytes.extend((*time as f32).to_le_bytes());
        }
        bytes
    }
}

/// What is known of a model's requests.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// The length of answers.
    pub(crate) lengths: Lengths,
    /// What recent requests would have cost at the cheapest deployment that is paid by the token, in
    /// dollars, the oldest first.
    costs: Vec<f64>,
    /// The lower and the upper end of these costs.
    range: Option<[f64; 2]>,
}

impl Usage {
    /// Learns what a request would have cost.
    pub(crate) fn add(&mut self, cost: f64) {
        let many = (self.costs.len() + 1).saturating_sub(COSTS);
        self.costs.drain(..many);
        self.costs.push(cost);
        self.find_range();
    }

    /// The cost that one in ten requests stays below, and the one that one in ten exceeds.
    #[must_use]
    pub(crate) fn range(&self) -> Option<[f64; 2]> {
        self.range
    }

    fn find_range(&mut self) {
        let mut sorted = self.costs.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let [low, high] = RANGE.map(|share| cost::quantile(&sorted, share));
        self.range = low.zip(high).map(|(low, high)| [low, high]);
    }
}

impl Record for Usage {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let mut mean = || Some(Mean { count: from.real()?, total: from.real()? });
        let all = mean()?;
        let mut bins = [Mean::default(); BINS];
        for bin in &mut bins {
            *bin = mean()?;
        }
        let costs = std::iter::from_fn(|| from.real()).collect();
        let mut usage = Self { lengths: Lengths { all, bins }, costs, range: None };
        usage.find_range();
        Some(usage)
    }

    fn write(&self) -> Vec<u8> {
        let Lengths { all, bins } = &self.lengths;
        let means = [all].into_iter().chain(bins).flat_map(|mean| [mean.count, mean.total]);
        means.chain(self.costs.iter().copied()).flat_map(f64::to_le_bytes).collect()
    }
}

/// Reads numbers, the lowest byte first.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn real(&mut self) -> Option<f64> {
        self.take().map(f64::from_le_bytes)
    }
}

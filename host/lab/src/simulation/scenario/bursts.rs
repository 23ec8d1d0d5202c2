//! When bursts are, and recorded requests that come faster in them.

use std::time::Duration;

use super::{Bursts, Recorded};

impl Bursts {
    /// True during a burst.
    pub(super) fn is_on(&self, at: Duration) -> bool {
        let (every, at) = (self.every.as_nanos(), at.as_nanos());
        at >= every && at % every < self.lasting.as_nanos()
    }

    /// Requests that were recorded at `speed` come at the speed of bursts while there is one. Their order
    /// stays. Of the record nothing is left out: bursts make it shorter.
    pub(super) fn compress(&self, requests: Vec<Recorded>, speed: f64) -> Vec<Recorded> {
        // The part that is played now: its start in the record and in the simulation, its end.
        let (mut from, mut since, mut ends) = (Duration::ZERO, Duration::ZERO, self.every);
        let mut faster = 1.0;
        let move_up = |mut request: Recorded| {
            loop {
                let at = since + (request.at - from).div_f64(faster);
                if at < ends {
                    request.at = at;
                    return request;
                }
                from += (ends - since).mul_f64(faster);
                since = ends;
                let is_on = self.is_on(since);
                faster = if is_on { self.rate / speed } else { 1.0 };
                ends += if is_on { self.lasting } else { self.every - self.lasting };
            }
        };
        requests.into_iter().map(move_up).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_record_is_played_faster_in_bursts() {
        let request = |second| Recorded {
            at: Duration::from_secs(second),
            prompt: 1,
            output: None,
            stream: true,
            blocks: Arc::default(),
        };
        let bursts =
            Bursts { every: Duration::from_secs(10), lasting: Duration::from_secs(4), rate: 4.0 };
        // From 10 to 14 s, and from 20 to 24 s, four times as fast as the record; else twice. The seconds
        // are those at twice the speed.
        let requests = [0, 9, 10, 12, 17, 18, 20, 24, 32, 33].map(request).to_vec();
        let played = bursts.compress(requests, 2.0);
        let times: Vec<f64> = played.iter().map(|request| request.at.as_secs_f64()).collect();
        assert_eq!(times, [0.0, 9.0, 10.0, 11.0, 13.5, 14.0, 16.0, 20.0, 24.0, 25.0]);
    }
}

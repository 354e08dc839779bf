//! The rule by which both forms of Prequal choose among answers, "hot-cold lexicographic": a server with more requests than a
//! quantile of recent answers is hot. Cold servers come first, by latency; hot ones after them, by requests.

use super::{Context, Finished, LoadReport, Outcome, renew};
use crate::fleet::Change;
use crate::units::Nanos;

/// Number of recent answers over which the quantile is taken.
const RECENT: usize = 128;

/// Recent loads in probe replies, their quantile, and the servers that failed recently.
#[derive(Clone)]
pub(super) struct HotCold {
    quantile: f64,
    shun: Nanos,
    /// A ring buffer, in order of arrival.
    recent: [u32; RECENT],
    /// The same values, ascending. Computing the quantile for each reply was most of the cost of a pick.
    sorted: [u32; RECENT],
    len: usize,
    next: usize,
    threshold: u32,
    /// By slot.
    shunned_until: Vec<Nanos>,
}

/// What [`Rank::score`] is.
pub(super) const MEANING: &str =
    "latency in the server's answer in seconds; for a hot server a million and its requests";

/// The rank of an answer: lower is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rank {
    hot: bool,
    by: f64,
}

impl Rank {
    pub(super) fn cmp(&self, other: &Rank) -> std::cmp::Ordering {
        self.hot.cmp(&other.hot).then(self.by.total_cmp(&other.by))
    }

    /// As one number, for explanations.
    pub(super) fn score(&self) -> f64 {
        if self.hot { 1e6 + self.by } else { self.by }
    }
}

/// The latency in a report, seconds.
pub(super) fn latency(load: &LoadReport) -> f64 {
    if load.latency > 0.0 { load.latency } else { load.response_time }
}

impl HotCold {
    pub(super) fn new(quantile: f64, shun: Nanos) -> HotCold {
        HotCold {
            quantile,
            shun,
            recent: [0; RECENT],
            sorted: [0; RECENT],
            len: 0,
            next: 0,
            threshold: u32::MAX,
            shunned_until: Vec::new(),
        }
    }

    /// Adds the load of a reply.
    pub(super) fn note(&mut self, rif: u32) {
        let oldest = std::mem::replace(&mut self.recent[self.next], rif);
        self.next = (self.next + 1) % RECENT;
        if self.len == RECENT {
            let at = self.sorted.partition_point(|&other| other < oldest);
            self.sorted.copy_within(at + 1.., at);
            self.len -= 1;
        }
        let at = self.sorted[..self.len].partition_point(|&other| other < rif);
        self.sorted.copy_within(at..self.len, at + 1);
        self.sorted[at] = rif;
        self.len += 1;
        let at = ((self.quantile * self.len as f64) as usize).min(self.len - 1);
        self.threshold = if self.quantile >= 1.0 { u32::MAX } else { self.sorted[at] };
    }

    pub(super) fn rank(&self, slot: u32, rif: u32, latency: f64, now: Nanos) -> Rank {
        let shunned = self.shunned_until[slot as usize] > now;
        match shunned || rif > self.threshold {
            true => Rank { hot: true, by: f64::from(rif) + if shunned { 1e9 } else { 0.0 } },
            false => Rank { hot: false, by: latency },
        }
    }

    /// Marks a server that failed, for a while.
    pub(super) fn finished(&mut self, finished: &Finished, cx: &Context<'_>) {
        if finished.outcome == Outcome::Failed && cx.fleet.is_current(finished.backend) {
            self.shunned_until[finished.backend.slot as usize] = cx.now.saturating_add(self.shun);
        }
    }

    /// A new server does not inherit the mark of the slot's former server.
    pub(super) fn fleet(&mut self, changes: &[Change], cx: &Context<'_>) {
        renew(&mut self.shunned_until, changes, cx.fleet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, Source};

    /// A slow reference implementation: sorts the last replies each time.
    #[test]
    fn the_threshold_is_the_quantile_of_the_last_answers() {
        let mut rng = Rng::stream(1, "test", 0);
        for quantile in [0.0, 0.5, 0.840_896, 0.999] {
            let mut rule = HotCold::new(quantile, Nanos::ZERO);
            let mut all: Vec<u32> = Vec::new();
            for step in 0..2000 {
                let rif = rng.below(1 + step / 10) as u32;
                rule.note(rif);
                all.push(rif);
                let mut last = all[all.len().saturating_sub(RECENT)..].to_vec();
                last.sort_unstable();
                let at = ((quantile * last.len() as f64) as usize).min(last.len() - 1);
                assert_eq!(rule.threshold, last[at], "step {step}");
            }
        }
        let mut latency_alone = HotCold::new(1.0, Nanos::ZERO);
        latency_alone.note(7);
        assert_eq!(latency_alone.threshold, u32::MAX, "no server is hot");
    }
}

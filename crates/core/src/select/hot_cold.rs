//! The rule by which both forms of Prequal choose among answers, "hot-cold lexicographic": who has more requests than most
//! answers lately told of is hot; the cold come first, by latency; the hot after them, by requests.

use super::{Context, Finished, LoadReport, Outcome, renew};
use crate::fleet::Change;
use crate::units::Nanos;

/// Answers whose requests make the quantile.
const RECENT: usize = 128;

/// The latest numbers of requests that servers told, their quantile, and who is shunned.
pub(super) struct HotCold {
    quantile: f64,
    shun: Nanos,
    /// In the order in which they came, round and round.
    recent: [u32; RECENT],
    /// The same, ascending: a select among them all for each answer was most of what a pick cost.
    sorted: [u32; RECENT],
    len: usize,
    next: usize,
    threshold: u32,
    /// By slot.
    shunned_until: Vec<Nanos>,
}

/// How good an answer is: less is better.
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

/// The latency that a report tells of, seconds.
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

    /// A server has told how many requests it has.
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

    /// Who fails is shunned for a while.
    pub(super) fn finished(&mut self, finished: &Finished, cx: &Context<'_>) {
        if finished.outcome == Outcome::Failed && cx.fleet.is_current(finished.backend) {
            self.shunned_until[finished.backend.slot as usize] = cx.now.saturating_add(self.shun);
        }
    }

    /// A newcomer is shunned for nothing that its predecessor did.
    pub(super) fn fleet(&mut self, changes: &[Change], cx: &Context<'_>) {
        renew(&mut self.shunned_until, changes, cx.fleet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, Source};

    /// The slow obvious version: sort the last answers each time.
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
        assert_eq!(latency_alone.threshold, u32::MAX, "nobody is hot");
    }
}

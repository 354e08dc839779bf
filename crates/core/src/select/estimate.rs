//! Building blocks of several strategies: a table of learned weights, averages over time.

use super::{Context, Request, candidates};
use crate::fleet::Fleet;
use crate::math;
use crate::rng::Source;
use crate::units::Nanos;

/// Learned weights by slot, and their running sums over the eligible slots, for weighted draws.
#[derive(Default)]
pub(super) struct WeightTable {
    weights: Vec<f64>,
    slots: Vec<u32>,
    sums: Vec<f64>,
}

impl WeightTable {
    /// Computes the weights of the eligible slots; the others get zero.
    pub(super) fn rebuild(&mut self, fleet: &Fleet, mut weight: impl FnMut(u32) -> f64) {
        self.weights.clear();
        self.weights.resize(fleet.slots(), 0.0);
        self.slots.clear();
        self.slots.extend_from_slice(fleet.eligible());
        let mut sum = 0.0;
        self.sums.clear();
        for &slot in &self.slots {
            let weight = weight(slot);
            self.weights[slot as usize] = weight;
            sum += weight;
            self.sums.push(sum);
        }
    }

    /// A slot's weight; zero for slots that were not eligible.
    pub(super) fn weight(&self, slot: u32) -> f64 {
        self.weights.get(slot as usize).copied().unwrap_or(0.0)
    }

    /// One candidate in proportion to weight, none of `taken`; the last candidate if all weights are zero.
    pub(super) fn draw(&self, request: &Request<'_>, taken: &[u32], cx: &mut Context<'_>) -> Option<u32> {
        const TRIES: usize = 8;
        let total = *self.sums.last()?;
        for _ in 0..TRIES {
            let point = cx.rng.unit() * total;
            let at = self.sums.partition_point(|&sum| sum <= point).min(self.slots.len() - 1);
            let slot = self.slots[at];
            if !request.excludes(slot) && !taken.contains(&slot) {
                return Some(slot);
            }
        }
        let left = || candidates(request, cx.fleet).filter(|slot| !taken.contains(slot));
        let mut point = cx.rng.unit() * left().map(|slot| self.weight(slot)).sum::<f64>();
        let found = left().find(|&slot| {
            point -= self.weight(slot);
            point < 0.0
        });
        found.or_else(|| left().last())
    }
}

/// An exponentially weighted moving average over time: a sample's weight falls by the factor e in each `decay`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ewma {
    /// The estimate and when it was made; `None` before the first sample.
    state: Option<(f64, Nanos)>,
}

impl Ewma {
    /// Adds `sample`. A sample above `peak`, the present value of the estimate, replaces it at once; otherwise the average
    /// falls slowly.
    pub(super) fn observe(&mut self, sample: f64, now: Nanos, decay: Nanos, peak: f64) {
        let value = match self.state {
            Some(_) if sample > peak => sample,
            Some((value, at)) => {
                let keep = fading(now.saturating_sub(at), decay);
                value * keep + sample * (1.0 - keep)
            }
            None => sample,
        };
        self.state = Some((value, now));
    }

    /// The estimate as of its last sample.
    pub(super) fn value(&self) -> Option<f64> {
        self.state.map(|(value, _)| value)
    }

    /// The estimate, decayed towards zero since its last sample.
    pub(super) fn faded(&self, now: Nanos, decay: Nanos) -> Option<f64> {
        self.state.map(|(value, at)| value * fading(now.saturating_sub(at), decay))
    }

    /// The estimate, decayed towards `usual` since its last sample.
    pub(super) fn fallen_back(&self, now: Nanos, decay: Nanos, usual: f64) -> Option<f64> {
        self.state.map(|(value, at)| usual + (value - usual) * fading(now.saturating_sub(at), decay))
    }
}

/// `e^(-elapsed / decay)`: the remaining weight of a sample.
pub(super) fn fading(elapsed: Nanos, decay: Nanos) -> f64 {
    math::exp(-(elapsed.0 as f64) / (decay.0.max(1) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_falls_by_e_per_decay_and_rises_at_once() {
        let decay = Nanos::from_secs(10);
        let mut ewma = Ewma::default();
        ewma.observe(1.0, Nanos::ZERO, decay, f64::INFINITY);
        assert!((ewma.faded(Nanos::from_secs(10), decay).unwrap() - 0.367_879).abs() < 1e-6);
        let read = |ewma: &Ewma, at| ewma.faded(at, decay).unwrap();
        let at = Nanos::from_secs(1);
        ewma.observe(3.0, at, decay, read(&ewma, at));
        assert_eq!(ewma.value(), Some(3.0));
        let at = Nanos::from_secs(11);
        ewma.observe(1.0, at, decay, read(&ewma, at));
        // 3/e + 1(1 - 1/e)
        assert!((ewma.value().unwrap() - 1.735_759).abs() < 1e-6);
        // A penalty of 5 s that has decayed to 34 ms in 50 s: 40 ms are a peak again and replace the penalty.
        let mut ewma = Ewma::default();
        ewma.observe(5.0, Nanos::ZERO, decay, f64::INFINITY);
        let at = Nanos::from_secs(50);
        ewma.observe(0.04, at, decay, read(&ewma, at));
        assert_eq!(ewma.value(), Some(0.04));
    }
}

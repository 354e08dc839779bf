//! Latency samples of a server, for its load reports.

use evenkeel_core::units::Nanos;

/// Recent times in the server by the number of requests that each request found there, as Prequal's servers report them
/// (Wydrowski et al., NSDI 2024). Numbers below 32 have a ring each, larger ones share four rings per octave.
#[derive(Debug)]
pub(super) struct Latencies {
    rings: Vec<Ring>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ring {
    nanos: [u64; Ring::SIZE],
    count: u32,
    at: Nanos,
    /// Nanoseconds, once it was asked for; `None` after a new sample.
    median: Option<u64>,
}

impl Ring {
    const SIZE: usize = 8;

    fn median(&mut self) -> Nanos {
        let (mut nanos, count) = (self.nanos, self.count);
        Nanos(*self.median.get_or_insert_with(|| {
            let sorted = &mut nanos[..Ring::SIZE.min(count as usize)];
            sorted.sort_unstable();
            sorted[sorted.len() / 2]
        }))
    }
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { rings: vec![Ring::default(); Latencies::ring_of(u32::MAX) + 1] }
    }
}

impl Latencies {
    /// Age after which samples are ignored.
    const GOOD_FOR: Nanos = Nanos::from_secs(10);

    fn ring_of(found: u32) -> usize {
        if found < 32 {
            return found as usize;
        }
        let octave = found.ilog2();
        (32 + (octave - 5) * 4 + (found >> (octave - 2) & 3)) as usize
    }

    pub(super) fn note(&mut self, now: Nanos, took: Nanos, found: u32) {
        let ring = &mut self.rings[Latencies::ring_of(found)];
        if now.saturating_sub(ring.at) > Latencies::GOOD_FOR {
            ring.count = 0;
        }
        ring.nanos[ring.count as usize % Ring::SIZE] = took.0;
        ring.count = ring.count.wrapping_add(1).max(1);
        (ring.at, ring.median) = (now, None);
    }

    /// The median of the requests that found this many, or else the nearest number with samples; seconds, zero without any.
    pub(super) fn at(&mut self, now: Nanos, number: u32) -> f64 {
        let middle = Latencies::ring_of(number);
        let known = |ring: &Ring| ring.count > 0 && now.saturating_sub(ring.at) <= Latencies::GOOD_FOR;
        let near = (0..self.rings.len()).find_map(|off| {
            let both = [middle.checked_sub(off), Some(middle + off)];
            both.into_iter().flatten().find(|&at| self.rings.get(at).is_some_and(known))
        });
        near.map_or(0.0, |at| self.rings[at].median().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_reported_by_number_of_requests_found() {
        let mut all = Latencies::default();
        let ms = Nanos::from_millis;
        assert_eq!(all.at(ms(0), 3), 0.0, "nothing is known");
        for took in [10, 90, 20] {
            all.note(ms(1), ms(took), 2);
        }
        all.note(ms(1), ms(500), 6);
        assert_eq!(all.at(ms(1), 2), 0.02);
        assert_eq!((all.at(ms(1), 4), all.at(ms(1), 5)), (0.02, 0.5), "the nearest, the lower of two");
        (0..8).for_each(|_| all.note(ms(2), ms(70), 2));
        assert_eq!(all.at(ms(2), 0), 0.07, "the newest count");
        assert_eq!(all.at(ms(10_003), 0), 0.0, "nothing of the last ten seconds is known");
        all.note(ms(11_000), ms(5), u32::MAX);
        assert_eq!(all.at(ms(11_000), u32::MAX), 0.005);
        // The ranges of the rings are contiguous.
        let rings: Vec<usize> = (0..100_000).map(Latencies::ring_of).collect();
        assert!(rings.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
    }
}

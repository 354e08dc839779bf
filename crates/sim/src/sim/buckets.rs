//! Counts of durations in the buckets of a histogram with two significant digits, for the bins of a time series. The buckets
//! are hdrhistogram's. Counting takes a tenth of its time, and so does reading what a bin has counted, since only buckets that
//! hold something are visited.

/// Values below 2^8 have a bucket each; further buckets are 1/128 to 1/256 of their values wide.
const BITS: u32 = 8;
const HALF: usize = 1 << (BITS - 1);

/// Counts by bucket.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    counts: Vec<u64>,
    /// One bit for each bucket that holds something.
    occupied: Vec<u64>,
}

/// The bucket of a value.
#[inline(always)]
fn bucket_of(value: u64) -> usize {
    let octave = 64 - BITS - (value | ((1 << BITS) - 1)).leading_zeros();
    octave as usize * HALF + (value >> octave) as usize
}

/// The highest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let octave = (bucket / HALF).saturating_sub(1);
    let within = (bucket - octave * HALF) as u64;
    ((within + 1) << octave) - 1
}

impl Buckets {
    /// Counts a value.
    #[inline]
    pub(super) fn record(&mut self, value: u64) {
        let bucket = bucket_of(value);
        if bucket >= self.counts.len() {
            self.grow(bucket);
        }
        self.counts[bucket] += 1;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
    }

    #[cold]
    fn grow(&mut self, bucket: usize) {
        let words = bucket / 64 + 1;
        self.occupied.resize(words, 0);
        self.counts.resize(words * 64, 0);
    }

    /// The buckets that hold something as (highest value, count), ascending; all are empty afterwards.
    pub(super) fn take(&mut self) -> Vec<(u64, u64)> {
        let number = self.occupied.iter().map(|word| word.count_ones() as usize).sum();
        let mut taken = Vec::with_capacity(number);
        for (at, word) in self.occupied.iter_mut().enumerate() {
            while *word != 0 {
                let bucket = at * 64 + word.trailing_zeros() as usize;
                taken.push((highest(bucket), std::mem::take(&mut self.counts[bucket])));
                *word &= *word - 1;
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::rng::{Rng, Source};
    use hdrhistogram::Histogram;

    #[test]
    fn values_are_counted_as_a_histogram_counts_them() {
        let mut rng = Rng::stream(1, "latencies", 0);
        let mut buckets = Buckets::default();
        for number in [0, 1, 7, 3000, 12] {
            let mut histogram: Histogram<u64> = Histogram::new(2).unwrap();
            for _ in 0..number {
                let bits = rng.below(61);
                let value = 1 + rng.below(1 << bits);
                buckets.record(value);
                histogram.record(value).unwrap();
            }
            let expected = histogram.iter_recorded().map(|v| (v.value_iterated_to(), v.count_since_last_iteration()));
            assert_eq!(buckets.take(), expected.collect::<Vec<_>>(), "{number}");
        }
        // The ends of the buckets.
        for value in (0..60).flat_map(|bits| [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1]).filter(|&v| v > 0) {
            let histogram: Histogram<u64> = Histogram::new(2).unwrap();
            assert_eq!(highest(bucket_of(value)), histogram.highest_equivalent(value), "{value}");
        }
    }
}

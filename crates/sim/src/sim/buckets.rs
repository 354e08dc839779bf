//! Counts of durations in the buckets of a histogram, hdrhistogram's. Counting takes a tenth of its time, and so does reading
//! what has been counted, since only buckets that hold something are visited.

/// Counts by bucket. Values below 2^`BITS` have a bucket each; further buckets are 2^(1 - `BITS`) to 2^-`BITS` of their values
/// wide: 8 bits are two significant digits, 11 bits three.
#[derive(Clone, Debug, Default)]
pub(super) struct Buckets<const BITS: u32> {
    counts: Vec<u64>,
    /// One bit for each bucket that holds something.
    occupied: Vec<u64>,
}

impl<const BITS: u32> Buckets<BITS> {
    const HALF: usize = 1 << (BITS - 1);

    /// The bucket of a value.
    #[inline(always)]
    fn bucket_of(value: u64) -> usize {
        let octave = 64 - BITS - (value | ((1 << BITS) - 1)).leading_zeros();
        octave as usize * Self::HALF + (value >> octave) as usize
    }

    /// The highest value of a bucket.
    fn highest(bucket: usize) -> u64 {
        let octave = (bucket / Self::HALF).saturating_sub(1);
        let within = (bucket - octave * Self::HALF) as u64;
        ((within + 1) << octave) - 1
    }

    /// Counts a value.
    #[inline]
    pub(super) fn record(&mut self, value: u64) {
        let bucket = Self::bucket_of(value);
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
                taken.push((Self::highest(bucket), std::mem::take(&mut self.counts[bucket])));
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

    /// Compares with a histogram of so many significant digits.
    fn agrees_with_a_histogram<const BITS: u32>(digits: u8) {
        let mut rng = Rng::stream(1, "latencies", 0);
        let mut buckets = Buckets::<BITS>::default();
        for number in [0, 1, 7, 3000, 12] {
            let mut histogram: Histogram<u64> = Histogram::new(digits).unwrap();
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
            let histogram: Histogram<u64> = Histogram::new(digits).unwrap();
            let highest = Buckets::<BITS>::highest(Buckets::<BITS>::bucket_of(value));
            assert_eq!(highest, histogram.highest_equivalent(value), "{value}");
        }
    }

    #[test]
    fn values_are_counted_as_a_histogram_counts_them() {
        agrees_with_a_histogram::<8>(2);
        agrees_with_a_histogram::<11>(3);
    }
}

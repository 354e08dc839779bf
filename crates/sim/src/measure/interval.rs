//! Student's intervals over independent replications.

use statrs::distribution::{ContinuousCDF, StudentsT};

use evenkeel_core::math;

/// The level of every interval in the results: 95 %.
pub const LEVEL: f64 = 0.95;

/// A mean over replications with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Mean over replications; NaN where none has a value.
    pub value: f64,
    /// Lower end of the interval; NaN with fewer than two replications.
    pub low: f64,
    /// Upper end of the interval; NaN with fewer than two replications.
    pub high: f64,
    /// Replications that have a value.
    pub replications: usize,
}

impl Estimate {
    /// The estimate from no values.
    pub const NONE: Estimate = Estimate { value: f64::NAN, low: f64::NAN, high: f64::NAN, replications: 0 };

    /// Half the width of the interval, relative to the mean; not a number where there is no interval.
    pub fn relative_half_width(&self) -> f64 {
        (self.high - self.low) / 2.0 / self.value.abs()
    }
}

/// Mean and t interval at [`LEVEL`] of independent values; those that are not numbers are left out.
pub fn estimate(values: &[f64]) -> Estimate {
    estimate_at(values, LEVEL)
}

/// Mean and t interval at another level.
pub fn estimate_at(values: &[f64], level: f64) -> Estimate {
    let sample = Sample::of(values);
    let (value, replications) = (sample.mean, sample.count);
    if replications < 2 {
        return Estimate { value, low: f64::NAN, high: f64::NAN, replications };
    }
    let half = quantile(replications as f64 - 1.0, level) * math::sqrt(sample.variance / replications as f64);
    Estimate { value, low: value - half, high: value + half, replications }
}

/// Mean of `new` minus mean of `old`, two independent samples whose variances may differ, with Welch's interval: Student's t
/// with the degrees of freedom of Welch and Satterthwaite. `replications` counts the smaller sample.
pub fn welch_at(old: &[f64], new: &[f64], level: f64) -> Estimate {
    let (old, new) = (Sample::of(old), Sample::of(new));
    let (value, replications) = (new.mean - old.mean, old.count.min(new.count));
    if replications < 2 {
        return Estimate { value, low: f64::NAN, high: f64::NAN, replications };
    }
    let squared = |sample: &Sample| sample.variance / sample.count as f64;
    let (a, b) = (squared(&old), squared(&new));
    // Where both variances are zero, the degrees of freedom are undefined and the width is zero.
    let half = if a + b > 0.0 {
        let freedom = (a + b) * (a + b) / (a * a / (old.count as f64 - 1.0) + b * b / (new.count as f64 - 1.0));
        quantile(freedom, level) * math::sqrt(a + b)
    } else {
        0.0
    };
    Estimate { value, low: value - half, high: value + half, replications }
}

/// Sum and mean of the values that are numbers.
struct Sample {
    count: usize,
    /// The mean; NaN without values.
    mean: f64,
    /// Unbiased variance; NaN with fewer than two values.
    variance: f64,
}

impl Sample {
    fn of(values: &[f64]) -> Sample {
        let values: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let n = values.len() as f64;
        let mean = if values.is_empty() { f64::NAN } else { values.iter().sum::<f64>() / n };
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0);
        Sample { count: values.len(), mean, variance: if values.len() < 2 { f64::NAN } else { variance } }
    }
}

/// The two-sided quantile of Student's t.
fn quantile(freedom: f64, level: f64) -> f64 {
    let student = StudentsT::new(0.0, 1.0, freedom).expect("degrees of freedom are positive");
    // Through a fixed number of digits: statrs computes with the platform's functions, whose last bits differ, and
    // results are to be the same bytes everywhere.
    (student.inverse_cdf(0.5 + level / 2.0) * 1e6).round() / 1e6
}

/// Correlation of each value with the next: Σ (x_i - x̄)(x_{i+1} - x̄) / Σ (x_i - x̄)². Batch means are independent enough for
/// an interval if it is near zero; its own standard error is about 1/√n.
pub fn lag_one(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let products: f64 = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    products / values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answer: n = 5, mean 3, s² = 2.5, t(0.975, 4) = 2.776445.
    #[test]
    fn matches_the_table_of_student() {
        let e = estimate(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let half = 2.776_445 * f64::sqrt(0.5);
        assert_eq!(e.value, 3.0);
        assert!((e.high - 3.0 - half).abs() < 1e-5 && (3.0 - e.low - half).abs() < 1e-5, "{e:?}");
    }

    /// By hand: 1, 2, 3, 4: deviations -1.5, -0.5, 0.5, 1.5; products 0.75 - 0.25 + 0.75 = 1.25; squares 5.
    #[test]
    fn neighbours_by_hand() {
        assert!((lag_one(&[1.0, 2.0, 3.0, 4.0]) - 0.25).abs() < 1e-12);
        assert!(lag_one(&[1.0, -1.0, 1.0, -1.0, 1.0, -1.0]) < -0.7);
    }

    /// Far quantiles, which corrections for many comparisons need: t(0.9995, 9) = 4.780913 and t(0.99995, 9) = 6.593683.
    #[test]
    fn the_far_tail_matches_the_table_too() {
        for (freedom, level, expected) in [(9.0, 0.999, 4.780_913), (9.0, 0.9999, 6.593_683), (1.0, 0.5, 1.0)] {
            let found = quantile(freedom, level);
            assert!((found - expected).abs() < 2e-6, "{freedom} {level}: {found}");
        }
    }

    /// The example of unequal means in the literature on Welch's test: two samples of 15. By hand:
    ///
    /// sums 312.3 and 344.8, means 20.82 and 22.98667, sums of squares about the mean 110.144 and 53.37733, so variances
    /// 7.867429 and 3.812667; a = 0.524495, b = 0.254178; standard error √0.778673 = 0.882425; t = 2.16667 / 0.882425 =
    /// 2.45536; freedom 0.778673² · 14 / (0.524495² + 0.254178²) = 24.9885. The published two-sided p is 0.021378: an
    /// interval at the level 1 − p ends at zero.
    #[test]
    fn welch_matches_the_published_example() {
        let a = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4];
        let b = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4];
        let e = welch_at(&a, &b, 1.0 - 0.021_378);
        assert!((e.value - 2.166_667).abs() < 1e-6, "{e:?}");
        assert!(e.low.abs() < 1e-5 && (e.high - 2.0 * e.value).abs() < 1e-5, "{e:?}");
        // t(0.975, 24.9885) = 2.05959 with the standard error above.
        let e = welch_at(&a, &b, 0.95);
        assert!((e.high - e.value - 2.059_586 * 0.882_425).abs() < 1e-4, "{e:?}");
    }

    #[test]
    fn welch_without_spread_is_a_point() {
        let e = welch_at(&[1.0, 1.0], &[1.5, 1.5, 1.5], 0.99);
        assert_eq!((e.value, e.low, e.high, e.replications), (0.5, 0.5, 0.5, 2));
        assert!(welch_at(&[1.0], &[1.5, 2.0], 0.99).low.is_nan());
    }

    #[test]
    fn one_value_has_no_interval() {
        let e = estimate(&[2.0, f64::NAN]);
        assert_eq!((e.value, e.replications), (2.0, 1));
        assert!(e.low.is_nan());
        assert!(estimate(&[]).value.is_nan());
    }
}

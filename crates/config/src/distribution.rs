//! Distributions of durations: the work of a request, the think time of a client, the delay of a hop.
//!
//! The samplers are our own because `rand_distr`'s values are not portable: they differ between platforms and depend on
//! other crates in the build (`num-traits/std` by feature unification). These use integer arithmetic, IEEE basic operations
//! and `libm` only, and give the same bits everywhere. The tests compare them with `rand_distr` and `statrs`.

use std::sync::{Arc, OnceLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use evenkeel_core::math;
use evenkeel_core::rng::Source;
use evenkeel_core::units::{Nanos, Ratio};

/// A distribution as a scenario states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Distribution {
    /// Always the same value.
    Constant {
        /// The value.
        value: Nanos,
    },
    /// Uniform between two bounds.
    Uniform {
        /// Lower bound, at most `to`.
        from: Nanos,
        /// Upper bound.
        to: Nanos,
    },
    /// Memoryless; standard deviation equals the mean.
    Exponential {
        /// Mean of the distribution.
        mean: Nanos,
    },
    /// A sum of `stages` exponential parts: less variable than exponential.
    Erlang {
        /// Mean of the sum.
        mean: Nanos,
        /// Number of parts, 1 to 100.
        stages: u32,
    },
    /// A mixture of two exponentials with balanced means: more variable than exponential.
    Hyperexponential {
        /// Mean of the mixture.
        mean: Nanos,
        /// Squared coefficient of variation, above 1, at most 1,000,000.
        scv: f64,
    },
    /// Skewed with a moderately heavy tail, as most measured latencies.
    Lognormal {
        /// Mean (not the median).
        mean: Nanos,
        /// Standard deviation of the logarithm, above 0, at most 5; scv = e^(sigma²) - 1.
        sigma: f64,
    },
    /// Mostly short, sometimes long.
    Bimodal {
        /// The short duration.
        short: Nanos,
        /// The long duration.
        long: Nanos,
        /// Share of long ones, 0 to 1.
        long_share: Ratio,
    },
    /// Heavy tail, cut at both ends.
    BoundedPareto {
        /// Tail exponent alpha, 0.01 to 100; the smaller, the heavier the tail.
        shape: f64,
        /// Smallest value, above 0.
        low: Nanos,
        /// Largest value, above `low`.
        high: Nanos,
    },
    /// Drawn from measured values, one number per line of a file.
    Empirical {
        /// The file, relative to the scenario.
        file: String,
        /// Duration of one unit in the file, above 0.
        unit: Nanos,
    },
}

impl Distribution {
    /// Checks the parameters.
    pub fn check(&self) -> Result<(), String> {
        match *self {
            Distribution::Uniform { from, to } if from > to => Err(format!("`from` ({from}) is above `to` ({to})")),
            Distribution::Erlang { stages, .. } if !(1..=100).contains(&stages) => {
                Err(format!("`stages` is {stages}: it must be from 1 to 100"))
            }
            Distribution::Hyperexponential { scv, .. } if !(scv > 1.0 && scv <= 1e6) => {
                Err(format!("`scv` is {scv}: that of a hyperexponential distribution is above 1"))
            }
            Distribution::Lognormal { sigma, .. } if !(sigma > 0.0 && sigma <= 5.0) => {
                Err(format!("`sigma` is {sigma}: it must be above 0 and at most 5"))
            }
            Distribution::Bimodal { long_share, .. } if long_share.0 > 1.0 => {
                Err(format!("`long_share` is {}: a share is at most 1", long_share.0))
            }
            Distribution::BoundedPareto { shape, low, high }
                if !((0.01..=100.0).contains(&shape) && low > Nanos::ZERO && low < high) =>
            {
                Err(format!("needs `shape` from 0.01 to 100 and 0 < `low` < `high`, not {shape}, {low}, {high}"))
            }
            Distribution::Empirical { unit: Nanos::ZERO, .. } => Err("`unit` is zero".to_owned()),
            _ => Ok(()),
        }
    }

    /// Prepares for sampling; `read` returns the numbers of the file of an empirical distribution.
    pub fn sampler(&self, read: &mut dyn FnMut(&str) -> Result<Vec<f64>, String>) -> Result<Sampler, String> {
        self.check()?;
        let ns = |nanos: Nanos| nanos.0 as f64;
        Ok(match self {
            Distribution::Constant { value } => Sampler::Constant(*value),
            Distribution::Uniform { from, to } => Sampler::Uniform { from: ns(*from), width: ns(*to) - ns(*from) },
            Distribution::Exponential { mean } => Sampler::Exponential { mean: ns(*mean) },
            Distribution::Erlang { mean, stages } => {
                Sampler::Erlang { stage: ns(*mean) / f64::from(*stages), stages: *stages }
            }
            Distribution::Hyperexponential { mean, scv } => {
                let p = 0.5 * (1.0 + math::sqrt((scv - 1.0) / (scv + 1.0)));
                let half = ns(*mean) / 2.0;
                Sampler::Hyperexponential { p, often: half / p, seldom: half / (1.0 - p) }
            }
            Distribution::Lognormal { mean, sigma } => {
                Sampler::Lognormal { mu: math::ln(ns(*mean)) - sigma * sigma / 2.0, sigma: *sigma }
            }
            Distribution::Bimodal { short, long, long_share } => {
                Sampler::Bimodal { short: *short, long: *long, long_share: long_share.0 }
            }
            Distribution::BoundedPareto { shape, low, high } => {
                Sampler::BoundedPareto { shape: *shape, low: ns(*low), cut: math::pow(ns(*low) / ns(*high), *shape) }
            }
            Distribution::Empirical { file, unit } => {
                let values = read(file)?;
                if values.is_empty() {
                    return Err(format!("`{file}` holds no values"));
                }
                Sampler::Empirical(values.iter().map(|v| Nanos::from_nanos_f64(v * ns(*unit))).collect())
            }
        })
    }
}

/// The numbers of the file of an empirical distribution, one per line.
pub fn numbers(file: &str, text: &str) -> Result<Vec<f64>, String> {
    let number = |(i, line): (usize, &str)| match line.trim().parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        _ => Err(format!("`{file}`, line {}: `{}` is not a duration's number", i + 1, line.trim())),
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(number).collect()
}

/// A distribution ready to draw from.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Sampler {
    Constant(Nanos),
    Uniform { from: f64, width: f64 },
    Exponential { mean: f64 },
    Erlang { stage: f64, stages: u32 },
    Hyperexponential { p: f64, often: f64, seldom: f64 },
    Lognormal { mu: f64, sigma: f64 },
    Bimodal { short: Nanos, long: Nanos, long_share: f64 },
    BoundedPareto { shape: f64, low: f64, cut: f64 },
    Empirical(Arc<[Nanos]>),
}

impl Sampler {
    /// The constant zero.
    pub const ZERO: Sampler = Sampler::Constant(Nanos::ZERO);

    /// Draws one duration.
    #[inline]
    pub fn sample(&self, source: &mut impl Source) -> Nanos {
        match self {
            Sampler::Constant(value) => *value,
            Sampler::Uniform { from, width } => Nanos::from_nanos_f64(from + width * source.unit()),
            Sampler::Exponential { mean } => Nanos::from_nanos_f64(mean * exponential(source)),
            Sampler::Erlang { stage, stages } => {
                Nanos::from_nanos_f64((0..*stages).map(|_| stage * exponential(source)).sum())
            }
            Sampler::Hyperexponential { p, often, seldom } => {
                let mean = if source.unit() < *p { often } else { seldom };
                Nanos::from_nanos_f64(mean * exponential(source))
            }
            Sampler::Lognormal { mu, sigma } => Nanos::from_nanos_f64(math::exp(mu + sigma * normal(source))),
            Sampler::Bimodal { short, long, long_share } => {
                if source.unit() < *long_share {
                    *long
                } else {
                    *short
                }
            }
            Sampler::BoundedPareto { shape, low, cut } => {
                // Inverse of F(x) = (1 - (L/x)^a) / (1 - (L/H)^a).
                let u = source.unit();
                Nanos::from_nanos_f64(low * math::pow(1.0 - u * (1.0 - cut), -1.0 / shape))
            }
            Sampler::Empirical(values) => values[source.below(values.len() as u64) as usize],
        }
    }

    /// The mean, nanoseconds.
    pub fn mean(&self) -> f64 {
        match self {
            Sampler::Constant(value) => value.0 as f64,
            Sampler::Uniform { from, width } => from + width / 2.0,
            Sampler::Exponential { mean } => *mean,
            Sampler::Erlang { stage, stages } => stage * f64::from(*stages),
            Sampler::Hyperexponential { p, often, seldom } => p * often + (1.0 - p) * seldom,
            Sampler::Lognormal { mu, sigma } => math::exp(mu + sigma * sigma / 2.0),
            Sampler::Bimodal { short, long, long_share } => {
                short.0 as f64 * (1.0 - long_share) + long.0 as f64 * long_share
            }
            Sampler::BoundedPareto { shape, low, cut } => {
                let high = low / math::pow(*cut, 1.0 / shape);
                if (shape - 1.0).abs() < 1e-9 {
                    low / (1.0 - cut) * math::ln(high / low)
                } else {
                    low / (1.0 - cut) * shape / (shape - 1.0) * (1.0 - math::pow(low / high, shape - 1.0))
                }
            }
            Sampler::Empirical(values) => values.iter().map(|v| v.0 as f64).sum::<f64>() / values.len() as f64,
        }
    }

    /// The squared coefficient of variation: variance over squared mean; 0 for a mean of zero.
    pub fn squared_variation(&self) -> f64 {
        let mean = self.mean();
        if mean == 0.0 {
            return 0.0;
        }
        // Mean square over the squared mean, minus one.
        let relative = |square: f64| square / (mean * mean) - 1.0;
        match self {
            Sampler::Constant(_) => 0.0,
            Sampler::Uniform { width, .. } => width * width / 12.0 / (mean * mean),
            Sampler::Exponential { .. } => 1.0,
            Sampler::Erlang { stages, .. } => 1.0 / f64::from(*stages),
            Sampler::Hyperexponential { p, often, seldom } => {
                relative(2.0 * (p * often * often + (1.0 - p) * seldom * seldom))
            }
            Sampler::Lognormal { sigma, .. } => math::exp(sigma * sigma) - 1.0,
            Sampler::Bimodal { short, long, long_share } => {
                let (short, long) = (short.0 as f64, long.0 as f64);
                relative(short * short * (1.0 - long_share) + long * long * long_share)
            }
            Sampler::BoundedPareto { shape, low, cut } => {
                let high = low / math::pow(*cut, 1.0 / shape);
                let square = if (shape - 2.0).abs() < 1e-9 {
                    2.0 * low * low / (1.0 - cut) * math::ln(high / low)
                } else {
                    let rest = 1.0 - math::pow(low / high, shape - 2.0);
                    low * low / (1.0 - cut) * shape / (shape - 2.0) * rest
                };
                relative(square)
            }
            Sampler::Empirical(values) => {
                relative(values.iter().map(|v| v.0 as f64 * v.0 as f64).sum::<f64>() / values.len() as f64)
            }
        }
    }
}

/// Tables of the ziggurat for e^-x (Marsaglia and Tsang, 2000): 256 layers of equal area.
struct Ziggurat {
    x: [f64; 257],
    f: [f64; 257],
}

/// Where the ziggurat's base layer ends, and the area of a layer, for 256 layers.
const ZIGGURAT_R: f64 = 7.697_117_470_131_05;
const ZIGGURAT_V: f64 = 0.003_949_659_822_581_557;

#[inline]
fn ziggurat() -> &'static Ziggurat {
    static TABLES: OnceLock<Box<Ziggurat>> = OnceLock::new();
    TABLES.get_or_init(|| {
        let mut tables = Box::new(Ziggurat { x: [0.0; 257], f: [0.0; 257] });
        tables.x[0] = ZIGGURAT_V / math::exp(-ZIGGURAT_R);
        tables.x[1] = ZIGGURAT_R;
        for i in 2..256 {
            let above = math::exp(-tables.x[i - 1]) + ZIGGURAT_V / tables.x[i - 1];
            tables.x[i] = -math::ln(above);
        }
        tables.x[256] = 0.0;
        for i in 0..257 {
            tables.f[i] = math::exp(-tables.x[i]);
        }
        tables
    })
}

/// A standard exponential: 98.9 % of draws cost one table look-up, the rest go through `libm`.
#[inline]
pub fn exponential(source: &mut impl Source) -> f64 {
    let tables = ziggurat();
    let (layer, x) = tables.point(source);
    if x < tables.x[layer + 1] { x } else { tables.beyond(layer, x, source) }
}

impl Ziggurat {
    /// A layer, and a uniform point in it.
    #[inline(always)]
    fn point(&self, source: &mut impl Source) -> (usize, f64) {
        let bits = source.bits();
        let layer = (bits & 0xff) as usize;
        // The low 8 bits chose the layer; these are the upper 53.
        let u = (bits >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0);
        (layer, u * self.x[layer])
    }

    /// The draw whose first point is in the part of its layer that the curve crosses.
    #[cold]
    fn beyond(&self, mut layer: usize, mut x: f64, source: &mut impl Source) -> f64 {
        loop {
            if x < self.x[layer + 1] {
                return x;
            }
            if layer == 0 {
                return ZIGGURAT_R - math::ln(source.open_unit());
            }
            let y = self.f[layer] + (self.f[layer + 1] - self.f[layer]) * source.unit();
            if y < math::exp(-x) {
                return x;
            }
            (layer, x) = self.point(source);
        }
    }
}

/// A standard normal variate, by Box and Muller: always two draws, so streams stay aligned.
pub fn normal(source: &mut impl Source) -> f64 {
    let radius = math::sqrt(-2.0 * math::ln(source.open_unit()));
    radius * math::cos(std::f64::consts::TAU * source.unit())
}

/// Draws from a fixed discrete distribution in O(1): Walker's alias method in Vose's form.
#[derive(Clone, Debug, PartialEq)]
pub struct Alias {
    /// For each item: keep it if the draw is below this, else take the alias.
    cut: Arc<[f64]>,
    alias: Arc<[u32]>,
}

impl Alias {
    /// Probabilities in proportion to `weights`, which must not all be zero.
    pub fn new(weights: &[f64]) -> Alias {
        let n = weights.len();
        let total: f64 = weights.iter().sum();
        debug_assert!(n > 0 && total > 0.0);
        let mut scaled: Vec<f64> = weights.iter().map(|w| w * n as f64 / total).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| scaled[i] < 1.0);
        let (mut cut, mut alias): (Vec<f64>, Vec<u32>) = (vec![1.0; n], (0..n as u32).collect());
        while let (Some(&s), Some(&l)) = (small.last(), large.last()) {
            small.pop();
            cut[s] = scaled[s];
            alias[s] = l as u32;
            scaled[l] -= 1.0 - scaled[s];
            if scaled[l] < 1.0 {
                large.pop();
                small.push(l);
            }
        }
        Alias { cut: cut.into(), alias: alias.into() }
    }

    /// Zipf's distribution over 0..n: item i with probability in proportion to 1 / (i+1)^exponent.
    pub fn zipf(n: usize, exponent: f64) -> Alias {
        let weights: Vec<f64> = (1..=n).map(|rank| math::pow(rank as f64, -exponent)).collect();
        Alias::new(&weights)
    }

    /// Draws one item.
    #[inline]
    pub fn sample(&self, source: &mut impl Source) -> u32 {
        // One draw for both: the item is the integer part of u·n, the coin its fraction. The bias is n / 2^64.
        let product = u128::from(source.bits()) * self.cut.len() as u128;
        let (i, fraction) = ((product >> 64) as usize, product as u64);
        let coin = (fraction >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0);
        if coin < self.cut[i] { i as u32 } else { self.alias[i] }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the oracle may be computed by the platform")]
mod tests {
    use super::*;
    use evenkeel_core::rng::Rng;
    use rand_distr::Distribution as _;
    use statrs::distribution::ContinuousCDF;

    const N: usize = 100_000;

    /// A distribution and its exact distribution function, in milliseconds.
    type Case = (Distribution, Box<dyn Fn(f64) -> f64>);

    fn distributions() -> Vec<Case> {
        let ms = Nanos::from_millis;
        let exponential = |mean: f64| move |x: f64| statrs::distribution::Exp::new(1.0 / mean).unwrap().cdf(x);
        vec![
            (Distribution::Uniform { from: ms(1), to: ms(3) }, Box::new(|x| ((x - 1.0) / 2.0).clamp(0.0, 1.0))),
            (Distribution::Exponential { mean: ms(10) }, Box::new(exponential(10.0))),
            (Distribution::Erlang { mean: ms(10), stages: 4 }, {
                let distribution = statrs::distribution::Erlang::new(4, 0.4).unwrap();
                Box::new(move |x| distribution.cdf(x))
            }),
            (Distribution::Lognormal { mean: ms(10), sigma: 1.0 }, {
                let distribution = statrs::distribution::LogNormal::new(10f64.ln() - 0.5, 1.0).unwrap();
                Box::new(move |x| distribution.cdf(x))
            }),
            (Distribution::Hyperexponential { mean: ms(10), scv: 4.0 }, {
                // p = (1 + sqrt(3/5))/2, rates 2p/mean and 2(1-p)/mean.
                let p = 0.5 * (1.0 + 0.6f64.sqrt());
                let (a, b) = (exponential(5.0 / p), exponential(5.0 / (1.0 - p)));
                Box::new(move |x| p * a(x) + (1.0 - p) * b(x))
            }),
            (
                Distribution::BoundedPareto { shape: 1.5, low: ms(1), high: ms(1000) },
                Box::new(|x| if x <= 1.0 { 0.0 } else { (1.0 - x.powf(-1.5)) / (1.0 - 1000f64.powf(-1.5)) }),
            ),
        ]
    }

    /// Kolmogorov's distance to the exact distribution function; 1.95/√n is the 99.9 % point, and the streams are fixed.
    #[test]
    fn samples_follow_their_distribution() {
        for (distribution, cdf) in distributions() {
            let sampler = distribution.sampler(&mut |_| unreachable!()).unwrap();
            let mut rng = Rng::stream(11, "test", 0);
            let mut values: Vec<f64> = (0..N).map(|_| sampler.sample(&mut rng).0 as f64 / 1e6).collect();
            values.sort_by(f64::total_cmp);
            let distance = values
                .iter()
                .enumerate()
                .map(|(i, &x)| (cdf(x) - (i as f64 + 0.5) / N as f64).abs())
                .fold(0.0, f64::max);
            assert!(distance < 1.95 / (N as f64).sqrt(), "{distribution:?}: {distance}");
            let mean = values.iter().sum::<f64>() / N as f64;
            let claimed = sampler.mean() / 1e6;
            let spread = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / N as f64).sqrt();
            assert!(
                (mean - claimed).abs() < 4.0 * spread / (N as f64).sqrt(),
                "{distribution:?}: {mean} for {claimed}"
            );
            // A sample's variance is rough where tails are heavy.
            let (found, claimed) = ((spread / mean) * (spread / mean), sampler.squared_variation());
            assert!(
                (found - claimed).abs() <= 0.1 * claimed,
                "{distribution:?}: squared variation {found} for {claimed}"
            );
        }
    }

    /// `rand_distr` over the same generator as an independent oracle: two-sample Kolmogorov-Smirnov at 99.9 %.
    #[test]
    fn rand_distr_agrees() {
        type Draw = Box<dyn FnMut(&mut Rng) -> f64>;
        let zipf = Alias::zipf(100, 0.9);
        let zipf_oracle = rand_distr::Zipf::new(100.0, 0.9).unwrap();
        let normal_oracle = rand_distr::StandardNormal;
        let pairs: Vec<(&str, Draw, Draw)> = vec![
            ("exponential", Box::new(exponential), Box::new(|r| rand_distr::Exp1.sample(r))),
            ("normal", Box::new(normal), Box::new(move |r| normal_oracle.sample(r))),
            ("zipf", Box::new(move |r| f64::from(zipf.sample(r) + 1)), Box::new(move |r| zipf_oracle.sample(r))),
        ];
        for (name, mut ours, mut theirs) in pairs {
            let (mut a, mut b) = (Rng::stream(1, name, 0), Rng::stream(1, name, 1));
            let mut x: Vec<f64> = (0..N).map(|_| ours(&mut a)).collect();
            let mut y: Vec<f64> = (0..N).map(|_| theirs(&mut b)).collect();
            x.sort_by(f64::total_cmp);
            y.sort_by(f64::total_cmp);
            let distance = x
                .iter()
                .step_by(97)
                .map(|v| {
                    let below = |s: &[f64]| s.partition_point(|w| w <= v) as f64 / N as f64;
                    (below(&x) - below(&y)).abs()
                })
                .fold(0.0, f64::max);
            assert!(distance < 1.95 * (2.0 / N as f64).sqrt(), "{name}: {distance}");
        }
    }

    #[test]
    fn samples_have_golden_values() {
        // Golden bits of every distribution: the same on every platform.
        let mut rng = Rng::stream(5, "golden", 0);
        let mut hash = 0;
        for (distribution, _) in distributions() {
            let sampler = distribution.sampler(&mut |_| unreachable!()).unwrap();
            for _ in 0..2000 {
                hash = evenkeel_core::rng::mix(hash ^ sampler.sample(&mut rng).0);
            }
        }
        assert_eq!(hash, 0x2299_2126_24f3_dfaa, "{hash:#x}");
    }
}

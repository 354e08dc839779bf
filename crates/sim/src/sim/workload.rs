//! The workload: arrival time, client, path, key and work of each request. Everything is drawn per request from random streams
//! keyed by (seed, purpose, request number), so every strategy gets the same workload (common random numbers).

use std::net::IpAddr;

use super::model::{Arrivals, BatchSize, Keys, Model, RateCurve, Replay};
use evenkeel_config::distribution::{Sampler, exponential};
use evenkeel_core::math;
use evenkeel_core::rng::{GOLDEN, Keyed, mix};
use evenkeel_core::units::Nanos;

/// A request as it is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Its number, which is the position of its draws in every stream.
    pub id: u64,
    /// Index into the clients.
    pub client: u32,
    /// Index into the paths.
    pub path: u32,
    /// The key by which caches and hashing strategies know it.
    pub key: u64,
    /// Work at speed 1 when nothing is cached.
    pub demand: Nanos,
    /// Client timeout, from arrival; `None` for no timeout.
    pub timeout: Option<Nanos>,
    /// Patience: time from arrival after which the client gives up if service has not started; `None` for no limit.
    pub patience: Option<Nanos>,
}

/// The generator of the requests of one run.
pub struct Workload<'a> {
    model: &'a Model,
    clients: Keyed,
    paths: Keyed,
    keys: Keyed,
    demand: Keyed,
    timeouts: Keyed,
    patience: Keyed,
    path_keys: Vec<u64>,
    clock: Clock<'a>,
    batches: Option<Batches>,
    /// Rate of arrivals, as a multiple of the model's.
    load_factor: f64,
    /// Hash over every request generated so far: equal for every strategy of an open-loop run with this seed.
    pub hash: u64,
}

/// Batch arrivals: the batch that is being generated.
struct Batches {
    size: BatchSize,
    sizes: Keyed,
    /// Requests of this batch that are not generated yet.
    left: u32,
    at: Nanos,
    /// Number of the next request.
    next: u64,
}

impl Batches {
    fn begin(&mut self, at: Nanos, number: u64) {
        (self.at, self.left) = (at, self.size.sample(&mut self.sizes.at(number)));
    }

    /// The next request of the batch.
    fn request(&mut self) -> Origin {
        self.left -= 1;
        self.next += 1;
        Origin::Any(self.next - 1)
    }
}

/// Generator of open-loop arrival times: of requests, or of batches of `size` requests on average.
enum Clock<'a> {
    Poisson {
        curve: &'a RateCurve,
        gaps: Keyed,
        at: f64,
        size: f64,
        next: u64,
        /// Where no arrival is pending, since the rate is zero from some time on: requests until the next one, counted from a
        /// time in seconds.
        waiting: Option<(f64, f64)>,
    },
    /// Arrival number `n` is `n - since` gaps after `from`, in nanoseconds.
    Constant {
        gap: f64,
        from: f64,
        since: u64,
        next: u64,
        /// While arrivals are stopped: the rest of the gap at load factor 1.
        waiting: Option<f64>,
    },
    Renewal {
        distribution: &'a Sampler,
        scale: f64,
        gaps: Keyed,
        /// The last arrival, in nanoseconds.
        at: f64,
        next: u64,
        /// While arrivals are stopped: the rest of the gap at load factor 1.
        waiting: Option<f64>,
    },
    Replay {
        replay: &'a Replay,
        next: u64,
    },
    /// Closed loop: completions trigger arrivals.
    None,
}

impl Clock<'_> {
    /// Number of the arrival that was generated last.
    fn last(&self) -> u64 {
        match self {
            Clock::Poisson { next, .. }
            | Clock::Constant { next, .. }
            | Clock::Renewal { next, .. }
            | Clock::Replay { next, .. } => *next - 1,
            Clock::None => unreachable!("a closed loop generates no arrivals"),
        }
    }

    /// Changes the load factor from `old` to `new`: the rest of the gap before the arrival that was generated last passes at the
    /// new rate. Its new time; `None` if it does not come at this rate. Arrivals come in batches of `size` on average.
    fn rescale(&mut self, arrivals: &Arrivals, now: Nanos, [old, new]: [f64; 2], size: f64) -> Option<Nanos> {
        // The rest of a gap in nanoseconds at load factor 1, and the pending arrival `at` that time.
        let rest = |waiting: Option<f64>, at: f64| waiting.unwrap_or((at - now.0 as f64).max(0.0) * old);
        match (self, arrivals) {
            (Clock::Poisson { curve, at, size: amount, waiting, .. }, _) => {
                let from = now.as_secs_f64();
                let left = match waiting.take() {
                    Some((left, since)) => left - curve.between(since, from) * old,
                    None => curve.between(from, *at) * old,
                };
                let left = left.max(0.0);
                *amount = size / new;
                let time = if new > 0.0 { curve.after(from, left / new) } else { None };
                let Some(time) = time else {
                    *waiting = Some((left, from));
                    return None;
                };
                *at = time;
                Some(Nanos::from_secs_f64(time))
            }
            (Clock::Constant { gap, from, since, next, waiting }, Arrivals::Constant { gap: model }) => {
                let left = rest(waiting.take(), *from + *gap * (*next - *since) as f64);
                if new == 0.0 {
                    *waiting = Some(left);
                    return None;
                }
                (*gap, *from, *since) = (model * size / new, now.0 as f64 + left / new, *next);
                Some(Nanos::from_nanos_f64(*from))
            }
            (Clock::Renewal { scale, at, waiting, .. }, Arrivals::Renewal { scale: model, .. }) => {
                let left = rest(waiting.take(), *at);
                if new == 0.0 {
                    *waiting = Some(left);
                    return None;
                }
                (*scale, *at) = (model * size / new, now.0 as f64 + left / new);
                Some(Nanos::from_nanos_f64(*at))
            }
            _ => unreachable!("closed loops and replays have no rate that could change"),
        }
    }
}

/// Where the client of an arrival comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Drawn from the population; the request's number.
    Any(u64),
    /// Recorded: the request's number, and the index of its entry.
    Recorded(u64, usize),
    /// A client of a closed loop, and how many requests it has sent before.
    Client(u32, u64),
}

impl<'a> Workload<'a> {
    /// The workload of a run with this seed.
    pub fn new(model: &'a Model, seed: u64) -> Workload<'a> {
        let size = model.batch.map_or(1.0, BatchSize::mean);
        let gaps = Keyed::new(seed, "arrivals");
        let clock = match &model.arrivals {
            Arrivals::Poisson(curve) => Clock::Poisson { curve, gaps, at: 0.0, size, next: 0, waiting: None },
            Arrivals::Constant { gap } => {
                Clock::Constant { gap: *gap * size, from: 0.0, since: 0, next: 0, waiting: None }
            }
            Arrivals::Renewal { distribution, scale } => {
                Clock::Renewal { distribution, scale: scale * size, gaps, at: 0.0, next: 0, waiting: None }
            }
            Arrivals::Replay(replay) => Clock::Replay { replay, next: 0 },
            Arrivals::Closed { .. } => Clock::None,
        };
        let hash_path = |p: &super::model::Path| p.path.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
        Workload {
            model,
            clients: Keyed::new(seed, "client"),
            paths: Keyed::new(seed, "path"),
            keys: Keyed::new(seed, "key"),
            demand: Keyed::new(seed, "demand"),
            timeouts: Keyed::new(seed, "client timeout"),
            patience: Keyed::new(seed, "patience"),
            path_keys: model.paths.iter().map(hash_path).collect(),
            clock,
            batches: model.batch.map(|size| Batches {
                size,
                sizes: Keyed::new(seed, "batch size"),
                left: 0,
                at: Nanos::ZERO,
                next: 0,
            }),
            load_factor: 1.0,
            hash: 0,
        }
    }

    /// Time and origin of the next open-loop request; `None` after the last, and in a closed loop.
    #[inline]
    pub fn next_arrival(&mut self) -> Option<(Nanos, Origin)> {
        if self.batches.is_some() { self.next_of_a_batch() } else { self.tick() }
    }

    fn next_of_a_batch(&mut self) -> Option<(Nanos, Origin)> {
        let begun = self.batches.as_ref().is_some_and(|batches| batches.left > 0);
        let new = if begun { None } else { Some(self.tick()?) };
        let batches = self.batches.as_mut()?;
        if let Some((at, Origin::Any(number))) = new {
            batches.begin(at, number);
        }
        Some((batches.at, batches.request()))
    }

    /// The rate of arrivals, as a multiple of the model's.
    pub fn load_factor(&self) -> f64 {
        self.load_factor
    }

    /// From `now` on arrivals come at `factor` times the model's rate; 0 stops them. `pending` is the arrival that
    /// [`Workload::next_arrival`] gave last and that has not happened. Returns the next arrival and its new time; `None` while
    /// there is none, and the pending one is still the next then.
    ///
    /// # Panics
    /// In a closed loop and in a replay, whose arrivals have no rate.
    pub fn set_load(&mut self, now: Nanos, factor: f64, pending: Option<Origin>) -> Option<(Nanos, Origin)> {
        let size = self.model.batch.map_or(1.0, BatchSize::mean);
        let at = self.clock.rescale(&self.model.arrivals, now, [self.load_factor, factor], size);
        self.load_factor = factor;
        let at = at?;
        let origin = match (pending, &mut self.batches) {
            (Some(origin), batches) => {
                batches.iter_mut().for_each(|batch| batch.at = at);
                origin
            }
            (None, Some(batches)) => {
                batches.begin(at, self.clock.last());
                batches.request()
            }
            (None, None) => Origin::Any(self.clock.last()),
        };
        Some((at, origin))
    }

    /// The next arrival of a request or batch.
    #[inline(always)]
    fn tick(&mut self) -> Option<(Nanos, Origin)> {
        match &mut self.clock {
            Clock::Poisson { curve, gaps, at, size, next, waiting } => {
                let amount = *size * exponential(&mut gaps.at(*next));
                *next += 1;
                let Some(time) = curve.after(*at, amount) else {
                    *waiting = Some((amount * self.load_factor, *at));
                    return None;
                };
                *at = time;
                Some((Nanos::from_secs_f64(*at), Origin::Any(*next - 1)))
            }
            Clock::Constant { gap, from, since, next, .. } => {
                *next += 1;
                Some((Nanos::from_nanos_f64(*from + *gap * (*next - *since) as f64), Origin::Any(*next - 1)))
            }
            Clock::Renewal { distribution, scale, gaps, at, next, .. } => {
                *at += distribution.sample(&mut gaps.at(*next)).0 as f64 * *scale;
                *next += 1;
                Some((Nanos::from_nanos_f64(*at), Origin::Any(*next - 1)))
            }
            Clock::Replay { replay, next } => {
                let n = replay.entries.len() as u64;
                let (round, entry) = (*next / n, (*next % n) as usize);
                let offset = match replay.repeat {
                    Some(period) => u128::from(period.0) * u128::from(round),
                    None if round > 0 => return None,
                    None => 0,
                };
                let recorded = offset + u128::from(replay.entries[entry].arrival.0);
                *next += 1;
                Some((Nanos::from_nanos_f64(recorded as f64 / replay.speed), Origin::Recorded(*next - 1, entry)))
            }
            Clock::None => None,
        }
    }

    /// Generates the request of this arrival.
    #[inline(always)]
    pub fn draft(&mut self, origin: Origin, at: Nanos) -> Draft {
        let model = self.model;
        let (id, client, recorded) = match origin {
            Origin::Any(id) => (id, model.clients.mix.sample(&mut self.clients.at(id)), None),
            // A closed loop numbers requests per client, so that one client's requests do not depend on the others.
            Origin::Client(client, sent) => ((u64::from(client) << 32) | sent, client, None),
            Origin::Recorded(id, entry) => {
                let Arrivals::Replay(replay) = &model.arrivals else { unreachable!("only replays record") };
                (id, replay.entries[entry].client, Some(replay.entries[entry]))
            }
        };
        let path = match recorded {
            Some(entry) => entry.path,
            None if model.paths.len() == 1 => 0,
            None => model.path_mix.sample(&mut self.paths.at(id)),
        };
        let what = &model.paths[path as usize];
        let key = match &what.keys {
            Keys::Path => self.path_keys[path as usize],
            Keys::Shared(items) => mix(self.path_keys[path as usize] ^ u64::from(items.sample(&mut self.keys.at(id)))),
            Keys::PerClient(items) => {
                let item = u64::from(items.sample(&mut self.keys.at(id)));
                mix(self.path_keys[path as usize] ^ (u64::from(client) << 32 | item))
            }
        };
        let mut demand = what.service.sample(&mut self.demand.at(id));
        if let Some(entry) = recorded {
            demand += Nanos::from_nanos_f64(what.per_byte * f64::from(entry.bytes));
        }
        let timeout = self.limit(&model.clients.timeout, self.timeouts, id);
        let patience = self.limit(&model.clients.patience, self.patience, id);
        let who = (u64::from(client) << 32 | u64::from(path)).wrapping_mul(GOLDEN);
        self.hash = mix(self.hash ^ at.0 ^ demand.0.rotate_left(32) ^ key ^ who);
        Draft { id, client, path, key, demand, timeout, patience }
    }

    /// A client's timeout or patience for a request; part of the hash where it is drawn.
    #[inline]
    fn limit(&mut self, distribution: &Option<Sampler>, stream: Keyed, id: u64) -> Option<Nanos> {
        match distribution {
            None => None,
            Some(Sampler::Constant(length)) => Some(*length),
            Some(distribution) => {
                let length = distribution.sample(&mut stream.at(id));
                self.hash = mix(self.hash ^ length.0);
                Some(length)
            }
        }
    }

    /// The address of a client.
    #[inline]
    pub fn address(&self, client: u32) -> IpAddr {
        match &self.model.arrivals {
            Arrivals::Replay(replay) => replay.clients[client as usize],
            _ => self.model.clients.addresses[client as usize],
        }
    }
}

impl RateCurve {
    /// A constant rate.
    pub fn constant(rate: f64) -> RateCurve {
        RateCurve { points: vec![(0.0, rate)], period: None }
    }

    /// The time at which the integral of the rate from `from` reaches `amount`: with exponential amounts, the next event
    /// of a Poisson process that follows the curve. `None` if it never does.
    pub fn after(&self, from: f64, amount: f64) -> Option<f64> {
        if let [(_, rate)] = self.points[..] {
            return (rate > 0.0).then(|| from + amount / rate);
        }
        let Some(period) = self.period else { return self.within(from, amount).ok() };
        let base = (from / period).floor() * period;
        let amount = match self.within(from - base, amount) {
            Ok(phase) => return Some(base + phase),
            Err(left) => left,
        };
        // Whole periods at once: a curve that is nearly zero everywhere must not be walked step by step.
        let each = self.integral(period);
        if each <= 0.0 {
            return None;
        }
        let periods = (amount / each).floor();
        let start = base + (1.0 + periods) * period;
        let phase = self.within(0.0, amount - periods * each).unwrap_or(period);
        Some(start + phase)
    }

    /// The phase at which the integral from `phase` reaches `amount`, or what of it is left at the end of the period.
    fn within(&self, phase: f64, mut amount: f64) -> Result<f64, f64> {
        for (start, end, from_rate, slope) in self.pieces() {
            if end <= phase {
                continue;
            }
            let at = phase.max(start);
            let rate = from_rate + slope * (at - start);
            let left = end - at;
            let available = if end.is_finite() { left * (rate + slope * left / 2.0) } else { f64::INFINITY * rate };
            if available > amount {
                // rate * dt + slope * dt² / 2 = amount, in the form that does not cancel.
                let root = math::sqrt((rate * rate + 2.0 * slope * amount).max(0.0));
                return Ok(at + (2.0 * amount / (rate + root)).min(left));
            }
            amount -= available.max(0.0);
        }
        Err(amount)
    }

    /// (start, end, rate at the start, slope) of each piece; the last one ends with the period, or never.
    fn pieces(&self) -> impl Iterator<Item = (f64, f64, f64, f64)> + '_ {
        self.points.iter().enumerate().map(|(i, &(start, rate))| match self.points.get(i + 1) {
            Some(&(end, to)) => (start, end, rate, if end > start { (to - rate) / (end - start) } else { 0.0 }),
            None => (start, self.period.unwrap_or(f64::INFINITY), rate, 0.0),
        })
    }

    /// The integral over the first `span` seconds of a period.
    fn integral(&self, span: f64) -> f64 {
        let piece = |(start, end, rate, slope): (f64, f64, f64, f64)| {
            let length = (end.min(span) - start).max(0.0);
            length * (rate + slope * length / 2.0)
        };
        self.pieces().map(piece).sum()
    }

    /// Mean rate over the first `span` seconds, exactly.
    pub fn mean(&self, span: f64) -> f64 {
        self.until(span) / span
    }

    /// The integral of the rate between two times, seconds.
    fn between(&self, from: f64, to: f64) -> f64 {
        match self.points[..] {
            [(_, rate)] => rate * (to - from),
            _ => self.until(to) - self.until(from),
        }
    }

    /// The integral over the first `span` seconds.
    fn until(&self, span: f64) -> f64 {
        let (whole, rest) = match self.period {
            Some(period) => ((span / period).floor() * self.integral(period), span - (span / period).floor() * period),
            None => (0.0, span),
        };
        whole + self.integral(rest)
    }

    /// The rate at a time.
    pub fn at(&self, t: f64) -> f64 {
        let phase = self.period.map_or(t, |period| t - (t / period).floor() * period);
        let i = self.points.partition_point(|&(at, _)| at <= phase).max(1) - 1;
        let (start, rate) = self.points[i];
        match self.points.get(i + 1) {
            Some(&(end, to)) if end > start => rate + (to - rate) * (phase - start) / (end - start),
            _ => rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::rng::Rng;

    /// Counts in windows against the integral of the rate; 4.5 standard deviations of a Poisson count, fixed stream.
    #[test]
    fn arrivals_follow_the_curve() {
        let ramp =
            RateCurve { points: vec![(0.0, 100.0), (10.0, 900.0), (20.0, 900.0), (20.0, 0.0)], period: Some(25.0) };
        let mut rng = Rng::stream(1, "test", 0);
        let (mut t, mut counts) = (0.0, [0.0; 10]);
        while t < 250.0 {
            t = ramp.after(t, exponential(&mut rng)).unwrap();
            counts[((t % 25.0) / 2.5) as usize] += 1.0;
        }
        for (i, &count) in counts.iter().enumerate() {
            let (from, to) = (i as f64 * 2.5, (i + 1) as f64 * 2.5);
            let expected = 10.0 * 2.5 * (ramp.at(from + 1e-9) + ramp.at(to - 1e-9)) / 2.0;
            assert!((count - expected).abs() <= 4.5 * f64::sqrt(expected), "window {i}: {count} for {expected}");
        }
    }

    #[test]
    fn the_mean_is_exact_and_tiny_rates_end_at_once() {
        // 10/s for 4 ms and 400/s for 6 ms of every 10 ms: 244/s, which sampling at round times would miss.
        let points = vec![(0.0, 10.0), (0.004, 10.0), (0.004, 400.0), (0.01, 400.0)];
        let bursts = RateCurve { points, period: Some(0.01) };
        assert!((bursts.mean(100.0) - 244.0).abs() < 1e-9, "{}", bursts.mean(100.0));
        let ramp = RateCurve { points: vec![(0.0, 100.0), (10.0, 300.0)], period: None };
        assert!((ramp.mean(20.0) - 250.0).abs() < 1e-9);
        let faint =
            RateCurve { points: vec![(0.0, 0.0), (0.001, 0.0), (0.001, 1e-15), (0.002, 1e-15)], period: Some(0.002) };
        let at = faint.after(0.0, 1.0).unwrap();
        assert!((at / 2e15 - 1.0).abs() < 1e-6, "{at}");
    }

    #[test]
    fn a_constant_rate_of_zero_has_no_next_event() {
        assert_eq!(RateCurve::constant(0.0).after(1.0, 1.0), None);
        let dies = RateCurve { points: vec![(0.0, 1.0), (1.0, 1.0), (1.0, 0.0)], period: None };
        assert_eq!(dies.after(0.0, 5.0), None);
        assert_eq!(dies.after(0.0, 0.5), Some(0.5));
    }
}

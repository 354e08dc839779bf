//! Rules that every strategy must keep, as checks that can also be run on a custom strategy.
//!
//! The crate runs them on its catalogue. [`check`] runs all; each check is a function of its own as well, with the name of
//! the rule. They are deterministic and take well under a second.
//!
//! ```
//! use evenkeel_core::select::conformance;
//! use evenkeel_core::select::strategies::p2c;
//!
//! conformance::check(&p2c::Params::default().into())?;
//! # Ok::<(), conformance::Violation>(())
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::catalog::StrategyConfig;
use super::{
    Command, Context, Finished, LoadReport, Outcome, Pick, ProbeReplies, ProbeReply, ReportSource, Request, Selector,
};
use crate::fleet::{BackendId, Fleet};
use crate::rng::{Rng, Source, mix};
use crate::units::Nanos;

/// A rule that a strategy violates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The strategy's name.
    pub strategy: &'static str,
    /// The rule: the name of the check.
    pub rule: &'static str,
    /// What happened, and at which step.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.strategy, self.rule, self.what)
    }
}

impl std::error::Error for Violation {}

/// Runs all checks; the first violation ends it.
pub fn check(strategy: &StrategyConfig) -> Result<(), Violation> {
    any_order_of_events(strategy)?;
    empty_and_single_server(strategy)?;
    same_seed_same_picks(strategy)?;
    silent_strategies_are_silent(strategy)?;
    refused_picks_leave_no_trace(strategy)
}

/// A selector and its fleet, driven by explicit calls: a host for tests.
pub struct Driver {
    /// The selector under test.
    pub selector: Box<dyn Selector>,
    /// Its servers. Call [`Driver::announce`] after a change.
    pub fleet: Fleet,
    /// Its random stream.
    pub rng: Rng,
    /// The time of the next call.
    pub now: Nanos,
}

impl Driver {
    /// A selector in front of healthy servers of these weights, named `s0`, `s1`, ….
    pub fn new(strategy: &StrategyConfig, weights: &[u32], seed: u64) -> Driver {
        let mut rng = Rng::stream(seed, "test", 0);
        let selector = strategy.build(&mut rng);
        let mut driver = Driver { selector, fleet: Fleet::of_weights(weights), rng, now: Nanos::ZERO };
        driver.announce();
        driver
    }

    /// Passes pending changes of the fleet to the selector.
    pub fn announce(&mut self) {
        let changes = self.fleet.take_changes();
        self.with(|selector, cx| selector.on_fleet(&changes, cx));
    }

    /// Calls the selector.
    pub fn with<T>(&mut self, call: impl FnOnce(&mut dyn Selector, &mut Context<'_>) -> T) -> T {
        let mut cx = Context { now: self.now, fleet: &self.fleet, rng: &mut self.rng, truth: None };
        call(self.selector.as_mut(), &mut cx)
    }

    /// Picks, and counts the request as started.
    pub fn pick(&mut self, request: &Request<'_>) -> Option<Pick> {
        let pick = self.with(|selector, cx| selector.pick(request, cx))?;
        self.fleet.started(pick.backend);
        Some(pick)
    }

    /// Ends a request.
    pub fn finish(&mut self, pick: Pick, latency: Nanos, outcome: Outcome) {
        self.fleet.ended(pick.backend);
        let finished = Finished { backend: pick.backend, latency, outcome, tag: pick.tag };
        self.with(|selector, cx| selector.on_finish(&finished, cx));
    }
}

/// A client address in 10.0.0.0/8, determined by the number.
pub fn client(n: u64) -> IpAddr {
    IpAddr::from((0x0a00_0000 | (mix(n) as u32 & 0x00ff_ffff)).to_be_bytes())
}

fn request<'a>(n: u64, key: &'a [u8; 8], excluded: &'a [u32]) -> Request<'a> {
    Request { client: client(n), path: "/", key, excluded, answers: None }
}

/// A report with random content from a random source.
fn any_report(dice: &mut Rng) -> LoadReport {
    const BY: [ReportSource; 5] =
        [ReportSource::Answer, ReportSource::Clock, ReportSource::Check, ReportSource::Probe, ReportSource::Notice];
    LoadReport {
        window: dice.unit() * 3.0,
        throughput: dice.unit() * 1000.0,
        response_time: dice.unit(),
        utilisation: dice.unit(),
        errors: dice.unit(),
        in_server: (dice.below(4) > 0).then(|| dice.below(10) as u32),
        latency: dice.unit(),
        by: BY[dice.below(5) as usize],
    }
}

/// Random operations in random order.
struct Storm {
    driver: Driver,
    dice: Rng,
    in_flight: Vec<Pick>,
    /// Servers that were probed before a pick.
    asked: Vec<Vec<BackendId>>,
    inquires: bool,
    picks: u32,
}

impl Storm {
    fn excluded(&mut self) -> Vec<u32> {
        (0..self.dice.below(4)).map(|_| self.dice.below(6) as u32).collect()
    }

    fn step(&mut self, step: u64) -> Result<(), String> {
        self.driver.now += Nanos::from_millis(self.dice.below(20));
        match self.dice.below(14) {
            0..=3 => self.pick(step)?,
            4..=6 if !self.in_flight.is_empty() => {
                let pick = self.in_flight.swap_remove(self.dice.below(self.in_flight.len() as u64) as usize);
                let outcome = [Outcome::Ok, Outcome::Failed, Outcome::Cancelled][self.dice.below(3) as usize];
                self.driver.finish(pick, Nanos::from_millis(self.dice.below(500)), outcome);
            }
            7 => {
                // Also for a former server of the slot.
                let mut backend = self.driver.fleet.id(self.dice.below(self.driver.fleet.slots() as u64) as u32);
                backend.generation = backend.generation.saturating_sub(self.dice.below(2) as u32);
                let load = any_report(&mut self.dice);
                self.driver.with(|selector, cx| selector.on_report(backend, &load, cx));
            }
            8 => {
                let id = self.driver.fleet.id(self.dice.below(self.driver.fleet.slots() as u64) as u32);
                match self.dice.below(4) {
                    0 => self.driver.fleet.set_healthy(id, self.dice.below(2) == 0),
                    1 => self.driver.fleet.set_draining(id, self.dice.below(2) == 0),
                    2 => self.driver.fleet.set_weight(id, self.dice.below(4) as u32),
                    _ => self.driver.fleet.leave(id),
                }
                self.driver.announce();
            }
            9 if self.driver.fleet.members().count() < 6 => {
                self.driver.fleet.join(&format!("n{step}"), 1 + self.dice.below(4) as u32);
                self.driver.announce();
            }
            10 => {
                let commands = (0..10_000).take_while(|_| self.driver.with(|s, cx| s.poll_command(cx)).is_some());
                if commands.count() == 10_000 {
                    return Err("poll_command never returns None".to_owned());
                }
            }
            11 => self.driver.with(|selector, cx| selector.on_wake(cx)),
            12 => self.inquire()?,
            13 if !self.in_flight.is_empty() => {
                // As in slow start.
                let pick = self.in_flight.swap_remove(self.dice.below(self.in_flight.len() as u64) as usize);
                self.driver.fleet.ended(pick.backend);
                self.driver.with(|selector, cx| selector.on_refused(&pick, cx));
            }
            _ => {}
        }
        Ok(())
    }

    fn pick(&mut self, step: u64) -> Result<(), String> {
        let excluded = self.excluded();
        let key = self.dice.below(50).to_le_bytes();
        let left = self.driver.fleet.eligible().iter().filter(|slot| !excluded.contains(slot)).count();
        let targets = if self.asked.is_empty() { None } else { Some(self.asked.swap_remove(0)) };
        // Some replies come in time, some late or never.
        let answers = targets.map(|targets| ProbeReplies {
            part: 0,
            given: targets
                .into_iter()
                .filter(|_| self.dice.below(3) > 0)
                .map(|backend| ProbeReply { backend, load: any_report(&mut Rng::stream(step, "answer", 0)) })
                .collect(),
        });
        let request = Request { answers: answers.as_ref(), ..request(self.dice.below(40), &key, &excluded) };
        let Some(pick) = self.driver.pick(&request) else {
            return if left == 0 { Ok(()) } else { Err(format!("picked no server though {left} could be picked")) };
        };
        let slot = pick.backend.slot;
        if !self.driver.fleet.is_eligible(slot) {
            return Err(format!("picked slot {slot}, which is not eligible"));
        }
        if excluded.contains(&slot) {
            return Err(format!("picked slot {slot}, which is excluded"));
        }
        if !self.driver.fleet.is_current(pick.backend) {
            return Err(format!("picked {:?}, a former server of its slot", pick.backend));
        }
        if pick.tag >> 63 != 0 {
            return Err("used the highest bit of the tag, which is the host's".to_owned());
        }
        self.in_flight.push(pick);
        self.picks += 1;
        Ok(())
    }

    fn inquire(&mut self) -> Result<(), String> {
        let excluded = self.excluded();
        let key = self.dice.below(50).to_le_bytes();
        let request = request(self.dice.below(40), &key, &excluded);
        let Some(inquiry) = self.driver.with(|selector, cx| selector.inquire(&request, cx)) else { return Ok(()) };
        let targets = inquiry.targets();
        if !self.inquires {
            return Err("asks servers before a pick, but its signals do not say `inquires`".to_owned());
        }
        let could = |id: &BackendId| self.driver.fleet.is_eligible(id.slot) && !excluded.contains(&id.slot);
        if !targets.iter().all(could) {
            return Err(format!("probed a server that could not be picked: {targets:?}"));
        }
        if !(1..=targets.len()).contains(&inquiry.quorum) {
            return Err(format!("waits for {} answers of {}", inquiry.quorum, targets.len()));
        }
        if targets.iter().collect::<BTreeSet<_>>().len() != targets.len() {
            return Err(format!("probed a server twice: {targets:?}"));
        }
        self.asked.push(targets.to_vec());
        Ok(())
    }
}

/// Picks, ends, refusals, reports, wakes, probes and changes of the fleet come in random order. A pick is always an eligible
/// server that is not excluded; there is none only when no such server is left. Probed servers could be picked.
pub fn any_order_of_events(strategy: &StrategyConfig) -> Result<(), Violation> {
    for seed in 0..6 {
        let mut storm = Storm {
            driver: Driver::new(strategy, &[1, 2, 3, 1, 5], seed),
            dice: Rng::stream(seed, "operations", 0),
            in_flight: Vec::new(),
            asked: Vec::new(),
            inquires: strategy.signals().inquires,
            picks: 0,
        };
        for step in 0..4000 {
            let at = |what| violation(strategy, "any_order_of_events", format!("{what} (seed {seed}, step {step})"));
            storm.step(step).map_err(at)?;
        }
        if storm.picks < 500 {
            let what = format!("only {} picks in 4000 steps (seed {seed})", storm.picks);
            return Err(violation(strategy, "any_order_of_events", what));
        }
    }
    Ok(())
}

/// An empty fleet gives no server. A single server gets all requests, except those that exclude it.
pub fn empty_and_single_server(strategy: &StrategyConfig) -> Result<(), Violation> {
    let fails = |what: String| Err(violation(strategy, "empty_and_single_server", what));
    let key = [7; 8];
    if let Some(pick) = Driver::new(strategy, &[], 1).pick(&request(1, &key, &[])) {
        return fails(format!("picked {pick:?} of an empty fleet"));
    }
    let mut driver = Driver::new(strategy, &[3], 1);
    for n in 0..100 {
        match driver.pick(&request(n, &key, &[])) {
            Some(pick) if pick.backend.slot == 0 => {}
            other => return fails(format!("picked {other:?} where slot 0 is the only server")),
        }
        if let Some(pick) = driver.pick(&request(n, &key, &[0])) {
            return fails(format!("picked {pick:?} where the only server is excluded"));
        }
    }
    Ok(())
}

/// The same seed and the same calls give the same picks: no clock, no entropy, no order of a hash map.
pub fn same_seed_same_picks(strategy: &StrategyConfig) -> Result<(), Violation> {
    let run = |seed| {
        let mut driver = Driver::new(strategy, &[1, 2, 3, 4], seed);
        let mut picks = Vec::new();
        for n in 0..500_u64 {
            driver.now = Nanos::from_millis(n);
            let key = (n % 31).to_le_bytes();
            let Some(pick) = driver.pick(&request(n % 17, &key, &[])) else { continue };
            if n % 3 == 0 {
                driver.finish(pick, Nanos::from_millis(5 + n % 7), Outcome::Ok);
            }
            picks.push(pick.backend.slot);
        }
        picks
    };
    let (first, second) = (run(4), run(4));
    match first.iter().zip(&second).position(|(a, b)| a != b) {
        None if first.len() == second.len() => Ok(()),
        at => {
            let what = format!("two runs of the same calls differ, first at pick {:?}", at.unwrap_or(0));
            Err(violation(strategy, "same_seed_same_picks", what))
        }
    }
}

/// A strategy that says it is silent ([`Selector::is_silent`]) makes the same picks whether or not it learns of ends, and has no
/// command.
pub fn silent_strategies_are_silent(strategy: &StrategyConfig) -> Result<(), Violation> {
    let run = |learns: bool| {
        let mut driver = Driver::new(strategy, &[1, 2, 3, 4], 5);
        let mut commands = 0;
        let mut picks = Vec::new();
        let mut in_flight = std::collections::VecDeque::new();
        for n in 0..500_u64 {
            driver.now = Nanos::from_millis(3 * n);
            let key = (n % 31).to_le_bytes();
            let Some(pick) = driver.pick(&request(n % 17, &key, &[])) else { continue };
            picks.push(pick.backend.slot);
            in_flight.push_back(pick);
            if in_flight.len() > 6 {
                let pick = in_flight.remove((n % 5) as usize).expect("there are seven");
                let outcome = if n % 11 == 0 { Outcome::Failed } else { Outcome::Ok };
                match learns {
                    true => driver.finish(pick, Nanos::from_millis(5 + n % 97), outcome),
                    false => driver.fleet.ended(pick.backend),
                }
            }
            commands += (0..100).take_while(|_| driver.with(|s, cx| s.poll_command(cx)).is_some()).count();
        }
        (picks, commands, driver.selector.is_silent())
    };
    let (told, commands, silent) = run(true);
    if silent && commands > 0 {
        let what = format!("says that it is silent and had {commands} commands");
        return Err(violation(strategy, "silent_strategies_are_silent", what));
    }
    match told.iter().zip(run(false).0).position(|(a, b)| *a != b).filter(|_| silent) {
        None => Ok(()),
        Some(at) => {
            let what = format!("says that it is silent, but without ends its pick {at} is another one");
            Err(violation(strategy, "silent_strategies_are_silent", what))
        }
    }
}

/// A pick that the host does not use ([`Selector::on_refused`], slow start) leaves the scores of all servers unchanged.
/// Rotations are excepted: a refused server may lose its turn.
pub fn refused_picks_leave_no_trace(strategy: &StrategyConfig) -> Result<(), Violation> {
    let rotates = strategy.row().is_some_and(|row| row.doc.family == super::catalog::Family::RoundRobin)
        || matches!(strategy, StrategyConfig::WeightedLeastRequest(_));
    let mut driver = Driver::new(strategy, &[1, 2, 3, 1], 9);
    let mut in_flight = std::collections::VecDeque::new();
    for n in 0..400_u64 {
        driver.now = Nanos::from_millis(10 * n + 1);
        let key = n.to_le_bytes();
        let request = request(n, &key, &[]);
        let scores = |driver: &Driver| -> Vec<_> {
            (0..4).map(|s| driver.selector.score(s, &driver.fleet, driver.now)).collect()
        };
        let before = scores(&driver);
        if let Some(refused) = driver.with(|selector, cx| selector.pick(&request, cx)) {
            driver.with(|selector, cx| selector.on_refused(&refused, cx));
        }
        let after = scores(&driver);
        let same = |(a, b): (&Option<f64>, &Option<f64>)| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * a.abs().max(b.abs()),
            (None, _) => true,
            (Some(_), None) => false,
        };
        if !rotates && !before.iter().zip(&after).all(same) {
            let what = format!("scores were {before:?} before a refused pick and {after:?} after it (pick {n})");
            return Err(violation(strategy, "refused_picks_leave_no_trace", what));
        }
        in_flight.extend(driver.pick(&request));
        while let Some(command) = driver.with(|selector, cx| selector.poll_command(cx)) {
            if let Command::Probe(backend) = command {
                let in_server = Some(driver.fleet.in_flight()[backend.slot as usize]);
                let load = LoadReport { in_server, latency: 0.01, by: ReportSource::Probe, ..LoadReport::default() };
                driver.with(|selector, cx| selector.on_report(backend, &load, cx));
            }
        }
        if n % 3 > 0
            && let Some(pick) = in_flight.pop_front()
        {
            driver.finish(pick, Nanos::from_millis(15 + n % 7), Outcome::Ok);
        }
    }
    Ok(())
}

/// Shares of `picks` requests, each of which ends before the next, among servers of these weights. Each request has a key
/// and a client of its own.
pub fn shares(strategy: &StrategyConfig, weights: &[u32], picks: u64) -> Vec<f64> {
    let mut driver = Driver::new(strategy, weights, 5);
    let mut counts = vec![0_u64; weights.len()];
    for n in 0..picks {
        driver.now = Nanos(n * 1000);
        let key = n.to_le_bytes();
        if let Some(pick) = driver.pick(&request(n, &key, &[])) {
            counts[pick.backend.slot as usize] += 1;
            driver.finish(pick, Nanos::from_millis(1), Outcome::Ok);
        }
    }
    counts.iter().map(|&count| count as f64 / picks as f64).collect()
}

fn violation(strategy: &StrategyConfig, rule: &'static str, what: String) -> Violation {
    Violation { strategy: strategy.name(), rule, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::catalog::CATALOGUE;
    use crate::select::strategies::prequal;
    use crate::select::{CustomStrategy, candidates};

    #[test]
    fn the_catalogue_conforms() {
        for row in CATALOGUE {
            let mut strategy = (row.default)();
            any_order_of_events(&strategy).unwrap();
            empty_and_single_server(&strategy).unwrap();
            same_seed_same_picks(&strategy).unwrap();
            silent_strategies_are_silent(&strategy).unwrap();
            if row.name == "prequal" {
                // Compares by requests only: a reply that counts as used would show.
                strategy = prequal::Params { q_rif: 0.0, remove: 0.0, ..Default::default() }.into();
            }
            refused_picks_leave_no_trace(&strategy).unwrap();
        }
    }

    /// Each rule is violated by a strategy that keeps all other rules.
    #[test]
    fn violations_are_found() {
        /// Index of the rule to violate.
        struct Wrong(u32, u64);
        impl Selector for Wrong {
            fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
                self.1 += 1;
                let slot = match self.0 {
                    0 => cx.fleet.eligible().first().copied()?,
                    1 => candidates(request, cx.fleet).nth(usize::from(self.1.is_multiple_of(50)))?,
                    #[allow(clippy::disallowed_types, reason = "the violation that the suite must find")]
                    2 => {
                        let entropy = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
                        let n = candidates(request, cx.fleet).count() as u64;
                        candidates(request, cx.fleet).nth((entropy % n.max(1)) as usize)?
                    }
                    // Only once something has ended.
                    6 if self.1 > 1000 => candidates(request, cx.fleet).last()?,
                    _ => candidates(request, cx.fleet).next()?,
                };
                Some(Pick { backend: cx.fleet.id(slot), tag: u64::from(self.0 == 3) << 63 })
            }
            fn on_finish(&mut self, _: &Finished, _: &mut Context<'_>) {
                self.1 += if self.0 == 6 { 1000 } else { 0 };
            }
            fn poll_command(&mut self, cx: &mut Context<'_>) -> Option<Command> {
                (self.0 == 7 && std::mem::take(&mut self.1) > 0).then_some(Command::WakeAt(cx.now))
            }
            fn is_silent(&self) -> bool {
                self.0 >= 6
            }
            fn score(&self, _: u32, _: &Fleet, _: Nanos) -> Option<f64> {
                Some(if self.0 == 4 { self.1 as f64 } else { 0.0 })
            }
        }
        let found = |rule| {
            let strategy = CustomStrategy::new("wrong", move |_| Box::new(Wrong(rule, 0))).into();
            check(&strategy).map_err(|violation| (violation.rule, violation.what))
        };
        for (wrong, rule, part) in [
            (0, "any_order_of_events", "is excluded"),
            (1, "any_order_of_events", "picked no server though 1 could"),
            (2, "same_seed_same_picks", "differ"),
            (3, "any_order_of_events", "the highest bit"),
            (4, "refused_picks_leave_no_trace", "scores were"),
            (6, "silent_strategies_are_silent", "without ends"),
            (7, "silent_strategies_are_silent", "commands"),
        ] {
            let (broken, what) = found(wrong).unwrap_err();
            assert!(broken == rule && what.contains(part), "{wrong}: {broken}: {what}");
        }
        assert_eq!(found(5), Ok(()));
    }
}

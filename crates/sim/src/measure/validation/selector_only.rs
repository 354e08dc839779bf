//! Selectors without a simulator: requests arrive and never end.

use evenkeel_core::fleet::Fleet;
use evenkeel_core::rng::{Rng, Source};
use evenkeel_core::select::catalog::{Strategy, StrategyConfig};
use evenkeel_core::select::{Context, Request, Selector};
use evenkeel_core::units::Nanos;

/// A selector with a fleet of its own.
struct SelectorOnly {
    selector: Box<dyn Selector>,
    fleet: Fleet,
    rng: Rng,
}

impl SelectorOnly {
    fn new(table: &StrategyConfig, mut fleet: Fleet, seed: u64) -> SelectorOnly {
        let mut rng = Rng::stream(seed, "validation", 0);
        let mut selector = table.build(&mut rng);
        let changes = fleet.take_changes();
        selector.on_fleet(&changes, &mut Context { now: Nanos::ZERO, fleet: &fleet, rng: &mut rng, truth: None });
        SelectorOnly { selector, fleet, rng }
    }

    /// Sends one request and counts it as in flight permanently.
    fn send(&mut self, request: &Request<'_>) -> Option<u32> {
        let mut cx = Context { now: Nanos::ZERO, fleet: &self.fleet, rng: &mut self.rng, truth: None };
        let pick = self.selector.pick(request, &mut cx)?;
        self.fleet.started(pick.backend);
        Some(pick.backend.slot)
    }
}

/// A strategy as a scenario would write it: `"p2c"`, `{ p2c = { replacement = true } }`.
fn table(strategy: &str) -> StrategyConfig {
    #[derive(serde::Deserialize)]
    struct Holder {
        strategy: Strategy,
    }
    toml::from_str::<Holder>(&format!("strategy = {strategy}")).expect("a strategy of the catalogue").strategy.0
}

/// A request with arbitrary client and key.
fn request(key: &[u8; 8]) -> Request<'_> {
    Request { client: std::net::Ipv4Addr::LOCALHOST.into(), path: "/", key, excluded: &[], answers: None }
}

/// As many balls as bins, 2^16: shares of bins with at least one, two and three.
pub fn balls(strategy: &str, seed: u64) -> Vec<f64> {
    const BINS: usize = 1 << 16;
    let mut alone = SelectorOnly::new(&table(strategy), Fleet::of_weights(&[1; BINS]), seed);
    for _ in 0..BINS {
        alone.send(&request(&[0; 8]));
    }
    let at_least = |k: u32| alone.fleet.in_flight().iter().filter(|&&n| n >= k).count() as f64 / BINS as f64;
    vec![at_least(1), at_least(2), at_least(3)]
}

/// Servers on the rings of [`ring`].
pub const RING_SERVERS: u32 = 10;
/// Points of each.
pub const RING_POINTS: u32 = 160;
/// Number of keys from which shares are measured.
pub const RING_KEYS: u32 = 50_000;

/// The mean square of a server's relative deviation from an equal share of the keys, on a ring of servers whose names depend
/// on the seed.
pub fn ring(seed: u64) -> Vec<f64> {
    let names: Vec<String> = (0..RING_SERVERS).map(|i| format!("10.{}.{}.{i}:80", seed / 256, seed % 256)).collect();
    let mut fleet = Fleet::new();
    fleet.join_all(names.iter().map(|name| (name.as_str(), 1)));
    let mut alone = SelectorOnly::new(&table("\"consistent_hash\""), fleet, seed);
    let mut counts = vec![0u32; RING_SERVERS as usize];
    let mut keys = Rng::stream(seed, "keys", 0);
    for _ in 0..RING_KEYS {
        if let Some(slot) = alone.send(&request(&keys.bits().to_le_bytes())) {
            counts[slot as usize] += 1;
        }
    }
    let even = f64::from(RING_KEYS) / f64::from(RING_SERVERS);
    let off = |count: &u32| (f64::from(*count) / even - 1.0) * (f64::from(*count) / even - 1.0);
    vec![counts.iter().map(off).sum::<f64>() / f64::from(RING_SERVERS)]
}

//! Strategies allocate only when the fleet changes: picks, ends, reports and updates allocate nothing.
//!
//! A separate test program, because counting allocations needs the global allocator.

use std::hint::black_box;

use allocation_counter::measure;
use evenkeel::select::catalog::CATALOGUE;
use evenkeel::select::strategies::p2c;
use evenkeel::select::{Context, CustomStrategy, Pick, Request, Selector};
use evenkeel::sim::pick_bench::{PickBench, Setting};
use evenkeel::units::Nanos;
use evenkeel_core::Picker;

const TURNS: u64 = 20_000;

/// A hundred servers of different weights with requests that take a tenth of a second: the turns take 25 seconds, so
/// that what is done twice a second, or every ten, is done too. The host's own lists of full servers grow in the first
/// turns.
fn setting() -> Setting {
    Setting::unlike(100, Nanos::from_millis(100))
}

fn allocations(mut bench: PickBench) -> u64 {
    bench.run(TURNS / 10);
    let counted = measure(|| bench.run(TURNS)).count_total;
    assert_eq!(bench.tally().wrong, 0);
    counted
}

#[test]
fn nothing_is_allocated_per_pick() {
    let counts = CATALOGUE.iter().map(|row| (row.name, allocations(PickBench::new(&(row.default)(), &setting()))));
    let wasteful: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
    assert!(wasteful.is_empty(), "allocations in {TURNS} turns: {wasteful:?}");
}

/// A guard and its end cost no memory either.
#[test]
fn a_picker_allocates_nothing_per_request() {
    let mut picker = Picker::new(p2c::Params::default(), 1).unwrap();
    let names: Vec<String> = (0..100).map(|n| format!("s{n}")).collect();
    picker.add_all(names.iter().map(|name| (name.as_str(), 1)));
    let mut run = |turns: u64| {
        for n in 0..turns {
            let guard = picker.pick(&Request::default(), Nanos(n)).unwrap();
            guard.ok(Nanos(n));
        }
    };
    run(100);
    assert_eq!(measure(|| run(TURNS)).count_total, 0);
}

/// Allocates once a pick.
struct Wasteful;

impl Selector for Wasteful {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let left = cx.fleet.eligible().iter().copied().filter(|slot| !request.excluded.contains(slot));
        let slot = *black_box(left.collect::<Box<[u32]>>()).first()?;
        Some(Pick { backend: cx.fleet.id(slot), tag: 0 })
    }
}

#[test]
fn the_measurement_detects_allocations() {
    let bench = PickBench::new(&CustomStrategy::new("wasteful", |_| Box::new(Wasteful)).into(), &setting());
    assert!(allocations(bench) >= TURNS);
}

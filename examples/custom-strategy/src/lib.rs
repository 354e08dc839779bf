//! A strategy that is not in evenkeel's catalogue: two choices with memory. One of the two servers is drawn at random
//! for each request; the other is the better one of the previous two. Source: Mitzenmacher, Prabhakar, Shah, "Load balancing with
//! memory", FOCS 2002.

use evenkeel_core::fleet::{BackendId, Change};
use evenkeel_core::rng::Source;
use evenkeel_core::select::{Context, CustomStrategy, Pick, Request, Selector, candidates};

/// Two choices, one of them remembered.
#[derive(Default)]
struct Memory {
    remembered: Option<BackendId>,
}

impl Selector for Memory {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        // `candidates` are the eligible servers without those that the request excludes. An index into them would be faster
        // where nothing is excluded; this is the short form.
        let n = candidates(request, cx.fleet).count() as u64;
        let drawn = candidates(request, cx.fleet).nth(if n > 0 { cx.rng.below(n) as usize } else { 0 })?;
        let load = |slot: u32| cx.fleet.in_flight()[slot as usize];
        let usable = |slot: &u32| candidates(request, cx.fleet).any(|candidate| candidate == *slot);
        let remembered = self.remembered.map(|server| server.slot).filter(usable);
        let (better, other) = match remembered {
            Some(slot) if load(slot) < load(drawn) => (slot, drawn),
            Some(slot) => (drawn, slot),
            None => (drawn, drawn),
        };
        // With the request that is placed now.
        let next = if load(better) < load(other) { better } else { other };
        self.remembered = Some(cx.fleet.id(next));
        Some(Pick { backend: cx.fleet.id(better), tag: 0 })
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        // A slot that has a new server is not the server that is remembered.
        if !changes.is_empty() {
            self.remembered = self.remembered.filter(|&server| cx.fleet.is_current(server));
        }
    }
}

/// The strategy, for a scenario or a [`evenkeel_core::Picker`].
pub fn memory() -> CustomStrategy {
    CustomStrategy::new("memory", |_rng| Box::new(Memory::default()))
}

/// Four balancers in front of sixteen servers at 80 % of capacity.
pub const SCENARIO: &str = r#"
title = "Two choices with memory"
question = "Does remembering a server replace drawing a second one?"
duration = "20s"
warmup = "2s"
replications = 8
strategies = ["random", "p2c"]
arrivals = { poisson = { load = "80%" } }
service = { exponential = { mean = "10ms" } }

[balancers]
count = 1

[[pools]]
name = "web"
[[pools.servers]]
name = "web"
count = 16
"#;

//! Runs scenario files and prints a digest of each run's whole record, so that two builds of the simulator can be compared:
//! `cargo run --release -p evenkeel-sim --example records -- scenarios/*.toml`. Also what a profiler runs.
//!
//! `--seconds N` shortens each run to so many simulated seconds, its faults and load changes in proportion; `--strategies
//! a,b` (or `all`) instead of those of the scenario; `--observed` adds a digest of every call of an observer; `--bare` leaves
//! the digest of the record out, so that a profile shows the run alone. The number of events is not part of the digest: how
//! many the engine makes of a request is its own affair.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use evenkeel_core::select::catalog::{self, CATALOGUE};
use evenkeel_core::units::Nanos;
use evenkeel_sim::scenario::{Scenario, Variant};
use evenkeel_sim::sim::observe;
use evenkeel_sim::sim::observer::{Arrival, Decision, Observer, RunEvent, Step};

/// Every call, in order.
#[derive(Default)]
struct Watcher(DefaultHasher);

impl Watcher {
    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        what.to_string().hash(&mut self.0);
    }
}

impl Observer for Watcher {
    const WATCHES_LIMITS: bool = true;

    fn arrived(&mut self, job: u32, arrival: &Arrival<'_>) {
        self.note(format_args!("{job} {arrival:?}"));
    }
    fn deciding(&mut self, decision: &Decision<'_>) {
        let Decision { job, id, now, request, dispatcher, pool, base, fleet, .. } = decision;
        let fleet = (fleet.in_flight(), fleet.eligible());
        self.note(format_args!("{job} {id} {now} {request:?} {dispatcher} {pool} {base} {fleet:?}"));
    }
    fn decided(&mut self, job: u32, server: Option<u32>, now: Nanos) {
        self.note(format_args!("{job} {server:?} {now:?}"));
    }
    fn step(&mut self, job: u32, step: Step, now: Nanos) {
        self.note(format_args!("{job} {step:?} {now:?}"));
    }
    fn event(&mut self, event: &RunEvent<'_>, now: Nanos) {
        self.note(format_args!("{event:?} {now:?}"));
    }
    fn closed(&mut self, now: Nanos) {
        self.note(format_args!("{now:?}"));
    }
}

/// The run's span at most so long, with the faults and load changes inside it.
fn shorten(scenario: &mut Scenario, seconds: f64) {
    let model = &mut scenario.model;
    let span = (model.warmup + model.duration).as_secs_f64();
    if span <= seconds {
        return;
    }
    let scale = |at: Nanos| Nanos((at.0 as f64 * seconds / span) as u64);
    for time in [&mut model.warmup, &mut model.duration, &mut model.cache_warmup] {
        *time = scale(*time);
    }
    for fault in &mut model.faults {
        (fault.at, fault.until) = (scale(fault.at), fault.until.map(scale));
    }
    model.load_changes.iter_mut().for_each(|change| change.at = scale(change.at));
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut seconds, mut strategies, mut observed, mut bare) = (None, None, false, false);
    let mut files = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => seconds = arguments.next().and_then(|text| text.parse().ok()),
            "--strategies" => strategies = arguments.next(),
            "--observed" => observed = true,
            "--bare" => bare = true,
            _ => files.push(argument),
        }
    }
    for file in &files {
        let path = Path::new(file);
        let beside = |name: &str| {
            let path = path.parent().unwrap_or(Path::new(".")).join(name);
            std::fs::read_to_string(path).map_err(|error| error.to_string())
        };
        let source = std::fs::read_to_string(path).expect("the scenario can be read");
        let mut scenario = Scenario::parse("s", &source, &beside).expect("the scenario is valid");
        match strategies.as_deref() {
            Some("all") => scenario.variants = CATALOGUE.iter().map(|row| Variant::new((row.default)())).collect(),
            Some(names) => {
                let parse = |name: &str| Variant::new(catalog::parse(name).expect("a strategy"));
                scenario.variants = names.split(',').map(parse).collect();
            }
            None => {}
        }
        scenario.settle(Nanos::ZERO, Nanos::ZERO);
        if let Some(seconds) = seconds {
            shorten(&mut scenario, seconds);
        }
        for (index, variant) in scenario.variants.iter().enumerate() {
            let mut watcher = Watcher::default();
            let result = match observed {
                true => observe(&scenario.setup(index, 0), &|| false, &mut watcher),
                false => observe(&scenario.setup(index, 0), &|| false, &mut ()),
            };
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            match result {
                Ok(mut record) => {
                    let events = std::mem::take(&mut record.events);
                    let mut digest = DefaultHasher::new();
                    if !bare {
                        serde_json::to_string(&record).expect("a record is plain data").hash(&mut digest);
                    }
                    println!(
                        "{name} {} requests {} events {} record {:016x} calls {:016x}",
                        variant.label,
                        record.requests,
                        events,
                        digest.finish(),
                        watcher.0.finish(),
                    );
                }
                Err(stopped) => println!("{name} {} {stopped:?} calls {:016x}", variant.label, watcher.0.finish()),
            }
        }
    }
}

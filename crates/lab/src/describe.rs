//! What a scenario is, for the page: its text, its servers, its faults, and sentences with units.

use std::collections::BTreeMap;

use evenkeel_config::fault::Fault as _;
use evenkeel_core::select::catalog::Family;
use evenkeel_sim::measure::exact_values;
use evenkeel_sim::scenario::{Kind, Scenario};
use evenkeel_sim::sim::model::{Arrivals, Discipline, Fault, Keys, Model, Pool, Target};
use serde::{Deserialize, Serialize};

use crate::Refusal;
use crate::controls::{Control, controls};
use crate::session::read;

/// A scenario as a page has it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Text {
    /// File name without its ending.
    pub name: String,
    /// TOML.
    pub source: String,
    /// Text of the files that it refers to.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

#[derive(Serialize)]
pub(crate) struct Description {
    name: String,
    title: String,
    question: String,
    answer: Option<String>,
    kind: Kind,
    duration: f64,
    warmup: f64,
    /// The scenario leaves the warm-up to a pilot run, which the lab does not make: it takes a tenth of the run.
    auto_warmup: bool,
    seed: u64,
    replications: u32,
    strategies: Vec<StrategyText>,
    pools: Vec<PoolText>,
    balancers: u32,
    shards: u32,
    paths: Vec<String>,
    facts: Vec<(&'static str, String)>,
    controls: Vec<Control>,
    faults: Vec<FaultText>,
    load_can_change: bool,
    load: Option<f64>,
    theory: Vec<TheoryText>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct StrategyText {
    label: String,
    name: &'static str,
    family: &'static str,
}

#[derive(Serialize)]
struct PoolText {
    name: String,
    paths: Vec<String>,
    tier: u32,
    first: u32,
    servers: Vec<ServerText>,
    policies: Vec<&'static str>,
    strategy: Option<&'static str>,
}

#[derive(Serialize)]
struct ServerText {
    name: String,
    weight: u32,
    speed: f64,
    slots: u32,
    queue_limit: Option<u32>,
    zone: Option<String>,
    cache: Option<usize>,
    discipline: &'static str,
}

/// A fault of the scenario, or of an act.
#[derive(Serialize)]
pub(crate) struct FaultText {
    number: u32,
    target: String,
    /// Its server over all pools; -1 for a balancer.
    server: i64,
    /// Its balancer; -1 for a server.
    balancer: i64,
    kind: String,
    at: f64,
    #[serde(rename = "for")]
    lasts: Option<f64>,
    sentence: String,
}

#[derive(Serialize)]
struct TheoryText {
    metric: &'static str,
    strategy: String,
    value: f64,
    source: String,
}

/// Describes a scenario.
pub(crate) fn describe(text: &Text) -> Result<Description, Refusal> {
    let scenario = read(&text.name, &text.source, &text.files)?;
    let model = &scenario.model;
    let faults = model.faults.iter().enumerate();
    Ok(Description {
        name: scenario.name.clone(),
        title: scenario.title.clone(),
        question: scenario.question.clone(),
        answer: scenario.answer.clone(),
        kind: scenario.kind,
        duration: model.duration.as_secs_f64(),
        warmup: model.warmup.as_secs_f64(),
        auto_warmup: scenario.needs_pilot(),
        seed: scenario.seed,
        replications: scenario.replications,
        strategies: strategies(&scenario),
        pools: pools(model),
        balancers: model.balancers.count,
        shards: model.balancers.shards,
        paths: model.paths.iter().take(1000).map(|path| path.path.clone()).collect(),
        facts: facts(&scenario),
        controls: controls(&text.source, &scenario),
        faults: faults.map(|(number, found)| fault(model, number as u32, found)).collect(),
        load_can_change: matches!(
            model.arrivals,
            Arrivals::Poisson(_) | Arrivals::Constant { .. } | Arrivals::Renewal { .. }
        ),
        load: scenario.offered_load,
        theory: theory(&scenario),
        warnings: scenario.warnings.iter().map(|problem| problem.message.clone()).collect(),
    })
}

fn strategies(scenario: &Scenario) -> Vec<StrategyText> {
    let family = |name: &Option<Family>| name.map_or("custom", Family::title);
    let variants = scenario.variants.iter();
    variants
        .map(|variant| StrategyText {
            label: variant.label.clone(),
            name: variant.table.name(),
            family: family(&variant.table.row().map(|row| row.doc.family)),
        })
        .collect()
}

fn pools(model: &Model) -> Vec<PoolText> {
    let mut first = 0;
    let text = |(p, pool): (usize, &Pool)| {
        let paths = model.paths.iter().filter(|path| path.pool == p);
        let paths: Vec<String> = paths.take(1000).map(|path| path.path.clone()).collect();
        let called = model.pools.iter().any(|other| other.backend.as_ref().is_some_and(|backend| backend.pool == p));
        let text = PoolText {
            name: pool.name.clone(),
            tier: if called && paths.is_empty() { 2 } else { 1 },
            paths,
            first,
            servers: pool.servers.iter().map(server).collect(),
            policies: pool.policy.present(),
            strategy: pool.strategy.as_ref().map(|strategy| strategy.name()),
        };
        first += pool.servers.len() as u32;
        text
    };
    model.pools.iter().enumerate().map(text).collect()
}

fn server(server: &evenkeel_sim::sim::model::Server) -> ServerText {
    let (slots, discipline) = match server.discipline {
        Discipline::Fcfs => (server.concurrency, "fcfs"),
        Discipline::Ps => (1, "ps"),
    };
    ServerText {
        name: server.name.clone(),
        weight: server.weight,
        speed: server.speed,
        slots,
        queue_limit: server.queue_limit,
        zone: server.zone.clone(),
        cache: server.cache.map(|cache| cache.capacity.get()),
        discipline,
    }
}

/// A fault in words.
pub(crate) fn fault(model: &Model, number: u32, fault: &Fault) -> FaultText {
    let bases = crate::Watch::new(model).bases;
    let (server, balancer) = crate::watch::struck(&bases, fault.target);
    let target = match fault.target {
        Target::Server { pool, server } => {
            format!("{}/{}", model.pools[pool].name, model.pools[pool].servers[server].name)
        }
        Target::Balancer(balancer) => format!("balancer/{}", balancer + 1),
    };
    let kind = fault.kind.label();
    let until = fault.until.map_or("to the end of the run".to_owned(), |until| format!("for {}", until - fault.at));
    FaultText {
        number,
        server: server as i64,
        balancer: balancer as i64,
        at: fault.at.as_secs_f64(),
        lasts: fault.until.map(|until| (until - fault.at).as_secs_f64()),
        sentence: format!("{target}: {kind} at {}, {until}", fault.at),
        target,
        kind,
    }
}

fn theory(scenario: &Scenario) -> Vec<TheoryText> {
    let mut found = Vec::new();
    for variant in &scenario.variants {
        let Some(exact) = exact_values::exact(scenario, &variant.table) else { continue };
        let mut add = |metric, value| {
            let (strategy, source) = (variant.label.clone(), exact.theorem.clone());
            found.push(TheoryText { metric, strategy, value, source });
        };
        add("latency.mean", exact.mean);
        if let Some(p99) = exact.p99 {
            add("latency.p99", p99);
        }
    }
    found
}

/// Sentences about the experiment: a heading and a text each.
fn facts(scenario: &Scenario) -> Vec<(&'static str, String)> {
    let model = &scenario.model;
    let mut facts = vec![("Arrivals", arrivals(scenario))];
    let services: Vec<String> = model.paths.iter().take(4).map(|path| service(model, path)).collect();
    facts.push(("Service", services.join("; ")));
    if let [path] = &model.paths[..] {
        let keys = match &path.keys {
            Keys::Path => "every request has the same key",
            Keys::Shared(_) => "each request has the key of one of many items",
            Keys::PerClient(_) => "each client has items of its own",
        };
        facts.push(("Keys", keys.to_owned()));
    }
    let clients = model.client_count();
    let mut text = plural(clients, "client");
    match &model.clients.timeout {
        Some(timeout) => text += &format!(", which give up after {}", mean(timeout.mean())),
        None => text += " without a timeout",
    }
    facts.push(("Clients", text));
    let hops = (model.client_leg.mean(), model.server_leg.mean());
    if hops != (0.0, 0.0) {
        let text =
            format!("{} from client to balancer, {} from balancer to server, each way", mean(hops.0), mean(hops.1));
        facts.push(("Network", text));
    }
    if model.balancers.count * model.balancers.shards > 1 {
        let shards = model.balancers.shards;
        let shards = if shards > 1 { format!(" with {shards} shards each") } else { String::new() };
        facts.push(("Balancers", format!("{}{shards}", plural(model.balancers.count as usize, "balancer"))));
    }
    for pool in &model.pools {
        facts.extend(reports(pool));
    }
    if let Some(load) = scenario.offered_load {
        facts.push(("Load", format!("{:.0} % of the capacity", load * 100.0)));
    }
    facts
}

fn reports(pool: &Pool) -> Option<(&'static str, String)> {
    let reports = pool.reports?;
    let interval = reports.interval.map_or("on no fixed interval".to_owned(), |interval| format!("every {interval}"));
    Some(("Load reports", format!("servers of {} report {interval}, {} late", pool.name, reports.delay)))
}

fn arrivals(scenario: &Scenario) -> String {
    let rate = scenario.demand.iter().find_map(|demand| demand.rate);
    let rate = rate.map_or(String::new(), |rate| format!(", {rate:.0} requests per second in the mean"));
    match &scenario.model.arrivals {
        Arrivals::Poisson(curve) if curve.points.len() > 1 => format!("Poisson with a rate that changes{rate}"),
        Arrivals::Poisson(_) => format!("Poisson{rate}"),
        Arrivals::Constant { .. } => format!("at constant intervals{rate}"),
        Arrivals::Renewal { .. } => format!("independent gaps of one distribution{rate}"),
        Arrivals::Closed { think } => {
            format!("a closed loop: each client thinks for {} after its answer", mean(think.mean()))
        }
        Arrivals::Replay(replay) => format!("{} recorded requests", replay.entries.len()),
    }
}

fn service(model: &Model, path: &evenkeel_sim::sim::model::Path) -> String {
    let spread = path.service.squared_variation();
    let spread = match spread {
        s if s < 1e-9 => "always the same".to_owned(),
        s => format!("coefficient of variation {:.2}", evenkeel_core::math::sqrt(s)),
    };
    let of = if model.paths.len() > 1 { format!("{}: ", path.path) } else { String::new() };
    format!("{of}{} of work in the mean at speed 1, {spread}", mean(path.service.mean()))
}

/// Nanoseconds as a time with three digits.
pub(crate) fn time(nanos: f64) -> String {
    mean(nanos)
}

fn mean(nanos: f64) -> String {
    let nanos = nanos.max(0.0);
    let (value, unit) = match nanos {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let digits = if value >= 100.0 || value == value.trunc() { 0 } else { 2 };
    format!("{value:.digits$} {unit}")
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

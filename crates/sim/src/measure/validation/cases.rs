//! The test cases. Time is measured in mean service times of one millisecond; exact values come from [`evenkeel_theory`]
//! alone.

use super::{Asked, Certainty, Gate, Subject, abandonment, arrivals, copies, networks, recursion, selector_only};
use crate::scenario::Scenario;
use evenkeel_core::math::{exp, pow};
use evenkeel_theory::chains::{self, Rule, Ties};
use evenkeel_theory::{ConstantService, MeanField, balls_into_bins, caches, dispatch, queues};

/// The mean service time, seconds.
pub(super) const UNIT: f64 = 1e-3;
/// Slack of percentiles, which come from a histogram of three digits.
pub(super) const RESOLUTION: f64 = 0.001;

/// All cases, in output order.
pub fn gates() -> Vec<Gate> {
    let mut all = Vec::new();
    stations(&mut all);
    service_times(&mut all);
    limits(&mut all);
    turns(&mut all);
    queues(&mut all);
    unlike(&mut all);
    memory(&mut all);
    throws(&mut all);
    drills(&mut all);
    abandonment::cases(&mut all);
    arrivals::cases(&mut all);
    networks::cases(&mut all);
    copies::cases(&mut all);
    recursion::cases(&mut all);
    all
}

/// The settings of a case's scenario.
pub(super) struct Setup<'a> {
    pub strategy: &'a str,
    pub arrivals: String,
    pub service: &'a str,
    pub servers: &'a str,
    pub more: &'a str,
    /// Keys of the pool.
    pub pool: &'a str,
    /// Measured time, milliseconds: chosen for about as many requests with every number of servers.
    pub span: u32,
}

/// Poisson arrivals at a load, exponential work of mean 1 ms.
pub(super) fn poisson<'a>(strategy: &'a str, load: f64, servers: &'a str) -> Setup<'a> {
    let arrivals = format!("{{ poisson = {{ load = \"{}%\" }} }}", load * 100.0);
    Setup { strategy, arrivals, service: EXPONENTIAL, servers, more: "", pool: "", span: 16_000 }
}

pub(super) const EXPONENTIAL: &str = r#"{ exponential = { mean = "1ms" } }"#;
pub(super) const CONSTANT: &str = r#"{ constant = { value = "1ms" } }"#;
pub(super) const HYPEREXPONENTIAL: &str = r#"{ hyperexponential = { mean = "1ms", scv = 4.0 } }"#;
pub(super) const ONE: &str = "count = 1";
pub(super) const TWO: &str = "count = 2";
const THREE: &str = "count = 3";
pub(super) const FOUR: &str = "count = 4";
pub(super) const TEN: &str = "count = 10";
const TEN_SHARING: &str = "count = 10\ndiscipline = \"ps\"";

impl Setup<'_> {
    pub fn source(&self) -> String {
        let Setup { strategy, arrivals, service, servers, more, pool, span } = self;
        // Each line that begins a server table becomes a table of its own.
        let servers = servers.replace("--", "[[pools.servers]]\nname = \"other\"");
        format!(
            "title = \"Validation\"\nquestion = \"Does the simulator agree with queueing theory?\"\n\
             duration = \"{span}ms\"\nwarmup = \"3s\"\nreplications = 20\nbins = 0\nstrategies = [{strategy}]\n\
             arrivals = {arrivals}\nservice = {service}\n{more}\n[[pools]]\nname = \"q\"\n{pool}\n\
             [[pools.servers]]\nname = \"s\"\n{servers}\n"
        )
    }
}

/// Adds a case with a scenario.
pub(super) fn add(all: &mut Vec<Gate>, name: &'static str, about: &str, setup: &Setup<'_>, asked: Vec<Asked>) {
    add_source(all, name, about, setup.source(), asked);
}

pub(super) fn add_source(all: &mut Vec<Gate>, name: &'static str, about: &str, source: String, asked: Vec<Asked>) {
    let scenario = Scenario::parse(name, &source, &|file| Err(format!("there is no file {file}")))
        .unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
    let (replications, seed) = (scenario.replications, scenario.seed);
    let subject = Subject::Scenario(Box::new(scenario));
    all.push(Gate { name, about: about.to_owned(), source, subject, asked, replications, seed });
}

pub(super) fn exact(quantity: &str, theory: f64) -> Asked {
    Asked { quantity: quantity.to_owned(), theory, certainty: Certainty::Exact, slack: 0.0 }
}

/// A mean latency, in mean service times.
pub(super) fn mean(theory: f64) -> Asked {
    exact("latency.mean", theory * UNIT)
}

/// A percentile of the latency, in mean service times.
pub(super) fn percentile(name: &str, theory: f64) -> Asked {
    Asked { slack: RESOLUTION, ..exact(&format!("latency.{name}"), theory * UNIT) }
}

pub(super) fn about(quantity: &str, theory: f64, slack: f64) -> Asked {
    Asked { certainty: Certainty::Approximate, slack, ..exact(quantity, theory) }
}

/// One queue: M/M/1, M/M/c, processor sharing, a closed loop.
fn stations(all: &mut Vec<Gate>) {
    for (name, load) in [("mm1-50", 0.5), ("mm1-80", 0.8), ("mm1-90", 0.9)] {
        let asked = vec![
            mean(queues::mm1_mean(load, 1.0)),
            percentile("p50", queues::mm1_quantile(load, 1.0, 0.5)),
            percentile("p99", queues::mm1_quantile(load, 1.0, 0.99)),
            exact("utilisation.mean", load),
            // By Little's law on each server.
            exact("in_server.mean", load / (1.0 - load)),
        ];
        let text = format!("random over 10 servers, load {load}: each is M/M/1");
        add(all, name, &text, &poisson("\"random\"", load, TEN), asked);
    }
    for (name, servers, load) in [("mmc-4-80", 4, 0.8), ("mmc-10-90", 10, 0.9)] {
        let lam = load * f64::from(servers);
        let asked = vec![
            mean(queues::mmc_mean(lam, 1.0, servers)),
            percentile("p99", queues::mmc_quantile(lam, 1.0, servers, 0.99)),
        ];
        let text = format!("one server with {servers} slots, load {load}: M/M/{servers}");
        add(all, name, &text, &poisson("\"random\"", load, &format!("concurrency = {servers}")), asked);
    }
    for (name, servers, load) in [("least-work-4-90", 4, 0.9), ("least-work-10-80", 10, 0.8)] {
        let lam = load * f64::from(servers);
        let asked = vec![
            mean(queues::mmc_mean(lam, 1.0, servers)),
            percentile("p99", queues::mmc_quantile(lam, 1.0, servers, 0.99)),
        ];
        let text = format!("the oracle's least work left over {servers} servers, load {load}: M/M/{servers}");
        add(all, name, &text, &poisson("\"oracle_least_work\"", load, &format!("count = {servers}")), asked);
    }
    // Ten clients with a think time of four service times.
    let closed = queues::repairman(10, 4.0, 1.0, 1);
    let setup = Setup {
        arrivals: "{ closed = { think = { exponential = { mean = \"4ms\" } } } }".to_owned(),
        more: "clients = { count = 10 }",
        span: 80_000,
        ..poisson("\"random\"", 0.0, ONE)
    };
    let asked = vec![exact("throughput", closed.throughput / UNIT), mean(closed.mean)];
    add(all, "repairman", "10 clients with 4 ms think time and one server: machine repairman", &setup, asked);
}

/// Service time distributions: the Pollaczek–Khinchine formula, and insensitivity of processor sharing.
fn service_times(all: &mut Vec<Gate>) {
    let hyper = HYPEREXPONENTIAL;
    let lognormal = r#"{ lognormal = { mean = "1ms", sigma = 1.0 } }"#;
    // Moments of the distributions below: 0.5 in nine of ten and 5.5 in the tenth; Pareto with exponent 1.5 from 0.35 to 35
    // (the mean is not 1 there).
    let bimodal = 0.9 * 0.25 + 0.1 * 30.25 - 1.0;
    let (pareto_mean, pareto_scv) = pareto(1.5, 0.35, 35.0);
    let of = [
        ("mg1-constant", CONSTANT, 1.0, 0.0),
        ("mg1-uniform", r#"{ uniform = { from = "0ms", to = "2ms" } }"#, 1.0, 1.0 / 3.0),
        ("mg1-erlang", r#"{ erlang = { mean = "1ms", stages = 4 } }"#, 1.0, 0.25),
        ("mg1-hyperexponential", hyper, 1.0, 4.0),
        ("mg1-lognormal", lognormal, 1.0, exp(1.0) - 1.0),
        ("mg1-bimodal", r#"{ bimodal = { short = "500us", long = "5500us", long_share = 0.1 } }"#, 1.0, bimodal),
        (
            "mg1-pareto",
            r#"{ bounded_pareto = { shape = 1.5, low = "350us", high = "35ms" } }"#,
            pareto_mean,
            pareto_scv,
        ),
    ];
    for (name, service, work, scv) in of {
        let text =
            format!("random over 10 servers, load 0.8, service with squared coefficient of variation {scv:.3}: M/G/1");
        let setup = Setup { service, ..poisson("\"random\"", 0.8, TEN) };
        add(all, name, &text, &setup, vec![mean(queues::mg1_mean(0.8 / work, work, scv))]);
    }
    for (name, service) in [
        ("ps-constant", CONSTANT),
        ("ps-exponential", EXPONENTIAL),
        ("ps-hyperexponential", hyper),
        ("ps-lognormal", lognormal),
    ] {
        let mut asked = vec![mean(queues::ps_mean(0.8, 1.0))];
        if name == "ps-exponential" {
            asked.push(percentile("p99", queues::ps_quantile(0.8, 1.0, 0.99)));
        }
        let setup = Setup { service, ..poisson("\"random\"", 0.8, TEN_SHARING) };
        let distribution = name.trim_start_matches("ps-");
        let text = format!(
            "random over 10 processor-sharing servers, load 0.8, {distribution} service: insensitive to the distribution"
        );
        add(all, name, &text, &setup, asked);
    }
}

/// Mean and squared coefficient of variation of the bounded Pareto distribution.
fn pareto(shape: f64, low: f64, high: f64) -> (f64, f64) {
    let cut = 1.0 - pow(low / high, shape);
    let moment = |k: f64| shape * (pow(high, k - shape) - pow(low, k - shape)) * pow(low, shape) / ((k - shape) * cut);
    (moment(1.0), moment(2.0) / (moment(1.0) * moment(1.0)) - 1.0)
}

/// Queues with a limit: Erlang's loss and M/M/c/K.
fn limits(all: &mut Vec<Gate>) {
    let of = [("erlang-loss", 10u32, 10u32, 8.0), ("mmck-4-16", 4, 16, 3.6), ("mmck-overload", 1, 10, 1.2)];
    for (name, servers, room, lam) in of {
        let found = queues::bounded(lam, 1.0, servers, room);
        let load = lam / f64::from(servers);
        let asked =
            vec![exact("errors.rejected", found.blocked), exact("goodput", found.throughput / UNIT), mean(found.mean)];
        let text = format!("{servers} slots and room for {room}, {lam} erlangs: M/M/{servers}/{room}");
        let server = format!("concurrency = {servers}\nqueue_limit = {}", room - servers);
        add(
            all,
            name,
            &text,
            &Setup { more: "allow_overload = true", span: 160_000 / servers, ..poisson("\"random\"", load, &server) },
            asked,
        );
    }
    // Erlang's loss formula depends on the mean service time only.
    for (name, service) in [
        ("erlang-loss-constant", CONSTANT),
        ("erlang-loss-hyperexponential", HYPEREXPONENTIAL),
        ("erlang-loss-lognormal", r#"{ lognormal = { mean = "1ms", sigma = 1.0 } }"#),
    ] {
        let blocked = queues::erlang_b(10, 8.0);
        let asked = vec![exact("errors.rejected", blocked), exact("utilisation.mean", 0.8 * (1.0 - blocked))];
        let distribution = name.trim_start_matches("erlang-loss-");
        let text =
            format!("10 slots and no queue, 8 erlangs, {distribution} service: M/G/10/10 blocks as much as M/M/10/10");
        let server = "concurrency = 10\nqueue_limit = 0";
        add(all, name, &text, &Setup { service, ..poisson("\"random\"", 0.8, server) }, asked);
    }
}

/// Round robin: E_n/M/1, and with constant work M/D/n.
fn turns(all: &mut Vec<Gate>) {
    let asked = vec![
        mean(dispatch::round_robin_mean(8.0, 1.0, 10)),
        percentile("p99", dispatch::round_robin_quantile(8.0, 1.0, 10, 0.99)),
    ];
    let text = "round robin over 10 servers, load 0.8: each is E10/M/1";
    add(all, "round-robin", text, &poisson("\"round_robin\"", 0.8, TEN), asked.clone());
    let text = "smooth weighted round robin with equal weights is round robin: E10/M/1";
    add(all, "weighted-round-robin", text, &poisson("\"weighted_round_robin\"", 0.8, TEN), asked);
    let constant = ConstantService::solve(8.0, 1.0, 10).expect("the load is below one");
    let setup = Setup { service: CONSTANT, ..poisson("\"round_robin\"", 0.8, TEN) };
    let asked = vec![mean(constant.mean()), percentile("p99", constant.quantile(0.99))];
    add(all, "round-robin-constant", "round robin of constant work over 10 servers, load 0.8: M/D/10", &setup, asked);
    let setup = Setup { arrivals: "{ constant = { load = 0.8 } }".to_owned(), ..poisson("\"round_robin\"", 0.8, ONE) };
    let asked = vec![mean(dispatch::regular_mean(0.8, 1.0))];
    add(all, "regular", "one server, arrivals like clockwork, load 0.8: D/M/1", &setup, asked);
}

/// Strategies that count requests in flight: exact chains of a few servers.
fn queues(all: &mut Vec<Gate>) {
    let solve = |rule, servers: u32, load| {
        chains::equal(rule, servers, load * f64::from(servers), 1.0).expect("the load is below one")
    };
    let replaced = "{ p2c = { replacement = true } }";
    let of = [
        ("shortest-2-90", Rule::Shortest, "\"least_request\"", 2, TWO, 0.9),
        ("shortest-3-80", Rule::Shortest, "\"least_request\"", 3, THREE, 0.8),
        ("shortest-4-80", Rule::Shortest, "\"least_request\"", 4, FOUR, 0.8),
        ("two-distinct-of-3-90", Rule::TwoDistinct, "\"p2c\"", 3, THREE, 0.9),
        ("two-replaced-of-3-90", Rule::TwoReplaced, replaced, 3, THREE, 0.9),
    ];
    for (name, rule, strategy, servers, table, load) in of {
        let solved = solve(rule, servers, load);
        let asked = vec![mean(solved.mean), percentile("p99", solved.quantile(0.99))];
        let what = match rule {
            Rule::Shortest => "least request, which is join the shortest queue,",
            Rule::TwoDistinct => "the shorter of two different queues",
            Rule::TwoReplaced => "the shorter of two queues that may be the same",
        };
        let text = format!("{what} of {servers}, load {load}: an exact Markov chain");
        let setup = Setup { span: 160_000 / servers, ..poisson(strategy, load, table) };
        add(all, name, &text, &setup, asked);
    }
    let field = MeanField::solve(2, 0.9, 1.0).expect("the load is below one");
    let asked =
        vec![about("latency.mean", field.mean() * UNIT, 0.02), about("latency.p99", field.quantile(0.99) * UNIT, 0.03)];
    let text = "two choices of 100, load 0.9: the mean field of infinitely many, about 1 % below";
    add(all, "two-of-100-90", text, &Setup { span: 5_000, ..poisson("\"p2c\"", 0.9, "count = 100") }, asked);
}

/// Servers of speeds 1.5 and 0.5.
fn unlike(all: &mut Vec<Gate>) {
    let servers = |fast: u32, slow: u32| format!("speed = 1.5\nweight = {fast}\n--\nspeed = 0.5\nweight = {slow}");
    let (rates, lam) = ([1.5, 0.5], 1.6);
    let split = dispatch::by_speed(&rates);
    let asked =
        vec![mean(dispatch::split_mean(lam, &split)), percentile("p99", dispatch::split_quantile(lam, &split, 0.99))];
    let text = "speeds 1.5 and 0.5, load 0.8, weights in proportion: a random split over two M/M/1";
    add(
        all,
        "unlike-weighted",
        text,
        &Setup { span: 150_000, ..poisson("\"weighted_random\"", 0.8, &servers(3, 1)) },
        asked,
    );
    let split = dispatch::by_count(&rates);
    let asked = vec![mean(dispatch::split_mean(0.8, &split))];
    let text = "the same at load 0.4 by plain random: half of everything goes to the slow one";
    add(all, "unlike-random", text, &Setup { span: 80_000, ..poisson("\"random\"", 0.4, &servers(1, 1)) }, asked);
    let solved = chains::unequal(Ties::Random, lam, rates).expect("the load is below one");
    let asked = vec![mean(solved.mean), percentile("p99", solved.quantile(0.99))];
    let text = "the same at load 0.8, to the shorter queue, ties at random: an exact Markov chain";
    add(
        all,
        "unlike-shortest",
        text,
        &Setup { span: 80_000, ..poisson("\"least_request\"", 0.8, &servers(1, 1)) },
        asked,
    );
}

/// Caches with Zipf popularity.
fn memory(all: &mut Vec<Gate>) {
    let popularities = caches::zipf(100_000, 0.9);
    let cached = "count = 10\ncache = { capacity = 1000, hit_cost = 1.0 }";
    let keys = "keys = { count = 100000, exponent = 0.9 }";
    let setup = |strategy| Setup { more: keys, ..poisson(strategy, 0.5, cached) };
    let asked = vec![about("cache.hit_ratio", caches::che_hit_ratio(&popularities, 1000), 0.01)];
    let text = "10 caches of 1000 for 100,000 keys (Zipf 0.9), random: every cache sees everything (Che)";
    add(all, "cache-random", text, &setup("\"random\""), asked);
    let asked = vec![about("cache.hit_ratio", caches::che_hit_ratio(&popularities, 10_000), 0.02)];
    let text = "the same by key on a ring: ten caches hold as much as one of 10,000 (Che; the arcs are uneven)";
    add(all, "cache-ring", text, &setup("\"consistent_hash\""), asked);
    // 10 look-ups per ms; a time to live of 200 ms is from 26 of the rarest key's gaps to 2,700 of the most popular one's.
    let popularities = caches::zipf(1000, 1.0);
    let setup = Setup {
        arrivals: "{ poisson = { rate = \"10000/s\" } }".to_owned(),
        service: r#"{ constant = { value = "1us" } }"#,
        more: "keys = { count = 1000, exponent = 1.0 }",
        span: 8_000,
        ..poisson("\"random\"", 0.0, "concurrency = 1000\ncache = { capacity = 1000, ttl = \"200ms\", hit_cost = 1.0 }")
    };
    // A miss is stored after it has been served, a microsecond later.
    let hits = Asked { slack: 1e-4, ..exact("cache.hit_ratio", caches::ttl_hit_ratio(&popularities, 10.0, 200.0)) };
    let text = "a cache with a time to live of 200 ms and room for all of 1000 keys (Zipf 1.0), 10 look-ups per ms";
    add(all, "cache-ttl", text, &setup, vec![hits]);
}

/// Selectors without a simulator.
fn throws(all: &mut Vec<Gate>) {
    let mut add = |name, about: &str, run, replications, asked| {
        let subject = Subject::Selector(run);
        all.push(Gate { name, about: about.to_owned(), source: String::new(), subject, asked, replications, seed: 1 });
    };
    // With 65,536 bins the limits are accurate to far better than 0.001 of a share, except where the share is tiny.
    let shares = |share: &dyn Fn(usize) -> f64, slack: f64| {
        (1..=3).map(|k| about(&format!("bins with {k} or more"), share(k), slack)).collect::<Vec<_>>()
    };
    let text = "2^16 balls into 2^16 bins at random: the limit is Poisson";
    add(
        "balls-random",
        text,
        |seed| selector_only::balls("\"random\"", seed),
        20,
        shares(&|k| balls_into_bins::random_share(1.0, k), 0.001),
    );
    let greedy = balls_into_bins::greedy_shares(1.0, 2);
    let text = "2^16 balls, each into the emptier of two bins drawn with replacement: the fluid limit";
    let run = |seed| selector_only::balls("{ p2c = { replacement = true } }", seed);
    add("balls-two-choices", text, run, 20, shares(&|k| greedy[k], 0.002));
    // The sample of keys adds its own variance to that of the arcs.
    let (keys, n) = (f64::from(selector_only::RING_KEYS), f64::from(selector_only::RING_SERVERS));
    let deviation = balls_into_bins::ring_deviation(selector_only::RING_SERVERS, selector_only::RING_POINTS);
    let square = deviation * deviation;
    let theory = square * (1.0 - 1.0 / keys) + (n - 1.0) / keys;
    let text = "a ring of 10 servers with 160 points each: mean square of what shares of the keys are off";
    add("ring-shares", text, selector_only::ring, 400, vec![exact("squared variation", theory)]);
}

/// A published failure drill whose result follows by arithmetic.
fn drills(all: &mut Vec<Gate>) {
    let source = "title = \"One of eleven is slow\"\n\
         question = \"Linkerd's drill of 2016: how many requests fail when one backend takes two seconds and clients wait for one?\"\n\
         kind = \"terminating\"\nduration = \"60s\"\nreplications = 20\nbins = 0\nstrategies = [\"round_robin\"]\n\
         arrivals = { constant = { rate = \"1000/s\" } }\nclients = { timeout = \"1s\" }\n\
         service = { lognormal = { mean = \"167ms\", sigma = 0.03 } }\n\
         [[pools]]\nname = \"q\"\n[[pools.servers]]\nname = \"b\"\ncount = 11\nconcurrency = 1000\n\
         [[faults]]\ntarget = \"q/b-1\"\nat = \"15s\"\nfor = \"30s\"\nkind = { slow = { factor = 12.0 } }\n"
        .to_owned();
    // Requests to the slow server fail, except those that arrive so early or late that enough of the work is done at full
    // speed: with work w = 167 ms, twelve times slower, up to (12 w - 1 s) / 11 before the start, and not in the last (1 s -
    // w) 12 / 11 of it.
    let slow = 30.0 + (12.0 * 0.167 - 1.0) / 11.0 - (1.0 - 0.167) * 12.0 / 11.0;
    let asked = vec![about("errors.ratio", slow / 60.0 / 11.0, 0.005)];
    let text = "Linkerd's drill: round robin over 11 while one is too slow for half of the time fails about 1/22";
    add_source(all, "linkerd-round-robin", text, source, asked);
}

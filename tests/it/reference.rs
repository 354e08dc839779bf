//! [`evenkeel::theory`] against reference values that were worked out independently. They are not part of this project: where
//! they lie beside it (`../shared/validation/theory.csv`, columns section, model, params, quantity, value, method) every row
//! that the functions cover is compared; where they are absent the comparison says so and is skipped.

use std::collections::BTreeMap;

use evenkeel::math::{exp, ln, pow, sqrt};
use evenkeel::theory::balls_into_bins::{greedy_shares, random_jain, random_share, ring_deviation, ring_jain};
use evenkeel::theory::caches::{affinity_deviation, che_hit_ratio, static_hit_ratio, zipf};
use evenkeel::theory::chains::{Rule, Solved, Ties, equal, unequal};
use evenkeel::theory::copies::{hedged_quantile, tied_mean, tied_quantile};
use evenkeel::theory::deterministic::ConstantService;
use evenkeel::theory::dispatch::*;
use evenkeel::theory::queues::*;
use evenkeel::theory::renewal::{RoundRobin, Service, bursty_mean};

use crate::support::root;

/// As many rows as the file had for these functions when this was written: fewer would mean that rows are lost on the way.
const AT_LEAST: usize = 3677;

struct Row {
    model: String,
    params: BTreeMap<String, String>,
    quantity: String,
    value: String,
    cut: f64,
    line: String,
}

impl Row {
    fn text(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.line))
    }

    fn number(&self, name: &str) -> f64 {
        self.text(name).parse().unwrap_or_else(|_| panic!("{}: {name} is no number", self.line))
    }

    fn count(&self, name: &str) -> u32 {
        self.number(name) as u32
    }

    /// The q of `p99[T]`, or of another letter.
    fn q(&self, of: &str) -> Option<f64> {
        let percent = self.quantity.strip_prefix('p')?.strip_suffix(&format!("[{of}]"))?;
        percent.parse().ok().map(|percent: f64| percent / 100.0)
    }
}

/// Chains, queues and popularities that several rows ask for.
#[derive(Default)]
struct Memory {
    chains: BTreeMap<String, Solved>,
    constant: BTreeMap<String, ConstantService>,
    popularities: BTreeMap<String, Vec<f64>>,
}

#[test]
fn theory_agrees_with_the_reference_values() {
    let path = root().join("../shared/validation/theory.csv");
    let Ok(mut file) = csv::Reader::from_path(&path) else {
        eprintln!("skipped: the reference values are not here ({})", path.display());
        return;
    };
    let (mut memory, mut compared, mut wrong) = (Memory::default(), BTreeMap::new(), Vec::new());
    for record in file.records() {
        let record = record.unwrap();
        let params = record[2].split(';').filter_map(|part| part.split_once('='));
        let row = Row {
            model: record[1].to_owned(),
            params: params.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            quantity: record[3].to_owned(),
            value: record[4].to_owned(),
            cut: cut(&record[5]),
            line: record.iter().take(5).collect::<Vec<_>>().join(" | "),
        };
        let Some(values) = ours(&row, &mut memory) else { continue };
        *compared.entry(row.model.clone()).or_insert(0) += 1;
        if let Some(complaint) = disagreement(&row, &values) {
            wrong.push(complaint);
        }
    }
    for (model, rows) in &compared {
        eprintln!("{rows:5} {model}");
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
    let rows = compared.values().sum::<usize>();
    assert!(rows >= AT_LEAST, "only {rows} rows were compared");
    eprintln!("{rows} reference values agree");
}

/// What is wrong with the values, if something is. A cell may hold several: `a/b`, or `level:a|level:b`.
fn disagreement(row: &Row, values: &[f64]) -> Option<String> {
    let number = |cell: &str| match cell.rsplit(':').next() {
        Some("unstable") => f64::INFINITY,
        number => number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{}: no number", row.line)),
    };
    let printed: Vec<f64> = row.value.split(['/', '|']).map(number).collect();
    let (relative, absolute) = tolerance(row);
    let agree =
        |(ours, theirs): (&f64, &f64)| ours == theirs || (ours - theirs).abs() <= relative * theirs.abs() + absolute;
    let all = printed.len() == values.len() && values.iter().zip(&printed).all(agree);
    (!all).then(|| format!("{} | ours {values:?}", row.line))
}

/// Relative and absolute. The file prints ten digits; where it has fewer, that is what it is held to.
fn tolerance(row: &Row) -> (f64, f64) {
    match row.model.as_str() {
        // Two values in a cell are printed with eight decimals.
        _ if row.value.contains('/') => (0.0, 6e-9),
        // Six digits; and of levels that hardly exist the reference has fewer than it prints: ours do not change in the
        // thirteenth digit with four times as many steps.
        "cn balls in n bins, fluid limit" => (6e-6, 1e-37),
        "n balls in n bins, fluid limit" => (1e-9, 1e-18),
        // There the wait is what is left of the sojourn when one service is taken away, and a zero is 2e-16.
        "M/M/1 FCFS" | "M/D/c FCFS (= round robin over c FCFS servers with deterministic work)" => (1e-9, 1e-12),
        _ => (1e-9 + 20.0 * row.cut, 0.0),
    }
}

/// The probability that the reference itself cut from its chain, as stated in the column `method`: `edge mass
/// 2.0e-15/1.5e-07`, for the sum and for the spread. A rare state has long queues, so the values move by more than
/// that.
fn cut(method: &str) -> f64 {
    let masses = method.split("edge mass ").nth(1).unwrap_or("0");
    let masses = masses.split([')', ';']).next().unwrap().split('/');
    masses.map(|mass| mass.parse::<f64>().unwrap_or_else(|_| panic!("{method}"))).fold(0.0, f64::max)
}

fn ours(row: &Row, memory: &mut Memory) -> Option<Vec<f64>> {
    let model = row.model.as_str();
    if let Some(rule) = model.strip_prefix("2 heterogeneous exp servers: ") {
        return two_unlike(row, rule, memory);
    }
    let one = match model {
        "M/M/1 FCFS" => single(row),
        "M/M/c FCFS" => several(row),
        "M/M/c/c (Erlang B)" => Some(erlang_b(row.count("c"), row.number("a"))),
        "M/M/c/K" => limited(row),
        "M/G/1 FCFS" => general(row, memory),
        "M/D/c FCFS (= round robin over c FCFS servers with deterministic work)" => constant(row, memory),
        "M/G/1-PS (any G)" => Some(ps_mean(row.number("lam"), 1.0)),
        "M/M/1-PS" => sharing(row),
        "Supermarket mean field (n=inf) FIFO" => supermarket(row),
        "Round robin, Poisson, exp work: E_n/M/1 per server" => rotation(row),
        "D/M/1" => {
            Some(regular_mean(row.number("lam"), 1.0)).map(|t| if row.quantity == "sigma" { 1.0 - 1.0 / t } else { t })
        }
        "JSQ exact (ties random)" => chain(row, Rule::Shortest, memory),
        "SQ(2) without replacement, exact" => chain(row, Rule::TwoDistinct, memory),
        "SQ(2) with replacement, exact" => chain(row, Rule::TwoReplaced, memory),
        "Weighted random (w~mu), M/M/1 each" | "Optimal random split, M/M/1 each" | "Uniform random, M/M/1 each" => {
            fleet(row)
        }
        "Periodic bulletin board: random (d=1)" => Some(mm1_mean(row.number("lam"), 1.0)),
        "H2/M/1 (bursty renewal arrivals, balanced means)" => {
            Some(bursty_mean(row.number("lam"), 1.0, row.number("scv_a")))
        }
        "Round robin, Poisson, PH work FCFS: E_n/PH/1" => Some(phases(row)),
        "Least work of d (cancel-on-start / tied, n=inf) FIFO exp" => {
            let (lam, copies) = (row.number("lam"), row.count("d"));
            Some(row.q("T").map_or_else(|| tied_mean(lam, copies), |q| tied_quantile(lam, copies, q)))
        }
        "Hedged request, iid no queueing" => hedged(row),
        "cn balls in n bins, fluid limit" => return heavy(row),
        _ => bins_and_caches(row, memory),
    };
    one.map(|value| vec![value])
}

fn single(row: &Row) -> Option<f64> {
    let (lam, mu) = (row.number("lam"), row.number("mu"));
    let mean = mm1_mean(lam, mu);
    Some(match row.quantity.as_str() {
        "E[T]" | "sd[T]" => mean,
        "E[W]" => mmc_wait(lam, mu, 1),
        "E[N]" => lam * mean,
        _ => match row.q("T") {
            Some(q) => mm1_quantile(lam, mu, q),
            None => mm1_wait_quantile(lam, mu, row.q("W")?),
        },
    })
}

fn several(row: &Row) -> Option<f64> {
    let (c, mu) = (row.count("c"), row.number("mu"));
    let lam = row.number("rho") * f64::from(c) * mu;
    Some(match row.quantity.as_str() {
        "E[T]" => mmc_mean(lam, mu, c),
        "E[W]" => mmc_wait(lam, mu, c),
        "ErlangC=P(W>0)" => erlang_c(c, lam / mu),
        _ => mmc_quantile(lam, mu, c, row.q("T")?),
    })
}

fn limited(row: &Row) -> Option<f64> {
    let queue = bounded(row.number("lam"), row.number("mu"), row.count("c"), row.count("K(system)"));
    Some(match row.quantity.as_str() {
        "P(block)" => queue.blocked,
        "throughput" => queue.throughput,
        "E[T|accepted]" => queue.mean,
        "E[W|accepted]" => queue.mean - 1.0 / row.number("mu"),
        _ => return None,
    })
}

/// Means by Pollaczek and Khinchine for every distribution; quantiles for the distributions whose queues are solved
/// here.
fn general(row: &Row, memory: &mut Memory) -> Option<f64> {
    let (distribution, lam) = (row.text("G"), row.number("lam"));
    let [mean, square, cube] = moments(distribution, row);
    let scv = square / (mean * mean) - 1.0;
    match (row.quantity.as_str(), distribution) {
        ("E[T]", _) => Some(mg1_mean(lam, mean, scv)),
        ("E[W]", _) => Some(mg1_wait(lam, mean, scv)),
        ("sd[W]", _) => Some(mg1_wait_deviation(lam, [mean, square, cube])),
        (_, "D") => Some(solved_constant(lam, 1, memory).quantile(row.q("T")?)),
        (_, "Exp") => Some(mm1_quantile(lam, 1.0, row.q("T")?)),
        _ => None,
    }
}

/// The first three moments of a distribution of mean one, by its name in the file.
fn moments(distribution: &str, row: &Row) -> [f64; 3] {
    let number = |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("{}: {text}", row.line));
    let after = |name: &str| number(distribution.split(name).nth(1).unwrap().split([' ', ';']).next().unwrap());
    let erlang = |k: f64| [1.0, (k + 1.0) / k, (k + 1.0) * (k + 2.0) / (k * k)];
    match distribution.split([' ', '(', '-']).next().unwrap() {
        "D" => [1.0; 3],
        "Exp" => erlang(1.0),
        "Erlang" => erlang(after("Erlang-")),
        "Uniform" => [1.0, 4.0 / 3.0, 2.0],
        "H2" => {
            let scv = after("scv=");
            let p = 0.5 * (1.0 + sqrt((scv - 1.0) / (scv + 1.0)));
            let moment = |k: i32, factorial: f64| {
                factorial * (p * pow(2.0 * p, -f64::from(k)) + (1.0 - p) * pow(2.0 * (1.0 - p), -f64::from(k)))
            };
            [1.0, moment(2, 2.0), moment(3, 6.0)]
        }
        "Lognormal" => {
            let variance = after("sigma=") * after("sigma=");
            [1.0, exp(variance), exp(3.0 * variance)]
        }
        "Bimodal" => {
            // The file prints the short time rounded; the mean is one.
            let (p, long) =
                (number(distribution[8..].split(':').next().unwrap()), number(distribution.split('|').nth(1).unwrap()));
            let short = (1.0 - (1.0 - p) * long) / p;
            [1.0, 2.0, 3.0].map(|k| p * pow(short, k) + (1.0 - p) * pow(long, k))
        }
        "BoundedPareto" => {
            // E[X^k] = a L^k (r^(k-a) - 1) / ((k - a) (1 - r^-a)) with r = H / L.
            let (a, r) = (after("alpha="), after("H/L="));
            let raw = [1.0, 2.0, 3.0].map(|k| a * (exp((k - a) * ln(r)) - 1.0) / ((k - a) * (1.0 - pow(r, -a))));
            [1.0, raw[1] / pow(raw[0], 2.0), raw[2] / pow(raw[0], 3.0)]
        }
        other => panic!("{}: unknown distribution {other}", row.line),
    }
}

fn solved_constant(lam: f64, c: u32, memory: &mut Memory) -> &ConstantService {
    memory.constant.entry(format!("{lam} {c}")).or_insert_with(|| ConstantService::solve(lam, 1.0, c).unwrap())
}

fn constant(row: &Row, memory: &mut Memory) -> Option<f64> {
    let c = row.count("c");
    let queue = solved_constant(row.number("rho") * f64::from(c), c, memory);
    Some(match row.quantity.as_str() {
        "E[W]" => queue.mean_wait(),
        "P(W>0)" => queue.waiting_share(),
        _ => queue.quantile(row.q("T")?),
    })
}

fn sharing(row: &Row) -> Option<f64> {
    let lam = row.number("lam");
    if row.quantity == "sd[T]" { Some(ps_deviation(lam, 1.0)) } else { Some(ps_quantile(lam, 1.0, row.q("T")?)) }
}

fn supermarket(row: &Row) -> Option<f64> {
    let limit = MeanField::solve(row.count("d"), row.number("lam"), 1.0)?;
    Some(match row.quantity.as_str() {
        "E[T]" => limit.mean(),
        quantity => match quantity.strip_prefix("P(queue>=") {
            Some(k) => limit.share(k.trim_end_matches(')').parse().ok()?),
            None => limit.quantile(row.q("T")?),
        },
    })
}

fn rotation(row: &Row) -> Option<f64> {
    let n = row.count("n");
    let lam = row.number("lam") * f64::from(n);
    Some(match row.quantity.as_str() {
        "sigma" => 1.0 - 1.0 / round_robin_mean(lam, 1.0, n),
        "E[T]" => round_robin_mean(lam, 1.0, n),
        _ => round_robin_quantile(lam, 1.0, n, row.q("T")?),
    })
}

fn phases(row: &Row) -> f64 {
    let (n, distribution) = (row.count("n"), row.text("G"));
    let lam = row.number("lam") * f64::from(n);
    let service = match distribution.split("scv=").nth(1) {
        Some(scv) => Service::Hyperexponential { mean: 1.0, scv: scv.parse().unwrap() },
        None if distribution == "Erlang-2" => Service::Erlang2 { mean: 1.0 },
        None => return round_robin_mean(lam, 1.0, n),
    };
    RoundRobin::solve(lam, n, service).unwrap().mean()
}

/// Hedges after a percentile of the latency, for the distributions that are made of exponential ones.
fn hedged(row: &Row) -> Option<f64> {
    let survival: fn(f64) -> f64 = match row.text("latency") {
        "Exp(1)" => |t| exp(-t),
        "Bimodal .99 Exp(1)+.01 Exp(mean 20)" => |t| 0.99 * exp(-t) + 0.01 * exp(-t / 20.0),
        _ => return None,
    };
    let delay = match row.text("hedge").strip_prefix('p') {
        // A hedge that never comes leaves the latency as it is: so does one far beyond its tail.
        None => 1e6,
        Some(percent) => hedged_quantile(survival, 1e6, percent.parse::<f64>().unwrap() / 100.0, 1.0),
    };
    match row.q("T") {
        Some(q) => Some(hedged_quantile(survival, delay, q, 1.0)),
        None => Some(survival(delay)),
    }
}

fn chain(row: &Row, rule: Rule, memory: &mut Memory) -> Option<f64> {
    let (n, lam) = (row.count("n"), row.number("lam"));
    let key = format!("{rule:?} {n} {lam}");
    let solved = memory.chains.entry(key).or_insert_with(|| equal(rule, n, lam * f64::from(n), 1.0).unwrap());
    Some(match row.quantity.as_str() {
        "E[T]" => solved.mean,
        "P(server idle)" => 1.0 - solved.busy[0],
        "P(join a busy server)" => solved.joins_busy(),
        _ => solved.quantile(row.q("T")?),
    })
}

fn two_unlike(row: &Row, rule: &str, memory: &mut Memory) -> Option<Vec<f64>> {
    let mu = [row.number("mu1"), row.number("mu2")];
    let lam = row.number("rho") * (mu[0] + mu[1]);
    let branches = match rule {
        "JSQ, ties random" | "JSQ, ties to fast" => {
            let ties = if rule.ends_with("random") { Ties::Random } else { Ties::First };
            let solved = memory.chains.entry(format!("{ties:?} {lam} {mu:?}"));
            let solved = solved.or_insert_with(|| unequal(ties, lam, mu).unwrap());
            return Some(if row.quantity == "E[T]" { vec![solved.mean] } else { solved.busy.clone() });
        }
        "random, weight ~ mu" => by_speed(&mu),
        "random, equal split" => by_count(&mu),
        "random, optimal split" => best_split(lam, &mu),
        _ => return None,
    };
    Some(vec![if row.quantity == "p_fast" { branches[0].share } else { split_mean(lam, &branches) }])
}

/// Fleets are written `5x1.0+5x0.5`: five servers of rate one and five of a half.
fn fleet(row: &Row) -> Option<f64> {
    let mut rates = Vec::new();
    for group in row.text("fleet").split('+') {
        let (count, rate) = group.split_once('x').unwrap();
        rates.extend(vec![rate.parse::<f64>().unwrap(); count.parse().unwrap()]);
    }
    let lam = row.number("rho") * rates.iter().sum::<f64>();
    let branches = match row.model.split(' ').next() {
        Some("Weighted") => by_speed(&rates),
        Some("Uniform") => by_count(&rates),
        _ => best_split(lam, &rates),
    };
    Some(row.q("T").map_or_else(|| split_mean(lam, &branches), |q| split_quantile(lam, &branches, q)))
}

/// `1:0.96|2:0.75`: shares by level.
fn heavy(row: &Row) -> Option<Vec<f64>> {
    let shares = greedy_shares(row.number("m/n"), row.count("d"));
    let values = row.value.split('|').map(|part| part.split_once(':').unwrap().0.parse::<usize>().unwrap());
    Some(values.map(|k| shares.get(k).copied().unwrap_or(0.0)).collect())
}

fn popularities<'a>(row: &Row, memory: &'a mut Memory) -> &'a [f64] {
    let (items, exponent) = (row.number("N") as usize, row.number("alpha"));
    memory.popularities.entry(format!("{items} {exponent}")).or_insert_with(|| zipf(items, exponent))
}

fn bins_and_caches(row: &Row, memory: &mut Memory) -> Option<f64> {
    Some(match (row.model.as_str(), row.quantity.as_str()) {
        ("n balls in n bins, fluid limit", quantity) => {
            let k = quantity.strip_prefix("fraction of bins with load>=").map_or(1, |k| k.parse().unwrap());
            if row.count("d") == 1 { random_share(1.0, k) } else { greedy_shares(1.0, row.count("d"))[k] }
        }
        ("Hash ring key-space share", "CV of a server's share (std error)") => {
            ring_deviation(row.count("servers"), row.count("vnodes"))
        }
        ("Random assignment of m requests to n servers", _) => random_jain(row.number("m") as u64, row.count("n")),
        ("Ring with k vnodes", _) => ring_jain(row.count("n"), row.count("k")),
        ("LRU under IRM Zipf (Che)", _) => che_hit_ratio(popularities(row, memory), row.number("C") as usize),
        ("Perfect LFU / static top-C", _) => static_hit_ratio(popularities(row, memory), row.number("C") as usize),
        ("Random routing, n private LRU caches", _) => {
            che_hit_ratio(popularities(row, memory), row.number("C per server") as usize)
        }
        ("Key-affine routing, n private LRU caches", quantity) => {
            let (shares, n) = (popularities(row, memory), row.number("servers"));
            match quantity {
                "hit ratio ~ hit(nC)" => che_hit_ratio(shares, (n * row.number("C per server")) as usize),
                "CV of per-server request rate" => affinity_deviation(shares, n as usize),
                _ => n * shares[0],
            }
        }
        _ => return None,
    })
}

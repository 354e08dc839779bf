//! Networks of queues: closed loops over several stations, two tiers in series, slots that are held during a call.

use super::Gate;
use super::cases::{EXPONENTIAL, Setup, UNIT, add, add_source, exact, mean, percentile, poisson};
use evenkeel_theory::networks::{held_slots, mva, tandem_mean};
use evenkeel_theory::queues::mg1_mean;
use evenkeel_theory::renewal::{RoundRobin, Service};

pub(super) fn cases(all: &mut Vec<Gate>) {
    loops(all);
    tiers(all);
}

/// Two tiers: a server `web` that calls a server `db` with exponential work of a mean, and what is written of them.
struct Tiers<'a> {
    arrivals: &'a str,
    /// Work of the first tier.
    service: &'a str,
    /// Mean work of a call, as a duration.
    call: &'a str,
    /// Keys of the first tier's server.
    web: &'a str,
    more: &'a str,
    /// What is measured, milliseconds.
    span: u32,
}

impl Tiers<'_> {
    fn source(&self) -> String {
        let Tiers { arrivals, service, call, web, more, span } = self;
        let setup = Setup {
            strategy: "\"random\"",
            arrivals: (*arrivals).to_owned(),
            service,
            servers: web,
            more,
            pool: &format!("backend = {{ pool = \"db\", service = {{ exponential = {{ mean = \"{call}\" }} }} }}"),
            span: *span,
        };
        setup.source() + "[[pools]]\nname = \"db\"\n[[pools.servers]]\nname = \"db\"\n"
    }
}

/// A processor-sharing server, like a web server with many threads.
const SHARING: &str = "discipline = \"ps\"";

/// Closed loops by mean value analysis.
fn loops(all: &mut Vec<Gate>) {
    let network = mva(&[0.25; 4], 4.0, 20);
    let setup = Setup {
        arrivals: "{ closed = { think = { constant = { value = \"4ms\" } } } }".to_owned(),
        more: "clients = { count = 20 }",
        span: 20_000,
        ..poisson("\"random\"", 0.0, "count = 4")
    };
    let asked = vec![exact("throughput", network.throughput / UNIT), mean(network.mean())];
    let text = "20 clients who think for 4 ms, random over 4 servers: a closed network (mean value analysis)";
    add(all, "closed-random", text, &setup, asked);

    let think = "{ closed = { think = { exponential = { mean = \"2ms\" } } } }";
    let hyper = r#"{ hyperexponential = { mean = "500us", scv = 4.0 } }"#;
    let tiers = Tiers {
        arrivals: think,
        service: hyper,
        call: "1ms",
        web: SHARING,
        more: "clients = { count = 6 }",
        span: 60_000,
    };
    let network = mva(&[0.5, 1.0], 2.0, 6);
    let asked = vec![
        exact("throughput", network.throughput / UNIT),
        mean(network.mean()),
        exact("q.in_server.mean", 6.0 - 2.0 * network.throughput),
        exact("db.in_server.mean", network.throughput * network.times[1]),
    ];
    let text =
        "6 clients who think for 2 ms, a server that shares its time and calls another: a closed network of two tiers";
    add_source(all, "closed-tiers", text, tiers.source(), asked);

    // Clients without think time keep all six requests in the system.
    let network = mva(&[0.5, 1.0], 0.0, 6);
    let tiers = Tiers {
        arrivals: "{ closed = { think = { constant = { value = \"0ms\" } } } }",
        service: EXPONENTIAL_HALF,
        ..tiers
    };
    let asked = vec![exact("throughput", network.throughput / UNIT), mean(network.mean())];
    let text = "the same by 6 clients who send again at once: a closed network without think time";
    add_source(all, "closed-busy", text, tiers.source(), asked);
}

const EXPONENTIAL_HALF: &str = r#"{ exponential = { mean = "500us" } }"#;

/// Open arrivals to two tiers in series.
fn tiers(all: &mut Vec<Gate>) {
    let tiers = Tiers {
        arrivals: "{ poisson = { rate = \"700/s\" } }",
        service: EXPONENTIAL,
        call: "500us",
        web: SHARING,
        more: "",
        span: 160_000,
    };
    let asked = vec![mean(tandem_mean(0.7, &[1.0, 2.0])), exact("db.in_server.mean", 0.35 / 0.65)];
    let text = "a server that shares its time and then calls a second tier, loads 0.7 and 0.35: tandem queues";
    add_source(all, "tandem", text, tiers.source(), asked);

    // One slot: its holder is alone at the second tier, and the service time is the sum of both times.
    let one = Tiers { service: EXPONENTIAL_HALF, web: "", ..tiers };
    let solved = RoundRobin::solve(0.7, 1, Service::Erlang2 { mean: 1.0 }).expect("the load is below one");
    let asked =
        vec![mean(mg1_mean(0.7, 1.0, 0.5)), percentile("p99", solved.quantile(0.99)), exact("q.utilisation.mean", 0.7)];
    let text = "a server whose one slot is held during its call to a second tier: M/E2/1 with the sum of both times";
    add_source(all, "held-slot", text, one.source(), asked);

    let held = held_slots(0.9, 4.0, 1.0, 8);
    let many = Tiers {
        arrivals: "{ poisson = { rate = \"900/s\" } }",
        service: r#"{ constant = { value = "4ms" } }"#,
        call: "1ms",
        web: "concurrency = 8\nqueue_limit = 0",
        ..one
    };
    let asked = vec![exact("errors.rejected", held.blocked), mean(held.mean)];
    let text =
        "a server without a queue whose 8 slots are held during calls to one slot of a second tier: a ring of slots";
    add_source(all, "held-slots", text, many.source(), asked);
}

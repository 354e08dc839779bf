//! Impatient clients: abandonment of the queue (reneging) and timeouts for responses.

use super::Gate;
use super::cases::{EXPONENTIAL, Setup, UNIT, add, exact, mean, percentile, poisson};
use evenkeel_theory::abandonment::{Abandonment, Patience, closed, limited};

pub(super) fn cases(all: &mut Vec<Gate>) {
    queues(all);
    deadlines(all);
    limits(all);
}

/// A queue with abandonment: `[clients]` with `patience`.
fn queues(all: &mut Vec<Gate>) {
    let of = [
        ("erlang-a", 10, 1.2, Patience::Exponential(2.0), "{ exponential = { mean = \"2ms\" } }", "M/M/10+M, Erlang A"),
        ("abandonment-constant", 4, 0.95, Patience::Constant(1.0), "\"1ms\"", "M/M/4+D"),
    ];
    for (name, servers, load, patience, table, model) in of {
        let queue = Abandonment::solve(load * f64::from(servers), 1.0, servers, patience);
        let more = format!("allow_overload = true\nclients = {{ patience = {table}, servers_see_cancel = true }}");
        let asked = vec![
            exact("errors.timed_out", queue.abandoned()),
            mean(queue.mean()),
            percentile("p99", queue.quantile(0.99)),
            exact("utilisation.mean", queue.utilisation()),
            // Clients that have abandoned are not in the queue any more.
            exact("in_server.mean", queue.number()),
        ];
        let text = format!("{servers} slots, load {load}, clients who abandon the queue: {model}");
        let server = format!("concurrency = {servers}");
        add(all, name, &text, &Setup { more: &more, ..poisson("\"random\"", load, &server) }, asked);
    }
}

/// The same queues, but clients give up without a response, also in service, and servers finish the requests in service.
fn deadlines(all: &mut Vec<Gate>) {
    let of = [
        (
            "deadline-exponential",
            Patience::Exponential(4.0),
            "{ exponential = { mean = \"4ms\" } }",
            "exponential, mean 4 ms",
        ),
        ("deadline-constant", Patience::Constant(3.0), "\"3ms\"", "3 ms"),
    ];
    for (name, patience, table, distribution) in of {
        let queue = Abandonment::solve(3.8, 1.0, 4, patience);
        let more = format!("clients = {{ timeout = {table}, servers_see_cancel = true }}");
        let asked = vec![
            exact("errors.timed_out", queue.deadline().timed_out),
            mean(queue.deadline().mean),
            exact("utilisation.mean", queue.utilisation()),
        ];
        let text = format!(
            "4 slots, load 0.95, clients with a timeout ({distribution}) that also ends in service: M/M/4 with impatience"
        );
        add(all, name, &text, &Setup { more: &more, ..poisson("\"random\"", 0.95, "concurrency = 4") }, asked);
    }
}

/// Queues with a limit, and a closed loop.
fn limits(all: &mut Vec<Gate>) {
    let patience = "clients = { patience = { exponential = { mean = \"2ms\" } }, servers_see_cancel = true }";
    let queue = limited(4.8, 1.0, 4, 12, 2.0);
    let asked = vec![exact("errors.rejected", queue.blocked), exact("errors.timed_out", queue.abandoned)];
    let text = "4 slots and room for 12, load 1.2: M/M/4/12+M, where who abandons makes room";
    let more = format!("allow_overload = true\n{patience}");
    let setup = Setup { more: &more, ..poisson("\"random\"", 1.2, "concurrency = 4\nqueue_limit = 8") };
    add(all, "abandonment-limit", text, &setup, asked);

    let queue = closed(20, 4.0, 1.0, 2, 2.0);
    let asked =
        vec![exact("throughput", queue.rate / UNIT), exact("errors.timed_out", queue.abandoned), mean(queue.mean)];
    let text =
        "20 clients who think for 4 ms before 2 slots and abandon the queue after 2 ms on average: a closed Erlang A";
    let more = patience.replacen("{ ", "{ count = 20, ", 1);
    let setup = Setup {
        arrivals: "{ closed = { think = { exponential = { mean = \"4ms\" } } } }".to_owned(),
        service: EXPONENTIAL,
        more: &more,
        span: 30_000,
        ..poisson("\"random\"", 0.0, "concurrency = 2")
    };
    add(all, "abandonment-closed", text, &setup, asked);
}

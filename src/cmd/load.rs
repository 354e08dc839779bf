//! `evenkeel load`: an open-loop load generator, and a closed-loop one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::CellAlignment;
use hdrhistogram::Histogram;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::test_server::distribution_option;
use super::{Failure, Terminal, complain, complain_of, inputs, say, scheduler};
use crate::report::table;
use evenkeel_config::Diagnostic;
use evenkeel_config::terminal::one_line;
use evenkeel_core::units::{Nanos, Rate, human_seconds};
use evenkeel_sim::scenario::Scenario;
use evenkeel_testbed::load::{LoadSummary, Options, PERCENTILES, Progress, Target, play};

/// Requests to send, and the target.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel load http://127.0.0.1:8080            100 requests/s for 10 s
  evenkeel load http://127.0.0.1:8080/path --rate 2000/s --duration 1m
  evenkeel load http://127.0.0.1:8080 --keys 10000 --clients 500
  evenkeel load http://127.0.0.1:8080 --scenario slow-server
  evenkeel load http://127.0.0.1:8080 --closed --connections 64
  evenkeel load http://127.0.0.1:8080 --json --expect-no-errors

Any arrival process of a scenario:
  evenkeel load http://127.0.0.1:8080 --arrivals \\
    '{ ramp = { from = \"50/s\", to = \"500/s\", over = \"30s\" } }'

By default an open loop: each request is sent at its scheduled time, whatever became of those before, and \
latency counts from that time, so a stall is measured in full. With --closed, each connection sends its next \
request when it has a response: this measures throughput, and its latencies omit the time that a stall would \
have made requests wait.

Exit codes: 0 done, 1 no connection could be made, 100 with --expect-no-errors when a request failed, 130 \
interrupted.")]
pub struct Args {
    /// Target: http://host:port, with a path if all requests go to one
    url: String,
    /// Requests per second, such as 500/s; Poisson arrivals
    #[arg(long, default_value = "100/s", conflicts_with_all = ["arrivals", "closed", "scenario"])]
    rate: Rate,
    /// Constant intervals instead of Poisson arrivals
    #[arg(long, conflicts_with_all = ["arrivals", "closed", "scenario"])]
    constant: bool,
    /// Arrival process, as in a scenario
    #[arg(long, value_name = "ARRIVALS", conflicts_with_all = ["closed", "scenario"])]
    arrivals: Option<String>,
    /// Closed loop: every connection sends its next request as soon as it has a response
    #[arg(long, conflicts_with = "scenario")]
    closed: bool,
    /// How long to send [default: 10s, or as long as --requests takes]
    #[arg(long, value_name = "TIME")]
    duration: Option<Nanos>,
    /// Maximum number of requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Maximum number of connections [default: as many as are needed; with --closed 10, with --http2 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: Option<u32>,
    /// Method of every request
    #[arg(long, default_value = "GET")]
    method: Method,
    /// Size of every request's body, in bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    body_bytes: u64,
    /// Header field of every request, as `name: value`; repeatable
    #[arg(long, short = 'H', value_name = "FIELD", value_parser = field)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// HTTP/2 with prior knowledge, without TLS
    #[arg(long)]
    http2: bool,
    /// Request timeout [default: 10s, or the scenario's]
    #[arg(long, value_name = "TIME")]
    timeout: Option<Nanos>,
    /// Number of simulated clients, sent as `x-forwarded-for`
    #[arg(long, value_name = "N", conflicts_with_all = ["scenario", "closed"])]
    clients: Option<u32>,
    /// Number of distinct keys, sent as `x-key`
    #[arg(long, value_name = "N", conflicts_with = "scenario")]
    keys: Option<u32>,
    /// Zipf exponent of the keys' popularity; 0 is uniform
    #[arg(long, value_name = "S", default_value_t = 0.9, requires = "keys")]
    key_exponent: f64,
    /// Service time distribution, sent as `x-demand`; test servers use it instead of their own
    #[arg(long, value_name = "DISTRIBUTION", conflicts_with = "scenario")]
    demand: Option<String>,
    /// Send the requests of this scenario's first run (a file, or an embedded scenario): its arrivals, clients, paths, keys
    /// and service times
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Seed of all randomness [default: 1, or the scenario's first run's]
    #[arg(long)]
    seed: Option<u64>,
    /// Exit 100 if a request failed
    #[arg(long)]
    expect_no_errors: bool,
    /// Print JSON, times in seconds
    #[arg(long)]
    json: bool,
    /// Show no progress bar
    #[arg(long, short)]
    quiet: bool,
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `name: value`")?;
    let name = name.trim().parse().map_err(|_| format!("`{}` is not a valid field name", name.trim()))?;
    let value = HeaderValue::from_str(value.trim())
        .map_err(|_| "its value has characters that a header field must not contain".to_owned())?;
    Ok((name, value))
}

impl Args {
    /// The requests as a scenario in TOML, so that syntax and errors are the same as in a scenario file.
    fn own_scenario(&self, terminal: Terminal) -> Result<Scenario, Failure> {
        if let Some(distribution) = &self.demand {
            distribution_option("demand", distribution, terminal)?;
        }
        let Rate(rate) = self.rate;
        let arrivals = match (&self.arrivals, self.closed, self.constant) {
            (Some(text), ..) => text.clone(),
            (_, true, _) => "{ closed = { think = { constant = { value = \"0s\" } } } }".to_owned(),
            (.., true) => format!("{{ constant = {{ rate = \"{rate:?}/s\" }} }}"),
            _ => format!("{{ poisson = {{ rate = \"{rate:?}/s\" }} }}"),
        };
        let duration = match (self.duration, self.requests) {
            (Some(duration), _) => duration.0,
            (None, None) => Nanos::from_secs(10).0,
            // A day is more than any load needs.
            (None, Some(_)) => Nanos::from_secs(86400).0,
        };
        let clients = match self.closed {
            true => self.connections.unwrap_or(10),
            false => self.clients.unwrap_or(1),
        };
        let keys = self.keys.map(|n| format!("keys = {{ count = {n}, exponent = {:?} }}\n", self.key_exponent));
        let source = format!(
            "arrivals = {arrivals}\n\
             duration = \"{duration}ns\"\n\
             clients = {{ count = {clients} }}\n\
             service = {}\n\
             {}\
             title = \"load\"\nquestion = \"load\"\nwarmup = \"0s\"\ndrain = \"1m\"\nallow_overload = true\n\
             pools = [{{ name = \"target\", servers = [{{ name = \"target\" }}] }}]\n",
            self.demand.as_deref().unwrap_or("{ constant = { value = \"0s\" } }"),
            keys.unwrap_or_default(),
        );
        let files = |file: &str| {
            inputs::read_text(Path::new(file), inputs::LONGEST_DATA).map_err(|why| format!("`{file}` {why}"))
        };
        Scenario::parse("load", &source, &files).map_err(|problems| {
            let diagnostic = Diagnostic { file: "the options as a scenario".to_owned(), source, problems };
            complain_of(&diagnostic, terminal);
            Failure::Usage(String::new())
        })
    }

    fn scenario(&self, terminal: Terminal) -> Result<Scenario, Failure> {
        let Some(file) = &self.scenario else { return self.own_scenario(terminal) };
        let mut scenario = inputs::load_to_play(file, terminal)?.scenario;
        if scenario.model.clients.patience.is_some() {
            complain(
                "warning: `patience` of clients is ignored: over sockets a client cannot\n\
                 see when service begins\n  help: set a `timeout`, or --timeout",
            );
        }
        if let Some(duration) = self.duration {
            scenario.model.duration = duration;
        }
        Ok(scenario)
    }
}

pub fn load(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let mut target: Target = args.url.parse().map_err(Failure::Usage)?;
    let scenario = args.scenario(terminal)?;
    if args.scenario.is_none() {
        target.path.get_or_insert_with(|| "/".to_owned());
    }
    let all = args.scenario.is_some();
    let default = (!all).then_some(Nanos::from_secs(10));
    let connections = if args.closed { Some(args.connections.unwrap_or(10)) } else { args.connections };
    let options = Options {
        method: args.method.clone(),
        headers: args.header.clone(),
        body_bytes: args.body_bytes,
        http2: args.http2,
        connections: connections.map(|most| most as usize),
        timeout: args.timeout.or(default).map(|timeout| Duration::from_nanos(timeout.0)),
        requests: args.requests,
        tell_client: all || args.clients.is_some(),
        tell_key: all || args.keys.is_some(),
        tell_demand: all || args.demand.is_some(),
    };
    let seed = args.seed.unwrap_or(if all { scenario.replication_seed(0) } else { 1 });
    let bar = bar(args.quiet || args.json);
    scheduler::watch_for_interrupt();
    let report = play(&scenario.model, seed, &target, &options, |progress| {
        show(&bar, &progress);
        !scheduler::stopped()
    });
    bar.finish_and_clear();
    let report = report.map_err(|error| Failure::Usage(format!("cannot send to {}: {error}", args.url)))?;
    match args.json {
        true => say(report.to_json()),
        false => print(&report, &args.url, terminal),
    }
    if report.requests > 0 && report.connections == 0 {
        let why = report.example.as_deref().unwrap_or("no connection could be made");
        complain(format_args!("error: no response from {}: {why}", args.url));
        return Err(Failure::No);
    }
    if scheduler::stopped() {
        return Err(Failure::Stopped);
    }
    if args.expect_no_errors && report.ok != report.requests {
        return Err(Failure::Errors);
    }
    Ok(())
}

fn bar(hidden: bool) -> ProgressBar {
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(1000), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent} %  {msg}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, progress: &Progress) {
    let Progress { sent, ok, failed, share } = *progress;
    bar.set_position((share * 1000.0) as u64);
    bar.set_message(format!("{sent} sent, {ok} ok, {failed} failed"));
}

fn print(report: &LoadSummary, url: &str, terminal: Terminal) {
    let kind = if report.closed { "closed loop" } else { "open loop" };
    say(format_args!("{}  ({kind})", terminal.bold(url)));
    let connections = if report.connections == 1 { "connection" } else { "connections" };
    say(format_args!(
        "{} requests in {}, {:.1} successful responses per second, {} failed, {} {connections}, {} received",
        report.requests,
        human_seconds(report.span.as_secs_f64()),
        report.throughput(),
        table::percent(report.failed() as f64 / report.requests as f64),
        report.connections,
        DecimalBytes(report.bytes),
    ));
    let mut times = table::plain(terminal.width);
    times.set_header(["", "mean"].into_iter().chain(PERCENTILES.iter().map(|(name, _)| *name)));
    let mut row = |name: &str, of: &Histogram<u64>| {
        let quantiles = PERCENTILES.iter().map(|&(_, quantile)| of.value_at_quantile(quantile) as f64);
        let values = std::iter::once(of.mean()).chain(quantiles);
        let text = |value: f64| if of.is_empty() { "–".to_owned() } else { human_seconds(value / 1e9) };
        times.add_row(std::iter::once(name.to_owned()).chain(values.map(text)));
    };
    row("latency", &report.latency);
    row("connection wait", &report.waited);
    row("send delay", &report.late);
    right(&mut times, 1..7);
    say(times);
    if !report.servers.is_empty() {
        let answers: u64 = report.servers.values().sum();
        let mut servers = table::plain(terminal.width);
        servers.set_header(["server", "responses", "share"]);
        for (name, &count) in &report.servers {
            servers.add_row([
                one_line(name).into_owned(),
                count.to_string(),
                table::percent(count as f64 / answers as f64),
            ]);
        }
        right(&mut servers, 1..3);
        say(servers);
    }
    if let Some(ratio) = report.hit_ratio() {
        say(format_args!("Cache hit ratio: {} of {} lookups.", table::percent(ratio), report.hits + report.misses));
    }
    if !report.errors.is_empty() {
        let counts: Vec<String> = report.errors.iter().map(|(what, count)| format!("{what} {count}")).collect();
        let example = report.example.as_ref().map(|text| format!("  ({text})")).unwrap_or_default();
        say(format_args!("Failed: {}.{example}", counts.join(", ")));
    }
    if report.closed {
        say("A closed loop measures capacity; use an open loop to measure the latency that users see.");
    }
    report.warnings().iter().for_each(|warning| say(format_args!("Warning: {warning}.")));
}

fn right(table: &mut comfy_table::Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

//! `evenkeel test-server`: test servers, until Ctrl-C.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use comfy_table::CellAlignment;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Failure, Terminal, announce, complain_of, inputs, say};
use crate::report::table;
use evenkeel_config::distribution::{self, Distribution, Sampler};
use evenkeel_config::fault::FaultRequest;
use evenkeel_config::pool::{CacheSpec, Discipline, Server};
use evenkeel_config::{Diagnostic, Problem, Problems, diagnostic};
use evenkeel_core::units::{Nanos, Ratio};
use evenkeel_testbed::file::{port_after, specs};
use evenkeel_testbed::{Backend, Spec};

/// Behaviour of the test servers.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel test-server                    responds at once on 127.0.0.1:9001
  evenkeel test-server --count 3 --service '{ constant = { value = \"9ms\" } }'
  evenkeel test-server --speed 0.5 --concurrency 4 --cache 1000 --bytes 2000
  evenkeel test-server --config proxy.toml

A fault at a time:
  evenkeel test-server --fault \\
    '{ at = \"10s\", for = \"5s\", kind = { slow = { factor = 6 } } }'

Requests can override the response:
  curl -i 'http://127.0.0.1:9001/?bytes=100&delay=50ms&status=503'
  curl 'http://127.0.0.1:9001/?chunked=1&trailers=1'    also sse=5
  curl -H 'x-echo: 1' http://127.0.0.1:9001/     returns the request as JSON

With --control, faults start and end by request; --control-listen adds an address that also works while the \
server is crashed:
  curl -d 'kind = { crash = {} }' http://127.0.0.1:9001/_fault
  curl -X DELETE http://127.0.0.1:9101/_fault

Service takes time but no CPU. HTTP/1.1 and HTTP/2 (prior knowledge, without TLS) on the same port.")]
pub struct Args {
    /// Listen address of the first server; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Server name, sent in responses as `x-server`; with --count, -1, -2, … are appended
    #[arg(long, default_value = "test")]
    name: String,
    /// Number of servers, on successive ports
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// Service time distribution, as in a scenario [default: respond at once]
    #[arg(long, value_name = "DISTRIBUTION")]
    service: Option<String>,
    /// Speed factor; 2 halves the service times
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Requests in service at once [default: 1 with fcfs, unlimited with ps]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// Queue limit; further requests get a 503 [default: unlimited]
    #[arg(long, value_name = "N")]
    queue_limit: Option<u32>,
    /// Service discipline: first come first served, or processor sharing
    #[arg(long, value_enum, default_value_t = How::Fcfs)]
    discipline: How,
    /// LRU cache size, in entries [default: none]
    #[arg(long, value_name = "ENTRIES")]
    cache: Option<NonZeroUsize>,
    /// Time to live of cache entries [default: none]
    #[arg(long, value_name = "TIME", requires = "cache")]
    cache_ttl: Option<Nanos>,
    /// Cost of a cache hit, as a share of the service time
    #[arg(long, value_name = "SHARE", default_value = "10%", requires = "cache")]
    hit_cost: Ratio,
    /// Factor applied to the load reported to a probe whose key is cached
    #[arg(long, value_name = "SHARE", default_value = "100%", requires = "cache")]
    reported_load: Ratio,
    /// Response body size, in bytes
    #[arg(long, default_value_t = 0)]
    bytes: u64,
    /// Seed of all randomness
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Fault, as in [[faults]] but without a target; repeatable
    #[arg(long, value_name = "FAULT")]
    fault: Vec<String>,
    /// Allow faults to be set with POST /_fault
    #[arg(long)]
    control: bool,
    /// Additional listen address of /_fault, served also while the server is crashed; further servers take the following ports
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", requires = "control")]
    control_listen: SocketAddr,
    /// Remove requests from the queue when their client disconnects
    #[arg(long)]
    cancel: bool,
    /// Start a server for every [[pools.servers]] with an `address` in this file
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "listen", "name", "count", "service", "speed", "concurrency", "queue_limit", "discipline", "cache", "fault",
    ])]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum How {
    Fcfs,
    Ps,
}

/// Parses the value of an option in TOML syntax; the error shows its position in the value.
pub fn option<T: DeserializeOwned + JsonSchema + 'static>(
    name: &str,
    text: &str,
    terminal: Terminal,
    check: impl FnOnce(T) -> Result<T, String>,
) -> Result<T, Failure> {
    #[derive(Deserialize, JsonSchema)]
    struct Value<T> {
        value: T,
    }
    // Only the value's text is shown, without the prefix that makes a TOML file of it.
    const BEFORE: &str = "value = ";
    let move_back = |problem: Problem| Problem {
        span: problem.span.map(|span| span.start.saturating_sub(BEFORE.len())..span.end.saturating_sub(BEFORE.len())),
        ..problem
    };
    let read = diagnostic::read::<Value<T>>(&format!("{BEFORE}{text}"))
        .and_then(|read| check(read.value).map_err(|message| vec![Problem::at(BEFORE.len()..usize::MAX, message)]));
    read.map_err(|problems| {
        let problems: Problems = problems.into_iter().map(move_back).collect();
        let diagnostic = Diagnostic { file: format!("--{name}"), source: text.to_owned(), problems };
        complain_of(&diagnostic, terminal);
        Failure::Usage(String::new())
    })
}

/// A distribution given as an option.
pub fn distribution_option(name: &str, text: &str, terminal: Terminal) -> Result<Sampler, Failure> {
    let mut sampler = Sampler::ZERO;
    option::<Distribution>(name, text, terminal, |parsed| {
        sampler = parsed.sampler(&mut |file| distribution::numbers(file, &read(Path::new(file))?))?;
        Ok(parsed)
    })?;
    Ok(sampler)
}

fn read(file: &Path) -> Result<String, String> {
    inputs::read_given(file, inputs::LONGEST_DATA).map_err(|why| format!("`{}` {why}", file.display()))
}

impl Args {
    fn specs(&self, terminal: Terminal) -> Result<Vec<Spec>, Failure> {
        let mut specs = self.servers(terminal)?;
        for (i, spec) in specs.iter_mut().enumerate() {
            let port = port_after(self.control_listen.port(), i)
                .ok_or_else(|| Failure::Usage("--control-listen: not enough ports from this one on".into()))?;
            spec.control_listen = SocketAddr::new(self.control_listen.ip(), port);
        }
        Ok(specs)
    }

    fn servers(&self, terminal: Terminal) -> Result<Vec<Spec>, Failure> {
        let common = |spec: Spec| Spec {
            bytes: self.bytes,
            seed: self.seed,
            control: self.control,
            cancel: self.cancel || spec.cancel,
            ..spec
        };
        if let Some(file) = &self.config {
            let source = read(file).map_err(Failure::Usage)?;
            let folder = file.parent().unwrap_or(Path::new("")).to_owned();
            let all = specs(&source, &|name| read(&folder.join(name))).map_err(|problems| {
                let diagnostic = Diagnostic { file: file.display().to_string(), source, problems };
                complain_of(&diagnostic, terminal);
                Failure::Usage(String::new())
            })?;
            return Ok(all.into_iter().map(common).collect());
        }
        if !(self.speed > 0.0 && self.speed.is_finite()) {
            return Err(Failure::Usage("--speed must be above zero".to_owned()));
        }
        let service = self.service.as_ref().map(|text| distribution_option("service", text, terminal)).transpose()?;
        let mut faults = Vec::new();
        for text in &self.fault {
            let check = |request: FaultRequest| request.faults().map(|_| request);
            faults.extend(option("fault", text, terminal, check)?.faults().map_err(Failure::Usage)?);
        }
        let (discipline, unlimited) = match self.discipline {
            How::Fcfs => (Discipline::Fcfs, 1),
            How::Ps => (Discipline::Ps, u32::MAX),
        };
        let (ttl, hit_cost, reported_load) = (self.cache_ttl, self.hit_cost.0, self.reported_load.0);
        let cache = self.cache.map(|capacity| CacheSpec { capacity, ttl, hit_cost, reported_load });
        let one = |i: u16| {
            let name = if self.count == 1 { self.name.clone() } else { format!("{}-{}", self.name, i + 1) };
            let server = Server {
                speed: self.speed,
                concurrency: self.concurrency.unwrap_or(unlimited),
                queue_limit: self.queue_limit,
                discipline,
                cache,
                ..Server::new(&name)
            };
            let port = port_after(self.listen.port(), i.into())
                .ok_or_else(|| Failure::Usage("--listen: not enough ports from this one on".to_owned()))?;
            let listen = SocketAddr::new(self.listen.ip(), port);
            let spec = Spec { listen, service: service.clone(), faults: faults.clone(), ..Spec::new(&name) };
            Ok(common(Spec { server, ..spec }))
        };
        (0..self.count).map(one).collect()
    }
}

pub fn test_server(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        let _ = stop.send(());
    })
    .map_err(|error| Failure::Broken(error.into()))?;
    let servers = Backend::start_all(args.specs(terminal)?).map_err(|error| {
        Failure::Usage(format!("cannot listen: {error}\n  help: if the port is in use, choose another with --listen"))
    })?;
    for server in &servers {
        match server.control_address() {
            None => announce(format_args!("{} serves {}", server.name(), server.url())),
            Some(control) => {
                announce(format_args!("{} serves {}, control at http://{control}/_fault", server.name(), server.url()));
            }
        }
    }
    let _ = stopped.recv();
    let mut table = table::plain(terminal.width);
    table.set_header([
        "server",
        "requests",
        "ok",
        "errors",
        "rejected",
        "lost",
        "hits",
        "mean time in server",
        "max in flight",
    ]);
    for server in servers {
        let name = server.name().to_owned();
        let c = server.stop();
        let hits = match c.hits + c.misses {
            0 => "–".to_owned(),
            all => table::percent(c.hits as f64 / all as f64),
        };
        let mean = Nanos(c.time_here.0.checked_div(c.ok).unwrap_or(0));
        let counts = [c.requests, c.ok, c.errors, c.rejected, c.lost].map(|count| count.to_string());
        let mut row = vec![name];
        row.extend(counts);
        row.extend([hits, mean.to_string(), c.most_in_flight.to_string()]);
        table.add_row(row);
    }
    for column in 1..9 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say(table);
    Ok(())
}

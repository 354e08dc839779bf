//! `evenkeel backend`: test servers, until Ctrl-C.

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
use evenkeel_config::law::{self, Law, Sampler};
use evenkeel_config::pool::{CacheSpec, Discipline, Server};
use evenkeel_config::{Diagnostic, Problem, Problems, diagnostic};
use evenkeel_core::units::{Nanos, Ratio};
use evenkeel_sim::sim::model::FaultKind;
use evenkeel_testbed::file::{Strike, port_after, specs};
use evenkeel_testbed::{Backend, Spec};

/// What to serve, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel backend                                 answers at once on 127.0.0.1:9001
  evenkeel backend --count 3 --service '{ exponential = { mean = \"10ms\" } }' --concurrency 4
  evenkeel backend --listen 127.0.0.1:9009 --name weak --speed 0.5 --cache 1000 --bytes 2000
  evenkeel backend --fault '{ at = \"10s\", for = \"5s\", what = { slow = { factor = 6 } } }'
  evenkeel backend --config scenario.toml          a server for each that has an `address`, with its laws and faults

  curl -i 'http://127.0.0.1:9001/any?bytes=100&delay=50ms'    also status=, chunked=1, trailers=1, sse=5
  curl -H 'x-echo: 1' http://127.0.0.1:9001/                  what the server received, as JSON
  curl -d 'what = { crash = {} }' http://127.0.0.1:9001/_fault    with --control; also for = \"5s\"; DELETE heals
  curl -X DELETE http://127.0.0.1:9101/_fault      heals a crashed server, with --control --control-listen 127.0.0.1:9101

Work takes time and no processor. HTTP/1.1 and HTTP/2 (from the start, without TLS) on the same port.")]
pub struct Args {
    /// Where the first listens; port 0 takes any that is free
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Its name, which answers carry as `x-server`; with --count the stem, to which -1, -2, … are added
    #[arg(long, default_value = "test")]
    name: String,
    /// So many alike, on successive ports
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// Law of the work of a request, as a scenario writes it; without one requests are answered at once
    #[arg(long, value_name = "LAW")]
    service: Option<String>,
    /// Work per unit of time; 2 is twice as fast as the law says
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Requests served at once (fcfs, 1 unless given), or the most that share (ps, unlimited unless given)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// Requests that may wait; more get a 503 [default: unlimited]
    #[arg(long, value_name = "N")]
    queue_limit: Option<u32>,
    /// How it divides itself: first come first served, or processor sharing
    #[arg(long, value_enum, default_value_t = How::Fcfs)]
    discipline: How,
    /// Entries of a cache, least recently used goes first [default: none]
    #[arg(long, value_name = "ENTRIES")]
    cache: Option<NonZeroUsize>,
    /// Age at which a cached entry no longer counts [default: none]
    #[arg(long, value_name = "TIME", requires = "cache")]
    cache_ttl: Option<Nanos>,
    /// What a hit costs, as a share of the work
    #[arg(long, value_name = "SHARE", default_value = "10%", requires = "cache")]
    hit_cost: Ratio,
    /// The share of its load that it tells of to a proxy that asks for a request whose answer it has
    #[arg(long, value_name = "SHARE", default_value = "100%", requires = "cache")]
    advertised: Ratio,
    /// Bytes of an answer
    #[arg(long, default_value_t = 0)]
    bytes: u64,
    /// Work and luck are drawn from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Something that goes wrong, as in [[faults]] but without a target; may be given several times
    #[arg(long, value_name = "FAULT")]
    fault: Vec<String>,
    /// Let POST /_fault make things go wrong
    #[arg(long)]
    control: bool,
    /// Where /_fault is served as well, also while the server is crashed; more servers take the ports that follow
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", requires = "control")]
    control_listen: SocketAddr,
    /// Drop requests from the queue when their client is gone
    #[arg(long)]
    cancel: bool,
    /// Start a server for every [[pools.servers]] of this file that has an `address`
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

/// Reads the value of an option that is written as in a file; the error shows what was wrong with it.
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
    // The value's text alone is shown, whatever was put before it to make a file of it.
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

/// A law given as an option.
pub fn law_option(name: &str, text: &str, terminal: Terminal) -> Result<Sampler, Failure> {
    let mut sampler = Sampler::ZERO;
    option::<Law>(name, text, terminal, |law| {
        sampler = law.sampler(&mut |file| law::numbers(file, &read(Path::new(file))?))?;
        Ok(law)
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
            let port = port_after(self.control_listen.port(), i).ok_or_else(|| {
                Failure::Usage("--control-listen: there are not so many ports from this one on".into())
            })?;
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
        let service = self.service.as_ref().map(|text| law_option("service", text, terminal)).transpose()?;
        let mut faults = Vec::new();
        for text in &self.fault {
            let check = |strike: Strike| FaultKind::of(&strike.what).map(|_| strike);
            faults.push(option("fault", text, terminal, check)?.timed().map_err(Failure::Usage)?);
        }
        let (discipline, unlimited) = match self.discipline {
            How::Fcfs => (Discipline::Fcfs, 1),
            How::Ps => (Discipline::Ps, u32::MAX),
        };
        let (ttl, hit_cost, advertised) = (self.cache_ttl, self.hit_cost.0, self.advertised.0);
        let cache = self.cache.map(|capacity| CacheSpec { capacity, ttl, hit_cost, advertised });
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
                .ok_or_else(|| Failure::Usage("--listen: there are not so many ports from this one on".to_owned()))?;
            let listen = SocketAddr::new(self.listen.ip(), port);
            let spec = Spec { listen, service: service.clone(), faults: faults.clone(), ..Spec::new(&name) };
            Ok(common(Spec { server, ..spec }))
        };
        (0..self.count).map(one).collect()
    }
}

pub fn backend(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        let _ = stop.send(());
    })
    .map_err(|error| Failure::Broken(error.into()))?;
    let servers = Backend::start_all(args.specs(terminal)?).map_err(|error| {
        Failure::Usage(format!("cannot listen: {error}\n  help: is the port taken? --listen chooses another"))
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
        "mean time here",
        "most at once",
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

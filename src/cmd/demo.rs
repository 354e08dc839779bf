//! `evenkeel proxy --demo`: test servers, the proxy and load in one process, with a live table.

use std::path::Path;
use std::sync::mpsc;

use comfy_table::CellAlignment;
use hdrhistogram::Histogram;

use super::loopback::{Look, Loopback, unsupported_over_sockets, without_delays};
use super::{Failure, Terminal, inputs, say, scheduler};
use crate::report::table;
use evenkeel_core::select::catalog;
use evenkeel_core::units::{Nanos, human_seconds};
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::model::Model;
use evenkeel_testbed::Counters;
use evenkeel_testbed::load::{LoadSummary, Options, play_watched};

const BUILT_IN: &str = include_str!("demo.toml");

/// Progress reports of the load generator, one per 100 ms, between two frames.
const LOOKS: u32 = 5;

/// Totals so far, at one moment.
struct Frame {
    sent: u64,
    failed: u64,
    latency: Histogram<u64>,
}

pub fn demo(
    file: Option<&Path>,
    strategy: &str,
    lasts: Option<Nanos>,
    seed: Option<u64>,
    terminal: Terminal,
) -> Result<(), Failure> {
    let (mut scenario, source) = read(file, terminal)?;
    let table = catalog::parse(strategy).map_err(Failure::Usage)?;
    if table.oracle() {
        let message = format!("`{}` needs information that only the simulator has", table.name());
        return Err(Failure::Usage(format!("{message}\n  help: `evenkeel list` shows which are oracles")));
    }
    inputs::remark(strategy);
    let foreign = unsupported_over_sockets(&scenario);
    if !foreign.is_empty() {
        return Err(Failure::Usage(format!("this scenario cannot run over sockets:\n  {}", foreign.join("\n  "))));
    }
    let delays = without_delays(&mut scenario.model);
    let seed = seed.unwrap_or_else(|| scenario.replication_seed(0));
    let model = &mut scenario.model;
    // The warm-up is shown, too.
    model.duration = lasts.unwrap_or(model.warmup + model.duration);
    (model.warmup, model.cache_warmup) = (Nanos::ZERO, Nanos::ZERO);
    model.drain = model.drain.min(Nanos::from_secs(3));
    let strategy = table;
    let loopback = Loopback::start(&scenario, &source, &strategy, seed)?;
    let model = &scenario.model;

    say(format_args!("{}: {} for {}", terminal.bold(&scenario.title), strategy.name(), model.duration));
    if delays {
        say("The delays of [network] are left out.");
    }
    say(format_args!("proxy   http://{}/", loopback.address()));
    say(format_args!("admin   http://{}/servers and /metrics", loopback.admin()));
    for server in loopback.backends.iter().flatten() {
        say(format_args!("        {} at {}", server.name(), server.url()));
    }
    say("");
    scheduler::watch_for_interrupt();
    let target = format!("http://{}", loopback.address()).parse().map_err(Failure::Usage)?;
    let mut screen = Screen::new(model, &loopback, terminal);
    let report = std::thread::scope(|scope| {
        let (tell, frames) = mpsc::channel();
        let load = scope.spawn(|| {
            let tell = tell;
            let mut looks = 0;
            loopback.begin();
            play_watched(model, seed, &target, &Options::default(), |progress, report| {
                looks += 1;
                if looks % LOOKS == 0 {
                    let frame = Frame { sent: progress.sent, failed: progress.failed, latency: report.latency.clone() };
                    let _ = tell.send(frame);
                }
                !scheduler::stopped()
            })
        });
        for frame in frames {
            screen.show(&frame);
        }
        load.join()
    });
    let broken = |what: &str| Failure::Broken(anyhow::anyhow!("the load: {what}"));
    let report = report.map_err(|_| broken("it has panicked"))?.map_err(|error| broken(&error.to_string()))?;
    screen.end(&report);
    Ok(())
}

fn read(file: Option<&Path>, terminal: Terminal) -> Result<(Scenario, String), Failure> {
    let Some(file) = file else {
        let scenario = Scenario::parse("demo", BUILT_IN, &|name| Err(format!("no file `{name}`")));
        let scenario = scenario.map_err(|problems| Failure::Broken(anyhow::anyhow!("built in: {problems:?}")))?;
        return Ok((scenario, BUILT_IN.to_owned()));
    };
    let loaded = inputs::load_single(file, terminal)?;
    Ok((loaded.scenario, loaded.source))
}

/// The start or the end of a fault.
struct Event {
    at: Nanos,
    what: String,
}

fn events(model: &Model) -> Vec<Event> {
    let mut events = Vec::new();
    for fault in &model.faults {
        events.push(Event { at: fault.at, what: fault.label.clone() });
        events.extend(fault.until.map(|at| Event { at, what: format!("{} is over", fault.label) }));
    }
    events.sort_by_key(|event| event.at);
    events.retain(|event| event.at < model.duration);
    events
}

/// The table on the terminal, redrawn in place; in a pipe only the events, and the final table.
struct Screen<'a> {
    loopback: &'a Loopback,
    terminal: Terminal,
    live: bool,
    duration: Nanos,
    events: std::iter::Peekable<std::vec::IntoIter<Event>>,
    frames: u32,
    /// Lines of the table on the terminal.
    drawn: usize,
    /// Last two frames: rates and percentiles are over a second.
    before: Vec<(Frame, Vec<Counters>)>,
}

impl<'a> Screen<'a> {
    fn new(model: &Model, loopback: &'a Loopback, terminal: Terminal) -> Screen<'a> {
        Screen {
            loopback,
            terminal,
            live: terminal.width.is_some(),
            duration: model.duration,
            events: events(model).into_iter().peekable(),
            frames: 0,
            drawn: 0,
            before: Vec::new(),
        }
    }

    fn counters(&self) -> Vec<Counters> {
        self.loopback.backends.iter().flatten().map(|backend| backend.counters()).collect()
    }

    fn wipe(&mut self) {
        if self.drawn > 0 {
            // Moves up to the table's first line and clears everything below.
            use std::io::Write;
            let _ = write!(std::io::stdout(), "\u{1b}[{}A\u{1b}[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn show(&mut self, frame: &Frame) {
        self.frames += 1;
        let now = Nanos::from_millis(u64::from(self.frames * LOOKS) * 100);
        if self.events.peek().is_some_and(|event| event.at <= now) {
            self.wipe();
        }
        while let Some(event) = self.events.next_if(|event| event.at <= now) {
            say(format_args!("{:>7}  {}", event.at.to_string(), event.what));
        }
        if !self.live {
            return;
        }
        let counters = self.counters();
        let Some(look) = self.loopback.look() else { return };
        let (since, before) = match self.before.first() {
            Some((frame, counters)) => (Some(frame), counters.clone()),
            None => (None, vec![Counters::default(); counters.len()]),
        };
        let seconds = 0.5 * self.before.len().max(1) as f64;
        let mut lately = frame.latency.clone();
        if let Some(since) = since {
            let _ = lately.subtract(&since.latency);
        }
        let quantile = |quantile| human_seconds(lately.value_at_quantile(quantile) as f64 / 1e9);
        let text = format!(
            "{}\n{} of {}: {:.0} requests per second, p50 {}, p99 {}; {} failed, {} retried so far",
            self.table(&look, &before, &counters),
            now.min(self.duration),
            self.duration,
            (frame.sent - since.map_or(0, |since| since.sent)) as f64 / seconds,
            quantile(0.5),
            quantile(0.99),
            frame.failed,
            look.retries
        );
        self.wipe();
        say(&text);
        self.drawn = text.lines().count();
        let frame = Frame { latency: frame.latency.clone(), ..*frame };
        self.before.push((frame, counters));
        if self.before.len() > 2 {
            self.before.remove(0);
        }
    }

    /// A row per server, for the time between two frames.
    fn table(&self, look: &Look, before: &[Counters], now: &[Counters]) -> String {
        let mut shown = table::plain(self.terminal.width);
        shown.set_header([
            "server",
            "state",
            "weight",
            "in flight",
            "requests",
            "share",
            "mean time in server",
            "hits",
        ]);
        let all: u64 = now.iter().zip(before).map(|(now, before)| now.requests - before.requests).sum();
        let standings = look.servers["pools"].as_array().into_iter().flatten();
        let standings = standings.flat_map(|pool| pool["servers"].as_array().into_iter().flatten());
        for ((standing, now), before) in standings.zip(now).zip(before) {
            let is = |what: &str| standing[what].as_bool().unwrap_or(false);
            let state = match () {
                () if is("draining") => "draining",
                () if is("ejected") => "ejected",
                () if !is("up") => "down",
                () if standing["warmth"].as_f64().is_some_and(|warmth| warmth < 1.0) => "warming",
                () => "up",
            };
            let (requests, ok) = (now.requests - before.requests, now.ok - before.ok);
            let (hits, misses) = (now.hits - before.hits, now.misses - before.misses);
            let time = now.time_here.saturating_sub(before.time_here);
            let share = |part: u64, whole: u64| match whole {
                0 => "–".to_owned(),
                _ => table::percent(part as f64 / whole as f64),
            };
            shown.add_row([
                standing["name"].as_str().unwrap_or_default().to_owned(),
                state.to_owned(),
                standing["weight"].to_string(),
                standing["in_flight"].to_string(),
                requests.to_string(),
                share(requests, all),
                time.0.checked_div(ok).map_or("–".to_owned(), |mean| Nanos(mean).to_string()),
                share(hits, hits + misses),
            ]);
        }
        for column in 2..8 {
            if let Some(column) = shown.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        shown.to_string()
    }

    /// The table of the whole run.
    fn end(&mut self, report: &LoadSummary) {
        self.wipe();
        let counters = self.counters();
        let Some(look) = self.loopback.look() else { return };
        say(self.table(&look, &vec![Counters::default(); counters.len()], &counters));
        let quantile = |quantile| human_seconds(report.latency.value_at_quantile(quantile) as f64 / 1e9);
        say(format_args!(
            "{} requests in {}: p50 {}, p90 {}, p99 {}; {} failed, {} retried",
            report.requests,
            human_seconds(report.span.as_secs_f64()),
            quantile(0.5),
            quantile(0.9),
            quantile(0.99),
            report.failed(),
            look.retries
        ));
        if !report.errors.is_empty() {
            let counts: Vec<String> = report.errors.iter().map(|(what, count)| format!("{what} {count}")).collect();
            say(format_args!("Failed: {}.", counts.join(", ")));
        }
        report.warnings().iter().for_each(|warning| say(format_args!("Warning: {warning}.")));
    }
}

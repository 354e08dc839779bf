//! `evenkeel proxy`: the reverse proxy, with the strategies of the simulator.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Stderr, Terminal, announce, complain, complain_of, demo, say};
use evenkeel_config::pool::{LONELY_HELP, lonely};
use evenkeel_config::proxy::{MessageFormat, ProxyConfig};
use evenkeel_config::schema;
use evenkeel_config::terminal::is_stdout;
use evenkeel_core::units::Nanos;
use evenkeel_proxy::{Options, Proxy, ProxyError, check_files, read};

/// The config, and how to run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel proxy --demo                    test servers, proxy and load at once
  evenkeel proxy --demo slow-server --strategy peak_ewma --duration 30s
  evenkeel proxy --example > proxy.toml    an annotated config
  evenkeel proxy --config proxy.toml --check
  evenkeel proxy --config proxy.toml
  evenkeel proxy --config proxy.toml --record picks.jsonl

Signals:
  HUP    reload the config (also when the file changes, unless --no-watch)
  USR1   reopen the access log's file
  TERM   drain: report not ready, wait for `drain_delay`, accept nothing new,
         finish requests in flight within `drain`
  INT    drain without `drain_delay`; a second one exits at once

Exit codes: 0 drained, 2 the config is not valid, 3 I/O error.")]
pub struct Args {
    /// The config, TOML
    #[arg(long, short, value_name = "FILE", required_unless_present_any = ["example", "schema", "demo"])]
    config: Option<PathBuf>,
    /// Validate the config and exit
    #[arg(long, requires = "config")]
    check: bool,
    /// Print an annotated config
    #[arg(long, exclusive = true)]
    example: bool,
    /// Print the JSON schema of the config
    #[arg(long, exclusive = true)]
    schema: bool,
    /// Run test servers, the proxy and load in one process: from a scenario (a file, or an embedded one), or a built-in fleet
    #[arg(long, value_name = "SCENARIO", num_args = 0..=1, conflicts_with_all = ["config", "record"])]
    demo: Option<Option<PathBuf>>,
    /// With --demo: strategy of the proxy
    #[arg(long, value_name = "NAME", default_value = "p2c", requires = "demo")]
    strategy: String,
    /// With --demo: duration [default: the scenario's]
    #[arg(long, value_name = "TIME", requires = "demo")]
    duration: Option<Nanos>,
    /// Do not reload the config when the file changes
    #[arg(long)]
    no_watch: bool,
    /// Record all selector inputs and picks to a file, for `evenkeel replay`; `-` is standard output
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Seed of all randomness, for reproducible picks
    #[arg(long)]
    seed: Option<u64>,
    /// Log level: error, warn, info, debug
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "EVENKEEL_LOG")]
    log_level: tracing::Level,
}

/// `1 pool`, `2 pools`.
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// The output of `--example`.
const EXAMPLE: &str = evenkeel_config::proxy::EXAMPLE;

pub fn proxy(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    if args.example {
        say(EXAMPLE.trim_end());
        return Ok(());
    }
    if args.schema {
        say(format!("{:#}", schema::proxy()));
        return Ok(());
    }
    if let Some(scenario) = &args.demo {
        return demo::demo(scenario.as_deref(), &args.strategy, args.duration, args.seed, terminal);
    }
    let Some(file) = &args.config else { return Err(Failure::Usage("--config FILE is needed".to_owned())) };
    let (source, config) = read(file).map_err(|error| refused(&error, terminal))?;
    check_files(&config).map_err(|error| refused(&error, terminal))?;
    for pool in &config.pools {
        let weights = pool.servers.iter().map(|server| server.weight);
        if let Some(warning) = lonely(&pool.name, weights, &pool.rules) {
            complain(format_args!("warning: {warning}\n  help: {LONELY_HELP}"));
        }
    }
    config.remarks.iter().for_each(|remark| complain(format_args!("note: {remark}")));
    if args.check {
        say(format!(
            "{} is valid: {}, {}, {}",
            file.display(),
            count(config.listeners.len(), "listener"),
            count(config.pools.len(), "pool"),
            count(config.pools.iter().map(|pool| pool.servers.len()).sum(), "server")
        ));
        return Ok(());
    }
    init_log(config.log.messages, args.log_level, terminal);
    let options = Options {
        file: file.clone(),
        watch: !args.no_watch,
        record: args.record.clone(),
        seed: args.seed,
        commit: super::COMMIT,
    };
    let broken = |error| Failure::Broken(anyhow::Error::new(error));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(options, source, config, terminal))
}

/// Runs the proxy until a signal ends it.
async fn serve(options: Options, source: String, config: ProxyConfig, terminal: Terminal) -> Result<(), Failure> {
    // Before anything listens: an early signal must not kill the process.
    let broken = |error| Failure::Broken(anyhow::Error::new(error));
    let mut hangup = signal(SignalKind::hangup()).map_err(broken)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
    let mut reopen = signal(SignalKind::user_defined1()).map_err(broken)?;
    // A recording to standard output must be the only output there.
    let recorded = options.record.as_deref().is_some_and(is_stdout);
    let tell = |text: String| if recorded { complain(text) } else { announce(text) };
    let proxy = Proxy::start_with(options, source, config).await.map_err(|error| refused(&error, terminal))?;
    for address in proxy.addresses() {
        tell(format!("listening at {address}"));
    }
    if let Some(address) = proxy.admin_address() {
        tell(format!("admin at {address}"));
    }
    let delay = loop {
        tokio::select! {
            _ = hangup.recv() => drop(proxy.control().reload().await),
            _ = reopen.recv() => proxy.control().reopen_log(),
            _ = terminate.recv() => break proxy.drain_delay(),
            _ = interrupt.recv() => break Duration::ZERO,
        }
    };
    tracing::info!("draining");
    let control = std::rc::Rc::clone(proxy.control());
    let cut = tokio::select! {
        cut = proxy.drain(delay) => cut,
        _ = async { tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () } } => {
            tracing::warn!("second signal: ending now");
            control.flush();
            std::process::exit(0);
        }
    };
    if cut > 0 {
        tracing::warn!(requests = cut, "cut off at the end of the drain time");
    }
    Ok(())
}

fn refused(error: &ProxyError, terminal: Terminal) -> Failure {
    match error {
        ProxyError::Config(diagnostic) => {
            complain_of(diagnostic, terminal);
            Failure::Usage(String::new())
        }
        ProxyError::Read { .. } | ProxyError::Other(_) => Failure::Usage(error.to_string()),
        ProxyError::Listen { .. } => Failure::Broken(anyhow::anyhow!("{error}")),
    }
}

/// Sends log messages to standard error, as text or JSON.
fn init_log(format: MessageFormat, level: tracing::Level, terminal: Terminal) {
    let base = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| Stderr)
        .with_target(false)
        .log_internal_errors(false);
    let colour = terminal.err && std::io::stderr().is_terminal();
    // A second start in one process keeps the settings of the first.
    let _ = match format {
        MessageFormat::Json => base.json().try_init(),
        MessageFormat::Text => base.with_ansi(colour).try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_config::proxy::TimeoutsTable;

    /// The example is valid, and the defaults that it names are the defaults.
    #[test]
    fn the_example_is_valid_and_names_the_defaults() {
        let config = ProxyConfig::parse(EXAMPLE, &|_| None).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(config.timeouts, TimeoutsTable::default());
        assert_eq!(config.limits, evenkeel_config::proxy::LimitsTable::default());
        assert_eq!(config.dns, evenkeel_config::proxy::DnsTable::default());
        assert_eq!(config.pools[0].servers.len(), 3);
        assert_eq!(config.pools[0].servers[2].port, 9003, "a count takes ports one after another");
    }
}

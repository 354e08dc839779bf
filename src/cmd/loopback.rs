//! A scenario on real sockets, all in this process: test servers for its servers, and the proxy before them with its pools.
//! What `proxy --demo` shows and `twin` compares.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Failure;
use evenkeel_config::distribution::Sampler;
use evenkeel_config::fault::Fault;
use evenkeel_config::proxy::{KeyTable, ProxyConfig};
use evenkeel_core::select::catalog::StrategyConfig;
use evenkeel_core::units::Nanos;
use evenkeel_proxy::admin;
use evenkeel_proxy::control::{Options, Proxy};
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::model::{Arrivals, Model, Target};
use evenkeel_testbed::{Backend, Spec, TimedFault};

/// From the start of the test servers to the first request: until then the proxy is up. Faults wait for as long.
const LEAD: Duration = Duration::from_millis(300);

/// Parts of a scenario that cannot run over sockets.
pub fn unsupported_over_sockets(model: &Model) -> Vec<&'static str> {
    let mut names = BTreeSet::new();
    let unique = model.pools.iter().flat_map(|pool| &pool.servers).all(|server| names.insert(&server.name));
    let unsupported_faults: BTreeSet<&str> =
        model.faults.iter().filter_map(|fault| fault.kind.unsupported_over_sockets()).collect();
    [
        (matches!(model.arrivals, Arrivals::Closed { .. }), "a closed loop: here requests come when they are meant to"),
        (model.clients.patience.is_some(), "`patience` of clients: over sockets they cannot see when service begins"),
        (model.dns.is_some(), "`[dns]`: the load goes to one address"),
        (model.balancers.count > 1, "several balancers: there is one proxy"),
        (model.balancers.shards > 1, "`shards`: the kernel deals connections to the proxy's threads, not requests"),
        (model.pools.iter().any(|pool| pool.backend.is_some()), "a second tier: test servers call nobody"),
        (model.pools.iter().any(|pool| pool.policy.sticky.is_some()), "`sticky`: the load keeps no cookies"),
        (
            model.faults.iter().any(|fault| matches!(fault.target, Target::Balancer(_))),
            "faults of a balancer: the proxy does not fail at will",
        ),
        (
            model.pools.iter().any(|pool| pool.connections.is_some()),
            "`connections`: the load picks one for each request",
        ),
        (model.pools.iter().any(|pool| pool.autoscale.is_some()), "`autoscale`: nobody starts or stops test servers"),
        (!unique, "servers of the same name in two pools: answers tell servers apart by their names"),
    ]
    .into_iter()
    .filter_map(|(foreign, what)| foreign.then_some(what))
    .chain(unsupported_faults)
    .collect()
}

/// The scenario without the delays of its network, which sockets do not simulate.
pub fn without_delays(model: &mut Model) -> bool {
    let none = |leg: &Sampler| leg.mean() == 0.0;
    let had = !none(&model.client_leg) || !none(&model.server_leg) || model.cross_zone > Nanos::ZERO;
    (model.client_leg, model.server_leg, model.cross_zone) = (Sampler::ZERO, Sampler::ZERO, Nanos::ZERO);
    had
}

/// A scenario's servers and the proxy before them.
pub struct Loopback {
    /// By pool, in the order of the model.
    pub backends: Vec<Vec<Backend>>,
    front: Front,
    /// When the first request is to be sent.
    begins: Instant,
}

impl Loopback {
    /// Starts everything on free ports of this machine. `source` is the text of the scenario.
    pub fn start(scenario: &Scenario, source: &str, strategy: &StrategyConfig, seed: u64) -> Result<Loopback, Failure> {
        let started = Instant::now();
        let model = &scenario.model;
        let broken = |error: std::io::Error| Failure::Broken(anyhow::Error::new(error).context("test servers"));
        let mut backends = Vec::new();
        for (p, pool) in model.pools.iter().enumerate() {
            let spec = |(s, server): (usize, &evenkeel_sim::sim::model::Server)| Spec {
                server: server.clone(),
                faults: faults_of(model, p, s),
                cancel: model.clients.servers_see_cancel,
                seed,
                ..Spec::new(&server.name)
            };
            backends.push(Backend::start_all(pool.servers.iter().enumerate().map(spec).collect()).map_err(broken)?);
        }
        let text = config(model, source, strategy, &backends)?;
        let front = Front::start(text, seed)?;
        Ok(Loopback { backends, front, begins: started + LEAD })
    }

    /// Waits until requests may come.
    pub fn begin(&self) {
        std::thread::sleep(self.begins.saturating_duration_since(Instant::now()));
    }

    /// Where requests go.
    pub fn address(&self) -> SocketAddr {
        self.front.address
    }

    /// Where the proxy's admin listener is.
    pub fn admin(&self) -> SocketAddr {
        self.front.admin
    }

    /// How the servers stand for the proxy, and its retries so far.
    pub fn look(&self) -> Option<Look> {
        let (tell, told) = mpsc::channel();
        self.front.ask.send(tell).ok()?;
        told.recv_timeout(Duration::from_secs(2)).ok()
    }
}

fn faults_of(model: &Model, pool: usize, server: usize) -> Vec<TimedFault> {
    let later = |at: Nanos| at + Nanos(LEAD.as_nanos() as u64);
    let mine = model.faults.iter().filter(|fault| fault.target == Target::Server { pool, server });
    mine.map(|f| TimedFault { at: later(f.at), until: f.until.map(later), kind: f.kind }).collect()
}

/// The proxy's config: the scenario's pools as they are written, with an address for each server.
fn config(
    model: &Model,
    source: &str,
    strategy: &StrategyConfig,
    backends: &[Vec<Backend>],
) -> Result<String, Failure> {
    use toml::{Table as Keys, Value};
    let broken = |error: &dyn std::fmt::Display| Failure::Broken(anyhow::anyhow!("the proxy's config: {error}"));
    let written: Keys = toml::from_str(source).map_err(|error| broken(&error))?;
    let text = |text: &str| Value::String(text.to_owned());
    let table = |pairs: &[(&str, Value)]| {
        Value::Table(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<Keys>())
    };
    let mut config = Keys::new();
    config.insert("shards".to_owned(), Value::Integer(1));
    config.insert("listeners".to_owned(), Value::Array(vec![table(&[("address", text("127.0.0.1:0"))])]));
    config.insert("admin".to_owned(), table(&[("address", text("127.0.0.1:0"))]));
    // The load tells its clients' addresses.
    config.insert("trusted_proxies".to_owned(), Value::Array(vec![text("127.0.0.0/8")]));
    // Nothing but the scenario's own time-outs.
    let connect = format!("{}ns", model.clients.connect_timeout.0.max(1));
    let timeouts = [("connect", text(&connect)), ("response_header", text("1h")), ("drain", text("1s"))];
    config.insert("timeouts".to_owned(), table(&timeouts));
    let mut pools = Vec::new();
    for (pool, backends) in model.pools.iter().zip(backends) {
        let own = written.get("pools").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table);
        let own = own.into_iter().find(|own| own.get("name").and_then(Value::as_str) == Some(&pool.name));
        let mut keys = Keys::new();
        keys.insert("name".to_owned(), text(&pool.name));
        let chosen = pool.strategy.as_ref().unwrap_or(strategy);
        keys.insert("strategy".to_owned(), Value::try_from(chosen).map_err(|error| broken(&error))?);
        for key in ["health", "outliers", "slow_start", "panic", "queue", "retries", "hedge"] {
            if let Some(value) = own.and_then(|own| own.get(key)) {
                keys.insert(key.to_owned(), value.clone());
            }
        }
        // The simulator's checks see faults; so does this page of a test server.
        if let Some(Value::Table(health)) = keys.get_mut("health")
            && !health.contains_key("tcp")
        {
            health.insert("path".to_owned(), text("/health"));
        }
        let servers = pool.servers.iter().zip(backends).map(|(server, backend)| {
            let mut keys = vec![
                ("name", text(&server.name)),
                ("address", text(&backend.address().to_string())),
                ("weight", Value::Integer(server.weight.into())),
            ];
            keys.extend(server.max_in_flight.map(|most| ("max_in_flight", Value::Integer(most.into()))));
            keys.extend(server.zone.as_ref().map(|zone| ("zone", text(zone))));
            table(&keys)
        });
        keys.insert("servers".to_owned(), Value::Array(servers.collect()));
        pools.push(Value::Table(keys));
    }
    config.insert("pools".to_owned(), Value::Array(pools));
    if let Some(routes) = written.get("routes") {
        config.insert("routes".to_owned(), routes.clone());
    }
    toml::to_string(&config).map_err(|error| broken(&error))
}

/// What is known of the servers at a moment.
pub struct Look {
    /// As the admin listener tells it.
    pub servers: serde_json::Value,
    /// Requests that were tried again.
    pub retries: u64,
}

/// The proxy on a thread of its own. It stops when dropped.
struct Front {
    address: SocketAddr,
    admin: SocketAddr,
    ask: tokio::sync::mpsc::UnboundedSender<mpsc::Sender<Look>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    fn start(text: String, seed: u64) -> Result<Front, Failure> {
        let mut config = ProxyConfig::parse(&text, &|_| None).map_err(|problems| {
            let said: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
            Failure::Usage(format!("the proxy cannot take this scenario: {}", said.join("; ")))
        })?;
        config.key = KeyTable::Bits("x-key".to_owned());
        let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel::<mpsc::Sender<Look>>();
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = mpsc::channel();
        let run = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell.send(Err(error.to_string()))),
            };
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let options = Options { seed: Some(seed), ..Options::default() };
                let proxy = match Proxy::start_with(options, text, config).await {
                    Ok(proxy) => proxy,
                    Err(error) => return drop(tell.send(Err(error.to_string()))),
                };
                let places = proxy.addresses().first().copied().zip(proxy.admin_address());
                let _ = tell.send(places.ok_or_else(|| "it has no address".to_owned()));
                loop {
                    tokio::select! {
                        _ = &mut stopped => break,
                        Some(tell) = asked.recv() => {
                            let servers = admin::servers(proxy.control()).await;
                            let _ = tell.send(Look { servers, retries: retries(&proxy.control().metrics().encode()) });
                        }
                    }
                }
                proxy.stop().await;
            });
        };
        let broken = |error: String| Failure::Broken(anyhow::anyhow!("the proxy did not start: {error}"));
        let thread =
            std::thread::Builder::new().name("proxy".to_owned()).spawn(run).map_err(|e| broken(e.to_string()))?;
        let told = told.recv().unwrap_or_else(|_| Err("it has ended".to_owned()));
        let (address, admin) = told.map_err(broken)?;
        Ok(Front { address, admin, ask, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The sum over servers and causes on the page of metrics.
fn retries(page: &str) -> u64 {
    let lines = page.lines().filter(|line| line.starts_with("evenkeel_retries_total{"));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>() as u64
}

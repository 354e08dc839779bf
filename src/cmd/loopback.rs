//! Runs a scenario over sockets in this process: test servers for its servers, and the proxy in front of them with its pools
//! and all their policies. `proxy --demo` shows it, and `twin` compares it with the simulator.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Failure;
use evenkeel_config::distribution::Sampler;
use evenkeel_config::fault::Fault as _;
use evenkeel_config::pool::{Check, PoolTable};
use evenkeel_config::proxy::{Admin, KeyTable, Network, PoolConfig, Protocol, ProxyConfig, ServerConfig};
use evenkeel_core::policy::catalog::{Host, Invalid};
use evenkeel_core::select::catalog::StrategyConfig;
use evenkeel_core::units::Nanos;
use evenkeel_proxy::admin;
use evenkeel_proxy::{Options, Proxy};
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::model::{Arrivals, Fault, Model, Pool, Server, Target};
use evenkeel_testbed::{Backend, Spec, TimedFault};

/// Time from the start of the test servers to the first request, in which the proxy starts. Faults are delayed by the same
/// time.
const LEAD: Duration = Duration::from_millis(300);

/// Parts of a scenario that cannot run over sockets: each with the reason and a remedy. Empty where all can.
pub fn unsupported_over_sockets(scenario: &Scenario) -> Vec<String> {
    let model = &scenario.model;
    let mut names = BTreeSet::new();
    let unique = model.pools.iter().flat_map(|pool| &pool.servers).all(|server| names.insert(&server.name));
    let pool = |which: fn(&Pool) -> bool| model.pools.iter().any(which);
    let written = |which: fn(&PoolTable) -> bool| scenario.pools.iter().any(which);
    let fault = |which: fn(&Fault) -> bool| model.faults.iter().any(which);
    let parts = [
        (
            matches!(model.arrivals, Arrivals::Closed { .. }),
            "a closed loop (`arrivals.closed`): the load generator is an open loop; give `arrivals` a rate",
        ),
        (
            model.clients.patience.is_some(),
            "`clients.patience`: over sockets clients cannot see when service begins; use `timeout`",
        ),
        (model.dns.is_some(), "`[dns]`: the load generator sends to one address; leave it out"),
        (model.balancers.count > 1, "several balancers: there is one proxy; write balancers = { count = 1 }"),
        (
            model.balancers.shards > 1,
            "`balancers.shards`: the kernel assigns connections to the proxy's threads, not requests; write shards = 1",
        ),
        (pool(|pool| pool.backend.is_some()), "a second tier (`backend`): test servers call no other; leave it out"),
        (
            pool(|pool| pool.connections.is_some()),
            "`connections`: the load generator picks one for each request; leave it out",
        ),
        (pool(|pool| pool.autoscale.is_some()), "`autoscale`: no test servers are started or stopped; leave it out"),
        (pool(|pool| pool.probes.is_some()), "`probes`: answering a probe costs test servers nothing; leave it out"),
        (written(|pool| pool.tls.is_some()), "`tls`: test servers use plain text; leave it out"),
        (written(|pool| pool.protocol != Protocol::Http1), "`protocol`: test servers use HTTP/1.1 here; leave it out"),
        (
            fault(|fault| matches!(fault.target, Target::Balancer(_))),
            "faults of a balancer: the proxy cannot be made to fail; use faults of servers",
        ),
        (!unique, "servers of the same name in two pools: responses are identified by the server's name; rename one"),
    ];
    let parts = parts.into_iter().filter(|(foreign, _)| *foreign).map(|(_, what)| what.to_owned());
    let policies = model.pools.iter().flat_map(|pool| pool.policy.unsupported(Host::Loopback));
    let faults: BTreeSet<&str> =
        model.faults.iter().filter_map(|fault| fault.kind.unsupported_over_sockets()).collect();
    parts
        .chain(faults.into_iter().map(str::to_owned))
        .chain(policies.map(|(key, invalid)| refusal(key, &invalid)))
        .collect()
}

/// Why a policy cannot be applied, by its key, with a remedy.
fn refusal(policy: &str, invalid: &Invalid) -> String {
    let dot = if invalid.key.is_empty() { "" } else { "." };
    let help = invalid.help.map_or(String::new(), |help| format!("; {help}"));
    format!("`{policy}{dot}{}`: {}{help}", invalid.key, invalid.message)
}

/// Removes the delays of the network, which sockets do not simulate; returns whether there were any.
pub fn without_delays(model: &mut Model) -> bool {
    let none = |leg: &Sampler| leg.mean() == 0.0;
    let had = !none(&model.client_leg) || !none(&model.server_leg) || model.cross_zone > Nanos::ZERO;
    (model.client_leg, model.server_leg, model.cross_zone) = (Sampler::ZERO, Sampler::ZERO, Nanos::ZERO);
    had
}

/// A scenario's servers and the proxy in front of them.
pub struct Loopback {
    /// By pool, in the order of the model.
    pub backends: Vec<Vec<Backend>>,
    front: Front,
    /// Time of the first request.
    begins: Instant,
}

impl Loopback {
    /// Starts everything on free ports of this machine. `source` is the text of the scenario, which the admin listener shows.
    pub fn start(scenario: &Scenario, source: &str, strategy: &StrategyConfig, seed: u64) -> Result<Loopback, Failure> {
        let started = Instant::now();
        let model = &scenario.model;
        let broken = |error: std::io::Error| Failure::Broken(anyhow::Error::new(error).context("test servers"));
        let mut backends = Vec::new();
        for (p, pool) in model.pools.iter().enumerate() {
            let spec = |(s, server): (usize, &Server)| Spec {
                server: server.clone(),
                faults: faults_of(model, p, s),
                cancel: model.clients.servers_see_cancel,
                seed,
                ..Spec::new(&server.name)
            };
            backends.push(Backend::start_all(pool.servers.iter().enumerate().map(spec).collect()).map_err(broken)?);
        }
        let config = config(scenario, strategy, &backends);
        let front = Front::start(source.to_owned(), config, seed)?;
        Ok(Loopback { backends, front, begins: started + LEAD })
    }

    /// Waits until requests may be sent.
    pub fn begin(&self) {
        std::thread::sleep(self.begins.saturating_duration_since(Instant::now()));
    }

    /// Address for requests.
    pub fn address(&self) -> SocketAddr {
        self.front.address
    }

    /// Address of the proxy's admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.front.admin
    }

    /// The proxy's state of the servers, and its retries so far.
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

/// The proxy's config: the scenario's pools with all their policies, and the addresses of the test servers.
fn config(scenario: &Scenario, strategy: &StrategyConfig, backends: &[Vec<Backend>]) -> ProxyConfig {
    let model = &scenario.model;
    let pools = model.pools.iter().zip(backends).map(|(pool, backends)| {
        let servers = pool.servers.iter().zip(backends);
        let server = |(server, backend): (&Server, &Backend)| {
            let address = backend.address();
            ServerConfig::new(server, address.ip().to_string(), address.port())
        };
        let strategy = pool.strategy.as_ref().unwrap_or(strategy).clone();
        let rules = Arc::clone(&pool.policy);
        let mut config = PoolConfig::new(&pool.name, strategy, rules, servers.map(server).collect());
        // The simulator's health checks detect faults; so does this page of a test server.
        if pool.policy.health.as_ref().is_some_and(|health| health.tcp != Some(true)) {
            config.check = Check::Http { path: "/health".to_owned(), status: vec![(200, 399)] };
        }
        config
    });
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = ProxyConfig::new(free, pools.collect(), scenario.routes.clone());
    config.shards = Some(1);
    config.zone = model.balancers.zone(0).map(str::to_owned);
    config.key = KeyTable::Bits("x-key".to_owned());
    config.admin = Some(Admin { address: free, token: None });
    // The load generator states the addresses of its clients.
    config.trusted_proxies = vec![Network { address: [127, 0, 0, 0].into(), bits: 8 }];
    // Only the scenario's own timeouts apply.
    config.timeouts.connect = model.clients.connect_timeout.max(Nanos(1));
    config.timeouts.response_header = Nanos::from_secs(3600);
    config.timeouts.drain = Nanos::from_secs(1);
    config
}

/// The state of the servers at a moment.
pub struct Look {
    /// As the admin listener reports it.
    pub servers: serde_json::Value,
    /// Requests that were retried.
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
    fn start(source: String, config: ProxyConfig, seed: u64) -> Result<Front, Failure> {
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
                let proxy = match Proxy::start_with(options, source, config).await {
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

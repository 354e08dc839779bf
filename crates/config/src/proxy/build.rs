//! Converts the tables to a config: resolves every name, checks every number, collects all problems.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use super::table::*;
use super::{Admin, Environment, Listener, Network, PoolConfig, ProxyConfig, ServerConfig, split_host};
use crate::Spanned;
use crate::diagnostic::{Problem, Problems, did_you_mean};
use crate::pool::{PoolTable, check_name};
use evenkeel_core::policy::catalog::Host;
use evenkeel_core::policy::routes::Routes;
use evenkeel_core::policy::zone;
use evenkeel_core::select::catalog::{CATALOGUE, StrategyConfig};
use evenkeel_core::units::Nanos;

struct Builder<'a> {
    /// The text of the file.
    source: &'a str,
    problems: Problems,
    environment: Environment<'a>,
}

pub(super) fn build(source: &str, table: &ProxyTable, environment: Environment<'_>) -> Result<ProxyConfig, Problems> {
    let mut b = Builder { source, problems: Vec::new(), environment };
    let config = b.config(table);
    if b.problems.is_empty() { Ok(config) } else { Err(b.problems) }
}

impl Builder<'_> {
    fn problem(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Problem {
        self.problems.push(Problem::at(span, message));
        self.problems.last_mut().expect("just pushed")
    }

    fn config(&mut self, table: &ProxyTable) -> ProxyConfig {
        let listeners = self.listeners(table);
        if let Some(shards) = table.shards.as_ref().filter(|shards| !(1..=1024).contains(shards.get_ref())) {
            self.problem(shards.span(), "`shards` must be from 1 to 1024");
        }
        if let Some(sample) = table.log.sample.as_ref().filter(|sample| *sample.get_ref() == 0) {
            self.problem(sample.span(), "`sample` must be above zero: one of so many requests is logged");
        }
        if let Some(zone) = &table.zone {
            check_name(zone, "zone", &mut self.problems);
        }
        if let Some(instance) = table.instance.as_ref().filter(|i| i.get_ref().index >= i.get_ref().count) {
            self.problem(instance.span(), "`index` of an instance must be below `count`: instances count from 0");
        }
        self.bounds(table);
        let trusted_proxies = table.trusted_proxies.iter().filter_map(|text| self.network(text)).collect();
        let admin = self.admin(&table.admin);
        let pools = self.pools(table);
        let routes = self.routes(table, &pools);
        ProxyConfig {
            listeners,
            shards: table.shards.as_ref().map(|shards| *shards.get_ref()),
            zone: table.zone.as_ref().map(|zone| zone.get_ref().clone()),
            instance: table.instance.as_ref().map_or_else(InstanceTable::default, |instance| *instance.get_ref()),
            key: table.key.clone(),
            trusted_proxies,
            headers: table.headers.clone(),
            admin,
            log: table.log.clone(),
            timeouts: table.timeouts,
            limits: table.limits,
            dns: table.dns,
            pools,
            routes,
            remarks: Vec::new(),
        }
    }

    fn bounds(&mut self, table: &ProxyTable) {
        let t = &table.timeouts;
        for (value, what) in [
            (t.header, "header"),
            (t.body, "body"),
            (t.keep_alive, "keep_alive"),
            (t.handshake, "handshake"),
            (t.connect, "connect"),
            (t.response_header, "response_header"),
            (t.idle, "idle"),
            (t.upstream_keep_alive, "upstream_keep_alive"),
            (t.total.unwrap_or(Nanos(1)), "total"),
        ] {
            if value == Nanos::ZERO {
                self.problems.push(Problem::of_file(format!("`timeouts.{what}` must be above zero")));
            }
        }
        let l = &table.limits;
        if l.connections == 0 || l.headers == 0 || l.streams == 0 {
            self.problems.push(Problem::of_file("`limits.connections`, `headers` and `streams` must be above zero"));
        }
        if l.streams > MOST_STREAMS {
            self.problems.push(Problem::of_file(format!("`limits.streams` must be at most {MOST_STREAMS}")));
        }
        if !(1024..=1 << 20).contains(&l.header_bytes) || l.headers > 10_000 {
            let message = "`limits.header_bytes` must be from 1024 to 1048576, and `limits.headers` at most 10000";
            self.problems.push(Problem::of_file(message));
        }
        if table.dns.min_ttl == Nanos::ZERO || table.dns.min_ttl > table.dns.max_ttl {
            self.problems.push(Problem::of_file("`dns.min_ttl` must be above zero and at most `dns.max_ttl`"));
        }
    }

    fn listeners(&mut self, table: &ProxyTable) -> Vec<Listener> {
        let mut listeners: Vec<Listener> = Vec::new();
        for listener in table.listeners.get_ref() {
            let t = listener.get_ref();
            let Some(address) = self.socket(&t.address) else { continue };
            if address.port() != 0 && listeners.iter().any(|other| other.address == address) {
                self.problem(t.address.span(), format!("there is already a listener at {address}"));
            }
            if let Some(tls) = t.tls.as_ref().filter(|tls| tls.get_ref().certificates.is_empty()) {
                self.problem(tls.span(), "`tls` has no certificates").help =
                    Some("certificates = [{ cert = \"site.pem\", key = \"site.key\" }]".to_owned());
            }
            let tls = t.tls.as_ref().map(|tls| tls.get_ref().certificates.clone());
            listeners.push(Listener { address, tls, http2: t.http2 });
        }
        if listeners.is_empty() && self.problems.is_empty() {
            self.problem(table.listeners.span(), "there are no listeners: no client could connect");
        }
        listeners
    }

    fn socket(&mut self, text: &Spanned<String>) -> Option<SocketAddr> {
        match text.get_ref().parse() {
            Ok(address) => Some(address),
            Err(_) => {
                let message = format!("`{}` is not an address with a port", text.get_ref());
                self.problem(text.span(), message).help =
                    Some("write \"127.0.0.1:8080\", \"0.0.0.0:80\" or \"[::1]:8080\"".to_owned());
                None
            }
        }
    }

    fn network(&mut self, text: &Spanned<String>) -> Option<Network> {
        let (address, bits) = match text.get_ref().split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text.get_ref().as_str(), None),
        };
        let network = address.parse::<IpAddr>().ok().and_then(|address| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|&bits| bits <= most))?;
            Some(Network { address, bits })
        });
        if network.is_none() {
            self.problem(text.span(), format!("`{}` is not a network", text.get_ref())).help =
                Some("write \"10.0.0.0/8\", \"192.0.2.7\" or \"fd00::/8\"".to_owned());
        }
        network
    }

    fn admin(&mut self, t: &AdminTable) -> Option<Admin> {
        let token = t.token.as_ref().and_then(|token| self.substituted(token));
        let place = t.address.as_ref()?;
        let address = self.socket(place)?;
        if !address.ip().is_loopback() && t.token.is_none() {
            self.problem(place.span(), "an admin listener that is not on loopback needs a `token`").help =
                Some("anyone who reaches it could drain servers; token = \"${ADMIN_TOKEN}\"".to_owned());
        }
        Some(Admin { address, token })
    }

    /// A secret: the literal text, or `${NAME}` from the environment.
    fn substituted(&mut self, text: &Spanned<String>) -> Option<String> {
        let Some(name) = text.get_ref().strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
            return Some(text.get_ref().clone());
        };
        let value = (self.environment)(name).filter(|value| !value.is_empty());
        if value.is_none() {
            self.problem(text.span(), format!("the environment has no variable `{name}`"));
        }
        value
    }

    fn pools(&mut self, table: &ProxyTable) -> Vec<PoolConfig> {
        let mut pools: Vec<PoolConfig> = Vec::new();
        for pool in table.pools.get_ref() {
            let t = pool.get_ref();
            check_name(&t.name, "pool", &mut self.problems);
            if pools.iter().any(|other| other.name == *t.name.get_ref()) {
                self.problem(t.name.span(), format!("there is already a pool `{}`", t.name.get_ref()));
            }
            let strategy = self.strategy(table, t);
            self.simulators(t);
            let rules = Arc::new(t.policy(self.source, &mut self.problems));
            self.problems.extend(t.unsupported(self.source, Host::Proxy));
            let local = t.zones.as_ref().filter(|zones| zones.get_ref().prefer != zone::Prefer::Weights);
            if let Some(zones) = local.filter(|_| table.zone.is_none()) {
                self.problem(zones.span(), "`zones` needs the zone that the proxy itself is in").help =
                    Some("write it at the top of the file: zone = \"a\"".to_owned());
            }
            let pool = PoolConfig::new(t.name.get_ref(), strategy, rules, self.servers(t));
            pools.push(PoolConfig { protocol: t.protocol.clone(), tls: t.tls.clone(), ..pool });
        }
        if pools.is_empty() {
            self.problem(table.pools.span(), "there are no pools: requests would have nowhere to go");
        }
        pools
    }

    fn strategy(&mut self, table: &ProxyTable, t: &PoolTable) -> StrategyConfig {
        let Some(strategy) = t.strategy.as_ref().or(table.strategy.as_ref()) else {
            self.problem(t.name.span(), format!("pool `{}` has no `strategy`", t.name.get_ref())).help =
                Some("give it one, or all of them one at the top of the file: strategy = \"p2c\"".to_owned());
            return (CATALOGUE[0].default)();
        };
        let chosen = strategy.get_ref().0.clone();
        if chosen.oracle() {
            let message = format!("`{}` needs information that only the simulator has", chosen.name());
            self.problem(strategy.span(), message).help = Some("`evenkeel list` shows which are oracles".to_owned());
        }
        chosen
    }

    /// Rejects keys that only the simulator applies.
    fn simulators(&mut self, t: &PoolTable) {
        for (span, key) in [
            (t.connections.as_ref().map(Spanned::span), "connections"),
            (t.autoscale.as_ref().map(Spanned::span), "autoscale"),
        ] {
            if let Some(span) = span {
                self.problem(span, format!("only the simulator applies `{key}`")).help =
                    Some("leave it out in the proxy's config".to_owned());
            }
        }
        if let Some(backend) = &t.backend {
            self.problem(backend.span(), "only the simulator applies `backend`: real servers call their second tier")
                .help = Some("leave it out in the proxy's config".to_owned());
        }
    }

    fn servers(&mut self, pool: &PoolTable) -> Vec<ServerConfig> {
        let before = self.problems.len();
        let named = pool.servers(&mut self.problems);
        if self.problems.len() > before {
            return Vec::new();
        }
        let tables = pool.servers.get_ref().iter().map(Spanned::get_ref);
        let copies = tables.flat_map(|t| (0..*t.count.get_ref()).map(move |i| (t, i)));
        let mut servers = Vec::with_capacity(named.len());
        for (server, (t, i)) in named.into_iter().zip(copies) {
            let Some(address) = &t.address else {
                self.problem(t.name.span(), format!("server `{}` has no `address`", t.name.get_ref())).help =
                    Some("address = \"10.0.0.1:8080\", or a name: \"app.internal:8080\"".to_owned());
                continue;
            };
            let Some((host, port)) = split_host(address.get_ref()) else {
                let message = format!("`{}` is not a host with a port", address.get_ref());
                self.problem(address.span(), message).help =
                    Some("write \"10.0.0.1:8080\", \"[::1]:8080\" or \"app.internal:8080\"".to_owned());
                continue;
            };
            let Some(port) = u16::try_from(i).ok().and_then(|i| port.checked_add(i)) else {
                self.problem(address.span(), "servers of a `count` take ports one after another, and these end");
                continue;
            };
            servers.push(ServerConfig::new(&server, host, port));
        }
        servers
    }

    fn routes(&mut self, table: &ProxyTable, pools: &[PoolConfig]) -> Routes {
        let Some(routes) = &table.routes else {
            return Routes::new([(None, "/".to_owned(), 0)]);
        };
        let mut found = Vec::new();
        for route in routes {
            if !route.prefix.get_ref().starts_with('/') {
                self.problem(route.prefix.span(), "`prefix` begins with a `/`");
            }
            match pools.iter().position(|pool| pool.name == *route.pool.get_ref()) {
                Some(pool) => {
                    let host = route.host.as_ref().map(|host| host.get_ref().clone());
                    found.push((host, route.prefix.get_ref().clone(), pool));
                }
                None => {
                    let help = did_you_mean(route.pool.get_ref(), pools.iter().map(|pool| pool.name.as_str()));
                    self.problem(route.pool.span(), format!("there is no pool `{}`", route.pool.get_ref())).help =
                        Some(help);
                }
            }
        }
        Routes::new(found)
    }
}

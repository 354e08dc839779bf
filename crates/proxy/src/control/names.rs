//! Names of servers: their addresses, looked up when a config is read and again as long as it is in force.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::time::sleep;

use super::config::ProxyError;
use super::shards::Shards;
use crate::clock::duration;
use crate::dns::{Limits, Resolver, Target, Watched};
use crate::shard::{Addresses, Command};
use evenkeel_config::proxy::ProxyConfig;

/// What is known of names.
#[derive(Default)]
pub(super) struct Names {
    /// Made when the first name is to be looked up: a machine without DNS settings can do without names.
    resolver: RefCell<Option<Resolver>>,
    known: RefCell<Addresses>,
}

/// The names in a config, each once, with the port.
pub(super) fn of(config: &ProxyConfig) -> Vec<(String, u16)> {
    let servers = config.pools.iter().flat_map(|pool| &pool.servers);
    let named = servers.filter(|server| server.host.parse::<IpAddr>().is_err());
    let mut names: Vec<(String, u16)> = named.map(|server| (server.host.clone(), server.port)).collect();
    names.sort();
    names.dedup();
    names
}

impl Names {
    /// The addresses of all names in a config: those that are known, and others as they are found. A name that cannot be
    /// looked up has none.
    pub(super) async fn look_up(&self, config: &ProxyConfig) -> Result<Addresses, ProxyError> {
        let mut found = Addresses::new();
        for (name, port) in of(config) {
            if self.resolver.borrow().is_none() {
                let limits = Limits { floor: duration(config.dns.min_ttl), ceiling: duration(config.dns.max_ttl) };
                let made = Resolver::system(limits).map_err(|error| ProxyError::Other(error.to_string()))?;
                *self.resolver.borrow_mut() = Some(made);
            }
            let Some(resolver) = self.resolver.borrow().clone() else { break };
            let key = (name, port);
            if let Some(known) = self.known.borrow().get(&key) {
                found.insert(key, Arc::clone(known));
                continue;
            }
            match resolver.look_up(&key.0).await {
                Ok((addresses, _)) => {
                    let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
                    found.insert(key, addresses);
                }
                Err(error) => tracing::warn!(%error, "no address is known yet"),
            }
        }
        Ok(found)
    }

    /// Keeps the names of a config that comes into force.
    pub(super) fn set(&self, known: Addresses) {
        *self.known.borrow_mut() = known;
    }

    /// The first address of a server, whose host is an address or a name; `None` if the name has none.
    pub(super) fn address(&self, host: &str, port: u16) -> Option<SocketAddr> {
        match host.parse::<IpAddr>() {
            Ok(ip) => Some(SocketAddr::new(ip, port)),
            Err(_) => self.known.borrow().get(&(host.to_owned(), port)).and_then(|all| all.first().copied()),
        }
    }

    /// Refreshes a name as its records expire, and tells the shards when its addresses change.
    pub(super) async fn watch(&self, name: &str, port: u16, shards: &Shards) {
        let Some(resolver) = self.resolver.borrow().clone() else { return };
        let key = (name.to_owned(), port);
        let mut watched = Watched::new(Target::Name(name.to_owned(), port));
        loop {
            let refreshed = watched.refresh(&resolver).await;
            if let Some(error) = refreshed.error {
                tracing::warn!(%error, "a name; its last addresses stay in force");
            } else {
                let addresses: Arc<[SocketAddr]> = watched.addresses().into();
                let same = self.known.borrow().get(&key).is_some_and(|known| *known == addresses);
                if !same {
                    tracing::info!(name, ?addresses, "a name's addresses changed");
                    self.known.borrow_mut().insert(key.clone(), Arc::clone(&addresses));
                    shards.tell_all(|| Command::Addresses(name.to_owned(), port, Arc::clone(&addresses)));
                }
            }
            let Some(again) = refreshed.again else { return };
            sleep(again).await;
        }
    }
}

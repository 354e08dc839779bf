//! Descriptors: how many this process may have, and how many clients that leaves room for.
//!
//! A client's connection is useless without one to a server. If clients could take every descriptor, idle clients would
//! lock out all others, and health checks would fail without a fault of the servers. So clients get at most half of
//! what is left after listeners, logs, checks and the admin listener.

use evenkeel_config::proxy::ProxyConfig;

/// For standard streams, logs, recordings, DNS, the admin listener and its clients.
const RESERVE: u64 = 24;

/// For each shard beside its listeners: its event queue and what wakes it.
const OF_SHARD: u64 = 3;

/// More than this many descriptors are not asked for, though some systems would give a thousand times as many.
#[cfg(unix)]
const MOST: u64 = 1 << 20;

/// Raises the process's soft limit of descriptors to its hard limit and returns the limit in force; `None` where there
/// is no limit, or none is known.
#[cfg(unix)]
fn limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current?;
    let wanted = maximum.unwrap_or(MOST).min(MOST);
    if wanted > current && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok() {
        return Some(wanted);
    }
    Some(current)
}

#[cfg(not(unix))]
fn limit() -> Option<u64> {
    None
}

/// How many clients may be connected at once, as far as descriptors go. Says so if that is fewer than the config allows.
pub fn clients(config: &ProxyConfig, shards: u32) -> u32 {
    let Some(limit) = limit() else { return u32::MAX };
    let servers: usize = config.pools.iter().map(|pool| pool.servers.len()).sum();
    let most = room(limit, shards, config.listeners.len(), servers);
    let wanted = config.limits.connections;
    if most < wanted {
        tracing::warn!(
            limit,
            clients = most,
            "limits.connections = {wanted} needs more descriptors than the process may have: raise `ulimit -n`"
        );
    }
    most
}

/// Half of what is left, at least one.
fn room(limit: u64, shards: u32, listeners: usize, servers: usize) -> u32 {
    let shards = u64::from(shards) * (OF_SHARD + listeners as u64);
    // A check is a connection of its own; they are short, and seldom all at once.
    let fixed = RESERVE + shards + (servers as u64).div_ceil(4).min(64);
    u32::try_from(limit.saturating_sub(fixed) / 2).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::room;

    #[test]
    fn clients_get_half_of_what_is_left() {
        assert_eq!(room(64, 2, 1, 1), (64 - 24 - 8 - 1) / 2);
        assert_eq!(room(1024, 4, 2, 400), (1024 - 24 - 20 - 64) / 2);
        assert_eq!(room(16, 8, 1, 1), 1, "never none");
        assert_eq!(room(u64::MAX, 1, 1, 1), u32::MAX);
    }
}

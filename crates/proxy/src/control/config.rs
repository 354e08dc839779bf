//! The config of a proxy: read, checked, shown without its secrets, and made into what the shards work by.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio_rustls::TlsAcceptor;

use crate::clock::duration;
use crate::headers::Trust;
use crate::metrics::Metrics;
use crate::shard::{Addresses, PoolCounters, ShardConfig};
use crate::tls::{self, Certificates, Files};
use crate::upstream::{RESPONSE_HEADERS, UpstreamSettings};
use evenkeel_config::diagnostic::Diagnostic;
use evenkeel_config::proxy::{PoolConfig, Protocol, ProxyConfig};

/// Why a proxy did not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The config is wrong.
    #[error("{}", .0.plain())]
    Config(Box<Diagnostic>),
    /// The config cannot be read.
    #[error("{file}: {error}")]
    Read {
        /// Path of the file.
        file: String,
        /// The error of the operating system.
        error: io::Error,
    },
    /// A socket cannot be opened.
    #[error("cannot listen at {address}: {error}")]
    Listen {
        /// The address of the listener.
        address: SocketAddr,
        /// The error of the operating system.
        error: io::Error,
    },
    /// Certificates, log files, recordings, DNS settings: a sentence.
    #[error("{0}")]
    Other(String),
}

/// Reads a config from a file.
pub fn read(file: &Path) -> Result<(String, ProxyConfig), ProxyError> {
    let (name, source) = read_source(file)?;
    parse(name, source)
}

/// The file's name as it is shown, and its content.
pub(super) fn read_source(file: &Path) -> Result<(String, String), ProxyError> {
    /// In bytes. The annotated example has less than a thousandth of that.
    const MAX: u64 = 16 << 20;
    let name = file.display().to_string();
    let mut source = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(MAX + 1).read_to_string(&mut source));
    match read {
        Ok(length) if length as u64 > MAX => {
            let error = io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 16 MiB");
            Err(ProxyError::Read { file: name, error })
        }
        Ok(_) => Ok((name, source)),
        Err(error) => Err(ProxyError::Read { file: name, error }),
    }
}

pub(super) fn parse(name: String, source: String) -> Result<(String, ProxyConfig), ProxyError> {
    match ProxyConfig::parse(&source, &|variable| std::env::var(variable).ok()) {
        Ok(config) => Ok((source, config)),
        Err(problems) => Err(ProxyError::Config(Box::new(Diagnostic { file: name, source, problems }))),
    }
}

/// Checks what a config names in files of their own, which are certificates and keys. For `--check`.
pub fn check_files(config: &ProxyConfig) -> Result<(), ProxyError> {
    acceptors(config).map(|_| ())
}

fn acceptors(config: &ProxyConfig) -> Result<Arc<[Option<TlsAcceptor>]>, ProxyError> {
    let one = |listener: &evenkeel_config::proxy::Listener| {
        let Some(certificates) = &listener.tls else { return Ok(None) };
        let fail = |error: tls::Error| ProxyError::Other(format!("listener {}: {error}", listener.address));
        let files: Vec<Files> =
            certificates.iter().map(|pair| Files { certificate: pair.cert.clone(), key: pair.key.clone() }).collect();
        let (certificates, warnings) = Certificates::load(&files, jiff::Timestamp::now()).map_err(fail)?;
        warnings.iter().for_each(|warning| tracing::warn!("listener {}: {warning}", listener.address));
        let server = tls::server_config(certificates, listener.http2).map_err(fail)?;
        Ok(Some(TlsAcceptor::from(server)))
    };
    config.listeners.iter().map(one).collect()
}

/// What shards need for a config, with counters carried over from `before`.
pub(super) fn shard_config(
    metrics: &Metrics,
    config: ProxyConfig,
    before: Option<&ShardConfig>,
    names: &Addresses,
) -> Result<ShardConfig, ProxyError> {
    let acceptors = acceptors(&config)?;
    let networks =
        config.trusted_proxies.iter().filter_map(|network| ipnet::IpNet::new(network.address, network.bits).ok());
    let trust = Arc::new(Trust::new(networks));
    let upstream_settings =
        config.pools.iter().map(|pool| upstream_settings(&config, pool)).collect::<Result<_, _>>()?;
    let counters = config.pools.iter().map(|pool| Arc::new(counters(metrics, pool, before))).collect();
    Ok(ShardConfig {
        config: Arc::new(config),
        trust,
        addresses: Arc::new(names.clone()),
        upstream_settings,
        counters,
        acceptors,
    })
}

/// How to connect to the servers of a pool.
fn upstream_settings(config: &ProxyConfig, pool: &PoolConfig) -> Result<UpstreamSettings, ProxyError> {
    let tls = match &pool.tls {
        None => None,
        Some(tls) => {
            let client_files = tls.cert.clone().zip(tls.key.clone());
            let client = tls::client_config(&tls::Upstream {
                ca: tls.ca.clone(),
                client: client_files.map(|(certificate, key)| Files { certificate, key }),
                http2: pool.protocol == Protocol::H2c,
            })
            .map_err(|error| ProxyError::Other(format!("pool {}: {error}", pool.name)))?;
            let host = || pool.servers.first().map_or_else(String::new, |server| server.host.clone());
            let name = ServerName::try_from(tls.name.clone().unwrap_or_else(host))
                .map_err(|error| ProxyError::Other(format!("pool {}: tls name: {error}", pool.name)))?;
            Some((client, name))
        }
    };
    Ok(UpstreamSettings {
        protocol: pool.protocol.clone(),
        tls,
        connect: duration(config.timeouts.connect),
        keep_alive: duration(config.timeouts.upstream_keep_alive),
        most_idle: config.limits.idle_connections as usize,
        header_bytes: (config.limits.header_bytes as usize).max(8192),
        headers: (config.limits.headers as usize).max(RESPONSE_HEADERS),
        own_http1: own_http1(),
    })
}

/// Whether HTTP/1.1 towards servers is the proxy's own ([`crate::http1_client`]) or hyper's: `EVENKEEL_HTTP1_CLIENT` is `own`,
/// the default, or `hyper`.
fn own_http1() -> bool {
    std::env::var_os("EVENKEEL_HTTP1_CLIENT").is_none_or(|client| client != "hyper")
}

/// Where a pool is counted: where it was, if it was there before.
fn counters(metrics: &Metrics, pool: &PoolConfig, before: Option<&ShardConfig>) -> PoolCounters {
    let old = before
        .and_then(|before| before.config.pools.iter().position(|p| p.name == pool.name).map(|at| &before.counters[at]));
    let mut servers = BTreeMap::new();
    for server in &pool.servers {
        let known = old.and_then(|old| old.servers.get(&server.name).cloned());
        let counter = known.unwrap_or_else(|| metrics.server(&pool.name, &server.name));
        servers.insert(server.name.clone(), counter);
    }
    PoolCounters { pool: old.map_or_else(|| metrics.pool(&pool.name), |old| Arc::clone(&old.pool)), servers }
}

/// A config without its secrets, otherwise as it is written. What was commented out may have been one, too.
pub(super) fn redacted(source: &str) -> String {
    fn secrets(value: &toml::Spanned<toml::de::DeValue<'_>>, key: &str, found: &mut Vec<std::ops::Range<usize>>) {
        match value.get_ref() {
            _ if matches!(key, "token" | "secret") => found.push(value.span()),
            toml::de::DeValue::Table(table) => {
                table.iter().for_each(|(key, value)| secrets(value, key.get_ref(), found));
            }
            toml::de::DeValue::Array(values) => values.iter().for_each(|value| secrets(value, "", found)),
            _ => {}
        }
    }
    let Ok(table) = toml::de::DeTable::parse(source) else { return String::new() };
    let mut found = Vec::new();
    table.get_ref().iter().for_each(|(key, value)| secrets(value, key.get_ref(), &mut found));
    found.sort_by_key(|span| std::cmp::Reverse(span.start));
    let mut text = source.to_owned();
    for span in found {
        text.replace_range(span, "\"(a secret)\"");
    }
    let remark = |line: &str| {
        let remark = line.split_once('#').map_or("", |(_, remark)| remark);
        remark.contains("token") || remark.contains("secret")
    };
    text.lines()
        .map(|line| match line.split_once('#') {
            Some((before, _)) if remark(line) => format!("{}# (left out)\n", before),
            _ => format!("{line}\n"),
        })
        .collect()
}

/// Says what of a new config waits for a restart.
pub(super) fn warn_of_restart(old: &ProxyConfig, new: &ProxyConfig) {
    let log = |config: &ProxyConfig| {
        let log = &config.log;
        (log.access, log.file.clone(), log.query, log.sample.as_ref().map(|s| *s.get_ref()), log.messages)
    };
    for (what, differs) in
        [("shards", old.shards != new.shards), ("[log]", log(old) != log(new)), ("[dns]", old.dns != new.dns)]
    {
        if differs {
            tracing::warn!("what is new in `{what}` takes a restart");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_shown_without_its_secrets_however_they_are_written() {
        let source = "a = 1 # token = \"hush\"\n[admin]\naddress = \"127.0.0.1:0\" # here\n\"token\"=\"\"\"\nhush\"\"\"\n\
                      [[pools]]\nsticky={cookie=\"c\",secret=\"hush\"}\n[[pools]]\nsticky.secret = 'hush' # x\n";
        let shown = redacted(source);
        assert!(!shown.contains("hush"), "{shown}");
        for kept in ["a = 1", "address = \"127.0.0.1:0\" # here", "cookie=\"c\"", "# x"] {
            assert!(shown.contains(kept), "{kept} is not in {shown}");
        }
        assert!(toml::from_str::<toml::Table>(&shown).is_ok());
    }
}

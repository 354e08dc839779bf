//! Test servers from a file: a scenario, or a proxy's configuration, whose servers have addresses. Only the parts that test
//! servers need are read and checked.

use std::net::{SocketAddr, ToSocketAddrs};

use schemars::JsonSchema;
use serde::Deserialize;

use super::spec::Spec;
use evenkeel_config::diagnostic::{self, did_you_mean};
use evenkeel_config::distribution::{self, Distribution, Sampler};
use evenkeel_config::fault::FaultTable;
use evenkeel_config::pool::{ServerTable, servers_of};
use evenkeel_config::{Problem, Problems, Spanned};

#[derive(Deserialize, JsonSchema)]
struct File {
    service: Option<Spanned<Distribution>>,
    #[serde(default)]
    paths: Vec<PathOnly>,
    pools: Spanned<Vec<PoolOnly>>,
    #[serde(default)]
    faults: Vec<FaultTable>,
    #[serde(default)]
    clients: ClientsOnly,
}

#[derive(Default, Deserialize, JsonSchema)]
struct ClientsOnly {
    #[serde(default)]
    servers_see_cancel: bool,
}

#[derive(Deserialize, JsonSchema)]
struct PathOnly {
    path: String,
    service: Option<Spanned<Distribution>>,
}

#[derive(Deserialize, JsonSchema)]
struct PoolOnly {
    name: Spanned<String>,
    servers: Spanned<Vec<Spanned<ServerTable>>>,
}

/// A test server for every server that has an address; equal ones (`count`) are on successive ports. `files` gives the text
/// of a distribution's file. Faults are as in a scenario, with times since the start; faults of balancers and calls to a
/// second tier are ignored.
///
/// # Errors
/// The error in the file, or that no server has an address.
pub fn specs(source: &str, files: &dyn Fn(&str) -> Result<String, String>) -> Result<Vec<Spec>, Problems> {
    let file: File = diagnostic::read(source)?;
    let mut problems = Problems::new();
    let sampler = |distribution: &Spanned<Distribution>, problems: &mut Problems| {
        let read = distribution.get_ref().sampler(&mut |name| distribution::numbers(name, &files(name)?));
        read.unwrap_or_else(|message| {
            problems.push(Problem::at(distribution.span(), message));
            Sampler::ZERO
        })
    };
    let service = file.service.as_ref().map(|distribution| sampler(distribution, &mut problems));
    let mut paths = Vec::new();
    for PathOnly { path, service } in &file.paths {
        if let Some(distribution) = service {
            paths.push((path.clone(), sampler(distribution, &mut problems)));
        }
    }
    // With the pool and the name that faults use.
    let mut specs: Vec<(String, String, Spec)> = Vec::new();
    for pool in file.pools.get_ref() {
        let mut servers = servers_of(pool.name.get_ref(), &pool.servers, &mut problems).into_iter();
        for table in pool.servers.get_ref() {
            let table = table.get_ref();
            let first = table.address.as_ref().and_then(|written| address(written, &mut problems));
            for (i, server) in servers.by_ref().take(*table.count.get_ref() as usize).enumerate() {
                let Some(first) = first else { continue };
                let Some(port) = port_after(first.port(), i) else {
                    let span = table.address.as_ref().map_or(0..0, Spanned::span);
                    problems.push(Problem::at(span, "there are not so many ports from this one on"));
                    break;
                };
                let name = server.name.clone();
                let spec = Spec {
                    listen: SocketAddr::new(first.ip(), port),
                    service: service.clone(),
                    paths: paths.clone(),
                    cancel: file.clients.servers_see_cancel,
                    ..Spec::new(&name)
                };
                specs.push((pool.name.get_ref().clone(), name, Spec { server, ..spec }));
            }
        }
    }
    if specs.is_empty() && problems.is_empty() {
        let problem = Problem::at(file.pools.span(), "no server has an address: there is nothing to start");
        problems.push(problem.help("write address = \"127.0.0.1:9001\" to each [[pools.servers]]"));
    }
    for fault in &file.faults {
        add_fault(fault, &mut specs, &mut problems);
    }
    if problems.is_empty() { Ok(specs.into_iter().map(|(.., spec)| spec).collect()) } else { Err(problems) }
}

/// The port `i` after the first; 0, which selects any free one, if the first is 0. `None` beyond 65535.
pub fn port_after(first: u16, i: usize) -> Option<u16> {
    if first == 0 { Some(0) } else { first.checked_add(u16::try_from(i).ok()?) }
}

fn address(written: &Spanned<String>, problems: &mut Problems) -> Option<SocketAddr> {
    let found = written.get_ref().to_socket_addrs().map(|mut all| all.next());
    match found {
        Ok(Some(address)) => Some(address),
        _ => {
            let message = format!("`{}` is no address with a port", written.get_ref());
            problems.push(Problem::at(written.span(), message).help("such as \"127.0.0.1:9001\""));
            None
        }
    }
}

/// Assigns a fault to the servers that it names, as in a scenario.
fn add_fault(fault: &FaultTable, specs: &mut [(String, String, Spec)], problems: &mut Problems) {
    if !fault.check(problems) {
        return;
    }
    let target = fault.target.get_ref();
    if target.starts_with("balancer/") {
        return;
    }
    let named = |(pool, server, _): &&mut (String, String, Spec)| {
        target.split_once('/').is_some_and(|(p, s)| p == pool && (s == "*" || s == server))
    };
    let mut count = 0;
    for (.., spec) in specs.iter_mut().filter(named) {
        spec.faults.extend(fault.faults_of(count).into_iter().map(|(fault, _)| fault));
        count += 1;
    }
    if count == 0 && !specs.is_empty() {
        let names: Vec<String> = specs.iter().map(|(pool, server, _)| format!("{pool}/{server}")).collect();
        let help = did_you_mean(target, names.iter().map(String::as_str));
        problems.push(Problem::at(fault.target.span(), format!("no server `{target}` is started")).help(help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_config::fault::{Slow, TimedFault};
    use evenkeel_core::units::Nanos;

    const FILE: &str = r#"
        title = "not for here"
        service = { exponential = { mean = "10ms" } }
        [listen]
        anything = true
        [[paths]]
        path = "/slow"
        service = { constant = { value = "50ms" } }
        [[pools]]
        name = "web"
        whatever = 1
        [[pools.servers]]
        name = "web"
        count = 2
        speed = 2.0
        address = "127.0.0.1:9001"
        [[pools.servers]]
        name = "simulated-only"
        [[faults]]
        target = "web/*"
        at = "1s"
        for = "2s"
        stagger = "5s"
        kind = { slow = { factor = 3 } }
    "#;

    #[test]
    fn servers_with_an_address_are_started() {
        let specs = specs(FILE, &|_| unreachable!()).unwrap();
        let told: Vec<(String, &str)> = specs.iter().map(|s| (s.listen.to_string(), s.server.name.as_str())).collect();
        assert_eq!(told, [("127.0.0.1:9001".to_owned(), "web-1"), ("127.0.0.1:9002".to_owned(), "web-2")]);
        assert_eq!(specs[0].paths[0].0, "/slow");
        assert_eq!(specs[1].server.speed, 2.0);
        let secs = Nanos::from_secs;
        let slow = Slow { factor: 3.0 }.into();
        assert_eq!(specs[1].faults, [TimedFault { at: secs(6), until: Some(secs(8)), kind: slow }]);
    }

    #[test]
    fn errors_have_a_position() {
        for (from, to, message) in [
            ("127.0.0.1:9001", "127.0.0.1", "no address with a port"),
            ("127.0.0.1:9001", "127.0.0.1:65535", "not so many ports"),
            ("mean = \"10ms\"", "meen = \"10ms\"", "meen"),
            ("factor = 3", "factor = -3", "`factor` must be"),
            ("web/*", "wob/*", "no server `wob/*` is started"),
            ("speed = 2.0", "speed = 0.0", "`speed` must be above zero"),
            ("        address = \"127.0.0.1:9001\"\n", "", "no server has an address"),
        ] {
            let problems = specs(&FILE.replace(from, to), &|_| unreachable!()).unwrap_err();
            assert!(problems[0].message.contains(message) && problems[0].span.is_some(), "{to}: {problems:?}");
        }
    }
}

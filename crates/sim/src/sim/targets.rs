//! The targets of faults: names are resolved, and targets that cannot have a fault are refused. For `[[faults]]` of a scenario and
//! for acts during a run.

use super::model::{Fault, FaultKind, Pool, Target};
use evenkeel_config::diagnostic::did_you_mean;
use evenkeel_config::fault::{Fault as _, FaultTable, TimedFault};

/// What faults can hit in an experiment.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The pools.
    pub pools: &'a [Pool],
    /// Number of balancers.
    pub balancers: u32,
    /// Their zones, assigned round robin; empty without zones.
    pub zones: &'a [String],
    /// Whether clients have a timeout.
    pub has_timeout: bool,
}

/// The part of a fault's table that a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `target`.
    Target,
    /// `kind`.
    Kind,
}

/// Why a fault is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The part that is wrong.
    pub part: Part,
    /// The problem.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
}

impl Refusal {
    fn new(part: Part, message: impl Into<String>) -> Refusal {
        Refusal { part, message: message.into(), help: None }
    }

    fn help(self, help: impl Into<String>) -> Refusal {
        Refusal { help: Some(help.into()), ..self }
    }
}

impl Site<'_> {
    /// The targets that a text names: `pool/server`, `pool/*`, `balancer/1` or `zone/a`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn targets(&self, text: &str, kind: FaultKind) -> Result<Vec<Target>, Refusal> {
        let refusal = |message: String| Refusal::new(Part::Target, message);
        let Some((group, member)) = text.split_once('/') else {
            let help = "write `pool/server`, `pool/*`, `balancer/1` or `zone/a`";
            return Err(refusal(format!("`{text}` is not a target")).help(help));
        };
        if group == "zone" && !self.pools.iter().any(|pool| pool.name == "zone") {
            return self.in_zone(member, kind);
        }
        if group == "balancer" {
            let balancers = self.balancers;
            return match member.parse::<u32>() {
                Ok(number) if (1..=balancers).contains(&number) => Ok(vec![Target::Balancer(number - 1)]),
                _ => Err(refusal(format!("there is no balancer `{member}`: they are numbered from 1 to {balancers}"))),
            };
        }
        let Some(pool) = self.pools.iter().position(|pool| pool.name == group) else {
            let help = did_you_mean(group, self.pools.iter().map(|pool| pool.name.as_str()));
            return Err(refusal(format!("there is no pool `{group}`")).help(help));
        };
        let servers = &self.pools[pool].servers;
        if member == "*" {
            return Ok((0..servers.len()).map(|server| Target::Server { pool, server }).collect());
        }
        match servers.iter().position(|server| server.name == member) {
            Some(server) => Ok(vec![Target::Server { pool, server }]),
            None => {
                let help = did_you_mean(member, servers.iter().map(|server| server.name.as_str()));
                Err(refusal(format!("there is no server `{member}` in pool `{group}`")).help(help))
            }
        }
    }

    /// The members of a zone; balancers can only crash.
    fn in_zone(&self, zone: &str, kind: FaultKind) -> Result<Vec<Target>, Refusal> {
        let mut targets = Vec::new();
        for (p, pool) in self.pools.iter().enumerate() {
            let there = pool.servers.iter().enumerate().filter(|(_, server)| server.zone.as_deref() == Some(zone));
            targets.extend(there.map(|(server, _)| Target::Server { pool: p, server }));
        }
        let zones = self.zones;
        if kind.strikes_balancers() && !zones.is_empty() {
            let there = (0..self.balancers).filter(|&b| zones[b as usize % zones.len()] == zone);
            targets.extend(there.map(Target::Balancer));
        }
        if targets.is_empty() {
            let names = self.pools.iter().flat_map(|pool| &pool.servers).filter_map(|server| server.zone.as_deref());
            let help = did_you_mean(zone, names.collect::<Vec<_>>().into_iter());
            return Err(Refusal::new(Part::Target, format!("nothing stands in zone `{zone}`")).help(help));
        }
        Ok(targets)
    }

    /// Checks that each of the targets can have this fault.
    ///
    /// # Errors
    /// Why one cannot.
    pub fn can_hit(&self, kind: FaultKind, targets: &[Target]) -> Result<(), Refusal> {
        if !kind.strikes_balancers() && targets.iter().any(|target| matches!(target, Target::Balancer(_))) {
            return Err(Refusal::new(Part::Kind, "the only fault of a balancer is a crash"));
        }
        let inner = |pool: usize| self.pools.iter().any(|p| p.backend.as_ref().is_some_and(|b| b.pool == pool));
        let inner_target = |target: &Target| matches!(*target, Target::Server { pool, .. } if inner(pool));
        if kind.is_silent() && targets.iter().any(inner_target) {
            let message =
                "a silent crash in a second tier would hold its callers for ever: calls have no time-out of their own";
            return Err(Refusal::new(Part::Kind, message));
        }
        Ok(())
    }

    /// Checks that clients do not wait for ever for a server with this fault.
    ///
    /// # Errors
    /// Why they do.
    pub fn is_noticed(&self, kind: FaultKind) -> Result<(), Refusal> {
        if kind.is_silent() && !self.has_timeout {
            let message = "a silent crash without client time-outs leaves requests waiting for ever";
            let help = "give the clients one: clients = { timeout = \"1s\" }";
            return Err(Refusal::new(Part::Kind, message).help(help));
        }
        Ok(())
    }
}

/// The faults of all targets of one table.
pub fn faults(t: &FaultTable, targets: &[Target], pools: &[Pool]) -> Vec<Fault> {
    let of_target = |(index, &target): (usize, &Target)| {
        let name = match target {
            Target::Balancer(b) => format!("balancer/{}", b + 1),
            Target::Server { pool, server } => format!("{}/{}", pools[pool].name, pools[pool].servers[server].name),
        };
        let fault = move |(TimedFault { at, until, kind }, what): (TimedFault, String)| Fault {
            at,
            until,
            target,
            kind,
            label: format!("{name}: {what}"),
        };
        t.faults_of(index).into_iter().map(fault)
    };
    targets.iter().enumerate().flat_map(of_target).collect()
}

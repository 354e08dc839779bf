//! Faults: targets, kinds and times.

use std::ops::Range;

use super::super::table::*;
use super::Builder;
use crate::sim::model::{Fault, FaultKind, Pool, Target};
use evenkeel_config::Spanned;
use evenkeel_config::diagnostic::did_you_mean;
use evenkeel_config::fault::{Fault as _, FaultTable, TimedFault};
use evenkeel_core::units::Nanos;

impl Builder<'_> {
    pub(super) fn faults(&mut self, table: &ScenarioTable, pools: &[Pool], end: Nanos) -> Vec<Fault> {
        let mut faults = Vec::new();
        for fault in &table.faults {
            let t = fault.get_ref();
            if !t.check(&mut self.problems) {
                continue;
            }
            let kind = *t.kind.get_ref();
            let targets = self.targets(&t.target, pools, &table.balancers, kind);
            self.check_fault(table, t, kind, &targets, end);
            if self.can_hit(t, kind, pools, &targets) {
                add_faults(t, &targets, pools, &mut faults);
            }
        }
        faults
    }

    /// Refuses times that are invalid in this scenario.
    fn check_fault(&mut self, table: &ScenarioTable, t: &FaultTable, kind: FaultKind, targets: &[Target], end: Nanos) {
        if kind.is_silent() && table.clients.timeout.is_none() {
            let message = "a silent crash without client time-outs leaves requests waiting for ever";
            self.problem(t.kind.span(), message).help =
                Some("give the clients one: clients = { timeout = \"1s\" }".to_owned());
        }
        if *t.at.get_ref() >= end {
            self.problem(t.at.span(), format!("this is after the end of the run, {end} with the warm-up"));
        }
        if t.stagger > Nanos::ZERO && targets.len() == 1 {
            self.problem(t.target.span(), "`stagger` is the time from one server to the next, and this is one").help =
                Some("write `pool/*` for all servers of a pool".to_owned());
        }
    }

    /// Whether each of the targets can have this fault; reports those that cannot.
    fn can_hit(&mut self, t: &FaultTable, kind: FaultKind, pools: &[Pool], targets: &[Target]) -> bool {
        if !kind.strikes_balancers() && targets.iter().any(|target| matches!(target, Target::Balancer(_))) {
            self.problem(t.kind.span(), "the only fault of a balancer is a crash");
            return false;
        }
        let inner = |pool: usize| pools.iter().any(|p| p.backend.as_ref().is_some_and(|b| b.pool == pool));
        let inner_target = |target: &Target| matches!(*target, Target::Server { pool, .. } if inner(pool));
        if kind.is_silent() && targets.iter().any(inner_target) {
            let message =
                "a silent crash in a second tier would hold its callers for ever: calls have no time-out of their own";
            self.problem(t.kind.span(), message);
            return false;
        }
        true
    }

    /// The members of a zone; balancers can only crash.
    fn in_zone(
        &mut self,
        place: Range<usize>,
        zone: &str,
        pools: &[Pool],
        table: &BalancersTable,
        kind: FaultKind,
    ) -> Vec<Target> {
        let mut targets = Vec::new();
        for (p, pool) in pools.iter().enumerate() {
            let there = pool.servers.iter().enumerate().filter(|(_, server)| server.zone.as_deref() == Some(zone));
            targets.extend(there.map(|(server, _)| Target::Server { pool: p, server }));
        }
        let zones = table.zones.get_ref();
        if kind.strikes_balancers() && !zones.is_empty() {
            let there = (0..*table.count.get_ref()).filter(|&b| zones[b as usize % zones.len()].get_ref() == zone);
            targets.extend(there.map(Target::Balancer));
        }
        if targets.is_empty() {
            let names = pools.iter().flat_map(|pool| &pool.servers).filter_map(|server| server.zone.as_deref());
            let help = did_you_mean(zone, names.collect::<Vec<_>>().into_iter());
            self.problem(place, format!("nothing stands in zone `{zone}`")).help = Some(help);
        }
        targets
    }

    fn targets(
        &mut self,
        target: &Spanned<String>,
        pools: &[Pool],
        table: &BalancersTable,
        kind: FaultKind,
    ) -> Vec<Target> {
        let balancers = *table.count.get_ref();
        let text = target.get_ref();
        let Some((group, member)) = text.split_once('/') else {
            self.problem(target.span(), format!("`{text}` is not a target")).help =
                Some("write `pool/server`, `pool/*`, `balancer/1` or `zone/a`".to_owned());
            return Vec::new();
        };
        if group == "zone" && !pools.iter().any(|pool| pool.name == "zone") {
            return self.in_zone(target.span(), member, pools, table, kind);
        }
        if group == "balancer" {
            return match member.parse::<u32>() {
                Ok(number) if (1..=balancers).contains(&number) => vec![Target::Balancer(number - 1)],
                _ => {
                    self.problem(
                        target.span(),
                        format!("there is no balancer `{member}`: they are numbered from 1 to {balancers}"),
                    );
                    Vec::new()
                }
            };
        }
        let names: Vec<String> = pools.iter().map(|pool| pool.name.clone()).collect();
        let Some(pool) = self.find(&Spanned::new(target.span(), group.to_owned()), &names, "pool") else {
            return Vec::new();
        };
        let servers = &pools[pool].servers;
        if member == "*" {
            return (0..servers.len()).map(|server| Target::Server { pool, server }).collect();
        }
        match servers.iter().position(|server| server.name == member) {
            Some(server) => vec![Target::Server { pool, server }],
            None => {
                let help = did_you_mean(member, servers.iter().map(|server| server.name.as_str()));
                self.problem(target.span(), format!("there is no server `{member}` in pool `{group}`")).help =
                    Some(help);
                Vec::new()
            }
        }
    }
}

/// Adds the faults of all targets of one table.
fn add_faults(t: &FaultTable, targets: &[Target], pools: &[Pool], faults: &mut Vec<Fault>) {
    for (index, &target) in targets.iter().enumerate() {
        let name = match target {
            Target::Balancer(b) => format!("balancer/{}", b + 1),
            Target::Server { pool, server } => format!("{}/{}", pools[pool].name, pools[pool].servers[server].name),
        };
        faults.extend(t.faults_of(index).into_iter().map(|(TimedFault { at, until, kind }, what)| Fault {
            at,
            until,
            target,
            kind,
            label: format!("{name}: {what}"),
        }));
    }
}

//! Faults: who is hit by what, and when.

use std::ops::Range;

use super::super::table::*;
use super::Builder;
use crate::sim::model::{Fault, FaultKind, Pool, Target};
use evenkeel_config::Spanned;
use evenkeel_config::diagnostic::did_you_mean;
use evenkeel_config::fault::{FaultTable, WhatTable};
use evenkeel_core::units::Nanos;

impl Builder<'_> {
    pub(super) fn faults(&mut self, table: &ScenarioTable, pools: &[Pool], end: Nanos) -> Vec<Fault> {
        let mut faults = Vec::new();
        for fault in &table.faults {
            let t = fault.get_ref();
            let deploy = match *t.kind.get_ref() {
                WhatTable::Deploy { drain, restart } => Some((drain, restart)),
                _ => None,
            };
            let kind = match FaultKind::of(t.kind.get_ref()) {
                Err(_) if deploy.is_some() => FaultKind::Drain,
                Ok(kind) => kind,
                Err(message) => {
                    self.problem(t.kind.span(), message);
                    continue;
                }
            };
            let targets = self.targets(&t.target, pools, &table.balancers, kind);
            self.check_fault(table, t, kind, deploy, &targets, end);
            if self.can_hit(t, kind, pools, &targets) {
                strike(t, kind, deploy, &targets, pools, &mut faults);
            }
        }
        faults
    }

    /// Refuses times and numbers that make no sense.
    fn check_fault(
        &mut self,
        table: &ScenarioTable,
        t: &FaultTable,
        kind: FaultKind,
        deploy: Option<(Nanos, Nanos)>,
        targets: &[Target],
        end: Nanos,
    ) {
        if kind == (FaultKind::Crash { silent: true }) && table.clients.timeout.is_none() {
            let message = "a silent crash without client time-outs leaves requests waiting for ever";
            self.problem(t.kind.span(), message).help =
                Some("give the clients one: clients = { timeout = \"1s\" }".to_owned());
        }
        if *t.batch_size.get_ref() == 0 {
            self.problem(t.batch_size.span(), "`batch_size` must be above zero");
        }
        if let Some((_, restart)) = deploy {
            if restart == Nanos::ZERO {
                self.problem(t.kind.span(), "`restart` must be above zero");
            }
            if let Some(lasts) = &t.lasts {
                self.problem(lasts.span(), "a deploy lasts `drain` and `restart`, and has no `for`");
            }
        }
        if let Some(lasts) = t.lasts.as_ref().filter(|lasts| *lasts.get_ref() == Nanos::ZERO) {
            self.problem(lasts.span(), "`for` must be above zero");
        }
        if *t.at.get_ref() >= end {
            self.problem(t.at.span(), format!("this is after the end of the run, {end} with the warm-up"));
        }
        if t.stagger > Nanos::ZERO && targets.len() == 1 {
            self.problem(t.target.span(), "`stagger` is the time from one server to the next, and this is one").help =
                Some("write `pool/*` for all servers of a pool".to_owned());
        }
    }

    /// Whether each of the targets can have this fault; says so where one cannot.
    fn can_hit(&mut self, t: &FaultTable, kind: FaultKind, pools: &[Pool], targets: &[Target]) -> bool {
        let crash = matches!(kind, FaultKind::Crash { .. });
        if !crash && targets.iter().any(|target| matches!(target, Target::Balancer(_))) {
            self.problem(t.kind.span(), "a balancer can crash, and nothing else");
            return false;
        }
        let inner = |pool: usize| pools.iter().any(|p| p.backend.as_ref().is_some_and(|b| b.pool == pool));
        let silent = kind == FaultKind::Crash { silent: true };
        if silent && targets.iter().any(|target| matches!(*target, Target::Server { pool, .. } if inner(pool))) {
            let message =
                "a silent crash in a second tier would hold its callers for ever: calls have no time-out of their own";
            self.problem(t.kind.span(), message);
            return false;
        }
        true
    }

    /// What stands in a zone; balancers can only crash.
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
        if matches!(kind, FaultKind::Crash { .. }) && !zones.is_empty() {
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

/// Time from one server (or group) to the next.
fn stagger(t: &FaultTable, deploy: Option<(Nanos, Nanos)>) -> Nanos {
    match deploy {
        Some((drain, restart)) if t.stagger == Nanos::ZERO => drain + restart,
        _ => t.stagger,
    }
}

/// Adds the faults of all targets of one table.
fn strike(
    t: &FaultTable,
    kind: FaultKind,
    deploy: Option<(Nanos, Nanos)>,
    targets: &[Target],
    pools: &[Pool],
    faults: &mut Vec<Fault>,
) {
    let batch_size = (*t.batch_size.get_ref()).max(1) as usize;
    let stagger = stagger(t, deploy);
    let what = match kind {
        FaultKind::Crash { silent: false } => "crash".to_owned(),
        FaultKind::Crash { silent: true } => "silent crash".to_owned(),
        FaultKind::Slow { factor } => format!("{factor}× slower"),
        FaultKind::Errors { ratio, .. } => format!("{} % errors", (ratio * 100.0).round()),
        FaultKind::Drain => "deploy".to_owned(),
    };
    for (i, &target) in targets.iter().enumerate() {
        let at = *t.at.get_ref() + Nanos(stagger.0.saturating_mul((i / batch_size) as u64));
        let lasts = deploy.map(|(drain, restart)| drain + restart);
        let until = lasts.or(t.lasts.as_ref().map(|lasts| *lasts.get_ref())).map(|lasts| at + lasts);
        let label = match target {
            Target::Balancer(b) => format!("balancer/{}: {what}", b + 1),
            Target::Server { pool, server } => {
                format!("{}/{}: {what}", pools[pool].name, pools[pool].servers[server].name)
            }
        };
        if let Some((drain, _)) = deploy {
            let (kind, label) = (FaultKind::Crash { silent: false }, label.replace("deploy", "restart"));
            faults.push(Fault { at: at + drain, until, target, kind, label });
        }
        faults.push(Fault { at, until, target, kind, label });
    }
}

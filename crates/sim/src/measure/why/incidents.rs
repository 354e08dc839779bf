//! The faults of a scenario, with those that begin and end together and are of one kind as one incident.

use crate::sim::model::{FaultKind, Model, Target};
use evenkeel_config::fault::Fault as _;

/// Faults that begin and end together and are of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Incident {
    pub(super) at: u64,
    /// `None` if it does not end.
    pub(super) until: Option<u64>,
    pub(super) kind: FaultKind,
    /// The struck servers, by pool: index of the pool, servers as numbered over all pools.
    pub(super) parts: Vec<(u32, Vec<u32>)>,
    /// Struck balancers, from 0.
    pub(super) balancers: Vec<u32>,
    /// The next incident in one of these pools begins.
    pub(super) next: Option<u64>,
}

impl Incident {
    /// What the struck ones do, after their names: `becomes 6 times slower`.
    pub(super) fn what(&self, one: bool) -> String {
        let s = |one_: &str, many: &str| if one { one_.to_owned() } else { many.to_owned() };
        match self.kind {
            FaultKind::Slow(slow) if slow.factor >= 1.0 => {
                format!("{} {} times slower", s("becomes", "become"), slow.factor)
            }
            FaultKind::Slow(slow) => format!("{} {} times faster", s("becomes", "become"), 1.0 / slow.factor),
            FaultKind::Crash(crash) if crash.silent => s("crashes and answers nothing", "crash and answer nothing"),
            FaultKind::Crash(_) => s("crashes and refuses connections", "crash and refuse connections"),
            FaultKind::Errors(errors) => {
                let (fails, its) = (s("fails", "fail"), s("its", "their"));
                let share = super::format::percent(errors.share.0);
                match (errors.share.0 > 0.0, errors.fails_checks) {
                    (false, _) => format!("{fails} {its} health checks, and no requests"),
                    (true, false) => format!("{fails} {share} of {its} requests"),
                    (true, true) => format!("{fails} {share} of {its} requests, and {its} health checks"),
                }
            }
            FaultKind::Drain(_) => s("drains", "drain"),
            FaultKind::Deploy(_) => self.kind.label(),
        }
    }
}

/// The incidents of a model, in time order.
pub(super) fn incidents(model: &Model) -> Vec<Incident> {
    let mut bases = vec![0_u32];
    model.pools.iter().for_each(|pool| bases.push(bases[bases.len() - 1] + pool.servers.len() as u32));
    let mut all: Vec<Incident> = Vec::new();
    for fault in &model.faults {
        let (at, until) = (fault.at.0, fault.until.map(|until| until.0));
        let same = |incident: &Incident| (incident.at, incident.until, incident.kind) == (at, until, fault.kind);
        let place = all.iter().position(same).unwrap_or_else(|| {
            let kind = fault.kind;
            all.push(Incident { at, until, kind, parts: Vec::new(), balancers: Vec::new(), next: None });
            all.len() - 1
        });
        let incident = &mut all[place];
        match fault.target {
            Target::Balancer(balancer) => incident.balancers.push(balancer),
            Target::Server { pool, server } => {
                let number = bases[pool] + server as u32;
                match incident.parts.iter_mut().find(|(of, _)| *of == pool as u32) {
                    Some((_, servers)) => servers.push(number),
                    None => incident.parts.push((pool as u32, vec![number])),
                }
            }
        }
    }
    all.sort_by_key(|incident| incident.at);
    for i in 0..all.len() {
        let shares = |other: &Incident| {
            let pool = |(pool, _): &(u32, Vec<u32>)| all[i].parts.iter().any(|(of, _)| of == pool);
            all[i].balancers.is_empty() && other.parts.iter().any(pool) || !other.balancers.is_empty()
        };
        let next = all[i + 1..].iter().find(|other| other.at > all[i].at && shares(other)).map(|other| other.at);
        all[i].next = next;
    }
    all
}

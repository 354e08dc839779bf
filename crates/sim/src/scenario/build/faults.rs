//! Faults: targets, kinds and times.

use super::super::table::*;
use super::Builder;
use crate::sim::model::{Fault, Pool, Target};
use crate::sim::targets::{self, Part, Refusal, Site};
use evenkeel_config::fault::FaultTable;
use evenkeel_core::units::Nanos;

impl Builder<'_> {
    pub(super) fn faults(&mut self, table: &ScenarioTable, pools: &[Pool], end: Nanos) -> Vec<Fault> {
        let zones: Vec<String> = table.balancers.zones.get_ref().iter().map(|zone| zone.get_ref().clone()).collect();
        let site = Site {
            pools,
            balancers: *table.balancers.count.get_ref(),
            zones: &zones,
            has_timeout: table.clients.timeout.is_some(),
        };
        let mut faults = Vec::new();
        for fault in &table.faults {
            let t = fault.get_ref();
            if !t.check(&mut self.problems) {
                continue;
            }
            let kind = *t.kind.get_ref();
            let targets = site.targets(t.target.get_ref(), kind).unwrap_or_else(|refusal| {
                self.refuse(t, refusal);
                Vec::new()
            });
            if let Err(refusal) = site.is_noticed(kind) {
                self.refuse(t, refusal);
            }
            self.check_times(t, &targets, end);
            match site.can_hit(kind, &targets) {
                Ok(()) => faults.extend(targets::faults(t, &targets, pools)),
                Err(refusal) => self.refuse(t, refusal),
            }
        }
        faults
    }

    fn refuse(&mut self, t: &FaultTable, Refusal { part, message, help }: Refusal) {
        let span = match part {
            Part::Target => t.target.span(),
            Part::Kind => t.kind.span(),
        };
        self.problem(span, message).help = help;
    }

    /// Refuses times that are invalid in this scenario.
    fn check_times(&mut self, t: &FaultTable, targets: &[Target], end: Nanos) {
        if *t.at.get_ref() >= end {
            self.problem(t.at.span(), format!("this is after the end of the run, {end} with the warm-up"));
        }
        if t.stagger > Nanos::ZERO && targets.len() == 1 {
            self.problem(t.target.span(), "`stagger` is the time from one server to the next, and this is one").help =
                Some("write `pool/*` for all servers of a pool".to_owned());
        }
    }
}

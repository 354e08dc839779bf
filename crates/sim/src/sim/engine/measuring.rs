//! Measurement during a run.

use super::Engine;
use crate::sim::observer::Observer;
use crate::sim::record::{ArrivalBin, ClassRecord, Measured, SeriesRecorder, ServerRecord};
use crate::sim::server::Snapshot;
use evenkeel_core::units::Nanos;

/// What is measured, by batch, server, time and time of arrival.
pub(super) struct Measuring {
    pub(super) over: bool,
    /// One per batch of the measured span; a single one without batches.
    pub(super) spans: Vec<Measured>,
    /// Number of batches that are over.
    pub(super) batches_over: usize,
    /// Snapshots of each server: at the start of measuring, when caches counted as warm (none without caches), and at the start
    /// of the current batch (none without batches).
    pub(super) measured_from: Vec<Snapshot>,
    pub(super) cached_from: Vec<Snapshot>,
    pub(super) batch_from: Vec<Snapshot>,
    /// The servers over the whole measured span.
    pub(super) measured_servers: Vec<Vec<ServerRecord>>,
    pub(super) series: SeriesRecorder,
    pub(super) settling: Vec<ArrivalBin>,
    /// Bins of the settling series per nanosecond.
    pub(super) settling_scale: f64,
    /// The integral of the number in the system when measuring began, and after each tenth of the measured span.
    pub(super) tenths: Vec<u128>,
}

impl<O: Observer> Engine<'_, O> {
    /// The span that a measured request belongs to.
    #[inline]
    pub(super) fn span_of(&self, arrived: Nanos) -> usize {
        if self.model.batches <= 1 {
            return 0;
        }
        let batches = u128::from(self.model.batches);
        let part = u128::from((arrived - self.model.warmup).0) * batches / u128::from(self.model.duration.0);
        part.min(batches - 1) as usize
    }

    /// Counts something in the classes of a measured request.
    #[inline(always)]
    pub(super) fn count_in_classes(&mut self, path: u32, arrived: Nanos, count: impl Fn(&mut ClassRecord)) {
        let (span, path) = (self.span_of(arrived), path as usize);
        self.measuring.spans[span].count(self.model.paths[path].pool, path, count);
    }

    /// The bin of the settling series that a request belongs to; none after the measured span.
    #[inline]
    pub(super) fn arrival_bin_of(&mut self, arrived: Nanos) -> Option<&mut ArrivalBin> {
        // Through signed and short numbers, for which the processor has instructions: times of a run are below 2^63 ns.
        let bin = (arrived.0 as i64 as f64 * self.measuring.settling_scale) as u32;
        self.measuring.settling.get_mut(bin as usize)
    }

    pub(super) fn snapshots(&mut self) -> Vec<Snapshot> {
        let now = self.now;
        self.servers.iter_mut().map(|server| server.snapshot(now)).collect()
    }

    pub(super) fn servers_since(&mut self, from: &[Snapshot]) -> Vec<Vec<ServerRecord>> {
        let (now, warm) = (self.now, &self.measuring.cached_from);
        let mut records = self.servers.iter_mut().zip(from).enumerate().map(|(i, (server, &from))| {
            // Until caches are warm, look-ups are not counted.
            let warm = warm.get(i).copied().unwrap_or_else(|| server.snapshot(now));
            let cache_from = if warm.is_later_than(&from) { warm } else { from };
            server.measured(now, from, cache_from)
        });
        self.model.pools.iter().map(|pool| records.by_ref().take(pool.servers.len()).collect()).collect()
    }

    pub(super) fn begin_measuring(&mut self) {
        self.measuring.measured_from = self.snapshots();
        if self.model.batches > 1 {
            self.measuring.batch_from.clone_from(&self.measuring.measured_from);
        }
        self.end_tenth();
    }

    pub(super) fn caches_are_warm(&mut self) {
        if self.model.pools.iter().flat_map(|pool| &pool.servers).any(|server| server.cache.is_some()) {
            self.measuring.cached_from = self.snapshots();
        }
    }

    pub(super) fn end_tenth(&mut self) {
        self.count_system(0);
        self.measuring.tenths.push(self.totals.area);
    }

    pub(super) fn end_batch(&mut self) {
        let from = std::mem::take(&mut self.measuring.batch_from);
        self.measuring.spans[self.measuring.batches_over].servers = self.servers_since(&from);
        self.measuring.batches_over += 1;
        self.measuring.batch_from = self.snapshots();
    }

    /// What has been measured so far, with the same definitions as at the end, except that requests in the system are in none of
    /// the counts yet. `None` during the warm-up. Changes nothing in the results.
    pub(super) fn measured_so_far(&mut self) -> Option<Measured> {
        let over = self.measuring.over;
        if !over && self.measuring.measured_from.is_empty() {
            return None;
        }
        let servers = if over {
            self.measuring.measured_servers.clone()
        } else {
            let from = self.measuring.measured_from.clone();
            self.servers_since(&from)
        };
        let mut spans = self.measuring.spans.iter();
        let mut measured = spans.next()?.clone();
        measured.pour();
        for later in spans {
            let mut later = later.clone();
            later.pour();
            measured.add_requests(&later);
        }
        measured.servers = servers;
        for scaler in 0..self.scalers.len() {
            let (pool, unpaid) = self.unpaid(scaler);
            measured.server_time[pool] += unpaid;
        }
        Some(measured)
    }

    #[inline]
    pub(super) fn count_system(&mut self, by: i64) {
        self.totals.area += u128::from(self.totals.in_system) * u128::from((self.now - self.totals.area_at).0);
        self.totals.area_at = self.now;
        self.measuring.series.advance(self.now, self.totals.in_system, self.totals.area);
        self.totals.in_system = self.totals.in_system.wrapping_add_signed(by);
    }
}

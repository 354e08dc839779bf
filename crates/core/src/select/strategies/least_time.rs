//! Least time: the server with the least latency times in-flight requests, with the guards that make this rule
//! usable. Variant: nginx `least_time` (1.31): a slow average, latencies of about the same size treated as equal, a
//! cap, an average that halves while a server gets no traffic, and the age of what is in flight.

use crate::fleet::{Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::smooth::Smooth;
use crate::select::{Context, Explanation, Finished, Outcome, Pick, Request, Selector, candidates};
use crate::units::Nanos;

/// The average and its guards.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Weight of a new latency in the average, above 0 and at most 1.
    pub smoothing: f64,
    /// Latencies are rounded up to a multiple of this; servers in the same bucket take turns.
    pub bucket: Nanos,
    /// The longest latency that counts; longer ones count as this.
    pub cap: Nanos,
    /// The average of a server that is not picked halves each time this passes; `"0s"` keeps it.
    pub halving: Nanos,
    /// Whether a server's latency is at least the mean age of its in-flight requests.
    pub inflight: bool,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            smoothing: 0.05,
            bucket: Nanos::from_millis(20),
            cap: Nanos::from_secs(5),
            halving: Nanos::from_secs(10),
            inflight: true,
        }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Least time (expected time of arrival)",
    family: Family::Latency,
    aliases: &["nginx_least_time", "least_time_inflight"],
    near: &[
        ("least_latency", "this one is nginx's: average latency times requests in flight"),
        ("eta", "this one is nginx's: average latency times requests in flight"),
    ],
    variant: "nginx `least_time` with its option `inflight`. `halving` is nginx's `fail_timeout` (plus one second in \
              nginx); the age of in-flight requests is not averaged over picks; the latency is what the balancer \
              measures (in the proxy up to the response header)",
    idea: "How long will the request take there? About as long as recently, once for each request before it. Four \
           guards keep that rule stable: latencies within 20 ms of each other are equal and take turns, none counts \
           for more than 5 s, the estimate decays while a server gets no traffic, and a server that has stopped \
           answering is as slow as its in-flight requests are old.",
    formula: "t_i := (1 - s) * t_i + s * latency of each successful response; t_i / 2^k after k * halving without a \
              pick; at least the mean age of what is in flight; at most cap; rounded up to a multiple of bucket; \
              argmin of t_i * (1 + in_flight_i) / weight_i, ties by smooth weighted round robin",
    source: "nginx, src/http/modules/ngx_http_upstream_least_time_module.c",
    cost: "O(n), two passes",
    fails: "Where requests take less than a bucket it is least request with turns and sees no difference of speed. \
            Only successful responses are averaged: a server that fails at once keeps its good average and its short \
            queue. A server that was very slow is tried now and then, and each response corrects a twentieth: \
            recovery is slow.",
    scenario: "slow-server",
    fails_in: "error-fast",
    weighted: true,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        if !(self.smoothing > 0.0 && self.smoothing <= 1.0) {
            return Err(format!("`smoothing` is {}: it must be above 0 and at most 1", self.smoothing));
        }
        if self.bucket == Nanos::ZERO || self.cap == Nanos::ZERO {
            return Err("`bucket` and `cap` must be above zero".to_owned());
        }
        Ok(())
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(LeastTime { params: self.clone(), peers: Vec::new(), smooth: Smooth::default(), costs: Vec::new() })
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    /// Average latency, nanoseconds; `None` before the first response.
    average: Option<f64>,
    /// Time of the last pick, rounded: picks within `halving` of it do not update it.
    checked: Nanos,
    /// Sum of the send times of in-flight requests that this selector picked. Reset when nothing is in flight, since
    /// requests that a former strategy placed may end as well.
    sent: u128,
    count: u32,
}

struct LeastTime {
    params: Params,
    peers: Vec<Peer>,
    smooth: Smooth,
    /// Scores by slot, computed for each pick; a reused buffer.
    costs: Vec<f64>,
}

impl Peer {
    /// A pick has ended or was not used; a tag of zero is not one of this selector's.
    fn take(&mut self, tag: u64) {
        if tag > 0 {
            self.sent = self.sent.saturating_sub(u128::from(tag));
            self.count = self.count.saturating_sub(1);
        }
    }
}

impl LeastTime {
    fn cost(&self, slot: u32, fleet: &Fleet, now: Nanos) -> f64 {
        let Params { bucket, cap, halving, inflight, .. } = self.params;
        let peer = &self.peers[slot as usize];
        let mut time = peer.average.unwrap_or(0.0) as u64;
        let silent = now.saturating_sub(peer.checked);
        if halving > Nanos::ZERO && silent > halving {
            time = time.checked_shr(u32::try_from(silent.0 / halving.0).unwrap_or(u32::MAX)).unwrap_or(0);
        }
        let in_flight = fleet.in_flight()[slot as usize];
        if inflight && in_flight > 0 && peer.count > 0 {
            let mean = (peer.sent / u128::from(peer.count)) as u64;
            time = time.max(now.0.saturating_sub(mean));
        }
        let time = if time > cap.0 { cap.0 } else { time + bucket.0 - time % bucket.0 };
        time as f64 * (1.0 + f64::from(in_flight)) / f64::from(fleet.weight(slot).max(1))
    }
}

impl Selector for LeastTime {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let mut least = f64::INFINITY;
        let mut costs = std::mem::take(&mut self.costs);
        for slot in candidates(request, cx.fleet) {
            let cost = self.cost(slot, cx.fleet, cx.now);
            costs[slot as usize] = cost;
            least = least.min(cost);
        }
        let slot = self.smooth.next_among(request, cx.fleet, |slot| costs[slot as usize] <= least);
        self.costs = costs;
        let slot = slot?;
        let peer = &mut self.peers[slot as usize];
        if cx.fleet.in_flight()[slot as usize] == 0 {
            (peer.sent, peer.count) = (0, 0);
        }
        if cx.now.saturating_sub(peer.checked) > self.params.halving {
            peer.checked = cx.now;
        }
        peer.sent += u128::from(cx.now.0.max(1));
        peer.count += 1;
        cx.pick_tagged(slot, cx.now.0.max(1))
    }

    fn on_refused(&mut self, pick: &Pick, _cx: &mut Context<'_>) {
        self.peers[pick.backend.slot as usize].take(pick.tag);
    }

    fn on_finish(&mut self, finished: &Finished, cx: &mut Context<'_>) {
        if !cx.fleet.is_current(finished.backend) {
            return;
        }
        let peer = &mut self.peers[finished.backend.slot as usize];
        peer.take(finished.tag);
        if finished.outcome == Outcome::Ok {
            let (sample, share) = (finished.latency.0 as f64, self.params.smoothing);
            peer.average = Some(peer.average.map_or(sample, |old| old + share * (sample - old)));
        }
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.smooth.on_fleet(changes, cx.fleet);
        self.peers.resize(cx.fleet.slots(), Peer::default());
        self.costs.resize(cx.fleet.slots(), 0.0);
        for change in changes {
            if let Change::Joined(id) = change {
                self.peers[id.slot as usize] = Peer { checked: cx.now, ..Peer::default() };
            }
        }
    }

    fn score(&self, slot: u32, fleet: &Fleet, now: Nanos) -> Option<f64> {
        self.peers.get(slot as usize)?;
        Some(self.cost(slot, fleet, now) / 1e9)
    }

    fn explain(&self, _request: &Request<'_>, _cx: &mut Context<'_>) -> Explanation {
        Explanation::compares("average latency times (requests in flight + 1), per weight, in seconds")
    }
}

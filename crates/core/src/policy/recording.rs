//! Recording of every call that a host made to a selector, in order. A replay of the recording must produce the same picks.
//! A selector is deterministic, so a difference is a bug: in the selector (it reads a clock or depends on a map's order) or
//! in the host (it made a call that it did not record).

use std::net::IpAddr;

use crate::fleet::Change;
use crate::select::{LoadReport, Outcome, ProbeReplies};

/// Header of a recording: what a replay needs to build the selector.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize))]
pub struct RecordingHeader<S> {
    /// Format version of the events that follow: [`VERSION`].
    pub version: u32,
    /// Index of the selector among those of the recording, from 0.
    pub desk: u32,
    /// Name of the pool.
    pub pool: String,
    /// The strategy with its parameters.
    pub strategy: S,
    /// Seed of the selector's random stream.
    pub seed: u64,
    /// Index of the stream of that seed.
    pub stream: u64,
    /// Whether the fleet is divided into partitions, each with its own selector ([`crate::policy::partition`]).
    #[cfg_attr(feature = "config", serde(default))]
    pub narrows: bool,
}

/// Format version of recordings.
pub const VERSION: u32 = 4;

/// Name of the random stream that recorded selectors draw from.
pub const STREAM: &str = "select";

/// A change that a host made to a fleet, or a call that it made to the selector. Times are nanoseconds of the host's clock.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum HostEvent {
    /// A backend joined.
    Join {
        /// Name of the backend.
        name: String,
        /// Weight of the backend.
        weight: u32,
    },
    /// A backend left.
    Leave {
        /// Slot of the backend.
        slot: u32,
    },
    /// The effective health of a backend changed.
    Healthy {
        /// Slot of the backend.
        slot: u32,
        /// Whether it may be picked.
        healthy: bool,
    },
    /// A backend was drained or undrained.
    Draining {
        /// Slot of the backend.
        slot: u32,
        /// Whether the backend drains: it gets no new requests.
        draining: bool,
    },
    /// The weight of a backend changed.
    Weight {
        /// Slot of the backend.
        slot: u32,
        /// New weight.
        weight: u32,
    },
    /// A partition was added to a divided fleet.
    Part {
        /// Priority level of the partition, from 0.
        level: u32,
        /// Whether the partition is the whole level rather than one zone of it.
        whole: bool,
    },
    /// A backend was assigned to partitions of a divided fleet.
    Assign {
        /// Slot of the backend.
        slot: u32,
        /// Indices of the partitions.
        parts: Vec<u32>,
        /// Weight of the backend in those partitions.
        weight: u32,
    },
    /// The shares of the picks that start in each partition changed.
    Shares {
        /// Share by partition index.
        shares: Vec<f64>,
    },
    /// The selector received changes of the fleet.
    Fleet {
        /// Time of the call, nanoseconds.
        now: u64,
        /// Changes in the order in which the host delivered them; includes changes that a later one reverts.
        changes: Vec<Change>,
    },
    /// The selector was asked which servers to probe for a request.
    Inquire {
        /// Time of the call, nanoseconds.
        now: u64,
        /// Client of the request.
        client: IpAddr,
        /// Path of the request.
        path: String,
        /// Hash key of the request, hexadecimal.
        key: String,
        /// Excluded slots: those that must not be probed.
        tried: Vec<u32>,
        /// Slots to probe; empty where the request is to be placed without probes.
        whom: Vec<u32>,
    },
    /// The selector was asked for a pick.
    Pick {
        /// Time of the call, nanoseconds.
        now: u64,
        /// Client of the request.
        client: IpAddr,
        /// Path of the request.
        path: String,
        /// Hash key of the request, hexadecimal.
        key: String,
        /// Excluded slots: those that must not be picked.
        tried: Vec<u32>,
        /// Replies to the probes that the selector asked for.
        #[cfg_attr(feature = "config", serde(default, skip_serializing_if = "Option::is_none"))]
        answers: Option<ProbeReplies>,
        /// Requests in flight by slot. The replay counts them itself and compares.
        in_flight: Vec<u32>,
        /// Slot that the selector picked.
        pick: Option<u32>,
        /// Tag of the pick.
        tag: u64,
    },
    /// The selector was informed that a pick was not used.
    Refused {
        /// Time of the call, nanoseconds.
        now: u64,
        /// Slot of the pick.
        slot: u32,
        /// Tag of the pick.
        tag: u64,
    },
    /// A request was sent to the slot of the last pick.
    Started {
        /// Slot that the request was sent to.
        slot: u32,
    },
    /// A request ended and the selector was informed.
    Finish {
        /// Time of the call, nanoseconds.
        now: u64,
        /// Slot that the request was sent to.
        slot: u32,
        /// Generation of the slot at that time: which backend held it.
        generation: u32,
        /// As passed to the selector.
        latency: u64,
        /// As passed to the selector.
        outcome: Outcome,
        /// As passed to the selector.
        tag: u64,
    },
    /// A load report arrived.
    Report {
        /// Time of the call, nanoseconds.
        now: u64,
        /// Slot of the backend that sent the report.
        slot: u32,
        /// Generation of the slot: a report may arrive after its backend left.
        generation: u32,
        /// Content of the report.
        load: LoadReport,
    },
    /// The selector's timer fired.
    Wake {
        /// Time of the call, nanoseconds.
        now: u64,
    },
    /// The selector was polled for commands until it had none.
    Commands {
        /// Time of the call, nanoseconds.
        now: u64,
    },
}

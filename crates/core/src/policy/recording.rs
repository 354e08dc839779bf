//! Everything that a host told a selector, in order: with it the same selector can be driven again, anywhere, and must
//! choose the same. A selector is pure, so a difference is a bug: in the selector (it keeps a clock or a map's order) or in
//! a host (it told it something that it did not write down).

use std::net::IpAddr;

use crate::fleet::Change;
use crate::select::{LoadReport, Outcome, ProbeReplies};

/// A selector begins its life.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize))]
pub struct RecordingHeader<S> {
    /// Format of what follows: [`VERSION`].
    pub version: u32,
    /// Number of the selector among those of the recording.
    pub desk: u32,
    /// The pool it chooses in.
    pub pool: String,
    /// The strategy with its parameters.
    pub strategy: S,
    /// Seed of its random stream.
    pub seed: u64,
    /// Which stream of that seed.
    pub stream: u64,
    /// The fleet is divided, and each part of it has a selector ([`crate::policy::eligible`]).
    #[cfg_attr(feature = "config", serde(default))]
    pub narrows: bool,
}

/// Format of recordings.
pub const VERSION: u32 = 4;

/// Name of the stream that recorded selectors draw from.
pub const STREAM: &str = "select";

/// Something that a host did to a fleet or told its selector. Times are nanoseconds of the host's clock.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum HostEvent {
    /// A backend joined.
    Join {
        /// Its name.
        name: String,
        /// Its weight.
        weight: u32,
    },
    /// A backend left.
    Leave {
        /// Its slot.
        slot: u32,
    },
    /// Health, effective: what the fleet was told.
    Healthy {
        /// Whose.
        slot: u32,
        /// Whether it may be picked.
        healthy: bool,
    },
    /// Drain or undrain.
    Draining {
        /// Whose.
        slot: u32,
        /// Whether it gets nothing new.
        draining: bool,
    },
    /// A weight.
    Weight {
        /// Whose.
        slot: u32,
        /// What it is now.
        weight: u32,
    },
    /// A divided fleet got another part.
    Part {
        /// Its priority level.
        level: u32,
        /// Whether it is the whole level, not a zone of it.
        whole: bool,
    },
    /// A backend was put into parts of a divided fleet.
    Assign {
        /// Whose.
        slot: u32,
        /// Numbers of the parts.
        parts: Vec<u32>,
        /// Its weight there.
        weight: u32,
    },
    /// Which share of the picks begins in each part.
    Shares {
        /// By part.
        shares: Vec<f64>,
    },
    /// The selector was told of changes.
    Fleet {
        /// When.
        now: u64,
        /// As told: their order is the host's, and what went and came back in between is among them.
        changes: Vec<Change>,
    },
    /// The selector was asked whom to ask for a request.
    Inquire {
        /// When.
        now: u64,
        /// The client.
        client: IpAddr,
        /// The path.
        path: String,
        /// The key, hexadecimal.
        key: String,
        /// Slots it might not ask.
        tried: Vec<u32>,
        /// Slots it wanted asked; none where the request was to be placed at once.
        whom: Vec<u32>,
    },
    /// The selector was asked.
    Pick {
        /// When.
        now: u64,
        /// The client.
        client: IpAddr,
        /// The path.
        path: String,
        /// The key, hexadecimal.
        key: String,
        /// Slots it might not have.
        tried: Vec<u32>,
        /// What had been answered to its inquiry.
        #[cfg_attr(feature = "config", serde(default, skip_serializing_if = "Option::is_none"))]
        answers: Option<ProbeReplies>,
        /// In flight by slot, as the fleet stood: a check of the replay, which counts for itself.
        in_flight: Vec<u32>,
        /// What it chose.
        pick: Option<u32>,
        /// The tag of its choice.
        tag: u64,
    },
    /// A pick was not followed and the selector was told.
    Refused {
        /// When.
        now: u64,
        /// What it had chosen.
        slot: u32,
        /// The tag of that choice.
        tag: u64,
    },
    /// A request was sent, to where the last pick said.
    Started {
        /// Where.
        slot: u32,
    },
    /// A request ended and the selector was told.
    Finish {
        /// When.
        now: u64,
        /// Where it was.
        slot: u32,
        /// Which tenant of the slot.
        generation: u32,
        /// As told.
        latency: u64,
        /// As told.
        outcome: Outcome,
        /// As told.
        tag: u64,
    },
    /// A load report came.
    Report {
        /// When.
        now: u64,
        /// Whose.
        slot: u32,
        /// Which tenant of the slot: a report may come when its server has left.
        generation: u32,
        /// What it said.
        load: LoadReport,
    },
    /// The selector was woken.
    Wake {
        /// When.
        now: u64,
    },
    /// The selector was asked for commands until it had none.
    Commands {
        /// When.
        now: u64,
    },
}

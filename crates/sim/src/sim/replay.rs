//! Replays a recording: the selector of its header, built from the same seed, gets the same calls in the same order and must
//! make the same picks. Picks that a proxy recorded over real sockets are repeated here without a socket, a clock or a
//! thread. A pick that differs is shown with the selector's input.

use evenkeel_core::fleet::{BackendId, Fleet};
use evenkeel_core::policy::partition;
use evenkeel_core::policy::recording::{HostEvent, RecordingHeader, STREAM, VERSION};
use evenkeel_core::rng::Rng;
use evenkeel_core::select::catalog::StrategyConfig;
use evenkeel_core::select::{Context, Finished, Pick, Request, Selector};
use evenkeel_core::units::{Nanos, unhex};

/// A replay in progress.
pub struct Replay {
    selector: Box<dyn Selector>,
    fleet: Fleet,
    rng: Rng,
    /// Calls so far.
    pub calls: u64,
    /// Picks so far, all of them the same.
    pub picks: u64,
}

/// An invalid recording, or a pick that differs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Difference {
    /// The recording has another format version.
    #[error("the recording's format is {0}, this program reads {VERSION}")]
    Version(u32),
    /// The selector picked differently.
    #[error(
        "call {call}, at {now}: recorded {recorded}, chosen now {chosen}; in flight {in_flight:?}, not to be had {excluded:?}"
    )]
    Pick {
        /// Number of the call.
        call: u64,
        /// Time of the call.
        now: Nanos,
        /// Name of the server that was picked, or "none".
        recorded: String,
        /// Name of the server that is picked now, or "none".
        chosen: String,
        /// Requests in flight by slot.
        in_flight: Vec<u32>,
        /// Slots that were excluded.
        excluded: Vec<u32>,
    },
    /// The selector sent other probes before its pick.
    #[error("call {call}: asked were the slots {recorded:?}, asked now {asked:?}")]
    ProbeRequest {
        /// Number of the call.
        call: u64,
        /// Slots probed in the recording.
        recorded: Vec<u32>,
        /// Slots probed in the replay.
        asked: Vec<u32>,
    },
    /// The in-flight counts differ.
    #[error("call {call}: in flight were {recorded:?}, counted now {counted:?}")]
    InFlight {
        /// Number of the call.
        call: u64,
        /// As recorded.
        recorded: Vec<u32>,
        /// As counted in the replay.
        counted: Vec<u32>,
    },
    /// An empty slot, a key that is not hexadecimal.
    #[error("call {0} is invalid: the recording is damaged")]
    Damaged(u64),
}

impl Replay {
    /// Builds the selector in its initial state.
    pub fn new(opening: &RecordingHeader<StrategyConfig>) -> Result<Replay, Difference> {
        if opening.version != VERSION {
            return Err(Difference::Version(opening.version));
        }
        let mut rng = Rng::stream(opening.seed, STREAM, opening.stream);
        let selector = partition::build_for(&opening.strategy, opening.narrows, &mut rng);
        Ok(Replay { selector, fleet: Fleet::new(), rng, calls: 0, picks: 0 })
    }

    /// Executes one recorded call.
    pub fn play(&mut self, call: &HostEvent) -> Result<(), Difference> {
        self.calls += 1;
        let number = self.calls;
        match call {
            HostEvent::Join { name, weight } => drop(self.fleet.join(name, *weight)),
            HostEvent::Leave { slot } => self.fleet.leave(self.tenant(*slot)?),
            HostEvent::Healthy { slot, healthy } => self.fleet.set_healthy(self.tenant(*slot)?, *healthy),
            HostEvent::Draining { slot, draining } => self.fleet.set_draining(self.tenant(*slot)?, *draining),
            HostEvent::Weight { slot, weight } => self.fleet.set_weight(self.tenant(*slot)?, *weight),
            HostEvent::Part { level, whole } => drop(self.fleet.add_partition(*level, *whole)),
            HostEvent::Assign { slot, parts, weight } => {
                let known =
                    parts.len() <= 2 && parts.iter().all(|&part| (part as usize) < self.fleet.partitions().len());
                if !known {
                    return Err(Difference::Damaged(number));
                }
                self.fleet.assign([(self.tenant(*slot)?, parts, *weight)]);
            }
            HostEvent::Shares { shares } => self.fleet.set_shares(shares),
            HostEvent::Started { slot } => self.fleet.started(self.tenant(*slot)?),
            HostEvent::Fleet { now, changes } => {
                self.fleet.take_changes();
                self.with(*now, |selector, cx| selector.on_fleet(changes, cx));
            }
            HostEvent::Inquire { now, client, path, key, tried: excluded, whom } => {
                let key = unhex(key.as_bytes()).ok_or(Difference::Damaged(number))?;
                let request = Request { client: *client, path, key: &key, excluded, answers: None };
                let inquiry = self.with(*now, |selector, cx| selector.inquire(&request, cx));
                let asked: Vec<u32> =
                    inquiry.iter().flat_map(|inquiry| inquiry.targets()).map(|backend| backend.slot).collect();
                if asked != *whom {
                    return Err(Difference::ProbeRequest { call: number, recorded: whom.clone(), asked });
                }
            }
            HostEvent::Pick { now, client, path, key, tried: excluded, answers, in_flight, pick, tag } => {
                if self.fleet.in_flight() != in_flight {
                    let counted = self.fleet.in_flight().to_vec();
                    return Err(Difference::InFlight { call: number, recorded: in_flight.clone(), counted });
                }
                let key = unhex(key.as_bytes()).ok_or(Difference::Damaged(number))?;
                let request = Request { client: *client, path, key: &key, excluded, answers: answers.as_ref() };
                let chosen = self.with(*now, |selector, cx| selector.pick(&request, cx));
                let chosen = chosen.map(|pick| (pick.backend.slot, pick.tag));
                let recorded = pick.map(|slot| (slot, *tag));
                if chosen != recorded {
                    let name = |pick: Option<(u32, u64)>| {
                        let Some((slot, tag)) = pick else { return "none".to_owned() };
                        let known = (slot as usize) < self.fleet.slots();
                        let name = if known { self.fleet.name(slot).to_owned() } else { format!("slot {slot}") };
                        // A tag reflects a strategy's state, so a different tag is a difference as well.
                        if tag == 0 { name } else { format!("{name} (tag {tag})") }
                    };
                    return Err(Difference::Pick {
                        call: number,
                        now: Nanos(*now),
                        recorded: name(recorded),
                        chosen: name(chosen),
                        in_flight: in_flight.clone(),
                        excluded: excluded.clone(),
                    });
                }
                self.picks += 1;
            }
            HostEvent::Refused { now, slot, tag } => {
                let pick = Pick { backend: self.tenant(*slot)?, tag: *tag };
                self.with(*now, |selector, cx| selector.on_refused(&pick, cx));
            }
            HostEvent::Finish { now, slot, generation, latency, outcome, tag } => {
                let backend = BackendId { slot: *slot, generation: *generation };
                self.fleet.ended(backend);
                let finished = Finished { backend, latency: Nanos(*latency), outcome: *outcome, tag: *tag };
                self.with(*now, |selector, cx| selector.on_finish(&finished, cx));
            }
            HostEvent::Report { now, slot, generation, load } => {
                let backend = BackendId { generation: *generation, ..self.tenant(*slot)? };
                self.with(*now, |selector, cx| selector.on_report(backend, load, cx));
            }
            HostEvent::Wake { now } => self.with(*now, |selector, cx| selector.on_wake(cx)),
            HostEvent::Commands { now } => {
                self.with(*now, |selector, cx| while selector.poll_command(cx).is_some() {});
            }
        }
        Ok(())
    }

    fn tenant(&self, slot: u32) -> Result<BackendId, Difference> {
        if (slot as usize) < self.fleet.slots() {
            Ok(self.fleet.id(slot))
        } else {
            Err(Difference::Damaged(self.calls))
        }
    }

    fn with<T>(&mut self, now: u64, call: impl FnOnce(&mut dyn Selector, &mut Context<'_>) -> T) -> T {
        let mut cx = Context { now: Nanos(now), fleet: &self.fleet, rng: &mut self.rng, truth: None };
        call(self.selector.as_mut(), &mut cx)
    }
}

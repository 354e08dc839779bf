//! Jobs: requests, attempts and calls, each in a place that is used again.

use super::Engine;
use crate::sim::observer::{Observer, Step};
use crate::sim::record::RequestOutcome;
use crate::sim::server::{Linked, Links, NONE};
use evenkeel_core::fleet::BackendId;
use evenkeel_core::units::Nanos;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobState {
    /// On its way; an event will find it.
    Moving,
    /// In a server's queue.
    Queued,
    /// Being served.
    Serving,
    /// Its server waits for the second tier.
    Calling,
    /// Swallowed by a server that died silently; nobody will hear of it.
    Lost,
    /// In the balancer's queue: every server is at its limit.
    Waiting,
    /// At the balancer, while attempts are made on its behalf.
    Trying,
}

impl JobState {
    /// Whether a job at this stage is in its server, waiting or held.
    pub(super) fn is_inside(self) -> bool {
        matches!(self, JobState::Queued | JobState::Serving | JobState::Calling)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) key: u64,
    pub(super) arrived: Nanos,
    pub(super) picked: Nanos,
    pub(super) entered: Nanos,
    /// Work at speed 1; from the start of service on, what is really to be done (less if the cache helps).
    pub(super) work: Nanos,
    pub(super) end: Nanos,
    /// The selector's word about its pick.
    pub(super) tag: u64,
    pub(super) client: u32,
    pub(super) path: u32,
    pub(super) balancer: u32,
    pub(super) dispatcher: u32,
    pub(super) backend: BackendId,
    pub(super) server: u32,
    /// The job of the first tier on whose behalf this one runs.
    pub(super) parent: u32,
    /// The request that this job is an attempt of; none where the job is the request itself.
    pub(super) of: u32,
    /// Which attempt it is, from 1.
    pub(super) attempt: u32,
    /// Its neighbours in the server's queue.
    pub(super) links: Links,
    /// How many were in the server when it came.
    pub(super) found: u32,
    /// Counts the tenants of this place, so that old time-outs are recognised.
    pub(super) generation: u32,
    /// Counts the departures scheduled for it.
    pub(super) version: u32,
    pub(super) state: JobState,
    pub(super) fate: RequestOutcome,
    /// Somebody still wants the answer.
    pub(super) wanted: bool,
    /// It is in the fleet's in-flight count and the selector expects to hear of its end.
    pub(super) counted: bool,
    pub(super) measured: bool,
    /// The cache missed, or there is none.
    pub(super) missed: bool,
    /// Service has begun for it, or for one of its attempts.
    pub(super) begun: bool,
    /// The server was not there to be connected to.
    pub(super) refused: bool,
    /// Its twin has begun: its server drops it.
    pub(super) called_off: bool,
    /// It was held somewhere, and not only refused: in a server, in a balancer's queue, in a pause before a retry, or by an
    /// address that did not answer. If it then fails, its latency counts where it is longer than the mean work of its path.
    pub(super) held: bool,
    /// Addresses at which nobody was reached.
    pub(super) turned: u8,
}

impl Linked for Job {
    #[inline]
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl<O: Observer> Engine<'_, O> {
    pub(super) fn place(&mut self, mut job: Job) -> u32 {
        match self.free.pop() {
            Some(index) => {
                let old = &mut self.jobs[index as usize];
                (job.generation, job.version) = (old.generation, old.version);
                *old = job;
                index
            }
            None => {
                self.jobs.push(job);
                self.jobs.len() as u32 - 1
            }
        }
    }

    pub(super) fn release(&mut self, job: u32) {
        let j = &mut self.jobs[job as usize];
        debug_assert!(!j.counted, "a job is gone and its selector was not told");
        j.generation = j.generation.wrapping_add(1);
        j.version = j.version.wrapping_add(1);
        j.wanted = false;
        j.state = JobState::Moving;
        j.server = NONE;
        self.observer.step(job, Step::Released, self.now);
        self.free.push(job);
    }
}

//! Jobs: requests, attempts and calls, each in a slot that is reused.

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
    /// Lost in a server that failed silently; no event will follow.
    Lost,
    /// In the balancer's queue: every server is at its limit.
    Waiting,
    /// At the balancer, while its attempts are in flight.
    Trying,
}

impl JobState {
    /// Whether a job in this state is in its server, waiting or held.
    pub(super) fn is_inside(self) -> bool {
        matches!(self, JobState::Queued | JobState::Serving | JobState::Calling)
    }
}

/// 128 bytes, in two lines of the processor's cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) key: u64,
    pub(super) arrived: Nanos,
    pub(super) picked: Nanos,
    pub(super) entered: Nanos,
    /// Work at speed 1; from the start of service, the work that remains after a cache hit.
    pub(super) work: Nanos,
    /// The selector's tag of its pick.
    pub(super) tag: u64,
    pub(super) client: u32,
    pub(super) path: u32,
    pub(super) balancer: u32,
    pub(super) dispatcher: u32,
    pub(super) backend: BackendId,
    pub(super) server: u32,
    /// The job of the first tier that called this one.
    pub(super) parent: u32,
    /// The request that this job is an attempt of; `None` where the job is the request itself.
    pub(super) of: u32,
    /// Number of the attempt, from 1.
    pub(super) attempt: u32,
    /// In the server's queue its neighbours there; from the start of service its [end](Job::end).
    pub(super) links: Links,
    /// Number of requests in the server when it arrived.
    pub(super) found: u32,
    /// Counts the jobs that have used this slot, so that timeouts of an earlier job are recognised.
    pub(super) generation: u32,
    /// Counts the departures scheduled for it: only the last one is valid.
    pub(super) version: u32,
    pub(super) state: JobState,
    pub(super) fate: RequestOutcome,
    /// The response is still wanted.
    pub(super) wanted: bool,
    /// It is in the fleet's in-flight count, and the selector expects its end.
    pub(super) counted: bool,
    pub(super) measured: bool,
    /// The cache missed, or there is none.
    pub(super) missed: bool,
    /// Service has begun for it, or for one of its attempts.
    pub(super) begun: bool,
    /// The connection to the server failed.
    pub(super) refused: bool,
    /// Its twin has started: its server drops it.
    pub(super) called_off: bool,
    /// It was held somewhere, and not only refused: in a server, in a balancer's queue, in a backoff before a retry, or by
    /// an address that did not answer. If it then fails, its latency counts where it is longer than the mean work of its
    /// path.
    pub(super) held: bool,
    /// Addresses at which no balancer answered.
    pub(super) turned: u8,
}

impl Job {
    /// End of its service, or the time at which it called the second tier.
    #[inline]
    pub(super) fn end(&self) -> Nanos {
        Nanos(self.links.number())
    }

    /// Sets the end of its service; it is in no queue then.
    #[inline]
    pub(super) fn set_end(&mut self, end: Nanos) {
        self.links = Links::of_number(end.0);
    }
}

impl Linked for Job {
    #[inline]
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// Slots for which address space is reserved at once: more of them are moved when they grow.
const RESERVED: u32 = if usize::BITS > 32 { 1 << 20 } else { 0 };

/// An empty list of jobs, of which at most so many are expected. Address space is all that it takes: memory is used where a job
/// is written, and the jobs need not be moved, with twice the memory meanwhile, when there are more.
pub(super) fn slots(most: u32) -> Vec<Job> {
    let mut jobs = Vec::new();
    // Where the system refuses, they are moved.
    _ = jobs.try_reserve_exact(most.min(RESERVED) as usize);
    jobs
}

impl<O: Observer> Engine<'_, O> {
    /// Gives a job a slot.
    #[inline(always)]
    pub(super) fn place(&mut self, job: Job) -> u32 {
        self.take_answers();
        match self.free.pop() {
            Some(index) => {
                let slot = &mut self.jobs[index as usize];
                *slot = Job { generation: slot.generation, version: slot.version, ..job };
                index
            }
            None => {
                self.jobs.push(job);
                self.jobs.len() as u32 - 1
            }
        }
    }

    #[inline]
    pub(super) fn release(&mut self, job: u32) {
        // Slots are used again in the order in which they become free.
        self.take_answers();
        self.free(job);
    }

    /// Frees the slot of a job.
    #[inline(always)]
    pub(super) fn free(&mut self, job: u32) {
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

#[cfg(test)]
mod tests {
    use super::Job;

    #[test]
    fn a_job_is_two_lines_of_the_cache() {
        assert_eq!(size_of::<Job>(), 128);
    }
}

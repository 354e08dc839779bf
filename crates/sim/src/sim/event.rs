//! Events of a run.

/// An event. Numbers are indices of jobs, servers, fleets, dispatchers, faults, load changes and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The next open-loop request.
    Arrival,
    /// A client of a closed loop has finished thinking.
    Thought(u32),
    AtBalancer(u32),
    AtServer(u32),
    /// A job's service ends, if this is still its valid departure.
    Depart(u32, u32),
    /// The next job of a processor-sharing server is done, if this is still the valid departure.
    SharedDepart(u32, u32),
    /// The response is back at the balancer.
    Return(u32),
    AtClient(u32),
    /// A client's timeout, if the job is still the same.
    Timeout(u32, u32),
    /// A client's patience is over, if the job is still the same and no service has started for it.
    Abandon(u32, u32),
    /// The first one of these deadlines is due.
    Deadline(u32),
    /// A client has found that no balancer answers at the address.
    Unreachable(u32),
    /// Time to check the server in this slot of this fleet.
    Check(u32, u32),
    /// A server sends its periodic report.
    Report(u32),
    /// Time for a pool's autoscaler to check the load.
    Scale(u32),
    /// A starting server of a pool is ready.
    Boots(u32),
    /// A check's result or a report arrives.
    Delivered(u32),
    /// A probe arrives at its server.
    Probed(u32),
    /// A job's probe timeout, if the job is still the same.
    Unanswered(u32, u32),
    Wake(u32),
    /// Periodic work of this fleet's balancer, for example outlier detection.
    Tick(u32),
    /// There may be capacity for the jobs that wait at this fleet.
    Admit(u32),
    /// A job that waits at this fleet has reached its timeout.
    Expire(u32),
    /// A backoff before a retry is over, if the request is still the same.
    Retry(u32, u32),
    /// The hedging delay of a first attempt is over, if the request is still the same.
    Hedge(u32, u32),
    /// An attempt's own timeout, if the attempt is still the same.
    TryOver(u32, u32),
    /// The twin of a tied attempt has started: the job and its generation.
    CalledOff(u32, u32),
    FaultStarts(u32),
    FaultEnds(u32),
    /// The arrival rate changes: an index into the run's load changes.
    LoadChanges(u32),
    /// DNS learns the state of this balancer.
    Names(u32),
    /// A delayed error of a faulty server is ready.
    Erred(u32),
    Measure,
    /// Caches count as warm from now on.
    CachesWarm,
    /// A tenth of the measured span is over.
    Tenth,
    /// A batch of the measured span is over.
    BatchEnds,
    /// The measured span is over.
    Over,
}

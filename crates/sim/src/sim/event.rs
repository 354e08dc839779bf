//! What can happen in a run.

/// What can happen. Numbers are indices: of jobs, servers, fleets, dispatchers, faults, mail.
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
    /// The answer is back at the balancer.
    Return(u32),
    AtClient(u32),
    /// A client gives up, if the job is still the same.
    Timeout(u32, u32),
    /// A client gives up, if the job is still the same and no service has begun for it.
    Abandon(u32, u32),
    /// A client has found that nobody answers at the balancer's address.
    Unreachable(u32),
    /// Time to check the server in this slot of this fleet.
    Check(u32, u32),
    /// A server makes its report.
    Report(u32),
    /// Time to look how many servers a pool needs.
    Scale(u32),
    /// A new server of a pool is there.
    Boots(u32),
    /// A check's result or a report comes in.
    Delivered(u32),
    /// A probe is at its server.
    Probed(u32),
    /// A job has waited long enough for answers to its strategy's questions, if it is still the same.
    Unanswered(u32, u32),
    Wake(u32),
    /// Time for what the watch over this fleet does by the clock.
    Tick(u32),
    /// There may be room for those who wait at this fleet.
    Admit(u32),
    /// Somebody who waits at this fleet has waited long enough.
    Expire(u32),
    /// A pause before a retry is over, if the request is still the same.
    Retry(u32, u32),
    /// A first attempt takes long, if the request is still the same.
    Hedge(u32, u32),
    /// An attempt's own time is up, if it is still the same.
    TryOver(u32, u32),
    /// The twin of a tied attempt has begun: the job and its generation.
    CalledOff(u32, u32),
    FaultStarts(u32),
    FaultEnds(u32),
    /// The names learn how this balancer is.
    Names(u32),
    /// An error that a faulty server took its time for is ready.
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

//! desque: each event is a boxed object in a heap.

use desque::serial::{Event, Simulation};
use desque::{SimState, SimTime};

use crate::{Cluster, Done};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Time(u64);

impl SimTime for Time {}

impl SimState<Time> for Cluster {
    fn is_complete(&self, _: &Time) -> bool {
        self.left == self.wanted
    }
}

#[derive(Debug)]
struct Arrival;

impl Event<Cluster, Time> for Arrival {
    fn execute(&mut self, simulation: &mut Simulation<Cluster, Time>) -> desque::Result {
        let now = simulation.current_time().0;
        let (starts, gap) = simulation.state_mut().arrive(now);
        if let Some((server, span)) = starts {
            simulation.schedule(Departure(server), Time(now + span))?;
        }
        match gap {
            Some(gap) => simulation.schedule(Arrival, Time(now + gap)),
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Departure(usize);

impl Event<Cluster, Time> for Departure {
    fn execute(&mut self, simulation: &mut Simulation<Cluster, Time>) -> desque::Result {
        let now = simulation.current_time().0;
        match simulation.state_mut().depart(self.0, now) {
            Some(span) => simulation.schedule(Departure(self.0), Time(now + span)),
            None => Ok(()),
        }
    }
}

pub fn run(cluster: Cluster) -> Done {
    let mut simulation = Simulation::new(cluster, Time(0));
    simulation.schedule(Arrival, Time(0)).expect("the first arrival");
    simulation.run().expect("the run");
    simulation.state().done()
}

//! nexosim on one thread, as lean as it can be: one model with all servers, which schedules its own events.

use std::sync::Mutex;
use std::time::Duration;

use nexosim::model::{Context, Model, schedulable};
use nexosim::ports::EventSource;
use nexosim::simulation::{Mailbox, SimInit};
use nexosim::time::MonotonicTime;
use serde::{Deserialize, Serialize};

use crate::{Cluster, Done};

/// The model is given away to the simulation, so its result comes through here.
static DONE: Mutex<Option<Done>> = Mutex::new(None);

#[derive(Serialize, Deserialize)]
struct Servers(Cluster);

fn now(cx: &Context<Servers>) -> u64 {
    cx.time().duration_since(MonotonicTime::EPOCH).as_nanos() as u64
}

#[Model]
impl Servers {
    #[nexosim(schedulable)]
    async fn arrive(&mut self, _: (), cx: &Context<Self>) {
        let (starts, gap) = self.0.arrive(now(cx));
        if let Some((server, span)) = starts {
            cx.schedule_event(Duration::from_nanos(span), schedulable!(Self::depart), server).expect("a later time");
        }
        if let Some(gap) = gap {
            cx.schedule_event(Duration::from_nanos(gap), schedulable!(Self::arrive), ()).expect("a later time");
        }
    }

    #[nexosim(schedulable)]
    async fn depart(&mut self, server: usize, cx: &Context<Self>) {
        if let Some(span) = self.0.depart(server, now(cx)) {
            cx.schedule_event(Duration::from_nanos(span), schedulable!(Self::depart), server).expect("a later time");
        }
        if self.0.left == self.0.wanted {
            *DONE.lock().expect("one thread") = Some(self.0.done());
        }
    }
}

pub fn run(cluster: Cluster) -> Done {
    let mailbox = Mailbox::new();
    let mut bench = SimInit::with_num_threads(1);
    let first = EventSource::new().connect(Servers::arrive, &mailbox).register(&mut bench);
    let mut simulation = bench.add_model(Servers(cluster), mailbox, "servers").init(MonotonicTime::EPOCH).expect("a start");
    simulation.process_event(&first, ()).expect("the first arrival");
    loop {
        simulation.step().expect("a step");
        if let Some(done) = *DONE.lock().expect("one thread") {
            return done;
        }
    }
}

//! What stands around a pick and is the same in the simulator and in the proxy: pure state machines with the discipline
//! of the selectors. Time and randomness are arguments.

pub mod health;
pub mod routes;

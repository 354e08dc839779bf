//! One integration binary: each module is a kind of promise.

mod access_log;
mod bench_proxy;
mod cli;
mod compare;
mod conformance;
mod determinism;
mod fingerprints;
mod front;
mod fuzz;
mod golden;
mod hostile;
mod parity;
mod policies;
mod proxy_hostile;
mod proxy_http;
mod proxy_ops;
mod reference;
mod rig;
mod soak;
mod studies;
mod support;
mod testbed;
mod theory;
mod tidy;
mod trace;
mod vocabulary;

//! One integration binary: each module is a kind of promise.

mod cli;
mod compare;
mod conformance;
mod determinism;
mod fingerprints;
mod front;
mod golden;
mod hostile;
mod parity;
mod proxy_ops;
mod reference;
mod soak;
mod studies;
mod support;
mod theory;
mod tidy;
mod trace;
mod vocabulary;

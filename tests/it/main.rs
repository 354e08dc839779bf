//! One integration binary: each module is a kind of promise.

mod cli;
mod compare;
mod conformance;
mod determinism;
mod fingerprints;
mod golden;
mod hostile;
mod proxy_hostile;
mod proxy_http;
mod reference;
mod rig;
mod studies;
mod support;
mod theory;
mod tidy;
mod trace;
mod vocabulary;

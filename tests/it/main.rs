//! One integration binary: each module is a kind of promise.

mod cli;
mod conformance;
mod determinism;
mod golden;
mod support;
mod theory;
mod tidy;

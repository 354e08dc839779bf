//! The simulator of evenkeel: a discrete-event engine ([`sim`]), the scenario language ([`scenario`]), the statistics of
//! comparing strategies ([`measure`]), and lessons that teach with them ([`lesson`]). It has no clock, no threads and no entropy
//! of its own, and builds for wasm32.

/// A hash of the source that decides what a run yields, 16 hexadecimal digits.
pub const SOURCE_HASH: &str = env!("EVENKEEL_SOURCE");

pub mod lesson;
pub mod measure;
pub mod scenario;
pub mod sim;

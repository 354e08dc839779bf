//! The proxy's clock: nanoseconds since it started, the same origin for all shards, as the selectors and policies want time.

use std::time::Duration;

use tokio::time::Instant;

use evenkeel_core::units::Nanos;

/// Reads the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Time begins.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Clock {
        Clock(Instant::now())
    }

    /// The present.
    #[inline]
    pub fn now(&self) -> Nanos {
        self.at(Instant::now())
    }

    /// An instant in nanoseconds.
    #[inline]
    pub fn at(&self, instant: Instant) -> Nanos {
        Nanos(u64::try_from(instant.saturating_duration_since(self.0).as_nanos()).unwrap_or(u64::MAX))
    }

    /// A time as an instant.
    pub fn instant(&self, at: Nanos) -> Instant {
        self.0 + duration(at)
    }
}

/// As the standard library has it.
pub fn duration(span: Nanos) -> Duration {
    Duration::from_nanos(span.0)
}

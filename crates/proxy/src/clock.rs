//! The proxy's clock: nanoseconds since it started, the same origin for all shards, as the selectors and policies want time.

use std::time::Duration;

use tokio::time::Instant;

use evenkeel_core::units::Nanos;

/// Reads the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    /// Nanoseconds of tokio's time per nanosecond of this clock.
    scale: u32,
}

impl Clock {
    /// A clock that starts at 0 now.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Clock {
        Clock { origin: Instant::now(), scale: 1 }
    }

    /// A clock that is slower by this factor. With 1,000,000 a nanosecond of it is a millisecond of tokio's, whose timers
    /// know nothing smaller: where tokio's time is paused, a test is exact to the nanosecond.
    pub fn slowed(scale: u32) -> Clock {
        Clock { scale: scale.max(1), ..Clock::new() }
    }

    /// The current time in nanoseconds.
    #[inline]
    pub fn now(&self) -> Nanos {
        self.at(Instant::now())
    }

    /// The time on this clock of a tokio instant, in nanoseconds.
    #[inline]
    pub fn at(&self, instant: Instant) -> Nanos {
        let nanos = instant.saturating_duration_since(self.origin).as_nanos();
        let nanos = if self.scale == 1 { nanos } else { nanos / u128::from(self.scale) };
        Nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The tokio instant of a time on this clock.
    pub fn instant(&self, at: Nanos) -> Instant {
        self.origin + self.duration(at)
    }

    /// A span of this clock's time as tokio's timers take it.
    pub fn duration(&self, span: Nanos) -> Duration {
        if self.scale == 1 { duration(span) } else { duration(span) * self.scale }
    }
}

/// The same span as a `std::time::Duration`.
pub fn duration(span: Nanos) -> Duration {
    Duration::from_nanos(span.0)
}

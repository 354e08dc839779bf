//! A timer with an error of some tens of microseconds. Tokio's timers have a resolution of one millisecond and round up, which
//! would add about a millisecond to every service time and to every gap between requests. On Linux this is a timerfd; on other
//! systems it is tokio's timer.

use std::io;
use std::time::{Duration, Instant};

/// A timer for one task.
pub(super) struct PreciseTimer {
    #[cfg(target_os = "linux")]
    timer: tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
impl PreciseTimer {
    /// A timer of the current tokio runtime.
    #[allow(
        deprecated,
        reason = "what replaces it is unsafe; an owned descriptor is what it asks for, and this is one"
    )]
    pub(super) fn new() -> io::Result<PreciseTimer> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(PreciseTimer { timer: tokio::io::unix::AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)? })
    }

    /// Waits until this time. The future may be dropped and created again.
    pub(super) async fn until(&mut self, at: Instant) {
        loop {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if self.ring(left).await.is_err() {
                return tokio::time::sleep_until(at.into()).await;
            }
        }
    }

    async fn ring(&mut self, after: Duration) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value =
            Timespec { tv_sec: after.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: after.subsec_nanos().into() };
        // Setting it again also clears an expiration that was not read.
        timerfd_settime(
            self.timer.get_ref(),
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: never, it_value: value },
        )?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expiries = [0_u8; 8];
            match ready.try_io(|timer| rustix::io::read(timer, &mut expiries).map_err(io::Error::from)) {
                Ok(read) => return read.map(|_| ()),
                Err(_not_yet) => {}
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl PreciseTimer {
    /// A timer of the current tokio runtime.
    pub(super) fn new() -> io::Result<PreciseTimer> {
        Ok(PreciseTimer {})
    }

    /// Waits until this time. The future may be dropped and created again.
    pub(super) async fn until(&mut self, at: Instant) {
        tokio::time::sleep_until(at.into()).await;
    }
}

//! Time-outs that are cheap as long as they do not fire, which is nearly always.
//!
//! Setting and cancelling a timer costs more than choosing a server. So a timer that is set stays as it is, and only the
//! actual deadline is stored. A timer that fires too early is set again: once per time-out interval instead of once per
//! request.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is made when first needed and then kept.
#[derive(Default)]
pub struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready when `deadline` has come. It may be another one with each call.
    pub fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            // Outside the task's budget: who is flooded uses all of that at each turn, and would never time out.
            ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
            // The timer may still be set to an earlier deadline.
            if sleep.deadline() >= deadline || Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

/// A time-out that runs only while no data arrives.
#[derive(Default)]
pub struct IdleTimer {
    timer: Timer,
    until: Option<Instant>,
}

impl IdleTimer {
    /// Data arrived: stops the time-out.
    pub fn reset(&mut self) {
        self.until = None;
    }

    /// Whether the time-out runs.
    pub fn is_running(&self) -> bool {
        self.until.is_some()
    }

    /// Ready when nothing has come for `most`.
    pub fn poll(&mut self, most: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let until = *self.until.get_or_insert_with(|| Instant::now() + most);
        self.timer.poll(until, cx)
    }
}

/// A timer that requests borrow one after the other. A request that finds it borrowed creates its own.
#[derive(Default)]
pub struct ReusableTimer(Cell<Option<Timer>>);

/// A timer on loan.
struct Taken<'a> {
    reusable: &'a ReusableTimer,
    timer: Timer,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.reusable.0.set(Some(std::mem::take(&mut self.timer)));
    }
}

impl ReusableTimer {
    /// The future's output, or `None` if it is not ready at the deadline.
    pub async fn until<F: Future>(&self, deadline: Instant, mut future: Pin<&mut F>) -> Option<F::Output> {
        let mut taken = Taken { reusable: self, timer: self.0.take().unwrap_or_default() };
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => taken.timer.poll(deadline, cx).map(|()| None),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    fn on_paused_time(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test);
    }

    #[test]
    fn a_kept_timer_fires_when_it_is_meant_to_and_not_when_it_was() {
        on_paused_time(async {
            let reusable = ReusableTimer::default();
            let start = Instant::now();
            let after = |ms| start + Duration::from_millis(ms);
            // Never polled, never set.
            assert_eq!(reusable.until(after(50), pin!(ready(1))).await, Some(1));
            // Set to 50 ms, given up at 10.
            let slow = async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                2
            };
            assert_eq!(reusable.until(after(50), pin!(slow)).await, Some(2));
            // Later than it stands, then earlier.
            assert_eq!(reusable.until(after(100), pin!(pending::<()>())).await, None);
            assert_eq!(Instant::now(), after(100));
            assert_eq!(
                reusable.until(after(1000), pin!(tokio::time::sleep(Duration::from_millis(20)))).await,
                Some(())
            );
            assert_eq!(reusable.until(after(130), pin!(pending::<()>())).await, None);
            assert_eq!(Instant::now(), after(130));
        });
    }

    #[test]
    fn a_task_that_uses_up_its_budget_times_out() {
        on_paused_time(async {
            let mut polls = 0;
            let flood = poll_fn(|cx| {
                while pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
                polls += 1;
                if polls > 100 { Poll::Ready(()) } else { Poll::Pending }
            });
            assert_eq!(ReusableTimer::default().until(Instant::now(), pin!(flood)).await, None);
        });
    }

    #[test]
    fn silence_begins_anew_when_something_came() {
        on_paused_time(async {
            let mut idle_timer = IdleTimer::default();
            let start = Instant::now();
            let most = Duration::from_millis(100);
            let wait = async |idle_timer: &mut IdleTimer, ms: u64| {
                let part = tokio::time::timeout(Duration::from_millis(ms), poll_fn(|cx| idle_timer.poll(most, cx)));
                part.await.is_ok()
            };
            assert!(!wait(&mut idle_timer, 60).await);
            assert!(idle_timer.is_running());
            idle_timer.reset();
            assert!(!idle_timer.is_running());
            assert!(!wait(&mut idle_timer, 90).await, "60 ms of the silence before do not count");
            assert!(wait(&mut idle_timer, 20).await);
            assert_eq!(Instant::now(), start + Duration::from_millis(160));
        });
    }
}

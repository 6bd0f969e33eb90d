//! Event time and processing time.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

/// Milliseconds since 1970-01-01 00:00:00 UTC.
pub type TimestampMs = i64;

/// The promise that no row with an event time at or below it is still to come.
///
/// [`Watermark::MAX`] is delivered at the end of bounded input and lets every window fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watermark(pub TimestampMs);

impl Watermark {
    /// Nothing is known yet.
    pub const MIN: Self = Self(i64::MIN);
    /// The input has ended.
    pub const MAX: Self = Self(i64::MAX);
}

/// The one source of the current time. Nothing in the engine reads a clock but through this, so
/// that tests run on simulated time.
#[async_trait]
pub trait Clock: Debug + Send + Sync {
    /// Returns the wall clock's time.
    fn now_ms(&self) -> TimestampMs;

    /// Returns once [`now_ms`](Self::now_ms) is at least `deadline`.
    async fn sleep_until(&self, deadline: TimestampMs);
}

/// A shared [`Clock`].
pub type ClockRef = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one home of the wall clock")]
    fn now_ms(&self) -> TimestampMs {
        chrono::Utc::now().timestamp_millis()
    }

    #[expect(clippy::disallowed_methods, reason = "the one home of sleeping")]
    async fn sleep_until(&self, deadline: TimestampMs) {
        let wait = u64::try_from(deadline.saturating_sub(self.now_ms())).unwrap_or(0);
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
    }
}

/// A clock that stands still until it is [advanced](Self::advance_to): for tests.
#[derive(Debug)]
pub struct SimulatedClock {
    now: tokio::sync::watch::Sender<TimestampMs>,
}

impl SimulatedClock {
    /// Makes a clock that shows `now`.
    #[must_use]
    pub fn new(now: TimestampMs) -> Self {
        Self { now: tokio::sync::watch::Sender::new(now) }
    }

    /// Sets the time, never backwards, and wakes the sleepers whose deadline has come.
    pub fn advance_to(&self, now: TimestampMs) {
        self.now.send_modify(|current| *current = (*current).max(now));
    }
}

#[async_trait]
impl Clock for SimulatedClock {
    fn now_ms(&self) -> TimestampMs {
        *self.now.borrow()
    }

    async fn sleep_until(&self, deadline: TimestampMs) {
        let mut now = self.now.subscribe();
        // The sender lives in `self`, so waiting ends only by reaching the deadline.
        let _ = now.wait_for(|now| *now >= deadline).await;
    }
}

/// A simulated clock that goes on by itself: it stands still while anybody looks at it, and then
/// goes to the next time that somebody waits for. For tests of jobs whose tasks share one thread.
#[derive(Debug)]
pub struct QuietClock {
    clock: SimulatedClock,
    looks: AtomicU64,
    deadlines: Mutex<BTreeSet<TimestampMs>>,
}

impl QuietClock {
    /// Rounds of all tasks without a look at the clock, after which none has anything to do.
    const QUIET_ROUNDS: u32 = 100;
    /// Rounds after which a job hangs that waits for nothing.
    const HANGS: u32 = 10_000;

    /// Makes a clock that shows `now`.
    #[must_use]
    pub fn new(now: TimestampMs) -> Self {
        let clock = SimulatedClock::new(now);
        Self { clock, looks: AtomicU64::new(0), deadlines: Mutex::default() }
    }

    /// Returns the time that it shows, without a look that keeps it standing.
    #[must_use]
    pub fn shown_ms(&self) -> TimestampMs {
        self.clock.now_ms()
    }

    /// Moves the clock until it shows `until`, or everybody hangs.
    pub async fn go_until(&self, until: TimestampMs) {
        let (mut quiet, mut looks) = (0, 0);
        while self.shown_ms() < until && quiet < Self::HANGS {
            tokio::task::yield_now().await;
            let seen = self.looks.load(Ordering::Relaxed);
            quiet = if seen == looks { quiet + 1 } else { 0 };
            looks = seen;
            if quiet >= Self::QUIET_ROUNDS
                && let Some(deadline) = self.next_deadline()
            {
                quiet = 0;
                self.clock.advance_to(deadline);
            }
        }
    }

    fn next_deadline(&self) -> Option<TimestampMs> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }
}

#[async_trait]
impl Clock for QuietClock {
    fn now_ms(&self) -> TimestampMs {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.clock.now_ms()
    }

    async fn sleep_until(&self, deadline: TimestampMs) {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner).insert(deadline);
        self.clock.sleep_until(deadline).await;
    }
}

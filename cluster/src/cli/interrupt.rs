//! Ctrl-C and the signal that asks the program to end: once for a clean stop, twice for at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::error::{CliError, Result};
use super::terminal;

/// Listens for the user's wish to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    presses: watch::Sender<u64>,
    /// Presses since the current operation began.
    current: Arc<AtomicU32>,
    /// Whether a second Ctrl-C leaves the program alive.
    stays: Arc<AtomicBool>,
}

impl Interrupt {
    /// Starts listening, on the current runtime.
    ///
    /// # Errors
    /// Where the operating system refuses.
    pub(crate) fn listen() -> Result<Self> {
        let failed = |error| CliError::io("listen for Ctrl-C", error);
        let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminations = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = Self {
            presses: watch::Sender::new(0),
            current: Arc::new(AtomicU32::new(0)),
            stays: Arc::new(AtomicBool::new(false)),
        };
        let pressed = interrupt.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupts.recv() => pressed.press(),
                    _ = terminations.recv() => pressed.count(false),
                }
            }
        });
        Ok(interrupt)
    }

    /// Makes one that hears no signals.
    #[cfg(test)]
    pub(crate) fn deaf() -> Self {
        let (current, stays) = (Arc::default(), Arc::default());
        Self { presses: watch::Sender::new(0), current, stays }
    }

    /// Does what Ctrl-C does where the terminal sends it as a key.
    pub(crate) fn press(&self) {
        self.count(self.stays.load(Ordering::Relaxed));
    }

    fn count(&self, may_stay: bool) {
        if self.current.fetch_add(1, Ordering::Relaxed) > 0 && !may_stay {
            // What was acknowledged is on disk, so nothing is lost.
            terminal::restore();
            std::process::exit(130);
        }
        self.presses.send_modify(|presses| *presses += 1);
    }

    /// Keeps the program alive however often Ctrl-C is pressed while it has a prompt to go back to.
    pub(crate) fn stay(&self, has_prompt: bool) {
        self.stays.store(has_prompt, Ordering::Relaxed);
    }

    /// Begins an operation: earlier presses do not count for it.
    pub(crate) fn begin(&self) -> Operation {
        self.current.store(0, Ordering::Relaxed);
        Operation { before: *self.presses.borrow(), presses: self.presses.subscribe() }
    }
}

/// Something that the user can stop.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    presses: watch::Receiver<u64>,
    /// The presses before it began.
    before: u64,
}

impl Operation {
    /// Returns once the user wants to stop; can be called again and then returns at once.
    pub(crate) async fn interrupted(&mut self) {
        self.pressed(1).await;
    }

    /// Returns once the user wants to wait no longer for what is being stopped.
    pub(crate) async fn interrupted_again(&mut self) {
        self.pressed(2).await;
    }

    async fn pressed(&mut self, times: u64) {
        let enough = self.before + times;
        if self.presses.wait_for(|presses| *presses >= enough).await.is_err() {
            // The listener ends with the runtime.
            std::future::pending::<()>().await;
        }
    }

    /// Runs work that is simply dropped when the user wants to stop.
    ///
    /// # Errors
    /// `Interrupted`, and those of the work.
    pub(crate) async fn or_interrupted<T>(
        &mut self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            result = work => result,
            () = self.interrupted() => Err(CliError::Interrupted),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn an_operation_counts_the_presses_since_it_began() {
        let interrupt = Interrupt::deaf();
        interrupt.stay(true);
        interrupt.press();
        let mut operation = interrupt.begin();
        assert!(operation.interrupted().now_or_never().is_none());
        interrupt.press();
        for _ in 0..2 {
            assert!(operation.interrupted().now_or_never().is_some());
        }
        assert!(operation.interrupted_again().now_or_never().is_none());
        interrupt.press();
        assert!(operation.interrupted_again().now_or_never().is_some());
    }
}

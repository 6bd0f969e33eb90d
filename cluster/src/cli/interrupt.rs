//! Ctrl-C and the signal that asks the program to end: once for a clean stop, twice for at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::error::{CliError, Result};

/// Listens for the user's wish to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    presses: watch::Receiver<u64>,
    /// Presses since the current operation began.
    current: Arc<AtomicU32>,
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
        let (sender, presses) = watch::channel(0);
        let current = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&current);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                }
                if counted.fetch_add(1, Ordering::Relaxed) > 0 {
                    // What was acknowledged is on disk, so nothing is lost.
                    std::process::exit(130);
                }
                sender.send_modify(|presses| *presses += 1);
            }
        });
        Ok(Self { presses, current })
    }

    /// Begins an operation: earlier presses do not count for it.
    pub(crate) fn begin(&self) -> Operation {
        self.current.store(0, Ordering::Relaxed);
        let mut presses = self.presses.clone();
        presses.mark_unchanged();
        Operation { presses }
    }
}

/// Something that the user can stop.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    presses: watch::Receiver<u64>,
}

impl Operation {
    /// Returns once the user wants to stop; can be called again and then returns at once.
    pub(crate) async fn interrupted(&mut self) {
        if self.presses.changed().await.is_err() {
            // The listener ends with the runtime.
            std::future::pending::<()>().await;
        }
        self.presses.mark_changed();
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

//! The modes of the terminal that the prompt is at.
//!
//! While a statement runs, keys are neither shown nor gathered into lines by the terminal: it would
//! draw them over results, and of more than a page it would lose the rest. They come to
//! [`type_ahead`](super::type_ahead), Ctrl-C among them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::stdio::stdin;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

/// The modes that the terminal is to be left with.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
/// Whether another program has the terminal.
static LENT: AtomicBool = AtomicBool::new(false);

/// Keeps keys quiet until it is dropped.
#[derive(Debug)]
pub(crate) struct Quiet;

impl Quiet {
    /// Makes the terminal quiet. Where standard input is none, nothing changes.
    pub(crate) fn begin() -> Self {
        if let Ok(modes) = tcgetattr(stdin()) {
            set(&quiet(modes.clone()));
            *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(modes);
        }
        Self
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        restore();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Lends the terminal to another program, as it was before the prompt, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lent;

impl Lent {
    pub(crate) fn begin() -> Self {
        LENT.store(true, Ordering::Relaxed);
        restore();
        Self
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(modes) = before() {
            set(&quiet(modes));
        }
        LENT.store(false, Ordering::Relaxed);
    }
}

/// Tells whether another program has the terminal, and its keys are not ours.
pub(crate) fn is_lent() -> bool {
    LENT.load(Ordering::Relaxed)
}

/// Gives the terminal the modes that it had before, however often it is called.
pub(crate) fn restore() {
    if let Some(modes) = before() {
        set(&modes);
    }
}

fn before() -> Option<Termios> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn quiet(mut modes: Termios) -> Termios {
    modes.local_modes -=
        LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
    // Enter is a carriage return, also for who reads it later.
    modes.input_modes -= InputModes::ICRNL | InputModes::IXON;
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    modes
}

fn set(modes: &Termios) {
    // A terminal that is gone has no modes.
    let _ = tcsetattr(stdin(), OptionalActions::Now, modes);
}

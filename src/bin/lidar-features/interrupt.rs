//! Ctrl-C, hang-up and termination: stop at once, but never leave a half-written file behind.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

static WRITING: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);

/// Exit code of a process that a signal ended, by the shells' convention for Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Installs the handler. Without one (it can be refused) the system's default ends the process.
pub fn install() {
    let installed = ctrlc::set_handler(|| {
        // While a file is being written, the writer is asked to stop and removes it. A second signal does not wait.
        let first = !STOP.swap(true, Ordering::SeqCst);
        if !(first && WRITING.load(Ordering::SeqCst)) {
            std::process::exit(INTERRUPTED);
        }
    });
    if let Err(error) = installed {
        tracing::debug!(%error, "no handler for Ctrl-C");
    }
}

/// Runs `work`, during which signals only ask to stop.
pub fn while_writing<T>(work: impl FnOnce() -> T) -> T {
    set_writing(true);
    let out = work();
    set_writing(false);
    out
}

/// Says whether signals only ask to stop; where they need not any more, one that has come ends the process.
pub fn set_writing(writing: bool) {
    WRITING.store(writing, Ordering::SeqCst);
    if !writing && STOP.load(Ordering::SeqCst) {
        std::process::exit(INTERRUPTED);
    }
}

/// Breaks once a signal has come.
pub fn checkpoint() -> ControlFlow<()> {
    if STOP.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

//! Progress of a call, and its end before time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// Ends calls from another thread. Clones are one token.
///
/// A call that is cancelled returns [`Error::Cancelled`] within a fraction of a second and leaves its engine usable.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that has not been cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every call under this token, now and later.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How far a call is in one pass over its points. A request takes as many passes as it has searches: most take one, heights,
/// counts and features of the neighbours' own neighbourhoods take more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Points that this pass is through with.
    pub done: usize,
    /// Points of this pass.
    pub points: usize,
}

/// Told how far a call is.
pub(crate) type Listener = Arc<dyn Fn(Progress) + Send + Sync>;

/// Who watches a call.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    pub(crate) token: Option<CancelToken>,
    pub(crate) listener: Option<Listener>,
}

impl Watch {
    /// An error once the call is cancelled.
    pub(crate) fn check(&self) -> Result<()> {
        match self.is_cancelled() {
            true => Err(Error::Cancelled),
            false => Ok(()),
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.token.as_ref().is_some_and(CancelToken::is_cancelled)
    }

    pub(crate) fn may_cancel(&self) -> bool {
        self.token.is_some()
    }

    /// Begins a pass over so many points.
    pub(crate) fn pass(&self, points: usize) -> Pass<'_> {
        Pass { watch: self, done: AtomicUsize::new(0), points }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("token", &self.token).finish_non_exhaustive()
    }
}

/// One pass over a call's points, by any number of threads.
#[derive(Debug)]
pub(crate) struct Pass<'w> {
    watch: &'w Watch,
    done: AtomicUsize,
    points: usize,
}

impl Pass<'_> {
    pub(crate) fn add(&self, points: usize) {
        let done = self.done.fetch_add(points, Ordering::Relaxed) + points;
        if let Some(listener) = &self.watch.listener {
            listener(Progress { done, points: self.points });
        }
    }
}

//! Query sets for time stamps, reused from submission to submission. The only place that makes them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;

/// Sets that wait for the next submission: never more than were in use at one time.
#[derive(Debug)]
pub(crate) struct QuerySets<Q = wgpu::QuerySet> {
    idle: Arc<Mutex<Vec<Q>>>,
    reuse: bool,
    made: AtomicU64,
}

/// A set on loan. It may come back before the device is through with it: what its next user submits comes after.
#[derive(Debug)]
pub(crate) struct QuerySet<Q = wgpu::QuerySet> {
    set: Option<Q>,
    home: Option<Arc<Mutex<Vec<Q>>>>,
}

impl<Q> QuerySets<Q> {
    pub(crate) fn new(reuse: bool) -> Self {
        Self { idle: Arc::default(), reuse, made: AtomicU64::new(0) }
    }

    /// An idle set, or a new one.
    pub(crate) fn take(&self, make: impl FnOnce() -> Result<Q>) -> Result<QuerySet<Q>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let set = match idle {
            Some(set) => set,
            None => {
                let set = make()?;
                self.made.fetch_add(1, Relaxed);
                set
            }
        };
        Ok(QuerySet { set: Some(set), home: self.reuse.then(|| self.idle.clone()) })
    }

    /// Sets made so far.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }
}

impl<Q> std::ops::Deref for QuerySet<Q> {
    type Target = Q;
    fn deref(&self) -> &Q {
        // Only `drop` takes the set out.
        self.set.as_ref().expect("a loan holds its query set until it drops")
    }
}

impl<Q> Drop for QuerySet<Q> {
    fn drop(&mut self) {
        if let (Some(set), Some(home)) = (self.set.take(), &self.home) {
            home.lock().unwrap_or_else(PoisonError::into_inner).push(set);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn no_more_sets_are_made_than_are_in_use_at_one_time() {
        let sets = QuerySets::new(true);
        let take = |name| sets.take(|| Ok(name)).unwrap();
        for _ in 0..3 {
            let (first, second) = (take(1), take(2));
            assert_ne!(*first, *second);
        }
        assert_eq!(sets.made(), 2);
        let failed = sets.take(|| Ok(3)).and_then(|_held| {
            let (_more, _again) = (take(4), take(5));
            sets.take(|| Err(Error::DeviceLost(String::new()))).map(|_| ())
        });
        assert!(failed.is_err());
        assert_eq!(sets.made(), 3);
        let sets = QuerySets::new(false);
        (0..2).for_each(|_| drop(sets.take(|| Ok(())).unwrap()));
        assert_eq!(sets.made(), 2);
    }
}

//! Bind groups by what they bind, reused from chunk to chunk. The only place that makes them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;

/// More than the kernels of three chunks under way, in a few orders of their buffers.
const MOST_KEPT: usize = 512;

/// A pipeline and the buffers bound to it, by their numbers. Storage is bound as a whole and uniform blocks by the kernel's
/// kind, so the numbers say which bytes are bound too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Bound {
    pub(crate) pipeline: u64,
    pub(crate) buffers: Vec<u64>,
}

/// Bind groups that were made. Each keeps the memory of its buffers alive: the pool says which buffers it gave up.
#[derive(Debug)]
pub(crate) struct BindGroups<G = wgpu::BindGroup> {
    kept: Mutex<Kept<G>>,
    most: usize,
    made: AtomicU64,
    reused: AtomicU64,
}

#[derive(Debug)]
struct Kept<G> {
    /// Each with when it was last used.
    groups: HashMap<Bound, (G, u64)>,
    uses: u64,
}

impl<G: Clone> BindGroups<G> {
    /// Keeps none unless buffers are reused.
    pub(crate) fn new(reuse: bool) -> Self {
        let kept = Mutex::new(Kept { groups: HashMap::new(), uses: 0 });
        Self { kept, most: if reuse { MOST_KEPT } else { 0 }, made: 0.into(), reused: 0.into() }
    }

    /// The group that binds this, made unless it is there. Whoever asks has the buffers, so that nobody else asks for the
    /// same meanwhile, and the pool does not give them up.
    pub(crate) fn get(&self, bound: Bound, make: impl FnOnce() -> Result<G>) -> Result<G> {
        {
            let mut kept = self.lock();
            kept.uses += 1;
            let now = kept.uses;
            if let Some((group, used)) = kept.groups.get_mut(&bound) {
                *used = now;
                self.reused.fetch_add(1, Relaxed);
                return Ok(group.clone());
            }
        }
        let group = make()?;
        self.made.fetch_add(1, Relaxed);
        let mut kept = self.lock();
        if self.most > 0 {
            if kept.groups.len() >= self.most {
                let oldest = kept.groups.iter().min_by_key(|(_, group)| group.1);
                let oldest = oldest.map(|(bound, _)| bound.clone());
                oldest.and_then(|bound| kept.groups.remove(&bound));
            }
            let now = kept.uses;
            kept.groups.insert(bound, (group.clone(), now));
        }
        Ok(group)
    }

    /// Drops every group that binds this buffer.
    pub(crate) fn forget(&self, buffer: u64) {
        self.lock().groups.retain(|bound, _| !bound.buffers.contains(&buffer));
    }

    /// Groups made and reused so far.
    pub(crate) fn counts(&self) -> [u64; 2] {
        [self.made.load(Relaxed), self.reused.load(Relaxed)]
    }

    fn lock(&self) -> MutexGuard<'_, Kept<G>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::backend::gpu::pool::{Pool, Request};
    use crate::error::Error;

    fn bound(pipeline: u64, buffers: &[u64]) -> Bound {
        Bound { pipeline, buffers: buffers.to_vec() }
    }

    #[test]
    fn a_group_is_made_once_for_a_pipeline_and_its_buffers() {
        let groups = BindGroups::new(true);
        let get =
            |pipeline, buffers: &[u64], name| groups.get(bound(pipeline, buffers), || Ok(name)).unwrap();
        assert_eq!((get(1, &[1, 2], "a"), get(1, &[1, 2], "b")), ("a", "a"));
        assert_eq!((get(2, &[1, 2], "c"), get(1, &[2, 1], "d"), get(1, &[1], "e")), ("c", "d", "e"));
        assert_eq!(groups.counts(), [4, 1]);
        groups.forget(2);
        assert_eq!((get(1, &[1, 2], "f"), get(1, &[1], "g")), ("f", "e"));
        // One that could not be made is asked for again.
        let failed = groups.get(bound(9, &[1]), || Err(Error::DeviceLost(String::new())));
        assert!(failed.is_err());
        assert_eq!(get(9, &[1], "h"), "h");
    }

    #[test]
    fn the_groups_unused_for_longest_go_first_and_without_reuse_all() {
        let groups = BindGroups::new(true);
        for buffer in 0..=MOST_KEPT as u64 {
            groups.get(bound(0, &[buffer]), || Ok(())).unwrap();
            groups.get(bound(0, &[0]), || Ok(())).unwrap();
        }
        assert_eq!(groups.lock().groups.len(), MOST_KEPT);
        let has = |buffer| groups.lock().groups.contains_key(&bound(0, &[buffer]));
        assert!(has(0) && !has(1) && has(2) && has(MOST_KEPT as u64));
        let groups = BindGroups::new(false);
        (0..2).for_each(|_| groups.get(bound(0, &[1]), || Ok(())).unwrap());
        assert_eq!((groups.counts(), groups.lock().groups.len()), ([2, 0], 0));
    }

    /// Groups hold their buffers here too: what the pool gives up has no other holder.
    #[test]
    fn a_group_holds_no_buffer_that_the_pool_gave_up() {
        let groups: Arc<BindGroups<Arc<u64>>> = Arc::new(BindGroups::new(true));
        let told = groups.clone();
        let pool: Pool<Arc<u64>, u8> = Pool::new(1 << 20, |bytes, _| Ok(Arc::new(bytes)));
        let pool = pool.telling(move |buffer| told.forget(buffer));
        let bind = |bytes| {
            let loan = pool.acquire(Request::exactly(bytes, 0), 0, "it").unwrap();
            groups.get(bound(0, &[loan.number()]), || Ok((*loan).clone())).unwrap();
            loan
        };
        let bind_and_return = |bytes, spoil: bool| {
            let loan = bind(bytes);
            if spoil {
                loan.spoil();
            }
            Arc::downgrade(&loan)
        };
        assert!(bind_and_return(1 << 14, true).upgrade().is_none(), "spoiled");
        let idle = bind_and_return(700 << 10, false);
        assert!(idle.upgrade().is_some());
        let large = bind_and_return(400 << 10, false);
        assert!(idle.upgrade().is_none() && large.upgrade().is_some(), "over the limit");
        pool.trim();
        assert!(large.upgrade().is_none(), "trimmed");
    }
}

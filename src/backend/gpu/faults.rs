//! Where tests make the device fail. In any other build nothing is there to fail.

/// Steps that can be made to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// A buffer is about to be created: the device is out of memory.
    Allocate,
    /// A shader module: its text is no WGSL.
    Shader,
    /// A pipeline: its entry point does not exist.
    Pipeline,
    BeforeSubmit,
    /// Commands are about to be finished: one of them is invalid.
    Submit,
    /// Commands are finished and not yet submitted.
    DuringSubmit,
    AfterSubmit,
    /// A wait begins: it ends at once, with nothing to show.
    Wait,
    /// A buffer is about to be mapped: it is destroyed.
    Map,
    /// Mapped memory is being looked at.
    Mapped,
}

#[cfg(not(test))]
pub(crate) use none::Faults;
#[cfg(test)]
pub(crate) use planted::{Faults, Kind};

#[cfg(not(test))]
mod none {
    use super::super::device::Device;
    use super::Site;

    /// No faults.
    #[derive(Debug)]
    pub(crate) struct Faults;

    impl Faults {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) const fn reach(&self, _: &Device, _: Site) -> bool {
            false
        }
    }
}

#[cfg(test)]
mod planted {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Mutex, PoisonError};

    use super::super::device::Device;
    use super::Site;

    const SITES: usize = Site::Mapped as usize + 1;

    /// What happens when a fault's turn has come.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Kind {
        /// The step goes wrong in its own way.
        Step,
        /// The application destroys the device, on a thread of its own: wgpu says so when its queue is empty.
        Destroy,
        /// The driver says that the device is lost.
        Loss,
        Panic,
    }

    #[derive(Debug)]
    struct Armed {
        site: Site,
        kind: Kind,
        first: usize,
        times: usize,
    }

    /// At most one fault, and how often each step was reached.
    #[derive(Debug, Default)]
    pub(crate) struct Faults {
        reached: [AtomicUsize; SITES],
        armed: Mutex<Option<Armed>>,
        fired: AtomicUsize,
    }

    impl Faults {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        /// Plants a fault at the `first`-th time that a step is reached from now on, and at the next ones.
        pub(crate) fn arm(&self, site: Site, kind: Kind, first: usize, times: usize) {
            self.disarm();
            *self.armed.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Armed { site, kind, first, times });
        }

        /// Takes the fault away and begins to count anew; how often it happened.
        pub(crate) fn disarm(&self) -> usize {
            *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.reached.iter().for_each(|count| count.store(0, SeqCst));
            self.fired.swap(0, SeqCst)
        }

        /// How often a step was reached.
        pub(crate) fn reached(&self, site: Site) -> usize {
            self.reached[site as usize].load(SeqCst)
        }

        pub(crate) fn reach(&self, device: &Device, site: Site) -> bool {
            let now = self.reached[site as usize].fetch_add(1, SeqCst);
            let kind = {
                let armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
                let due = |a: &&Armed| a.site == site && now >= a.first && now - a.first < a.times;
                match armed.as_ref().filter(due) {
                    Some(armed) => armed.kind,
                    None => return false,
                }
            };
            self.fired.fetch_add(1, SeqCst);
            match kind {
                Kind::Step => return true,
                Kind::Destroy => std::thread::scope(|scope| {
                    scope.spawn(|| device.device.destroy());
                }),
                Kind::Loss => device.lose("Unknown: planted by a test".to_owned()),
                Kind::Panic => panic!("planted by a test"),
            }
            false
        }
    }
}

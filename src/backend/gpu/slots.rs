//! Several chunks at a time: while the device computes one, the host packs the next and takes the last one's results.
//!
//! Each slot is a thread that goes through whole chunks, one after the other. The device has one queue, so what hides
//! behind its work is the host's side.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::report::Report;

/// Ends the other slots when one of them ends early, in an error or a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Does `work` for the numbers below `n`, as many at a time as there are slots, whose own numbers it gets first; the error of
/// the first that failed.
pub(super) fn each(
    slots: usize,
    n: usize,
    report: &mut Report,
    work: impl Fn(usize, usize, &mut Report) -> Result<()> + Sync,
) -> Result<()> {
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = |slot: usize, report: &mut Report| {
        let stop = Stop(&stopped);
        while !stopped.load(Ordering::Acquire) {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n {
                // Those that are under way go on to their end.
                std::mem::forget(stop);
                return Ok(());
            }
            work(slot, i, report).map_err(|error| (i, error))?;
        }
        Ok(())
    };
    let slots = slots.clamp(1, n.max(1));
    let mut failures: Vec<(usize, Error)> = Vec::new();
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..slots)
            .map(|number| {
                let mut own = report.for_a_part();
                let run = &run;
                scope.spawn(move || {
                    let done = run(number, &mut own);
                    (done, own)
                })
            })
            .collect();
        failures.extend(run(0, report).err());
        for other in others {
            match other.join() {
                Ok((done, own)) => {
                    report.take_in(own);
                    failures.extend(done.err());
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    match failures.into_iter().min_by_key(|failure| failure.0) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Duration;

    #[test]
    fn every_number_is_worked_on_once() {
        for slots in [1, 2, 3, 9] {
            let seen = Mutex::new(vec![0; 50]);
            let mut report = Report::default();
            each(slots, 50, &mut report, |_, i, own| {
                seen.lock().unwrap()[i] += 1;
                own.stragglers += i;
                own.add("work", Duration::from_secs(1));
                Ok(())
            })
            .unwrap();
            assert!(seen.into_inner().unwrap().iter().all(|times| *times == 1));
            assert_eq!((report.stragglers, report.stages.as_slice()), (49 * 25, &[("work", 50.0)][..]));
        }
    }

    #[test]
    fn the_first_error_ends_all() {
        for slots in [1, 3] {
            let begun = AtomicUsize::new(0);
            let failed = each(slots, 1000, &mut Report::default(), |_, i, _| {
                begun.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
                match i {
                    7.. => Err(Error::Timeout { stage: "here", seconds: i as u64 }),
                    _ => Ok(()),
                }
            });
            assert!(matches!(failed, Err(Error::Timeout { seconds: 7, .. })));
            assert!(begun.into_inner() < 20);
        }
    }

    #[test]
    fn a_panic_ends_all() {
        let caught = std::panic::catch_unwind(|| {
            each(2, 1000, &mut Report::default(), |_, i, _| {
                assert!(i < 3, "this one");
                std::thread::sleep(Duration::from_millis(1));
                Ok(())
            })
        });
        assert!(caught.is_err());
    }
}

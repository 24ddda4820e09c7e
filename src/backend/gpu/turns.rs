//! One call at a time, in the order in which they came. A mutex would let a thread that calls again and again keep the
//! others waiting, and a call that waits for it could not be cancelled.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Result;
use crate::watch::Watch;

/// How soon a waiting call sees that it was cancelled.
const LOOK: Duration = Duration::from_millis(10);

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queue: Mutex<Queue>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// The first has its turn.
    calls: VecDeque<u64>,
    last: u64,
}

/// A place in the queue until it drops.
#[derive(Debug)]
pub(super) struct Turn<'t> {
    turns: &'t Turns,
    number: u64,
}

impl Turns {
    /// Waits for those that came before.
    pub(super) fn take(&self, watch: &Watch) -> Result<Turn<'_>> {
        let number = {
            let mut queue = self.lock();
            queue.last += 1;
            let number = queue.last;
            queue.calls.push_back(number);
            number
        };
        let turn = Turn { turns: self, number };
        loop {
            watch.check()?;
            let queue = self.lock();
            if queue.calls.front() == Some(&number) {
                break;
            }
            drop(self.moved.wait_timeout(queue, LOOK).unwrap_or_else(PoisonError::into_inner));
        }
        Ok(turn)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.lock().calls.retain(|call| *call != self.number);
        self.turns.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::error::Error;
    use crate::watch::CancelToken;

    #[test]
    fn calls_go_one_by_one_in_their_order() {
        let turns = Turns::default();
        let (inside, order) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let first = turns.take(&Watch::default()).unwrap();
        std::thread::scope(|scope| {
            for i in 0..6 {
                let (turns, inside, order) = (&turns, &inside, &order);
                scope.spawn(move || {
                    let turn = turns.take(&Watch::default()).unwrap();
                    assert_eq!(inside.fetch_add(1, SeqCst), 0);
                    order.lock().unwrap().push(i);
                    std::thread::sleep(Duration::from_millis(2));
                    inside.fetch_sub(1, SeqCst);
                    drop(turn);
                });
                while turns.lock().calls.len() < i + 2 {
                    std::thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_cancelled_call_leaves_the_queue() {
        let turns = Turns::default();
        let token = CancelToken::new();
        let watch = Watch { token: Some(token.clone()), ..Watch::default() };
        let first = turns.take(&Watch::default()).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| turns.take(&watch).map(|_| ()));
            while turns.lock().calls.len() < 2 {
                std::thread::yield_now();
            }
            token.cancel();
            assert!(matches!(waits.join().unwrap(), Err(Error::Cancelled)));
        });
        assert_eq!(turns.lock().calls.len(), 1);
        drop(first);
        drop(turns.take(&Watch::default()).unwrap());
    }
}

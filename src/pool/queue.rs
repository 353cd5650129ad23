//! Who gets the next backend: among tenants (or users, where there are none) the one who holds the fewest, among one's
//! clients the one who came first.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use tokio::time::Instant;

use super::LeaseError;
use super::backend::Backend;

/// A tenant's or user's place in a pool's queue.
#[derive(Debug)]
pub(super) struct Line {
    /// Backends that its clients hold.
    pub held: Cell<usize>,
    pub waiters: RefCell<VecDeque<Rc<Waiter>>>,
}

impl Line {
    pub fn new() -> Rc<Self> {
        Rc::new(Self { held: Cell::new(0), waiters: RefCell::new(VecDeque::new()) })
    }

    fn oldest(&self) -> Option<Instant> {
        self.waiters.borrow().front().map(|waiter| waiter.since)
    }
}

/// A client that waits for a backend.
#[derive(Debug)]
pub(super) struct Waiter {
    pub since: Instant,
    pub granted: RefCell<Option<Result<Box<Backend>, LeaseError>>>,
    pub waker: RefCell<Option<Waker>>,
}

impl Waiter {
    pub fn new() -> Rc<Self> {
        Rc::new(Self { since: Instant::now(), granted: RefCell::new(None), waker: RefCell::new(None) })
    }

    pub fn grant(&self, outcome: Result<Box<Backend>, LeaseError>) {
        *self.granted.borrow_mut() = Some(outcome);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// The lines in which somebody waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: Vec<Rc<Line>>,
    length: usize,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn oldest(&self) -> Option<Instant> {
        self.lines.iter().filter_map(|line| line.oldest()).min()
    }

    pub fn join(&mut self, line: &Rc<Line>) -> Rc<Waiter> {
        let waiter = Waiter::new();
        if line.waiters.borrow().is_empty() {
            self.lines.push(line.clone());
        }
        line.waiters.borrow_mut().push_back(waiter.clone());
        self.length += 1;
        waiter
    }

    /// The waiter whose turn it is, taken out of the queue; its line holds one more backend, should it be granted one.
    pub fn next(&mut self) -> Option<(Rc<Line>, Rc<Waiter>)> {
        let line = self.lines.iter().min_by_key(|line| (line.held.get(), line.oldest()))?.clone();
        let waiter = line.waiters.borrow_mut().pop_front()?;
        self.length -= 1;
        self.tidy(&line);
        Some((line, waiter))
    }

    /// A waiter gives up.
    pub fn leave(&mut self, line: &Rc<Line>, waiter: &Rc<Waiter>) {
        let mut waiters = line.waiters.borrow_mut();
        let before = waiters.len();
        waiters.retain(|other| !Rc::ptr_eq(other, waiter));
        self.length -= before - waiters.len();
        drop(waiters);
        self.tidy(line);
    }

    /// Takes out every waiter that has waited since before `moment`.
    pub fn expire(&mut self, moment: Instant) -> Vec<Rc<Waiter>> {
        let mut expired = Vec::new();
        for line in &self.lines {
            let mut waiters = line.waiters.borrow_mut();
            while waiters.front().is_some_and(|waiter| waiter.since <= moment) {
                expired.extend(waiters.pop_front());
            }
        }
        self.length -= expired.len();
        self.lines.retain(|line| !line.waiters.borrow().is_empty());
        expired
    }

    /// Takes out every waiter.
    pub fn clear(&mut self) -> Vec<Rc<Waiter>> {
        self.length = 0;
        self.lines.drain(..).flat_map(|line| std::mem::take(&mut *line.waiters.borrow_mut())).collect()
    }

    fn tidy(&mut self, line: &Rc<Line>) {
        if line.waiters.borrow().is_empty() {
            self.lines.retain(|other| !Rc::ptr_eq(other, line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_user_with_the_fewest_backends_is_served_first() {
        let (noisy, quiet) = (Line::new(), Line::new());
        let mut queue = Queue::default();
        noisy.held.set(3);
        for _ in 0..5 {
            queue.join(&noisy);
        }
        queue.join(&quiet);
        let (line, _) = queue.next().unwrap();
        assert!(Rc::ptr_eq(&line, &quiet));
        assert!(Rc::ptr_eq(&queue.next().unwrap().0, &noisy));
        assert_eq!(queue.len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_users_clients_are_served_in_order_and_may_leave() {
        let line = Line::new();
        let mut queue = Queue::default();
        let first = queue.join(&line);
        tokio::time::advance(std::time::Duration::from_millis(5)).await;
        let second = queue.join(&line);
        let third = queue.join(&line);
        queue.leave(&line, &second);
        assert!(Rc::ptr_eq(&queue.next().unwrap().1, &first));
        assert!(Rc::ptr_eq(&queue.next().unwrap().1, &third));
        assert!(queue.next().is_none() && queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_waited_too_long_are_taken_out() {
        let line = Line::new();
        let mut queue = Queue::default();
        let old = queue.join(&line);
        tokio::time::advance(std::time::Duration::from_millis(50)).await;
        queue.join(&line);
        let expired = queue.expire(old.since);
        assert_eq!(expired.len(), 1);
        assert!(Rc::ptr_eq(&expired[0], &old));
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.clear().len(), 1);
        assert!(queue.is_empty());
    }
}

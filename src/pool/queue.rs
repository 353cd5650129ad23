//! Who gets the next backend: among tenants (or users, where there are none) the one who holds the fewest, among one's
//! clients the one who came first. A tenant that has as many transactions as it may is passed over, and is in nobody's way.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use tokio::time::Instant;

use super::LeaseError;
use super::backend::Backend;
use super::tenants::TenantShare;

/// A tenant's or user's place in a pool's queue.
#[derive(Debug)]
pub(super) struct Line {
    /// Backends that its clients hold.
    pub held: Cell<usize>,
    pub waiters: RefCell<VecDeque<Rc<Waiter>>>,
    pub tenant: Option<Rc<TenantShare>>,
    epoch: Instant,
}

impl Line {
    /// `epoch`: when the process began.
    pub fn new(tenant: Option<Rc<TenantShare>>, epoch: Instant) -> Rc<Self> {
        Rc::new(Self { held: Cell::new(0), waiters: RefCell::new(VecDeque::new()), tenant, epoch })
    }

    /// One of its clients gets a backend; not if the tenant has as many as it may.
    pub fn take(&self) -> bool {
        let taken = self.tenant.as_ref().is_none_or(|tenant| tenant.begin());
        self.held.set(self.held.get() + usize::from(taken));
        taken
    }

    pub fn give_back(&self) {
        self.held.set(self.held.get() - 1);
        if let Some(tenant) = &self.tenant {
            tenant.end();
        }
    }

    /// A client that comes now may have a backend.
    pub fn may_take(&self) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| tenant.may_begin(None))
    }

    /// Its first waiter may have a backend.
    fn is_served(&self) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| tenant.may_begin(self.oldest_us()))
    }

    /// How many of its waiters may have a backend.
    fn wanting(&self) -> usize {
        let room = if self.is_served() { self.tenant.as_ref().map_or(usize::MAX, |tenant| tenant.room()) } else { 0 };
        self.waiters.borrow().len().min(room)
    }

    fn oldest_us(&self) -> Option<u64> {
        self.oldest().map(|since| since.duration_since(self.epoch).as_micros() as u64)
    }

    /// Tells the other workers since when the tenant's clients wait here.
    pub fn say_waiting(&self) {
        if let Some(tenant) = &self.tenant {
            tenant.set_waiting(self.oldest_us());
        }
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

    /// Nobody waits who could be given a backend.
    pub fn is_served(&self) -> bool {
        !self.lines.iter().any(|line| line.is_served())
    }

    /// Since when the oldest waits who could be given a backend.
    pub fn oldest_wanting(&self) -> Option<Instant> {
        self.lines.iter().filter(|line| line.is_served()).filter_map(|line| line.oldest()).min()
    }

    /// Waiters who could be given a backend.
    pub fn wanting(&self) -> usize {
        self.lines.iter().fold(0, |sum, line| sum.saturating_add(line.wanting()))
    }

    /// The queue has no room for one more of this line. Where it is full, a line may still have its even share of it.
    pub fn is_full(&self, line: &Line, max: usize) -> bool {
        self.length >= max && line.waiters.borrow().len() >= max / self.lines.len().max(1)
    }

    pub fn join(&mut self, line: &Rc<Line>) -> Rc<Waiter> {
        let waiter = Waiter::new();
        if line.waiters.borrow().is_empty() {
            self.lines.push(line.clone());
        }
        line.waiters.borrow_mut().push_back(waiter.clone());
        self.length += 1;
        line.say_waiting();
        waiter
    }

    /// The waiter whose turn it is, taken out of the queue; its line holds one more backend.
    pub fn next(&mut self) -> Option<Rc<Waiter>> {
        let line = loop {
            let served = self.lines.iter().filter(|line| line.is_served());
            let line = served.min_by_key(|line| (line.held.get(), line.oldest()))?.clone();
            // Where another worker was quicker with the tenant's last place, it is the next line's turn.
            if line.take() {
                break line;
            }
        };
        let waiter = line.waiters.borrow_mut().pop_front()?;
        self.length -= 1;
        self.tidy(&line);
        Some(waiter)
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
        self.lines.iter().for_each(|line| line.say_waiting());
        self.lines.retain(|line| !line.waiters.borrow().is_empty());
        expired
    }

    /// Takes out every waiter.
    pub fn clear(&mut self) -> Vec<Rc<Waiter>> {
        self.length = 0;
        let mut waiters = Vec::new();
        for line in self.lines.drain(..) {
            waiters.extend(std::mem::take(&mut *line.waiters.borrow_mut()));
            line.say_waiting();
        }
        waiters
    }

    fn tidy(&mut self, line: &Rc<Line>) {
        line.say_waiting();
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
        let (noisy, quiet) = (line(None), line(None));
        let mut queue = Queue::default();
        noisy.held.set(3);
        let first = queue.join(&noisy);
        for _ in 0..4 {
            queue.join(&noisy);
        }
        let other = queue.join(&quiet);
        assert!(Rc::ptr_eq(&queue.next().unwrap(), &other));
        assert!(Rc::ptr_eq(&queue.next().unwrap(), &first));
        assert_eq!((queue.len(), noisy.held.get(), quiet.held.get()), (4, 4, 1));
    }

    #[tokio::test]
    async fn a_tenant_at_its_limit_is_passed_over_until_it_gives_back() {
        let (limited, free) = (line(Some(1)), line(None));
        let mut queue = Queue::default();
        assert!(limited.take() && !limited.take() && !limited.may_take());
        let first = queue.join(&limited);
        assert!(queue.next().is_none() && queue.is_served() && !queue.is_empty());
        assert_eq!((queue.wanting(), queue.oldest_wanting()), (0, None));
        for _ in 0..2 {
            free.held.set(9);
            let other = queue.join(&free);
            assert!(Rc::ptr_eq(&queue.next().unwrap(), &other));
        }
        limited.give_back();
        queue.join(&limited);
        assert_eq!(queue.wanting(), 1);
        assert!(Rc::ptr_eq(&queue.next().unwrap(), &first));
        assert!(queue.next().is_none());
    }

    #[tokio::test]
    async fn a_full_queue_has_room_for_a_line_with_less_than_its_share() {
        let (noisy, quiet) = (line(None), line(None));
        let mut queue = Queue::default();
        for _ in 0..10 {
            assert!(!queue.is_full(&noisy, 10));
            queue.join(&noisy);
        }
        assert!(queue.is_full(&noisy, 10) && !queue.is_full(&quiet, 10));
        for _ in 0..5 {
            queue.join(&quiet);
        }
        assert!(queue.is_full(&quiet, 10));
    }

    fn line(transactions: Option<u32>) -> Rc<Line> {
        let limits = crate::config::Limits { transactions, ..Default::default() };
        let tenant = TenantShare::new("acme".into(), limits, crate::pool::tenants::TenantUse::new(1), 0);
        Line::new(transactions.map(|_| tenant), Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn a_users_clients_are_served_in_order_and_may_leave() {
        let line = line(None);
        let mut queue = Queue::default();
        let first = queue.join(&line);
        tokio::time::advance(std::time::Duration::from_millis(5)).await;
        let second = queue.join(&line);
        let third = queue.join(&line);
        queue.leave(&line, &second);
        assert!(Rc::ptr_eq(&queue.next().unwrap(), &first));
        assert!(Rc::ptr_eq(&queue.next().unwrap(), &third));
        assert!(queue.next().is_none() && queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_waited_too_long_are_taken_out() {
        let line = line(None);
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

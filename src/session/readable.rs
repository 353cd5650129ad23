//! Which of a session's two sockets may have something to read.
//!
//! Each wakes the session's task through a waker of its own, which remembers that it was called: a read that finds nothing
//! registers the task anew, with locks and atomics, and would be half of all reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// For one socket: whether it may have become readable since a read found nothing.
#[derive(Debug, Default)]
pub(super) struct Readable {
    /// None before the first read.
    side: Option<(Arc<Side>, Waker)>,
    /// Nothing is there as far as is known, and the socket has not been asked yet to call when there is.
    unasked: bool,
}

#[derive(Debug)]
struct Side {
    ready: AtomicBool,
    task: Waker,
}

impl Wake for Side {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Readable {
    /// Whether a read may find something: none has found nothing before, or the socket has called since.
    #[inline]
    pub fn may_be(&self) -> bool {
        self.side.as_ref().is_none_or(|(side, _)| side.ready.load(Ordering::Acquire))
    }

    /// Reads. `task`: whom the socket wakes; `is_all`: what was read is all that there is for now, and nobody is woken when there
    /// is more: [`Readable::listen`] sees to it.
    pub fn poll<T>(
        &mut self,
        task: &Waker,
        read: impl FnOnce(&mut Context<'_>) -> Poll<T>,
        is_all: impl FnOnce(&T) -> bool,
    ) -> Poll<T> {
        let (side, waker) = match &mut self.side {
            Some((side, waker)) if side.task.will_wake(task) => (&*side, &*waker),
            unknown => {
                let side = Arc::new(Side { ready: AtomicBool::new(true), task: task.clone() });
                let waker = Waker::from(side.clone());
                let (side, waker) = unknown.insert((side, waker));
                (&*side, &*waker)
            }
        };
        // Before the read: what arrives while it runs counts.
        side.ready.store(false, Ordering::Relaxed);
        let read = read(&mut Context::from_waker(waker));
        let is_all = match &read {
            Poll::Ready(read) => Some(is_all(read)),
            Poll::Pending => None,
        };
        self.unasked = is_all == Some(true);
        if is_all == Some(false) {
            side.ready.store(true, Ordering::Relaxed);
        }
        read
    }

    /// To be called before nothing is done until a socket calls: asks it to, where it has not been asked yet. `ask`: ready, where
    /// there is something now. False: read first.
    pub fn listen(&mut self, task: &Waker, ask: impl FnOnce(&mut Context<'_>) -> Poll<()>) -> bool {
        if !std::mem::take(&mut self.unasked) {
            return true;
        }
        match &self.side {
            Some((side, waker)) if side.task.will_wake(task) => {
                let is_ready = ask(&mut Context::from_waker(waker)).is_ready();
                if is_ready {
                    side.ready.store(true, Ordering::Relaxed);
                }
                !is_ready
            }
            Some(_) | None => {
                self.doubt();
                false
            }
        }
    }

    /// The socket was read without asking here, or another task is to be woken.
    pub fn doubt(&mut self) {
        self.unasked = false;
        if let Some((side, _)) = &self.side {
            side.ready.store(true, Ordering::Relaxed);
        }
    }

    /// The socket is another one, and when somebody looked last there was nothing to read.
    pub fn renew(&mut self) {
        if let Some((side, _)) = &self.side {
            side.ready.store(false, Ordering::Relaxed);
            self.unasked = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that is polled by hand.
    #[derive(Default)]
    struct Socket {
        waits: Option<Waker>,
        bytes: usize,
    }

    impl Socket {
        fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
            if self.bytes == 0 {
                self.waits = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(std::mem::take(&mut self.bytes))
        }

        fn ask(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            self.waits = Some(cx.waker().clone());
            if self.bytes > 0 { Poll::Ready(()) } else { Poll::Pending }
        }

        fn arrive(&mut self, bytes: usize) {
            self.bytes += bytes;
            if let Some(waker) = self.waits.take() {
                waker.wake();
            }
        }
    }

    #[derive(Default)]
    struct Task(std::sync::atomic::AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_socket_that_has_said_nothing_is_not_read_again() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(task.clone());
        let (mut readable, mut socket) = (Readable::default(), Socket::default());
        assert!(readable.may_be());
        assert_eq!(readable.poll(&waker, |cx| socket.poll(cx), |_| false), Poll::Pending);
        assert!(!readable.may_be());
        socket.arrive(5);
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        assert!(readable.may_be());
        assert_eq!(readable.poll(&waker, |cx| socket.poll(cx), |_| false), Poll::Ready(5));
        // There may be more.
        assert!(readable.may_be());
        assert_eq!(readable.poll(&waker, |cx| socket.poll(cx), |_| false), Poll::Pending);
        assert!(!readable.may_be());
    }

    #[test]
    fn what_is_all_for_now_is_not_looked_behind() {
        let waker = Waker::from(Arc::new(Task::default()));
        let (mut readable, mut socket) = (Readable::default(), Socket::default());
        socket.arrive(5);
        assert_eq!(readable.poll(&waker, |cx| socket.poll(cx), |_| true), Poll::Ready(5));
        assert!(!readable.may_be());
        assert!(readable.listen(&waker, |cx| socket.ask(cx)) && !readable.may_be());
        socket.arrive(1);
        assert!(readable.may_be());
        // Woken while it reads, as a task is that has used up its turn: there may be more, whatever the read says.
        let read = readable.poll(
            &waker,
            |cx| {
                cx.waker().wake_by_ref();
                socket.poll(cx)
            },
            |_| true,
        );
        assert_eq!(read, Poll::Ready(1));
        assert!(readable.may_be());
    }

    #[test]
    fn what_came_before_it_was_asked_is_read() {
        let (one, other) = (Waker::from(Arc::new(Task::default())), Waker::from(Arc::new(Task::default())));
        let (mut readable, mut socket) = (Readable::default(), Socket::default());
        // Before the first read there is nobody to be asked for.
        readable.renew();
        assert!(readable.may_be());
        for renewed in [false, true] {
            socket.arrive(5);
            assert_eq!(readable.poll(&one, |cx| socket.poll(cx), |_| true), Poll::Ready(5));
            if renewed {
                socket = Socket::default();
                readable.renew();
            }
            socket.arrive(7);
            assert!(!readable.may_be(), "nobody has told");
            assert!(!readable.listen(&one, |cx| socket.ask(cx)) && readable.may_be());
            assert_eq!(readable.poll(&one, |cx| socket.poll(cx), |_| true), Poll::Ready(7));
            // For another task it is read anew, and asked by the read.
            assert!(!readable.listen(&other, |_| panic!("on whose behalf?")) && readable.may_be());
            assert_eq!(readable.poll(&other, |cx| socket.poll(cx), |_| true), Poll::Pending);
            assert!(readable.listen(&other, |_| panic!("twice")) && !readable.may_be());
            socket.arrive(1);
            assert!(readable.may_be());
            assert_eq!(readable.poll(&other, |cx| socket.poll(cx), |_| true), Poll::Ready(1));
        }
        // A doubt reads, whatever was to be asked.
        socket.arrive(3);
        assert_eq!(readable.poll(&one, |cx| socket.poll(cx), |_| true), Poll::Ready(3));
        readable.doubt();
        assert!(readable.listen(&one, |_| panic!("the read asks")) && readable.may_be());
    }

    #[test]
    fn another_task_or_a_doubt_reads_again() {
        let (one, other) = (Arc::new(Task::default()), Arc::new(Task::default()));
        let (mut readable, mut socket) = (Readable::default(), Socket::default());
        assert_eq!(readable.poll(&one.clone().into(), |cx| socket.poll(cx), |_| false), Poll::Pending);
        readable.doubt();
        assert!(readable.may_be());
        assert_eq!(readable.poll(&other.clone().into(), |cx| socket.poll(cx), |_| false), Poll::Pending);
        assert!(!readable.may_be());
        socket.arrive(1);
        assert!(readable.may_be());
        assert_eq!((one.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed)), (0, 1));
    }

    #[test]
    fn what_arrives_while_a_read_runs_counts() {
        let waker = Waker::from(Arc::new(Task::default()));
        let (mut readable, mut socket) = (Readable::default(), Socket::default());
        let read = readable.poll(
            &waker,
            |cx| {
                let read = socket.poll(cx);
                socket.arrive(7);
                read
            },
            |_| false,
        );
        assert_eq!(read, Poll::Pending);
        assert!(readable.may_be());
        assert_eq!(readable.poll(&waker, |cx| socket.poll(cx), |_| false), Poll::Ready(7));
    }
}

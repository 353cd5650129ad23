//! One connection's stream, whatever carries it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use rustix::net::{RecvFlags, SendFlags};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::tls::{TlsInfo, TlsStream};
use crate::config::Keepalive;

/// A connected stream.
///
/// Reading and writing are the `AsyncRead` and `AsyncWrite` of what carries it: cancel safe where those are, which all
/// of them are per poll.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream>),
    /// Both ends in this process: scripted peers in tests.
    Memory(DuplexStream),
}

/// A plain stream outside of any runtime, on its way from one worker to another.
#[derive(Debug)]
pub enum StdStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// Who is at the other end, by the kernel's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    Tcp(SocketAddr),
    /// Credentials at the time of connecting.
    Unix {
        uid: u32,
        pid: Option<i32>,
    },
    /// The other end is in this process.
    Memory,
    /// Already disconnected: nothing is known, and nothing may be assumed.
    Gone,
}

impl Peer {
    /// On this machine: loopback or a Unix socket.
    pub fn is_local(&self) -> bool {
        match self {
            Peer::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Peer::Unix { .. } | Peer::Memory => true,
            Peer::Gone => false,
        }
    }
}

impl std::fmt::Display for Peer {
    /// `ip:port`, or `unix`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix { .. } => f.write_str("unix"),
            Peer::Memory => f.write_str("memory"),
            Peer::Gone => f.write_str("gone"),
        }
    }
}

impl Stream {
    /// Asks the kernel each time: keep the answer.
    pub fn peer(&self) -> Peer {
        match self {
            Stream::Tcp(tcp) => tcp.peer_addr().map_or(Peer::Gone, Peer::Tcp),
            Stream::Unix(unix) => {
                unix.peer_cred().map_or(Peer::Gone, |cred| Peer::Unix { uid: cred.uid(), pid: cred.pid() })
            }
            Stream::Tls(tls) => tls.carrier().peer(),
            Stream::Memory(_) => Peer::Memory,
        }
    }

    /// What the TLS handshake settled; absent on plain streams.
    pub fn tls_info(&self) -> Option<&TlsInfo> {
        match self {
            Stream::Tls(tls) => Some(tls.info()),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Memory(_) => None,
        }
    }

    /// True while neither data nor an end has come: an idle connection is still good. Does not wait.
    ///
    /// Call it only when no task waits to read. On TLS a byte may be consumed when the answer is no, so a stream that
    /// is not quiet must be closed.
    pub fn is_quiet(&mut self) -> bool {
        match self {
            Stream::Tcp(tcp) => nothing_to_read(SockRef::from(&*tcp)),
            Stream::Unix(unix) => nothing_to_read(SockRef::from(&*unix)),
            Stream::Tls(tls) => {
                if tls.carrier_mut().is_quiet() {
                    return nothing_decoded(&mut **tls);
                }
                // Perhaps a session ticket or a key update, which are no data: let TLS read it, then look again.
                nothing_decoded(&mut **tls) && tls.carrier_mut().is_quiet()
            }
            Stream::Memory(memory) => nothing_decoded(memory),
        }
    }

    /// What was written may wait inside until it is flushed.
    pub fn buffers_writes(&self) -> bool {
        match self {
            Stream::Tls(_) => true,
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Memory(_) => false,
        }
    }

    /// The runtime has been told of data or an end, and nobody has read it. Costs no system call; what the runtime has
    /// not been told yet it does not see: [`Stream::is_quiet`] does.
    ///
    /// Whoever waits to read waits on.
    pub fn has_event(&self) -> bool {
        match self {
            Stream::Tcp(tcp) => tcp.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Stream::Unix(unix) => unix.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Stream::Tls(_) | Stream::Memory(_) => true,
        }
    }

    /// Whether the runtime has been told of data or an end, or may have been; otherwise `cx` is woken when it is.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Stream::Tcp(tcp) => tcp.poll_read_ready(cx).map(drop),
            Stream::Unix(unix) => unix.poll_read_ready(cx).map(drop),
            Stream::Tls(_) | Stream::Memory(_) => Poll::Ready(()),
        }
    }

    /// Reads once, and says whether that was all there is for now: then nobody is woken when there is more, before
    /// [`Stream::poll_readable`] was asked. Where nothing is there, `cx` is woken when something is.
    ///
    /// What `AsyncRead` tells in two calls: the second one only asks the runtime again, and that costs as much as a small read.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<Received>> {
        let mut partial = None;
        let tried = match self {
            Stream::Tcp(tcp) => tcp.try_io(Interest::READABLE, || receive(&*tcp, room, &mut partial)),
            Stream::Unix(unix) => unix.try_io(Interest::READABLE, || receive(&*unix, room, &mut partial)),
            Stream::Tls(_) | Stream::Memory(_) => Err(io::ErrorKind::WouldBlock.into()),
        };
        if let Some(count) = partial {
            return Poll::Ready(Ok(Received { count, is_all: true }));
        }
        match tried {
            Ok(count) => Poll::Ready(Ok(Received { count, is_all: false })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut buffer = ReadBuf::new(room);
                let read = ready!(Pin::new(self).poll_read(cx, &mut buffer));
                Poll::Ready(read.map(|()| Received { count: buffer.filled().len(), is_all: false }))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Reads what the runtime was not told of: see [`Stream::set_receive_low_water`]. Whoever waits for the runtime's word waits on.
    pub fn receive_untold(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        let mut partial = None;
        let read = match self {
            Stream::Tcp(tcp) => receive(tcp, room, &mut partial),
            Stream::Unix(_) | Stream::Tls(_) | Stream::Memory(_) => Err(io::ErrorKind::WouldBlock.into()),
        };
        match read {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(partial),
            Err(error) => Err(error),
        }
    }

    /// Writes once; `cx` is woken where nothing can be written now.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Most writes find room: then the runtime need not be asked to remember who waits.
        let tried = match self {
            Stream::Tcp(tcp) => tcp.try_io(Interest::WRITABLE, || send(&*tcp, bytes)),
            Stream::Unix(unix) => unix.try_io(Interest::WRITABLE, || send(&*unix, bytes)),
            Stream::Tls(_) | Stream::Memory(_) => Err(io::ErrorKind::WouldBlock.into()),
        };
        match tried {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Pin::new(self).poll_write(cx, bytes),
            done => Poll::Ready(done),
        }
    }

    /// Has the runtime told of data only when at least `bytes` have come, or the end. Says whether this kind of stream can.
    pub fn set_receive_low_water(&self, bytes: u32) -> io::Result<bool> {
        match self {
            Stream::Tcp(tcp) => pgwarden_socket::set_receive_low_water(tcp, bytes).map(|()| true),
            Stream::Tls(_) | Stream::Unix(_) | Stream::Memory(_) => Ok(false),
        }
    }

    /// Sends small packets at once. A no-op where there is nothing to set.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(tcp) => tcp.set_nodelay(true),
            Stream::Tls(tls) => tls.carrier().set_nodelay(),
            Stream::Unix(_) | Stream::Memory(_) => Ok(()),
        }
    }

    /// Turns TCP keepalive on; zero values leave the system's.
    pub fn set_keepalive(&self, keepalive: Keepalive) -> io::Result<()> {
        match self {
            Stream::Tcp(tcp) => {
                let mut parameters = TcpKeepalive::new();
                if !keepalive.idle.is_zero() {
                    parameters = parameters.with_time(keepalive.idle);
                }
                if !keepalive.interval.is_zero() {
                    parameters = parameters.with_interval(keepalive.interval);
                }
                if keepalive.retries > 0 {
                    parameters = parameters.with_retries(keepalive.retries);
                }
                SockRef::from(tcp).set_tcp_keepalive(&parameters)
            }
            Stream::Tls(tls) => tls.carrier().set_keepalive(keepalive),
            Stream::Unix(_) | Stream::Memory(_) => Ok(()),
        }
    }

    /// Takes a plain stream out of this runtime. TLS and memory streams come back unchanged: they cannot move.
    pub fn into_std(self) -> Result<io::Result<StdStream>, Self> {
        match self {
            Stream::Tcp(tcp) => Ok(tcp.into_std().map(StdStream::Tcp)),
            Stream::Unix(unix) => Ok(unix.into_std().map(StdStream::Unix)),
            Stream::Tls(_) | Stream::Memory(_) => Err(self),
        }
    }

    /// Registers a stream with the current runtime. It must be non-blocking, as [`Stream::into_std`] leaves it.
    pub fn from_std(stream: StdStream) -> io::Result<Self> {
        match stream {
            StdStream::Tcp(tcp) => TcpStream::from_std(tcp).map(Stream::Tcp),
            StdStream::Unix(unix) => UnixStream::from_std(unix).map(Stream::Unix),
        }
    }
}

/// What came in one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes; none: the end.
    pub count: usize,
    /// There is no more for now, the end perhaps; nobody is woken when there is.
    pub is_all: bool,
}

/// Reads from a socket that does not block, by a system call that is no point of cancellation: the C library's, which is one,
/// does more in a process of several threads. The same holds for [`send`].
///
/// Where the socket had less than there was room for, it has nothing left before the next event (on Linux, where events are
/// edges; so does the runtime itself see it): the count is in `partial` then, and the runtime is told that nothing is there.
fn receive(socket: impl AsFd, room: &mut [u8], partial: &mut Option<usize>) -> io::Result<usize> {
    let length = room.len();
    let (count, _) = rustix::net::recv(socket, room, RecvFlags::empty())?;
    if (1..length).contains(&count) {
        *partial = Some(count);
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(count)
}

fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?)
}

/// A peek that finds neither bytes nor an end.
fn nothing_to_read(socket: SockRef<'_>) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    matches!(socket.peek(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// A read that finds nothing ready.
fn nothing_decoded<S: AsyncRead + Unpin>(stream: &mut S) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer).is_pending()
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Stream::Unix(unix) => Pin::new(unix).poll_read(cx, buffer),
            Stream::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buffer),
            Stream::Memory(memory) => Pin::new(memory).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, bytes),
            Stream::Memory(memory) => Pin::new(memory).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Stream::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, slices),
            Stream::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, slices),
            Stream::Memory(memory) => Pin::new(memory).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(tcp) => tcp.is_write_vectored(),
            Stream::Unix(unix) => unix.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
            Stream::Memory(memory) => memory.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Unix(unix) => Pin::new(unix).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
            Stream::Memory(memory) => Pin::new(memory).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
            Stream::Memory(memory) => Pin::new(memory).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn tcp_pair() -> (Stream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Stream::Tcp(ours), Stream::Tcp(listener.accept().await.unwrap().0))
    }

    fn unix_pair() -> (Stream, Stream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Stream::Unix(ours), Stream::Unix(theirs))
    }

    fn memory_pair() -> (Stream, Stream) {
        let (ours, theirs) = tokio::io::duplex(64);
        (Stream::Memory(ours), Stream::Memory(theirs))
    }

    async fn quiet_until_data_or_end((mut ours, mut theirs): (Stream, Stream)) {
        assert!(ours.is_quiet());
        theirs.write_all(b"x").await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let plain = !matches!(ours, Stream::Memory(_));
        assert!(!ours.is_quiet());
        if plain {
            assert_eq!(ours.read_u8().await.unwrap(), b'x', "a peek consumes nothing");
            assert!(ours.is_quiet());
        }
        drop(theirs);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(!ours.is_quiet());
    }

    #[tokio::test]
    async fn below_the_low_water_mark_bytes_are_read_by_those_who_ask() {
        let (mut ours, mut theirs) = tcp_pair().await;
        let mut room = [0; 1000];
        assert!(receive_soon(&mut ours, &mut room).await.is_err(), "nothing is there");
        assert!(ours.set_receive_low_water(100).unwrap());
        theirs.write_all(&[7; 99]).await.unwrap();
        assert!(receive_soon(&mut ours, &mut room).await.is_err(), "nobody is told");
        assert_eq!(ours.receive_untold(&mut room).unwrap(), Some(99));
        assert_eq!(ours.receive_untold(&mut room).unwrap(), None);
        theirs.write_all(&[7; 100]).await.unwrap();
        assert_eq!(receive_soon(&mut ours, &mut room).await.unwrap().unwrap().count, 100);
        theirs.write_all(&[7; 5]).await.unwrap();
        assert!(receive_soon(&mut ours, &mut room).await.is_err());
        ours.set_receive_low_water(1).unwrap();
        assert_eq!(receive_soon(&mut ours, &mut room).await.unwrap().unwrap().count, 5);
        drop(theirs);
        assert_eq!(ours.receive_untold(&mut room).unwrap(), Some(0), "the end");
        let (memory, _other) = tokio::io::duplex(10);
        assert!(!Stream::Memory(memory).set_receive_low_water(100).unwrap());
    }

    /// An error where nothing is told for a while.
    async fn receive_soon(
        stream: &mut Stream,
        room: &mut [u8],
    ) -> Result<io::Result<Received>, tokio::time::error::Elapsed> {
        let received = std::future::poll_fn(|cx| stream.poll_receive(cx, room));
        tokio::time::timeout(std::time::Duration::from_millis(200), received).await
    }

    #[tokio::test]
    async fn a_stream_with_data_or_an_end_is_not_quiet() {
        quiet_until_data_or_end(tcp_pair().await).await;
        quiet_until_data_or_end(unix_pair()).await;
        quiet_until_data_or_end(memory_pair()).await;
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One read into so much room, by whom `woken` stands for, after the runtime has heard of everything.
    async fn receive(stream: &mut Stream, room: usize, woken: &Arc<Woken>) -> Poll<Received> {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        woken.0.store(0, Ordering::Relaxed);
        let waker = Waker::from(woken.clone());
        stream.poll_receive(&mut Context::from_waker(&waker), &mut vec![0; room]).map(|read| read.unwrap())
    }

    /// The same for what is not read.
    fn ask(stream: &Stream, woken: &Arc<Woken>) -> Poll<()> {
        woken.0.store(0, Ordering::Relaxed);
        stream.poll_readable(&mut Context::from_waker(&Waker::from(woken.clone())))
    }

    async fn is_woken(woken: &Woken) -> bool {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        woken.0.load(Ordering::Relaxed) > 0
    }

    async fn reads_what_is_there((mut ours, mut theirs): (Stream, Stream)) {
        let woken = Arc::new(Woken::default());
        let plain = !matches!(ours, Stream::Memory(_));
        assert_eq!(receive(&mut ours, 8, &woken).await, Poll::Pending);
        theirs.write_all(b"abc").await.unwrap();
        assert!(is_woken(&woken).await);
        assert_eq!(receive(&mut ours, 8, &woken).await, Poll::Ready(Received { count: 3, is_all: plain }));
        assert!(!plain || !ours.has_event());
        if plain {
            assert_eq!(ask(&ours, &woken), Poll::Pending);
        } else {
            assert_eq!(ask(&ours, &woken), Poll::Ready(()), "perhaps");
            assert_eq!(receive(&mut ours, 8, &woken).await, Poll::Pending);
        }
        assert!(!is_woken(&woken).await, "there is nothing more");
        theirs.write_all(b"0123456789").await.unwrap();
        assert!(is_woken(&woken).await && ours.has_event());
        // Whoever asks when it is there already is told so.
        assert_eq!(ask(&ours, &woken), Poll::Ready(()));
        // As much as there was room for: there may be more, and there is.
        assert_eq!(receive(&mut ours, 8, &woken).await, Poll::Ready(Received { count: 8, is_all: false }));
        assert_eq!(receive(&mut ours, 2, &woken).await, Poll::Ready(Received { count: 2, is_all: false }));
        assert_eq!(receive(&mut ours, 8, &woken).await, Poll::Pending);
        // An end that comes with the last bytes is not lost behind them.
        theirs.write_all(b"xy").await.unwrap();
        drop(theirs);
        assert_eq!(receive(&mut ours, 8, &woken).await, Poll::Ready(Received { count: 2, is_all: plain }));
        assert_eq!(ask(&ours, &woken), Poll::Ready(()));
        assert_eq!(receive(&mut ours, 8, &woken).await, Poll::Ready(Received { count: 0, is_all: false }));
    }

    #[tokio::test]
    async fn a_read_says_whether_it_was_all_and_what_comes_later_wakes() {
        reads_what_is_there(tcp_pair().await).await;
        reads_what_is_there(unix_pair()).await;
        reads_what_is_there(memory_pair()).await;
    }

    #[tokio::test]
    async fn an_end_after_a_read_that_was_all_wakes() {
        for (mut ours, mut theirs) in [tcp_pair().await, unix_pair()] {
            let woken = Arc::new(Woken::default());
            theirs.write_all(b"abc").await.unwrap();
            assert_eq!(receive(&mut ours, 8, &woken).await, Poll::Ready(Received { count: 3, is_all: true }));
            assert_eq!(ask(&ours, &woken), Poll::Pending);
            drop(theirs);
            assert!(is_woken(&woken).await && ours.has_event());
            assert_eq!(receive(&mut ours, 8, &woken).await, Poll::Ready(Received { count: 0, is_all: false }));
        }
    }

    #[tokio::test]
    async fn a_write_without_room_wakes_when_there_is() {
        for (mut ours, mut theirs) in [tcp_pair().await, unix_pair(), memory_pair()] {
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(woken.clone());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let mut sent = 0;
            while let Poll::Ready(count) = ours.poll_send(&mut Context::from_waker(&waker), &[7; 4096]) {
                sent += count.unwrap();
            }
            assert!(sent > 0);
            woken.0.store(0, Ordering::Relaxed);
            let mut read = vec![0; sent];
            theirs.read_exact(&mut read).await.unwrap();
            assert!(read.iter().all(|byte| *byte == 7) && is_woken(&woken).await);
            assert!(ours.poll_send(&mut Context::from_waker(&waker), b"x").is_ready());
        }
    }

    #[tokio::test]
    async fn plain_streams_move_between_runtimes_and_keep_working() {
        for (ours, mut theirs) in [tcp_pair().await, unix_pair()] {
            let moved = ours.into_std().unwrap().unwrap();
            let echoed = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async move {
                    let mut ours = Stream::from_std(moved).unwrap();
                    ours.write_all(b"moved").await.unwrap();
                })
            });
            let mut bytes = [0; 5];
            theirs.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"moved");
            echoed.join().unwrap();
        }
        assert!(memory_pair().0.into_std().is_err());
    }

    #[tokio::test]
    async fn peers_are_known_and_local() {
        let (ours, theirs) = tcp_pair().await;
        assert!(matches!(ours.peer(), Peer::Tcp(address) if address.ip().is_loopback()));
        assert!(theirs.peer().is_local());
        let (unix, _other) = unix_pair();
        assert_eq!(
            unix.peer(),
            Peer::Unix { uid: nix::unistd::getuid().as_raw(), pid: Some(std::process::id() as i32) }
        );
        assert!(!Peer::Gone.is_local());
        assert!(!Peer::Tcp("192.0.2.1:5".parse().unwrap()).is_local());
        assert!(Peer::Tcp("[::ffff:127.0.0.1]:5".parse().unwrap()).is_local());
    }

    #[tokio::test]
    async fn keepalive_is_set_and_zero_leaves_the_system_value() {
        let (ours, _theirs) = tcp_pair().await;
        let Stream::Tcp(tcp) = &ours else { panic!("a TCP stream") };
        let before = SockRef::from(tcp).tcp_keepalive_interval().unwrap();
        let keepalive =
            Keepalive { idle: std::time::Duration::from_secs(61), interval: std::time::Duration::ZERO, retries: 7 };
        ours.set_keepalive(keepalive).unwrap();
        ours.set_nodelay().unwrap();
        let socket = SockRef::from(tcp);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), keepalive.idle);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), before);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 7);
        assert!(tcp.nodelay().unwrap());
    }
}

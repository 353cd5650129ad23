//! One HTTP request to a running proxy: is it healthy?

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Most of an answer that is read.
const ANSWER_MAX: usize = 4096;

/// `http://host:port/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// Host and port, as they go into the Host header.
    authority: String,
    path: String,
}

impl Url {
    /// Port 80 where none is written. Without user, query or fragment.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or("it begins with http://")?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let safe = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'@');
        if authority.is_empty() || !safe(authority) || !safe(path) {
            return Err("it has the form http://host:port/path".to_owned());
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { authority, path: path.to_owned() })
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum HealthError {
    #[error("no answer from {authority}: {source}")]
    Unreachable { authority: String, source: io::Error },
    #[error("{authority} does not speak HTTP")]
    NoHttp { authority: String },
    #[error("{authority} answered {status}: {body}")]
    Unhealthy { authority: String, status: u16, body: String },
}

/// Asks once; Ok for a status of 200 to 299.
pub(super) fn ask(url: &Url, timeout: Duration) -> Result<(), HealthError> {
    let authority = url.authority.clone();
    let answer = match request(url, Instant::now() + timeout) {
        Ok(answer) => answer,
        Err(source) => return Err(HealthError::Unreachable { authority, source }),
    };
    let Some(status) = status(&answer) else { return Err(HealthError::NoHttp { authority }) };
    if (200..300).contains(&status) {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body = body.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
    Err(HealthError::Unhealthy { authority, status, body })
}

fn request(url: &Url, deadline: Instant) -> io::Result<String> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
    for address in url.authority.to_socket_addrs()? {
        let stream = match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => stream,
            Err(error) => {
                last = error;
                continue;
            }
        };
        return exchange(stream, url, deadline);
    }
    Err(last)
}

fn exchange(mut stream: TcpStream, url: &Url, deadline: Instant) -> io::Result<String> {
    stream.set_write_timeout(Some(left(deadline)?))?;
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", url.path, url.authority);
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while answer.len() < ANSWER_MAX {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(timed_out()),
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The time that is left, or an error when none is.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(timed_out()) } else { Ok(left) }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "timed out")
}

/// The number in `HTTP/1.1 200 OK`.
fn status(answer: &str) -> Option<u16> {
    let mut words = answer.lines().next()?.split(' ');
    words.next()?.starts_with("HTTP/1.").then_some(())?;
    words.next().filter(|code| code.len() == 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// What `ask` says of a server that answers with these bytes, after a pause.
    fn asked(answer: &'static [u8], pause: Duration) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let authority = listener.local_addr().expect("an address").to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 512];
            let n = stream.read(&mut request).expect("a request");
            assert!(request[..n].starts_with(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:"));
            thread::sleep(pause);
            let _ = stream.write_all(answer);
        });
        let url = Url::parse(&format!("http://{authority}/readyz")).expect("a good address");
        let said = ask(&url, Duration::from_millis(300)).map_err(|error| error.to_string().replace(&authority, "IT"));
        server.join().expect("the server ends well");
        said
    }

    #[test]
    fn only_a_good_answer_is_healthy() {
        let at_once = Duration::ZERO;
        assert_eq!(asked(b"HTTP/1.1 200 OK\r\n\r\nok", at_once), Ok(()));
        assert_eq!(asked(b"HTTP/1.0 204 No Content\r\n\r\n", at_once), Ok(()));
        assert_eq!(
            asked(b"HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\ndraining\nmore", at_once),
            Err("IT answered 503: draining".to_owned())
        );
        assert_eq!(asked(b"HTTP/1.1 301 Moved\r\n\r\n", at_once), Err("IT answered 301: ".to_owned()));
        for answer in [&b""[..], b"SSH-2.0", b"HTTP/1.1", b"HTTP/1.1 2000 x", b"HTTP/2 200", b"\xff\xff"] {
            assert_eq!(asked(answer, at_once), Err("IT does not speak HTTP".to_owned()), "{answer:?}");
        }
        let late = asked(b"HTTP/1.1 200 OK\r\n\r\n", Duration::from_millis(600));
        assert_eq!(late, Err("no answer from IT: timed out".to_owned()));
    }

    #[test]
    fn nobody_there_is_unhealthy() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let url = Url::parse(&format!("http://{address}/healthz")).expect("a good address");
        let error = ask(&url, Duration::from_secs(1)).expect_err("nobody listens there").to_string();
        assert!(error.starts_with(&format!("no answer from {address}")), "{error}");
    }

    #[test]
    fn addresses_are_read_strictly() {
        let url = |authority: &str, path: &str| Url { authority: authority.to_owned(), path: path.to_owned() };
        assert_eq!(Url::parse("http://127.0.0.1:9187/healthz"), Ok(url("127.0.0.1:9187", "/healthz")));
        assert_eq!(Url::parse("http://[::1]:9187"), Ok(url("[::1]:9187", "/")));
        assert_eq!(Url::parse("http://pgwarden/x"), Ok(url("pgwarden:80", "/x")));
        for wrong in
            ["https://x/", "127.0.0.1:1", "http://", "http:///x", "http://a@b/", "http://a b/", "http://a/\r\nX: y"]
        {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }
}

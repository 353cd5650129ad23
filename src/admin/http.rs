//! The HTTP endpoint: `/metrics`, `/healthz`, `/readyz`, and the status page with its `/status.json`.
//!
//! It only reads, asks for no password, and shows no secret: keep it on a private network. Bounded: at most
//! [`CONNECTIONS_MAX`] connections, one request on each, [`CONNECTION_TIME_MAX`] for all of it. A request's body is not read.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::status::Status;
use super::{Service, exposition, stopped};

pub const CONNECTIONS_MAX: usize = 64;
/// From accept to the last byte of the answer.
pub const CONNECTION_TIME_MAX: Duration = Duration::from_secs(30);
/// From accept to the end of the request's head.
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);
/// A request's head, in bytes; the least that the HTTP library takes.
const HEADER_SIZE_MAX: usize = 8 << 10;
/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers until `shutdown` turns true or its sender is gone, and returns once the answers under way are out. While the
/// proxy drains it should still run, so that `/readyz` can say so.
pub async fn serve(listener: TcpListener, service: Arc<Service>, mut shutdown: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // A slot is taken before the connection is: those past the limit wait in the listener's queue.
        let accepted = async {
            let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            (slot, listener.accept().await)
        };
        tokio::select! {
            () = stopped(&mut shutdown) => break,
            Some(_) = connections.join_next() => {}
            (slot, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let service = service.clone();
                    connections.spawn(async move {
                        connection(stream, service).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    warn!(%error, "http accept failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, service: Arc<Service>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(answer(request.method(), request.uri().path(), &service).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX).max_buf_size(HEADER_SIZE_MAX).keep_alive(false);
    match timeout(CONNECTION_TIME_MAX, http.serve_connection(TokioIo::new(stream), answer)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "http connection failed"),
        Err(_) => debug!("http connection took too long"),
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(method: &Method, path: &str, service: &Service) -> Answer {
    if method != Method::GET && method != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/" => page(),
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match service.control.ready() {
            Ok(()) => {
                let notes = service.control.notes();
                text(StatusCode::OK, notes.into_iter().fold("ready\n".to_owned(), |out, note| out + &note + "\n"))
            }
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        },
        "/metrics" => {
            let snapshot = service.control.snapshot().await;
            let log = service.control.log();
            match exposition::encode(&snapshot, log.as_ref(), service.control.ready().is_ok()) {
                Ok(metrics) => with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics),
                Err(error) => {
                    warn!(%error, "metrics could not be encoded");
                    text(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be encoded\n")
                }
            }
        }
        "/status.json" => {
            let snapshot = service.control.snapshot().await;
            let recent = service.history.recent(&snapshot);
            let (log, config) = (service.control.log(), service.control.config());
            let log = log.as_ref().zip(config.audit.as_deref());
            match serde_json::to_string(&Status::new(&snapshot, &recent, log, service.control.ready())) {
                Ok(json) => with_type(StatusCode::OK, "application/json", json),
                Err(error) => {
                    warn!(%error, "status could not be encoded");
                    text(StatusCode::INTERNAL_SERVER_ERROR, "status could not be encoded\n")
                }
            }
        }
        _ => text(StatusCode::NOT_FOUND, "not found: try /, /metrics, /healthz, /readyz or /status.json\n"),
    }
}

const PAGE: &str = include_str!("status.html");

/// The page's only script and style, by their hashes: nothing else runs on it, and it loads nothing from elsewhere.
static PAGE_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |tag: &str| {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let inner = PAGE.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).map_or("", |(inner, _)| inner);
        STANDARD.encode(Sha256::digest(inner))
    };
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    );
    HeaderValue::try_from(policy).expect("the policy is ASCII")
});

fn page() -> Answer {
    let mut answer = with_type(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, PAGE_POLICY.clone());
    answer
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, "text/plain; charset=utf-8", body)
}

fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::admin::fake::Fake;

    async fn listen() -> (SocketAddr, Arc<Fake>, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Fake::new();
        let (stop, shutdown) = watch::channel(false);
        let server = tokio::spawn(serve(listener, Service::new(fake.clone()), shutdown));
        (address, fake, stop, server)
    }

    /// Sends bytes, and returns all that comes back until the server closes.
    async fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is a close, too: the server does not read what it refuses.
        let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("the server closes");
        String::from_utf8(answer).unwrap()
    }

    async fn get(address: SocketAddr, path: &str) -> (String, String) {
        let answer = ask(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn health_is_always_ok_and_readiness_has_a_reason() {
        let (address, fake, _stop, _) = listen().await;
        assert!(get(address, "/healthz").await.0.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(get(address, "/readyz").await.1, "ready\n");
        *fake.ready.lock().unwrap() = Err("draining".into());
        let (head, body) = get(address, "/readyz").await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(body, "not ready: draining\n");
        assert!(get(address, "/healthz").await.0.starts_with("HTTP/1.1 200 OK"));
        assert!(get(address, "/metrics").await.1.contains("\npgwarden_ready 0\n"));
    }

    #[tokio::test]
    async fn metrics_and_status_are_of_their_types_and_hold_no_secret() {
        let (address, _, _stop, _) = listen().await;
        let (head, metrics) = get(address, "/metrics").await;
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        assert!(
            metrics.contains("\npgwarden_pool_queries_total{shard=\"main\",database=\"billing\",user=\"app\"} 600\n")
        );
        let (head, status) = get(address, "/status.json").await;
        assert!(head.contains("content-type: application/json"), "{head}");
        let json: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert_eq!(json["pins"]["listen"], 1);
        assert_eq!(json["clients"][0]["state"], "waiting");
        assert_eq!(json["audit"]["error"], "No space left on device");
        assert_eq!(json["audit"]["places"][0]["target"], "/mnt/elsewhere");
        assert_eq!(json["pools"][1]["rates"]["query_ms_p50"].as_f64().unwrap().round(), 0.0);
        for page in [metrics, status] {
            assert!(!page.contains("hunter2") && !page.contains("SCRAM"));
        }
    }

    #[tokio::test]
    async fn the_page_allows_its_own_script_only() {
        let (address, _, _stop, _) = listen().await;
        let (head, body) = get(address, "/").await;
        assert_eq!(body, PAGE);
        for tag in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1, "one {tag}, inline and without attributes");
            let inner = PAGE.split(&format!("<{tag}>")).nth(1).unwrap().split(&format!("</{tag}>")).next().unwrap();
            assert!(head.contains(&format!("{tag}-src 'sha256-{}'", STANDARD.encode(Sha256::digest(inner)))), "{head}");
        }
        assert!(!PAGE.contains("http://") && !PAGE.contains("https://") && !PAGE.contains("innerHTML"));
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let (address, _, _stop, _) = listen().await;
        assert!(get(address, "/metrics/../etc").await.0.starts_with("HTTP/1.1 404 "));
        let answer = ask(address, b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc").await;
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD"), "{answer}");
        let answer = ask(address, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        let answer = ask(address, b"\x16\x03\x01 not http\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let large = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(20_000));
        let answer = ask(address, large.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }

    #[tokio::test]
    async fn slow_clients_are_closed_and_do_not_keep_others_out() {
        let (address, _, _stop, _) = listen().await;
        let mut slow = Vec::new();
        for _ in 0..CONNECTIONS_MAX + 10 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HT").await.unwrap();
            slow.push(stream);
        }
        let began = std::time::Instant::now();
        let (head, _) = get(address, "/healthz").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let waited = began.elapsed();
        assert!(waited > Duration::from_secs(5) && waited < Duration::from_secs(19), "{waited:?}");
    }

    #[tokio::test]
    async fn shutdown_ends_it() {
        let (address, _, stop, server) = listen().await;
        assert_eq!(get(address, "/healthz").await.1, "ok\n");
        stop.send(true).unwrap();
        timeout(Duration::from_secs(5), server).await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}

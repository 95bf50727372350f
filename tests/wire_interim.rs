//! Through real sockets: what an application says before its answer (1xx) reaches the client whose request made it, in
//! order and before the answer, and is never stored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod support;
mod wire;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use larder::cache::Cache;
use larder::clock::Clock;
use larder::config::Config;
use larder::config::read::ReadContext;
use larder::http::{Body, Interim};
use larder::layer::CacheLayer;
use larder::proxy::AccessLog;
use support::raw::RawOrigin;
use support::{Client, Gate, Larder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tower::Layer;
use wire::{limits, origin_at, proxy, read_head, read_to_end, read_until, serve, soon, statuses, talk};

const YAML: &str = "
origins: { app: { url: '{origin}' } }
tiers: { keyed: { ttl: 1h }, own: {} }
routes:
  - { name: keyed, path: '/keyed/{*rest}', tier: keyed, share: public }
  - { name: own, path: '/own/{*rest}', tier: own, share: public }
  - { name: pass, path: '/{*rest}' }
writes: [{ path: '/read/{*rest}', patterns: ['a:{id}'], fields: { id: /id } }]
";

/// An application that answers in bytes: those before the gate, and those behind it.
async fn application(
    gate: &Gate,
    answers: impl Fn(&str) -> (String, String) + Copy + Send + 'static,
) -> RawOrigin {
    let gate = gate.clone();
    RawOrigin::start(move |mut stream| {
        let gate = gate.clone();
        async move {
            while let Some(path) = asked(&mut stream).await {
                let (first, last) = answers(&path);
                stream.write_all(first.as_bytes()).await.unwrap();
                gate.pass().await;
                stream.write_all(last.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

/// Reads a request, and gives its path.
async fn asked(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    head.split(' ').nth(1).map(str::to_owned)
}

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Mine: 1\r\n\r\n";

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn hinted(path: &str) -> (String, String) {
    (HINT.to_owned(), ok(path))
}

fn ask(method: &str, path: &str, more: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n").into_bytes()
}

/// Reads an answer with this body.
async fn answered(stream: &mut TcpStream, body: &str) -> String {
    let head = read_head(stream).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    read_until(stream, body).await;
    head
}

#[tokio::test]
async fn hints_come_to_a_write_of_which_larder_reads_the_body() {
    let gate = Gate::closed();
    let origin = application(&gate, hinted).await;
    let larder = Larder::with(YAML).put("origin", origin.url()).start().await;
    let mut client = TcpStream::connect(larder.addr()).await.unwrap();
    let write = [ask("POST", "/read/a", "Content-Length: 8\r\n"), b"{\"id\":1}".to_vec()].concat();
    client.write_all(&write).await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 103 "));
    gate.let_through(1);
    answered(&mut client, "/read/a").await;
}

#[tokio::test]
async fn hints_come_before_the_answer_is_there_on_misses_passes_and_writes_and_are_not_stored() {
    let gate = Gate::closed();
    let origin = application(&gate, hinted).await;
    let larder = Larder::with(YAML).put("origin", origin.url()).start().await;
    let mut client = TcpStream::connect(larder.addr()).await.unwrap();
    for (method, path) in [("GET", "/keyed/a"), ("GET", "/own/a"), ("GET", "/a"), ("POST", "/a")] {
        client.write_all(&ask(method, path, "Content-Length: 0\r\n")).await.unwrap();
        let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nx-mine: 1\r\n\r\n";
        assert_eq!(read_head(&mut client).await, hint, "{method} {path}");
        gate.let_through(1);
        let head = answered(&mut client, path).await;
        assert!(!head.contains("link") && !head.contains("x-mine"), "{head}");
    }
    for path in ["/keyed/a", "/own/a"] {
        client.write_all(&ask("GET", path, "")).await.unwrap();
        let head = answered(&mut client, path).await;
        assert!(head.contains("x-cache: HIT") && !head.contains("x-mine"), "{head}");
    }
}

#[tokio::test]
async fn several_come_in_order_without_what_concerns_the_hop_frames_a_message_or_sets_a_cookie() {
    let gate = Gate::closed();
    gate.open();
    let origin = application(&gate, |path| {
        let first = "HTTP/1.1 102 Processing\r\n\r\n\
             HTTP/1.1 100 Continue\r\n\r\n\
             HTTP/1.1 103 Early Hints\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nSet-Cookie: a=b\r\n\
             Surrogate-Key: secret\r\nX-Larder-Purge: secret\r\n\
             Surrogate-Control: max-age=1\r\nX-Accel-Expires: 1\r\nLink: <b>\r\nLink: <c>\r\n\r\n\
             HTTP/1.1 103 Early Hints\r\nConnection: content-length\r\nLink: <never>\r\n\r\n\
             HTTP/1.1 199 Odd\r\nX-Odd: \u{e9}\r\n\r\n";
        (first.to_owned(), ok(path))
    })
    .await;
    let larder = Larder::with(YAML).put("origin", origin.url()).start().await;
    let got = talk(larder.addr(), &ask("GET", "/a", "Connection: close\r\n")).await;
    let expected = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <b>\r\nlink: <c>\r\n\r\n\
         HTTP/1.1 199 \r\nx-odd: \u{e9}\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert!(got.starts_with(expected), "{got}");
    assert_eq!(statuses(&got), [102, 103, 199, 200]);
}

#[tokio::test]
async fn clients_of_http_1_0_and_of_http_2_get_the_answer_alone() {
    let gate = Gate::closed();
    gate.open();
    let origin = application(&gate, hinted).await;
    let larder = Larder::with(YAML).put("origin", origin.url()).start().await;
    let got = talk(larder.addr(), b"GET /a HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(got.starts_with("HTTP/1.0 200 OK\r\n") && got.ends_with("\r\n\r\n/a"), "{got}");
    let answer = Client::http2().get(larder.url("/a")).send().await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "/a"));
    assert_eq!(answer.header("link"), None);
}

#[tokio::test]
async fn who_waits_for_the_fetch_of_another_hears_nothing_before_the_answer() {
    let gate = Gate::closed();
    let origin = application(&gate, hinted).await;
    let larder = Larder::with(YAML).put("origin", origin.url()).start().await;
    let mut leader = TcpStream::connect(larder.addr()).await.unwrap();
    leader.write_all(&ask("GET", "/keyed/a", "")).await.unwrap();
    assert!(read_head(&mut leader).await.starts_with("HTTP/1.1 103 "));
    let mut waiter = TcpStream::connect(larder.addr()).await.unwrap();
    waiter.write_all(&ask("GET", "/keyed/a", "")).await.unwrap();
    gate.open();
    answered(&mut leader, "/keyed/a").await;
    answered(&mut waiter, "/keyed/a").await;
    assert_eq!(gate.count(), 1);
}

#[tokio::test]
async fn pipelined_requests_have_their_own() {
    let gate = Gate::closed();
    gate.open();
    let origin = application(&gate, |path| {
        (format!("HTTP/1.1 103 Early Hints\r\nLink: <{path}>\r\n\r\n").repeat(2), ok(path))
    })
    .await;
    let larder = Larder::with(YAML).put("origin", origin.url()).start().await;
    let paths = ["/1", "/keyed/2", "/3", "/keyed/2", "/5"];
    let mut requests = paths.map(|path| ask("GET", path, "")).concat();
    requests.extend(ask("POST", "/6", "Content-Length: 1\r\nConnection: close\r\n"));
    requests.push(b'x');
    let got = talk(larder.addr(), &requests).await;
    assert_eq!(
        statuses(&got),
        [103, 103, 200, 103, 103, 200, 103, 103, 200, 200, 103, 103, 200, 103, 103, 200]
    );
    let mut rest = got.as_str();
    for path in paths.iter().enumerate().map(|(i, path)| (i != 3).then_some(*path)).chain([Some("/6")]) {
        for _ in 0..if path.is_some() { 2 } else { 0 } {
            let hint = format!("HTTP/1.1 103 Early Hints\r\nlink: <{}>\r\n\r\n", path.unwrap());
            rest = rest.strip_prefix(&hint).unwrap_or_else(|| panic!("no {hint} in {rest}"));
        }
        let body = path.unwrap_or("/keyed/2");
        let end = rest.find(&format!("\r\n\r\n{body}")).unwrap_or_else(|| panic!("no {body} in {rest}"));
        let head = &rest[..end];
        assert!(head.starts_with("HTTP/1.1 200 OK") && !head.contains("link"), "{head}");
        rest = &rest[end + 4 + body.len()..];
    }
    assert_eq!(rest, "");
}

/// Numbered hints, more than anybody lets wait.
fn flood(n: usize) -> String {
    let fill = "x".repeat(4000);
    (0..n).map(|i| format!("HTTP/1.1 103 Early Hints\r\nX-No: {i:05}\r\nX-Fill: {fill}\r\n\r\n")).collect()
}

/// The numbers of the hints in a text that ends with an answer.
fn numbers(got: &str) -> Vec<usize> {
    let (hints, answer) =
        got.split_at(got.find("HTTP/1.1 200").unwrap_or_else(|| panic!("no answer: {got}")));
    assert!(answer.ends_with("\r\n\r\nwhole") && !answer.contains("x-no"), "{answer}");
    let number = |hint: &str| {
        let (number, fill) = hint.strip_prefix("103 Early Hints\r\nx-no: ").unwrap().split_at(5);
        assert_eq!(fill, format!("\r\nx-fill: {}\r\n\r\n", "x".repeat(4000)));
        number.parse().unwrap()
    };
    hints.split("HTTP/1.1 ").skip(1).map(number).collect()
}

#[tokio::test]
async fn a_burst_is_bounded_and_the_answer_still_comes() {
    let gate = Gate::closed();
    gate.open();
    let origin = application(&gate, |_| (flood(200), ok("whole"))).await;
    let larder = Larder::with(YAML).put("origin", origin.url()).start().await;
    let numbers = numbers(&talk(larder.addr(), &ask("GET", "/a", "Connection: close\r\n")).await);
    assert!(numbers.len() >= 15 && numbers.is_sorted(), "{numbers:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_hints_and_nothing_of_its_answer() {
    const SAID: usize = 3000; // 12 MB, more than the sockets take
    let gate = Gate::closed();
    let origin = application(&gate, |_| (flood(SAID), ok("whole"))).await;
    let larder = Larder::with(YAML).put("origin", origin.url()).start().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = soon(socket.connect(larder.addr())).await.unwrap();
    client.write_all(&ask("GET", "/keyed/a", "Connection: close\r\n")).await.unwrap();
    // The application has said it all, though nobody read.
    gate.arrived(1).await;
    gate.open();
    let numbers = numbers(&read_to_end(&mut client).await);
    assert!(numbers.len() < SAID && numbers.is_sorted(), "{}", numbers.len());
}

#[tokio::test]
async fn hints_before_a_101_and_nothing_in_the_tunnel() {
    let addr = wire::origin(|_, mut stream| async move {
        read_head(&mut stream).await;
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(format!("{HINT}{switch}{HINT}").as_bytes()).await.unwrap();
        let mut bytes = [0; 1024];
        while let Ok(n @ 1..) = stream.read(&mut bytes).await {
            stream.write_all(&bytes[..n]).await.unwrap();
        }
    });
    let server = serve(limits(), proxy(origin_at(addr.await)));
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    client.write_all(&ask("GET", "/ws", "Connection: upgrade\r\nUpgrade: websocket\r\n")).await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 103 "));
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101 "));
    // What the other protocol says is its own business, byte by byte.
    assert_eq!(read_head(&mut client).await, HINT);
    client.write_all(b"hello\n").await.unwrap();
    read_until(&mut client, "hello\n").await;
}

/// An application in this process: it says a hint where it has a handle, and tells whether it had one.
async fn in_process(
    request: Request<Body>,
    told: mpsc::UnboundedSender<(String, bool)>,
) -> Result<Response<Body>, std::convert::Infallible> {
    let interim = request.extensions().get::<Interim>().cloned();
    told.send((request.uri().path().to_owned(), interim.is_some())).unwrap();
    if let Some(interim) = interim {
        let fields = HeaderMap::from_iter([(http::header::LINK, HeaderValue::from_static("<a>"))]);
        for status in [100, 101, 103, 200] {
            interim.send(StatusCode::from_u16(status).unwrap(), fields.clone());
        }
    }
    Ok(Response::new(Body::from("answer")))
}

#[tokio::test]
async fn an_application_in_the_process_has_the_handle_and_a_refresh_in_the_background_has_none() {
    let yaml = "
listen: 127.0.0.1:0
origins: { app: { url: 'http://127.0.0.1:1' } }
tiers: { keyed: { ttl: 1m, stale_while_revalidate: 1h } }
routes: [{ name: keyed, path: '/keyed', tier: keyed, share: public }, { name: pass, path: '/{*rest}' }]
";
    let config = Config::from_yaml(yaml, &ReadContext::of(std::path::Path::new("test.yaml"))).unwrap();
    let clock = Clock::manual(Duration::from_secs(1_800_000_000));
    let cache = Cache::new(&config.stores, clock.clone());
    let (told, mut had) = mpsc::unbounded_channel();
    let app = tower::service_fn(move |request| in_process(request, told.clone()));
    let server = serve(limits(), CacheLayer::with(config, cache, AccessLog::off()).unwrap().layer(app));
    let get = async |path: &str| talk(server.addr, &ask("GET", path, "Connection: close\r\n")).await;
    for path in ["/keyed", "/pass"] {
        let got = get(path).await;
        assert!(got.starts_with("HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\nHTTP/1.1 200 OK\r\n"), "{got}");
        assert_eq!(soon(had.recv()).await, Some((path.to_owned(), true)));
    }
    clock.advance(Duration::from_secs(120));
    let stale = get("/keyed").await;
    assert!(stale.starts_with("HTTP/1.1 200 OK\r\n") && stale.contains("x-cache: STALE"), "{stale}");
    assert_eq!(soon(had.recv()).await, Some(("/keyed".to_owned(), false)));
}

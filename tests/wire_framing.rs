//! Through real sockets: whatever could be read in two ways is refused with 400 and the connection closes; what is
//! good gets through, pipelined or in pieces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use http_body_util::BodyExt;
use larder::http::Body;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use wire::{Running, limits, read_until, rescue, serve, statuses, talk};

/// Answers with method, path and body; counts what reaches it.
fn echo(seen: Arc<AtomicUsize>) -> Running {
    serve(
        limits(),
        tower::service_fn(move |request: Request<Body>| {
            seen.fetch_add(1, Ordering::SeqCst);
            async move {
                let (parts, body) = request.into_parts();
                let answer = match body.collect().await {
                    Ok(body) => {
                        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                        Response::new(Body::full(format!("[{} {} {body}]", parts.method, parts.uri.path())))
                    }
                    Err(error) => rescue(error.downcast_ref().expect("an error of Larder's")),
                };
                Ok(answer)
            }
        }),
    )
}

const ATTACKS: &[(&str, &str, u16)] = &[
    ("no host", "GET / HTTP/1.1\r\n\r\n", 400),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("two hosts in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("bare LF everywhere", "GET / HTTP/1.1\nHost: a\n\n", 400),
    ("bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: w\r\n\r\n", 400),
    ("bare LF as the end", "GET / HTTP/1.1\r\nHost: a\r\n\nX", 400),
    ("bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: w\r\n\r\n", 400),
    ("CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
    ("folded field", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
    ("folded with a tab", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n", 400),
    ("space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nabcde", 400),
    ("space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("no colon", "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400),
    ("empty name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400),
    ("NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
    ("DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", 400),
    ("control byte in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\x01: a\r\n\r\n", 400),
    (
        "CL beside TE",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE beside CL",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE with a second coding",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("TE identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 400),
    ("TE quoted", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 400),
    (
        "TE with vertical tab",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("TE empty", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400),
    ("TE in 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (
        "CL twice, differing",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
    ),
    (
        "CL twice, the same",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        400,
    ),
    ("CL as a list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nabcde", 400),
    ("CL with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde", 400),
    ("CL negative", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    ("CL in hex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nabcde", 400),
    ("CL empty", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
    (
        "CL beyond all numbers",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        400,
    ),
    ("CL in a GET twice", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", 400),
    (
        "CL in a GET beside TE",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE in a GET twice",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("HTTP/0.9", "GET /\r\n\r\n", 400),
    ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
    ("HTTP/2.0 in words", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
    ("http in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    ("a broken preface", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 400),
    ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a tab as space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    ("fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("no path", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("high byte in the target", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 400),
    ("our own method", "LARDER-REFUSE /4 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("LF first", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("TLS on a plain port", "\x16\x03\x01\x02\0\x01\0", 400),
    (
        "chunk size with a sign",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunk size with 0x",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunk size too large",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunk size missing",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n;x\r\na\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunk line with LF",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunk extension with LF",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunk line with a space",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunk longer than it says",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunk without its CRLF",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na0\r\n\r\n",
        400,
    ),
    (
        "last chunk with LF",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\n\r\n",
        400,
    ),
    (
        "trailer with LF",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n",
        400,
    ),
    (
        "trailer folded",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n z\r\n\r\n",
        400,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_smuggling_attempt_is_answered_with_400_and_the_connection_closes() {
    let seen = Arc::new(AtomicUsize::new(0));
    let server = echo(Arc::clone(&seen));
    for (name, attack, status) in ATTACKS {
        // What follows must never be read as a request of its own.
        let bytes = [attack.as_bytes(), b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        let answer = talk(server.addr, &bytes).await;
        assert_eq!(statuses(&answer), [*status], "{name}: {answer}");
        assert!(!answer.contains("smuggled"), "{name}: {answer}");
        assert!(answer.contains("bad_request: "), "{name} says why: {answer}");
    }
    // Heads never reach the service; only bodies can break later.
    let broken_bodies =
        ATTACKS.iter().filter(|(name, ..)| name.contains("chunk ") || name.starts_with("trailer")).count();
    assert_eq!(seen.load(Ordering::SeqCst), broken_bodies);
    server.stop().await;
}

/// The first head of a connection comes in pieces; those behind it come whole, and are looked at another way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_smuggling_attempt_is_refused_on_a_connection_in_use_as_well() {
    const GOOD: &str = "GET /good HTTP/1.1\r\nHost: a\r\n\r\n";
    let server = echo(Arc::default());
    for (name, attack, status) in ATTACKS {
        let attack = [attack.as_bytes(), b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        // In one piece with the good request, and behind its answer.
        let pipelined = talk(server.addr, &[GOOD.as_bytes(), &attack].concat()).await;
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(GOOD.as_bytes()).await.unwrap();
        let good = read_until(&mut stream, "[GET /good ]").await;
        stream.write_all(&attack).await.unwrap();
        let waited = good + &wire::read_to_end(&mut stream).await;
        for answer in [pipelined, waited] {
            assert_eq!(statuses(&answer), [200, *status], "{name}: {answer}");
            assert!(!answer.contains("smuggled"), "{name}: {answer}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attack_is_seen_byte_by_byte_as_well() {
    let server = echo(Arc::default());
    for (name, attack, status) in ATTACKS.iter().step_by(7) {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in attack.bytes() {
            if stream.write_all(&[byte]).await.is_err() {
                break; // refused before its end
            }
            tokio::task::yield_now().await;
        }
        let answer = wire::read_to_end(&mut stream).await;
        assert_eq!(statuses(&answer), [*status], "{name}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_answered_with_414_and_431() {
    let server = echo(Arc::default());
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000));
    assert_eq!(statuses(&talk(server.addr, long.as_bytes()).await), [414]);
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(40_000));
    assert_eq!(statuses(&talk(server.addr, large.as_bytes()).await), [431]);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100));
    assert_eq!(statuses(&talk(server.addr, many.as_bytes()).await), [431]);
    let endless = "a".repeat(200_000);
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {endless}");
    assert_eq!(statuses(&talk(server.addr, endless.as_bytes()).await), [431]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_requests_before_a_bad_one_are_answered_first() {
    let server = echo(Arc::default());
    let pipeline = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\
         POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\ntwo\r\n0\r\nX-T: 1\r\n\r\n\
         \r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /4 HTTP/1.1\r\nHost: a\nX: y\r\n\r\n\
         GET /5 HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = talk(server.addr, pipeline.as_bytes()).await;
    assert_eq!(statuses(&answer), [200, 200, 200, 400], "{answer}");
    for part in ["[POST /1 one]", "[POST /2 two]", "[GET /3 ]", "connection: close", "bare line feed"] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    assert!(!answer.contains("/5"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_request_in_pieces_gets_through() {
    let server = echo(Arc::default());
    let request = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for cut in 1..request.len() {
        let (first, second) = request.as_bytes().split_at(cut);
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(first).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(second).await.unwrap();
        read_until(&mut stream, "[POST /a hello]").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_0_without_a_host_is_served_and_closed() {
    let server = echo(Arc::default());
    let answer = talk(server.addr, b"GET /old HTTP/1.0\r\n\r\n").await;
    assert_eq!(statuses(&answer), [200], "{answer}");
    assert!(answer.contains("[GET /old ]"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_an_upgrade_that_is_declined_is_still_checked() {
    let server = echo(Arc::default());
    let head = "GET /up HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let good = format!("{head}GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = talk(server.addr, good.as_bytes()).await;
    assert_eq!(statuses(&answer), [200, 200], "{answer}");
    let bad = format!("{head}GET /next HTTP/1.1\nHost: a\n\n");
    let answer = talk(server.addr, bad.as_bytes()).await;
    assert_eq!(statuses(&answer), [200, 400], "{answer}");
}

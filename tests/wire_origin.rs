//! Through real sockets, a client, Larder's server and origin client, and a scripted origin: bodies stream both ways,
//! upgrades wait for their 101, and an origin that fails is answered with a status that says how.

mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use larder::config::Origin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use wire::*;

const GET: &[u8] = b"GET /a/b?c=d HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";

/// An origin that answers each connection's first request with these bytes and closes.
async fn answering(bytes: &'static str) -> Origin {
    let addr = origin(move |_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
    });
    origin_at(addr.await)
}

async fn through(origin: Origin, request: &[u8]) -> String {
    talk(serve(limits(), proxy(origin)).addr, request).await
}

#[tokio::test]
async fn the_request_reaches_the_origin_with_its_path_unchanged_and_its_hops_told() {
    let (heads, mut seen) = mpsc::channel(1);
    let addr = origin(move |_, mut stream| {
        let heads = heads.clone();
        async move {
            heads.send(read_head(&mut stream).await).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let request = "GET http://Shop.Example:80//a/%7Eb;x?z&y=%zz HTTP/1.1\r\nHost: shop.example\r\n\
         Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers, gzip\r\nX-Forwarded-For: 6.6.6.6\r\n\
         X_Forwarded_Proto: https\r\nForwarded: for=evil\r\nX-Original-URL: /admin\r\nProxy: evil\r\nX-Kept: 1\r\n\r\n";
    assert_eq!(statuses(&through(origin_at(addr), request.as_bytes()).await), [204]);
    let head = soon(seen.recv()).await.unwrap();
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "GET //a/%7Eb;x?z&y=%zz HTTP/1.1");
    lines.sort_unstable();
    let expected = [
        "connection: te",
        "forwarded: for=127.0.0.1;proto=http;host=\"shop.example\"",
        "host: shop.example",
        "te: trailers",
        "via: 1.1 larder",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: shop.example",
        "x-forwarded-proto: http",
        "x-kept: 1",
        "x-real-ip: 127.0.0.1",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn connection_specific_fields_of_an_answer_stay_behind() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Authenticate: x\r\nUpgrade: h2c\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok";
    let got = through(answering(answer).await, GET).await;
    assert!(got.contains("x-kept: 1") && got.ends_with("\r\n\r\nok"), "{got}");
    for gone in ["x-hop", "keep-alive", "proxy-auth", "upgrade"] {
        assert!(!got.contains(gone), "{gone}: {got}");
    }
}

#[tokio::test]
async fn an_answer_with_two_readings_is_502() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "nonsense\r\n\r\n",
        "",
    ] {
        let got = through(answering(answer).await, GET).await;
        assert_eq!(statuses(&got), [502], "{answer:?}: {got}");
        assert!(got.contains("the origin `crm`") && !got.contains("127.0.0.1"), "{got}");
    }
}

#[tokio::test]
async fn an_origin_that_is_down_is_502() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let got = through(origin_at(free), GET).await;
    assert_eq!(statuses(&got), [502]);
    assert!(got.contains("connect_failed: the origin `crm` could not be connected to"), "{got}");
}

#[tokio::test]
async fn an_origin_that_is_slow_is_504() {
    let addr = origin(|_, stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let slow = Origin { timeout: Duration::from_millis(100), ..origin_at(addr) };
    let got = through(slow, GET).await;
    assert_eq!(statuses(&got), [504]);
    assert!(got.contains("origin_timeout: the origin `crm` did not answer within 0.1 s"), "{got}");
}

#[tokio::test]
async fn beyond_its_connections_an_origin_is_503_and_then_free_again() {
    let (release, released) = tokio::sync::watch::channel(false);
    let addr = origin(move |_, mut stream| {
        let mut released = released.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await.unwrap();
            released.wait_for(|r| *r).await.unwrap();
            stream.write_all(b"k").await.unwrap();
        }
    })
    .await;
    let one = Origin { timeout: Duration::from_millis(200), connections: 1, ..origin_at(addr) };
    let server = serve(limits(), proxy(one));
    let mut first = TcpStream::connect(server.addr).await.unwrap();
    first.write_all(GET).await.unwrap();
    read_head(&mut first).await;
    // The permit lives until the end of the body, not of the head.
    let second = talk(server.addr, GET).await;
    assert_eq!(statuses(&second), [503], "{second}");
    assert!(second.contains("origin_busy"), "{second}");
    release.send_replace(true);
    assert!(read_to_end(&mut first).await.ends_with("ok"));
    assert_eq!(statuses(&talk(server.addr, GET).await), [200]);
}

#[tokio::test]
async fn a_broken_answer_never_ends_cleanly() {
    let short = through(answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await, GET).await;
    assert!(short.ends_with("\r\n\r\nabc"), "{short}");
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let cut = through(answering(cut).await, GET).await;
    assert!(cut.contains("abc") && !cut.ends_with("0\r\n\r\n"), "{cut}");
}

#[tokio::test]
async fn an_answer_that_stands_still_is_cut() {
    let addr = origin(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let origin = Origin { body_idle: Duration::from_millis(100), ..origin_at(addr) };
    let got = through(origin, GET).await;
    assert!(got.ends_with("\r\n\r\nabc"), "{got}");
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (next, events) = mpsc::channel::<&'static str>(1);
    let events = Arc::new(tokio::sync::Mutex::new(events));
    let addr = origin(move |_, mut stream| {
        let events = Arc::clone(&events);
        async move {
            read_head(&mut stream).await;
            let head =
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head).await.unwrap();
            while let Some(event) = events.lock().await.recv().await {
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                stream.write_all(chunk.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let server = serve(limits(), proxy(origin_at(addr)));
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    client.write_all(GET).await.unwrap();
    read_head(&mut client).await;
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        // The next event is not written before this one was read.
        next.send(event).await.unwrap();
        read_until(&mut client, &format!("{event}\r\n")).await;
    }
}

#[tokio::test]
async fn trailers_pass_both_ways_and_forbidden_ones_do_not() {
    let (trailers, mut seen) = mpsc::channel(1);
    let addr = origin(move |_, mut stream| {
        let trailers = trailers.clone();
        async move {
            read_head(&mut stream).await;
            read_until(&mut stream, "0\r\n").await;
            trailers.send(read_until(&mut stream, "\r\n\r\n").await).await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\nTrailer: X-Sum, Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nok\r\n0\r\nX-Sum: 2\r\nContent-Length: 9\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let request = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, te\r\nTE: trailers\r\n\
         Trailer: X-Sum, X-Forwarded-For, Authorization\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-Forwarded-For: 6.6.6.6\r\nAuthorization: x\r\nX-Unannounced: 1\r\n\r\n";
    let got = through(origin_at(addr), request.as_bytes()).await;
    assert_eq!(soon(seen.recv()).await.unwrap(), "x-sum: 1\r\n\r\n");
    assert!(got.ends_with("2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n"), "{got}");
}

/// An origin that speaks a made-up protocol after its 101: it sends everything back in upper case.
async fn shouting(answer: &'static str) -> Origin {
    let addr = origin(move |_, mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(
            head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"),
            "{head}"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut bytes = [0; 1024];
        while let Ok(n @ 1..) = stream.read(&mut bytes).await {
            bytes[..n].make_ascii_uppercase();
            stream.write_all(&bytes[..n]).await.unwrap();
        }
    });
    origin_at(addr.await)
}

const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[tokio::test]
async fn after_a_101_both_sides_are_joined() {
    let server = serve(limits(), proxy(shouting(SWITCH).await));
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    client.write_all(UPGRADE).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("upgrade: websocket"), "{head}");
    for _ in 0..3 {
        client.write_all(b"\x01 hello \n").await.unwrap();
        read_until(&mut client, "\x01 HELLO \n").await;
    }
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "");
}

#[tokio::test]
async fn bytes_sent_before_the_101_reach_the_tunnel_and_no_request_parser() {
    let server = serve(limits(), proxy(shouting(SWITCH).await));
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    client.write_all(&[UPGRADE, b"\0early\n"].concat()).await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101 "));
    read_until(&mut client, "\0EARLY\n").await;
}

#[tokio::test]
async fn there_is_no_tunnel_without_a_101() {
    let declined = "HTTP/1.1 403 Forbidden\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno";
    let server = serve(limits(), proxy(shouting(declined).await));
    // What follows would be shouted back by the origin, if it came there.
    let smuggled = b"POST /secret HTTP/1.1\r\nHost: a\nX: y\r\n\r\n";
    let got = talk(server.addr, &[UPGRADE, smuggled].concat()).await;
    assert_eq!(statuses(&got), [403, 400], "{got}");
    assert!(!got.contains("SECRET") && !got.contains("upgrade:"), "{got}");
}

#[tokio::test]
async fn an_upgrade_to_what_was_not_asked_for_is_502() {
    let other = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n";
    let got = through(shouting(other).await, &[UPGRADE, b"GET / HTTP/0\r\n"].concat()).await;
    assert_eq!(statuses(&got), [502, 400]);
}

#[tokio::test]
async fn a_tunnel_that_stands_still_is_closed() {
    let quiet = Origin { body_idle: Duration::from_millis(100), ..shouting(SWITCH).await };
    let server = serve(limits(), proxy(quiet));
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    client.write_all(UPGRADE).await.unwrap();
    read_head(&mut client).await;
    assert_eq!(read_to_end(&mut client).await, "");
}

#[tokio::test]
async fn h2c_is_never_passed_on() {
    let addr = origin(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{head}");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\nGET / HTTP/0\r\n";
    assert_eq!(statuses(&through(origin_at(addr), request).await), [200, 400]);
}

#[tokio::test]
async fn a_connection_is_used_again_and_a_closed_one_is_replaced_without_an_error() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let addr = origin(move |number, mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            // The first connection answers twice, then reads the third request and closes without an answer.
            for _ in 0..if number == 0 { 2 } else { 100 } {
                read_head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
            read_head(&mut stream).await;
        }
    })
    .await;
    let server = serve(limits(), proxy(origin_at(addr)));
    for expected in [1, 1, 2, 2] {
        assert_eq!(statuses(&talk(server.addr, GET).await), [200]);
        assert_eq!(connections.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test]
async fn a_request_that_may_have_had_an_effect_is_not_sent_twice() {
    let heads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heads);
    let addr = origin(move |_, mut stream| {
        let count = Arc::clone(&count);
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            read_head(&mut stream).await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let server = serve(limits(), proxy(origin_at(addr)));
    assert_eq!(statuses(&talk(server.addr, GET).await), [200]);
    let post = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(statuses(&talk(server.addr, post).await), [502]);
    assert_eq!(heads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_unused_connection_is_closed_after_its_time() {
    let (closed, mut seen) = mpsc::channel(1);
    let addr = origin(move |_, mut stream| {
        let closed = closed.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let origin = Origin { keep_alive: Duration::from_millis(100), ..origin_at(addr) };
    let server = serve(limits(), proxy(origin));
    assert_eq!(statuses(&talk(server.addr, GET).await), [200]);
    soon(seen.recv()).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_exchange() {
    let (left, mut seen) = mpsc::channel(1);
    let addr = origin(move |_, mut stream| {
        let left = left.clone();
        async move {
            read_head(&mut stream).await;
            left.send("asked").await.unwrap();
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
            left.send("left").await.unwrap();
        }
    })
    .await;
    let server = serve(limits(), proxy(origin_at(addr)));
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    client.write_all(GET).await.unwrap();
    assert_eq!(soon(seen.recv()).await, Some("asked"));
    drop(client);
    assert_eq!(soon(seen.recv()).await, Some("left"));
}

#[tokio::test]
async fn a_body_with_a_get_is_passed_on() {
    let addr = origin(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        read_until(&mut stream, "2\r\nhi\r\n0\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    assert_eq!(statuses(&through(origin_at(addr), request).await), [200]);
}

#[tokio::test]
async fn a_head_and_a_304_keep_their_length_and_have_no_body() {
    let head = b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let got = through(answering("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n").await, head).await;
    assert!(got.contains("content-length: 7") && got.ends_with("\r\n\r\n"), "{got}");
    let got = through(answering("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n").await, GET).await;
    assert!(statuses(&got) == [304] && got.ends_with("\r\n\r\n"), "{got}");
}

#[tokio::test]
async fn an_upload_that_stands_still_is_408_and_the_origin_is_not_blamed() {
    let addr = origin(|_, mut stream| async move {
        let mut bytes = [0; 1024];
        while let Ok(1..) = stream.read(&mut bytes).await {}
    })
    .await;
    let slow = larder::config::Limits { body_timeout: Duration::from_millis(100), ..limits() };
    let server = serve(slow, proxy(origin_at(addr)));
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc";
    let got = talk(server.addr, request).await;
    assert_eq!(statuses(&got), [408], "{got}");
}

/// What this process holds of memory at most so far, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_of_one_gib_goes_through_in_constant_memory() {
    const GIB: u64 = 1 << 30;
    let addr = origin(|_, mut stream| async move {
        read_head(&mut stream).await;
        let (mut left, mut buffer) = (GIB, vec![0; 256 * 1024]);
        while left > 0 {
            left -= stream.read(&mut buffer).await.unwrap() as u64;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await.unwrap();
    })
    .await;
    let server = serve(limits(), proxy(origin_at(addr)));
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    let before = peak_memory();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {GIB}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; 256 * 1024];
    for _ in 0..GIB / piece.len() as u64 {
        soon(client.write_all(&piece)).await.unwrap();
    }
    assert!(read_to_end(&mut client).await.ends_with("done"));
    let grown = peak_memory() - before;
    assert!(grown < 64 * 1024, "memory grew by {grown} KiB");
}

/// More than all the buffers of the kernel and of hyper on the way.
const FLOOD: u64 = 64 << 20;

/// Waits until a number stops growing while it is looked at many times.
async fn settled(number: &AtomicU64) -> u64 {
    let (mut last, mut same) = (number.load(Ordering::SeqCst), 0);
    soon(async {
        while same < 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = number.load(Ordering::SeqCst);
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
    })
    .await;
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_stops_the_origin() {
    let written = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&written);
    let addr = origin(move |_, mut stream| {
        let count = Arc::clone(&count);
        async move {
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {FLOOD}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let piece = vec![b'x'; 64 * 1024];
            while count.load(Ordering::SeqCst) < FLOOD {
                stream.write_all(&piece).await.unwrap();
                count.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
        }
    })
    .await;
    let server = serve(limits(), proxy(origin_at(addr)));
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    client.write_all(GET).await.unwrap();
    read_head(&mut client).await;
    let stopped_at = settled(&written).await;
    assert!(stopped_at < FLOOD / 2, "{stopped_at} bytes were taken for a client that reads nothing");
    let (mut read, mut buffer) = (0, vec![0; 256 * 1024]);
    while read < FLOOD {
        read += soon(client.read(&mut buffer)).await.unwrap() as u64;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_does_not_read_stops_the_client() {
    let (go, gone) = tokio::sync::watch::channel(false);
    let addr = origin(move |_, mut stream| {
        let mut gone = gone.clone();
        async move {
            gone.wait_for(|go| *go).await.unwrap();
            read_head(&mut stream).await;
            let (mut left, mut buffer) = (FLOOD, vec![0; 256 * 1024]);
            while left > 0 {
                left -= stream.read(&mut buffer).await.unwrap() as u64;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await.unwrap();
        }
    })
    .await;
    let server = serve(limits(), proxy(origin_at(addr)));
    let (mut reading, mut writing) = TcpStream::connect(server.addr).await.unwrap().into_split();
    let written = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&written);
    tokio::spawn(async move {
        let head =
            format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {FLOOD}\r\n\r\n");
        writing.write_all(head.as_bytes()).await.unwrap();
        let piece = vec![b'x'; 64 * 1024];
        while count.load(Ordering::SeqCst) < FLOOD {
            writing.write_all(&piece).await.unwrap();
            count.fetch_add(piece.len() as u64, Ordering::SeqCst);
        }
        writing.forget(); // dropped, it would close this direction, and a client that closes has left
    });
    let stopped_at = settled(&written).await;
    assert!(stopped_at < FLOOD / 2, "{stopped_at} bytes were taken for an origin that reads nothing");
    go.send_replace(true);
    assert!(read_to_end(&mut reading).await.ends_with("done"));
}

//! Through real sockets, a client, Larder's server and origin client, and a scripted origin: what is
//! passed on, which connections are used again, and an origin that fails is answered with a status that says how.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder::config::Origin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use wire::*;

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
async fn a_connection_is_not_used_at_the_moment_at_which_the_origin_said_it_closes_it() {
    for (hint, expected) in [("timeout=1", 2), ("max=9, timeout=0", 2), ("timeout=60", 1), ("timeout=x", 1)] {
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let addr = origin(move |_, mut stream| {
            count.fetch_add(1, Ordering::SeqCst);
            async move {
                for _ in 0..2 {
                    read_head(&mut stream).await;
                    let head =
                        format!("HTTP/1.1 200 OK\r\nKeep-Alive: {hint}\r\nContent-Length: 2\r\n\r\nok");
                    stream.write_all(head.as_bytes()).await.unwrap();
                }
            }
        })
        .await;
        let server = serve(limits(), proxy(origin_at(addr)));
        for _ in 0..2 {
            assert_eq!(statuses(&talk(server.addr, GET).await), [200]);
        }
        assert_eq!(connections.load(Ordering::SeqCst), expected, "{hint}");
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
async fn an_unused_connection_that_the_origin_closes_is_closed_at_once() {
    let (close, closing) = watch::channel(false);
    let (closed, mut seen) = mpsc::channel(1);
    let addr = origin(move |_, mut stream| {
        let (mut closing, closed) = (closing.clone(), closed.clone());
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            closing.wait_for(|close| *close).await.unwrap();
            stream.shutdown().await.unwrap();
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let origin = Origin { keep_alive: DEADLINE * 3, ..origin_at(addr) };
    let server = serve(limits(), proxy(origin));
    assert_eq!(statuses(&talk(server.addr, GET).await), [200]);
    close.send(true).unwrap();
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

//! Through real sockets: a tunnel begins after the origin's 101 and not before, and never to another HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod wire;

use std::time::Duration;

use larder::config::Origin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::*;

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
async fn a_request_whose_body_comes_after_its_head_may_ask_for_an_upgrade_in_vain() {
    let (heads, mut head) = tokio::sync::mpsc::unbounded_channel();
    let service = tower::service_fn(move |request: http::Request<larder::http::Body>| {
        heads.send(()).unwrap();
        async move {
            let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
            Ok::<_, std::convert::Infallible>(http::Response::new(larder::http::Body::full(body)))
        }
    });
    let server = serve(limits(), service);
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    for number in 0..3 {
        let ask =
            "POST /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 6\r\n\r\n";
        client.write_all(ask.as_bytes()).await.unwrap();
        soon(head.recv()).await.unwrap();
        client.write_all(format!("hello{number}").as_bytes()).await.unwrap();
        read_until(&mut client, &format!("\r\n\r\nhello{number}")).await;
    }
    client.write_all(b"GET /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut client).await.starts_with("HTTP/1.1 200 "));
}

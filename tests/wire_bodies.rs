//! Through real sockets: bodies stream both ways with back-pressure and in constant memory, and a body that breaks or
//! stands still is never taken for a whole one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

#[path = "support/wait.rs"]
#[allow(dead_code, unreachable_pub)] // a toolbox, shared with tests that are arranged otherwise
mod wait;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::config::Origin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use wire::*;

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
    wait::until("the number stands still", || {
        let now = number.load(Ordering::SeqCst);
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same == 20
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
async fn an_upload_goes_on_while_nobody_reads_the_answer() {
    let addr = origin(|_, mut stream| async move {
        read_head(&mut stream).await;
        let (mut reading, mut writing) = stream.into_split();
        tokio::spawn(async move {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {FLOOD}\r\n\r\n");
            writing.write_all(head.as_bytes()).await.unwrap();
            let piece = vec![b'x'; 64 * 1024];
            for _ in 0..FLOOD / piece.len() as u64 {
                writing.write_all(&piece).await.unwrap();
            }
        });
        let (mut left, mut buffer) = (FLOOD, vec![0; 256 * 1024]);
        while left > 0 {
            left -= reading.read(&mut buffer).await.unwrap() as u64;
        }
    })
    .await;
    let server = serve(limits(), proxy(origin_at(addr)));
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {FLOOD}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    read_head(&mut client).await;
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..FLOOD / piece.len() as u64 {
        soon(client.write_all(&piece)).await.unwrap();
    }
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

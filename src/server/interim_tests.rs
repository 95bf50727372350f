//! A connection with non-final responses over a stream that is as rough as one can be: it takes and gives a few bytes at
//! a time, or none for now. Whatever the order of things, the client reads whole responses, each request's in its turn.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::task::yield_now;

use super::framing::{Filter, Tap};
use super::protocol::serve_http1;
use crate::config::Limits;
use crate::error::BoxError;
use crate::http::{Body, Peer};

/// Numbers from a seed.
#[derive(Clone)]
struct Random(Arc<Mutex<u64>>);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)))
    }

    fn below(&self, n: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 11) % n
    }

    fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A stream that never does all that it is asked to.
struct Rough(DuplexStream, Random);

impl Rough {
    fn balks(&self, cx: &Context<'_>) -> bool {
        let balks = self.1.one_in(3);
        if balks {
            cx.waker().wake_by_ref();
        }
        balks
    }
}

impl AsyncRead for Rough {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.balks(cx) {
            return Poll::Pending;
        }
        let mut bytes = [0; 200];
        let most = usize::try_from(self.1.below(200)).unwrap() + 1;
        let mut part = ReadBuf::new(&mut bytes[..most.min(buf.remaining())]);
        let polled = Pin::new(&mut self.0).poll_read(cx, &mut part);
        buf.put_slice(part.filled());
        polled
    }
}

impl AsyncWrite for Rough {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.balks(cx) {
            return Poll::Pending;
        }
        let most = buf.len().min(usize::try_from(self.1.below(60)).unwrap() + 1);
        Pin::new(&mut self.0).poll_write(cx, &buf[..most])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.balks(cx) { Poll::Pending } else { Pin::new(&mut self.0).poll_flush(cx) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A body in pieces, with waits between them.
struct Pieces(VecDeque<Bytes>, Random);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.1.one_in(2) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

fn said(of: &str, number: usize) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("{of}-{number}-{}", "x".repeat(number * 7))).unwrap();
    HeaderMap::from_iter([(http::header::LINK, value)])
}

/// The number of non-final responses that the service says for a request.
fn count(of: usize) -> usize {
    (of * 7 + 3) % 5
}

/// Says some non-final responses, now and then late or from elsewhere, and answers.
async fn serve(mut request: Request<Body>, random: Random) -> Result<Response<Body>, Infallible> {
    let of = request.uri().path()[1..].to_owned();
    let interim = request.body().interim().unwrap();
    let count = count(of.parse().unwrap());
    let reads_before = usize::try_from(random.below(6)).unwrap();
    for number in 0..count {
        if number == reads_before {
            request.body_mut().collect().await.unwrap();
        }
        for _ in 0..random.below(4) {
            yield_now().await;
        }
        if random.one_in(2) {
            interim.send(StatusCode::EARLY_HINTS, said(&of, number));
        } else {
            let (interim, of) = (interim.clone(), of.clone());
            let elsewhere = tokio::spawn(async move {
                interim.send(StatusCode::EARLY_HINTS, said(&of, number));
            });
            elsewhere.await.unwrap();
        }
    }
    request.body_mut().collect().await.unwrap();
    // Who still says something when the answer is there is not heard: this begins to run after the return.
    let late = random.clone();
    tokio::spawn(async move {
        for _ in 0..late.below(40) {
            yield_now().await;
        }
        interim.send(StatusCode::from_u16(199).unwrap(), said("late", 0));
    });
    let body = format!("{of} ").repeat(usize::try_from(random.below(60)).unwrap());
    let response = Response::builder().header("x-of", &of).header("content-length", body.len());
    let pieces = body.as_bytes().chunks(50).map(Bytes::copy_from_slice).collect();
    Ok(response.body(Body::wrap(Pieces(pieces, random))).unwrap())
}

const REQUESTS: usize = 6;

/// All bytes that a client gets for some pipelined requests.
async fn converse(seed: u64) -> String {
    let random = Random::new(seed);
    let (client, server) = tokio::io::duplex(usize::try_from(1 + random.below(400)).unwrap());
    let limits = Limits {
        uri: 8192,
        header_bytes: 32768,
        header_count: 100,
        header_timeout: Duration::from_secs(60),
        body_timeout: Duration::from_secs(60),
        connections: 1,
        drain: Duration::from_secs(1),
    };
    let peer = Peer { addr: ([127, 0, 0, 1], 1).into(), tls: false };
    let tap = Tap::default();
    let io = Filter::http1(Rough(server, random.clone()), b"", &limits, tap.clone());
    let service = tower::service_fn(move |request| serve(request, random.clone()));
    let serving = tokio::spawn(serve_http1(io, tap, peer, limits, service));
    let (mut reading, mut writing) = tokio::io::split(client);
    let asking = tokio::spawn(async move {
        for of in 0..REQUESTS {
            let close = if of + 1 == REQUESTS { "Connection: close\r\n" } else { "" };
            let request = if of % 2 == 0 {
                format!("GET /{of} HTTP/1.1\r\nHost: a\r\n{close}\r\n")
            } else {
                // A client need not wait for the 100 that it asks for.
                let head = format!("POST /{of} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{close}");
                format!("{head}Content-Length: 50\r\n\r\n{}", "hello".repeat(10))
            };
            writing.write_all(request.as_bytes()).await.unwrap();
        }
        writing
    });
    let mut got = Vec::new();
    reading.read_to_end(&mut got).await.unwrap();
    asking.await.unwrap();
    serving.await.unwrap().unwrap();
    String::from_utf8(got).unwrap()
}

/// Splits a text at the end of a head.
fn head(text: &str) -> (&str, &str) {
    text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"))
}

fn check(seed: u64, got: &str) {
    let mut rest = got;
    // hyper says it by itself, where it likes among the others.
    let continued = |rest: &mut &str| {
        let behind = rest.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n");
        *rest = behind.unwrap_or(rest);
    };
    for of in 0..REQUESTS {
        continued(&mut rest);
        for number in 0..count(of) {
            let (said, behind) = head(rest);
            let link = format!("link: {of}-{number}-{}", "x".repeat(number * 7));
            assert_eq!(said, format!("HTTP/1.1 103 Early Hints\r\n{link}"), "seed {seed}: {got}");
            rest = behind;
            continued(&mut rest);
        }
        let (last, behind) = head(rest);
        assert!(last.starts_with("HTTP/1.1 200 OK\r\n"), "seed {seed}: {last:?} in {got}");
        assert!(last.contains(&format!("x-of: {of}\r\n")) && !last.contains("link"), "seed {seed}: {got}");
        let length = last.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        let (body, behind) = behind.split_at(length);
        assert_eq!(body, format!("{of} ").repeat(length / 2), "seed {seed}: {got}");
        rest = behind;
    }
    assert_eq!(rest, "", "seed {seed}: {got}");
}

#[tokio::test]
async fn in_whatever_pieces_it_is_written_each_request_has_its_own_responses_in_order() {
    for seed in 0..400 {
        let got = tokio::time::timeout(Duration::from_secs(20), converse(seed)).await;
        check(seed, &got.unwrap_or_else(|_| panic!("seed {seed} stands still")));
    }
}

//! The tests' own tools, tried on each other: an origin, a client and no Larder between them.
//!
//! When one of these fails, failures elsewhere say nothing about Larder.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, StatusCode, Version};
use support::raw::{self, RawOrigin};
use support::reply::Long;
use support::{Client, Gate, Origin, Reply, Steps};

#[tokio::test]
async fn the_origin_counts_and_records_what_it_is_asked() {
    let origin = Origin::start(async |request: http::Request<bytes::Bytes>| {
        Reply::ok(format!("{} {}", request.method(), request.body().len()))
            .header("x-a", "1")
            .header("x-a", "2")
    });
    let client = Client::new();
    let answer = client.post(format!("{}/p?q=1", origin.url())).header("x-b", "3").body("abc").send().await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "POST 3"));
    assert_eq!(answer.header_all("x-a"), ["1", "2"]);
    client.get(format!("{}/p", origin.url())).send().await;
    assert_eq!((origin.count("/p"), origin.count("/q"), origin.total(), origin.connections()), (2, 0, 2, 2));
    let first = origin.requests_to("/p").remove(0);
    assert_eq!(
        (first.target.as_str(), &first.body[..], first.header("x-b")),
        ("/p?q=1", &b"abc"[..], Some("3"))
    );
    origin.answer_with(async |_| Reply::status(404));
    assert_eq!(client.get(origin.url()).send().await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn connections_are_kept_or_not_as_the_client_is_told() {
    let origin = Origin::constant(|| Reply::ok("x"));
    let client = Client::keep_alive();
    for _ in 0..3 {
        client.get(origin.url()).send().await;
    }
    assert_eq!(origin.connections(), 1);
    let answer = Client::http2().get(origin.url()).send().await;
    assert_eq!((answer.version, answer.text()), (Version::HTTP_2, "x"));
}

#[tokio::test]
async fn a_gate_holds_answers_back_until_the_test_opens_it() {
    let gate = Gate::closed();
    let at_the_gate = gate.clone();
    let origin = Origin::start(move |_| {
        let gate = at_the_gate.clone();
        async move {
            gate.pass().await;
            Reply::ok("through")
        }
    });
    let ask = |n: usize| tokio::spawn(Client::new().get(format!("{}/{n}", origin.url())).send());
    let (first, second) = (ask(1), ask(2));
    gate.arrived(2).await;
    assert_eq!(origin.in_flight(), 2);
    gate.let_through(1);
    support::wait::until("one is through", || first.is_finished() || second.is_finished()).await;
    assert!(!(first.is_finished() && second.is_finished()));
    gate.open();
    for task in [first, second, ask(3)] {
        assert_eq!(task.await.unwrap().text(), "through");
    }
    assert_eq!((origin.peak(), gate.count()), (2, 3));
}

#[tokio::test]
async fn a_body_comes_in_steps_and_can_be_cut() {
    let steps = Steps::new();
    let body = steps.clone();
    let origin = Origin::constant(move || Reply::status(200).steps(&body));
    let mut early = Client::new().get(origin.url()).stream().await;
    steps.opened(1).await;
    steps.data("abc");
    assert_eq!(early.at_least(3).await, b"abc");
    let mut late = Client::new().get(origin.url()).stream().await;
    assert_eq!(late.at_least(3).await, b"abc", "a body that is opened later has all steps, too");
    drop(late);
    steps.dropped(1).await;
    steps.data("def");
    assert_eq!(early.at_least(3).await, b"def");
    // Only now: what is not yet written when the connection is cut never comes.
    steps.cut();
    assert!(early.rest().await.is_err());
}

#[tokio::test]
async fn a_body_ends_with_trailers() {
    let origin = Origin::constant(|| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "9".parse().unwrap());
        Reply::ok("abc").header("trailer", "x-sum").trailers(trailers)
    });
    let answer = Client::new().get(origin.url()).header("te", "trailers").send().await;
    assert_eq!((answer.text(), answer.trailers.get("x-sum").unwrap().to_str().unwrap()), ("abc", "9"));
}

#[tokio::test]
async fn a_long_body_is_made_as_it_is_read() {
    const LENGTH: u64 = 256 << 20;
    let made = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&made);
    let origin = Origin::constant(move || Reply::status(200).long_counted(LENGTH, &counter));
    let mut answer = Client::new().get(origin.url()).stream().await;
    assert_eq!(answer.header("content-length"), Some("268435456"));
    answer.at_least(1).await;
    assert!(made.load(Ordering::SeqCst) < LENGTH / 2, "nobody reads, yet all of it was made");
    drop(answer);

    let upload = Origin::streaming(|request| async move {
        let mut body = request.into_body();
        let mut length = 0;
        while let Some(Ok(frame)) = http_body_util::BodyExt::frame(&mut body).await {
            length += frame.data_ref().map_or(0, bytes::Bytes::len);
        }
        Reply::ok(length.to_string())
    });
    let body = http_body_util::BodyExt::boxed_unsync(Long::new(8 << 20));
    let answer = Client::new().post(upload.url()).stream_body(body).send().await;
    assert_eq!(answer.text(), (8 << 20).to_string());
}

#[tokio::test]
async fn an_origin_cuts_goes_down_and_comes_back() {
    let mut origin =
        Origin::start(
            async |request: http::Request<bytes::Bytes>| {
                if request.uri().path() == "/cut" { Reply::cut() } else { Reply::ok("x") }
            },
        );
    let client = Client::new();
    assert!(client.get(format!("{}/cut", origin.url())).try_send().await.is_err());
    origin.stop();
    assert!(client.get(origin.url()).try_send().await.is_err());
    origin.restart();
    assert_eq!(client.get(origin.url()).send().await.text(), "x");
    assert_eq!(origin.total(), 2);
}

#[tokio::test]
async fn raw_bytes_go_both_ways() {
    let origin = RawOrigin::constant("HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(Client::new().get(origin.url()).send().await.status.as_u16(), 299);
    let answer = raw::until_closed(origin.addr(), "GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!((answer.status(), answer.text().ends_with("ok")), (299, true));
    let hyper = Origin::constant(|| Reply::ok("x"));
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = raw::until(hyper.addr(), request, |bytes| bytes.ends_with(b"\r\n\r\nx")).await;
    assert_eq!(answer.status(), 200);
}

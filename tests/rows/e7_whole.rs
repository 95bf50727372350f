//! E7, the other side of it: an answer that did not come whole is never stored, and never looks whole to a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::raw::{self, RawOrigin};
use crate::support::{Client, InProcess, Larder, Origin, Reply, Steps, wait};
use tokio::io::AsyncWriteExt;

const YAML: &str = "
origins: { app: { url: '{origin}' } }
tiers: { usual: { ttl: 15m, stale_while_revalidate: 1m, stale_if_error: 1h }, own: {} }
routes:
  - { name: own, path: '/own/{*rest}', tier: own, share: public }
  - { name: pass, path: '/pass/{*rest}' }
  - { name: all, path: '/{*rest}', tier: usual, share: public }
";

/// An origin that answers every request with these bytes, closes, and counts.
async fn broken(bytes: String) -> (RawOrigin, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let origin = RawOrigin::start(move |mut stream| {
        let (bytes, counter) = (bytes.clone(), counter.clone());
        async move {
            raw::read_head(&mut stream).await;
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(bytes.as_bytes()).await;
        }
    })
    .await;
    (origin, count)
}

#[tokio::test]
async fn e7_an_answer_that_breaks_off_is_never_stored_and_never_looks_whole() {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n";
    for (what, rest) in [
        ("shorter than announced", "Content-Length: 10\r\n\r\nhello"),
        ("no body at all", "Content-Length: 10\r\n\r\n"),
        ("chunks without an end", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        ("a chunk cut in two", "Transfer-Encoding: chunked\r\n\r\n10\r\nhello"),
        ("an end cut off", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
        ("a chunk that is none", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n"),
    ] {
        let (origin, count) = broken(format!("{head}{rest}")).await;
        let larder = Larder::with(YAML).put("origin", origin.url()).start().await;
        for path in ["/page", "/own/page", "/pass/page"] {
            for turn in 1..=2 {
                let before = count.load(Ordering::SeqCst);
                let answer = Client::new().get(larder.url(path)).try_send().await;
                let failed = answer.is_err() || answer.as_ref().is_ok_and(|answer| answer.status == 502);
                assert!(failed, "{what}, {path}, turn {turn}: it looks whole: {answer:?}");
                assert!(count.load(Ordering::SeqCst) > before, "{what}, {path}: it was stored");
            }
        }
    }
}

#[tokio::test]
async fn e7_a_body_that_only_the_close_ends_is_passed_on() {
    let (origin, count) = broken("HTTP/1.0 200 OK\r\n\r\nuntil the close".to_owned()).await;
    let larder = Larder::with(YAML).put("origin", origin.url()).start().await;
    for _ in 0..2 {
        let answer = Client::new().get(larder.url("/page")).send().await;
        assert_eq!(answer.text(), "until the close");
    }
    assert!(count.load(Ordering::SeqCst) >= 1);
}

#[tokio::test]
async fn e7_everybody_who_shares_a_fill_sees_that_it_broke() {
    let steps = Steps::new();
    let script = steps.clone();
    let origin = Origin::constant(move || Reply::status(200).steps(&script));
    let larder = Larder::with(YAML).origin(&origin).start().await;
    steps.data("the first half");
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut reader = Client::new().get(larder.url("/page")).stream().await;
        reader.at_least(14).await;
        readers.push(reader);
    }
    assert_eq!(origin.total(), 1);
    steps.cut();
    for reader in &mut readers {
        assert!(reader.rest().await.is_err());
    }
    origin.answer_with(async |_| Reply::ok("whole"));
    let next = Client::new().get(larder.url("/page")).send().await;
    assert_eq!((next.x_cache(), next.text()), ("MISS", "whole"));
}

#[tokio::test]
async fn e7_a_refresh_that_breaks_off_leaves_the_old_answer_in_place() {
    let steps = Steps::new();
    let (script, number) = (steps.clone(), AtomicUsize::new(0));
    let origin = Origin::start(move |_| {
        let first = number.fetch_add(1, Ordering::SeqCst) == 0;
        std::future::ready(if first { Reply::ok("old") } else { Reply::status(200).steps(&script) })
    });
    let yaml = YAML.replace("{origin}", "http://127.0.0.1:1");
    let larder = InProcess::start(&yaml, &origin, 1_780_000_000).await;
    larder.ask("/page", &[]).await;
    larder.advance(Duration::from_secs(15 * 60));
    steps.data("half of the n").cut();
    for turn in 1..=3 {
        wait::until_async("a refresh is tried", async || {
            let stale = larder.ask("/page", &[]).await;
            assert_eq!((stale.x_cache(), stale.text()), ("STALE", "old"));
            (origin.count("/page") > turn).then_some(())
        })
        .await;
        steps.dropped(turn).await;
    }
}

#[tokio::test]
async fn e7_trailers_are_passed_on_and_a_fill_does_not_ask_for_any() {
    let origin = Origin::constant(|| {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", "9".parse().unwrap());
        Reply::ok("abc").header("trailer", "x-sum").trailers(trailers)
    });
    let larder = Larder::with(YAML).origin(&origin).start().await;
    let ask = async |path: &str| Client::new().get(larder.url(path)).header("te", "trailers").send().await;
    let passed = ask("/pass/page").await;
    assert_eq!((passed.text(), passed.trailers["x-sum"].as_bytes()), ("abc", &b"9"[..]));
    // What is kept has none: an answer is the same whether it comes from the store or not.
    for word in ["MISS", "HIT"] {
        let kept = ask("/page").await;
        assert_eq!((kept.x_cache(), kept.text(), kept.trailers.is_empty()), (word, "abc", true));
    }
}

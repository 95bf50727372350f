//! F2: requests for a range, from whole responses and from parts; parts that are stored, combined and completed.

use crate::support::{Answer, InProcess, Origin, Reply};
use bytes::Bytes;
use http::Request;

const NOON: u64 = 1_780_000_000;
const MODIFIED: &str = "Sat, 23 May 2026 10:00:00 GMT";
const DATE: &str = "Thu, 28 May 2026 20:26:40 GMT";

const YAML: &str = "
origins: { app: { url: 'http://127.0.0.1:1' } }
tiers: { usual: { ttl: 1h }, own: {} }
routes:
  - { name: own, path: '/own/{*rest}', tier: own, share: public }
  - { name: usual, path: '/{*rest}', tier: usual, share: public }
";

/// The paths on a tier with a lifetime, and on one without.
const BOTH: [&str; 2] = ["/page", "/own/page"];

async fn larder(origin: &Origin) -> InProcess {
    InProcess::start(YAML, origin, NOON).await
}

/// Status, word, content and `Content-Range` of an answer.
fn seen(answer: &Answer) -> (u16, &str, &str, &str) {
    let range = answer.header("content-range").unwrap_or("-");
    (answer.status.as_u16(), answer.x_cache(), answer.text(), range)
}

fn whole() -> Reply {
    Reply::ok("0123456789")
        .header("cache-control", "max-age=600")
        .header("content-type", "text/plain")
        .header("etag", "\"a\"")
        .header("last-modified", MODIFIED)
        .header("date", DATE)
}

#[tokio::test]
async fn f2_a_range_is_cut_from_a_whole_stored_response() {
    let origin = Origin::constant(whole);
    let larder = larder(&origin).await;
    for path in BOTH {
        larder.ask(path, &[]).await;
        for (range, text, says) in [
            ("bytes=0-1", "01", "bytes 0-1/10"),
            ("bytes=8-", "89", "bytes 8-9/10"),
            ("bytes=-3", "789", "bytes 7-9/10"),
            ("bytes=5-99", "56789", "bytes 5-9/10"),
        ] {
            let answer = larder.ask(path, &[("range", range)]).await;
            assert_eq!(seen(&answer), (206, "HIT", text, says), "{range}");
            assert_eq!(answer.header("content-length"), Some(text.len().to_string().as_str()));
            assert_eq!(answer.header("content-type"), Some("text/plain"));
            assert!(answer.cache_status().contains("; hit"), "{}", answer.cache_status());
        }
        for range in ["bytes=10-", "bytes=-0"] {
            let answer = larder.ask(path, &[("range", range)]).await;
            assert_eq!(seen(&answer), (416, "HIT", "", "bytes */10"));
            assert_eq!((answer.header("etag"), answer.header("cache-control")), (None, Some("no-store")));
        }
        for range in ["bytes=0-1,4-5", "lines=0-1", "bytes=4-1", "nonsense"] {
            assert_eq!(seen(&larder.ask(path, &[("range", range)]).await), (200, "HIT", "0123456789", "-"));
        }
        assert_eq!(origin.count(path), 1);
    }
}

#[tokio::test]
async fn f2_conditions_come_before_if_range_and_that_before_the_range() {
    let origin = Origin::constant(whole);
    let larder = larder(&origin).await;
    larder.ask("/page", &[]).await;
    let range = ("range", "bytes=0-1");
    for fields in [[range, ("if-none-match", "\"a\"")], [range, ("if-modified-since", MODIFIED)]] {
        assert_eq!(seen(&larder.ask("/page", &fields).await), (304, "HIT", "", "-"));
    }
    for (validator, status) in
        [("\"a\"", 206), (MODIFIED, 206), ("\"b\"", 200), ("W/\"a\"", 200), (DATE, 200)]
    {
        let answer = larder.ask("/page", &[range, ("if-range", validator)]).await;
        assert_eq!((answer.status.as_u16(), answer.x_cache()), (status, "HIT"), "{validator}");
        assert_eq!(answer.text().len(), if status == 206 { 2 } else { 10 });
    }
    let head = crate::support::Client::new().method("HEAD", larder.url("/page")).header("range", "bytes=0-1");
    let head = head.send().await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, Some("10")));
    assert_eq!(origin.total(), 1);
}

#[tokio::test]
async fn f2_a_stale_whole_response_is_validated_before_a_range_is_cut_from_it() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        assert!(!request.headers().contains_key("range"), "validated without a range");
        match request.headers().get("if-none-match") {
            Some(_) => Reply::status(304).header("cache-control", "max-age=600"),
            None => whole(),
        }
    });
    let larder = larder(&origin).await;
    larder.ask("/own/page", &[]).await;
    larder.advance(std::time::Duration::from_secs(601));
    let answer = larder.ask("/own/page", &[("range", "bytes=2-3")]).await;
    assert_eq!(seen(&answer), (206, "REVALIDATED", "23", "bytes 2-3/10"));
    assert_eq!(seen(&larder.ask("/own/page", &[]).await), (200, "HIT", "0123456789", "-"));
    assert_eq!(origin.total(), 2);
    origin.answer_with(async |_| Reply::ok("abcdef").header("cache-control", "max-age=600"));
    larder.advance(std::time::Duration::from_secs(601));
    let answer = larder.ask("/own/page", &[("range", "bytes=2-3")]).await;
    assert_eq!(seen(&answer), (206, "MISS", "cd", "bytes 2-3/6"), "cut from what comes in");
}

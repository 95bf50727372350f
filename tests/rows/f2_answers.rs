//! F2: which answers are kept, and how one that is kept answers HEAD, conditions and other variants.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Answer, Client, Gate, InProcess, Origin, Reply, Steps};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::BodyExt;

const NOON: u64 = 1_780_000_000;
const MODIFIED: &str = "Sat, 23 May 2026 10:00:00 GMT";

const YAML: &str = "
origins: { app: { url: 'http://127.0.0.1:1' } }
tiers: { usual: { ttl: 1h }, own: {} }
routes:
  - { name: own, path: '/own/{*rest}', tier: own, share: public }
  - name: lifted
    path: '/lifted/{*rest}'
    tier: usual
    share: public
    override: [no-store, private, no-cache, 'Vary: Cookie', 'Vary: Authorization', Set-Cookie]
  - { name: usual, path: '/{*rest}', tier: usual, share: public }
";

async fn larder(origin: &Origin) -> InProcess {
    InProcess::start(YAML, origin, NOON).await
}

async fn head(larder: &InProcess, path: &str) -> Answer {
    Client::new().method("HEAD", larder.url(path)).send().await
}

#[tokio::test]
async fn f2_variants_are_told_apart_by_the_fields_that_vary_names() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let view = request.headers().get("x-view").map_or("none", |v| v.to_str().unwrap()).to_owned();
        Reply::ok(view).header("vary", "X-View, Accept-Encoding").header("cache-control", "max-age=600")
    });
    let larder = larder(&origin).await;
    for word in ["MISS", "HIT"] {
        for view in ["list", "table", "form"] {
            let answer = larder.ask("/own/page", &[("x-view", view), ("x-other", word)]).await;
            assert_eq!((answer.x_cache(), answer.text()), (word, view), "{}", answer.cache_status());
        }
    }
    let none = larder.ask("/own/page", &[]).await;
    assert_eq!((none.x_cache(), none.text()), ("MISS", "none"));
    assert!(none.cache_status().contains("fwd=vary-miss"), "{}", none.cache_status());
    assert_eq!(origin.total(), 4);
}

#[tokio::test]
async fn f2_variants_asked_for_at_the_same_time_reach_the_reader_they_are_for() {
    let gate = Gate::closed();
    let at_the_gate = gate.clone();
    let origin = Origin::start(move |request: Request<Bytes>| {
        let gate = at_the_gate.clone();
        async move {
            gate.pass().await;
            let view = request.headers()["x-view"].as_bytes().to_vec();
            Reply::ok(view).header("vary", "X-View").header("cache-control", "max-age=600")
        }
    });
    let larder = larder(&origin).await;
    let asking: Vec<_> = (0..60)
        .map(|n| {
            let view = format!("view{}", n % 3);
            let call = larder.get("/own/page").header("x-view", &view);
            tokio::spawn(async move { (view, call.send().await) })
        })
        .collect();
    gate.arrived(1).await;
    gate.open();
    for task in asking {
        let (view, answer) = task.await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (200, view.as_str()),
            "{}",
            answer.cache_status()
        );
    }
    assert!(origin.total() < 20, "{} origin requests for three variants", origin.total());
}

#[tokio::test]
async fn f2_an_encoded_answer_goes_only_to_who_accepts_it() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let accepts = request.headers().get("accept-encoding").map_or("", |v| v.to_str().unwrap());
        let reply = Reply::ok(if accepts.contains("gzip") { "gzipped" } else { "plain" });
        // It encodes without a word in `Vary`, as many do.
        if accepts.contains("gzip") { reply.header("content-encoding", "gzip") } else { reply }
    });
    let larder = larder(&origin).await;
    let gzip = [("accept-encoding", "gzip, deflate, br")];
    assert_eq!(larder.ask("/page", &gzip).await.text(), "gzipped");
    let plain = larder.ask("/page", &[]).await;
    assert_eq!((plain.text(), plain.header("content-encoding")), ("plain", None));
    assert_eq!(larder.ask("/page", &gzip).await.header("content-encoding"), Some("gzip"));
    assert_eq!(larder.ask("/page", &[]).await.text(), "plain");
}

#[tokio::test]
async fn f2_a_head_is_answered_from_the_answer_to_a_get() {
    let origin = Origin::constant(|| Reply::ok("twelve bytes").header("etag", "\"v1\"").header("x-own", "1"));
    let larder = larder(&origin).await;
    let first = head(&larder, "/page").await;
    assert_eq!((first.status.as_u16(), first.x_cache(), first.body.len()), (200, "MISS", 0));
    assert_eq!(origin.last("/page").method, "GET", "the whole answer is fetched");
    let get = crate::support::wait::until_async("it is stored", async || {
        let get = larder.ask("/page", &[]).await;
        (get.x_cache() == "HIT").then_some(get)
    })
    .await;
    assert_eq!(get.text(), "twelve bytes");
    let second = head(&larder, "/page").await;
    assert_eq!((second.x_cache(), second.body.len()), ("HIT", 0));
    for name in ["content-length", "etag", "x-own"] {
        assert_eq!(second.header(name), get.header(name), "{name}");
    }
    assert_eq!((second.header("content-length"), origin.total()), (Some("12"), 1));
}

#[tokio::test]
async fn f2_a_condition_that_the_stored_answer_meets_is_answered_304_without_the_origin() {
    let origin =
        Origin::constant(|| Reply::ok("body").header("etag", "\"v1\"").header("last-modified", MODIFIED));
    let larder = larder(&origin).await;
    larder.ask("/page", &[]).await;
    for (name, value, status) in [
        ("if-none-match", "\"v1\"", 304),
        ("if-none-match", "W/\"v1\"", 304),
        ("if-none-match", "\"v0\", \"v1\"", 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"v2\"", 200),
        ("if-modified-since", MODIFIED, 304),
        ("if-modified-since", "Sun, 24 May 2026 10:00:00 GMT", 304),
        ("if-modified-since", "Fri, 22 May 2026 10:00:00 GMT", 200),
        ("if-modified-since", "yesterday", 200),
    ] {
        let answer = larder.ask("/page", &[(name, value)]).await;
        assert_eq!((answer.status.as_u16(), answer.x_cache()), (status, "HIT"), "{name}: {value}");
        assert_eq!(answer.header("etag"), Some("\"v1\""));
        assert_eq!(answer.body.is_empty(), status == 304);
    }
    let both = [("if-none-match", "\"v2\""), ("if-modified-since", MODIFIED)];
    assert_eq!(larder.ask("/page", &both).await.status, 200, "If-None-Match takes precedence");
    assert_eq!(origin.total(), 1);
}

#[tokio::test]
async fn f2_an_expired_answer_is_validated_and_kept_on_where_the_origin_says_304() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let reply = if request.headers().contains_key("if-none-match") {
            Reply::status(304)
        } else {
            Reply::ok("body")
        };
        reply.header("etag", "\"v1\"").header("cache-control", "max-age=60")
    });
    let larder = larder(&origin).await;
    for path in ["/page", "/own/page"] {
        assert_eq!(larder.ask(path, &[]).await.x_cache(), "MISS");
        larder.advance(Duration::from_secs(3601));
        let validated = larder.ask(path, &[]).await;
        assert_eq!((validated.x_cache(), validated.text()), ("REVALIDATED", "body"), "{path}");
        assert_eq!(origin.last(path).header("if-none-match"), Some("\"v1\""));
        assert_eq!(larder.ask(path, &[]).await.x_cache(), "HIT", "{path}");
        assert_eq!(origin.count(path), 2);
    }
}

#[tokio::test]
async fn rfc9111_4_3_4_a_304_never_makes_a_weak_entity_tag_a_strong_one() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        // As nginx does it: what it compresses gets a weak tag, a 304 the one of the file.
        if request.headers().contains_key("if-none-match") {
            Reply::status(304).header("etag", "\"v1\"").header("cache-control", "max-age=60")
        } else {
            Reply::ok("body").header("etag", "W/\"v1\"").header("cache-control", "max-age=60")
        }
    });
    let larder = larder(&origin).await;
    for path in ["/page", "/own/page"] {
        assert_eq!(larder.ask(path, &[]).await.header("etag"), Some("W/\"v1\""));
        larder.advance(Duration::from_secs(3601));
        for _ in 0..2 {
            let answer = larder.ask(path, &[]).await;
            assert_eq!((answer.header("etag"), answer.text()), (Some("W/\"v1\""), "body"), "{path}");
        }
        assert_eq!(origin.count(path), 2, "it is confirmed all the same: {path}");
    }
}

#[tokio::test]
async fn rfc9111_5_2_2_7_a_named_field_stands_in_no_trailers_that_are_shared() {
    let steps = Steps::new();
    let body = steps.clone();
    let origin = Origin::constant(move || {
        let named = Reply::status(200).header("cache-control", "max-age=60, private=\"x-mine\"");
        named.header("trailer", "x-mine, x-sum").steps(&body)
    });
    let larder = larder(&origin).await;
    let client = Client::http2();
    let get = || client.get(larder.url("/own/page")).header("te", "trailers").stream();
    let answers = [get().await, get().await];
    let fields = [("x-mine", "ann"), ("x-sum", "1")];
    steps.data("a").trailers(HeaderMap::from_iter(
        fields.map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))),
    ));
    steps.end();
    for answer in answers {
        let all = answer.body.collect().await.unwrap();
        let trailers = all.trailers().unwrap();
        assert_eq!((trailers.get("x-mine"), trailers["x-sum"].as_bytes()), (None, &b"1"[..]));
    }
    assert_eq!(origin.total(), 1);
}

#[tokio::test]
async fn f2_what_forbids_storing_does_so_unless_the_route_lifts_it() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let fields = request.uri().query().unwrap_or("").to_owned();
        let (name, value) = fields.split_once('=').unwrap();
        Reply::ok("x").header(name, value.replace("%20", " "))
    });
    let larder = larder(&origin).await;
    for (field, reason) in [
        ("cache-control=no-store", "no-store"),
        ("cache-control=private", "private"),
        ("cache-control=no-cache", "no-cache"),
        ("vary=Cookie", "vary-cookie"),
        ("vary=Authorization", "vary-authorization"),
        ("set-cookie=a%3Db", "set-cookie"),
        ("vary=*", "vary-star"),
    ] {
        for turn in 1..=2 {
            let answer = larder.ask(&format!("/page?{field}"), &[]).await;
            assert_eq!(answer.x_cache(), "BYPASS", "{field}, turn {turn}");
            let status = answer.cache_status();
            assert!(status.contains(reason) || status.contains("uncacheable"), "{field}: {status}");
        }
        larder.ask(&format!("/lifted/page?{field}"), &[]).await;
        let lifted = larder.ask(&format!("/lifted/page?{field}"), &[]).await;
        let expected = if field == "vary=*" { "BYPASS" } else { "HIT" };
        assert_eq!(lifted.x_cache(), expected, "{field}: {}", lifted.cache_status());
    }
}

#[tokio::test]
async fn f2_a_cookie_that_the_application_sets_reaches_its_own_reader_alone() {
    let gate = Gate::closed();
    let (at_the_gate, number) = (gate.clone(), AtomicUsize::new(0));
    let origin = Origin::start(move |_| {
        let (gate, number) = (at_the_gate.clone(), number.fetch_add(1, Ordering::SeqCst));
        async move {
            gate.pass().await;
            Reply::ok("a page").header("set-cookie", format!("session={number}"))
        }
    });
    let larder = larder(&origin).await;
    for (path, lifted) in [("/page", false), ("/lifted/page", true)] {
        let before = gate.count();
        let asking: Vec<_> = (0..20).map(|_| tokio::spawn(larder.get(path).send())).collect();
        gate.arrived(before + 1).await;
        gate.open();
        let mut cookies = Vec::new();
        for task in asking {
            let answer = task.await.unwrap();
            assert_eq!(answer.text(), "a page");
            cookies.extend(answer.header("set-cookie").map(str::to_owned));
        }
        cookies.extend(larder.ask(path, &[]).await.header("set-cookie").map(str::to_owned));
        let given = cookies.len();
        cookies.sort();
        cookies.dedup();
        assert_eq!(cookies.len(), given, "{path}: two readers have the same session: {cookies:?}");
        assert_eq!(given, if lifted { 0 } else { 21 }, "{path}");
        assert_eq!(origin.count(path), if lifted { 1 } else { 21 }, "{path}");
    }
}

#[tokio::test]
async fn f2_several_ranges_bodies_and_authorization_are_left_to_the_application() {
    let origin = Origin::start(async |request: Request<Bytes>| match request.headers().get("range") {
        Some(_) => Reply::status(206).header("content-range", "bytes 0-1/4").body("bo"),
        None => Reply::ok("body").header("cache-control", "max-age=60"),
    });
    let larder = larder(&origin).await;
    let part = larder.ask("/page", &[("range", "bytes=0-1,3-3")]).await;
    assert_eq!((part.status.as_u16(), part.text(), part.x_cache()), (206, "bo", "BYPASS"));
    assert_eq!(larder.ask("/page", &[]).await.text(), "body");
    let with_body = larder.get("/page").body("a body").send().await;
    assert_eq!(with_body.x_cache(), "BYPASS", "a GET with a body is never answered from the cache");
    for _ in 0..2 {
        let answer = larder.ask("/own/page", &[("authorization", "Basic YTpi")]).await;
        assert_eq!(answer.x_cache(), "BYPASS", "RFC 9111 section 3.5: {}", answer.cache_status());
    }
}

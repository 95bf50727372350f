//! F2: parts that are stored, served from, combined and completed (RFC 9111 sections 3.3 and 3.4), and when they are not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Answer, Gate, InProcess, Origin, Reply, Steps};
use bytes::Bytes;
use http::Request;
use larder::cache::Cache;
use larder::purge::{Purge, Selector, Where};

const NOON: u64 = 1_780_000_000;

const YAML: &str = "
origins: { app: { url: 'http://127.0.0.1:1' } }
identity: { tenant: [{ query: shop }] }
tiers: { usual: { ttl: 1h, stale_while_revalidate: 1m }, own: {} }
routes:
  - { name: own, path: '/own/{*rest}', tier: own, share: public, tags: [page] }
  - { name: uneven, path: '/uneven/{*rest}', tier: own, share: public, unsafe_uneven_parts: true }
  - { name: shops, path: '/shops/{*rest}', tier: usual, share: tenant }
  - { name: usual, path: '/{*rest}', tier: usual, share: public, tags: [page] }
";

/// The paths on a tier with a lifetime, and on one without.
const BOTH: [&str; 2] = ["/page", "/own/page"];
const TEN: &str = "0123456789";

async fn larder(origin: &Origin) -> InProcess {
    InProcess::start(YAML, origin, NOON).await
}

/// The same, and its cache.
async fn with_cache(origin: &Origin) -> (InProcess, Cache) {
    let slot = Arc::new(Mutex::new(None));
    let kept = slot.clone();
    let over = move |stores: &[_], clock| {
        let cache = Cache::new(stores, clock);
        *kept.lock().unwrap() = Some(cache.clone());
        cache
    };
    let larder = InProcess::start_over(YAML, origin, NOON, &[], over).await;
    let cache = slot.lock().unwrap().take().unwrap();
    (larder, cache)
}

/// What an application that knows ranges answers.
fn served(request: &Request<Bytes>, content: &str, etag: &str) -> Reply {
    let field = |name| request.headers().get(name).map(|value| value.to_str().unwrap());
    let same = field("if-range").is_none_or(|wanted| wanted == etag);
    let with = |reply: Reply| {
        let reply = reply.header("cache-control", "max-age=600").header("content-type", "text/plain");
        if etag.is_empty() { reply } else { reply.header("etag", etag) }
    };
    let Some(range) = field("range").filter(|_| same) else { return with(Reply::ok(content.to_owned())) };
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let end = content.len() - 1;
    let (first, last) = match (first.parse(), last.parse()) {
        (Ok(first), last) => (first, last.unwrap_or(end).min(end)),
        (_, Ok(length)) => (content.len() - length, end),
        _ => panic!("{range}"),
    };
    if first > last {
        return Reply::status(416).header("content-range", format!("bytes */{}", content.len()));
    }
    let says = format!("bytes {first}-{last}/{}", content.len());
    with(Reply::status(206).header("content-range", says)).body(content[first..=last].to_owned())
}

fn shop(etag: &'static str) -> Origin {
    Origin::start(move |request| std::future::ready(served(&request, TEN, etag)))
}

async fn range(larder: &InProcess, path: &str, range: &str) -> Answer {
    larder.ask(path, &[("range", &format!("bytes={range}"))]).await
}

/// Status, word, content and `Content-Range` of an answer.
fn seen(answer: &Answer) -> (u16, &str, &str, &str) {
    let range = answer.header("content-range").unwrap_or("-");
    (answer.status.as_u16(), answer.x_cache(), answer.text(), range)
}

/// What the origin was asked for last: `Range`, `If-Range`.
fn asked(origin: &Origin, path: &str) -> (Option<String>, Option<String>) {
    let last = origin.last(path);
    (last.header("range").map(str::to_owned), last.header("if-range").map(str::to_owned))
}

#[tokio::test]
async fn f2_a_part_is_stored_and_answers_what_lies_in_it() {
    let origin = shop("\"a\"");
    let larder = larder(&origin).await;
    for path in BOTH {
        let first = range(&larder, path, "2-6").await;
        assert_eq!(seen(&first), (206, "MISS", "23456", "bytes 2-6/10"));
        assert!(
            first.cache_status().contains("fwd=uri-miss; fwd-status=206; stored"),
            "{}",
            first.cache_status()
        );
        assert_eq!(asked(&origin, path), (Some("bytes=2-6".into()), None));
        for (wanted, text, says) in [("2-6", "23456", "bytes 2-6/10"), ("3-4", "34", "bytes 3-4/10")] {
            let answer = range(&larder, path, wanted).await;
            assert_eq!(seen(&answer), (206, "HIT", text, says));
            assert_eq!(answer.header("content-length"), Some(text.len().to_string().as_str()));
        }
        let same = [("range", "bytes=3-4"), ("if-none-match", "\"a\"")];
        assert_eq!(seen(&larder.ask(path, &same).await), (304, "HIT", "", "-"));
        assert_eq!(seen(&range(&larder, path, "10-").await), (416, "HIT", "", "bytes */10"));
        assert_eq!(origin.count(path), 1);
        let other = larder.ask(path, &[("range", "bytes=3-4"), ("if-range", "\"b\"")]).await;
        assert_eq!(seen(&other), (200, "MISS", TEN, "-"), "the whole, for the client's parts are of another");
        assert_eq!(asked(&origin, path), (Some("bytes=3-4".into()), Some("\"b\"".into())));
        assert_eq!(seen(&larder.ask(path, &[]).await), (200, "HIT", TEN, "-"));
    }
}

#[tokio::test]
async fn f2_parts_of_one_representation_are_combined_until_they_are_the_whole() {
    let origin = shop("\"a\"");
    let (larder, cache) = with_cache(&origin).await;
    for path in BOTH {
        range(&larder, path, "2-4").await;
        let next = range(&larder, path, "4-7").await;
        assert_eq!(seen(&next), (206, "MISS", "4567", "bytes 4-7/10"));
        assert!(next.cache_status().contains("fwd=partial"), "{}", next.cache_status());
        assert_eq!(seen(&range(&larder, path, "2-7").await), (206, "HIT", "234567", "bytes 2-7/10"));
        range(&larder, path, "-2").await;
        assert_eq!(seen(&range(&larder, path, "-8").await), (206, "HIT", "23456789", "bytes 2-9/10"));
        assert_eq!(seen(&larder.ask(path, &[]).await), (200, "MISS", TEN, "-"), "it does not begin at 0");
        assert_eq!(asked(&origin, path), (None, None));
        assert_eq!(origin.count(path), 4);
    }
    for path in ["/two", "/own/two"] {
        range(&larder, path, "0-4").await;
        range(&larder, path, "5-").await;
        assert_eq!(seen(&larder.ask(path, &[]).await), (200, "HIT", TEN, "-"));
        assert_eq!(origin.count(path), 2);
    }
    assert_eq!(cache.stats()[0].entries, 4, "the parts made room for the whole");
}

#[tokio::test]
async fn f2_parts_that_may_be_of_two_representations_are_never_combined() {
    for etags in [["", ""], ["W/\"a\"", "W/\"a\""], ["\"a\"", "\"b\""], ["\"a\"", ""]] {
        let origin = shop(etags[0]);
        let (larder, cache) = with_cache(&origin).await;
        for path in BOTH {
            origin.answer_with(move |request| std::future::ready(served(&request, TEN, etags[0])));
            range(&larder, path, "0-4").await;
            origin.answer_with(move |request| std::future::ready(served(&request, "abcdefghij", etags[1])));
            range(&larder, path, "5-9").await;
            assert_eq!(seen(&range(&larder, path, "6-7").await), (206, "HIT", "gh", "bytes 6-7/10"));
            let again = range(&larder, path, "0-4").await;
            assert_eq!((again.x_cache(), again.text()), ("MISS", "abcde"), "{etags:?}");
        }
        assert_eq!(cache.stats()[0].entries, 2, "one part of each");
    }
}

#[tokio::test]
async fn f2_parts_that_different_purges_cover_are_never_combined() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let tag =
            if request.headers().get("range").is_some_and(|r| r == "bytes=0-4") { "one" } else { "two" };
        served(&request, TEN, "\"a\"").header("cache-tag", tag)
    });
    let (larder, cache) = with_cache(&origin).await;
    for path in BOTH {
        for wanted in ["0-4", "5-7"] {
            range(&larder, path, wanted).await;
        }
        assert!(cache.purge(&[Selector::Tag("one".into())], &Where::All).receipt().is_some());
        assert_eq!(seen(&range(&larder, path, "5-7").await), (206, "HIT", "567", "bytes 5-7/10"));
        range(&larder, path, "0-4").await;
        assert_eq!(larder.ask(path, &[]).await.text(), TEN);
        assert_eq!(asked(&origin, path), (None, None), "the rest came, and was asked for again as a whole");
        assert_eq!(origin.count(path), 5);
    }
}

#[tokio::test]
async fn f2_the_rest_of_a_part_is_asked_for_when_the_whole_is_wanted() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let reply = served(&request, TEN, "\"a\"");
        // What answers `If-Range` need not describe the content again, nor name its tags.
        match request.headers().contains_key("if-range") {
            true => Reply::status(206)
                .header("content-range", "bytes 5-9/10")
                .header("etag", "\"a\"")
                .header("cache-control", "max-age=60")
                .header("x-new", "yes")
                .body("56789"),
            false => reply.header("cache-tag", "named").header("age", "50"),
        }
    });
    let (larder, cache) = with_cache(&origin).await;
    for path in BOTH {
        range(&larder, path, "0-4").await;
        let whole = larder.ask(path, &[]).await;
        assert_eq!((seen(&whole), whole.age()), ((200, "MISS", TEN, "-"), None));
        assert!(
            whole.cache_status().contains("fwd=partial; fwd-status=200; stored"),
            "{}",
            whole.cache_status()
        );
        assert_eq!(asked(&origin, path), (Some("bytes=5-".into()), Some("\"a\"".into())));
        for answer in [whole, larder.ask(path, &[]).await] {
            let fields = ["content-type", "content-length", "x-new"].map(|name| answer.header(name));
            assert_eq!(fields, [Some("text/plain"), Some("10"), Some("yes")]);
        }
        assert_eq!(seen(&larder.ask(path, &[]).await), (200, "HIT", TEN, "-"));
        assert_eq!(origin.count(path), 2);
    }
    larder.advance(Duration::from_secs(61));
    assert_eq!(larder.ask("/own/page", &[]).await.x_cache(), "MISS", "as fresh as the newer of the two");
    assert!(cache.purge(&[Selector::Tag("named".into())], &Where::All).receipt().is_some());
    assert_eq!(larder.ask("/page", &[]).await.x_cache(), "MISS");
}

#[tokio::test]
async fn f2_what_does_not_continue_a_part_is_never_taken_for_the_rest() {
    let answers: [fn(&Request<Bytes>) -> Reply; 5] = [
        |request| served(request, "abcdefghij", "\"b\""),
        |_| Reply::status(416).header("content-range", "bytes */4"),
        |_| Reply::status(206).header("content-range", "bytes 6-9/10").header("etag", "\"a\"").body("6789"),
        |_| Reply::status(206).header("content-range", "bytes 5-9/10").header("etag", "\"b\"").body("fghij"),
        |_| {
            Reply::status(206).header("content-range", "bytes 5-9/10").header("etag", "W/\"a\"").body("fghij")
        },
    ];
    for (turn, rest) in answers.into_iter().enumerate() {
        let origin = shop("\"a\"");
        let larder = larder(&origin).await;
        for path in BOTH {
            origin.answer_with(|request| std::future::ready(served(&request, TEN, "\"a\"")));
            range(&larder, path, "0-4").await;
            origin.answer_with(move |request| {
                let ranged = request.headers().contains_key("range");
                std::future::ready(if ranged {
                    rest(&request)
                } else {
                    served(&request, "abcdefghij", "\"b\"")
                })
            });
            let whole = larder.ask(path, &[]).await;
            assert_eq!(seen(&whole), (200, "MISS", "abcdefghij", "-"), "{turn}");
            assert_eq!(origin.count(path), if turn == 0 { 2 } else { 3 }, "{turn}");
            assert_eq!(seen(&larder.ask(path, &[]).await), (200, "HIT", "abcdefghij", "-"));
        }
    }
}

#[tokio::test]
async fn f2_without_a_strong_validator_the_rest_is_asked_for_where_the_applications_fields_decide_only() {
    for etag in ["", "W/\"a\""] {
        let origin = shop(etag);
        let larder = larder(&origin).await;
        for (path, requests) in [("/page", 2), ("/own/page", 3)] {
            range(&larder, path, "0-4").await;
            assert_eq!(seen(&larder.ask(path, &[]).await), (200, "MISS", TEN, "-"));
            assert_eq!(origin.count(path), requests);
            let ranges: Vec<_> =
                origin.requests_to(path).iter().map(|r| r.header("range").map(str::to_owned)).collect();
            assert_eq!(ranges[1].as_deref(), (requests == 3).then_some("bytes=5-"));
            assert_eq!(asked(&origin, path), (None, None));
        }
    }
}

#[tokio::test]
async fn f2_what_is_no_sound_part_is_given_to_its_reader_and_not_stored() {
    let part = |status: u16, says: &str| {
        let reply = Reply::status(status).header("cache-control", "max-age=600").body("01234");
        if says.is_empty() { reply } else { reply.header("content-range", says) }
    };
    type Made = Box<dyn Fn() -> Reply + Send + Sync>;
    let answers: Vec<(&str, Made)> = vec![
        (
            "several",
            Box::new(move || part(206, "").header("content-type", "multipart/byteranges; boundary=x")),
        ),
        ("uneven", Box::new(move || part(206, "bytes 0-5/10"))),
        ("uneven, of unknown length", Box::new(move || part(206, "bytes 0-5/10").chunked())),
        ("too long", Box::new(move || part(206, "bytes 0-3/10"))),
        ("impossible", Box::new(move || part(206, "bytes 0-4/4"))),
        ("nothing there", Box::new(move || part(416, "bytes */10"))),
        ("an error", Box::new(move || part(404, ""))),
        ("not to be stored", Box::new(move || part(206, "bytes 0-4/10").header("cache-control", "no-store"))),
    ];
    for (what, reply) in answers {
        let status = match what {
            "nothing there" => 416,
            "an error" => 404,
            _ => 206,
        };
        let origin = Origin::start(move |request: Request<Bytes>| {
            let ranged = request.headers().contains_key("range");
            std::future::ready(if ranged { reply() } else { served(&request, TEN, "") })
        });
        let (larder, cache) = with_cache(&origin).await;
        for path in BOTH {
            for turn in 1..=2 {
                let answer = range(&larder, path, "0-4").await;
                assert_eq!((answer.status.as_u16(), answer.text()), (status, "01234"), "{what}");
                assert_eq!(origin.count(path), turn, "{what}: {}", answer.cache_status());
            }
            assert_eq!(
                seen(&larder.ask(path, &[]).await),
                (200, "MISS", TEN, "-"),
                "{what}: the whole is not hindered"
            );
        }
        assert_eq!(cache.stats()[0].entries, 2, "{what}");
    }
}

#[tokio::test]
async fn f2_a_whole_answer_to_a_range_is_stored_as_such_and_the_range_cut_from_it() {
    let origin = Origin::constant(|| Reply::ok(TEN).header("cache-control", "max-age=600"));
    let larder = larder(&origin).await;
    for path in BOTH {
        assert_eq!(seen(&range(&larder, path, "2-3").await), (206, "MISS", "23", "bytes 2-3/10"));
        assert_eq!(seen(&larder.ask(path, &[]).await), (200, "HIT", TEN, "-"));
        assert_eq!(origin.count(path), 1);
    }
}

#[tokio::test]
async fn f2_identical_ranges_are_asked_for_once_and_nobody_else_waits_for_them() {
    let gate = Gate::closed();
    let at_the_gate = gate.clone();
    let origin = Origin::start(move |request: Request<Bytes>| {
        let gate = at_the_gate.clone();
        async move {
            if request.headers().get("range").is_some_and(|range| range == "bytes=0-4") {
                gate.pass().await;
            }
            served(&request, TEN, "\"a\"")
        }
    });
    let larder = larder(&origin).await;
    let waiting: Vec<_> =
        (0..20).map(|_| tokio::spawn(larder.get("/own/page").header("range", "bytes=0-4").send())).collect();
    gate.arrived(1).await;
    assert_eq!(seen(&range(&larder, "/own/page", "7-8").await), (206, "MISS", "78", "bytes 7-8/10"));
    assert_eq!(seen(&larder.ask("/own/page", &[]).await), (200, "MISS", TEN, "-"));
    gate.open();
    for answer in waiting {
        assert_eq!((answer.await.unwrap().text()), "01234");
    }
    assert_eq!(origin.total(), 3);
}

#[tokio::test]
async fn f2_a_range_under_a_condition_waits_for_no_range_under_another() {
    let gate = Gate::closed();
    let at_the_gate = gate.clone();
    let origin = Origin::start(move |request: Request<Bytes>| {
        let gate = at_the_gate.clone();
        async move {
            if !request.headers().contains_key("if-range") {
                gate.pass().await;
            }
            served(&request, TEN, "\"a\"")
        }
    });
    let larder = larder(&origin).await;
    let waiting = tokio::spawn(larder.get("/page").header("range", "bytes=0-4").send());
    gate.arrived(1).await;
    let other = larder.ask("/page", &[("range", "bytes=0-4"), ("if-range", "\"b\"")]).await;
    assert_eq!(seen(&other), (200, "MISS", TEN, "-"));
    gate.open();
    assert_eq!(waiting.await.unwrap().text(), "01234");
}

#[tokio::test]
async fn f2_an_answer_to_if_range_is_kept_for_others_only_with_the_part_that_describes_it() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let mut reply = served(&request, TEN, "\"a\"");
        if request.headers().contains_key("if-range") {
            // The content type is left out.
            reply =
                Reply::status(206).header("content-range", "bytes 5-6/10").header("etag", "\"a\"").body("56");
            reply = reply.header("cache-control", "max-age=600");
        }
        reply
    });
    let larder = larder(&origin).await;
    let resumed = [("range", "bytes=5-6"), ("if-range", "\"a\"")];
    for path in BOTH {
        let answer = larder.ask(path, &resumed).await;
        assert_eq!(
            (seen(&answer), answer.header("content-type")),
            ((206, "MISS", "56", "bytes 5-6/10"), None)
        );
        assert!(!answer.cache_status().contains("stored"), "{}", answer.cache_status());
        let answer = range(&larder, path, "5-6").await;
        assert_eq!((answer.x_cache(), answer.header("content-type")), ("MISS", Some("text/plain")));
    }
    for path in ["/more", "/own/more"] {
        range(&larder, path, "2-4").await;
        larder.ask(path, &resumed).await;
        let answer = range(&larder, path, "2-6").await;
        assert_eq!(seen(&answer), (206, "HIT", "23456", "bytes 2-6/10"));
        assert_eq!(answer.header("content-type"), Some("text/plain"));
    }
}

#[tokio::test]
async fn f2_a_part_that_comes_first_does_not_keep_the_whole_from_being_stored() {
    let gate = Gate::closed();
    let at_the_gate = gate.clone();
    let origin = Origin::start(move |request: Request<Bytes>| {
        let gate = at_the_gate.clone();
        async move {
            if !request.headers().contains_key("range") {
                gate.pass().await;
            }
            served(&request, TEN, "\"a\"")
        }
    });
    let larder = larder(&origin).await;
    let waiting = tokio::spawn(larder.get("/page").send());
    gate.arrived(1).await;
    assert_eq!(range(&larder, "/page", "0-4").await.text(), "01234");
    gate.open();
    assert_eq!(waiting.await.unwrap().text(), TEN);
    assert_eq!(seen(&larder.ask("/page", &[]).await), (200, "HIT", TEN, "-"));
}

#[tokio::test]
async fn f2_however_many_ranges_are_asked_for_one_part_is_kept() {
    let long: &'static str = Box::leak("x".repeat(5000).into_boxed_str());
    let origin = Origin::start(move |request| std::future::ready(served(&request, long, "\"a\"")));
    let (larder, cache) = with_cache(&origin).await;
    for n in 0..200 {
        let answer = range(&larder, "/page", &format!("{}-{}", 20 * n + 3, 20 * n + 7)).await;
        assert_eq!((answer.x_cache(), answer.text().len()), ("MISS", 5));
    }
    assert_eq!(cache.stats()[0].entries, 1);
    let mut keys = Vec::new();
    cache.inspect(|shown| keys.push(shown.key.describe()));
    assert!(keys.len() == 1 && keys[0].ends_with("/page part"), "{keys:?}");
    let most = origin.requests().iter().all(|request| request.header("range").is_some());
    assert!(most, "nobody asked for more than was wanted");
}

/// An answer to a range of which two bytes come until the test says more.
fn stepwise(origin: &Origin, says: &'static str) -> Steps {
    let steps = Steps::new();
    steps.data("01");
    let body = steps.clone();
    origin.answer_with(move |_| {
        let reply = Reply::status(206).header("content-range", says).header("etag", "\"a\"");
        std::future::ready(reply.header("cache-control", "max-age=600").steps(&body))
    });
    steps
}

#[tokio::test]
async fn f2_a_part_that_breaks_off_is_never_stored_nor_is_a_whole_whose_rest_does() {
    let origin = shop("\"a\"");
    let (larder, cache) = with_cache(&origin).await;
    for (turn, path) in BOTH.into_iter().enumerate() {
        let steps = stepwise(&origin, "bytes 0-4/10");
        let mut part = larder.get(path).header("range", "bytes=0-4").stream().await;
        assert_eq!(part.at_least(2).await, b"01");
        steps.cut();
        assert!(part.rest().await.is_err());
        assert_eq!(cache.stats()[0].entries, turn as u64);

        origin.answer_with(|request| std::future::ready(served(&request, TEN, "\"a\"")));
        range(&larder, path, "0-4").await;
        let steps = stepwise(&origin, "bytes 5-9/10");
        let mut whole = larder.get(path).stream().await;
        assert_eq!(whole.at_least(7).await, b"0123401");
        steps.cut();
        assert!(whole.rest().await.is_err(), "the part and a piece of the rest are not the whole");

        origin.answer_with(|request| std::future::ready(served(&request, TEN, "\"a\"")));
        assert_eq!(seen(&larder.ask(path, &[]).await), (200, "MISS", TEN, "-"));
        assert_eq!(cache.stats()[0].entries, turn as u64 + 1);
    }
}

#[tokio::test]
async fn f2_a_tenants_part_never_serves_another() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let content = if request.uri().query() == Some("shop=a") { "aaaaaaaaaa" } else { "bbbbbbbbbb" };
        served(&request, content, "\"same\"")
    });
    let larder = larder(&origin).await;
    assert_eq!(range(&larder, "/shops/page?shop=a", "0-4").await.text(), "aaaaa");
    assert_eq!(
        seen(&range(&larder, "/shops/page?shop=b", "0-4").await),
        (206, "MISS", "bbbbb", "bytes 0-4/10")
    );
    assert_eq!(larder.ask("/shops/page?shop=b", &[]).await.text(), "bbbbbbbbbb");
    assert_eq!(larder.ask("/shops/page?shop=a", &[]).await.text(), "aaaaaaaaaa");
}

#[tokio::test]
async fn f2_parts_vary_as_whole_responses_do() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let view = if request.headers()["x-view"] == "a" { "aaaaaaaaaa" } else { "bbbbbbbbbb" };
        served(&request, view, "\"same\"").header("vary", "X-View")
    });
    let larder = larder(&origin).await;
    for word in ["MISS", "HIT"] {
        for (view, text) in [("a", "aaaaa"), ("b", "bbbbb")] {
            let answer = larder.ask("/own/page", &[("range", "bytes=0-4"), ("x-view", view)]).await;
            assert_eq!(seen(&answer), (206, word, text, "bytes 0-4/10"));
        }
    }
    let whole = larder.ask("/own/page", &[("x-view", "b")]).await;
    assert_eq!((whole.text(), asked(&origin, "/own/page").0.as_deref()), ("bbbbbbbbbb", Some("bytes=5-")));
}

#[tokio::test]
async fn f2_a_hard_purge_takes_parts_with_it() {
    let selectors: [fn(&InProcess, &str) -> Selector; 2] = [
        |_, _| Selector::Tag("page".into()),
        |larder, path| Selector::Url {
            authority: larder.url("").trim_start_matches("http://").to_owned(),
            target: path.to_owned(),
        },
    ];
    for selector in selectors {
        let origin = shop("\"a\"");
        let (larder, cache) = with_cache(&origin).await;
        for path in BOTH {
            range(&larder, path, "0-4").await;
            assert!(cache.purge(&[selector(&larder, path)], &Where::All).receipt().is_some());
            assert_eq!(larder.ask(path, &[]).await.x_cache(), "MISS");
            assert_eq!(asked(&origin, path), (None, None), "the rest of what was purged is not asked for");
        }
        for path in ["/ranged", "/own/ranged"] {
            range(&larder, path, "0-4").await;
            assert!(cache.purge(&[selector(&larder, path)], &Where::All).receipt().is_some());
            assert_eq!(range(&larder, path, "5-9").await.x_cache(), "MISS");
            assert_eq!(
                range(&larder, path, "5-9").await.x_cache(),
                "HIT",
                "not combined with what was purged"
            );
            assert_eq!(range(&larder, path, "0-4").await.x_cache(), "MISS");
            assert_eq!(origin.count(path), 3);
        }
    }
}

#[tokio::test]
async fn f2_a_purge_between_a_part_and_its_completion_covers_the_whole() {
    for path in BOTH {
        for wanted in [None, Some("5-9")] {
            let gate = Gate::closed();
            let at_the_gate = gate.clone();
            let origin = Origin::start(move |request: Request<Bytes>| {
                let gate = at_the_gate.clone();
                async move {
                    if request.headers().get("range").is_some_and(|range| range != "bytes=0-4") {
                        gate.pass().await;
                    }
                    served(&request, TEN, "\"a\"")
                }
            });
            let (larder, cache) = with_cache(&origin).await;
            range(&larder, path, "0-4").await;
            let call = larder.get(path);
            let call = match wanted {
                Some(range) => call.header("range", format!("bytes={range}")),
                None => call,
            };
            let completing = tokio::spawn(call.send());
            gate.arrived(1).await;
            assert!(cache.purge(&[Selector::Tag("page".into())], &Where::All).receipt().is_some());
            gate.open();
            let answer = completing.await.unwrap();
            assert_eq!(
                answer.text(),
                if wanted.is_some() { "56789" } else { TEN },
                "it was asked for before"
            );
            for asked_for in ["0-4", "5-9"] {
                let answer = range(&larder, path, asked_for).await;
                assert_eq!(
                    answer.x_cache(),
                    "MISS",
                    "{path} {wanted:?} {asked_for}: {}",
                    answer.cache_status()
                );
            }
        }
    }
}

#[tokio::test]
async fn f2_after_a_soft_purge_a_part_is_stale_and_continued_by_a_strong_validator_only() {
    for (etag, more) in [("\"a\"", Some("bytes=5-")), ("W/\"a\"", None)] {
        let origin = shop(etag);
        let (larder, cache) = with_cache(&origin).await;
        range(&larder, "/page", "0-4").await;
        assert!(
            cache
                .purge_with(&Purge::soft(vec![Selector::Tag("page".into())], Where::All, None))
                .receipt()
                .is_some()
        );
        let stale = range(&larder, "/page", "1-2").await;
        assert_eq!(seen(&stale), (206, "STALE", "12", "bytes 1-2/10"));
        origin.asked("/page", 2).await;
        larder.advance(Duration::from_secs(61));
        range(&larder, "/other", "0-4").await;
        assert!(
            cache
                .purge_with(&Purge::soft(vec![Selector::Tag("page".into())], Where::All, None))
                .receipt()
                .is_some()
        );
        assert_eq!(seen(&larder.ask("/other", &[]).await), (200, "MISS", TEN, "-"));
        assert_eq!(asked(&origin, "/other").0.as_deref(), more);
        let word = if more.is_some() { "STALE" } else { "HIT" };
        assert_eq!(larder.ask("/other", &[]).await.x_cache(), word, "a whole began when its older part did");
    }
}

#[tokio::test]
async fn f2_a_part_that_is_shorter_than_it_says_is_kept_where_the_route_says_so() {
    let origin = Origin::constant(|| {
        let reply = Reply::status(206).header("cache-control", "max-age=600");
        reply.header("content-range", "bytes 4-9/10").body("01234")
    });
    let larder = larder(&origin).await;
    for (wanted, text) in [("-5", "01234"), ("-5", "01234"), ("6-8", "234"), ("6-", "234"), ("-1", "4")] {
        assert_eq!(range(&larder, "/uneven/page", wanted).await.text(), text);
    }
    assert_eq!(origin.total(), 1);
    origin.answer_with(async |_| {
        let reply = Reply::status(206).header("cache-control", "max-age=600").header("etag", "\"a\"");
        reply.header("content-range", "bytes 0-9/20").body("01234")
    });
    range(&larder, "/uneven/other", "0-9").await;
    larder.ask("/uneven/other", &[]).await;
    assert_eq!(origin.count("/uneven/other"), 2, "nobody knows where its rest begins");
}

//! F2: where ranges, variants, `No-Vary-Search`, HEAD and POST meet: what one of them does holds for the others too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};

use crate::support::{Answer, Client, Gate, InProcess, Origin, Reply, Steps};

const NOON: u64 = 1_780_000_000;

const YAML: &str = "
origins: { app: { url: 'http://127.0.0.1:1' } }
tiers: { usual: { ttl: 1h }, own: {} }
routes:
  - { name: own, path: '/own/{*rest}', tier: own, share: public, bust: { allow: anyone } }
  - { name: usual, path: '/{*rest}', tier: usual, share: public, bust: { allow: anyone } }
";

async fn larder(origin: &Origin) -> InProcess {
    InProcess::start(YAML, origin, NOON).await
}

fn told(answer: &Answer) -> (&str, &str) {
    (answer.x_cache(), answer.text())
}

fn field<'a>(request: &'a Request<Bytes>, name: &str) -> Option<&'a str> {
    request.headers().get(name).map(|value| value.to_str().unwrap())
}

/// A write: it purges its own URL.
async fn purge(larder: &InProcess, path: &str) {
    assert_eq!(larder.post(path).send().await.status, 204);
}

/// The bytes that a `Range` of the form `bytes=A-B` wants of a content, with a strong entity tag.
fn part(request: &Request<Bytes>, content: &str) -> Reply {
    let range = field(request, "range").and_then(|range| range.strip_prefix("bytes="));
    let reply = match range.and_then(|range| range.split_once('-')) {
        Some((first, last)) => {
            let end = content.len() - 1;
            let (first, last) = (first.parse().unwrap(), last.parse().unwrap_or(end));
            let says = format!("bytes {first}-{last}/{}", content.len());
            Reply::status(206).header("content-range", says).body(content[first..=last].to_owned())
        }
        None => Reply::ok(content.to_owned()),
    };
    reply.header("etag", format!("\"{content}\""))
}

#[tokio::test]
async fn f2_the_answer_to_a_post_is_not_found_for_a_query_whose_url_was_purged_meanwhile() {
    let gate = Gate::closed();
    let at_the_gate = gate.clone();
    let origin = Origin::start(move |request: Request<Bytes>| {
        let gate = at_the_gate.clone();
        async move {
            let reply = match (request.method() == Method::POST, request.uri().query()) {
                (true, Some("a=1")) => {
                    gate.pass().await;
                    Reply::ok("posted").header("content-location", "/own/p?a=1")
                }
                (true, _) => return Reply::status(204),
                _ => Reply::ok("got"),
            };
            reply.header("cache-control", "max-age=60").header("no-vary-search", "params")
        }
    });
    let larder = larder(&origin).await;
    let writing = tokio::spawn(larder.post("/own/p?a=1").body("x").send());
    gate.arrived(1).await;
    purge(&larder, "/own/p?a=2").await;
    gate.open();
    assert!(writing.await.unwrap().cache_status().contains("; stored;"));
    assert_eq!(told(&larder.ask("/own/p?a=1", &[]).await), ("HIT", "posted"));
    assert_eq!(told(&larder.ask("/own/p?a=3", &[]).await), ("HIT", "posted"));
    assert_eq!(told(&larder.ask("/own/p?a=2", &[]).await), ("MISS", "got"));
}

#[tokio::test]
async fn f2_what_was_confirmed_is_not_found_for_a_query_whose_url_was_purged_since_its_content_came() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let reply = match request.method() {
            &Method::POST => return Reply::status(204),
            _ if field(&request, "if-none-match").is_some() => Reply::status(304),
            _ => Reply::ok(query),
        };
        let reply = reply.header("etag", "W/\"weak\"").header("no-vary-search", "params");
        reply.header("cache-control", "max-age=5")
    });
    let larder = larder(&origin).await;
    assert_eq!(told(&larder.ask("/own/p?a=1", &[]).await), ("MISS", "a=1"));
    purge(&larder, "/own/p?a=2").await;
    larder.advance(Duration::from_secs(6));
    assert_eq!(told(&larder.ask("/own/p?a=1", &[]).await), ("REVALIDATED", "a=1"));
    assert_eq!(told(&larder.ask("/own/p?a=3", &[]).await), ("HIT", "a=1"));
    assert_eq!(told(&larder.ask("/own/p?a=2", &[]).await), ("MISS", "a=2"));
}

#[tokio::test]
async fn f2_what_was_combined_is_not_found_for_a_query_whose_url_was_purged_since_the_older_part_came() {
    for (rest, path) in
        [(Some("bytes=5-9"), "/p"), (None, "/p"), (Some("bytes=5-9"), "/own/p"), (None, "/own/p")]
    {
        let origin = Origin::start(async |request: Request<Bytes>| {
            if request.method() == Method::POST {
                return Reply::status(204);
            }
            let reply = part(&request, "0123456789");
            reply.header("cache-control", "max-age=60").header("no-vary-search", "params")
        });
        let larder = larder(&origin).await;
        let url = |query: &str| format!("{path}?{query}");
        let first = [("range", "bytes=0-4")];
        larder.ask(&url("a=1"), &first).await;
        purge(&larder, &url("a=2")).await;
        assert_eq!(told(&larder.ask(&url("a=1"), &first).await), ("HIT", "01234"));
        let rest: Vec<_> = rest.into_iter().map(|rest| ("range", rest)).collect();
        assert_eq!(larder.ask(&url("a=1"), &rest).await.x_cache(), "MISS");
        assert_eq!(told(&larder.ask(&url("a=3"), &[]).await), ("HIT", "0123456789"));
        assert_eq!(told(&larder.ask(&url("a=2"), &[]).await), ("MISS", "0123456789"), "{path} {rest:?}");
    }
}

#[tokio::test]
async fn rfc9111_4_3_2_what_is_found_for_another_request_does_not_answer_a_condition_that_it_does_not_meet() {
    let origin = Origin::start(async |request: Request<Bytes>| match field(&request, "if-match") {
        Some(_) => Reply::status(412),
        None => Reply::ok("page")
            .header("etag", "\"1\"")
            .header("cache-control", "max-age=60")
            .header("vary", "accept-language")
            .header("content-language", "de")
            .header("no-vary-search", "params"),
    });
    let larder = larder(&origin).await;
    let (plain, wide) = (("accept-language", "de"), ("accept-language", "de, en;q=0.5"));
    assert_eq!(larder.ask("/own/p?a=1", &[plain]).await.x_cache(), "MISS");
    for (path, language) in [("/own/p?a=2", plain), ("/own/p?a=1", wide)] {
        let answer = larder.ask(path, &[language, ("if-match", "\"other\"")]).await;
        assert_eq!((answer.status.as_u16(), answer.x_cache()), (412, "BYPASS"), "{path}");
        let only = [language, ("if-match", "\"other\""), ("cache-control", "only-if-cached")];
        assert_eq!(larder.ask(path, &only).await.status, 504);
        assert_eq!(larder.ask(path, &[language, ("if-match", "\"1\"")]).await.x_cache(), "HIT", "{path}");
    }
}

#[tokio::test]
async fn f2_a_language_that_a_head_took_back_is_no_longer_found_by_it() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let language = if request.method() == Method::HEAD { "fr" } else { "de" };
        Reply::ok("page")
            .header("etag", "\"1\"")
            .header("cache-control", "max-age=5")
            .header("vary", "accept-language")
            .header("content-language", language)
    });
    let larder = larder(&origin).await;
    larder.ask("/own/p", &[("accept-language", "de")]).await;
    larder.advance(Duration::from_secs(6));
    let head =
        Client::new().method("HEAD", larder.url("/own/p")).header("accept-language", "de").send().await;
    assert_eq!((head.x_cache(), head.header("content-language")), ("REVALIDATED", Some("fr")));
    let answer = larder.ask("/own/p", &[("accept-language", "de, en;q=0.5")]).await;
    assert_ne!(answer.x_cache(), "HIT", "{:?}", answer.header("content-language"));
}

#[tokio::test]
async fn f2_a_whole_that_began_before_a_part_of_another_representation_does_not_take_its_place() {
    for path in ["/p", "/own/p"] {
        let steps = Steps::new();
        let (script, number) = (steps.clone(), AtomicUsize::new(0));
        let origin = Origin::start(move |request: Request<Bytes>| {
            let first = number.fetch_add(1, Ordering::SeqCst) == 0;
            let reply = match first {
                true => Reply::status(200).header("etag", "\"old\"").steps(&script),
                false => part(&request, "0123456789"),
            };
            std::future::ready(reply.header("cache-control", "max-age=60"))
        });
        let larder = larder(&origin).await;
        steps.data("abcde");
        let mut older = larder.get(path).stream().await;
        older.at_least(5).await;
        let range = [("range", "bytes=0-4")];
        assert_eq!(told(&larder.ask(&format!("{path}?bust_cache=true"), &range).await), ("REFRESH", "01234"));
        steps.data("fghij").end();
        older.rest().await.unwrap();
        assert_eq!(told(&larder.ask(path, &range).await), ("HIT", "01234"), "{path}");
    }
}

#[tokio::test]
async fn rfc9530_2_a_digest_of_the_content_is_not_said_of_another_content() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let digest = format!("sha-256=:{}:", field(&request, "range").unwrap_or("whole").replace('=', ""));
        part(&request, "0123456789")
            .header("cache-control", "max-age=60")
            .header("content-digest", &digest)
            .header("content-md5", &digest)
            .header("repr-digest", "sha-256=:all:")
    });
    let larder = larder(&origin).await;
    let digests = |answer: &Answer| {
        ["content-digest", "content-md5", "repr-digest"].map(|name| answer.header(name).is_some())
    };
    for path in ["/own/", "/"] {
        let ask = async |name: &str, range: Option<&str>| {
            let range: Vec<_> = range.into_iter().map(|range| ("range", range)).collect();
            digests(&larder.ask(&format!("{path}{name}"), &range).await)
        };
        assert_eq!(ask("whole", None).await, [true, true, true]);
        assert_eq!(ask("whole", None).await, [true, true, true], "stored");
        assert_eq!(ask("whole", Some("bytes=0-4")).await, [false, false, true], "cut");
        assert_eq!(ask("parts", Some("bytes=0-4")).await, [true, true, true], "as it came");
        assert_eq!(ask("parts", Some("bytes=1-2")).await, [false, false, true], "cut from a part");
        assert_eq!(ask("parts", Some("bytes=5-9")).await, [true, true, true], "as it came");
        assert_eq!(ask("parts", None).await, [false, false, true], "combined");
        ask("rest", Some("bytes=0-4")).await;
        assert_eq!(ask("rest", None).await, [false, false, true], "completed");
        assert_eq!(ask("rest", None).await, [false, false, true], "completed and stored");
    }
}

#[tokio::test]
async fn rfc9530_b_2_what_an_answer_without_content_says_of_its_bytes_is_not_said_of_the_stored_ones() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let confirmed = field(&request, "if-none-match").is_some();
        let reply = match request.method() {
            &Method::HEAD => Reply::ok("page").header("content-digest", "sha-256=:none:"),
            _ if confirmed => Reply::status(304).header("content-digest", "sha-256=:none:"),
            _ => Reply::ok("page").header("content-digest", "sha-256=:page:"),
        };
        reply.header("etag", "\"1\"").header("cache-control", "max-age=5")
    });
    let larder = larder(&origin).await;
    larder.ask("/own/p", &[]).await;
    for method in ["GET", "HEAD"] {
        larder.advance(Duration::from_secs(6));
        let answer = Client::new().method(method, larder.url("/own/p")).send().await;
        assert_eq!(answer.x_cache(), "REVALIDATED");
        assert_eq!(
            larder.ask("/own/p", &[]).await.header("content-digest"),
            Some("sha-256=:page:"),
            "{method}"
        );
    }
}

#[tokio::test]
async fn f2_a_part_that_a_bust_brought_is_combined_with_none_that_was_there() {
    for path in ["/p", "/own/p"] {
        let number = AtomicUsize::new(0);
        let origin = Origin::start(move |request: Request<Bytes>| {
            // One strong entity tag for two contents, which must not be: who busts has a reason.
            let content =
                if number.fetch_add(1, Ordering::SeqCst) == 0 { "abcdefghij" } else { "0123456789" };
            let reply = part(&request, content);
            let etag = |reply: Reply| reply.header("etag", "\"a\"").header("cache-control", "max-age=60");
            let range = field(&request, "range").unwrap_or_default().to_owned();
            std::future::ready(match range.as_str() {
                "bytes=0-6" => etag(
                    Reply::status(206).header("content-range", "bytes 0-6/10").body(content[..7].to_owned()),
                ),
                "bytes=0-4" => etag(
                    Reply::status(206).header("content-range", "bytes 0-4/10").body(content[..5].to_owned()),
                ),
                _ => reply,
            })
        });
        let larder = larder(&origin).await;
        assert_eq!(told(&larder.ask(path, &[("range", "bytes=0-6")]).await), ("MISS", "abcdefg"));
        let range = [("range", "bytes=0-4")];
        assert_eq!(told(&larder.ask(&format!("{path}?bust_cache=true"), &range).await), ("REFRESH", "01234"));
        assert_eq!(told(&larder.ask(path, &range).await), ("HIT", "01234"), "{path}");
    }
}

#[tokio::test]
async fn f2_parts_in_two_codings_are_not_combined_though_one_does_not_say_so() {
    for path in ["/p", "/own/p"] {
        let number = AtomicUsize::new(0);
        let origin = Origin::start(move |request: Request<Bytes>| {
            let reply = part(&request, "0123456789").header("cache-control", "max-age=60");
            let encoded = number.fetch_add(1, Ordering::SeqCst) == 0;
            std::future::ready(if encoded { reply.header("content-encoding", "gzip") } else { reply })
        });
        let larder = larder(&origin).await;
        let gzip = ("accept-encoding", "gzip");
        larder.ask(path, &[gzip, ("range", "bytes=0-4")]).await;
        larder.ask(path, &[gzip, ("range", "bytes=5-9")]).await;
        let whole = larder.ask(path, &[gzip]).await;
        assert_eq!((whole.x_cache(), whole.header("content-encoding")), ("MISS", None), "{path}");
    }
}

#[tokio::test]
async fn f2_an_older_whole_that_came_first_does_not_hide_a_part_of_another_representation() {
    for path in ["/p", "/own/p"] {
        let (first, second) = (Gate::closed(), Gate::closed());
        let gates = [first.clone(), second.clone()];
        let number = AtomicUsize::new(0);
        let origin = Origin::start(move |request: Request<Bytes>| {
            let turn = number.fetch_add(1, Ordering::SeqCst);
            let gate = gates.get(turn).cloned();
            async move {
                let content = if turn == 0 { "abcdefghij" } else { "0123456789" };
                if let Some(gate) = gate {
                    gate.pass().await;
                }
                part(&request, content).header("cache-control", "max-age=60")
            }
        });
        let larder = larder(&origin).await;
        let whole = tokio::spawn(larder.get(path).send());
        first.arrived(1).await;
        let busting = larder.get(&format!("{path}?bust_cache=true")).header("range", "bytes=0-4");
        let busting = tokio::spawn(busting.send());
        second.arrived(1).await;
        first.open();
        assert_eq!(whole.await.unwrap().text(), "abcdefghij");
        second.open();
        assert_eq!(told(&busting.await.unwrap()), ("REFRESH", "01234"));
        assert_eq!(told(&larder.ask(path, &[("range", "bytes=0-4")]).await), ("HIT", "01234"), "{path}");
    }
}

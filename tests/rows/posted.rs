//! POST whose answer is the representation of its own URL (RFC 9110 section 9.3.3): stored as the GET's would be, and
//! covered by every purge but its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use larder::cache::Cache;
use larder::clock::{Clock, Now};
use larder::purge::{Fence, Limits, LocalLog, Purge, PurgeLog, Receipt, Record, Selector, Where};
use larder::stored::Position;

use super::methods::{purge_tag, with_cache};
use crate::support::client::Answer;
use crate::support::raw::RawOrigin;
use crate::support::{Client, Gate, InProcess, Larder, Origin, Reply, Steps, wait};

const YAML: &str = "
origins: { app: { url: 'http://127.0.0.1:1' } }
identity:
  ask: { path: /whoami, user: X-User, cookies: [session] }
  user: [{ ask: user }]
  tenant: [{ host: '{tenant}.example.com' }]
tiers: { own: {}, ruled: { when: [{ status: 200, ttl: 5m }] }, timed: { ttl: 15m }, small: { store: small } }
stores: { small: { memory: 64KiB, max_object: 1KiB } }
routes:
  - { name: whoami, path: /whoami }
  - { name: timed, path: '/timed/{*rest}', tier: timed, share: public }
  - { name: ruled, path: '/ruled/{*rest}', tier: ruled, share: public }
  - { name: mine, path: '/mine/{*rest}', tier: own, share: user }
  - { name: tenants, path: '/tenants/{*rest}', tier: own, share: tenant }
  - { name: busting, path: '/bust/{*rest}', tier: own, share: public, bust: { allow: anyone, forward: true } }
  - { name: small, path: '/small/{*rest}', tier: small, share: public }
  - { name: writes, path: '/apart/{*rest}', methods: [POST] }
  - { name: some, path: '/some/{*rest}', tier: own, share: public, query: { ignore: [utm] }, only_if: { query: { on: [yes] } } }
  - { name: all, path: '/{*rest}', tier: own, share: public, query: { ignore: [utm] } }
writes:
  - { methods: [POST], path: '/page', tags: [list] }
";

fn is_post<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST
}

/// What a POST for this target is answered with, where all is well.
fn made(path: &str) -> Reply {
    Reply::ok("made by POST").header("content-location", path).header("cache-control", "max-age=60")
}

fn got() -> Reply {
    Reply::ok("got by GET").header("cache-control", "max-age=60")
}

/// An origin that answers POST with `reply`, which sees the request.
fn answering_post(reply: impl Fn(&Request<Bytes>) -> Reply + Send + Sync + 'static) -> Origin {
    Origin::start(move |request| {
        let whoami = request.uri().path() == "/whoami";
        let reply = match (whoami, is_post(&request)) {
            (true, _) => Reply::status(204).header("x-user", "ann"),
            (_, true) => reply(&request),
            _ => got(),
        };
        std::future::ready(reply)
    })
}

async fn post(larder: &InProcess, path: &str, fields: &[(&str, &str)]) -> Answer {
    let call = larder.post(path).body("what is written");
    fields.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await
}

/// Whether a GET with these fields now gets what the POST made.
async fn is_kept(larder: &InProcess, path: &str, fields: &[(&str, &str)]) -> bool {
    let answer = larder.ask(path, fields).await;
    let kept = answer.text() == "made by POST";
    assert_eq!(kept, answer.x_cache() == "HIT", "{path}: {} {}", answer.text(), answer.cache_status());
    kept
}

#[tokio::test]
async fn rfc9110_9_3_3_the_answer_to_a_post_is_stored_for_the_get_of_its_url() {
    let locate = |request: &Request<Bytes>| {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        let location = match request.uri().path() {
            "/relative/x" => "x".to_owned(),
            "/absolute" => format!("http://{host}/absolute"),
            "/query" => "?a=b".to_owned(),
            path => path.to_owned(),
        };
        made(&location)
    };
    let origin = answering_post(locate);
    let larder = InProcess::start(YAML, &origin, 1_780_000_000).await;
    for path in ["/page", "/relative/x", "/absolute", "/query?a=b"] {
        let answer = post(&larder, path, &[]).await;
        assert_eq!((answer.text(), answer.x_cache()), ("made by POST", "BYPASS"));
        assert!(answer.cache_status().contains("; stored;"), "{path}: {}", answer.cache_status());
        assert!(is_kept(&larder, path, &[]).await, "{path}");
    }
    let head = Client::new().method("HEAD", larder.url("/page")).send().await;
    assert_eq!((head.x_cache(), head.header("content-length")), ("HIT", Some("12")));
    // It ages, and it ends, as any other.
    larder.advance(Duration::from_secs(59));
    assert_eq!(larder.ask("/page", &[]).await.age(), Some(59));
    larder.advance(Duration::from_secs(2));
    assert_eq!(larder.ask("/page", &[]).await.text(), "got by GET");
}

#[tokio::test]
async fn what_the_answer_lacks_keeps_it_from_being_stored() {
    type Change = fn(Reply) -> Reply;
    let all_is_well: Change = |reply| reply;
    let bare = || Reply::ok("made by POST").header("content-location", "/page");
    let answers: Vec<(&str, Reply, bool)> = vec![
        ("all is well", all_is_well(made("/page")), true),
        ("s-maxage", bare().header("cache-control", "s-maxage=60"), true),
        ("expires", bare().header("expires", "Fri, 01 Jan 2100 00:00:00 GMT"), true),
        ("public and nothing else", bare().header("cache-control", "public"), false),
        ("only a guess", bare().header("last-modified", "Tue, 14 Nov 2000 22:03:20 GMT"), false),
        ("no-cache alone", bare().header("cache-control", "no-cache"), false),
        ("no freshness at all", bare(), false),
        ("no Content-Location", Reply::ok("made by POST").header("cache-control", "max-age=60"), false),
        ("another", made("/other"), false),
        ("another query", made("/page?a"), false),
        ("another authority", made("http://other.example/page"), false),
        ("another scheme", made("HTTPS://shop.example/page"), false),
        ("two of them", made("/page").header("content-location", "/page"), false),
        (
            "created",
            Reply::status(201).header("content-location", "/page").header("cache-control", "max-age=60"),
            false,
        ),
        ("private", made("/page").header("cache-control", "private"), false),
        ("no-store", made("/page").header("cache-control", "no-store"), false),
        ("a cookie", made("/page").header("set-cookie", "a=b"), false),
        ("Vary: Cookie", made("/page").header("vary", "cookie"), false),
        ("Vary: *", made("/page").header("vary", "*"), false),
        ("no-store to surrogates", made("/page").header("surrogate-control", "no-store"), false),
        ("a range of nothing", made("/page").header("content-range", "bytes 0-1/2"), true),
        ("too many tags", made("/page").header("cache-tag", vec!["t".repeat(3_000); 2].join(",")), false),
    ];
    let replies: Vec<_> =
        answers.into_iter().map(|(name, reply, kept)| (name, Mutex::new(Some(reply)), kept)).collect();
    for (name, reply, kept) in replies {
        let origin = answering_post(move |_| reply.lock().unwrap().take().unwrap());
        let larder = InProcess::start(YAML, &origin, 1_780_000_000).await;
        let answer = post(&larder, "/page", &[("host", "shop.example")]).await;
        assert_eq!(answer.cache_status().contains("; stored;"), kept, "{name}");
        assert_eq!(is_kept(&larder, "/page", &[("host", "shop.example")]).await, kept, "{name}");
    }
}

#[tokio::test]
async fn what_the_request_says_beyond_the_get_keeps_its_answer_from_being_stored() {
    let origin = answering_post(|request| {
        let reply = made(request.uri().path_and_query().unwrap().as_str());
        match request.headers().get("accept-encoding") {
            Some(_) => reply.header("content-encoding", "gzip").header("vary", "accept-encoding"),
            None => reply,
        }
    });
    let larder = InProcess::start(YAML, &origin, 1_780_000_000).await;
    let host = ("host", "acme.example.com");
    for (what, path, fields, kept) in [
        ("nothing", "/a", vec![], true),
        ("a parameter that is ignored", "/b?utm=1", vec![], false),
        ("a bust", "/bust/c?bust_cache=true", vec![], false),
        ("a credential", "/d", vec![("authorization", "Bearer x")], false),
        ("no-store", "/e", vec![("cache-control", "no-store")], false),
        ("a condition", "/f", vec![("if-none-match", "\"1\"")], false),
        ("a part", "/g", vec![("range", "bytes=0-1")], false),
        ("a choice", "/h", vec![("x-larder-cache", "key")], false),
        ("codings of its own", "/i", vec![("accept-encoding", "gzip, deflate")], false),
        ("what the route wants", "/some/x?on=yes", vec![], true),
        ("not what the route wants", "/some/x", vec![], false),
        ("a tier with a ttl", "/timed/a", vec![], false),
        ("a tier with an exception that has one", "/ruled/a", vec![], false),
        ("a route for writes", "/apart/a", vec![], false),
        ("no identity", "/mine/a", vec![], false),
        ("a claimed tenant", "/tenants/a", vec![host], true),
        ("a claimed tenant and a cookie", "/tenants/b", vec![host, ("cookie", "a=b")], false),
        (
            "a claimed tenant and a credential",
            "/tenants/c",
            vec![host, ("authorization", "Basic eDp5")],
            false,
        ),
    ] {
        let answer = post(&larder, path, &fields).await;
        assert_eq!(answer.cache_status().contains("; stored;"), kept, "{what}");
        let plain: Vec<_> = fields.into_iter().filter(|(name, _)| *name == "host").collect();
        assert_eq!(is_kept(&larder, path, &plain).await, kept, "{what}");
    }
    // As a fill words them, and told apart by them.
    post(&larder, "/j", &[("accept-encoding", "gzip")]).await;
    assert!(is_kept(&larder, "/j", &[("accept-encoding", "gzip, deflate")]).await);
    assert!(!is_kept(&larder, "/j", &[]).await);
    // The write has ended what was known of its credential.
    let ann = [("cookie", "session=s")];
    larder.ask("/mine/b", &ann).await;
    post(&larder, "/mine/b", &ann).await;
    assert!(!is_kept(&larder, "/mine/b", &ann).await);
}

#[tokio::test]
async fn an_answer_is_shared_with_its_own_tenant_only() {
    let origin = answering_post(|request| made(request.uri().path()));
    let larder = InProcess::start(YAML, &origin, 1_780_000_000).await;
    post(&larder, "/tenants/a", &[("host", "acme.example.com")]).await;
    assert!(is_kept(&larder, "/tenants/a", &[("host", "acme.example.com")]).await);
    assert!(!is_kept(&larder, "/tenants/a", &[("host", "bolt.example.com")]).await);
}

/// An origin whose POST waits for the gate, and whose answer has the tag `page`.
fn gated(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |request| {
        let gate = gate.clone();
        async move {
            if !is_post(&request) {
                return got();
            }
            gate.pass().await;
            made("/page").header("cache-tag", "page")
        }
    })
}

#[tokio::test]
async fn a_purge_while_a_post_is_under_way_covers_its_answer_and_one_of_something_else_does_not() {
    for (tag, kept) in [("page", false), ("something-else", true)] {
        let gate = Gate::closed();
        let origin = gated(&gate);
        let (larder, cache) = with_cache(YAML, &origin).await;
        let (_, ()) = tokio::join!(post(&larder, "/page", &[]), async {
            gate.arrived(1).await;
            purge_tag(&cache, tag);
            gate.open();
        });
        assert_eq!(is_kept(&larder, "/page", &[]).await, kept, "{tag}");
    }
}

#[tokio::test]
async fn a_purge_before_a_post_does_not_cover_its_answer_and_one_after_it_does() {
    let gate = Gate::closed();
    gate.open();
    let origin = gated(&gate);
    let (larder, cache) = with_cache(YAML, &origin).await;
    purge_tag(&cache, "page");
    post(&larder, "/page", &[]).await;
    assert!(is_kept(&larder, "/page", &[]).await);
    purge_tag(&cache, "page");
    assert!(!is_kept(&larder, "/page", &[]).await);
}

#[tokio::test]
async fn a_purge_while_the_content_comes_covers_it() {
    for purge in [true, false] {
        let steps = Steps::new();
        let script = steps.clone();
        let origin = answering_post(move |_| {
            let head = Reply::status(200).header("content-location", "/page");
            head.header("cache-control", "max-age=60").steps(&script)
        });
        let (larder, cache) = with_cache(YAML, &origin).await;
        steps.data("made ");
        let mut reader = larder.post("/page").body("x").stream().await;
        reader.at_least(5).await;
        // What has not come whole is not there.
        assert_eq!(larder.ask("/elsewhere", &[]).await.x_cache(), "MISS");
        if purge {
            assert!(cache.purge(&[Selector::Everything], &Where::All).receipt().is_some());
        }
        steps.data("by POST").end();
        assert_eq!(reader.rest().await.unwrap(), b"by POST");
        assert_eq!(is_kept(&larder, "/page", &[]).await, !purge);
    }
}

/// A log in which somebody else's purge gets its place right before, or right after, the first of a write's own.
struct Meddled {
    log: LocalLog,
    armed: Arc<AtomicBool>,
    before: bool,
    tag: &'static str,
}

impl PurgeLog for Meddled {
    fn append(&self, purge: Purge, now: Now) -> Receipt {
        let armed = self.armed.swap(false, Ordering::SeqCst);
        let other = || self.log.append(Purge::hard(vec![Selector::Tag(self.tag.into())], Where::All), now);
        if armed && self.before {
            other();
        }
        let receipt = self.log.append(purge, now);
        if armed && !self.before {
            other();
        }
        receipt
    }

    fn follow(&self, after: Position, apply: &mut dyn FnMut(&Record)) {
        self.log.follow(after, apply);
    }
}

#[tokio::test]
async fn a_purge_among_those_of_the_write_itself_is_never_taken_for_one_of_them() {
    for (armed, before, tag, kept) in [
        (true, true, "page", false),
        (true, false, "page", false),
        // Whether it covers the answer is not asked.
        (true, true, "something-else", false),
        (false, true, "page", true),
    ] {
        let gate = Gate::closed();
        gate.open();
        let origin = gated(&gate);
        let armed = Arc::new(AtomicBool::new(armed));
        let log = Meddled { log: LocalLog::default(), armed, before, tag };
        let over = move |stores: &[_], clock: Clock| {
            Cache::with_fence(stores, Fence::over(Box::new(log), Limits::default()), clock)
        };
        let larder = InProcess::start_over(YAML, &origin, 1_780_000_000, &[], over).await;
        let answer = post(&larder, "/page", &[]).await;
        assert_eq!(answer.cache_status().contains("; stored;"), kept, "{before} {tag}");
        assert_eq!(is_kept(&larder, "/page", &[]).await, kept, "{before} {tag}");
    }
}

#[tokio::test]
async fn a_write_elsewhere_that_purges_the_same_covers_the_answer() {
    let gate = Gate::closed();
    let origin = gated(&gate);
    let larder = InProcess::start(YAML, &origin, 1_780_000_000).await;
    // Of two at once, each purges what the other brings; the last to be answered shows what both have made.
    let (..) = tokio::join!(post(&larder, "/page", &[]), post(&larder, "/page", &[]), async {
        gate.arrived(2).await;
        gate.let_through(1);
        wait::until("one of them is answered", || origin.in_flight() == 1).await;
        gate.open();
    });
    assert!(!is_kept(&larder, "/page", &[]).await);
}

/// An origin whose first GET waits for the gate.
fn slow_get(gate: &Gate) -> Origin {
    let (gate, first) = (gate.clone(), AtomicBool::new(true));
    Origin::start(move |request| {
        let (gate, slow) = (gate.clone(), !is_post(&request) && first.swap(false, Ordering::SeqCst));
        async move {
            if slow {
                gate.pass().await;
            }
            if is_post(&request) { made("/page") } else { got() }
        }
    })
}

#[tokio::test]
async fn an_older_fill_does_not_overwrite_the_answer_to_a_post() {
    let gate = Gate::closed();
    let origin = slow_get(&gate);
    let larder = InProcess::start(YAML, &origin, 1_780_000_000).await;
    let (older, ()) = tokio::join!(larder.ask("/page", &[]), async {
        gate.arrived(1).await;
        post(&larder, "/page", &[]).await;
        gate.open();
    });
    assert_eq!(older.status, 200);
    assert!(is_kept(&larder, "/page", &[]).await);
}

#[tokio::test]
async fn the_answer_to_a_post_does_not_overwrite_a_newer_fill() {
    let steps = Steps::new();
    let script = steps.clone();
    let origin = answering_post(move |_| {
        let head = Reply::status(200).header("content-location", "/page");
        head.header("cache-control", "max-age=60").steps(&script)
    });
    let larder = InProcess::start(YAML, &origin, 1_780_000_000).await;
    steps.data("made ");
    let mut reader = larder.post("/page").body("x").stream().await;
    reader.at_least(5).await;
    assert_eq!(larder.ask("/page", &[]).await.x_cache(), "MISS");
    steps.data("by POST").end();
    reader.rest().await.unwrap();
    let next = larder.ask("/page", &[]).await;
    assert_eq!((next.x_cache(), next.text()), ("HIT", "got by GET"));
}

#[tokio::test]
async fn what_does_not_come_whole_or_is_too_large_is_not_stored() {
    for (path, announced, cut) in [("/page", true, true), ("/page", false, true), ("/small/x", false, false)]
    {
        let steps = Steps::new();
        let script = steps.clone();
        let origin = answering_post(move |request| {
            let head = Reply::status(200).header("content-location", request.uri().path());
            let head = head.header("cache-control", "max-age=60");
            if announced { head.header("content-length", "100").steps(&script) } else { head.steps(&script) }
        });
        let larder = InProcess::start(YAML, &origin, 1_780_000_000).await;
        steps.data(vec![b'x'; 90]);
        let mut reader = larder.post(path).body("x").stream().await;
        reader.at_least(90).await;
        if cut {
            steps.cut();
            assert!(reader.rest().await.is_err());
        } else {
            steps.data(vec![b'x'; 1_000]).end();
            assert_eq!(reader.rest().await.unwrap().len(), 1_000);
        }
        assert_eq!(larder.ask(path, &[]).await.x_cache(), "MISS", "{path}");
    }
}

const RAW: &str = "
origins: { app: { url: '{origin}' } }
tiers: { own: {} }
routes: [{ name: all, path: '/{*rest}', tier: own, share: public }]
";

#[tokio::test]
async fn rfc9110_6_6_1_an_answer_without_a_date_is_stored_with_the_one_of_its_coming() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\nCache-Control: max-age=60\r\n";
    let origin = RawOrigin::constant(format!("{head}Content-Location: /page\r\n\r\nmade")).await;
    let larder = Larder::with(RAW).put("origin", origin.url()).start().await;
    for method in ["POST", "GET"] {
        let path = if method == "POST" { "/page" } else { "/other" };
        let first = Client::new().method(method, larder.url(path)).send().await;
        assert!(first.cache_status().contains("; stored;"), "{}", first.cache_status());
        let late =
            Client::new().get(larder.url(path)).header("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT");
        let late = late.send().await;
        assert_eq!((late.status.as_u16(), late.x_cache()), (304, "HIT"), "{method}");
    }
}

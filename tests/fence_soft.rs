//! Soft purges and the sweeper on the real request path: who gets the old answer, for how long, and who never does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail

#[allow(unreachable_pub, dead_code)]
#[path = "review/support.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{Request, Response};
use larder::http::Body;
use larder::purge::{Causer, Purge, Receipt, Selector, Where};
use support::{World, reply, settle};

const CONFIG: &str = "
tiers: { short: { ttl: 10m, stale_while_revalidate: 1m, stale_if_error: 1h } }
routes:
  - { name: page, path: /page, tier: short, share: public, tags: [page] }
  - { name: other, path: /other, tier: short, share: public, tags: [other] }
";
const LATER: Duration = Duration::from_secs(61);

fn tag(name: &str) -> Vec<Selector> {
    vec![Selector::Tag(name.into())]
}

fn soft(world: &World, by: Option<Causer>) -> Receipt {
    world
        .proxy
        .shared()
        .cache()
        .purge_with(&Purge::soft(tag("page"), Where::All, by))
        .receipt()
        .cloned()
        .unwrap()
}

fn hard(world: &World, name: &str) -> Receipt {
    world.proxy.shared().cache().purge(&tag(name), &Where::All).receipt().cloned().unwrap()
}

/// An application that counts its answers; from the answer `fails_from` on it fails.
fn counting(fails_from: usize) -> World {
    let count = Arc::new(AtomicUsize::new(0));
    World::new(CONFIG, move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst) + 1;
        let status = if n >= fails_from { 503 } else { 200 };
        async move { Response::builder().status(status).body(Body::from(n.to_string())).unwrap() }
    })
}

/// An application whose answer has these validators and is always confirmed where it is asked for with one of them.
fn confirming(fields: &'static [(&'static str, &'static str)]) -> World {
    World::new(CONFIG, move |request: Request<Body>| async move {
        let asked = request.headers().contains_key(IF_NONE_MATCH)
            || request.headers().contains_key(IF_MODIFIED_SINCE);
        if asked { reply(304, fields, "") } else { reply(200, fields, "whole") }
    })
}

#[tokio::test]
async fn after_a_soft_purge_the_old_answer_is_served_while_the_new_one_is_fetched() {
    let world = counting(usize::MAX);
    assert_eq!(world.get("/page", &[]).await.text(), "1");
    soft(&world, None);
    let got = world.get("/page", &[]).await;
    assert_eq!((got.x_cache(), got.text()), ("STALE", "1"));
    let status = got.header("cache-status").unwrap();
    assert!(status.contains("ttl=0"), "a stale answer with time left: {status}");
    settle().await;
    let got = world.get("/page", &[]).await;
    assert_eq!((got.x_cache(), got.text()), ("HIT", "2"));
    assert_eq!(world.asked(), 2);
}

#[tokio::test]
async fn the_stale_window_is_counted_from_the_earliest_soft_purge() {
    let world = counting(usize::MAX);
    world.get("/page", &[]).await;
    soft(&world, None);
    world.clock.advance(LATER);
    soft(&world, None);
    let got = world.get("/page", &[]).await;
    assert_eq!((got.x_cache(), got.text()), ("MISS", "2"));
    assert!(got.header("cache-status").unwrap().contains("detail=soft-purged"));
}

#[tokio::test]
async fn a_softly_purged_answer_stands_in_for_a_failure_and_a_hard_purged_one_never() {
    let world = counting(2);
    world.get("/page", &[]).await;
    soft(&world, None);
    world.clock.advance(LATER);
    let got = world.get("/page", &[]).await;
    assert_eq!((got.x_cache(), got.text()), ("STALE", "1"));
    hard(&world, "page");
    soft(&world, None);
    assert_eq!(world.get("/page", &[]).await.status, 503);
}

#[tokio::test]
async fn whoever_caused_a_soft_purge_reads_fresh_while_others_still_get_the_old_answer() {
    let world = counting(3);
    let (me, you) = ([("cookie", "session=me")], [("cookie", "session=you")]);
    world.get("/page", &me).await;
    soft(&world, Some(Causer::credential(b"session=me")));
    soft(&world, Some(Causer::credential(b"session=somebody")));
    let got = world.get("/page", &me).await;
    assert_eq!((got.x_cache(), got.text()), ("MISS", "2"));
    // It is everybody's then.
    assert_eq!(world.get("/page", &you).await.text(), "2");
    soft(&world, Some(Causer::credential(b"session=me")));
    assert_eq!(world.get("/page", &you).await.x_cache(), "STALE");
    settle().await;
    // The application fails by now: others may get the old answer, the one who changed it gets the truth.
    assert_eq!(world.get("/page", &me).await.status, 503);
    world.clock.advance(LATER);
    assert_eq!(world.get("/page", &you).await.text(), "2");
}

#[tokio::test]
async fn after_a_soft_purge_only_a_strong_validator_confirms_and_after_a_hard_one_none_does() {
    let date = ("last-modified", "Tue, 14 Nov 2023 22:03:20 GMT");
    let (strong, weak) = (("etag", "\"a\""), ("etag", "W/\"a\""));
    let both: &'static [_] = Box::leak(Box::new([strong, date]));
    let weakly: &'static [_] = Box::leak(Box::new([weak, date]));
    let world = confirming(both);
    world.get("/page", &[]).await;
    soft(&world, None);
    world.clock.advance(LATER);
    assert_eq!(world.get("/page", &[]).await.x_cache(), "REVALIDATED");
    let asked = world.seen().last().unwrap().headers.clone();
    assert_eq!(asked[IF_NONE_MATCH], "\"a\"");
    assert!(!asked.contains_key(IF_MODIFIED_SINCE), "a date confirms nothing after a soft purge");
    assert_eq!(world.get("/page", &[]).await.x_cache(), "HIT", "confirmed, it is as if fetched then");
    hard(&world, "page");
    assert_eq!(world.get("/page", &[]).await.x_cache(), "MISS");
    assert!(!world.seen().last().unwrap().headers.contains_key(IF_NONE_MATCH));
    let world = confirming(weakly);
    world.get("/page", &[]).await;
    soft(&world, None);
    world.clock.advance(LATER);
    assert_eq!(world.get("/page", &[]).await.x_cache(), "MISS");
    let asked = world.seen().last().unwrap().headers.clone();
    assert!(
        !asked.contains_key(IF_NONE_MATCH) && !asked.contains_key(LAST_MODIFIED) && !asked.contains_key(ETAG)
    );
}

#[tokio::test]
async fn the_sweeper_frees_what_is_purged_and_the_rows_and_keeps_what_is_valid() {
    let world = counting(usize::MAX);
    let cache = world.proxy.shared().cache();
    world.get("/page", &[]).await;
    world.get("/other", &[]).await;
    for n in 0..100 {
        hard(&world, &format!("t{n}"));
    }
    hard(&world, "page");
    assert_eq!((cache.fence().rows(), cache.stats()[0].entries), (101, 2));
    let swept = cache.sweep(world.clock.now());
    assert_eq!((swept.seen, swept.freed, swept.floor), (2, 1, 101));
    assert_eq!((cache.fence().rows(), cache.stats()[0].entries), (0, 1));
    assert_eq!(world.get("/other", &[]).await.x_cache(), "HIT");
    assert_eq!(world.get("/page", &[]).await.text(), "3");
    // Nothing was purged since: there is nothing to look at.
    assert_eq!(cache.sweep(world.clock.now()).seen, 0);
    // What is softly purged holds the floor where it began, until it is of no more use.
    soft(&world, None);
    assert_eq!(cache.sweep(world.clock.now()).floor, 101);
    assert_eq!(cache.fence().rows(), 1);
    world.clock.advance(Duration::from_secs(2 * 3600));
    let swept = cache.sweep(world.clock.now());
    assert_eq!((swept.freed, swept.floor, cache.fence().rows()), (1, 102, 0));
}

#[tokio::test]
async fn a_fill_that_runs_during_a_sweep_is_stored_and_served() {
    let (go, gone) = tokio::sync::watch::channel(false);
    let world = World::new(CONFIG, move |_| {
        let mut gone = gone.clone();
        async move {
            gone.wait_for(|go| *go).await.unwrap();
            reply(200, &[], "x")
        }
    });
    let cache = world.proxy.shared().cache();
    let first = tokio::spawn(world.send(support::get("/page", &[])));
    settle().await;
    hard(&world, "other");
    assert_eq!(cache.sweep(world.clock.now()).floor, 0, "the floor follows the fill");
    go.send_replace(true);
    assert_eq!(first.await.unwrap().text(), "x");
    settle().await;
    assert_eq!(world.get("/page", &[]).await.x_cache(), "HIT");
    assert_eq!(cache.sweep(world.clock.now()).floor, 1);
    assert_eq!(world.get("/page", &[]).await.x_cache(), "HIT");
}

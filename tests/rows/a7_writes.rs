//! A7, without a hand: what a write changed is gone from the cache before the writer gets the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::origin::never;
use crate::support::{Answer, Client, Gate, Larder, Origin, Reply, wait};

const YAML: &str = "
origins: { app: { url: '{origin}', timeout: 1s } }
identity:
  trusted_proxies: [127.0.0.1/32]
  tenant: [{ header: X-Tenant }]
tiers: { usual: { ttl: 1h } }
routes:
  - { name: tenants, path: '/t/{*rest}', tier: usual, share: tenant }
  - { name: stock, path: '/stock/{branch}/{item}', tier: usual, share: tenant, tags: ['stock', 'stock:branch:{branch}'] }
  - { name: totals, path: '/totals', tier: usual, share: tenant, tags: ['dashboard:totals'] }
  - { name: lists, path: '/lists/{kind}', tier: usual, share: tenant, tags: ['list:{kind}'] }
  - { name: pass, path: '/pass/{*rest}' }
  - { name: all, path: '/{*rest}', tier: usual, share: public }
writes:
  - { methods: [POST], path: '/pass/stock/{branch}', models: [Stock] }
  - { methods: [POST], path: '/pass/list/{kind}', tags: ['list:{kind}'] }
  - { methods: [POST], path: '/pass/dashboards', patterns: [dashboard] }
models:
  Stock: ['stock:branch:{branch}', 'dashboard']
";

/// What an unsafe request does after it was counted, by its path's last segment.
async fn written(state: usize, how: &str) -> Reply {
    match how {
        "hang" => never().await,
        "cut" => Reply::cut(),
        status if status.parse::<u16>().is_ok() => Reply::status(status.parse().unwrap()).body("no"),
        _ => Reply::ok(state.to_string()),
    }
}

/// A GET tells the state; anything else changes it as soon as it comes. `how` is in the query.
fn stateful() -> Origin {
    let state = Arc::new(AtomicUsize::new(0));
    Origin::start(move |request: http::Request<bytes::Bytes>| {
        let write = !request.method().is_safe();
        let now = if write { state.fetch_add(1, Ordering::SeqCst) + 1 } else { state.load(Ordering::SeqCst) };
        let how = request.headers().get("x-how").map_or("", |how| how.to_str().unwrap()).to_owned();
        async move { if write { written(now, &how).await } else { Reply::ok(now.to_string()) } }
    })
}

async fn larder(origin: &Origin) -> Larder {
    Larder::with(YAML).origin(origin).start().await
}

async fn get(larder: &Larder, path: &str, tenant: &str) -> Answer {
    Client::new().get(larder.url(path)).header("x-tenant", tenant).send().await
}

async fn write(larder: &Larder, method: &str, path: &str, tenant: &str, how: &str) -> Answer {
    let call = Client::new().method(method, larder.url(path)).header("x-tenant", tenant);
    call.header("x-how", how).send().await
}

async fn warm(larder: &Larder, path: &str, tenant: &str) -> usize {
    get(larder, path, tenant).await;
    let hit = get(larder, path, tenant).await;
    assert_eq!(hit.x_cache(), "HIT", "{path}");
    hit.text().parse().unwrap()
}

#[tokio::test]
async fn a7_the_read_that_follows_a_write_is_fresh_every_time() {
    let origin = stateful();
    let larder = Arc::new(larder(&origin).await);
    let stop = Arc::new(AtomicUsize::new(0));
    // Others read all the time: fills are in flight at every moment of the writes.
    let mut readers = Vec::new();
    for _ in 0..4 {
        let (larder, stop) = (larder.clone(), stop.clone());
        readers.push(tokio::spawn(async move {
            let client = Client::keep_alive();
            while stop.load(Ordering::SeqCst) == 0 {
                client.get(larder.url("/t/item")).header("x-tenant", "acme").send().await;
            }
        }));
    }
    for turn in 1..=150 {
        let method = ["POST", "PUT", "PATCH", "DELETE"][turn % 4];
        let path = if turn % 3 == 0 { "/page" } else { "/t/item" };
        let answer = write(&larder, method, path, "acme", "").await;
        assert_eq!((answer.x_cache(), answer.text()), ("BYPASS", turn.to_string().as_str()));
        let read = get(&larder, path, "acme").await;
        assert!(
            read.text().parse::<usize>().unwrap() >= turn,
            "{turn}: {} {}",
            read.text(),
            read.cache_status()
        );
    }
    stop.store(1, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(get(&larder, "/t/item", "acme").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a7_a_write_purges_its_tenants_and_the_public_entries_of_its_own_url_alone() {
    let origin = stateful();
    let larder = larder(&origin).await;
    for (path, tenant) in [("/t/item", "acme"), ("/t/item", "bolt"), ("/t/other", "acme"), ("/page", "acme")]
    {
        warm(&larder, path, tenant).await;
    }
    write(&larder, "PUT", "/t/item", "acme", "").await;
    assert_eq!(get(&larder, "/t/item", "acme").await.x_cache(), "MISS");
    assert_eq!(get(&larder, "/t/item", "bolt").await.x_cache(), "HIT");
    assert_eq!(get(&larder, "/t/other", "acme").await.x_cache(), "HIT");
    write(&larder, "PUT", "/page", "acme", "").await;
    assert_eq!(get(&larder, "/page", "bolt").await.x_cache(), "MISS", "a public entry is everybody's");
}

#[tokio::test]
async fn a7_a_write_that_did_not_happen_purges_nothing_and_one_that_may_have_does() {
    let mut origin = stateful();
    let larder = larder(&origin).await;
    for how in ["400", "401", "404", "409", "422", "500", "503"] {
        let before = warm(&larder, "/t/item", "acme").await;
        assert_eq!(write(&larder, "POST", "/t/item", "acme", how).await.status.as_str(), how);
        let read = get(&larder, "/t/item", "acme").await;
        assert_eq!((read.x_cache(), read.text()), ("HIT", before.to_string().as_str()), "{how}");
    }
    for (how, status) in [("201", 201), ("204", 204), ("302", 302), ("303", 303), ("hang", 504), ("cut", 502)]
    {
        let before = warm(&larder, "/t/item", "acme").await;
        let answer = write(&larder, "POST", "/t/item", "acme", how).await;
        assert_eq!(answer.status.as_u16(), status, "{how}");
        let read = get(&larder, "/t/item", "acme").await;
        assert_eq!(read.x_cache(), "MISS", "{how}");
        assert!(read.text().parse::<usize>().unwrap() > before, "{how}");
    }
    warm(&larder, "/t/item", "acme").await;
    origin.stop();
    assert_eq!(write(&larder, "POST", "/t/item", "acme", "").await.status, 502);
    assert_eq!(get(&larder, "/t/item", "acme").await.x_cache(), "HIT", "it never came to the origin");
}

#[tokio::test]
async fn a7_a_write_whose_client_leaves_purges_all_the_same() {
    let origin = stateful();
    let larder = larder(&origin).await;
    for round in 1..=3 {
        warm(&larder, "/t/item", "acme").await;
        let call =
            Client::new().post(larder.url("/t/item")).header("x-tenant", "acme").header("x-how", "hang");
        let writer = tokio::spawn(call.try_stream());
        wait::until("the write is at the origin", || {
            origin.requests_to("/t/item").iter().filter(|request| request.method == "POST").count() == round
        })
        .await;
        writer.abort();
        wait::until_async("a read is fresh", async || {
            let read = get(&larder, "/t/item", "acme").await;
            (read.text().parse::<usize>().unwrap() >= round).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a7_a_write_that_ends_after_its_client_left_is_purged_when_it_ends() {
    let gate = Gate::closed();
    let (at_the_gate, state) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let origin = Origin::start(move |request: http::Request<bytes::Bytes>| {
        let (gate, state) = (at_the_gate.clone(), state.clone());
        async move {
            if request.method().is_safe() {
                return Reply::ok(state.load(Ordering::SeqCst).to_string());
            }
            // As most applications do, it goes on with its work whoever hangs up.
            let work = tokio::spawn(async move {
                gate.pass().await;
                state.fetch_add(1, Ordering::SeqCst);
            });
            work.await.unwrap();
            Reply::status(204)
        }
    });
    let larder = larder(&origin).await;
    let writer =
        tokio::spawn(Client::new().post(larder.url("/t/item")).header("x-tenant", "acme").try_stream());
    gate.arrived(1).await;
    writer.abort();
    assert!(writer.await.is_err());
    let meanwhile = warm(&larder, "/t/item", "acme").await;
    assert_eq!(meanwhile, 0, "the write has not happened yet");
    gate.open();
    wait::until_async("the write is seen", async || {
        (get(&larder, "/t/item", "acme").await.text() == "1").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a7_an_answer_computed_before_a_write_is_not_served_after_it() {
    let gate = Gate::closed();
    let (at_the_gate, state) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let origin = Origin::start(move |request: http::Request<bytes::Bytes>| {
        let (gate, write) = (at_the_gate.clone(), !request.method().is_safe());
        let now = if write { state.fetch_add(1, Ordering::SeqCst) + 1 } else { state.load(Ordering::SeqCst) };
        async move {
            if !write && now == 0 {
                gate.pass().await;
            }
            Reply::ok(now.to_string())
        }
    });
    let larder = larder(&origin).await;
    let ask = || {
        let call = Client::new().get(larder.url("/t/item")).header("x-tenant", "acme");
        tokio::spawn(call.send())
    };
    let early = ask();
    gate.arrived(1).await;
    write(&larder, "PUT", "/t/item", "acme", "").await;
    // It came after the write, so it may join the old fill, but not take what comes out of it.
    let late = ask();
    get(&larder, "/page", "acme").await; // which gives the late one time to join
    gate.open();
    assert_eq!(early.await.unwrap().text(), "0", "it was asked before the write");
    assert_eq!(late.await.unwrap().text(), "1");
    let after = get(&larder, "/t/item", "acme").await;
    assert_eq!((after.text(), after.x_cache()), ("1", "HIT"));
}

#[tokio::test]
async fn a7_a_rule_of_writes_purges_the_tags_of_its_models_within_the_writers_tenant() {
    let origin = stateful();
    let larder = larder(&origin).await;
    let places = ["/stock/north/ring", "/stock/south/ring", "/totals", "/lists/people", "/lists/assets"];
    for (write_to, gone) in [
        ("/pass/stock/north", &["/stock/north/ring", "/totals"][..]),
        ("/pass/list/people", &["/lists/people"]),
        ("/pass/dashboards", &["/totals"]),
        ("/pass/other", &[]),
    ] {
        for place in places {
            warm(&larder, place, "acme").await;
            warm(&larder, place, "bolt").await;
        }
        write(&larder, "POST", write_to, "acme", "").await;
        for place in places {
            let expected = if gone.contains(&place) { "MISS" } else { "HIT" };
            let read = get(&larder, place, "acme").await;
            assert_eq!(read.x_cache(), expected, "{place} after {write_to}");
            assert_eq!(get(&larder, place, "bolt").await.x_cache(), "HIT", "{place} of the other tenant");
        }
    }
}

#[tokio::test]
async fn a7_a_write_of_nobody_purges_for_everybody_only_once_the_application_accepted_it() {
    let origin = stateful();
    let larder = larder(&origin).await;
    let anonymous = |how: &'static str| {
        let call = Client::new().post(larder.url("/pass/stock/7")).header("x-how", how);
        async move { call.send().await }
    };
    warm(&larder, "/totals", "acme").await;
    // To a login page, or broken off: anybody can have that.
    anonymous("302").await;
    anonymous("cut").await;
    assert_eq!(get(&larder, "/totals", "acme").await.x_cache(), "HIT");
    anonymous("200").await;
    assert_eq!(get(&larder, "/totals", "acme").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_stream_of_events_on_a_cached_route_is_nobody_elses() {
    let steps = crate::support::Steps::new();
    let body = steps.clone();
    let origin =
        Origin::constant(move || Reply::status(200).header("content-type", "text/event-stream").steps(&body));
    let larder = larder(&origin).await;
    let mut first = Client::new().get(larder.url("/events")).stream().await;
    steps.data("data: 1\n\n");
    assert_eq!(first.at_least(9).await, b"data: 1\n\n", "an event does not wait for the next");
    let second = Client::new().get(larder.url("/events")).stream().await;
    assert_eq!((first.header("x-cache"), second.header("x-cache")), (Some("BYPASS"), Some("BYPASS")));
    assert_eq!(origin.count("/events"), 2);
}

//! What each operation does on one server.

use super::*;

#[tokio::test]
async fn an_entry_is_read_as_it_was_written_and_expires_by_itself() {
    let redis = server();
    let store = plain(&redis);
    let at = name(&store, "/a");
    assert_eq!(body(&store, &at).await, None);
    let ticket = lead(&store, &at, claim("one")).await;
    assert_eq!(store.commit(&at, offer(ticket, "hello", "one")).await.unwrap(), Committed::Kept);
    assert_eq!(store.get(&at, 1 << 20).await.unwrap().unwrap(), entry(ticket, "hello"));
    let ttl: u64 = redis.cli(&["PTTL", &at]).parse().unwrap();
    assert!((500_000..=600_000).contains(&ttl), "{ttl}");
    assert_eq!(redis.keys(0), std::slice::from_ref(&at), "the lease went with the commit");
    assert!(at.starts_with("larder:1:acme:all:{"), "{at}");
    // Until it is removed.
    let ticket = lead(&store, &at, busting("two")).await;
    let forever = Offer { stay: None, ..offer(ticket, "for ever", "two") };
    store.commit(&at, forever).await.unwrap();
    assert_eq!(redis.cli(&["PTTL", &at]), "-1");
}

#[tokio::test]
async fn an_entry_that_does_not_carry_its_ticket_is_refused() {
    let redis = server();
    let store = plain(&redis);
    let at = name(&store, "/a");
    for bytes in [entry(7, "other"), Bytes::from_static(b"short"), Bytes::new()] {
        let wrong = Offer { bytes, ..offer(8, "", "t") };
        assert_eq!(kind(store.commit(&at, wrong)).await, SharedErrorKind::Refused);
    }
    assert!(redis.keys(0).is_empty());
}

#[tokio::test]
async fn what_lies_in_an_entrys_place_is_an_error_and_no_panic() {
    let redis = server();
    let store = plain(&redis);
    let at = name(&store, "/a");
    redis.cli(&["SET", &at, &"x".repeat(2_000)]);
    assert_eq!(kind(store.get(&at, 1_999)).await, SharedErrorKind::Unexpected);
    assert_eq!(store.get(&at, 2_000).await.unwrap().unwrap().len(), 2_000);
    // Garbage in the place of the ticket counts as none, and the next fill takes the place.
    for garbage in
        ["LRD1....ffffffffffffffff", "LRD1....-000000000000001", "LRD1....0020000000000000", "LRD1...."]
    {
        redis.cli(&["SET", &at, garbage]);
        put(&store, &at, "mended").await;
        assert_eq!(body(&store, &at).await.as_deref(), Some("mended"));
    }
    redis.cli(&["DEL", &at]);
    redis.cli(&["RPUSH", &at, "a", "b"]);
    assert_eq!(kind(store.get(&at, 100)).await, SharedErrorKind::Refused);
    assert_eq!(kind(store.begin(&at, claim("t"))).await, SharedErrorKind::Refused);
    assert_eq!(kind(store.commit(&at, offer(1, "", "t"))).await, SharedErrorKind::Refused);
    assert_eq!(kind(store.remove(&at, NO_TICKET)).await, SharedErrorKind::Refused);
    assert_eq!(redis.cli(&["LLEN", &at]), "2");
    assert_eq!(store.health().breaker, "closed", "an answer is an answer");
}

#[tokio::test]
async fn garbage_in_a_lease_holds_up_nobody() {
    let redis = server();
    let store = plain(&redis);
    let at = name(&store, "/a");
    let lease = format!("{at}:fill");
    redis.cli(&["HSET", &lease, "token", "x", "ticket", "1e300", "until", "never", "word", "y"]);
    let first = lead(&store, &at, claim("one")).await;
    assert!(first < NO_TICKET);
    redis.cli(&["HSET", &lease, "token", "x", "ticket", "nonsense", "until", "9007199254740990"]);
    // Another's lease as far as anybody can tell, with a ticket that anybody may take over.
    let over = Claim { over: NO_TICKET, ..claim("two") };
    lead(&store, &at, over).await;
}

#[tokio::test]
async fn one_leads_and_the_others_learn_for_how_long_and_why() {
    let redis = server();
    let store = plain(&redis);
    let at = name(&store, "/a");
    let ticket = lead(&store, &at, claim("one")).await;
    let Begin::Held { left, word, ticket: held } = store.begin(&at, claim("two")).await.unwrap() else {
        panic!()
    };
    assert!(left > Duration::from_secs(30) && left <= Duration::from_secs(60), "{left:?}");
    assert_eq!((&*word, held), ("", ticket));
    // The same token has the same answer: a reply may be lost.
    assert_eq!(lead(&store, &at, claim("one")).await, ticket);
    assert!(store.release(&at, "one", "own").await.unwrap());
    let Begin::Held { left, word, .. } = store.begin(&at, claim("two")).await.unwrap() else { panic!() };
    assert!(left <= Duration::from_secs(1));
    assert_eq!(word, "own");
    assert!(!store.release(&at, "two", "").await.unwrap(), "it is not two's");
    assert!(store.release(&at, "one", "").await.unwrap());
    let next = lead(&store, &at, claim("two")).await;
    assert!(next > ticket);
    assert!(!store.renew(&at, "one", Duration::from_secs(60)).await.unwrap());
}

#[tokio::test]
async fn a_lease_ends_by_itself_unless_it_is_renewed() {
    let redis = server();
    let store = plain(&redis);
    let at = name(&store, "/a");
    let short = Claim { lease: Duration::from_millis(300), ..claim("one") };
    let ticket = lead(&store, &at, short).await;
    let taken = support::wait::until_async("the lease ends", async || {
        match store.begin(&at, claim("two")).await.unwrap() {
            Begin::Lead { ticket, .. } => Some(ticket),
            _ => None,
        }
    });
    assert!(taken.await > ticket);
    assert!(!store.renew(&at, "one", Duration::from_secs(1)).await.unwrap(), "it is another's by now");
    // And its entry comes too late only where the other's is there.
    assert_eq!(store.commit(&at, offer(ticket, "late", "one")).await.unwrap(), Committed::Kept);
    let short = Claim { lease: Duration::from_millis(300), over: NO_TICKET, ..claim("three") };
    let next = Claim { seen: NO_TICKET, ..short };
    lead(&store, &at, next).await;
    assert!(store.renew(&at, "three", Duration::from_secs(600)).await.unwrap());
    let again = Claim { seen: NO_TICKET, ..claim("four") };
    let Begin::Held { left, .. } = store.begin(&at, again).await.unwrap() else { panic!() };
    assert!(left > Duration::from_secs(300));
}

#[tokio::test]
async fn a_lease_is_taken_over_up_to_a_ticket_only() {
    let redis = server();
    let store = plain(&redis);
    let at = name(&store, "/a");
    let ticket = lead(&store, &at, claim("one")).await;
    let older = Claim { over: ticket - 1, ..claim("two") };
    assert!(matches!(store.begin(&at, older).await.unwrap(), Begin::Held { .. }));
    let second = lead(&store, &at, Claim { over: ticket, ..claim("two") }).await;
    assert!(second > ticket);
    let third = lead(&store, &at, busting("three")).await;
    assert!(third > second);
    let Begin::Held { word, .. } = store.begin(&at, claim("four")).await.unwrap() else { panic!() };
    assert_eq!(word, "bust");
}

#[tokio::test]
async fn an_entry_newer_than_the_one_seen_is_an_answer() {
    let redis = server();
    let store = plain(&redis);
    let at = name(&store, "/a");
    let ticket = put(&store, &at, "a").await;
    let seen = |seen| Claim { seen, ..claim("two") };
    assert_eq!(store.begin(&at, seen(ticket - 1)).await.unwrap(), Begin::Newer(ticket));
    assert!(lead(&store, &at, seen(ticket)).await > ticket);
}

#[tokio::test]
async fn an_entry_is_removed_up_to_a_ticket() {
    let redis = server();
    let store = plain(&redis);
    let at = name(&store, "/a");
    let ticket = put(&store, &at, "a").await;
    assert!(!store.remove(&at, ticket - 1).await.unwrap());
    assert_eq!(body(&store, &at).await.as_deref(), Some("a"));
    assert!(store.remove(&at, ticket).await.unwrap());
    assert!(!store.remove(&at, ticket).await.unwrap());
    assert_eq!(body(&store, &at).await, None);
}

#[tokio::test]
async fn clearing_a_store_leaves_everything_else_alone() {
    let redis = server();
    let store = node(&format!("{}, prefix: shop", words(&redis)));
    let other = node(&format!("{}, prefix: shop_api", words(&redis)));
    let elsewhere = node(&format!("{}, prefix: shop, database: 3", words(&redis)));
    let beside = [
        "session:1",
        "shop",
        "shop:",
        "shop:2:acme:all:{x}",
        "xshop:1:a",
        "shop_api:1:a",
        "sh?p:1:a",
        "shopX1:a",
    ];
    for key in beside {
        redis.cli(&["SET", key, "theirs"]);
    }
    redis.cli(&["HSET", "shop:1:{purge}:state", "seq", "1"]);
    for n in 0..1_200 {
        let at = name(&store, &format!("/{n}"));
        put(&store, &at, "a").await;
    }
    lead(&store, &name(&store, "/1"), busting("fill")).await;
    put(&other, &name(&other, "/1"), "b").await;
    put(&elsewhere, &name(&elsewhere, "/1"), "c").await;
    assert_eq!(store.clear().await.unwrap(), 1_201);
    let mut left: Vec<String> = beside.map(str::to_owned).to_vec();
    left.extend([name(&other, "/1"), "shop:1:{purge}:state".to_owned()]);
    left.sort();
    assert_eq!(redis.keys(0), left);
    assert_eq!(body(&elsewhere, &name(&elsewhere, "/1")).await.as_deref(), Some("c"));
    assert_eq!(store.clear().await.unwrap(), 0);
}

#[tokio::test]
async fn the_servers_clock_is_told() {
    let redis = server();
    let store = plain(&redis);
    let before: u64 = redis.cli(&["TIME"]).lines().next().unwrap().parse().unwrap();
    let time = store.time().await.unwrap();
    assert!((before..before + 120).contains(&time.as_secs()), "{time:?}");
    let Begin::Lead { ticket, time } = store.begin(&name(&store, "/a"), claim("t")).await.unwrap() else {
        panic!()
    };
    assert_eq!(u128::from(ticket), time.as_micros());
}

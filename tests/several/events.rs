//! Webhooks over several nodes: the log remembers events and counts them, whichever node gets them.

use larder::clock::Clock;
use serde_json::{Value, json};

use crate::between::{Between, Wire};
use crate::nodes::{Cluster, YAML, hits, place, start};
use crate::shop::SECRET;
use crate::support::events::signed;
use crate::support::redis::Redis;
use crate::support::{Answer, Client, Origin, Reply, wait};

async fn event(url: &str, id: &str, body: &Value) -> Answer {
    let now = Clock::system().now().unix_seconds();
    let call = Client::new().post(format!("{url}/.larder/webhooks/app"));
    signed(call, SECRET.as_bytes(), id, now, &body.to_string()).send().await
}

fn pages(tenant: &str, number: u64) -> Value {
    json!({ "tenant": tenant, "tags": ["pages:1"], "seq": number })
}

/// What is remembered of the first answer: all but who waited for it.
fn receipt(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut receipt: Value = answer.json();
    receipt.as_object_mut().unwrap().remove("nodes").expect("the nodes are named");
    receipt
}

fn records(redis: &Redis) -> u64 {
    redis.cli(&["HGET", "larder:1:{purge}:state", "seq"]).parse().unwrap()
}

fn counted() -> String {
    YAML.replace("all_tenants: true }", "all_tenants: true, sequence: /seq }")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_takes_effect_once_whichever_nodes_it_is_sent_to() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let mut nodes = Cluster::start(YAML, &origin, &redis).await;
    for node in 0..nodes.count() {
        hits(&nodes.url(node, "/pages/1"), "t0").await;
    }
    // To all of them at once, as a balancer that repeats may send it.
    let body = pages("t0", 1);
    let urls: Vec<String> = (0..9).map(|n| nodes.url(n % nodes.count(), "")).collect();
    let sent: Vec<_> = urls
        .into_iter()
        .map(|url| (url, body.clone()))
        .map(|(url, body)| tokio::spawn(async move { event(&url, "evt-1", &body).await }))
        .collect();
    let mut receipts = Vec::new();
    for one in sent {
        receipts.push(receipt(&one.await.unwrap()));
    }
    assert!(receipts.iter().all(|one| *one == receipts[0]), "{receipts:#?}");
    assert_eq!((records(&redis), &receipts[0]["seq"]), (1, &json!(1)));
    for node in 0..nodes.count() {
        hits(&nodes.url(node, "/pages/1"), "t0").await;
    }
    let asked = origin.count("/pages/1");
    // Also to other processes, and by another body it is another event.
    for node in 0..nodes.count() {
        nodes.restart(node, YAML, &origin, &redis).await;
        nodes.current(node).await;
        assert_eq!(receipt(&event(&nodes.url(node, ""), "evt-1", &body).await), receipts[0]);
        let other = event(&nodes.url(node, ""), "evt-1", &pages("t1", 1)).await;
        assert_eq!(other.status, 409, "{}", other.text());
    }
    assert_eq!((records(&redis), origin.count("/pages/1")), (1, asked));
    // One that matches nothing is remembered as well.
    let nothing = json!({ "tenant": "t0", "urls": ["http://elsewhere.example/nothing"] });
    let first = event(&nodes.url(0, ""), "evt-2", &nothing).await;
    let again = event(&nodes.url(1, ""), "evt-2", &nothing).await;
    assert_eq!((first.status, first.text()), (again.status, again.text()));
    assert_eq!((records(&redis), first.json()["seq"].clone()), (1, Value::Null));
    // Everything that is remembered ends by itself.
    let kept = redis.cli(&["--scan", "--pattern", "larder:1:{purge}:event:*"]);
    assert_eq!(kept.lines().count(), 2);
    for name in kept.lines() {
        let left: u64 = redis.cli(&["TTL", name]).parse().unwrap();
        assert!((590..=601).contains(&left), "{left} s");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_numbers_are_counted_over_all_nodes_and_a_gap_purges_the_tenant_everywhere() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let nodes = Cluster::start(&counted(), &origin, &redis).await;
    for tenant in ["t0", "t1"] {
        hits(&nodes.url(0, "/pages/2"), tenant).await;
    }
    // In turn to all nodes, and many at once.
    for number in 1..=6 {
        let url = nodes.url(usize::try_from(number).unwrap() % nodes.count(), "");
        let told = receipt(&event(&url, &format!("evt-{number}"), &pages("t0", number)).await);
        assert_eq!(told.get("sequence"), None, "{told}");
    }
    let sent: Vec<_> = (7..=30)
        .map(|number: u64| {
            let url = nodes.url(usize::try_from(number).unwrap() % nodes.count(), "");
            let body = pages(&format!("t{}", number + 100), number);
            tokio::spawn(async move { event(&url, &format!("evt-{number}"), &body).await })
        })
        .collect();
    for one in sent {
        assert_eq!(receipt(&one.await.unwrap()).get("sequence"), None, "each tenant has numbers of its own");
    }
    let before = records(&redis);
    assert_eq!(before, 30, "one each");
    for node in 0..nodes.count() {
        hits(&nodes.url(node, "/pages/2"), "t0").await;
    }
    let asked = origin.count("/pages/2");
    let told = receipt(&event(&nodes.url(1, ""), "evt-8-of-t0", &pages("t0", 8)).await);
    assert_eq!(told["sequence"], json!({ "found": "gap", "expected": 7, "number": 8 }));
    // What was stored of another tenant stays; of this one nothing does, on no node.
    for (tenant, asks) in [("t1", 0), ("t0", 1)] {
        hits(&nodes.url(2, "/pages/2"), tenant).await;
        assert_eq!(origin.count("/pages/2"), asked + asks, "{tenant}");
    }
    // What comes late is only late, at whichever node.
    let late = receipt(&event(&nodes.url(0, ""), "evt-7-of-t0", &pages("t0", 7)).await);
    assert_eq!(late.get("sequence"), None, "{late}");
    let anew = receipt(&event(&nodes.url(2, ""), "evt-7-again", &pages("t0", 7)).await);
    assert_eq!(anew["sequence"]["found"], "counts anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_events_of_one_tenant_at_once_are_all_counted() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let nodes = Cluster::start(&counted(), &origin, &redis).await;
    let send = |number: u64, node: usize| {
        let url = nodes.url(node % nodes.count(), "");
        tokio::spawn(async move { event(&url, &format!("evt-{number}"), &pages("t0", number)).await })
    };
    receipt(&send(1, 0).await.unwrap());
    let mut sent: Vec<_> =
        (2..=25).rev().map(|number| send(number, usize::try_from(number).unwrap())).collect();
    for one in sent.drain(..) {
        receipt(&one.await.unwrap());
    }
    // In whatever order they came: all came, so the next one fits.
    let last = receipt(&send(26, 0).await.unwrap());
    assert_eq!(last.get("sequence"), None, "{last}");
    assert_eq!(redis.cli(&["HGET", "larder:1:{purge}:counters", "app:t0"]), "26");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_counter_refuses_no_event_and_the_tenant_is_purged() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let nodes = Cluster::start(&counted(), &origin, &redis).await;
    for (number, nonsense) in (1..).zip(["nonsense", "09", "7 ", "9 8-7"]) {
        redis.cli(&["HSET", "larder:1:{purge}:counters", "app:t0", nonsense]);
        let told = receipt(&event(&nodes.url(0, ""), &format!("evt-{number}"), &pages("t0", number)).await);
        assert_eq!(told["sequence"]["found"], "counts anew", "{nonsense}");
        let counted = redis.cli(&["HGET", "larder:1:{purge}:counters", "app:t0"]);
        assert_eq!(counted, number.to_string(), "{nonsense}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_the_log_did_not_take_is_not_burnt_and_one_whose_answer_was_lost_is_not_repeated() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let wire = Between::to(redis.port()).await;
    let (wired, straight) = (place(&wire.url()), place(&redis.url()));
    let far = start(YAML, &origin, &wired, &straight).await;
    let near = start(YAML, &origin, &straight, &straight).await;
    hits(&far.url("/pages/1"), "t0").await;
    hits(&near.url("/pages/1"), "t0").await;
    let body = pages("t0", 1);
    wire.set(Wire::Cut);
    let refused = event(&far.url(""), "evt-1", &body).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, Some("1")));
    assert!(refused.text().contains("send the event again"), "{}", refused.text());
    let seq = records(&redis);
    let taken = receipt(&event(&near.url(""), "evt-1", &body).await);
    assert_eq!(taken["seq"], json!(seq + 1));
    wire.set(Wire::Pass);
    let again = wait::until_async("the far node reaches the log", async || {
        let answer = event(&far.url(""), "evt-1", &body).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(receipt(&again), taken);
    // Messages are lost in both directions: whatever arrived, at most one record came of it.
    for number in 0..6 {
        let (id, before) = (format!("lossy-{number}"), records(&redis));
        wire.set(Wire::Half);
        let first = event(&far.url(""), &id, &body).await;
        wire.set(Wire::Pass);
        let told = receipt(&event(&near.url(""), &id, &body).await);
        assert_eq!((records(&redis), &told["seq"]), (before + 1, &json!(before + 1)), "{}", first.text());
    }
}

impl Redis {
    /// How many events are remembered.
    fn events(&self) -> usize {
        self.cli(&["--scan", "--pattern", "larder:1:{purge}:event:*"]).lines().count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_lost_takes_what_it_remembered_along() {
    let redis = Redis::start();
    let origin = Origin::constant(|| Reply::ok("a page"));
    let nodes = Cluster::start(YAML, &origin, &redis).await;
    for number in 0..5 {
        receipt(&event(&nodes.url(0, ""), &format!("evt-{number}"), &pages("t0", number)).await);
    }
    assert_eq!(redis.events(), 5);
    // Somebody deletes the log, and not the events: what is remembered is of another log, which all give up.
    redis.cli(&["DEL", "larder:1:{purge}:state", "larder:1:{purge}:records"]);
    let again = wait::until_async("the log is another one", async || {
        let answer = event(&nodes.url(1, ""), "evt-4", &pages("t0", 4)).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!((receipt(&again)["seq"].clone(), records(&redis)), (json!(0), 0));
    redis.cli(&["FLUSHALL"]);
    let anew = wait::until_async("the log is another one", async || {
        let answer = event(&nodes.url(2, ""), "evt-4", &pages("t0", 4)).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!((receipt(&anew)["seq"].clone(), records(&redis)), (json!(1), 1));
}

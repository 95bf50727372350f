//! F4, B4, C10 by webhook: signed events purge what they say, for their tenant, once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail a test by a panic, as tests do

mod support;

use http::StatusCode;
use serde_json::{Value, json};
use support::events::{signature, signed};
use support::{Answer, Client, InProcess, Larder, Origin, Reply};

const NOON: u64 = 1_780_000_000;
const CRM: &str = "the secret of the crm's events";
const OLD: &str = "the secret before the rotation";
const NEW: &str = "whsec_dGhlIG5ldyBzZWNyZXQsIGluIGJhc2U2NA==";
const FOREIGN: &str = "the secret of a payload that stays";
const FIXED: &str = "the secret of one tenant's sender";

const YAML: &str = "
origins: { app: { url: '{origin}' } }
identity: { trusted_proxies: [127.0.0.1/32], tenant: [{ header: X-Tenant }] }
tiers: { usual: { ttl: 1h }, lazy: { ttl: 1h, stale_while_revalidate: 1h } }
routes:
  - { name: stock, path: '/stock/{branch}', tier: usual, share: tenant, tags: ['stock:branch:{branch}'] }
  - { name: totals, path: /totals, tier: usual, share: tenant, tags: ['dashboard:totals'] }
  - { name: other, path: '/other/{*rest}', tier: usual, share: tenant, tags: [other] }
  - { name: rate, path: /rate, tier: usual, share: public, tags: [rate] }
  - { name: lazy, path: /lazy, tier: lazy, share: tenant, tags: [lazy] }
  - { name: rest, path: '/{*rest}' }
models:
  Item: { purges: ['stock:branch:{branch_id}'], related: [Totals] }
  Totals: { purges: [dashboard], related: [Item] }
  Rate: rate
webhooks:
  - { name: crm, secret: { env: CRM } }
  - { name: numbered, secrets: [{ env: OLD }, { env: NEW }], all_tenants: true, sequence: /seq }
  - { name: foreign, secret: { env: FOREIGN }, fields: { tenant: /data/org, model: /type, branch_id: /data/branch/id } }
  - { name: fixed, secret: { env: FIXED }, tenant: acme, body_limit: 1KiB }
";

const ENV: [(&str, &str); 5] =
    [("CRM", CRM), ("OLD", OLD), ("NEW", NEW), ("FOREIGN", FOREIGN), ("FIXED", FIXED)];

/// The pages that are cached, each with its tenant.
const PAGES: [(&str, &str); 8] = [
    ("/stock/1", "acme"),
    ("/stock/2", "acme"),
    ("/totals", "acme"),
    ("/other/a?x=1", "acme"),
    ("/rate", "acme"),
    ("/stock/1", "bolt"),
    ("/totals", "bolt"),
    ("/other/a?x=1", "bolt"),
];

struct Shop {
    _origin: Origin,
    larder: InProcess,
}

impl Shop {
    /// With every page in the cache.
    async fn open() -> Self {
        let origin = Origin::constant(|| Reply::ok("a page"));
        let yaml = YAML.replace("{origin}", "http://127.0.0.1:1");
        let larder = InProcess::start_with(&yaml, &origin, NOON, &ENV).await;
        let shop = Self { _origin: origin, larder };
        shop.purged().await;
        assert_eq!(shop.purged().await, Vec::<String>::new());
        shop
    }

    /// The pages that are not in the cache any more, and are from now on.
    async fn purged(&self) -> Vec<String> {
        let mut purged = Vec::new();
        for (path, tenant) in PAGES {
            let answer = self.larder.ask(path, &[("x-tenant", tenant)]).await;
            if answer.x_cache() != "HIT" {
                purged.push(format!("{tenant} {path}"));
            }
        }
        purged
    }

    async fn send(&self, hook: &str, secret: &str, id: &str, body: &Value) -> Answer {
        let call = self.larder.post(&format!("/.larder/webhooks/{hook}"));
        signed(call, secret.as_bytes(), id, NOON, &body.to_string()).send().await
    }

    /// The receipt of an event that must be accepted.
    async fn accepted(&self, hook: &str, secret: &str, id: &str, body: Value) -> Value {
        let answer = self.send(hook, secret, id, &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.json()
    }
}

#[tokio::test]
async fn f4_an_event_purges_its_model_and_related_ones_for_its_tenant_only() {
    let shop = Shop::open().await;
    let body = json!({ "tenant": "acme", "model": "Item", "action": "update", "id": 7, "branch_id": 2 });
    let receipt = shop.accepted("crm", CRM, "evt_1", body).await;
    assert_eq!(shop.purged().await, ["acme /stock/2", "acme /totals"]);
    assert_eq!(receipt["webhook_id"], "evt_1");
    assert_eq!(receipt["purged"], json!({ "model": "Item" }));
    assert_eq!(receipt["scope"], "tenant acme, public and global scopes");
    assert!(receipt["id"].is_string() && receipt["seq"].is_u64(), "{receipt}");
    // What the event does not say is purged whole.
    shop.accepted("crm", CRM, "evt_2", json!({ "tenant": "acme", "model": "Item" })).await;
    assert_eq!(shop.purged().await, ["acme /stock/1", "acme /stock/2", "acme /totals"]);
    // A name written without its list, of a page that all tenants share.
    shop.accepted("crm", CRM, "evt_3", json!({ "tenant": "bolt", "model": "Rate" })).await;
    assert_eq!(shop.purged().await, ["acme /rate"]);
}

#[tokio::test]
async fn f4_an_event_names_tags_patterns_or_urls() {
    let shop = Shop::open().await;
    shop.accepted("crm", CRM, "1", json!({ "tenant": "acme", "tags": ["stock:branch:1", "stock", "*"] }))
        .await;
    assert_eq!(shop.purged().await, ["acme /stock/1"], "a tag is a name, whatever is in it");
    shop.accepted("crm", CRM, "2", json!({ "tenant": "acme", "patterns": ["stock", "dash*"] })).await;
    assert_eq!(shop.purged().await, ["acme /stock/1", "acme /stock/2", "acme /totals"]);
    let urls = json!([shop.larder.url("/other/a?x=1"), shop.larder.url("/pass")]);
    let receipt = shop.accepted("crm", CRM, "3", json!({ "tenant": "bolt", "urls": urls })).await;
    assert_eq!(shop.purged().await, ["bolt /other/a?x=1"]);
    assert_eq!(receipt["purged"]["not_cached_by_any_route"], json!([shop.larder.url("/pass")]));
}

#[tokio::test]
async fn f4_a_soft_event_leaves_the_old_answer_while_a_new_one_is_fetched() {
    let shop = Shop::open().await;
    let x_cache = async || shop.larder.ask("/lazy", &[("x-tenant", "acme")]).await.x_cache().to_owned();
    assert_eq!((x_cache().await, x_cache().await), ("MISS".into(), "HIT".into()));
    let receipt =
        shop.accepted("crm", CRM, "1", json!({ "tenant": "acme", "tags": ["lazy"], "soft": true })).await;
    assert_eq!((receipt["mode"].as_str(), x_cache().await), (Some("soft"), "STALE".into()));
    let receipt =
        shop.accepted("crm", CRM, "2", json!({ "tenant": "acme", "tags": ["lazy"], "soft": false })).await;
    assert_eq!((receipt["mode"].as_str(), x_cache().await), (Some("hard"), "MISS".into()));
}

#[tokio::test]
async fn e4_a_pattern_that_begins_with_a_tenant_means_that_tenant() {
    let shop = Shop::open().await;
    let body = |pattern: &str| json!({ "tenant": "acme", "patterns": [pattern] });
    shop.accepted("crm", CRM, "1", body("tenant:acme:*")).await;
    assert_eq!(shop.purged().await, ["acme /stock/1", "acme /stock/2", "acme /totals", "acme /other/a?x=1"]);
    let refused = shop.send("crm", CRM, "2", &body("tenant:bolt:*")).await;
    assert_eq!((refused.status, shop.purged().await.len()), (StatusCode::FORBIDDEN, 0));
}

#[tokio::test]
async fn f4_an_id_takes_effect_once_and_a_duplicate_gets_the_old_receipt() {
    let shop = Shop::open().await;
    let body = json!({ "tenant": "acme", "tags": ["other"] });
    let first = shop.accepted("crm", CRM, "evt", body.clone()).await;
    assert_eq!(shop.purged().await, ["acme /other/a?x=1"]);
    let again = shop.accepted("crm", CRM, "evt", body.clone()).await;
    assert_eq!((again, shop.purged().await), (first.clone(), Vec::new()));
    let other = shop.send("crm", CRM, "evt", &json!({ "tenant": "acme", "tags": ["x"] })).await;
    assert_eq!(other.status, StatusCode::CONFLICT, "{}", other.text());
    // A refused event burns no id.
    let refused = shop.send("crm", CRM, "later", &json!({ "tenant": "acme", "model": "Unknown" })).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    shop.accepted("crm", CRM, "later", body.clone()).await;
    assert_eq!(shop.purged().await, ["acme /other/a?x=1"]);
    // Ids are each sender's own.
    let other = shop.accepted("fixed", FIXED, "evt", json!({ "tags": ["other"] })).await;
    assert_ne!(other["id"], first["id"]);
    assert_eq!(shop.purged().await, ["acme /other/a?x=1"]);
}

#[tokio::test]
async fn f4_many_copies_of_one_event_at_once_take_effect_once() {
    let shop = Shop::open().await;
    let body = json!({ "tenant": "acme", "tags": ["other"] }).to_string();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let call = signed(shop.larder.post("/.larder/webhooks/crm"), CRM.as_bytes(), "evt", NOON, &body);
        tasks.spawn(call.send());
    }
    let receipts: Vec<Answer> = tasks.join_all().await;
    for receipt in &receipts {
        assert_eq!((receipt.status, receipt.text()), (StatusCode::OK, receipts[0].text()));
    }
}

#[tokio::test]
async fn f4_any_of_several_secrets_and_signatures_will_do() {
    let shop = Shop::open().await;
    let body = json!({ "tenant": "acme", "tags": ["other"], "seq": 1 });
    let decoded = "the new secret, in base64";
    shop.accepted("numbered", OLD, "1", body.clone()).await;
    shop.accepted("numbered", decoded, "2", json!({ "tenant": "acme", "tags": ["other"], "seq": 2 })).await;
    let prefixed = shop.send("numbered", NEW, "3", &body).await;
    assert_eq!(prefixed.status, StatusCode::UNAUTHORIZED, "after `whsec_` the secret is base64");
    let text = json!({ "tenant": "acme", "tags": ["other"], "seq": 3 }).to_string();
    let both = format!(
        "{} {}",
        signature(b"a secret that is gone", "4", NOON, &text),
        signature(OLD.as_bytes(), "4", NOON, &text)
    );
    let call = shop.larder.post("/.larder/webhooks/numbered").header("webhook-id", "4");
    let call = call.header("webhook-timestamp", NOON.to_string()).header("webhook-signature", both);
    assert_eq!(call.body(text).send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn f4_a_payload_that_cannot_be_changed_is_read_where_the_file_says() {
    let shop = Shop::open().await;
    // `tags` and `tenant` mean something else in this application.
    let body =
        json!({ "type": "Item", "tenant": 5, "tags": 3, "data": { "org": "acme", "branch": { "id": 1 } } });
    shop.accepted("foreign", FOREIGN, "1", body).await;
    assert_eq!(shop.purged().await, ["acme /stock/1", "acme /totals"]);
    let nobody = shop.send("foreign", FOREIGN, "2", &json!({ "type": "Item", "tenant": "acme" })).await;
    assert_eq!(nobody.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", nobody.text());
}

#[tokio::test]
async fn f4_who_may_speak_for_whom() {
    let shop = Shop::open().await;
    let all = json!({ "tenant": "*", "tags": ["other"], "seq": 1 });
    let refused = shop.send("crm", CRM, "1", &all).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    let refused = shop.send("fixed", FIXED, "1", &json!({ "tenant": "bolt", "tags": ["other"] })).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    assert_eq!(shop.purged().await, Vec::<String>::new());
    shop.accepted("fixed", FIXED, "2", json!({ "tags": ["other"] })).await;
    assert_eq!(shop.purged().await, ["acme /other/a?x=1"]);
    shop.accepted("numbered", OLD, "3", all).await;
    assert_eq!(shop.purged().await, ["acme /other/a?x=1", "bolt /other/a?x=1"]);
}

/// F6, the receiving half: a gap purges everything of the tenant, and the public responses, which the event that was lost
/// may have concerned too.
#[tokio::test]
async fn f6_a_missing_number_purges_everything_of_that_tenant() {
    let shop = Shop::open().await;
    let event = |tenant: &str, seq: u64| json!({ "tenant": tenant, "tags": ["none"], "seq": seq });
    for (id, tenant, seq) in [("1", "acme", 7), ("2", "bolt", 3), ("3", "acme", 8)] {
        let receipt = shop.accepted("numbered", OLD, id, event(tenant, seq)).await;
        assert_eq!(receipt.get("sequence"), None, "{receipt}");
    }
    assert_eq!(shop.purged().await, Vec::<String>::new());
    let receipt = shop.accepted("numbered", OLD, "4", event("acme", 10)).await;
    assert_eq!(receipt["sequence"], json!({ "found": "gap", "expected": 9, "number": 10 }));
    let missed = ["acme /stock/1", "acme /stock/2", "acme /totals", "acme /other/a?x=1", "acme /rate"];
    assert_eq!(shop.purged().await, missed);
    // What was missing comes late: it does what it says, and no more.
    shop.accepted("numbered", OLD, "5", event("acme", 9)).await;
    assert_eq!(shop.purged().await, Vec::<String>::new());
    let unnumbered = shop.send("numbered", OLD, "6", &json!({ "tenant": "acme", "tags": ["x"] })).await;
    assert_eq!(unnumbered.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn f4_an_event_that_matched_nothing_says_so() {
    let shop = Shop::open().await;
    let body = json!({ "tenant": "acme", "urls": [shop.larder.url("/pass")] });
    let receipt = shop.accepted("crm", CRM, "1", body).await;
    assert_eq!((&receipt["covered"], &receipt["selectors"]), (&json!(0), &json!(0)));
    assert_eq!(receipt["note"], "the event matched nothing that could be cached");
}

#[tokio::test]
async fn f4_each_refusal_has_its_own_status_and_purges_nothing() {
    let shop = Shop::open().await;
    let good = json!({ "tenant": "acme", "patterns": ["*"] }).to_string();
    let post = |hook: &str| shop.larder.post(&format!("/.larder/webhooks/{hook}"));
    let sign = |secret: &str, at: u64, body: &str| signature(secret.as_bytes(), "evt", at, body);
    let send = async |hook: &str, at: u64, signature: String, body: &str| {
        let call = post(hook).header("webhook-id", "evt").header("webhook-timestamp", at.to_string());
        call.header("webhook-signature", signature).body(body.to_owned()).send().await.status.as_u16()
    };
    assert_eq!(send("crm", NOON, sign("another secret, quite another", NOON, &good), &good).await, 401);
    assert_eq!(send("crm", NOON, sign(CRM, NOON, &good), &good.replace('*', "**")).await, 401);
    assert_eq!(send("crm", NOON, sign(FIXED, NOON, &good), &good).await, 401, "signed for another webhook");
    for at in [NOON - 301, NOON + 301] {
        assert_eq!(send("crm", at, sign(CRM, at, &good), &good).await, 401, "{at}");
    }
    assert_eq!(send("none", NOON, sign(CRM, NOON, &good), &good).await, 404);
    for bad in ["{", "tenant=acme", ""] {
        assert_eq!(send("crm", NOON, sign(CRM, NOON, bad), bad).await, 400, "{bad}");
    }
    for wrong in [
        "[]",
        "{}",
        r#"{"tenant": "acme"}"#,
        r#"{"tags": ["a"]}"#,
        r#"{"tenant": "", "tags": ["a"]}"#,
        r#"{"tenant": ["acme"], "tags": ["a"]}"#,
        r#"{"tenant": "acme", "tags": [1]}"#,
        r#"{"tenant": "acme", "tags": [""]}"#,
        r#"{"tenant": "acme", "tags": ["a"], "soft": "yes"}"#,
        r#"{"tenant": "acme", "model": "item"}"#,
        r#"{"tenant": "acme", "urls": ["/other/a"]}"#,
    ] {
        assert_eq!(send("crm", NOON, sign(CRM, NOON, wrong), wrong).await, 422, "{wrong}");
    }
    let large = format!(r#"{{"tags": ["a"], "more": "{}"}}"#, "x".repeat(2_000));
    assert_eq!(send("fixed", NOON, sign(FIXED, NOON, &large), &large).await, 413);
    for missing in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let fields = [
            ("webhook-id", "evt".to_owned()),
            ("webhook-timestamp", NOON.to_string()),
            ("webhook-signature", sign(CRM, NOON, &good)),
        ];
        let fields = fields.iter().filter(|(name, _)| *name != missing);
        let call = fields.fold(post("crm"), |call, (name, value)| call.header(name, value));
        assert_eq!(call.body(good.clone()).send().await.status.as_u16(), 400, "{missing}");
    }
    let get = shop.larder.get("/.larder/webhooks/crm").send().await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, Some("POST")));
    assert_eq!(shop.purged().await, Vec::<String>::new());
    // The id of all these was never burnt.
    assert_eq!(send("crm", NOON, sign(CRM, NOON, &good), &good).await, 200);
    assert_eq!(shop.purged().await.len(), 5);
}

fn now() -> u64 {
    larder::clock::Clock::system().now().unix_seconds()
}

/// The real binary, which is killed: what took effect is known afterwards, also where the file's end is torn.
#[tokio::test]
async fn f4_an_id_takes_effect_once_also_across_a_restart() {
    let origin = Origin::constant(|| Reply::ok("a page"));
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("{YAML}\ndata_dir: '{}'\n", folder.path().join("data").display());
    let start = async || {
        let setup = ENV
            .iter()
            .fold(Larder::with(&yaml).origin(&origin), |setup, (name, value)| setup.env(name, value));
        setup.start().await
    };
    let send = async |larder: &Larder, id: &str| {
        let body = json!({ "tenant": "acme", "tags": ["other"] }).to_string();
        let call = Client::new().post(larder.url("/.larder/webhooks/crm"));
        let answer = signed(call, CRM.as_bytes(), id, now(), &body).send().await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    };
    let mut larder = start().await;
    let first = send(&larder, "evt").await;
    larder.process().signal("KILL");
    larder.process().ended().await;
    let file = folder.path().join("data/webhooks.jsonl");
    let mut torn = std::fs::read(&file).unwrap();
    torn.extend_from_slice(b"{\"id\":{\"hook\":\"crm\",\"id\":\"to");
    std::fs::write(&file, torn).unwrap();

    let mut larder = start().await;
    assert_eq!(send(&larder, "evt").await, first);
    let second = send(&larder, "evt_2").await;
    assert!(larder.stop().await.success());
    let larder = start().await;
    assert_eq!((send(&larder, "evt").await, send(&larder, "evt_2").await), (first, second));
}

#[tokio::test]
async fn f4_every_event_and_every_refusal_is_in_the_audit_log() {
    let origin = Origin::constant(|| Reply::ok("a page"));
    let setup =
        ENV.iter().fold(Larder::with(YAML).origin(&origin), |setup, (name, value)| setup.env(name, value));
    let mut larder = setup.start().await;
    let body = json!({ "tenant": "acme", "tags": ["other"] }).to_string();
    let call = || Client::new().post(larder.url("/.larder/webhooks/crm"));
    let good = signed(call(), CRM.as_bytes(), "evt_good", now(), &body);
    let bad = signed(call(), OLD.as_bytes(), "evt_forged", now(), &body);
    assert_eq!(
        (good.send().await.status, bad.send().await.status),
        (StatusCode::OK, StatusCode::UNAUTHORIZED)
    );
    let line = larder.log("evt_good").await;
    assert!(line.contains("larder::audit") && line.contains("acme"), "{line}");
    let line = larder.log("evt_forged").await;
    assert!(
        line.contains("larder::audit") && line.contains("401") && line.contains("unauthorized"),
        "{line}"
    );
    let log = larder.logs().join("\n");
    for (_, secret) in ENV {
        assert!(!log.contains(secret));
    }
}

//! F5, B4, E5, C10: what a request changes, told by its path, its query and its body; the application is not touched.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail a test by a panic, as tests do

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use support::events::signed;
use support::reply::Long;
use support::{Answer, InProcess, Origin, Reply};

const NOON: u64 = 1_780_000_000;
const FACILITY: &str = include_str!("../config/examples/b-facility-django.yaml");
const JEWELLERY: &str = include_str!("../config/examples/e-jewellery-django.yaml");

/// A Django that knows the sessions `TENANT.USER` and counts its answers; writes say how long their bodies were.
fn django() -> Origin {
    let count = Arc::new(AtomicUsize::new(0));
    Origin::start(move |request: Request<Bytes>| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(answer(&request, number))
    })
}

fn answer(request: &Request<Bytes>, number: usize) -> Reply {
    let cookie = request.headers().get("cookie").map_or("", |value| value.to_str().unwrap());
    let session = cookie.split("; ").find_map(|pair| pair.strip_prefix("sessionid=")).unwrap_or("");
    if !request.method().is_safe() {
        let status = request.headers().get("x-status").map_or("200", |status| status.to_str().unwrap());
        return Reply::status(status.parse().unwrap()).body(request.body().len().to_string());
    }
    match (request.uri().path(), session.split_once('.')) {
        ("/accounts/whoami/", Some((tenant, user))) => {
            Reply::ok("").header("x-tenant", tenant).header("x-user", user)
        }
        ("/accounts/whoami/", None) => Reply::status(401),
        _ => Reply::ok(number.to_string()).header("vary", "Cookie"),
    }
}

struct App {
    larder: InProcess,
    pages: &'static [&'static str],
    _origin: Origin,
}

impl App {
    async fn start(yaml: &str, pages: &'static [&'static str]) -> Self {
        let origin = django();
        let secrets = ["LARDER_ADMIN_TOKEN", "FACILITY_WEBHOOK_SECRET", "SHOP_WEBHOOK_SECRET"];
        let env: Vec<_> = secrets.iter().map(|name| (*name, SECRET)).collect();
        let larder = InProcess::start_with(yaml, &origin, NOON, &env).await;
        let app = Self { larder, pages, _origin: origin };
        assert_eq!(app.purged("acme").await, pages);
        assert_eq!(app.purged("bolt").await, pages);
        app
    }

    async fn get(&self, path: &str, session: &str) -> Answer {
        self.larder.ask(path, &[("cookie", &format!("sessionid={session}"))]).await
    }

    /// The pages of a tenant that are not in the cache any more, and are from now on.
    async fn purged(&self, tenant: &str) -> Vec<&'static str> {
        let mut purged = Vec::new();
        for path in self.pages {
            if self.get(path, &format!("{tenant}.reader")).await.x_cache() != "HIT" {
                purged.push(*path);
            }
        }
        purged
    }

    /// A write of acme's, and which of its pages it purged. Those of others stay.
    async fn write(&self, path: &str, kind: &str, body: impl Into<Bytes>) -> Vec<&'static str> {
        let body = body.into();
        let length = body.len();
        let call = self.larder.post(path).header("cookie", "sessionid=acme.writer");
        let answer = call.header("content-type", kind).body(body).send().await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, &*length.to_string()), "{path}");
        let purged = self.purged("acme").await;
        assert_eq!(self.purged("bolt").await, [""; 0], "another tenant's pages stay");
        purged
    }

    async fn event(&self, hook: &str, id: &str, body: &Value) -> Vec<&'static str> {
        let call = self.larder.post(&format!("/.larder/webhooks/{hook}"));
        let answer = signed(call, SECRET.as_bytes(), id, NOON, &body.to_string()).send().await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
        let purged = self.purged("acme").await;
        assert_eq!(self.purged("bolt").await, [""; 0], "another tenant's pages stay");
        purged
    }
}

const SECRET: &str = "the secret of the tests' sender";

/// B4, with the configuration that is shipped: each model, told by a write and by a signed event, purges its patterns for its tenant only.
#[tokio::test]
async fn b4_each_model_purges_its_patterns_for_its_tenant_only() {
    const PAGES: &[&str] = &[
        "/dropdown/people/",
        "/dropdown/asset/",
        "/dropdown/typeassist/",
        "/dropdown/pgroup/",
        "/dashboard/metrics/",
        "/attendance/summary/",
        "/assets/status/7/",
        "/dashboard/trends/monthly/",
        "/schedule/jobs/",
        "/forms/ticket/choices/",
    ];
    let app = App::start(FACILITY, PAGES).await;
    for (model, write, purges) in [
        ("People", "/people/3/", &["/dropdown/people/", "/dashboard/metrics/", "/attendance/summary/"][..]),
        ("Asset", "/assets/new/", &["/dropdown/asset/", "/dashboard/metrics/", "/assets/status/7/"]),
        (
            "PeopleEventlog",
            "/attendance/log/",
            &["/dashboard/metrics/", "/attendance/summary/", "/dashboard/trends/monthly/"],
        ),
        ("Job", "/schedule/new/", &["/dashboard/metrics/", "/schedule/jobs/"]),
        ("TypeAssist", "/typeassist/1/", &["/dropdown/typeassist/", "/forms/ticket/choices/"]),
        ("Pgroup", "/pgroup/1/", &["/dropdown/pgroup/", "/forms/ticket/choices/"]),
    ] {
        assert_eq!(app.write(write, "text/plain", "x").await, purges, "{model} by {write}");
        for action in ["save", "delete", "relink"] {
            let event = json!({ "tenant": "acme", "model": model, "action": action, "id": 3 });
            let purged = app.event("facility", &format!("{model}-{action}"), &event).await;
            assert_eq!(purged, purges, "{model} by an event");
        }
    }
}

/// E5, with the configuration that is shipped: one item purges its tenant's inventory, the dashboard and that branch's pages.
#[tokio::test]
async fn e5_saving_an_item_purges_the_inventory_the_dashboard_and_that_branch() {
    const PAGES: &[&str] = &[
        "/inventory/",
        "/api/catalogue/rings",
        "/dashboard/stats/daily/",
        "/fragments/branch/3/",
        "/fragments/branch/7/",
        "/fragments/sidebar/",
        "/reports/sales/",
    ];
    let app = App::start(JEWELLERY, PAGES).await;
    let all = ["/inventory/", "/api/catalogue/rings", "/dashboard/stats/daily/"];
    let with = |more: &[&'static str]| [&all[..], more].concat();
    let of_3 = with(&["/fragments/branch/3/"]);
    let of_both = with(&["/fragments/branch/3/", "/fragments/branch/7/"]);
    assert_eq!(app.write("/inventory/branch/3/items/", "text/plain", "x").await, of_3);
    let event =
        json!({ "tenant": "acme", "model": "InventoryItem", "action": "save", "id": 5, "branch_id": 3 });
    assert_eq!(app.event("shop", "1", &event).await, of_3);
    // The path does not say which branch it is, and neither does this event.
    assert_eq!(app.write("/inventory/items/5/", "text/plain", "x").await, of_both);
    let event = json!({ "tenant": "acme", "model": "InventoryItem", "action": "delete", "id": 5 });
    assert_eq!(app.event("shop", "2", &event).await, of_both);
}

const FIELDS: &str = "
origins: { app: { url: 'http://127.0.0.1:1' } }
identity:
  ask: { path: /accounts/whoami/, tenant: X-Tenant, user: X-User }
  tenant: [{ ask: tenant }]
tiers: { usual: { ttl: 1h } }
routes:
  - { name: partners, path: '/partners/{company}/{id}', tier: usual, share: tenant, override: ['Vary: Cookie'], tags: ['res.partner:is_company={company}:{id}'] }
  - { name: users, path: /users, tier: usual, share: tenant, override: ['Vary: Cookie'], tags: ['res.users:list'] }
  - { name: rest, path: '/{*rest}' }
writes:
  - { path: /json, models: [res.partner], fields: { is_company: /params/0/is_company } }
  - { path: /query, models: [res.partner], fields: { is_company: query.kind } }
  - { path: '/exact/{id}', tags: ['res.partner:is_company={query.kind}:{id}'] }
models:
  res.partner: { purges: ['res.partner:is_company={is_company}:*'], related: [res.users] }
  res.users: ['res.users']
";

const PARTNERS: &[&str] = &["/partners/True/1", "/partners/True/2", "/partners/False/1", "/users"];

/// C10: a write purges the model that it touches and the related ones, with tags templated from the request.
#[tokio::test]
async fn c10_a_writes_tags_are_templated_from_its_path_query_and_body() {
    let app = App::start(FIELDS, PARTNERS).await;
    let json = "application/json";
    let of_companies = ["/partners/True/1", "/partners/True/2", "/users"];
    let body = r#"{"params": [{"is_company": "True"}]}"#;
    assert_eq!(app.write("/json", json, body).await, of_companies);
    assert_eq!(app.write("/query?kind=False", json, "").await, ["/partners/False/1", "/users"]);
    assert_eq!(app.write("/exact/2?kind=True", json, "").await, ["/partners/True/2"]);
    assert_eq!(app.write("/exact/1", json, "").await, ["/partners/True/1", "/partners/False/1"]);
    let form = app.write("/json", "application/x-www-form-urlencoded", "a=1&%2Fparams=2").await;
    assert_eq!(form, PARTNERS, "a form without the field");
}

/// F5: the body reaches the application as it came, and what cannot be read of it purges more.
#[tokio::test]
async fn f5_a_body_that_is_no_json_or_too_large_purges_more_and_goes_on_unharmed() {
    let app = App::start(FIELDS, PARTNERS).await;
    let json = "application/json";
    for body in ["", "{", "[]", "\u{1f980}", r#"{"params": [{"is_company": null}]}"#] {
        assert_eq!(app.write("/json", json, body).await, PARTNERS, "{body}");
    }
    let body = |padding: usize| {
        format!(r#"{{"params": [{{"is_company": "True"}}], "x": "{}"}}"#, "x".repeat(padding))
    };
    assert_eq!(app.write("/json", json, body(60_000)).await.len(), 3);
    assert_eq!(app.write("/json", json, body(70_000)).await, PARTNERS);
    assert_eq!(app.write("/json", json, body(2_000_000)).await, PARTNERS);
    // Of unknown length, in chunks.
    let call = app.larder.post("/json").header("cookie", "sessionid=acme.writer");
    let long = http_body_util::BodyExt::boxed_unsync(Long::new(300_000));
    assert_eq!(call.stream_body(long).send().await.text(), "300000");
    assert_eq!(app.purged("acme").await, PARTNERS);
}

#[tokio::test]
async fn f5_a_write_that_was_refused_purges_nothing() {
    let app = App::start(FIELDS, PARTNERS).await;
    for status in ["400", "403", "500"] {
        let call =
            app.larder.post("/json").header("cookie", "sessionid=acme.writer").header("x-status", status);
        assert_eq!(call.json(r#"{"params": [{"is_company": "True"}]}"#).send().await.status.as_str(), status);
        assert_eq!(app.purged("acme").await, [""; 0]);
    }
}

/// F5: the writer's next read is fresh, every time.
#[tokio::test]
async fn f5_the_writers_next_read_is_fresh() {
    let app = App::start(FIELDS, PARTNERS).await;
    let mut last = app.get("/partners/True/1", "acme.writer").await.text().parse::<usize>().unwrap();
    for _ in 0..50 {
        let call = app.larder.post("/json").header("cookie", "sessionid=acme.writer");
        assert_eq!(call.json(r#"{"params": [{"is_company": "True"}]}"#).send().await.status, 200);
        let next = app.get("/partners/True/1", "acme.writer").await.text().parse::<usize>().unwrap();
        assert!(next > last, "an old answer after a write");
        last = next;
    }
}

//! One application, wired three ways: `writes:` with no change to it, a signed event after each commit, and a field of its
//! own answers. Each time what a member of a tenant saves is fresh on the next read of that tenant, and only there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail a test by a panic, as tests do

mod support;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{Request, StatusCode};
use support::django::PASSWORD;
use support::{Browser, Client, Django, Larder, Origin, Reply};

const YAML: &str = r#"
origins:
  backoffice: { url: "{origin}", timeout: 30s }
identity:
  ask: { origin: backoffice, path: /whoami/, tenant: X-Tenant, user: X-User, logout: [/logout/] }
  tenant: [{ ask: tenant }]
  user: [{ ask: user }]
tiers:
  pages: { ttl: 15m }
routes:
  - { name: dashboard, path: /dashboard/, tier: pages, share: tenant, override: ["Vary: Cookie"], tags: [dashboard] }
  - { name: dropdown, path: "/api/dropdown/{kind}/", tier: pages, share: tenant, override: ["Vary: Cookie"], tags: ["dropdown:{kind}"] }
  - { name: inventory, path: /api/inventory/, tier: pages, share: tenant, override: ["Vary: Cookie"], tags: ["inventory:list"] }
  - { name: rest, path: "/{*rest}" }
"#;

const MODELS: &str = r#"
models:
  InventoryItem: ["inventory", "dropdown:asset", "dashboard"]
  Person: ["dropdown:people", "dashboard"]
"#;

const SECRET: &str = "the secret between Django and Larder";

/// What an item changes, and what it does not.
const OF_ITEMS: [&str; 3] = ["/dashboard/", "/api/dropdown/asset/", "/api/inventory/"];
const OF_PEOPLE: &str = "/api/dropdown/people/";

async fn logged_in(base: String, user: &str) -> Browser {
    let mut browser = Browser::new(base);
    browser.login(user).await;
    browser
}

async fn warm(browser: &mut Browser) {
    for path in OF_ITEMS.iter().chain([&OF_PEOPLE]) {
        browser.get(path).await;
        let again = browser.get(path).await;
        assert_eq!(again.x_cache(), "HIT", "{path}: {}", again.cache_status());
    }
}

/// Ann saves an item with the application's own form; she and her colleague see it, the other tenant keeps its pages.
async fn what_is_saved_is_seen(larder: &Larder) {
    let mut ann = logged_in(larder.url(""), "ann").await;
    let mut adam = logged_in(larder.url(""), "adam").await;
    let mut bea = logged_in(larder.url(""), "bea").await;
    for round in 0..3 {
        warm(&mut ann).await;
        warm(&mut bea).await;
        let name = format!("Adze {round}");
        let item = [("name", name.as_str()), ("branch", "Ahlen"), ("quantity", "7")];
        let saved = ann.submit("/inventory/new/", "/inventory/new/", &item).await;
        assert_eq!(saved.status, StatusCode::FOUND, "{}", saved.text());
        for path in OF_ITEMS {
            let read = ann.get(path).await;
            assert_ne!(read.x_cache(), "HIT", "{path} after a write: {}", read.cache_status());
            assert!(path == "/dashboard/" || read.text().contains(&name), "{path}: {}", read.text());
            assert_eq!(adam.get(path).await.body, read.body, "{path}");
            assert_eq!(bea.get(path).await.x_cache(), "HIT", "{path} of the other tenant");
        }
        assert_eq!(ann.get(OF_PEOPLE).await.x_cache(), "HIT", "what did not change stays");
    }
}

#[tokio::test]
async fn f5_by_writes_in_the_yaml_the_application_is_not_touched() {
    let django = Django::start().await;
    let writes = "writes: [{ path: '/inventory/{*rest}', models: [InventoryItem] }]";
    let larder = Larder::with(&format!("{YAML}{MODELS}{writes}\n")).put("origin", django.url()).start().await;
    what_is_saved_is_seen(&larder).await;
}

/// Forwards events to a Larder that starts later than the application which sends them.
fn relay() -> (Origin, Arc<OnceLock<String>>) {
    let target: Arc<OnceLock<String>> = Arc::default();
    let known = Arc::clone(&target);
    let origin = Origin::start(move |request: Request<Bytes>| {
        let url = known.get().expect("Larder runs").clone();
        async move {
            let (parts, body) = request.into_parts();
            let fields = parts.headers.iter().filter(|(name, _)| name.as_str().starts_with("webhook-"));
            let call =
                fields.fold(Client::new().post(url), |call, (name, value)| call.header(name.as_str(), value));
            let answer = call.json(body).send().await;
            Reply::status(answer.status.as_u16()).body(answer.body)
        }
    });
    (origin, target)
}

#[tokio::test]
async fn f4_by_a_signed_event_after_the_commit() {
    let (relay, target) = relay();
    let env = [("LARDER_WEBHOOK_URL", relay.url()), ("LARDER_WEBHOOK_SECRET", SECRET.to_owned())];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let django = Django::start_with(&env).await;
    let hook = "webhooks: [{ name: django, secret: { env: SECRET } }]";
    let setup = Larder::with(&format!("{YAML}{MODELS}{hook}\n")).put("origin", django.url());
    let mut larder = setup.env("SECRET", SECRET).start().await;
    target.set(larder.url("/.larder/webhooks/django")).unwrap();
    what_is_saved_is_seen(&larder).await;
    let line = larder.log("webhook purged").await;
    assert!(line.contains("InventoryItem") && line.contains("acme"), "{line}");

    // What never went through Larder: an administrator at the application's own address.
    let mut ann = logged_in(larder.url(""), "ann").await;
    warm(&mut ann).await;
    let mut root = Browser::new(django.url());
    root.login_at("/admin/login/?next=/admin/", "root", PASSWORD).await;
    let page = "/admin/shop/person/add/";
    let saved = root.submit(page, page, &[("tenant", "1"), ("name", "Ada Abel")]).await;
    assert_eq!(saved.status, StatusCode::FOUND, "{}", saved.text());
    let people = ann.get(OF_PEOPLE).await;
    assert!(people.text().contains("Ada Abel"), "{}: {}", people.cache_status(), people.text());
    assert_eq!(ann.get("/api/dropdown/asset/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn f4_by_a_field_of_the_applications_own_answers() {
    let django = Django::start_with(&[("LARDER_BY_ANSWER", "yes")]).await;
    let larder = Larder::with(YAML).put("origin", django.url()).start().await;
    what_is_saved_is_seen(&larder).await;
}

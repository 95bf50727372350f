//! A7: the cache is reset by hand, whole or one URL at a time, and by nobody but an operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Answer, Client, Larder, Origin, Reply};

const ADMIN: &str = "the operator's own token";
const VIEWER: &str = "a token that only looks";

const YAML: &str = "
admin:
  listen: 127.0.0.1:0
  tokens:
    - { name: ops, role: admin, secret: { env: ADMIN_TOKEN } }
    - { name: eye, role: viewer, secret: { env: VIEWER_TOKEN } }
origins: { app: { url: '{origin}' } }
identity:
  trusted_proxies: [127.0.0.1/32]
  tenant: [{ header: X-Tenant }]
stores: { default: { memory: 16MiB }, other: { memory: 16MiB } }
tiers: { usual: { ttl: 1h }, forever: { ttl: 0, store: other }, own: {} }
routes:
  - { name: tenants, path: '/t/{*rest}', tier: usual, share: tenant, vary_on: [{ header: X-View }] }
  - { name: own, path: '/own/{*rest}', tier: own, share: public }
  - { name: forever, path: '/forever/{*rest}', tier: forever, share: public }
  - { name: pass, path: '/pass/{*rest}' }
  - { name: all, path: '/{*rest}', tier: usual, share: public }
";

/// Every answer has a number of its own.
fn numbered() -> Origin {
    let number = Arc::new(AtomicUsize::new(0));
    Origin::start(move |request: http::Request<bytes::Bytes>| {
        let number = number.fetch_add(1, Ordering::SeqCst);
        let reply = Reply::ok(format!("{number}")).header("cache-control", "max-age=600");
        let reply =
            if request.uri().path().starts_with("/own/") { reply.header("vary", "X-View") } else { reply };
        std::future::ready(reply)
    })
}

struct Setting {
    larder: Larder,
    client: Client,
    _origin: Origin,
}

impl Setting {
    /// On an admin port of its own, which `larder purge` reads from the same file.
    async fn new() -> Self {
        let origin = numbered();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let yaml = YAML.replace("listen: 127.0.0.1:0", &format!("listen: 127.0.0.1:{port}"));
        let setup = Larder::with(&yaml).origin(&origin);
        let larder = setup.env("ADMIN_TOKEN", ADMIN).env("VIEWER_TOKEN", VIEWER).start().await;
        Self { larder, client: Client::keep_alive(), _origin: origin }
    }

    async fn get(&self, path: &str, tenant: &str, view: &str) -> Answer {
        let call = self.client.get(self.larder.url(path)).header("x-tenant", tenant).header("x-view", view);
        call.send().await
    }

    /// Fills, and fails where that does not give a hit.
    async fn warm(&self, path: &str, tenant: &str, view: &str) -> Answer {
        self.get(path, tenant, view).await;
        let hit = self.get(path, tenant, view).await;
        assert_eq!(hit.x_cache(), "HIT", "{path} {tenant} {view}: {}", hit.cache_status());
        hit
    }

    async fn purge(&self, path: &str, token: Option<&str>, tenant: Option<&str>) -> Answer {
        let call = self.client.method("PURGE", self.larder.url(path));
        let call =
            token.iter().fold(call, |call, token| call.header("authorization", format!("Bearer {token}")));
        tenant.iter().fold(call, |call, tenant| call.header("x-tenant", tenant)).send().await
    }

    /// `larder purge -c FILE …`, over the file of the running proxy.
    async fn command(&self, args: &[&str]) -> (bool, String) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_larder"));
        command.arg("purge").arg("-c").arg(self.larder.file()).args(args);
        command.env("ADMIN_TOKEN", ADMIN).env("VIEWER_TOKEN", VIEWER);
        let output = crate::support::wait::within("larder purge", command.output()).await.unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), text)
    }
}

const PLACES: [(&str, &str); 5] = [
    ("/page", "acme"),
    ("/t/page", "acme"),
    ("/t/page", "bolt"),
    ("/own/page", "acme"),
    ("/forever/page", "acme"),
];

#[tokio::test]
async fn a7_the_command_resets_everything_of_all_stores_and_tenants() {
    let setting = Setting::new().await;
    for (path, tenant) in PLACES {
        setting.warm(path, tenant, "list").await;
    }
    let (done, text) = setting.command(&["--everything"]).await;
    assert!(done && text.contains("\"purged\":\"everything\""), "{text}");
    for (path, tenant) in PLACES {
        assert_eq!(setting.get(path, tenant, "list").await.x_cache(), "MISS", "{path} of {tenant}");
        assert_eq!(setting.get(path, tenant, "list").await.x_cache(), "HIT", "{path} is kept again");
    }
}

#[tokio::test]
async fn a7_the_command_resets_one_tenant_alone() {
    let setting = Setting::new().await;
    for (path, tenant) in PLACES {
        setting.warm(path, tenant, "list").await;
    }
    let (done, text) = setting.command(&["--everything", "--tenant", "acme"]).await;
    assert!(done, "{text}");
    for (path, tenant) in PLACES {
        let gone = path == "/t/page" && tenant == "acme";
        let expected = if gone { "MISS" } else { "HIT" };
        assert_eq!(setting.get(path, tenant, "list").await.x_cache(), expected, "{path} of {tenant}");
    }
}

#[tokio::test]
async fn a7_the_command_resets_urls_and_says_which_no_route_caches() {
    let setting = Setting::new().await;
    for (path, tenant) in PLACES {
        setting.warm(path, tenant, "list").await;
    }
    setting.warm("/other", "acme", "list").await;
    let (page, passed) = (setting.larder.url("/t/page"), setting.larder.url("/pass/page"));
    let (done, text) = setting.command(&[&page, &passed]).await;
    assert!(done && text.contains("not_cached_by_any_route") && text.contains("/pass/page"), "{text}");
    for tenant in ["acme", "bolt"] {
        assert_eq!(setting.get("/t/page", tenant, "list").await.x_cache(), "MISS", "{tenant}");
    }
    assert_eq!(setting.get("/other", "acme", "list").await.x_cache(), "HIT");
    let (done, text) = setting.command(&["shop.example"]).await;
    assert!(!done && text.contains("http://host/path"), "{text}");
}

#[tokio::test]
async fn a7_purge_takes_one_url_with_all_its_variants_and_nothing_else() {
    let setting = Setting::new().await;
    let all = [("/own/page", "list"), ("/own/page", "table"), ("/t/page", "list"), ("/t/page", "table")];
    let others = [("/own/page?x=1", "list"), ("/own/other", "list"), ("/t/page/below", "list")];
    for (path, view) in all.iter().chain(&others) {
        setting.warm(path, "acme", view).await;
    }
    for path in ["/own/page", "/t/page"] {
        let receipt = setting.purge(path, Some(ADMIN), None).await;
        assert_eq!(receipt.status.as_u16(), 200, "{}", receipt.text());
        let receipt = receipt.json();
        assert!(
            receipt["seq"].as_u64().unwrap() > 0 && !receipt["id"].as_str().unwrap().is_empty(),
            "{receipt}"
        );
    }
    for (path, view) in all {
        assert_eq!(setting.get(path, "acme", view).await.x_cache(), "MISS", "{path} {view}");
    }
    for (path, view) in others {
        assert_eq!(setting.get(path, "acme", view).await.x_cache(), "HIT", "{path} {view}");
    }
    let everything = setting.purge("/*", Some(ADMIN), None).await;
    assert_eq!(everything.status.as_u16(), 200, "{}", everything.text());
    for (path, view) in others {
        assert_eq!(setting.get(path, "acme", view).await.x_cache(), "MISS", "{path} {view}");
    }
}

#[tokio::test]
async fn a7_purge_with_a_tenant_acts_on_that_tenant_and_the_public_entries() {
    let setting = Setting::new().await;
    for (path, tenant) in PLACES {
        setting.warm(path, tenant, "list").await;
    }
    setting.purge("/t/page", Some(ADMIN), Some("acme")).await;
    setting.purge("/page", Some(ADMIN), Some("acme")).await;
    assert_eq!(setting.get("/t/page", "acme", "list").await.x_cache(), "MISS");
    assert_eq!(setting.get("/t/page", "bolt", "list").await.x_cache(), "HIT");
    assert_eq!(
        setting.get("/page", "bolt", "list").await.x_cache(),
        "MISS",
        "public entries are everybody's"
    );
}

#[tokio::test]
async fn a7_nobody_but_an_operator_purges() {
    let setting = Setting::new().await;
    let kept = setting.warm("/page", "acme", "list").await;
    for (token, status) in
        [(None, 401), (Some("a token that nobody knows"), 401), (Some(""), 401), (Some(VIEWER), 403)]
    {
        for path in ["/page", "/*"] {
            let answer = setting.purge(path, token, None).await;
            assert_eq!(answer.status.as_u16(), status, "{token:?} {path}");
            assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
        }
        let url = setting.larder.admin_url("/purge");
        let call = setting.client.post(url).json("{\"everything\": true}");
        let call =
            token.iter().fold(call, |call, token| call.header("authorization", format!("Bearer {token}")));
        assert_eq!(call.send().await.status.as_u16(), status, "{token:?} on the admin listener");
    }
    let still = setting.get("/page", "acme", "list").await;
    assert_eq!((still.x_cache(), still.text()), ("HIT", kept.text()));
}

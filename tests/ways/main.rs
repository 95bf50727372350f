//! The ways in for tags and purges, through the built binary: fields of answers, verbs, the admin listener, the commands.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail

mod admin;
mod docs;
mod fields;
mod stat;
#[path = "../support/mod.rs"]
mod support;
mod tags;
mod verbs;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use larder::http::query;
use support::{Answer, Client, Larder, Origin, Reply};

pub(crate) const OPS: &str = "the operator's own token";
pub(crate) const EYE: &str = "a token that only looks";
pub(crate) const ACME: &str = "the token of acme's people";

const YAML: &str = "
admin:
  listen: 127.0.0.1:{port}
  tokens:
    - { name: acme, role: admin, tenant: acme, secret: { env: ACME_TOKEN } }
    - { name: ops, role: admin, secret: { env: LARDER_ADMIN_TOKEN } }
    - { name: eye, role: viewer, secret: { env: VIEWER_TOKEN } }
origins: { app: { url: '{origin}' } }
identity:
  trusted_proxies: [127.0.0.1/32]
  tenant: [{ header: X-Tenant }]
  user: [{ header: X-User }]
stores: { default: { memory: 16MiB }, other: { memory: 16MiB, eviction: lru } }
tiers:
  usual: { ttl: 1h }
  window: { ttl: 1h, stale_while_revalidate: 10m }
  forever: { ttl: 0, store: other }
  own: {}
routes:
  - { name: chatty, path: '/any/{*rest}', tier: usual, share: tenant, purge_on: any }
  - { name: chatty-pass, path: '/any-pass/{*rest}', purge_on: any }
  - { name: window, path: '/window/{*rest}', tier: window, share: public }
  - { name: tenants, path: '/t/{*rest}', tier: usual, share: tenant, tags: ['all-of-t'], vary_on: [{ header: X-View }] }
  - { name: users, path: '/u/{*rest}', tier: usual, share: user }
  - { name: forever, path: '/forever/{*rest}', tier: forever, share: tenant }
  - { name: own, path: '/own/{*rest}', tier: own, share: public }
  - { name: public, path: '/p/{*rest}', tier: usual, share: public }
  - { name: rest, path: '/{*rest}' }
";

/// Answers with a number of its own, and with the fields that the parameters `h=Name:value` ask for. `/own/turn` is
/// confirmed with other tags than it came with; `s=STATUS` gives the status.
fn origin() -> Origin {
    let number = Arc::new(AtomicUsize::new(0));
    Origin::start(move |request: http::Request<Bytes>| {
        let number = number.fetch_add(1, Ordering::SeqCst);
        let (uri, headers) = (request.uri(), request.headers());
        if uri.path() == "/own/turn" && headers.contains_key("if-none-match") {
            let confirmed = Reply::status(304).header("cache-control", "max-age=600").header("etag", "\"1\"");
            return std::future::ready(confirmed.header("surrogate-key", "newer"));
        }
        let pairs: Vec<_> = query::pairs(uri.query().unwrap_or_default()).collect();
        let value = |name: &str| pairs.iter().find(|p| p.name == name).map(|p| p.value.parse().unwrap());
        let mut reply = Reply::status(value("s").unwrap_or(200)).body(format!("{number}"));
        for pair in pairs.iter().filter(|pair| pair.name == "h") {
            let field = query::decode(pair.value).unwrap();
            let (name, value) = field.split_once(':').unwrap();
            reply = reply.header(name, value);
        }
        std::future::ready(reply)
    })
}

/// A target whose answer carries these fields.
pub(crate) fn with(path: &str, fields: &[(&str, &str)]) -> String {
    let mut target = format!("{path}?x");
    for (name, value) in fields {
        target.push_str("&h=");
        for byte in format!("{name}:{value}").bytes() {
            write!(target, "%{byte:02X}").unwrap();
        }
    }
    target
}

pub(crate) struct Setting {
    pub(crate) larder: Larder,
    pub(crate) client: Client,
    _origin: Origin,
}

impl Setting {
    pub(crate) async fn new() -> Self {
        let origin = origin();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let setup = Larder::with(YAML).origin(&origin).put("port", port);
        let setup = setup.env("LARDER_ADMIN_TOKEN", OPS).env("VIEWER_TOKEN", EYE).env("ACME_TOKEN", ACME);
        Self { larder: setup.start().await, client: Client::keep_alive(), _origin: origin }
    }

    pub(crate) async fn get(&self, target: &str, tenant: &str) -> Answer {
        self.client.get(self.larder.url(target)).header("x-tenant", tenant).send().await
    }

    /// Stores each, and fails where that does not give a hit.
    pub(crate) async fn warm(&self, targets: &[&str], tenants: &[&str]) {
        for target in targets {
            for tenant in tenants {
                self.get(target, tenant).await;
                let hit = self.get(target, tenant).await;
                assert_eq!(hit.x_cache(), "HIT", "{target} of {tenant}: {}", hit.cache_status());
            }
        }
    }

    /// Whether it is still stored.
    pub(crate) async fn is_kept(&self, target: &str, tenant: &str) -> bool {
        self.get(target, tenant).await.x_cache() == "HIT"
    }

    /// A write whose answer carries these fields.
    pub(crate) async fn write(&self, path: &str, tenant: &str, fields: &[(&str, &str)]) -> Answer {
        let call = self.client.post(self.larder.url(&with(path, fields)));
        let call = if tenant.is_empty() { call } else { call.header("x-tenant", tenant) };
        call.header("x-user", "ann").send().await
    }

    /// `POST /purge` on the admin listener.
    pub(crate) async fn purge(&self, token: &str, body: &str) -> Answer {
        let call = self.client.post(self.larder.admin_url("/purge")).json(body.to_owned());
        call.header("authorization", format!("Bearer {token}")).send().await
    }

    /// `GET /keys` on the admin listener.
    pub(crate) async fn keys(&self, token: &str, query: &str) -> Answer {
        let call = self.client.get(self.larder.admin_url(&format!("/keys?{query}")));
        call.header("authorization", format!("Bearer {token}")).send().await
    }

    /// `larder COMMAND -c FILE …`, over the file of the running proxy.
    pub(crate) async fn command(&self, name: &str, args: &[&str]) -> (bool, String) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_larder"));
        command.arg(name).arg("-c").arg(self.larder.file()).args(args);
        command.env("LARDER_ADMIN_TOKEN", OPS).env("VIEWER_TOKEN", EYE).env("ACME_TOKEN", ACME);
        let output = support::wait::within("a command of larder ends", command.output()).await.unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), text)
    }
}

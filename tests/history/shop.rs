//! The application of the histories: pages with versions, which an origin answers late, and the ways to purge them.
//!
//! A read gets the version of its page as it is when the request arrives; the answer leaves some milliseconds later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request};
use hyper::body::Incoming;

use crate::support::{Origin, Reply, wait};

pub(crate) const TENANTS: usize = 3;
pub(crate) const PAGES: usize = 4;
/// A page of each tenant and kind.
pub(crate) const KEYS: usize = TENANTS * PAGES * KINDS.len();
/// The routes: responses of the second one may be served stale after a soft purge.
const KINDS: [&str; 2] = ["pages", "window"];

pub(crate) const TOKEN: &str = "the operator's own token";
pub(crate) const SECRET: &str = "the secret of the application's events";
pub(crate) const ENV: [(&str, &str); 2] = [("LARDER_ADMIN_TOKEN", TOKEN), ("HOOK", SECRET)];

pub(crate) const YAML: &str = "
admin:
  listen: 127.0.0.1:{port}
  tokens: [{ name: ops, role: admin, secret: { env: LARDER_ADMIN_TOKEN } }]
origins: { app: { url: '{origin}' } }
identity:
  trusted_proxies: [127.0.0.1/32]
  tenant: [{ header: X-Tenant }]
  user: [{ header: X-User }]
tiers:
  usual: { ttl: 1h }
  window: { ttl: 1h, stale_while_revalidate: 1h }
routes:
  - { name: pages, path: '/pages/{page}', tier: usual, share: tenant, tags: ['pages:{page}'] }
  - { name: window, path: '/window/{page}', tier: window, share: tenant, tags: ['window:{page}'] }
  - { name: rest, path: '/{*rest}' }
webhooks: [{ name: app, secret: { env: HOOK }, all_tenants: true }]
";

/// The tenant of a key.
pub(crate) fn tenant(key: usize) -> String {
    format!("t{}", key % TENANTS)
}

/// Its kind and its page: `pages` and `2`.
pub(crate) fn page(key: usize) -> (&'static str, usize) {
    let rest = key / TENANTS;
    (KINDS[rest % KINDS.len()], rest / KINDS.len())
}

/// Its path.
pub(crate) fn path(key: usize) -> String {
    let (kind, page) = page(key);
    format!("/{kind}/{page}")
}

/// Its tag.
pub(crate) fn tag(key: usize) -> String {
    let (kind, page) = page(key);
    format!("{kind}:{page}")
}

/// Whether its responses may be served stale after a soft purge.
pub(crate) fn has_window(key: usize) -> bool {
    page(key).0 == "window"
}

/// The versions of all pages, and the origin that answers with them.
pub(crate) struct Shop {
    pub(crate) origin: Origin,
    versions: Arc<Vec<AtomicU64>>,
}

impl Shop {
    pub(crate) fn open() -> Self {
        let versions: Arc<Vec<AtomicU64>> = Arc::new((0..KEYS).map(|_| AtomicU64::new(1)).collect());
        let known = Arc::clone(&versions);
        let origin = Origin::streaming(move |request| answer(Arc::clone(&known), request));
        Self { origin, versions }
    }

    /// Changes a page behind the proxy's back, and gives the new version.
    pub(crate) fn change(&self, key: usize) -> u64 {
        change(&self.versions, key)
    }

    /// The version of a page now.
    #[allow(dead_code)] // the history over several Larders asks for it
    pub(crate) fn version(&self, key: usize) -> u64 {
        self.versions[key].load(Ordering::SeqCst)
    }
}

fn change(versions: &[AtomicU64], key: usize) -> u64 {
    versions[key].fetch_add(1, Ordering::SeqCst) + 1
}

/// `GET PAGE` answers with its key and version, `POST PAGE` changes it; `POST /hard/PAGE` and `/soft/PAGE` change it and
/// say with a field what is to be purged.
async fn answer(versions: Arc<Vec<AtomicU64>>, request: Request<Incoming>) -> Reply {
    let path_asked = request.uri().path();
    let whose = request.headers()["x-tenant"].to_str().unwrap();
    let (mode, target) = match path_asked.split_at_checked(5) {
        Some((mode @ ("/hard" | "/soft"), target)) => (Some(&mode[1..]), target),
        _ => (None, path_asked),
    };
    let key = (0..KEYS).find(|key| path(*key) == target && tenant(*key) == whose).expect("a page");
    let is_write = request.method() == Method::POST;
    let version = if is_write { change(&versions, key) } else { versions[key].load(Ordering::SeqCst) };
    let etag = format!("\"{key}-{version}\"");
    let confirmed = request.headers().get("if-none-match").is_some_and(|known| known == etag.as_str());
    wait::latency(Duration::from_millis(latency(version, key))).await;
    match mode {
        _ if confirmed => Reply::status(304).header("etag", etag),
        Some("soft") => written(key, version).header("x-larder-purge", format!("soft tag {}", tag(key))),
        Some(_) => written(key, version).header("x-larder-purge", format!("tag {}", tag(key))),
        None if is_write => written(key, version),
        None => written(key, version).header("etag", etag),
    }
}

fn written(key: usize, version: u64) -> Reply {
    Reply::ok(format!("{key} {version}"))
}

/// Some milliseconds, others for each version.
fn latency(version: u64, key: usize) -> u64 {
    (version.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40).wrapping_add(key as u64) % 6
}

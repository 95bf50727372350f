//! Several Larders, each on an address of its own.

use crate::shop::{ENV, TOKEN};
use crate::support::redis::Redis;
use crate::support::{Answer, Client, Larder, Origin, wait};

/// How many there are.
pub(crate) const NODES: usize = 3;

/// The host that clients ask for, whichever node answers: it is a part of every key.
pub(crate) const HOST: &str = "shop.example";

/// What the nodes share, and the places of both parts in Redis.
pub(crate) const YAML: &str = "
admin:
  listen: 127.0.0.1:{port}
  tokens: [{ name: ops, role: admin, secret: { env: LARDER_ADMIN_TOKEN } }]
origins: { app: { url: '{origin}' } }
identity:
  trusted_proxies: [127.0.0.1/32]
  tenant: [{ header: X-Tenant }]
  user: [{ header: X-User }]
purge: { bound: 500ms, log: { redis: {log} } }
stores: { default: { memory: 64MiB, redis: {level} } }
tiers:
  usual: { ttl: 1h }
  window: { ttl: 1h, stale_while_revalidate: 1h }
routes:
  - { name: pages, path: '/pages/{page}', tier: usual, share: tenant, tags: ['pages:{page}'] }
  - { name: window, path: '/window/{page}', tier: window, share: tenant, tags: ['window:{page}'] }
  - { name: rest, path: '/{*rest}' }
webhooks: [{ name: app, secret: { env: HOOK }, all_tenants: true }]
";

/// A place in Redis, as the configuration takes it.
pub(crate) fn place(url: &str) -> String {
    format!("'{url}'")
}

/// Starts a Larder with this configuration: `{log}` and `{level}` are the places in Redis.
pub(crate) async fn start(yaml: &str, origin: &Origin, log: &str, level: &str) -> Larder {
    let setup = Larder::with(yaml).origin(origin).put("port", 0).put("log", log).put("level", level);
    ENV.iter().fold(setup, |setup, (name, value)| setup.env(name, value)).start().await
}

/// A `PURGE` of a URL, with the operator's token.
pub(crate) async fn purge(url: &str) -> Answer {
    let bearer = format!("Bearer {TOKEN}");
    Client::new().method("PURGE", url).header("host", HOST).header("authorization", bearer).send().await
}

/// Returns once a node answers from the cache: it is current, and its store takes something.
pub(crate) async fn hits(url: &str, tenant: &str) {
    let client = Client::keep_alive();
    wait::until_async(&format!("{url} is a hit"), async || {
        let answer = client.get(url).header("host", HOST).header("x-tenant", tenant).try_send().await.ok()?;
        (answer.x_cache() == "HIT").then_some(())
    })
    .await;
}

/// Nodes without any traffic of their own.
pub(crate) struct Cluster {
    pub(crate) larders: Vec<Larder>,
}

impl Cluster {
    /// Starts all, and returns once they serve what is stored.
    pub(crate) async fn start(yaml: &str, origin: &Origin, redis: &Redis) -> Self {
        let place = place(&redis.url());
        let mut this = Self { larders: Vec::new() };
        for node in 0..NODES {
            this.larders.push(start(yaml, origin, &place, &place).await);
            this.current(node).await;
        }
        this
    }

    pub(crate) fn count(&self) -> usize {
        self.larders.len()
    }

    pub(crate) fn url(&self, node: usize, path: &str) -> String {
        self.larders[node].url(path)
    }

    /// Stops a node as an operator does, and starts another process in its place.
    pub(crate) async fn restart(&mut self, node: usize, yaml: &str, origin: &Origin, redis: &Redis) {
        self.larders[node].stop().await;
        let place = place(&redis.url());
        self.larders[node] = start(yaml, origin, &place, &place).await;
    }

    /// Returns once a node knows every purge.
    pub(crate) async fn current(&self, node: usize) {
        let client = Client::new();
        wait::until_async("a node is current", async || {
            let call =
                client.get(self.url(node, "/pages/current")).header("host", HOST).header("x-tenant", "t0");
            let answer = call.try_send().await.ok()?;
            (!answer.cache_status().contains("log-away")).then_some(())
        })
        .await;
    }
}

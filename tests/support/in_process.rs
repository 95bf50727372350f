//! The proxy in this process, over real sockets, with a clock that the test moves: for lifetimes of minutes and days.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder::app;
use larder::cache::Cache;
use larder::clock::Clock;
use larder::config::read::ReadContext;
use larder::config::{Config, Listener, Store};
use larder::control::{WithHooks, WithVerbs};
use larder::server::Server;
use tokio::sync::oneshot;

use super::Origin;
use super::client::{Answer, Call, Client};

/// A running proxy. Dropped, it stops.
pub struct InProcess {
    addr: SocketAddr,
    clock: Clock,
    client: Client,
    _stop: oneshot::Sender<()>,
}

impl InProcess {
    /// A proxy with this configuration in front of `origin`, which takes the place of every origin in it. The clock
    /// stands at `wall` seconds since the Unix epoch.
    pub async fn start(yaml: &str, origin: &Origin, wall: u64) -> Self {
        Self::start_with(yaml, origin, wall, &[]).await
    }

    /// The same with variables of the environment.
    pub async fn start_with(yaml: &str, origin: &Origin, wall: u64, env: &[(&str, &str)]) -> Self {
        Self::start_over(yaml, origin, wall, env, Cache::new).await
    }

    /// The same over a cache that the test makes of the configuration's stores.
    pub async fn start_over(
        yaml: &str,
        origin: &Origin,
        wall: u64,
        env: &[(&str, &str)],
        cache: impl FnOnce(&[Arc<Store>], Clock) -> Cache,
    ) -> Self {
        let env: HashMap<_, _> = env.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let context = ReadContext::of(Path::new("test.yaml")).with_env(move |name| env.get(name).cloned());
        let mut config = Config::from_yaml(yaml, &context).unwrap_or_else(|errors| {
            panic!("{}", errors.iter().map(|e| format!("{e}\n")).collect::<String>())
        });
        config.listen = vec![Listener { addr: ([127, 0, 0, 1], 0).into(), tls: None }];
        for known in &mut config.origins {
            let mut here = (**known).clone();
            here.authority = origin.addr().to_string();
            *known = Arc::new(here);
        }
        let clock = Clock::manual(Duration::from_secs(wall));
        let config = Arc::new(config);
        let proxy = app::proxy_over(&config, cache(&config.stores, clock.clone()), std::io::sink()).unwrap();
        let server = Server::bind(&config.listen, config.limits).unwrap();
        let addr = server.local_addrs()[0];
        let (stop, stopped) = oneshot::channel();
        let service = WithHooks::new(proxy.shared().clone(), WithVerbs::new(proxy)).unwrap();
        tokio::spawn(server.run(service, stopped));
        Self { addr, clock, client: Client::new(), _stop: stop }
    }

    /// Moves the clock.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// A GET, to be sent.
    pub fn get(&self, path: &str) -> Call {
        self.client.get(self.url(path))
    }

    /// A POST, to be sent.
    pub fn post(&self, path: &str) -> Call {
        self.client.post(self.url(path))
    }

    /// A request with any method, to be sent.
    pub fn method(&self, method: &str, path: &str) -> Call {
        self.client.method(method, self.url(path))
    }

    /// The answer to a GET with these fields.
    pub async fn ask(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        fields.iter().fold(self.get(path), |call, (name, value)| call.header(name, value)).send().await
    }
}

//! Larder inside an axum application: `cargo run --example axum`, then
//! `curl -i http://127.0.0.1:3000/report` twice: the first takes a second, the second none.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use larder::layer::CacheLayer;
use tower::Layer;

const CONFIG: &str = "
listen: 127.0.0.1:3000
origins: { app: { url: 'http://127.0.0.1:3000' } }   # named by the routes; the wrapped router answers
tiers:
  report: { ttl: 1m, stale_while_revalidate: 10s }
routes:
  - { name: report, path: /report, tier: report, share: public }
  - { name: rest, path: '/{*rest}' }
";

async fn report() -> &'static str {
    tokio::time::sleep(Duration::from_secs(1)).await;
    "a report that took a second\n"
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = Router::new().route("/report", get(report)).route("/", get(|| async { "not cached\n" }));
    // The whole router is wrapped, so that routes, identities and fills are those of one application.
    let cached = CacheLayer::from_yaml(CONFIG)?.layer(router);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, Router::new().fallback_service(cached)).await?;
    Ok(())
}

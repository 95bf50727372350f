//! What reaches the application on a shared fill, and whose request a private answer answers.

use http::Request;
use larder::http::Body;

use super::support::{World, reply, token};

const CONFIG: &str = "
identity:
  jwt: { algorithms: [HS256], secret: { env: JWT_SECRET } }
  trusted_proxies: [192.0.2.0/24]
  tenant: [{ host: \"{tenant}.example\" }]
  user: [{ header: X-User }, { jwt: sub }]
tiers: { short: { ttl: 10m }, origin: {} }
routes:
  - { name: rfc, path: /rfc, tier: origin, share: public }
  - { name: of-tenant, path: /of-tenant, tier: origin, share: tenant }
  - { name: page, path: /page, tier: short, share: public }
";

#[tokio::test]
async fn an_unusual_accept_encoding_fills_no_entry_of_clients_that_name_none() {
    let world = World::new(CONFIG, async |request: Request<Body>| {
        let deflates = request.headers().get("accept-encoding").is_some_and(|v| v.as_bytes() == b"deflate");
        let coding = if deflates { "deflate" } else { "identity" };
        reply(
            200,
            &[("vary", "accept-encoding"), ("cache-control", "max-age=60"), ("content-encoding", coding)],
            "x",
        )
    });
    world.get("/rfc", &[("accept-encoding", "deflate")]).await;
    assert_ne!(world.get("/rfc", &[]).await.header("content-encoding"), Some("deflate"));
}

#[tokio::test]
async fn an_answer_that_varies_by_what_larder_says_of_the_client_is_found_again() {
    let world = World::new(CONFIG, async |_| {
        reply(
            200,
            &[("vary", "x-forwarded-proto, host, x-forwarded-host"), ("cache-control", "max-age=60")],
            "x",
        )
    });
    world.get("/rfc", &[]).await;
    assert_eq!(world.get("/rfc", &[]).await.x_cache(), "HIT");
}

#[tokio::test]
async fn the_name_of_a_user_never_fills_an_entry_of_a_claimed_tenant() {
    let world = World::new(CONFIG, async |_| reply(200, &[("cache-control", "max-age=60")], "x"));
    world.get("/of-tenant", &[("x-user", "ann")]).await;
    let fill = world.seen().remove(0);
    assert_eq!(fill.header("x-user"), None);
}

#[tokio::test]
async fn an_answer_that_may_not_be_shared_answers_the_clients_own_request() {
    let world = World::new(CONFIG, async |request: Request<Body>| {
        let json = request.headers().get("accept").is_some_and(|v| v.as_bytes() == b"application/json");
        let tracked = request.uri().query().is_some();
        let own = json && tracked && request.headers().contains_key("x-mine");
        reply(200, &[("cache-control", "private")], if own { "own" } else { "somebody's" })
    });
    let fields = [("accept", "application/json"), ("x-mine", "1")];
    assert_eq!(world.get("/page?utm_source=a", &fields).await.text(), "own");
    // A request of which nothing was left out is answered by its fill: the application is asked once.
    let before = world.asked();
    let plain =
        [("accept-encoding", "gzip"), ("connection", "keep-alive"), ("x-forwarded-for", "198.51.100.1")];
    world.get("/page?other=1", &plain).await;
    assert_eq!(world.asked(), before + 1);
}

#[tokio::test]
async fn a_clients_credential_never_keeps_a_page_of_others_out_of_the_cache() {
    let world = World::new(CONFIG, async |_| reply(200, &[("cache-control", "max-age=60")], "x"));
    let of_ann = token(&serde_json::json!({ "sub": "ann" }));
    assert_eq!(world.get("/rfc", &[("authorization", &of_ann)]).await.x_cache(), "BYPASS");
    assert_eq!(world.get("/rfc", &[]).await.x_cache(), "MISS");
    assert_eq!(world.get("/rfc", &[]).await.x_cache(), "HIT");
}

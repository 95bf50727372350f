//! B1 and E8: no answer crosses tenants or users, however many ask at once and wherever their identity comes from.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::tokens::{JWT_SECRET, bearer};
use crate::support::{Client, Larder, Origin, Reply};
use bytes::Bytes;
use http::Request;
use serde_json::json;

/// Tells whom a page was computed for: what the application itself makes of the credentials that it sees.
fn personal() -> Origin {
    Origin::start(async |request: Request<Bytes>| {
        let field = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let session = field("cookie").and_then(|cookie| cookie.strip_prefix("session=").map(str::to_owned));
        let of_session =
            session.as_deref().and_then(|s| s.split_once('.')).map(|(t, u)| (t.to_owned(), u.to_owned()));
        if request.uri().path() == "/whoami" {
            let Some((tenant, user)) = of_session else { return Reply::status(401) };
            return Reply::ok("").header("x-told-tenant", tenant).header("x-told-user", user);
        }
        // Let others come in between: fills of many keys run at the same time.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let (tenant, user) = match (of_session, field("authorization").map(|token| claims(&token))) {
            (Some(both), _) | (None, Some(both)) => both,
            (None, None) => (field("x-tenant").unwrap_or("-".into()), field("x-user").unwrap_or("-".into())),
        };
        Reply::json(json!({ "tenant": tenant, "user": user, "path": request.uri().path() }).to_string())
    })
}

/// Tenant and user of a token, unverified.
fn claims(authorization: &str) -> (String, String) {
    let token = authorization.strip_prefix("Bearer ").unwrap();
    let claims = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(token).unwrap().claims;
    let text = |name: &str| claims[name].as_str().unwrap_or("-").to_owned();
    (text("tenant_id"), text("sub"))
}

const YAML: &str = "
origins: { app: { url: '{origin}' } }
identity:
  trusted_proxies: [127.0.0.1/32]
  jwt: { algorithms: [HS256], secret: { env: JWT_SECRET } }
  ask: { path: /whoami, tenant: X-Told-Tenant, user: X-Told-User, cookies: [session] }
  tenant: [{ jwt: tenant_id }, { header: X-Tenant }, { ask: tenant }, { host: '{tenant}.example.com' }]
  user: [{ jwt: sub }, { header: X-User }, { ask: user }, { cookie: claimed_user }]
tiers: { usual: { ttl: 1h }, own: {} }
routes:
  - { name: users, path: '/u/{*rest}', tier: usual, share: user }
  - { name: tenants, path: '/t/{*rest}', tier: usual, share: tenant }
  - { name: all, path: '/{*rest}' }
";

async fn larder(origin: &Origin) -> Larder {
    Larder::with(YAML).origin(origin).env("JWT_SECRET", JWT_SECRET).start().await
}

/// The fields that make somebody known in one of three ways, all verified.
fn credentials(way: usize, tenant: &str, user: &str) -> Vec<(&'static str, String)> {
    match way {
        0 => vec![("authorization", bearer(json!({ "tenant_id": tenant, "sub": user })))],
        1 => vec![("x-tenant", tenant.to_owned()), ("x-user", user.to_owned())],
        _ => vec![("cookie", format!("session={tenant}.{user}"))],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_no_answer_crosses_tenants_or_users_among_many_at_once() {
    let origin = personal();
    let larder = Arc::new(larder(&origin).await);
    let hits = Arc::new(AtomicUsize::new(0));
    let mut asking = Vec::new();
    for seed in 0..16_usize {
        let (larder, hits) = (larder.clone(), hits.clone());
        asking.push(tokio::spawn(async move {
            let client = Client::keep_alive();
            for step in 0..120 {
                // Every pair of tenant and user is asked for by several, in different orders.
                let mixed = (seed * 7 + step * 13) % 120;
                let (way, tenant, user) =
                    (mixed % 3, format!("tenant{}", mixed / 3 % 5), format!("user{}", mixed % 8));
                let by_user = step % 2 == 0;
                let path = format!("/{}/page{}", if by_user { "u" } else { "t" }, step % 3);
                let call = client.get(larder.url(&path));
                let fields = credentials(way, &tenant, &user);
                let answer =
                    fields.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await;
                let page = answer.json();
                let told = format!("{path} of {tenant} {user} by {way}: {page} {}", answer.cache_status());
                assert_eq!(page["tenant"], tenant.as_str(), "{told}");
                assert!(!by_user || page["user"] == user.as_str(), "{told}");
                assert_eq!(page["path"], path.as_str());
                assert_ne!(answer.x_cache(), "BYPASS", "{}", answer.cache_status());
                hits.fetch_add(usize::from(answer.x_cache() == "HIT"), Ordering::SeqCst);
            }
        }));
    }
    for task in asking {
        task.await.unwrap();
    }
    let hits = hits.load(Ordering::SeqCst);
    assert!(hits > 500, "only {hits} of 1920 were hits: this shows nothing");
}

#[tokio::test]
async fn b1_a_claimed_tenant_never_reads_or_fills_the_entry_of_a_verified_one_of_the_same_name() {
    let origin = personal();
    let larder = larder(&origin).await;
    let client = Client::keep_alive();
    let host = "acme.example.com";
    let token = bearer(json!({ "tenant_id": "acme", "sub": "ann" }));
    // Both orders: whoever comes first fills only for their own kind.
    for (page, claimed_first) in [("/t/one", true), ("/t/two", false)] {
        for turn in 0..4 {
            let claimed = (turn % 2 == 0) == claimed_first;
            let call = client.get(larder.url(page)).header("host", host);
            let call = if claimed { call } else { call.header("authorization", &token) };
            let answer = call.send().await;
            assert_eq!(answer.json()["user"], if claimed { "-" } else { "ann" }, "{page} turn {turn}");
            assert_eq!(answer.x_cache(), if turn < 2 { "MISS" } else { "HIT" }, "{page} turn {turn}");
        }
    }
}

#[tokio::test]
async fn b1_a_claimed_identity_is_filled_without_the_credentials_that_came_with_it() {
    let origin = personal();
    let larder = larder(&origin).await;
    // A cookie that the application knows somebody by, on a host that claims a tenant: the cookie does not go along.
    let call = Client::new().get(larder.url("/t/page")).header("host", "acme.example.com");
    let answer = call.header("cookie", "theme=dark; sid=mallory").header("x-extra", "1").send().await;
    assert_eq!(answer.x_cache(), "MISS", "{}", answer.cache_status());
    let seen = origin.last("/t/page");
    assert_eq!(
        (seen.header("cookie"), seen.header("authorization"), seen.header("x-extra")),
        (None, None, None)
    );
}

#[tokio::test]
async fn b1_two_verified_identities_that_disagree_are_refused() {
    let origin = personal();
    let larder = larder(&origin).await;
    let token = bearer(json!({ "tenant_id": "acme", "sub": "ann" }));
    let call = Client::new().get(larder.url("/t/page")).header("authorization", &token);
    let answer = call.header("x-tenant", "bolt").send().await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("identity_conflict"), "{}", answer.text());
    assert_eq!(origin.total(), 0);
}

#[tokio::test]
async fn e8_a_users_entry_holds_tenant_and_issuer_besides_the_name() {
    let origin = personal();
    let larder = larder(&origin).await;
    let client = Client::keep_alive();
    let tokens = [
        json!({ "tenant_id": "acme", "sub": "ann", "iss": "https://one.example" }),
        json!({ "tenant_id": "acme", "sub": "ann", "iss": "https://two.example" }),
        json!({ "tenant_id": "acme", "sub": "ann" }),
        json!({ "tenant_id": "bolt", "sub": "ann", "iss": "https://one.example" }),
        json!({ "tenant_id": "acme", "sub": "anna", "iss": "https://one.example" }),
        json!({ "sub": "ann", "iss": "https://one.example" }),
    ];
    for (number, claims) in tokens.iter().enumerate() {
        let call = client.get(larder.url("/u/prefs")).header("authorization", bearer(claims.clone()));
        assert_eq!(call.send().await.x_cache(), "MISS", "{claims}");
        assert_eq!(origin.count("/u/prefs"), number + 1, "{claims}");
    }
    // The same name by another way: a trusted proxy's field, and a cookie that anybody can set.
    let fields = [("x-tenant", "acme"), ("x-user", "ann")];
    let call = fields
        .iter()
        .fold(client.get(larder.url("/u/prefs")), |call, (name, value)| call.header(name, value));
    assert_eq!(call.send().await.x_cache(), "MISS");
    let call =
        client.get(larder.url("/u/prefs")).header("x-tenant", "acme").header("cookie", "claimed_user=ann");
    assert_eq!(call.send().await.x_cache(), "MISS");
    for claims in tokens {
        let call = client.get(larder.url("/u/prefs")).header("authorization", bearer(claims.clone()));
        assert_eq!(call.send().await.x_cache(), "HIT", "{claims}");
    }
}

#[tokio::test]
async fn e8_a_route_by_user_without_a_user_passes_and_is_nobodys_entry() {
    let origin = personal();
    let larder = larder(&origin).await;
    for _ in 0..2 {
        let answer = Client::new().get(larder.url("/u/prefs")).header("x-tenant", "acme").send().await;
        assert_eq!(answer.x_cache(), "BYPASS");
        assert!(answer.cache_status().contains("no-identity"), "{}", answer.cache_status());
    }
    assert_eq!(origin.count("/u/prefs"), 2);
}

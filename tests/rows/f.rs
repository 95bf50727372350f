//! F1 and F2: what selects an answer on a tier with a lifetime, and that nothing else of a request reaches the application.

use std::collections::BTreeMap;

use crate::support::tokens::{JWT_SECRET, bearer};
use crate::support::{Answer, Client, InProcess, Larder, Origin, Reply};
use bytes::Bytes;
use http::Request;
use serde_json::json;

const YAML: &str = "
origins: { app: { url: '{origin}' } }
identity:
  trusted_proxies: [127.0.0.1/32]
  jwt: { algorithms: [HS256], secret: { env: JWT_SECRET } }
  ask: { path: /whoami, tenant: X-Told-Tenant, user: X-Told-User, cookies: [session] }
  tenant: [{ jwt: tenant_id }, { header: X-Tenant }, { ask: tenant }, { host: '{tenant}.example.com' }]
  user: [{ jwt: sub }, { header: X-User }, { ask: user }, { cookie: name }]
  role: [{ jwt: role }, { header: X-Role }]
tiers: { usual: { ttl: 1h }, own: {} }
routes:
  - { name: role, path: /role, tier: usual, share: public, vary_on: [role] }
  - { name: language, path: /language, tier: usual, share: public, vary_on: [{ language: [en, de, pt-BR] }] }
  - { name: cookie, path: /cookie, tier: usual, share: public, vary_on: [{ cookie: theme }] }
  - { name: header, path: /header, tier: usual, share: public, vary_on: [{ header: X-Device }] }
  - { name: date, path: /date, tier: usual, share: public, vary_on: [{ date: Europe/Berlin }] }
  - { name: public, path: /public, tier: usual, share: public }
  - { name: tenant, path: /tenant, tier: usual, share: tenant }
  - { name: user, path: /user, tier: usual, share: user }
  - { name: many, path: /many, tier: usual, share: tenant, vary_on: [role, { cookie: theme }, { header: X-Device }, { language: [en, de] }] }
  - { name: own, path: /own, tier: own, share: public }
  - { name: all, path: '/{*rest}' }
";

fn app() -> Origin {
    Origin::start(async |request: Request<Bytes>| match request.uri().path() {
        "/whoami" => Reply::ok("").header("x-told-tenant", "acme").header("x-told-user", "ann"),
        _ => Reply::ok("a page").header("cache-control", "max-age=60"),
    })
}

async fn larder(origin: &Origin) -> Larder {
    Larder::with(YAML).origin(origin).env("JWT_SECRET", JWT_SECRET).start().await
}

async fn get(larder: &Larder, path: &str, fields: &[(&str, &str)]) -> Answer {
    let call = Client::new().get(larder.url(path));
    fields.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await
}

/// A path, a field, and its values, each with the number of the entry that it selects.
type Case = (&'static str, &'static str, &'static [(&'static str, usize)]);

#[tokio::test]
async fn f2_what_a_route_varies_on_selects_and_what_it_does_not_select_does_not() {
    let origin = app();
    let larder = larder(&origin).await;
    let cases: [Case; 6] = [
        ("/role", "x-role", &[("chief", 1), ("clerk", 2), ("chief", 1), ("Chief", 3)]),
        (
            "/language",
            "accept-language",
            &[
                ("de", 1),
                ("de-AT,fr;q=0.5", 1),
                ("en", 2),
                ("fr", 2),
                ("pt-BR", 3),
                ("de;q=0.1, en;q=0.9", 2),
            ],
        ),
        (
            "/cookie",
            "cookie",
            &[("theme=dark", 1), ("a=1; theme=dark; b=2", 1), ("theme=light", 2), ("a=1", 3), ("b=1", 3)],
        ),
        ("/header", "x-device", &[("phone", 1), ("desktop", 2), ("phone", 1)]),
        ("/date", "x-device", &[("phone", 1), ("desktop", 1)]),
        ("/public", "x-device", &[("phone", 1), ("desktop", 1)]),
    ];
    for (path, field, values) in cases {
        let mut known = 0;
        for (value, entry) in values {
            let answer = get(&larder, path, &[(field, value)]).await;
            let expected = if *entry > known { "MISS" } else { "HIT" };
            assert_eq!(answer.x_cache(), expected, "{path} {field}: {value}: {}", answer.cache_status());
            known = known.max(*entry);
        }
        assert_eq!(origin.count(path), known, "{path}");
    }
}

/// All that a browser and its extensions may send along.
const NOISE: [(&str, &str); 14] = [
    ("accept", "text/html,*/*;q=0.8"),
    ("accept-language", "de-DE,de;q=0.9"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("user-agent", "Mozilla/5.0"),
    ("referer", "http://elsewhere.example/"),
    ("x-requested-with", "XMLHttpRequest"),
    ("x-device", "phone"),
    ("x-csrftoken", "1234"),
    ("x-forwarded-host", "evil.example"),
    ("x-original-url", "/admin"),
    ("if-none-match", "\"x\""),
    ("cache-control", "no-cache"),
    ("x-larder-cache", "key"),
    ("dnt", "1"),
];

/// What the application receives of a request with all that noise, the same for everybody left out.
async fn received(
    origin: &Origin,
    larder: &Larder,
    path: &str,
    fields: &[(&str, &str)],
) -> BTreeMap<String, String> {
    let all: Vec<_> = NOISE.iter().chain(fields).copied().collect();
    let answer = get(larder, path, &all).await;
    assert_eq!(answer.x_cache(), "MISS", "{path} {fields:?}: {}", answer.cache_status());
    let seen = origin.last(path);
    let mut map = BTreeMap::new();
    for (name, value) in &seen.headers {
        let value = value.to_str().unwrap().to_owned();
        assert!(map.insert(name.as_str().to_owned(), value).is_none(), "{name} comes twice");
    }
    let host = fields.iter().find(|(name, _)| *name == "host").map_or(larder.authority(), |(_, value)| value);
    let always = [
        ("accept", "*/*".to_owned()),
        ("accept-encoding", map["accept-encoding"].clone()),
        ("forwarded", format!("proto=http;host=\"{host}\"")),
        ("host", host.to_owned()),
        ("surrogate-capability", "larder=\"Surrogate/1.0\"".to_owned()),
        ("user-agent", format!("larder/{}", env!("CARGO_PKG_VERSION"))),
        ("via", "1.1 larder".to_owned()),
        ("x-forwarded-host", host.to_owned()),
        ("x-forwarded-proto", "http".to_owned()),
    ];
    for (name, value) in always {
        assert_eq!(map.remove(name).as_deref(), Some(value.as_str()), "{path}: {name}");
    }
    map
}

#[tokio::test]
async fn f2_what_is_not_in_the_key_does_not_reach_the_application() {
    let origin = app();
    let larder = larder(&origin).await;
    let token = bearer(json!({ "tenant_id": "acme", "sub": "ann", "role": "chief" }));
    let token = token.as_str();
    let session = "theme=dark; session=1; csrftoken=2";
    let nothing: &[(&str, &str)] = &[];
    for (path, sent, expected) in [
        // Everybody's answer: no credential of any kind.
        ("/public", &[("authorization", token), ("cookie", session)][..], nothing),
        ("/role", &[("authorization", token), ("cookie", session)], nothing),
        ("/language", &[("cookie", session)], &[("accept-language", "de")]),
        ("/cookie", &[("authorization", token), ("cookie", session)], &[("cookie", "theme=dark")]),
        ("/header", &[("cookie", session)], &[("x-device", "phone")]),
        // Verified: the credential that became the identity, and that alone.
        ("/tenant", &[("authorization", token), ("cookie", "csrftoken=2")], &[("authorization", token)]),
        ("/user", &[("authorization", token), ("cookie", "csrftoken=2")], &[("authorization", token)]),
        ("/tenant", &[("x-tenant", "bolt"), ("x-user", "bea")], &[("x-tenant", "bolt")]),
        ("/user", &[("x-tenant", "bolt"), ("x-user", "bea")], &[("x-tenant", "bolt"), ("x-user", "bea")]),
        // Claimed: what was claimed is in the key; no credential comes along.
        ("/tenant", &[("host", "cara.example.com"), ("cookie", "theme=dark; other=2")], nothing),
        (
            "/user",
            &[("host", "cara.example.com"), ("cookie", "name=cid; other=2")],
            &[("cookie", "name=cid")],
        ),
        (
            "/many",
            &[("authorization", token), ("cookie", session)],
            &[
                ("accept-language", "de"),
                ("authorization", token),
                ("cookie", "theme=dark"),
                ("x-device", "phone"),
            ],
        ),
    ] {
        let seen = received(&origin, &larder, path, sent).await;
        let expected: BTreeMap<_, _> = expected.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        assert_eq!(seen, expected, "{path} with {sent:?}");
    }
}

#[tokio::test]
async fn f2_a_session_that_the_application_vouches_for_goes_along_alone() {
    let origin = app();
    let larder = larder(&origin).await;
    for path in ["/tenant", "/user"] {
        let seen = received(&origin, &larder, path, &[("cookie", "a=1; session=s; csrftoken=2")]).await;
        assert_eq!(seen, BTreeMap::from([("cookie".to_owned(), "session=s".to_owned())]), "{path}");
    }
}

#[tokio::test]
async fn f2_all_end_to_end_fields_reach_the_application_where_its_own_fields_decide() {
    let origin = app();
    let larder = larder(&origin).await;
    let fields = [
        ("x-device", "phone"),
        ("accept-language", "de-DE"),
        ("user-agent", "Mozilla/5.0"),
        ("cookie", "a=1"),
    ];
    get(&larder, "/own", &fields).await;
    let seen = origin.last("/own");
    for (name, value) in fields {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn f1_the_layer_gives_an_application_in_this_process_the_same() {
    use larder::http::Body;
    use tower::{Layer, ServiceExt, service_fn};
    let layer = larder::layer::CacheLayer::from_yaml(
        "
origins: { app: { url: 'http://127.0.0.1:1' } }
identity: { tenant: [{ host: '{tenant}.example.com' }] }
tiers: { usual: { ttl: 1h } }
routes: [{ name: all, path: '/{*rest}', tier: usual, share: tenant }]
",
    )
    .unwrap();
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = calls.clone();
    let service = layer.layer(service_fn(move |request: Request<Body>| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        std::future::ready(Ok::<_, std::io::Error>(http::Response::new(Body::from(host))))
    }));
    for (turn, word) in [(1, "MISS"), (2, "HIT")] {
        for tenant in ["acme", "bolt"] {
            let host = format!("{tenant}.example.com");
            let request = Request::get("/page").header("host", &host).body(Body::empty()).unwrap();
            let answer = service.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.headers()["x-cache"], word, "{tenant}, turn {turn}");
            let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
            assert_eq!(body, host.as_bytes());
        }
    }
    assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test]
async fn f2_tenant_user_and_route_each_have_their_own_answer() {
    let origin = app();
    let yaml = YAML.replace("{origin}", "http://127.0.0.1:1");
    let larder = InProcess::start_with(&yaml, &origin, 1_780_000_000, &[("JWT_SECRET", JWT_SECRET)]).await;
    let mut entries = 0;
    for path in ["/tenant", "/user"] {
        for (tenant, user) in [("acme", "ann"), ("acme", "adam"), ("bolt", "ann")] {
            let token = bearer(json!({ "tenant_id": tenant, "sub": user }));
            let answer = larder.ask(path, &[("authorization", &token)]).await;
            let shared = path == "/tenant" && user == "adam";
            assert_eq!(answer.x_cache(), if shared { "HIT" } else { "MISS" }, "{path} {tenant} {user}");
            entries += usize::from(!shared);
        }
    }
    assert_eq!(origin.total(), entries);
}

//! D6: log and answer say hit or miss, where from, and to staff under which key. D8: a tenant named in the query, and the
//! scope of super-administrators, with the configuration that is shipped for the CRM.

use crate::support::tokens::{JWT_SECRET, bearer};
use crate::support::{Answer, Client, InProcess, Larder, Origin, Reply};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

const CRM: &str = include_str!("../../config/examples/d-crm-node.yaml");
const NOON: u64 = 1_780_000_000;

const LOGGED: &str = "
origins: { app: { url: '{origin}' } }
identity:
  jwt: { algorithms: [HS256], secret: { env: JWT_SECRET } }
  tenant: [{ jwt: tenant_id }]
  role: [{ jwt: role }]
tiers: { usual: { ttl: 1h } }
choices: { roles: [staff] }
log: { format: {format} }
routes:
  - { name: bundle, path: /bundle, tier: usual, share: tenant, vary_on: [role] }
  - { name: rest, path: '/{*rest}' }
";

async fn logging(origin: &Origin, format: &str) -> Larder {
    let setup = Larder::with(LOGGED).origin(origin).put("format", format);
    setup.env("JWT_SECRET", JWT_SECRET).start().await
}

fn claims(tenant: &str, role: &str) -> Value {
    json!({ "tenant_id": tenant, "sub": "someone", "role": role })
}

#[tokio::test]
async fn d6_one_line_of_json_for_each_request_says_hit_or_miss_and_the_source() {
    let origin = Origin::constant(|| Reply::ok("x"));
    let mut larder = logging(&origin, "json").await;
    let staff = bearer(claims("acme", "staff"));
    for path in ["/bundle?a=1", "/bundle?a=1", "/elsewhere?token=private"] {
        Client::new().get(larder.url(path)).header("authorization", &staff).send().await;
    }
    larder.log("/elsewhere").await;
    let lines = larder.logs();
    let lines: Vec<Value> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, path, cache, reason, source) in [
        (&lines[0], "/bundle", "MISS", "absent", "origin"),
        (&lines[1], "/bundle", "HIT", "fresh", "memory"),
        (&lines[2], "/elsewhere", "BYPASS", "no-tier", "origin"),
    ] {
        let said = ["path", "cache", "reason", "source", "method", "host"]
            .map(|field| line[field].as_str().unwrap());
        assert_eq!(said, [path, cache, reason, source, "GET", larder.authority()], "{line}");
        assert!(line["ms"].as_f64().is_some() && line["status"] == 200 && line["time"].is_string(), "{line}");
    }
    assert_eq!((lines[1]["tenant"].as_str(), lines[1]["route"].as_str()), (Some("acme"), Some("bundle")));
    let key = lines[1]["key"].as_str().unwrap();
    assert!(
        key.contains("tenant:acme") && key.contains("route:bundle") && key.contains("role=staff"),
        "{key}"
    );
    let all = larder.logs().join("\n");
    assert!(!all.contains(staff.trim_start_matches("Bearer ")) && !all.contains("private"), "{all}");
}

#[tokio::test]
async fn d6_the_human_line_says_the_same() {
    let origin = Origin::constant(|| Reply::ok("x"));
    let mut larder = logging(&origin, "human").await;
    let staff = bearer(claims("acme", "staff"));
    for _ in 0..2 {
        Client::new().get(larder.url("/bundle")).header("authorization", &staff).send().await;
    }
    let miss = larder.log("MISS absent origin").await;
    let hit = larder.log("HIT fresh memory").await;
    for line in [miss, hit] {
        assert!(line.contains(&format!("200 GET {}/bundle", larder.authority())), "{line}");
        assert!(line.contains("route=bundle tenant=acme") && line.contains("key=\"tenant:acme"), "{line}");
    }
}

#[tokio::test]
async fn d6_the_answer_says_hit_or_miss_and_the_source_and_shows_the_key_to_staff_alone() {
    let origin = Origin::constant(|| Reply::ok("x"));
    let larder = logging(&origin, "json").await;
    let ask = async |role: &str, key: bool| {
        let call =
            Client::new().get(larder.url("/bundle")).header("authorization", bearer(claims("acme", role)));
        if key { call.header("x-larder-cache", "key") } else { call }.send().await
    };
    for (role, key) in [("staff", false), ("staff", true), ("clerk", true)] {
        let miss = if role == "clerk" || !key { Some(ask(role, key).await) } else { None };
        let hit = ask(role, key).await;
        if let Some(miss) = miss {
            let status = miss.cache_status();
            assert!(status.starts_with("Larder; fwd=uri-miss; fwd-status=200; stored"), "{status}");
            assert_eq!(miss.x_cache(), "MISS");
        }
        let status = hit.cache_status();
        assert!(status.starts_with("Larder; hit; ttl=") && status.contains("memory"), "{status}");
        assert_eq!((hit.x_cache(), hit.age().is_some()), ("HIT", true));
        assert!(hit.header("via").unwrap().contains("larder"));
        let shown = status.contains("key=\"tenant:acme route:bundle GET http://");
        assert_eq!(shown, role == "staff" && key, "{role} {key}: {status}");
    }
}

/// Tells which tenant's bundle was computed, as the CRM would: the parameter before the token.
fn crm() -> Origin {
    let number = std::sync::atomic::AtomicUsize::new(0);
    Origin::start(move |request: Request<Bytes>| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let token =
            request.headers()["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
        let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims;
        let query = request.uri().query().unwrap_or("").to_owned();
        let named = query.split('&').find_map(|pair| pair.strip_prefix("tenant_id=").map(str::to_owned));
        let tenant = named.or(claims["tenant_id"].as_str().map(str::to_owned)).unwrap_or("all".into());
        std::future::ready(Reply::json(json!({ "tenant": tenant, "number": number }).to_string()))
    })
}

const BUNDLE: &str = "/api/reports/dashboard-bundle";

async fn larder(origin: &Origin) -> InProcess {
    let env = [
        ("JWT_SECRET", JWT_SECRET),
        ("LARDER_ADMIN_TOKEN", "a token of an operator"),
        ("CRM_WEBHOOK_SECRET", "a secret of a sender"),
    ];
    InProcess::start_with(CRM, origin, NOON, &env).await
}

async fn bundle(larder: &InProcess, query: &str, claims: Value) -> Answer {
    larder.ask(&format!("{BUNDLE}{query}"), &[("authorization", &bearer(claims))]).await
}

#[tokio::test]
async fn d8_a_tenant_named_in_the_query_counts_only_where_the_credential_is_entitled_to_it() {
    let origin = crm();
    let larder = larder(&origin).await;
    let consultant = || json!({ "sub": "con", "role": "consultant", "tenant_ids": ["acme", "bolt"] });
    for tenant in ["acme", "bolt"] {
        let first = bundle(&larder, &format!("?tenant_id={tenant}"), consultant()).await;
        assert_eq!((first.x_cache(), first.json()["tenant"].as_str()), ("MISS", Some(tenant)));
        let again = bundle(&larder, &format!("?tenant_id={tenant}"), consultant()).await;
        assert_eq!((again.x_cache(), again.json()), ("HIT", first.json()));
        let admin = json!({ "sub": "root", "role": "superadmin" });
        let admin = bundle(&larder, &format!("?tenant_id={tenant}"), admin).await;
        assert_eq!(
            (admin.x_cache(), admin.json()["tenant"].as_str()),
            ("MISS", Some(tenant)),
            "another role"
        );
    }
    let before = origin.total();
    for (query, claims) in [
        ("?tenant_id=cara", consultant()),
        ("?tenant_id=bolt", json!({ "tenant_id": "acme", "sub": "ann", "role": "clerk" })),
        (
            "?tenant_id=bolt",
            json!({ "tenant_id": "acme", "sub": "ann", "role": "clerk", "tenant_ids": ["acme"] }),
        ),
        ("?tenant_id=SUPERADMIN_GLOBAL", consultant()),
    ] {
        let refused = bundle(&larder, query, claims.clone()).await;
        assert_eq!(refused.status, 403, "{query} {claims}: {}", refused.text());
    }
    assert_eq!(origin.total(), before, "the application was not asked");
}

#[tokio::test]
async fn d8_whoever_belongs_to_one_tenant_may_name_another_that_the_token_lists() {
    let origin = crm();
    let larder = larder(&origin).await;
    let claims =
        || json!({ "tenant_id": "acme", "sub": "ann", "role": "manager", "tenant_ids": ["acme", "bolt"] });
    let own = bundle(&larder, "", claims()).await;
    assert_eq!((own.x_cache(), own.json()["tenant"].as_str()), ("MISS", Some("acme")));
    let other = bundle(&larder, "?tenant_id=bolt", claims()).await;
    assert_eq!(
        (other.status.as_u16(), other.json()["tenant"].as_str()),
        (200, Some("bolt")),
        "{}",
        other.text()
    );
}

#[tokio::test]
async fn d8_the_global_scope_is_shared_with_no_tenant_not_even_one_of_its_name() {
    let origin = crm();
    let larder = larder(&origin).await;
    let admin = || json!({ "sub": "root", "role": "superadmin" });
    let global = bundle(&larder, "", admin()).await;
    assert_eq!((global.x_cache(), global.json()["tenant"].as_str()), ("MISS", Some("all")));
    assert_eq!(bundle(&larder, "", admin()).await.x_cache(), "HIT");
    let namesake = json!({ "tenant_id": "SUPERADMIN_GLOBAL", "sub": "eve", "role": "superadmin" });
    let namesake = bundle(&larder, "", namesake).await;
    assert_eq!((namesake.x_cache(), namesake.json()["tenant"].as_str()), ("MISS", Some("SUPERADMIN_GLOBAL")));
    let again = bundle(&larder, "", admin()).await;
    assert_eq!((again.x_cache(), again.json()), ("HIT", global.json()));
}

#[tokio::test]
async fn d8_every_purge_of_a_tenant_purges_the_global_scope_too() {
    let origin = crm();
    let larder = larder(&origin).await;
    let admin = || json!({ "sub": "root", "role": "superadmin" });
    let clerk = |tenant: &str| json!({ "tenant_id": tenant, "sub": "ann", "role": "clerk" });
    for claims in [admin(), clerk("acme"), clerk("bolt")] {
        bundle(&larder, "", claims.clone()).await;
        assert_eq!(bundle(&larder, "", claims).await.x_cache(), "HIT");
    }
    let write = Client::new().post(larder.url("/api/deals/7")).header("authorization", bearer(clerk("acme")));
    write.send().await;
    assert_eq!(bundle(&larder, "", clerk("acme")).await.x_cache(), "MISS");
    assert_eq!(bundle(&larder, "", clerk("bolt")).await.x_cache(), "HIT");
    assert_eq!(bundle(&larder, "", admin()).await.x_cache(), "MISS", "the global scope shows all tenants");
}

//! D4: `POST …/clear-cache` with the application's own bearer token, with the configuration that is shipped for the CRM.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail a test by a panic, as tests do

mod support;

use http::StatusCode;
use serde_json::json;
use support::events::signed;
use support::tokens::{JWT_SECRET, bearer};
use support::{Answer, InProcess, Origin, Reply};

const CRM: &str = include_str!("../config/examples/d-crm-node.yaml");
const NOON: u64 = 1_780_000_000;
const CLEAR: &str = "/api/reports/clear-cache";
const BUNDLE: &str = "/api/reports/dashboard-bundle";

struct Crm {
    larder: InProcess,
    origin: Origin,
}

fn member(tenant: &str) -> String {
    bearer(json!({ "sub": "ann", "tenant_id": tenant, "role": "clerk" }))
}

fn admin() -> String {
    bearer(json!({ "sub": "root", "role": "superadmin" }))
}

impl Crm {
    /// With the bundles of acme, of bolt and of the administrators' global scope in the cache.
    async fn open() -> Self {
        let origin = Origin::constant(|| Reply::json("{}"));
        let secret = "a secret that is only the tests'";
        let env =
            [("JWT_SECRET", JWT_SECRET), ("LARDER_ADMIN_TOKEN", secret), ("CRM_WEBHOOK_SECRET", secret)];
        let larder = InProcess::start_with(CRM, &origin, NOON, &env).await;
        let crm = Self { larder, origin };
        assert_eq!(crm.cleared().await, ["acme", "bolt", "global"]);
        assert_eq!(crm.cleared().await, [""; 0]);
        crm
    }

    /// Whose bundles are not in the cache any more, and are from now on.
    async fn cleared(&self) -> Vec<&'static str> {
        let mut cleared = Vec::new();
        for (name, token) in [("acme", member("acme")), ("bolt", member("bolt")), ("global", admin())] {
            let answer = self.larder.ask(BUNDLE, &[("authorization", &token)]).await;
            assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.text());
            if answer.x_cache() != "HIT" {
                cleared.push(name);
            }
        }
        cleared
    }

    async fn post(&self, token: &str, body: &str) -> Answer {
        self.larder.post(CLEAR).header("authorization", token).body(body.to_owned()).send().await
    }
}

#[tokio::test]
async fn d4_an_administrator_clears_everything_or_any_tenant() {
    let crm = Crm::open().await;
    for body in ["{}", "", r#"{"tenant_id": null}"#] {
        let answer = crm.post(&admin(), body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let receipt = answer.json();
        assert!(receipt["id"].is_string() && receipt["seq"].is_u64(), "{receipt}");
        assert_eq!(crm.cleared().await, ["acme", "bolt", "global"], "{body}");
    }
    // A tenant's purge covers the global scope too (D8).
    assert_eq!(crm.post(&admin(), r#"{"tenant_id": "bolt"}"#).await.status, StatusCode::OK);
    assert_eq!(crm.cleared().await, ["bolt", "global"]);
}

#[tokio::test]
async fn d4_everybody_else_clears_his_own_tenant_and_no_other() {
    let crm = Crm::open().await;
    for body in ["{}", "", r#"{"tenant_id": "acme"}"#] {
        assert_eq!(crm.post(&member("acme"), body).await.status, StatusCode::OK, "{body}");
        assert_eq!(crm.cleared().await, ["acme", "global"], "{body}");
    }
    for (token, status) in [
        (member("acme"), StatusCode::FORBIDDEN),
        (bearer(json!({ "sub": "ann", "role": "clerk" })), StatusCode::FORBIDDEN),
        (bearer(json!({ "sub": "ann", "tenant_id": "bolt", "exp": NOON - 3600 })), StatusCode::UNAUTHORIZED),
        (format!("{}x", member("bolt")), StatusCode::UNAUTHORIZED),
        ("Bearer opaque".into(), StatusCode::UNAUTHORIZED),
        ("Basic YTpi".into(), StatusCode::UNAUTHORIZED),
    ] {
        let answer = crm.post(&token, r#"{"tenant_id": "bolt"}"#).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let nobody = crm.larder.post(CLEAR).body("{}").send().await;
    assert_eq!(
        (nobody.status, nobody.header("www-authenticate")),
        (StatusCode::UNAUTHORIZED, Some("Bearer"))
    );
    assert_eq!(crm.cleared().await, [""; 0]);
    assert_eq!(crm.origin.count(CLEAR), 0, "the application never sees it");
}

#[tokio::test]
async fn d4_whatever_the_content_type_a_body_that_is_not_understood_clears_nothing() {
    let crm = Crm::open().await;
    for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
        let call =
            crm.larder.post(CLEAR).header("authorization", member("acme")).header("content-type", kind);
        assert_eq!(call.body(r#"{"tenant_id": "acme"}"#).send().await.status, StatusCode::OK, "{kind}");
    }
    crm.cleared().await;
    for (body, status) in
        [("tenant_id=acme", 400), ("[]", 422), (r#"{"tenant": "acme"}"#, 422), (r#"{"tenant_id": ""}"#, 422)]
    {
        assert_eq!(crm.post(&admin(), body).await.status.as_u16(), status, "{body}");
    }
    assert_eq!(crm.post(&admin(), &" ".repeat(20_000)).await.status.as_u16(), 413);
    assert_eq!(crm.cleared().await, [""; 0]);
}

#[tokio::test]
async fn d4_other_methods_on_the_path_are_the_applications() {
    let crm = Crm::open().await;
    crm.larder.ask(CLEAR, &[("authorization", &admin())]).await;
    assert_eq!(crm.origin.count(CLEAR), 1);
}

/// F4 and D1's application: its events purge its own tenant's bundle.
#[tokio::test]
async fn f4_the_crms_events_purge_its_bundle() {
    let crm = Crm::open().await;
    let body = json!({ "tenant": "acme", "model": "Deal", "action": "update", "id": 3 }).to_string();
    let call = crm.larder.post("/.larder/webhooks/crm-writes");
    let answer = signed(call, b"a secret that is only the tests'", "evt", NOON, &body).send().await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(crm.cleared().await, ["acme", "global"]);
}

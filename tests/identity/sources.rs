//! The order of sources, what is carried on and what is stripped, entitlements and scopes.

use http::Request;
use larder::config::{self, Entitled, PathPattern, Share, Source};
use larder::error::ErrorKind;
use larder::identity::Kind;
use proptest::prelude::*;
use serde_json::json;

use crate::support::*;

fn entitled(claim: Option<&str>, roles: &[&str]) -> Source {
    let roles = roles.iter().map(|r| (*r).to_owned()).collect();
    Source::Query {
        name: "tenant_id".into(),
        entitled: Some(Entitled { jwt: claim.map(str::to_owned), roles }),
    }
}

/// The CRM of REQUIREMENTS D: the tenant from the query where entitled, else the token's.
fn crm() -> config::Identity {
    config::Identity {
        tenant: vec![entitled(Some("tenant_ids"), &["superadmin"]), jwt("tenant_id")],
        scopes: vec![("superadmin".into(), "SUPERADMIN_GLOBAL".into())],
        ..by_token()
    }
}

fn admin() -> String {
    hs256(json!({"sub": "root", "role": "superadmin"}))
}

#[tokio::test]
async fn the_first_source_that_yields_wins_and_the_others_are_stripped() {
    let tenants =
        vec![jwt("tenant_id"), header("x-tenant"), cookie("tenant"), query("t"), host("{t}.shop.example")];
    let bench = Bench::new(&config::Identity { tenant: tenants, ..by_token() });
    let token = hs256(json!({"tenant_id": "acme", "sub": 7}));
    let request = || {
        bearer("/p?a=1&t=evil&b=2", &token)
            .header("cookie", "s=1; tenant=evil; u=2")
            .header("x-tenant", "acme")
    };
    let it = bench.at_once(request());
    assert_eq!((tenant(&it), user(&it)), (Some("acme"), Some("7")));
    assert!(!it.invalid && it.identity.is_verified() && it.generation.is_none());
    let mut on = parts(request());
    it.losers.strip(&mut on);
    assert_eq!(on.uri, "/p?a=1&b=2");
    assert_eq!(on.headers["cookie"], "s=1; u=2");
    assert!(!on.headers.contains_key("x-tenant"));
    assert!(on.headers.contains_key("authorization"));
    assert!(it.carries.all().authorization() && !it.carries.all().cookie(b"tenant"));
}

#[tokio::test]
async fn claimed_sources_name_a_claimed_tenant_and_are_carried_alone() {
    let path = PathPattern::parse("/t/{tenant}/{*rest}").unwrap();
    let tenants =
        vec![cookie("tenant"), query("t"), Source::Path(path, "tenant".into()), host("{t}.shop.example")];
    let bench = Bench::new(&config::Identity { tenant: tenants, ..Default::default() });
    let cases = [
        (get("/t/x/?t=q").header("cookie", "tenant=c"), "c"),
        (get("/t/x/?t=q%2Br"), "q+r"),
        (get("/t/a%62c/x"), "abc"),
        (get("/"), "acme"),
    ];
    for (request, expected) in cases {
        let it = bench.identify_at("acme.shop.example", request).await.unwrap();
        assert_eq!(tenant(&it), Some(expected));
        assert_eq!(it.identity.tenant.as_ref().unwrap().kind, Kind::Claimed);
        assert!(!it.carries.all().authorization() && !it.carries.all().all_cookies());
    }
    let none = bench.at_once(get("/"));
    assert_eq!((tenant(&none), none.invalid), (None, false));
}

#[tokio::test]
async fn an_empty_a_doubled_or_an_overlong_claim_is_no_identity_and_is_stripped() {
    let bench = Bench::new(&config::Identity { tenant: vec![cookie("t"), query("t")], ..Default::default() });
    let long = "x".repeat(257);
    for (cookies, target) in [
        ("t=", "/?t="),
        ("t=a; t=b", "/?t=a&%74=b"),
        ("t=a; t=a", "/?t=a&t=a"),
        (&*format!("t={long}"), &*format!("/?t={long}")),
        ("t=\u{9}", "/?t=a%0ab"),
        ("t=", "/?t=%ff"),
    ] {
        let request = || get(target).header("cookie", format!("s=1; {cookies}"));
        let it = bench.at_once(request());
        assert_eq!((tenant(&it), it.invalid), (None, false), "{cookies} {target}");
        let mut on = parts(request());
        it.losers.strip(&mut on);
        assert_eq!((on.uri.to_string(), &on.headers["cookie"]), ("/".to_owned(), &"s=1".parse().unwrap()));
    }
}

#[tokio::test]
async fn a_verified_user_does_not_make_a_claimed_tenant_a_verified_one() {
    let bench = Bench::new(&config::Identity { tenant: vec![host("{t}.shop.example")], ..by_token() });
    let request = bearer("/", &hs256(json!({"tenant_id": "acme", "sub": "ann"})));
    let it = bench.identify_at("rival.shop.example", request).await.unwrap();
    assert_eq!((tenant(&it), it.identity.tenant.as_ref().unwrap().kind), (Some("rival"), Kind::Claimed));
    assert_eq!(it.identity.user.as_ref().unwrap().kind, Kind::Verified);
    assert!(!it.carries.for_key(Share::Tenant, false).authorization());
    assert!(it.carries.for_key(Share::User, false).authorization());
}

#[tokio::test]
async fn two_verified_sources_that_disagree_are_refused_and_two_that_agree_are_not() {
    let bench =
        Bench::new(&config::Identity { tenant: vec![jwt("tenant_id"), header("x-tenant")], ..by_token() });
    let token = hs256(json!({"tenant_id": "acme"}));
    let refused = bench.identify(bearer("/", &token).header("x-tenant", "rival")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::IdentityConflict);
    assert_eq!(refused.kind().status(), 400);
    assert_eq!(tenant(&bench.at_once(bearer("/", &token).header("x-tenant", "acme"))), Some("acme"));
    assert_eq!(tenant(&bench.at_once(bearer("/", &token).header("x-tenant", ""))), Some("acme"));
    assert_eq!(tenant(&bench.at_once(get("/").header("x-tenant", "rival"))), Some("rival"));
}

#[tokio::test]
async fn a_trusted_field_that_is_doubled_or_unreadable_gives_no_identity_at_all() {
    let bench = Bench::new(&config::Identity {
        tenant: vec![header("x-tenant"), host("{t}.example")],
        ..Default::default()
    });
    let long = "x".repeat(257);
    for request in [
        get("/").header("x-tenant", "a").header("x-tenant", "a"),
        get("/").header("x-tenant", long),
        get("/").header("x-tenant", b"\xff".as_slice()),
    ] {
        let it = bench.identify_at("acme.example", request).await.unwrap();
        assert!(it.invalid && tenant(&it).is_none() && it.losers.is_empty() && it.carries.all().is_empty());
    }
}

#[tokio::test]
async fn a_doubled_authorization_is_refused() {
    let bench = Bench::new(&by_token());
    let token = hs256(json!({"sub": "ann"}));
    let request = bearer("/", &token).header("authorization", format!("Bearer {token}"));
    assert_eq!(bench.identify(request).await.unwrap_err().kind(), ErrorKind::BadRequest);
}

#[tokio::test]
async fn basic_credentials_are_no_token() {
    let bench = Bench::new(&config::Identity { tenant: vec![jwt("tenant_id"), query("t")], ..by_token() });
    let it = bench.at_once(get("/?t=x").header("authorization", "Basic YTpi"));
    assert_eq!((tenant(&it), it.invalid), (Some("x"), false));
    let mut on = parts(get("/?t=x").header("authorization", "Basic YTpi"));
    it.losers.strip(&mut on);
    assert!(on.headers.contains_key("authorization"));
}

#[tokio::test]
async fn one_name_of_two_issuers_is_two_users() {
    let bench = Bench::new(&by_token());
    let users: Vec<_> = [
        json!({"sub": "1", "iss": "https://a"}),
        json!({"sub": "1", "iss": "https://b"}),
        json!({"sub": "1", "iss": "ask"}),
        json!({"sub": "1", "iss": "jwt:ask"}),
        json!({"sub": "1"}),
    ]
    .into_iter()
    .map(|claims| bench.at_once(bearer("/", &hs256(claims))).identity.user.unwrap())
    .collect();
    assert_eq!(&*users[0].issuer, "https://a");
    for (i, one) in users.iter().enumerate() {
        assert_ne!(&*one.issuer, "ask");
        assert!(users[..i].iter().all(|other| other != one));
    }
}

#[tokio::test]
async fn d8_the_tenant_of_the_query_is_verified_where_the_credential_is_entitled_to_it() {
    let bench = Bench::new(&crm());
    let token = hs256(json!({"tenant_id": "home", "tenant_ids": ["acme", 42], "sub": "ann"}));
    for (target, expected) in [("/?tenant_id=acme", "acme"), ("/?tenant%5Fid=42", "42"), ("/", "home")] {
        let it = bench.at_once(bearer(target, &token));
        assert_eq!(tenant(&it), Some(expected));
        assert_eq!(it.identity.tenant.as_ref().unwrap().kind, Kind::Verified);
        let carried = it.carries.for_key(Share::Tenant, false);
        assert!(carried.authorization());
        assert_eq!(carried.query("tenant_id"), target != "/");
        let mut on = parts(bearer(target, &token));
        it.losers.strip(&mut on);
        assert_eq!(on.uri, target);
    }
    let one = bench.at_once(bearer("/?tenant_id=acme", &hs256(json!({"tenant_ids": "acme"}))));
    assert_eq!(tenant(&one), Some("acme"));
}

#[tokio::test]
async fn d8_where_the_token_comes_first_the_parameter_is_stripped_or_forbidden() {
    let tenants = vec![jwt("tenant_id"), entitled(Some("tenant_ids"), &[]), header("x-tenant")];
    let bench = Bench::new(&config::Identity { tenant: tenants, ..by_token() });
    let token = hs256(json!({"tenant_id": "home", "tenant_ids": ["acme"]}));
    let it = bench.at_once(bearer("/?tenant_id=acme", &token));
    let mut on = parts(bearer("/?tenant_id=acme", &token));
    it.losers.strip(&mut on);
    assert_eq!((tenant(&it), on.uri.to_string()), (Some("home"), "/".to_owned()));
    assert_eq!(tenant(&bench.at_once(bearer("/?tenant_id=home", &token))), Some("home"));
    let forbidden = bench.identify(bearer("/?tenant_id=rival", &token)).await.unwrap_err();
    assert_eq!(forbidden.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn d8_a_tenant_that_the_credential_is_not_entitled_to_is_forbidden() {
    let bench = Bench::new(&crm());
    for request in [
        bearer("/?tenant_id=rival", &hs256(json!({"tenant_ids": ["acme"], "sub": "ann"}))),
        bearer("/?tenant_id=rival", &hs256(json!({"sub": "ann", "role": "admin"}))),
        get("/?tenant_id=rival"),
    ] {
        let refused = bench.identify(request).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Forbidden);
    }
}

#[tokio::test]
async fn d8_an_entitled_parameter_that_comes_twice_is_refused_in_every_spelling() {
    let bench = Bench::new(&crm());
    for target in ["/?tenant_id=a&tenant_id=b", "/?tenant_id=a&tenant%5fid=b", "/?tenant_id=%ff"] {
        let refused = bench.identify(bearer(target, &admin())).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::BadRequest, "{target}");
    }
}

#[tokio::test]
async fn d8_a_super_administrator_without_a_tenant_gets_the_global_scope() {
    let bench = Bench::new(&crm());
    let it = bench.at_once(bearer("/", &admin()));
    let scope = it.identity.tenant.clone().unwrap();
    assert_eq!((&*scope.name, scope.kind, scope.scope), ("SUPERADMIN_GLOBAL", Kind::Verified, true));
    assert!(it.carries.for_key(Share::Tenant, false).authorization());
    let named = bench.at_once(bearer("/?tenant_id=acme", &admin()));
    assert_eq!((tenant(&named), role(&named)), (Some("acme"), Some("superadmin")));
    assert!(!named.identity.tenant.unwrap().scope);
    let empty = bench.at_once(bearer("/?tenant_id=", &admin()));
    assert!(empty.identity.tenant.unwrap().scope);
}

#[tokio::test]
async fn d8_a_tenant_named_like_the_scope_is_not_the_scope() {
    let bench = Bench::new(&crm());
    let scope = bench.at_once(bearer("/", &admin())).identity.tenant;
    let named = bench.at_once(bearer("/?tenant_id=SUPERADMIN_GLOBAL", &admin())).identity.tenant;
    assert_eq!(scope.as_ref().unwrap().name, named.as_ref().unwrap().name);
    assert_ne!(scope, named);
}

#[tokio::test]
async fn d8_a_claimed_role_has_neither_scope_nor_entitlement() {
    let bench = Bench::new(&config::Identity { role: vec![cookie("role")], ..crm() });
    let as_admin = |target| get(target).header("cookie", "role=superadmin");
    let it = bench.at_once(as_admin("/"));
    assert_eq!((role(&it), tenant(&it)), (Some("superadmin"), None));
    assert_eq!(it.identity.verified_role(), None);
    let refused = bench.identify(as_admin("/?tenant_id=acme")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
}

#[test]
fn without_sources_there_is_no_identity_and_nothing_to_wait_for() {
    let bench = Bench::new(&config::Identity::default());
    let it = bench.at_once(get("/").header("authorization", "Bearer x").header("authorization", "y"));
    assert!(!it.invalid && it.identity == larder::identity::Identity::default() && it.losers.is_empty());
}

#[test]
fn a_source_without_its_configuration_is_an_error_of_the_configuration() {
    let clock = larder::clock::Clock::system();
    let bench = Bench::new(&config::Identity::default());
    for source in [jwt("sub"), Source::Ask] {
        let config = config::Identity { user: vec![source], ..Default::default() };
        let made = larder::proxy::identify::Identifier::new(
            &config,
            clock.clone(),
            bench.origin.clone(),
            bench.keys.clone(),
        );
        assert!(made.is_err());
    }
}

proptest! {
    #[test]
    fn whatever_comes_nothing_panics_and_nothing_is_verified_without_proof(
        fields in proptest::collection::vec(
            (prop_oneof![Just("authorization"), Just("cookie"), Just("x-other")], "(Bearer |t=|token=)?[!-~ ;=.]{0,30}"), 0..5),
        query in "(t|tenant_id|%74|[a-z=&%+0-9]){0,12}",
    ) {
        let mut config = crm();
        config.tenant.extend([cookie("t"), query_source()]);
        let bench = Bench::new(&config);
        let mut request = Request::get(format!("/?{query}"));
        for (name, value) in &fields {
            request = request.header(*name, value.as_str());
        }
        if let larder::proxy::identify::Step::Done(it) = bench.id.identify(&parts(request), "h", bench.clock.now()) {
            prop_assert!(!it.identity.is_verified());
            prop_assert!(!it.invalid || tenant(&it).is_none());
        }
    }
}

fn query_source() -> Source {
    query("t")
}

//! Tokens: algorithms and keys, attacks on them, times, issuers, audiences, cookies.

use jsonwebtoken::{Algorithm, EncodingKey};
use larder::config::{self, JwtAlgorithm, JwtMaterial};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::*;

fn with_keys(keys: Vec<config::JwtKey>) -> Bench {
    Bench::new(&config::Identity { jwt: Some(jwt_config(keys)), ..by_token() })
}

fn public(pem: &str) -> JwtMaterial {
    JwtMaterial::Pem(pem.as_bytes().into())
}

fn ann() -> Value {
    claims(json!({"sub": "ann", "tenant_id": "acme"}))
}

/// Whether the token gives an identity; if it does not, it is invalid.
fn holds(bench: &Bench, token: &str) -> bool {
    let it = bench.at_once(bearer("/", token));
    assert_eq!(it.invalid, user(&it).is_none());
    assert_eq!(it.invalid, tenant(&it).is_none());
    !it.invalid
}

/// A token of this head and these claims, signed by nobody.
fn unsigned(head: &Value, signature: &str) -> String {
    let part = |json: &Value| base64(json.to_string().as_bytes(), b"-_");
    format!("{}.{}.{signature}", part(head), part(&ann()))
}

#[test]
fn every_algorithm_verifies_with_its_own_key() {
    use JwtAlgorithm as A;
    let (ec_public, ec) = new_ec();
    let (rsa_public, rsa) = rsa();
    let bench = with_keys(vec![
        key(&[A::HS256, A::HS384, A::HS512], None, shared()),
        key(&[A::RS256, A::RS384, A::RS512], None, public(rsa_public)),
        key(&[A::ES256], None, public(&ec_public)),
    ]);
    let secret = EncodingKey::from_secret(SECRET);
    for (algorithm, key) in [
        (Algorithm::HS256, &secret),
        (Algorithm::HS384, &secret),
        (Algorithm::HS512, &secret),
        (Algorithm::RS256, rsa),
        (Algorithm::RS384, rsa),
        (Algorithm::RS512, rsa),
        (Algorithm::ES256, &ec),
    ] {
        assert!(holds(&bench, &sign(algorithm, None, key, &ann())), "{algorithm:?}");
    }
    assert!(!holds(&bench, &sign(Algorithm::PS256, None, rsa, &ann())));
}

#[test]
fn a_token_without_a_signature_never_holds() {
    let bench = with_keys(vec![key(&[JwtAlgorithm::HS256], None, shared())]);
    for head in [json!({"alg": "none"}), json!({"alg": "None"}), json!({}), json!({"alg": "HS256"})] {
        assert!(!holds(&bench, &unsigned(&head, "")), "{head}");
    }
}

#[test]
fn a_public_key_is_never_taken_for_an_hmac_secret() {
    let (public_pem, _) = rsa();
    let forged = |key: &[u8]| sign(Algorithm::HS256, None, &EncodingKey::from_secret(key), &ann());
    let only_rsa = with_keys(vec![key(&[JwtAlgorithm::RS256], None, public(public_pem))]);
    let both = with_keys(vec![
        key(&[JwtAlgorithm::RS256], None, public(public_pem)),
        key(&[JwtAlgorithm::HS256], None, shared()),
    ]);
    for bench in [only_rsa, both] {
        assert!(!holds(&bench, &forged(public_pem.as_bytes())));
        assert!(!holds(&bench, &forged(public_pem.trim_end().as_bytes())));
    }
}

#[test]
fn a_key_verifies_only_the_algorithms_it_is_configured_for() {
    let (public_pem, private) = rsa();
    let bench = with_keys(vec![key(&[JwtAlgorithm::RS512], None, public(public_pem))]);
    assert!(holds(&bench, &sign(Algorithm::RS512, None, private, &ann())));
    assert!(!holds(&bench, &sign(Algorithm::RS256, None, private, &ann())));
}

#[test]
fn a_key_id_selects_its_own_key_and_no_other() {
    let (a_public, a) = new_ec();
    let (b_public, b) = new_ec();
    let es256 = [JwtAlgorithm::ES256];
    let bench =
        with_keys(vec![key(&es256, Some("a"), public(&a_public)), key(&es256, Some("b"), public(&b_public))]);
    let token = |kid, key| sign(Algorithm::ES256, kid, key, &ann());
    assert!(holds(&bench, &token(Some("a"), &a)));
    assert!(holds(&bench, &token(Some("b"), &b)));
    for kid in [Some("b"), Some("c"), Some(""), None] {
        assert!(!holds(&bench, &token(kid, &a)), "{kid:?}");
    }
}

#[test]
fn a_token_with_a_critical_extension_is_invalid() {
    let bench = with_keys(vec![key(&[JwtAlgorithm::HS256], None, shared())]);
    let mut head = jsonwebtoken::Header::new(Algorithm::HS256);
    let secret = EncodingKey::from_secret(SECRET);
    assert!(holds(&bench, &jsonwebtoken::encode(&head, &ann(), &secret).unwrap()));
    head.crit = Some(vec!["b64".into()]);
    assert!(!holds(&bench, &jsonwebtoken::encode(&head, &ann(), &secret).unwrap()));
}

#[test]
fn a_changed_token_does_not_hold_even_after_the_true_one_did() {
    let bench = Bench::new(&by_token());
    let token = hs256(json!({"sub": "ann", "tenant_id": "acme"}));
    assert!(holds(&bench, &token));
    let (head, signature) = (token.split('.').next().unwrap(), token.rsplit('.').next().unwrap());
    let other = base64(claims(json!({"sub": "bob", "tenant_id": "acme"})).to_string().as_bytes(), b"-_");
    assert!(!holds(&bench, &format!("{head}.{other}.{signature}")));
    assert!(!holds(&bench, &token[..token.len() - 1]));
    assert!(!holds(&bench, &format!("{token}.")));
}

fn times(claims: Value) -> String {
    sign(Algorithm::HS256, None, &EncodingKey::from_secret(SECRET), &claims)
}

#[test]
fn a_token_ends_at_its_time_and_leeway_though_it_is_remembered() {
    let bench = Bench::new(&by_token());
    let token = times(json!({"sub": "ann", "tenant_id": "acme", "exp": START + 100}));
    assert!(holds(&bench, &token));
    bench.advance(109);
    assert!(holds(&bench, &token));
    bench.advance(1);
    assert!(!holds(&bench, &token));
    assert!(!holds(&bench, &token));
}

#[test]
fn times_that_do_not_admit_a_token_now_make_it_invalid() {
    let bench = Bench::new(&by_token());
    let token = |time: Value| {
        let mut claims = json!({"sub": "ann", "tenant_id": "acme"});
        claims.as_object_mut().unwrap().extend(time.as_object().unwrap().clone());
        times(claims)
    };
    for admitted in [
        json!({"exp": START + 1}),
        json!({"exp": START as f64 + 1.5}),
        json!({"exp": START - 9}),
        json!({"exp": u64::MAX}),
        json!({"exp": START + 1, "nbf": START + 10}),
    ] {
        assert!(holds(&bench, &token(admitted.clone())), "{admitted}");
    }
    for refused in [
        json!({}),
        json!({"exp": START - 10}),
        json!({"exp": "never"}),
        json!({"exp": null}),
        json!({"exp": -1}),
        json!({"exp": 1e300}),
        json!({"exp": START + 1, "nbf": START + 11}),
        json!({"exp": START + 1, "nbf": "now"}),
    ] {
        assert!(!holds(&bench, &token(refused.clone())), "{refused}");
    }
}

#[test]
fn issuer_and_audience_are_required_where_they_are_configured() {
    let mut jwt = jwt_config(vec![key(&[JwtAlgorithm::HS256], None, shared())]);
    (jwt.issuer, jwt.audience) = (vec!["https://us".into()], vec!["shop".into(), "crm".into()]);
    let strict = Bench::new(&config::Identity { jwt: Some(jwt), ..by_token() });
    let open = Bench::new(&by_token());
    let token = |iss: Value, aud: Value| hs256(json!({"sub": "a", "tenant_id": "t", "iss": iss, "aud": aud}));
    for (iss, aud, fits) in [
        (json!("https://us"), json!("crm"), true),
        (json!("https://us"), json!(["x", "shop"]), true),
        (json!("https://them"), json!("crm"), false),
        (json!("https://us"), json!(["x"]), false),
        (json!("https://us"), json!(null), false),
        (json!(["https://us"]), json!("crm"), false),
        (json!(null), json!("crm"), false),
    ] {
        assert_eq!(holds(&strict, &token(iss.clone(), aud.clone())), fits, "{iss} {aud}");
        assert!(holds(&open, &token(iss, aud)));
    }
    assert!(!holds(&strict, &hs256(json!({"sub": "a", "tenant_id": "t"}))));
}

#[test]
fn an_invalid_token_stops_the_search_and_strips_nothing() {
    let sources = vec![query("t"), jwt("tenant_id"), cookie("t")];
    let bench = Bench::new(&config::Identity { tenant: sources, ..by_token() });
    for value in ["Bearer", "Bearer ", "bearer opaque", "Bearer a.b.c", "BEARER\ta.b.c"] {
        let it = bench.at_once(get("/?t=x").header("authorization", value).header("cookie", "t=y"));
        assert!(it.invalid && it.losers.is_empty(), "{value}");
        assert_eq!(it.identity, larder::identity::Identity::default());
    }
}

#[test]
fn a_token_in_the_cookie_counts_where_there_is_no_bearer() {
    let bench = Bench::new(&by_token());
    let (ann, bob) = (hs256(json!({"sub": "ann"})), hs256(json!({"sub": "bob"})));
    let it = bench.at_once(get("/").header("cookie", format!("a=1; token={ann}")));
    assert_eq!(user(&it), Some("ann"));
    assert!(it.carries.all().cookie(b"token") && !it.carries.all().authorization());
    let both = || bearer("/", &bob).header("cookie", format!("a=1; token={ann}"));
    let it = bench.at_once(both());
    assert_eq!(user(&it), Some("bob"));
    let mut on = parts(both());
    it.losers.strip(&mut on);
    assert_eq!(on.headers["cookie"], "a=1");
    let empty = bench.at_once(get("/").header("cookie", "token="));
    assert!(!empty.invalid && user(&empty).is_none());
    let twice = bench.at_once(get("/").header("cookie", format!("token={ann}; token={ann}")));
    assert!(twice.invalid);
}

#[test]
fn a_claim_that_cannot_be_a_name_makes_a_verified_identity_invalid_or_absent() {
    let bench = Bench::new(&by_token());
    for unusable in [json!("a\nb"), json!("x".repeat(257))] {
        assert!(bench.at_once(bearer("/", &hs256(json!({"sub": unusable})))).invalid);
    }
    for absent in [json!(true), json!(null), json!(""), json!(["ann"]), json!(1.5)] {
        let it = bench.at_once(bearer("/", &hs256(json!({"sub": absent}))));
        assert!(!it.invalid && user(&it).is_none());
    }
}

proptest! {
    #[test]
    fn no_text_is_a_token_by_chance(token in "[A-Za-z0-9_.=-]{0,80}") {
        let bench = Bench::new(&by_token());
        let it = bench.at_once(bearer("/", &token));
        prop_assert!(it.invalid);
    }
}

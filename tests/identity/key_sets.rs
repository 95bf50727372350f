//! Key sets behind URLs: first use, rotation, failure, abuse; and the fetcher itself over a real socket.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, EncodingKey};
use larder::config::{self, JwtAlgorithm};
use larder::proxy::identify::jwks_http::JwksHttp;
use larder::proxy::identify::{FetchJwks, Step};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

fn bench(documents: Vec<Option<Value>>) -> Bench {
    let keys = vec![key(&[JwtAlgorithm::ES256, JwtAlgorithm::RS256], None, jwks())];
    let bench = Bench::new(&config::Identity { jwt: Some(jwt_config(keys)), ..by_token() });
    *bench.keys.documents.lock().unwrap() = documents.into();
    bench
}

fn set(keys: &[(&str, &EncodingKey)]) -> Option<Value> {
    let keys: Vec<_> = keys.iter().map(|(kid, key)| jwk(Some(kid), key, Algorithm::ES256)).collect();
    Some(json!({ "keys": keys }))
}

fn token(kid: Option<&str>, key: &EncodingKey) -> String {
    sign(Algorithm::ES256, kid, key, &claims(json!({"sub": "ann", "tenant_id": "acme"})))
}

async fn holds(bench: &Bench, token: &str) -> bool {
    let it = bench.identify(bearer("/", token)).await.unwrap();
    assert_eq!(it.invalid, user(&it).is_none());
    !it.invalid
}

/// Waits until the background fetch is over.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_set_is_fetched_once_at_first_use_however_many_ask() {
    let (_, key) = new_ec();
    let bench = Arc::new(bench(vec![set(&[("a", &key)])]));
    assert_eq!(bench.fetched(), 0);
    let token = token(Some("a"), &key);
    let waiting: Vec<_> = (0..1_000)
        .map(|_| {
            let (bench, token) = (bench.clone(), token.clone());
            tokio::spawn(async move { holds(&bench, &token).await })
        })
        .collect();
    for one in waiting {
        assert!(one.await.unwrap());
    }
    assert_eq!(bench.fetched(), 1);
    bench.at_once(bearer("/", &token));
}

#[tokio::test]
async fn an_rsa_set_and_a_token_without_a_key_id_work_too() {
    let (_, private) = rsa();
    let bench = bench(vec![Some(json!({"keys": [jwk(None, private, Algorithm::RS256)]}))]);
    let claims = claims(json!({"sub": "ann", "tenant_id": "acme"}));
    assert!(holds(&bench, &sign(Algorithm::RS256, None, private, &claims)).await);
    assert!(holds(&bench, &sign(Algorithm::RS256, Some("x"), private, &claims)).await);
    assert!(!holds(&bench, &sign(Algorithm::RS512, None, private, &claims)).await);
}

#[tokio::test]
async fn an_unknown_key_id_fetches_anew_at_most_every_ten_seconds() {
    let ((_, old), (_, new), (_, foreign)) = (new_ec(), new_ec(), new_ec());
    let bench = bench(vec![set(&[("old", &old)]), set(&[("old", &old)]), set(&[("new", &new)])]);
    assert!(holds(&bench, &token(Some("old"), &old)).await);
    for _ in 0..50 {
        assert!(!holds(&bench, &token(Some("new"), &new)).await);
    }
    assert_eq!(bench.fetched(), 1);
    bench.advance(10);
    assert!(!holds(&bench, &token(Some("new"), &new)).await);
    assert_eq!(bench.fetched(), 2);
    bench.advance(10);
    assert!(holds(&bench, &token(Some("new"), &new)).await);
    assert_eq!(bench.fetched(), 3);
    assert!(!holds(&bench, &token(Some("new"), &foreign)).await);
}

#[tokio::test]
async fn a_key_that_left_the_set_takes_its_remembered_tokens_with_it() {
    let ((_, old), (_, new)) = (new_ec(), new_ec());
    let bench = bench(vec![set(&[("old", &old)]), set(&[("new", &new)])]);
    let remembered = token(Some("old"), &old);
    assert!(holds(&bench, &remembered).await);
    bench.advance(300);
    assert!(holds(&bench, &remembered).await, "the refresh is behind the request's back");
    settle().await;
    assert_eq!(bench.fetched(), 2);
    assert!(!holds(&bench, &remembered).await);
    assert!(holds(&bench, &token(Some("new"), &new)).await);
}

#[tokio::test]
async fn a_failing_fetch_keeps_the_last_good_set() {
    let (_, key) = new_ec();
    let bad = [None, Some(json!({"keys": []})), Some(json!("no set"))];
    for bad in bad {
        let bench = bench(vec![set(&[("a", &key)]), bad]);
        assert!(holds(&bench, &token(Some("a"), &key)).await);
        for _ in 0..5 {
            bench.advance(300);
            assert!(holds(&bench, &token(Some("a"), &key)).await);
            settle().await;
        }
        assert!(bench.fetched() >= 5);
    }
}

#[tokio::test]
async fn without_any_set_a_token_is_invalid_and_the_server_is_left_in_peace() {
    let (_, key) = new_ec();
    let bench = bench(vec![None]);
    for _ in 0..50 {
        assert!(!holds(&bench, &token(Some("a"), &key)).await);
    }
    assert_eq!(bench.fetched(), 1);
}

#[tokio::test]
async fn a_secret_in_a_set_is_never_a_key() {
    let oct = json!({"kty": "oct", "k": base64(SECRET, b"-_"), "kid": "a", "alg": "HS256"});
    let keys = vec![key(&[JwtAlgorithm::HS256], None, jwks())];
    let bench = Bench::new(&config::Identity { jwt: Some(jwt_config(keys)), ..by_token() });
    bench.keys.documents.lock().unwrap().push_back(Some(json!({ "keys": [oct] })));
    assert!(!holds(&bench, &hs256(json!({"sub": "ann", "tenant_id": "acme"}))).await);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_the_fetch_for_the_others() {
    let (_, key) = new_ec();
    let bench = bench(vec![set(&[("a", &key)])]);
    let token = token(Some("a"), &key);
    let Step::Later(first) = bench.id.identify(&parts(bearer("/", &token)), "h", bench.clock.now()) else {
        panic!()
    };
    let leaver = tokio::spawn(first);
    tokio::task::yield_now().await;
    leaver.abort();
    assert!(holds(&bench, &token).await);
    assert_eq!(bench.fetched(), 1);
}

/// Answers one request with these bytes.
async fn serve(answer: Vec<u8>) -> http::Uri {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        let _ = socket.read(&mut head).await;
        let _ = socket.write_all(&answer).await;
    });
    url
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nlocation: http://h/\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn the_fetcher_takes_a_whole_answer_of_at_most_a_mebibyte_and_follows_nothing() {
    let fetcher = JwksHttp::new().unwrap();
    let full = vec![b'x'; 1024 * 1024];
    assert_eq!(fetcher.fetch(&serve(answer("200 OK", b"{}")).await).await.unwrap(), "{}");
    assert_eq!(fetcher.fetch(&serve(answer("200 OK", &full)).await).await.unwrap().len(), full.len());
    let over = [full, vec![b'x']].concat();
    let mut cut = answer("200 OK", b"{\"keys\": []}");
    cut.truncate(cut.len() - 3);
    for bad in
        [answer("200 OK", &over), answer("404 Not Found", b"{}"), answer("302 Found", b""), cut, vec![]]
    {
        assert!(fetcher.fetch(&serve(bad).await).await.is_err());
    }
}

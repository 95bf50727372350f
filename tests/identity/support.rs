//! What the tests of identity share: a manual clock, an origin and a key server that count, keys made on the spot.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::KeyPair;
use bytes::Bytes;
use http::request::{Builder, Parts};
use http::{Request, Response, Uri};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use larder::clock::Clock;
use larder::config::{self, JwksUrl, Jwt, JwtAlgorithm, JwtKey, JwtMaterial, Secret, Source};
use larder::error::{Error, ErrorKind};
use larder::http::Body;
use larder::proxy::identify::{AskOrigin, BoxFuture, FetchJwks, Identified, Identifier, Step};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub const SECRET: &[u8] = b"a secret of thirty-two bytes ok!";
/// The clock's start, in seconds since 1970.
pub const START: u64 = 1_800_000_000;

type Reply = dyn Fn(&Request<Body>) -> Result<Response<Body>, Error> + Send;

/// An origin that is asked.
pub struct Origin {
    pub asked: AtomicUsize,
    pub last: Mutex<Option<Request<Body>>>,
    pub reply: Mutex<Box<Reply>>,
    /// A question takes a permit before it is answered.
    pub gate: Arc<Semaphore>,
}

impl AskOrigin for Origin {
    fn ask(&self, _: usize, request: Request<Body>) -> BoxFuture<Result<Response<Body>, Error>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let reply = (self.reply.lock().unwrap())(&request);
        *self.last.lock().unwrap() = Some(request);
        let gate = self.gate.clone();
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            reply
        })
    }
}

/// A key server: each fetch takes the next document; the last stays.
#[derive(Default)]
pub struct KeyServer {
    pub fetched: AtomicUsize,
    pub documents: Mutex<VecDeque<Option<Value>>>,
}

impl FetchJwks for KeyServer {
    fn fetch(&self, _: &Uri) -> BoxFuture<Result<Bytes, Error>> {
        self.fetched.fetch_add(1, Ordering::SeqCst);
        let mut documents = self.documents.lock().unwrap();
        let next = if documents.len() > 1 { documents.pop_front() } else { documents.front().cloned() };
        let result = match next.flatten() {
            Some(json) => Ok(Bytes::from(json.to_string())),
            None => Err(Error::new(ErrorKind::OriginBroken, "no key set today")),
        };
        Box::pin(async move {
            tokio::task::yield_now().await;
            result
        })
    }
}

/// An identifier with all that it leans on.
pub struct Bench {
    pub id: Identifier,
    pub clock: Clock,
    pub origin: Arc<Origin>,
    pub keys: Arc<KeyServer>,
}

impl Bench {
    pub fn new(config: &config::Identity) -> Self {
        let clock = Clock::manual(Duration::from_secs(START));
        let origin = Arc::new(Origin {
            asked: AtomicUsize::new(0),
            last: Mutex::new(None),
            reply: Mutex::new(Box::new(|_| Ok(says(&[("x-tenant", "acme"), ("x-user", "ann")])))),
            gate: Arc::new(Semaphore::new(1_000_000)),
        });
        let keys = Arc::new(KeyServer::default());
        let id = Identifier::new(config, clock.clone(), origin.clone(), keys.clone()).unwrap();
        Self { id, clock, origin, keys }
    }

    pub async fn identify(&self, request: Builder) -> Result<Identified, Error> {
        self.identify_at("shop.example", request).await
    }

    pub async fn identify_at(&self, host: &str, request: Builder) -> Result<Identified, Error> {
        match self.id.identify(&parts(request), host, self.clock.now()) {
            Step::Done(identified) => Ok(identified),
            Step::Refused(error) => Err(error),
            Step::Later(later) => later.await,
        }
    }

    /// Identifies without waiting.
    pub fn at_once(&self, request: Builder) -> Identified {
        match self.id.identify(&parts(request), "shop.example", self.clock.now()) {
            Step::Done(identified) => identified,
            Step::Refused(error) => panic!("refused: {error}"),
            Step::Later(_) => panic!("it has to wait"),
        }
    }

    pub fn asked(&self) -> usize {
        self.origin.asked.load(Ordering::SeqCst)
    }

    /// Waits until the origin was asked so often.
    pub async fn until_asked(&self, times: usize) {
        let asked = async {
            while self.asked() < times {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), asked).await.expect("the origin is not asked");
    }

    pub fn fetched(&self) -> usize {
        self.keys.fetched.load(Ordering::SeqCst)
    }

    pub fn reply(&self, reply: impl Fn(&Request<Body>) -> Result<Response<Body>, Error> + Send + 'static) {
        *self.origin.reply.lock().unwrap() = Box::new(reply);
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

pub fn parts(request: Builder) -> Parts {
    request.body(()).unwrap().into_parts().0
}

pub fn get(target: &str) -> Builder {
    Request::get(target)
}

/// An answer of the origin with these fields.
pub fn says(fields: &[(&str, &str)]) -> Response<Body> {
    let mut response = Response::builder();
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(Body::empty()).unwrap()
}

pub fn status(code: u16) -> Response<Body> {
    Response::builder().status(code).body(Body::empty()).unwrap()
}

pub fn tenant(identified: &Identified) -> Option<&str> {
    identified.identity.tenant.as_ref().map(|t| &*t.name)
}

pub fn user(identified: &Identified) -> Option<&str> {
    identified.identity.user.as_ref().map(|u| &*u.name)
}

pub fn role(identified: &Identified) -> Option<&str> {
    identified.identity.role.as_ref().map(|r| &*r.name)
}

// --- configurations

pub fn jwt(name: &str) -> Source {
    Source::Jwt(name.into())
}

pub fn cookie(name: &str) -> Source {
    Source::Cookie(name.into())
}

pub fn header(name: &'static str) -> Source {
    Source::Header(http::HeaderName::from_static(name))
}

pub fn query(name: &str) -> Source {
    Source::Query { name: name.into(), entitled: None }
}

pub fn host(pattern: &str) -> Source {
    Source::Host(config::HostPattern::parse(pattern).unwrap())
}

pub fn key(algorithms: &[JwtAlgorithm], kid: Option<&str>, material: JwtMaterial) -> JwtKey {
    JwtKey { algorithms: algorithms.to_vec(), kid: kid.map(str::to_owned), material }
}

pub fn shared() -> JwtMaterial {
    JwtMaterial::Secret(Secret::new(SECRET).unwrap())
}

pub fn jwks() -> JwtMaterial {
    let url = "https://issuer.example/keys".parse().unwrap();
    JwtMaterial::Jwks(JwksUrl { url, refresh: Duration::from_secs(300) })
}

pub fn jwt_config(keys: Vec<JwtKey>) -> Jwt {
    Jwt {
        keys,
        issuer: vec![],
        audience: vec![],
        leeway: Duration::from_secs(10),
        cookie: Some("token".into()),
    }
}

/// Tenant and user by token, HS256 under [`SECRET`].
pub fn by_token() -> config::Identity {
    config::Identity {
        jwt: Some(jwt_config(vec![key(&[JwtAlgorithm::HS256], None, shared())])),
        tenant: vec![jwt("tenant_id")],
        user: vec![jwt("sub")],
        role: vec![jwt("role")],
        ..Default::default()
    }
}

// --- tokens

/// Claims that hold for an hour, and these.
pub fn claims(more: Value) -> Value {
    let mut claims = json!({ "exp": START + 3_600 });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

pub fn sign(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey, claims: &Value) -> String {
    let mut head = Header::new(algorithm);
    head.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&head, claims, key).unwrap()
}

/// A token under [`SECRET`] that holds for an hour.
pub fn hs256(more: Value) -> String {
    sign(Algorithm::HS256, None, &EncodingKey::from_secret(SECRET), &claims(more))
}

pub fn bearer(target: &str, token: &str) -> Builder {
    get(target).header("authorization", format!("Bearer {token}"))
}

/// An RSA key, made once: the public half in PEM, and the private half.
pub fn rsa() -> &'static (String, EncodingKey) {
    static KEY: OnceLock<(String, EncodingKey)> = OnceLock::new();
    KEY.get_or_init(new_rsa)
}

pub fn new_rsa() -> (String, EncodingKey) {
    let pair = aws_lc_rs::signature::RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let private: aws_lc_rs::encoding::Pkcs8V1Der = pair.as_der().unwrap();
    let public: aws_lc_rs::encoding::PublicKeyX509Der = pair.public_key().as_der().unwrap();
    let private = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).unwrap();
    (pem("PUBLIC KEY", public.as_ref()), private)
}

/// A P-256 key: the public half in PEM, and the private half.
pub fn new_ec() -> (String, EncodingKey) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    (pair.public_key_pem(), EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap())
}

/// A key of a set.
pub fn jwk(kid: Option<&str>, key: &EncodingKey, algorithm: Algorithm) -> Value {
    let mut jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(key, algorithm).unwrap();
    jwk.common.key_id = kid.map(str::to_owned);
    serde_json::to_value(jwk).unwrap()
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let body = base64(der, b"+/");
    let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Base 64 (RFC 4648) with these last two letters; padded for PEM only.
pub fn base64(bytes: &[u8], last: &[u8; 2]) -> String {
    let letters: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*last).collect();
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for place in 0..=chunk.len() {
            out.push(char::from(letters[(word >> (18 - 6 * place) & 63) as usize]));
        }
        if last == b"+/" {
            out.push_str(&"="[..].repeat(3 - chunk.len()));
        }
    }
    out
}

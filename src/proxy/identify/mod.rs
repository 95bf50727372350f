//! Identify: who a request is for, from the sources that the configuration names (DESIGN sections 2 and 5).
//!
//! Invariants: a token or a remembered answer that is known is found without waiting; an invalid token gives no identity
//! and no later source is tried; verified proofs that disagree refuse the request; whatever did not become the identity
//! is named, so that it can be stripped, and whatever did is named, so that nothing else reaches the origin.
//!
//! Decisions, each with a test: a doubled `Authorization` is refused with 400; `Bearer` always means a JWT where `jwt` is a
//! source, so an opaque bearer token is an invalid one; other schemes are no token; a token cookie named twice is invalid;
//! a path of `ask.logout` always passes uncached and unidentified, because it must reach the application.

mod ask;
mod carriers;
mod credential;
mod digest;
mod flight;
mod generation;
mod jwks;
pub mod jwks_http;
mod jwt;
mod keys;
mod read;
mod resolve;
mod sources;
mod value;

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, Uri};

pub use carriers::{Carried, Carries, Losers};
pub use credential::Credential;
pub use generation::Generation;
pub use value::MAX_NAME;

use crate::clock::{Clock, Now};
use crate::config;
use crate::error::Error;
use crate::http::Body;
use crate::identity::Identity;
use resolve::{Progress, Resolver, Wait};

/// A boxed future that owns what it needs.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How an origin is asked: the proxy's client of origins, or a test's.
pub trait AskOrigin: Send + Sync {
    /// Sends `request` to the origin of this number. The origin's own `timeout` applies.
    fn ask(
        &self,
        origin: usize,
        request: http::Request<Body>,
    ) -> BoxFuture<Result<http::Response<Body>, Error>>;
}

/// How a key set is fetched: [`jwks_http::JwksHttp`], or a test's.
pub trait FetchJwks: Send + Sync {
    /// Fetches the document. Its size and the time it takes are bounded.
    fn fetch(&self, url: &Uri) -> BoxFuture<Result<Bytes, Error>>;
}

/// Why an [`Identifier`] cannot be made of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupError(Cow<'static, str>);

impl SetupError {
    fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self(what.into())
    }
}

impl std::fmt::Display for SetupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SetupError {}

/// What is known of who a request is for.
#[derive(Debug, Clone, Default)]
pub struct Identified {
    /// Tenant, user and role.
    pub identity: Identity,
    /// What became the identity: of all that could name somebody, only this may reach the origin on a shared fill.
    pub carries: Carries,
    /// What did not become the identity although it could have: stripped from the request that goes on.
    pub losers: Losers,
    /// No identity may be had (an invalid token, an origin that could not say, a logout): the request passes uncached, as it
    /// came, and never as "nobody".
    pub invalid: bool,
    /// Where the origin's word made the identity: a fill is stored only if this is current at its end.
    pub generation: Option<Generation>,
}

impl Identified {
    fn invalid() -> Self {
        Self { invalid: true, ..Self::default() }
    }
}

/// How identifying a request goes on.
pub enum Step {
    /// It is done.
    Done(Identified),
    /// An origin has to be asked, or a key set fetched.
    Later(BoxFuture<Result<Identified, Error>>),
    /// The request is refused.
    Refused(Error),
}

/// What of a request is read here.
#[derive(Debug, Clone, Copy)]
struct Seen<'a> {
    headers: &'a HeaderMap,
    uri: &'a Uri,
    host: &'a str,
}

/// Why reading the sources stopped.
#[derive(Debug)]
enum Stop {
    /// The origin's answer is needed.
    NeedsAnswer,
    /// No identity may be had.
    Invalid,
    /// The request is refused.
    Refused(Error),
}

/// Identifies requests. Cheap to clone.
#[derive(Clone)]
pub struct Identifier(Arc<Resolver>);

impl Identifier {
    /// An identifier for a configuration. Key sets are not fetched before a token needs one.
    pub fn new(
        config: &config::Identity,
        clock: Clock,
        ask: Arc<dyn AskOrigin>,
        jwks: Arc<dyn FetchJwks>,
    ) -> Result<Self, SetupError> {
        Resolver::new(config, clock, ask, &jwks).map(|resolver| Self(Arc::new(resolver)))
    }

    /// Who the request is for. `host` is in lower case and without a port; fields that only a trusted proxy may set have been
    /// removed from the requests of others.
    pub fn identify(&self, request: &Parts, host: &str, now: Now) -> Step {
        let seen = Seen { headers: &request.headers, uri: &request.uri, host };
        match self.0.resolve(&seen, &Progress { now, fetched: 0, answer: None }) {
            Ok(identified) => Step::Done(identified),
            Err(Wait::Refused(error)) => Step::Refused(error),
            Err(Wait::Keys(_) | Wait::Answer(_)) => {
                let (headers, uri) = (request.headers.clone(), request.uri.clone());
                Step::Later(Box::pin(finish(self.0.clone(), headers, uri, host.to_owned())))
            }
        }
    }

    /// The credential of the request that `ask` would show the origin, if there is one.
    pub fn credential(&self, request: &Parts) -> Option<Credential> {
        self.0.ask.as_ref()?.credential(&request.headers)
    }

    /// Called when a request begins whose method is unsafe, or whose path is a logout: it may change who its credential is.
    /// The credential's generation ends now, and again when the returned guard is dropped, which is when the response is
    /// complete or the exchange broke off. `None`: there is nothing to end.
    pub fn unsafe_request(&self, request: &Parts) -> Option<UnsafeRequest> {
        let ask = self.0.ask.as_ref()?;
        if request.method.is_safe() && !ask.is_logout(request.uri.path()) {
            return None;
        }
        let credential = ask.credential(&request.headers)?;
        credential.end();
        Some(UnsafeRequest(credential))
    }

    /// Called with every response head of the origin to a request with this credential: a `Set-Cookie` ends its generation.
    pub fn set_cookie(&self, credential: &Credential, response: &HeaderMap) {
        if response.contains_key(SET_COOKIE) {
            credential.end();
        }
    }
}

/// An unsafe request or a logout under way. Its end ends the generation of its credential.
#[derive(Debug)]
#[must_use = "dropping it says that the request is over"]
pub struct UnsafeRequest(Credential);

impl Drop for UnsafeRequest {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Waits for what is missing, piece by piece. Every turn adds one: a set that was fetched, or the origin's answer.
async fn finish(
    resolver: Arc<Resolver>,
    headers: HeaderMap,
    uri: Uri,
    host: String,
) -> Result<Identified, Error> {
    let seen = Seen { headers: &headers, uri: &uri, host: &host };
    let mut progress = Progress { now: resolver.now(), fetched: 0, answer: None };
    loop {
        match resolver.resolve(&seen, &progress) {
            Ok(identified) => return Ok(identified),
            Err(Wait::Refused(error)) => return Err(error),
            Err(Wait::Keys(number)) => {
                resolver.fetch_keys(number).await;
                progress.fetched |= 1 << number;
            }
            Err(Wait::Answer(credential)) => progress.answer = Some(resolver.ask(credential, &seen).await),
        }
        progress.now = resolver.now();
    }
}

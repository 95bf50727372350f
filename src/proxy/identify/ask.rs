//! `ask`: an origin is asked who a credential is, by a sub-request with the client's `Cookie` and `Authorization`.
//!
//! Invariants: nothing is asked without a credential; one question per credential at a time, whoever waits; an answer
//! is remembered for one generation of the credential, so one that began before an unsafe request or a logout is never
//! believed after it; failures are not remembered; the memory holds keyed digests, and is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use quick_cache::sync::Cache;

use super::credential::{Credential, CredentialRule};
use super::digest::{Digest, Digester};
use super::flight::Flight;
use super::generation::{Generation, Generations};
use super::value::{Said, said_by_field};
use super::{AskOrigin, Seen, SetupError};
use crate::clock::Clock;
use crate::config::{self, PathPattern};
use crate::http::Body;

/// How many answers are remembered.
const REMEMBERED: usize = 20_000;
/// How many questions may be under way. Beyond them a request passes uncached, unasked.
const MAX_RUNNING: usize = 4_096;
/// How long the origin's word that a credential is nobody is remembered, at most: a login should show soon even where
/// it leaves no trace in the credential.
const NOBODY: Duration = Duration::from_secs(5);
/// The end of any question, however patient the origin's own `timeout`.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the origin may know of the client besides its credential.
const FORWARDED: [HeaderName; 6] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
];

/// What the origin said of a credential.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) tenant: Option<Arc<str>>,
    pub(super) user: Option<Arc<str>>,
    pub(super) role: Option<Arc<str>>,
    /// The generation of the credential for which it was said.
    pub(super) generation: Generation,
}

/// How a question ended.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// Somebody.
    Told(Arc<Told>),
    /// Nobody that the origin knows.
    Nobody,
    /// The origin failed, or said something that cannot be an identity.
    Failed,
}

struct Record {
    answer: Answer,
    generation: Generation,
    /// Monotonic.
    until: Duration,
}

/// Asks, and remembers.
pub(super) struct Asker {
    config: config::Ask,
    target: Uri,
    credentials: CredentialRule,
    generations: Arc<Generations>,
    records: Cache<Digest, Arc<Record>>,
    running: Mutex<HashMap<Digest, (Generation, Flight<Answer>)>>,
    origin: Arc<dyn AskOrigin>,
    clock: Clock,
}

impl Asker {
    pub(super) fn new(
        config: &config::Ask,
        digester: Digester,
        clock: Clock,
        origin: Arc<dyn AskOrigin>,
    ) -> Result<Arc<Self>, SetupError> {
        let target = config
            .path
            .parse()
            .ok()
            .filter(|target: &Uri| target.authority().is_none() && target.path().starts_with('/'));
        let unfit = || SetupError::new(format!("`{}` is not a path that can be asked", config.path));
        Ok(Arc::new(Self {
            target: target.ok_or_else(unfit)?,
            credentials: CredentialRule::new(config.cookies.clone(), digester),
            config: config.clone(),
            generations: Generations::new(),
            records: Cache::new(REMEMBERED),
            running: Mutex::default(),
            origin,
            clock,
        }))
    }

    /// Whether this path of the application ends a credential.
    pub(super) fn is_logout(&self, path: &str) -> bool {
        self.config.logout.iter().any(|pattern: &PathPattern| pattern.matches(path))
    }

    /// What is remembered of a credential.
    pub(super) fn recall(&self, whole: &Digest) -> Option<Answer> {
        let record = self.records.get(whole)?;
        let holds = self.clock.now().mono < record.until && record.generation.is_current();
        holds.then(|| record.answer.clone())
    }

    /// Asks, or waits for the one who asks. An answer whose generation ended meanwhile is asked for once more.
    pub(super) async fn ask(self: Arc<Self>, whole: Digest, seen: &Seen<'_>) -> Answer {
        for _ in 0..2 {
            let answer = match self.clone().join(whole, seen) {
                Join::Known(answer) => answer,
                Join::Wait(flight) => flight.result().await.unwrap_or(Answer::Failed),
            };
            match &answer {
                Answer::Told(told) if !told.generation.is_current() => {}
                _ => return answer,
            }
        }
        Answer::Failed
    }

    fn join(self: Arc<Self>, whole: Digest, seen: &Seen<'_>) -> Join {
        let Some(credential) = self.credential(seen.headers).filter(Credential::fits) else {
            return Join::Known(Answer::Failed);
        };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = self.recall(&whole) {
            return Join::Known(answer); // it came between the first look and the lock
        }
        if let Some((generation, flight)) = running.get(&whole)
            && generation.is_current()
            && !flight.is_over()
        {
            return Join::Wait(flight.clone());
        }
        if running.len() >= MAX_RUNNING {
            return Join::Known(Answer::Failed);
        }
        let generation = self.generations.of(credential.parts());
        let Some(request) = self.question(seen) else { return Join::Known(Answer::Failed) };
        let Some(flight) = Flight::start(self.clone().run(whole, generation.clone(), request)) else {
            return Join::Known(Answer::Failed);
        };
        running.insert(whole, (generation, flight.clone()));
        Join::Wait(flight)
    }

    /// The digest of the whole credential of a request.
    pub(super) fn whole(&self, headers: &HeaderMap) -> Option<Digest> {
        self.credentials.whole(headers)
    }

    /// The credential of a request.
    pub(super) fn credential(&self, headers: &HeaderMap) -> Option<Credential> {
        self.credentials.credential(headers, &self.generations)
    }

    async fn run(self: Arc<Self>, whole: Digest, generation: Generation, request: Request<Body>) -> Answer {
        let landing = Landing { asker: self.clone(), whole, generation: generation.clone() };
        let response = tokio::time::timeout(PATIENCE, self.origin.ask(self.config.origin, request)).await;
        let answer = match &response {
            Ok(Ok(response)) => self.understand(response.status(), response.headers(), &generation),
            _ => Answer::Failed,
        };
        self.remember(whole, &answer, generation);
        drop(landing);
        answer
    }

    fn remember(&self, whole: Digest, answer: &Answer, generation: Generation) {
        let how_long = match answer {
            Answer::Told(_) => self.config.remember,
            Answer::Nobody => self.config.remember.min(NOBODY),
            Answer::Failed => return,
        };
        if !how_long.is_zero() && generation.is_current() {
            let until = self.clock.now().mono.saturating_add(how_long);
            self.records.insert(whole, Arc::new(Record { answer: answer.clone(), generation, until }));
        }
    }

    /// 2xx: its fields speak. 401, 403, a redirect (to a login page, as a rule): nobody. All else is a failure.
    fn understand(&self, status: StatusCode, headers: &HeaderMap, generation: &Generation) -> Answer {
        if !status.is_success() {
            let nobody = status.is_redirection() || matches!(status.as_u16(), 401 | 403);
            return if nobody { Answer::Nobody } else { Answer::Failed };
        }
        let of = |name: &Option<HeaderName>| {
            name.as_ref().map_or(Said::Nothing, |name| said_by_field(headers, name).map(Arc::from))
        };
        let (tenant, user, role) = (of(&self.config.tenant), of(&self.config.user), of(&self.config.role));
        match (tenant, user, role) {
            (Said::Unusable, _, _) | (_, Said::Unusable, _) | (_, _, Said::Unusable) => Answer::Failed,
            (Said::Nothing, Said::Nothing, Said::Nothing) => Answer::Nobody,
            (tenant, user, role) => Answer::Told(Arc::new(Told {
                tenant: name(tenant),
                user: name(user),
                role: name(role),
                generation: generation.clone(),
            })),
        }
    }

    fn question(&self, seen: &Seen<'_>) -> Option<Request<Body>> {
        let mut request = Request::get(self.target.clone()).body(Body::empty()).ok()?;
        let fields = request.headers_mut();
        let host = seen.headers.get(HOST).cloned().or_else(|| {
            let authority = seen.uri.authority().map_or(seen.host, http::uri::Authority::as_str);
            HeaderValue::from_str(authority).ok()
        });
        fields.insert(HOST, host?);
        if let Some(cookie) = self.credentials.cookie_field(seen.headers) {
            fields.insert(COOKIE, cookie);
        }
        for name in std::iter::once(&AUTHORIZATION).chain(&FORWARDED) {
            for value in seen.headers.get_all(name) {
                fields.append(name, value.clone());
            }
        }
        Some(request)
    }
}

/// What joining a question gives.
enum Join {
    Known(Answer),
    Wait(Flight<Answer>),
}

/// Takes a question off the list when it ends, however it ends.
struct Landing {
    asker: Arc<Asker>,
    whole: Digest,
    generation: Generation,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut running = self.asker.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.get(&self.whole).is_some_and(|(generation, _)| generation.is_same(&self.generation)) {
            running.remove(&self.whole);
        }
    }
}

fn name(said: Said<Arc<str>>) -> Option<Arc<str>> {
    if let Said::Name(name) = said { Some(name) } else { None }
}

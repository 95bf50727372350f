//! Writes: an unsafe method that succeeded, or may have, purges what it changed before its writer hears the answer
//! (RFC 9111 section 4.4, DESIGN "The fence"): the URL's public entries and its tenant's, and what `writes:` says.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use super::event::{BodyFields, parameter, selectors};
use super::shared::Shared;
use super::tee::{Seen, tee};
use super::visit::Visit;
use crate::config::{FieldAt, Piece, Write};
use crate::error::{Error, ErrorKind};
use crate::http::query;
use crate::purge::{Handling, Purge, Receipt, Selector, Underway, Where, random_id};

/// The purges that an answer brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Carried {
    /// How many records they made.
    pub(super) records: u64,
    /// Whether some are not acknowledged: they are in force on this node, and others will hear of them later.
    pub(super) pending: bool,
}

impl Carried {
    /// Waits for one of them. `None`: it is pending.
    pub(super) async fn wait(&mut self, purge: Underway) -> Option<Receipt> {
        self.records += 1;
        match purge.acknowledged().await {
            Ok(receipt) => Some(receipt),
            Err(unlogged) => {
                tracing::warn!(
                    id = unlogged.id,
                    why = unlogged.why,
                    "a purge is in force here, and pending elsewhere"
                );
                self.pending = true;
                None
            }
        }
    }

    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { records: self.records + other.records, pending: self.pending || other.pending }
    }
}

/// A write under way. Dropped before its answer is known, it may have happened: it purges.
pub(super) struct Pending {
    shared: Arc<Shared>,
    selectors: Vec<Selector>,
    rules: Rules,
    /// Whose entries it purges once the application accepted it.
    sure: Where,
    /// Whose entries it purges as things stand.
    whose: Where,
}

impl Pending {
    /// Takes a copy of the body aside where a rule reads it.
    pub(super) fn of(shared: Arc<Shared>, visit: &mut Visit) -> Self {
        let rules = Rules::of(&shared, visit);
        let sure = whose(visit);
        let whose = if is_nobody(visit) { Where::Public } else { sure.clone() };
        Self { selectors: own_url(&shared, visit), rules, sure, whose, shared }
    }

    /// The origin answered: 2xx and 3xx mean that it happened, anything else that it did not. How many records it made.
    pub(super) async fn answered(mut self, status: StatusCode) -> Carried {
        if status.is_success() {
            self.whose = self.sure.clone();
        } else if !status.is_redirection() {
            self.forget();
        }
        let mut carried = Carried::default();
        if let Some(purge) = self.purge() {
            carried.wait(purge).await;
        }
        carried
    }

    /// There is no answer. Where the request never got to the origin, nothing happened.
    pub(super) fn failed(mut self, error: &Error) {
        if matches!(error.kind(), ErrorKind::ConnectFailed | ErrorKind::OriginBusy) {
            self.forget();
        }
    }

    /// Purges, once.
    fn purge(&mut self) -> Option<Underway> {
        let mut selectors = std::mem::take(&mut self.selectors);
        selectors.extend(self.rules.purges(&self.shared.config.writes));
        self.forget();
        // What was written is written, whether the log hears of it or not.
        let purge = || Purge::hard(selectors.clone(), self.whose.clone());
        (!selectors.is_empty()).then(|| self.shared.cache.purge_as(random_id(), purge(), Handling::Insist))
    }

    fn forget(&mut self) {
        self.selectors.clear();
        self.rules.matched.clear();
    }
}

/// Whether a write has neither tenant nor user. Once the application accepted it, it may concern anybody's entries; but
/// anybody can send what is redirected to a login page or broken off, so that costs public entries only.
pub(super) fn is_nobody(visit: &Visit) -> bool {
    let identity = &visit.who.identity;
    identity.tenant.is_none() && identity.user.is_none()
}

/// Whose entries a request may concern: its tenant's. One without a tenant may concern anybody's.
pub(super) fn whose(visit: &Visit) -> Where {
    let tenant = visit.who.identity.tenant.as_ref().filter(|tenant| !tenant.scope);
    tenant.map_or(Where::All, |tenant| Where::Tenant(tenant.name.clone()))
}

impl Drop for Pending {
    fn drop(&mut self) {
        // It goes on by itself: nobody is there to be told.
        drop(self.purge());
    }
}

/// The written URL, as the route of its GET keys it. No row for a URL that no route caches.
fn own_url(shared: &Shared, visit: &Visit) -> Vec<Selector> {
    let path = visit.parts.uri.path();
    let (host, authority) = (visit.about.host(), visit.about.authority());
    shared.url_selector(host, authority, path, visit.parts.uri.query()).into_iter().collect()
}

/// The rules of `writes:` that a request matches, and what fills their holes.
struct Rules {
    /// Places in the list of rules, each with what its path captured.
    matched: Vec<(usize, Vec<(String, String)>)>,
    tenant: Option<Arc<str>>,
    query: Option<String>,
    content_type: Option<HeaderValue>,
    body: Option<Seen>,
}

impl Rules {
    fn of(shared: &Shared, visit: &mut Visit) -> Self {
        let writes = &shared.config.writes;
        let matches = |(place, write): (usize, &Write)| Some((place, captured(write, &visit.parts)?));
        let matched: Vec<_> = writes.iter().enumerate().filter_map(matches).collect();
        let in_body = |(_, place): &(String, FieldAt)| matches!(place, FieldAt::Body(_));
        let reads_body = |(place, _): &(usize, _)| {
            writes.get(*place).is_some_and(|write| write.fields.iter().any(in_body))
        };
        let body = matched.iter().any(reads_body).then(|| {
            let mut copy = Seen::default();
            visit.body = std::mem::take(&mut visit.body).reshaped(|body| {
                let (body, seen) = tee(body);
                copy = seen;
                body
            });
            copy
        });
        Self {
            matched,
            tenant: visit.who.identity.tenant.as_ref().map(|tenant| tenant.name.clone()),
            query: visit.parts.uri.query().map(str::to_owned),
            content_type: visit.parts.headers.get(CONTENT_TYPE).cloned(),
            body,
        }
    }

    fn purges(&self, writes: &[Write]) -> Vec<Selector> {
        if self.matched.is_empty() {
            return Vec::new();
        }
        let body = self.body();
        let of_rule = |(place, captures): &(usize, Vec<(String, String)>)| {
            let Some(write) = writes.get(*place) else { return Vec::new() };
            selectors(&write.purges, |hole| self.value(hole, write, captures, &body)).collect()
        };
        self.matched.iter().flat_map(of_rule).collect()
    }

    /// The body's fields, once it went by whole.
    fn body(&self) -> BodyFields {
        let kind = self.content_type.as_ref().and_then(|kind| kind.to_str().ok());
        match self.body.as_ref().and_then(Seen::take) {
            Some(bytes) => BodyFields::read(kind, &bytes),
            None => BodyFields::Unknown,
        }
    }

    fn value(
        &self,
        hole: &Piece,
        write: &Write,
        captures: &[(String, String)],
        body: &BodyFields,
    ) -> Option<String> {
        match hole {
            Piece::Tenant => self.tenant.as_deref().map(str::to_owned),
            Piece::Query(name) => parameter(self.query.as_deref(), name),
            Piece::Path(name) => {
                if let Some((_, value)) = captures.iter().find(|(captured, _)| captured == name) {
                    return Some(value.clone());
                }
                match write.fields.iter().find(|(field, _)| field == name).map(|(_, place)| place)? {
                    FieldAt::Query(name) => parameter(self.query.as_deref(), name),
                    FieldAt::Body(pointer) => body.at(pointer),
                }
            }
            Piece::Text(_) | Piece::User | Piece::Role | Piece::Header(_) => None,
        }
    }
}

/// What the rule's path captured, or `None` where the rule is not for this request.
fn captured(write: &Write, parts: &Parts) -> Option<Vec<(String, String)>> {
    if !write.methods.contains(&parts.method) {
        return None;
    }
    let captures = write.path.captures(parts.uri.path())?;
    let decoded = |value| query::decode_path(value).map_or_else(|| str::to_owned(value), |v| v.into_owned());
    Some(captures.into_iter().map(|(name, value)| (name.to_owned(), decoded(value))).collect())
}

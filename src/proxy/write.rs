//! Writes: an unsafe method that succeeded, or may have, purges what it changed before its writer hears the answer
//! (RFC 9111 section 4.4, DESIGN "The fence"): the URL's public entries and its tenant's, and what `writes:` says.

use std::sync::Arc;

use http::StatusCode;

use super::keyed::{Holes, expand};
use super::shared::Shared;
use super::visit::Visit;
use crate::config::{TagSelector, Write};
use crate::error::{Error, ErrorKind};
use crate::purge::{Selector, Where};
use crate::tag::Pattern;

/// A write under way. Dropped before its answer is known, it may have happened: it purges.
pub(super) struct Pending {
    shared: Arc<Shared>,
    selectors: Vec<Selector>,
    /// Whose entries it purges once the application accepted it.
    sure: Where,
    /// Whose entries it purges as things stand.
    whose: Where,
}

impl Pending {
    pub(super) fn of(shared: Arc<Shared>, visit: &Visit) -> Self {
        let mut selectors = own_url(&shared, visit);
        for write in &shared.config.writes {
            selectors.extend(of_rule(write, visit));
        }
        let sure = whose(visit);
        let whose = if is_nobody(visit) { Where::Public } else { sure.clone() };
        Self { shared, selectors, sure, whose }
    }

    /// The origin answered: 2xx and 3xx mean that it happened, anything else that it did not.
    pub(super) fn answered(mut self, status: StatusCode) {
        if status.is_success() {
            self.whose = self.sure.clone();
        } else if !status.is_redirection() {
            self.selectors.clear();
        }
    }

    /// There is no answer. Where the request never got to the origin, nothing happened.
    pub(super) fn failed(mut self, error: &Error) {
        if matches!(error.kind(), ErrorKind::ConnectFailed | ErrorKind::OriginBusy) {
            self.selectors.clear();
        }
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
        if !self.selectors.is_empty() {
            self.shared.cache.purge(&self.selectors, &self.whose);
        }
    }
}

/// The written URL, as the route of its GET keys it. No row for a URL that no route caches.
fn own_url(shared: &Shared, visit: &Visit) -> Vec<Selector> {
    let path = visit.parts.uri.path();
    let (host, authority) = (visit.about.host(), visit.about.authority());
    shared.url_selector(host, authority, path, visit.parts.uri.query()).into_iter().collect()
}

/// What a rule of `writes:` purges for this request.
fn of_rule(write: &Write, visit: &Visit) -> Vec<Selector> {
    let path = visit.parts.uri.path();
    if !write.methods.contains(&visit.parts.method) || !write.path.matches(path) {
        return Vec::new();
    }
    let holes = Holes { identity: &visit.who.identity, path: &write.path, parts: &visit.parts };
    write
        .purges
        .iter()
        .map(|purge| match purge {
            TagSelector::Tag(template) => Selector::Tag(expand(template, &holes).into()),
            TagSelector::Pattern(template) => Selector::Pattern(Pattern::new(&expand(template, &holes))),
        })
        .collect()
}

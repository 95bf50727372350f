//! The exchange of a fill: asks the origin, with the validators of what is stored, and reads the head of its answer.

use std::sync::Arc;

use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, Method, Request, StatusCode};

use super::job::{FillTask, Head, Old, Strength};
use super::judge::dated;
use crate::error::{Error, ErrorKind};
use crate::http::{Body, fields};
use crate::policy::{Reason, validation};
use crate::proxy::origin::CloseDelimited;
use crate::proxy::origin_request::announce;
use crate::proxy::shared::Inner;
use crate::proxy::tags::{self, Said};
use crate::stored::StoredResponse;

/// An answer, and the stored response that it confirms.
type Asked = (Head, Body, Option<Arc<StoredResponse>>);

impl<S: Inner> FillTask<S> {
    /// Asks the origin with GET or HEAD, and with the validators of `old`. A 304 that speaks of none of them is asked again,
    /// without. The third value is the one that a 304 confirms.
    pub(super) async fn exchange(&mut self, method: Method, old: Vec<Old>) -> Result<Asked, Error> {
        let (head, body, confirmed) = self.ask(&method, &old).await?;
        if confirmed.is_none() && !old.is_empty() && head.status == StatusCode::NOT_MODIFIED {
            return self.ask(&method, &[]).await;
        }
        Ok((head, body, confirmed))
    }

    pub(super) async fn ask(&mut self, method: &Method, old: &[Old]) -> Result<Asked, Error> {
        // A date says nothing of a change within its second, and nothing of other variants.
        let own = old.first().filter(|(_, strength)| *strength == Strength::Any);
        let modified = own.and_then(|(own, _)| own.field(&LAST_MODIFIED));
        let tags = old.iter().filter_map(|(old, _)| old.field(&ETAG)).collect::<Vec<_>>();
        self.ask_with(method, validation::conditions(tags.iter(), modified.as_ref()).collect(), old, None)
            .await
    }

    /// Asks with these fields more than the job's. `old` is what a 304 may confirm, `part` what a 206 may go on with.
    pub(super) async fn ask_with(
        &mut self,
        method: &Method,
        more: HeaderMap,
        old: &[Old],
        part: Option<&StoredResponse>,
    ) -> Result<Asked, Error> {
        let mut request = Request::from_parts(self.job.request.clone(), Body::empty());
        request.method_mut().clone_from(method);
        request.headers_mut().extend(more);
        announce(request.headers_mut());
        let requested = self.shared.now();
        let (mut parts, body) = self.inner.send(request).await?.into_parts();
        let received = self.shared.now();
        fields::strip_connection_specific(&mut parts.headers).map_err(|name| {
            Error::new(ErrorKind::OriginBroken, format!("the answer's `Connection` names `{name}`"))
        })?;
        dated(&mut parts.headers, received);
        let said = tags::take(&mut parts.headers);
        let (status, headers) = (parts.status, parts.headers);
        let confirmed = (status == StatusCode::NOT_MODIFIED).then(|| confirmed(old, &headers)).flatten();
        let part = part.filter(|_| status == StatusCode::PARTIAL_CONTENT);
        let tags = self.tags(&said, confirmed.as_deref().or(part));
        if let Some(purging) = &self.job.purging {
            purging.answered(&self.shared, &said).await;
        }
        let close_delimited = parts.extensions.get::<CloseDelimited>().is_some();
        Ok((Head { status, headers, requested, received, close_delimited, tags }, body, confirmed))
    }

    /// The tags of the route and of the answer; a 304, or a 206, that names none leaves those of `old` as they are.
    pub(super) fn tags(&self, said: &Said, old: Option<&StoredResponse>) -> Result<Vec<Arc<str>>, Reason> {
        let kept = old.filter(|_| said.tags.is_none()).map(StoredResponse::tags);
        let answer = kept.as_deref().or(said.tags.as_deref()).unwrap_or_default();
        tags::together(&self.job.tags, answer).inspect_err(|_| {
            tracing::warn!(
                route = self.job.keyed.route.name,
                url = %self.job.request.uri,
                most = crate::tag::MAX_TAGS,
                longest = crate::tag::MAX_TAG_BYTES,
                "more or longer tags than are kept: the response is not stored, because it could not be purged"
            );
        })
    }
}

/// The one of `old` that a 304 speaks of (RFC 9111 section 4.3.4): the one whose entity tag it names, byte by byte before
/// weakly. If it names none, the only one that was asked about.
fn confirmed(old: &[Old], answer: &HeaderMap) -> Option<Arc<StoredResponse>> {
    let named = answer.get(ETAG);
    if named.is_none() && old.len() > 1 {
        return None;
    }
    let exactly = old.iter().filter(|(old, _)| old.field(&ETAG).as_ref() == named);
    let mut old = exactly.chain(old).filter(|(old, strength)| confirms(old, *strength, answer));
    old.next().map(|(old, _)| old.clone())
}

/// Whether a 304 is the answer to the validators of `old`.
fn confirms(old: &StoredResponse, strength: Strength, answer: &HeaderMap) -> bool {
    let (etag, modified) = (old.field(&ETAG), old.field(&LAST_MODIFIED));
    let asked = etag.is_some() || modified.is_some();
    // The origin may call a tag weak that it called strong before.
    let weakened =
        strength == Strength::Strong && answer.contains_key(ETAG) && answer.get(ETAG) != etag.as_ref();
    asked && !weakened && validation::confirms(answer, etag.as_ref(), modified.as_ref())
}

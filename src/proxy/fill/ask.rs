//! The exchange of a fill: asks the origin, with the validators of what is stored, and reads the head of its answer.

use std::sync::Arc;

use http::header::{DATE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, Method, Request, StatusCode};

use super::job::{FillTask, Head, Strength};
use crate::error::{Error, ErrorKind};
use crate::http::{Body, fields};
use crate::policy::{Reason, date, validation};
use crate::proxy::origin::CloseDelimited;
use crate::proxy::origin_request::announce;
use crate::proxy::shared::Inner;
use crate::proxy::tags::{self, Said};
use crate::stored::StoredResponse;

impl<S: Inner> FillTask<S> {
    /// Asks the origin with GET or HEAD, and with the validators of `old`. A 304 that does not speak of it is asked again, without. The third
    /// value is `old`, where a 304 confirms it.
    pub(super) async fn exchange(
        &mut self,
        method: Method,
        old: Option<(Arc<StoredResponse>, Strength)>,
    ) -> Result<(Head, Body, Option<Arc<StoredResponse>>), Error> {
        let (head, body) = self.ask(&method, old.as_ref().map(|(old, strength)| (&**old, *strength))).await?;
        let Some((old, strength)) = old.filter(|_| head.status == StatusCode::NOT_MODIFIED) else {
            return Ok((head, body, None));
        };
        if confirms(&old, strength, &head.headers) {
            return Ok((head, body, Some(old)));
        }
        let (head, body) = self.ask(&method, None).await?;
        Ok((head, body, None))
    }

    pub(super) async fn ask(
        &mut self,
        method: &Method,
        old: Option<(&StoredResponse, Strength)>,
    ) -> Result<(Head, Body), Error> {
        let mut request = Request::from_parts(self.job.request.clone(), Body::empty());
        request.method_mut().clone_from(method);
        if let Some((old, strength)) = old.filter(|(old, _)| old.status == StatusCode::OK) {
            // A date says nothing of a change within its second.
            let modified = old.field(&LAST_MODIFIED).filter(|_| strength == Strength::Any);
            request.headers_mut().extend(validation::conditions(old.field(&ETAG), modified));
        }
        announce(request.headers_mut());
        let requested = self.shared.now();
        let (mut parts, body) = self.inner.send(request).await?.into_parts();
        let received = self.shared.now();
        fields::strip_connection_specific(&mut parts.headers).map_err(|name| {
            Error::new(ErrorKind::OriginBroken, format!("the answer's `Connection` names `{name}`"))
        })?;
        if !parts.headers.contains_key(DATE)
            && let Some(date) = date::value(received)
        {
            // RFC 9110 section 6.6.1: a recipient with a clock records when the answer was received.
            parts.headers.insert(DATE, date);
        }
        let said = tags::take(&mut parts.headers);
        let (status, headers) = (parts.status, parts.headers);
        let tags = self.tags(&said, old.filter(|_| status == StatusCode::NOT_MODIFIED).map(|(old, _)| old));
        if let Some(purging) = &self.job.purging {
            purging.answered(&self.shared, &said);
        }
        let close_delimited = parts.extensions.get::<CloseDelimited>().is_some();
        Ok((Head { status, headers, requested, received, close_delimited, tags }, body))
    }

    /// The tags of the route and of the answer; a 304 that names none leaves those of `old` as they are.
    pub(super) fn tags(&self, said: &Said, old: Option<&StoredResponse>) -> Result<Vec<Arc<str>>, Reason> {
        let kept = old.filter(|_| said.tags.is_none()).map(|old| &old.selectors.tags[..]);
        let answer = kept.or(said.tags.as_deref()).unwrap_or_default();
        tags::together(&self.job.tags, answer).inspect_err(|_| {
            tracing::warn!(
                route = self.job.keyed.route.name,
                url = self.job.keyed.target,
                most = crate::tag::MAX_TAGS,
                longest = crate::tag::MAX_TAG_BYTES,
                "more or longer tags than are kept: the response is not stored, because it could not be purged"
            );
        })
    }
}

/// Whether a 304 is the answer to the validators of `old`, which only a 200 with one was asked for with.
fn confirms(old: &StoredResponse, strength: Strength, answer: &HeaderMap) -> bool {
    let (etag, modified) = (old.field(&ETAG), old.field(&LAST_MODIFIED));
    let asked = old.status == StatusCode::OK && (etag.is_some() || modified.is_some());
    // The origin may call a tag weak that it called strong before.
    let weakened = strength == Strength::Strong && answer.contains_key(ETAG) && answer.get(ETAG) != etag;
    asked && !weakened && validation::confirms(answer, etag, modified)
}

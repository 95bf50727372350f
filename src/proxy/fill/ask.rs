//! The exchange of a fill: asks the origin, with the validators of what is stored, and reads the head of its answer.

use std::sync::Arc;

use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, Request, StatusCode};

use super::job::{FillTask, Head, Strength};
use crate::error::{Error, ErrorKind};
use crate::http::{Body, fields};
use crate::policy::{Reason, validation};
use crate::proxy::origin::CloseDelimited;
use crate::proxy::shared::Inner;
use crate::proxy::tags::{self, Said};
use crate::stored::StoredResponse;

impl<S: Inner> FillTask<S> {
    /// Asks the origin, with the validators of `old`. A 304 that does not speak of it is asked again, without. The third
    /// value is `old`, where a 304 confirms it.
    pub(super) async fn exchange(
        &mut self,
        old: Option<(Arc<StoredResponse>, Strength)>,
    ) -> Result<(Head, Body, Option<Arc<StoredResponse>>), Error> {
        let (head, body) = self.ask(old.as_ref().map(|(old, strength)| (&**old, *strength))).await?;
        let Some((old, strength)) = old.filter(|_| head.status == StatusCode::NOT_MODIFIED) else {
            return Ok((head, body, None));
        };
        if confirms(&old, strength, &head.headers) {
            return Ok((head, body, Some(old)));
        }
        let (head, body) = self.ask(None).await?;
        Ok((head, body, None))
    }

    pub(super) async fn ask(
        &mut self,
        old: Option<(&StoredResponse, Strength)>,
    ) -> Result<(Head, Body), Error> {
        let conditions = old.filter(|(old, _)| old.status == StatusCode::OK).map(|(old, strength)| {
            // A date says nothing of a change within its second.
            let modified = old.field(&LAST_MODIFIED).filter(|_| strength == Strength::Any);
            validation::conditions(old.field(&ETAG), modified).collect()
        });
        self.ask_with(conditions.unwrap_or_default(), old.map(|(old, _)| old)).await
    }

    /// Asks with these fields more than the job's. `old` is what the answer may speak of.
    pub(super) async fn ask_with(
        &mut self,
        more: HeaderMap,
        old: Option<&StoredResponse>,
    ) -> Result<(Head, Body), Error> {
        let mut request = Request::from_parts(self.job.request.clone(), Body::empty());
        request.headers_mut().extend(more);
        let requested = self.shared.now();
        let (mut parts, body) = self.inner.send(request).await?.into_parts();
        let received = self.shared.now();
        fields::strip_connection_specific(&mut parts.headers).map_err(|name| {
            Error::new(ErrorKind::OriginBroken, format!("the answer's `Connection` names `{name}`"))
        })?;
        let said = tags::take(&mut parts.headers);
        let (status, headers) = (parts.status, parts.headers);
        let speaks_of_it = matches!(status, StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT);
        let tags = self.tags(&said, old.filter(|_| speaks_of_it));
        if let Some(purging) = &self.job.purging {
            purging.answered(&self.shared, &said);
        }
        let close_delimited = parts.extensions.get::<CloseDelimited>().is_some();
        Ok((Head { status, headers, requested, received, close_delimited, tags }, body))
    }

    /// The tags of the route and of the answer; a 304, or a 206, that names none leaves those of `old` as they are.
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

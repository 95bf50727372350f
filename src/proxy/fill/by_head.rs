//! HEAD updating (RFC 9111 section 4.3.5): the origin's answer to HEAD confirms a stored response, updates its fields, or
//! shows that it is out of date.
//!
//! Keeps: the content stays that of the stored response, and so does `begun_at`: a HEAD never raises it, for its answer
//! says nothing of when the content was computed. What is updated keeps the tags that it had, so that every purge that
//! covers the stored response, before, during or after the HEAD, covers the updated one. And it takes the place of that
//! very response only: what a fill brought meanwhile stays, whichever of the two began first.

use std::sync::Arc;

use http::header::{ETAG, LAST_MODIFIED};
use http::{Method, StatusCode};

use super::FillTask;
use super::job::{Head, Strength};
use crate::cache::{Begun, Outcome};
use crate::policy::{Reason, validation};
use crate::proxy::shared::Inner;
use crate::proxy::tags;
use crate::stored::StoredResponse;

impl<S: Inner> FillTask<S> {
    /// Asks the origin with HEAD about `old`, which is stored.
    pub(super) async fn by_head(mut self, begun: Begun, old: Arc<StoredResponse>) {
        let asked = self.exchange(Method::HEAD, vec![(old.clone(), Strength::Any)]).await;
        let (head, body, confirmed) = match asked {
            Ok(answer) => answer,
            Err(error) => return self.leader.answer(Outcome::Failed(error)),
        };
        let (etag, modified) = (old.field(&ETAG), old.field(&LAST_MODIFIED));
        match head.status {
            _ if confirmed.is_some() => self.updated(begun, &old, head, Reason::Validated),
            StatusCode::OK
                if validation::agrees(
                    &head.headers,
                    etag.as_ref(),
                    modified.as_ref(),
                    old.body.len() as u64,
                ) =>
            {
                self.updated(begun, &old, head, Reason::HeadUpdated);
            }
            // It is not the representation any more, or there is none: a stale window would show what is known to be gone.
            StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::GONE => {
                self.replace(&old, None);
                self.not_shared(Reason::HeadChanged, head, body);
            }
            _ => self.not_shared(Reason::HeadAnswer, head, body),
        }
    }

    fn updated(mut self, begun: Begun, old: &Arc<StoredResponse>, mut head: Head, how: Reason) {
        head.tags = head.tags.and_then(|new| tags::together(&old.tags(), &new));
        let (head, judged) = self.renewed(old, head);
        match judged {
            Err(reason) => {
                if how == Reason::Validated {
                    self.forbidden(old, reason);
                }
                self.not_shared(reason, head, Default::default());
            }
            Ok((freshness, variant)) => {
                let begun = Begun { at: old.begun_at, since: old.since, ..begun };
                let stored = Arc::new(self.stored(begun, &head, freshness, old.body.clone()));
                if stored.selectors() == old.selectors() {
                    // The fence's verdict on the one is that on the other.
                    stored.remember_valid(old.valid_at());
                }
                self.replace(old, Some(stored.clone()));
                self.kept(stored, how, false, variant);
            }
        }
    }

    /// What a 304 confirmed may not be shared as it is now said to be: it is used no more (RFC 9111 section 4.3.4). What hangs
    /// on this request (its credential, a cookie that it was given) says nothing of others'.
    pub(super) fn forbidden(&mut self, old: &Arc<StoredResponse>, reason: Reason) {
        let directive = matches!(reason, Reason::NoStore | Reason::Private | Reason::NoCache);
        if directive || matches!(reason, Reason::VaryStar | Reason::VaryCookie | Reason::VaryAuthorization) {
            self.replace(old, None);
        }
    }

    /// Puts `new` in the place of `old`, or nothing.
    fn replace(&mut self, old: &Arc<StoredResponse>, new: Option<Arc<StoredResponse>>) {
        // Where the updated fields name others that tell variants apart, it has another place: then nothing is replaced.
        let fields = new.as_ref().unwrap_or(old).header_map();
        let Ok(variant) = self.variant(&fields) else { return };
        let job = self.job.clone();
        let place = variant.as_ref().map_or(&job.keyed.key, |(_, key)| key);
        let done = self.shared.cache.replace(
            &mut self.leader,
            job.caching.tier.store,
            &job.keyed.key,
            place,
            old,
            new,
        );
        if let Err(error) = done {
            tracing::debug!(%error, "a response was not updated");
        }
    }
}

//! The variants of one key (RFC 9111 section 4.1): which are stored, how many at most, and which of them fits a request
//! that none of them was fetched for.
//!
//! One URL cannot fill a store: beyond [`MAX_VARIANTS`] the one that was stored first goes. A variant that lies in the store
//! without being known here (the list was evicted meanwhile) is found all the same, and goes by eviction.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Cache;
use crate::clock::Now;
use crate::key::CacheKey;
use crate::policy::{Validity, validation, vary, weighted};
use crate::stored::{Entry, Member, StoredResponse, Variants, later};

/// How many variants of one key are kept.
pub(super) const MAX_VARIANTS: usize = 64;

/// What the list of them may weigh in bytes: the fields of a request may be long, and they are part of its variant's key.
const MAX_BYTES: u64 = 80 * 1024;

/// `known` with one more variant as the newest, told apart by `fields`; and the places of those that go for it. Where only a
/// part is stored, `place` is that of the whole all the same.
pub(super) fn with(
    known: Option<Arc<Variants>>,
    fields: &[HeaderName],
    place: &CacheKey,
    response: &StoredResponse,
) -> (Variants, Vec<CacheKey>) {
    let until = later(response.freshness().useless_after(), known.as_ref().map(|known| known.until));
    let mut members = known.map_or_else(Vec::new, |known| known.members.clone());
    members.retain(|member| member.place != *place);
    members.push(Member {
        place: place.clone(),
        ticket: response.ticket,
        // A part is found by whom it was fetched for only.
        language: (response.status != StatusCode::PARTIAL_CONTENT)
            .then(|| language_of(response))
            .flatten()
            .map(Into::into),
    });
    let mut bytes = 0;
    let mut fits = |member: &&Member| {
        bytes += member.weight();
        bytes <= MAX_BYTES
    };
    // The newest stays, however long its key is.
    let kept = members.iter().rev().take(MAX_VARIANTS).take_while(&mut fits).count().max(1);
    let gone = members.drain(..members.len() - kept).map(|member| member.place).collect();
    (Variants { fields: fields.to_vec(), members, until }, gone)
}

impl Cache {
    /// A stored variant in the one language that the request prefers to all others, for a request that none was fetched for:
    /// in all other selecting fields it is the request's own, whose key would be `own`. Of several, the one that was asked
    /// for last.
    pub fn in_preferred_language(
        &self,
        store: usize,
        key: &CacheKey,
        own: &CacheKey,
        request: &HeaderMap,
        now: Now,
    ) -> Option<Arc<StoredResponse>> {
        let variants = self.variants(store, key, now)?;
        // Where the language does not select, there is no such key.
        let others = own.reselected(key, &ACCEPT_LANGUAGE, b"")?;
        let wanted = weighted::preferred_language(request)?;
        let fits = |member: &&Member| {
            member.language.as_deref() == Some(&wanted)
                && member.place.reselected(key, &ACCEPT_LANGUAGE, b"").as_ref() == Some(&others)
        };
        let member = variants.members.iter().filter(fits).max_by_key(|member| member.ticket)?;
        match self.get(store, &member.place, now)? {
            // An answer to HEAD may have given it another language since.
            Entry::Response(response) => {
                let still = language_of(&response) == Some(wanted);
                (still && self.check(&response) == Validity::Valid).then_some(response)
            }
            _ => None,
        }
    }
}

/// The one language of a response.
fn language_of(response: &StoredResponse) -> Option<Vec<u8>> {
    let lines: Vec<_> = response.field_all(&CONTENT_LANGUAGE).collect();
    weighted::one_language(lines.iter())
}

/// How many other variants are named to the origin at most.
const MAX_NAMED: usize = 16;

impl Cache {
    /// The stored variants of `key` that the origin may confirm for a request for another one, newest first: each 200, with a
    /// strong entity tag of its own, for requests that take the same codings, and not purged. A weak entity tag may be that of
    /// several variants: it could not tell which of them is meant. And who takes a coding is not to be given the plain content
    /// for good because somebody who does not came first.
    pub fn confirmable(
        &self,
        store: usize,
        key: &CacheKey,
        request: &HeaderMap,
        now: Now,
    ) -> Vec<Arc<StoredResponse>> {
        let Some(variants) = self.variants(store, key, now) else { return Vec::new() };
        let mut found: Vec<Arc<StoredResponse>> = Vec::new();
        // An entity tag that stands for two different contents tells nothing, though the origin calls it strong.
        let mut broken: Vec<HeaderValue> = Vec::new();
        let codings = vary::selecting_value(request, &ACCEPT_ENCODING);
        let takes_the_same = |member: &&Member| {
            member.place.selected(key, &ACCEPT_ENCODING).is_none_or(|theirs| theirs == codings.as_deref())
        };
        for member in variants.members.iter().rev().filter(takes_the_same) {
            let Some(Entry::Response(response)) = self.get(store, &member.place, now) else { continue };
            let Some(tag) = response.field(&ETAG).filter(validation::is_listed) else { continue };
            if let Some(same) = found.iter().find(|other| other.field(&ETAG).as_ref() == Some(&tag)) {
                broken.extend((!is_same(&same.body, &response.body)).then(|| tag.clone()));
            } else if found.len() < MAX_NAMED
                && response.status == StatusCode::OK
                && self.check(&response) != Validity::Purged
            {
                found.push(response);
            }
        }
        found.retain(|response| response.field(&ETAG).is_some_and(|tag| !broken.contains(&tag)));
        found
    }
}

fn is_same(a: &Bytes, b: &Bytes) -> bool {
    (a.as_ptr() == b.as_ptr() && a.len() == b.len()) || a == b
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyParts;
    use crate::policy::Freshness;
    use crate::stored::Selectors;

    fn response(ticket: u64) -> StoredResponse {
        let freshness = Freshness::until_purged();
        let (status, fields) = (StatusCode::OK, HeaderMap::new());
        StoredResponse::new(status, &fields, Bytes::new(), freshness, 0, ticket, Selectors::default(), 0)
    }

    fn place(value: &str) -> CacheKey {
        let parts = KeyParts { ..KeyParts::PLAIN };
        CacheKey::new(&parts).unwrap().variant(&[(ACCEPT_LANGUAGE, Some(value.as_bytes().to_vec()))]).unwrap()
    }

    #[test]
    fn the_variant_that_was_stored_first_goes_first_and_storing_again_makes_it_the_newest() {
        let mut known = None;
        for n in 0..MAX_VARIANTS {
            let (variants, gone) =
                with(known, &[ACCEPT_LANGUAGE], &place(&n.to_string()), &response(n as u64));
            assert!(gone.is_empty());
            known = Some(Arc::new(variants));
        }
        let (variants, gone) = with(known, &[ACCEPT_LANGUAGE], &place("0"), &response(100));
        assert!(gone.is_empty());
        let (variants, gone) =
            with(Some(Arc::new(variants)), &[ACCEPT_LANGUAGE], &place("new"), &response(101));
        assert_eq!(gone, [place("1")]);
        assert_eq!(variants.members.len(), MAX_VARIANTS);
    }

    #[test]
    fn long_keys_count_by_their_bytes_and_the_newest_is_always_kept() {
        let long = |n: u32| place(&format!("{n}{}", "x".repeat(30_000)));
        let (one, _) = with(None, &[ACCEPT_LANGUAGE], &long(1), &response(1));
        let (two, gone) = with(Some(Arc::new(one)), &[ACCEPT_LANGUAGE], &long(2), &response(2));
        assert!(gone.is_empty() && two.members.len() == 2);
        let huge = place(&"x".repeat(65_000));
        let (three, gone) = with(Some(Arc::new(two)), &[ACCEPT_LANGUAGE], &huge, &response(3));
        assert_eq!((three.members.len(), gone), (1, vec![long(1), long(2)]));
    }
}

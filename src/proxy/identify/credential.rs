//! What makes up the credential of `ask`: `Authorization`, and the configured cookies or all of them.
//!
//! A credential has a digest as a whole, under which answers are remembered, and one of each part, which has the
//! generation. With configured cookies each of them is a part, so ending a session ends it in whatever company its cookie
//! comes; without, all cookies together are one part, because nobody can tell the session's from the others.

use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue};

use super::digest::{Digest, Digester};
use super::generation::Generations;
use crate::http::cookies;

/// What digests are made for.
const WHOLE: u8 = 1;
const AUTHORIZATION_PART: u8 = 2;
const COOKIE_PART: u8 = 3;
const COOKIES_PART: u8 = 4;
/// How many parts a credential may have. With more than a client needs it is not asked for.
const MAX_PARTS: usize = 16;

/// Finds the credential of a request.
pub(super) struct CredentialRule {
    /// The cookies that belong to it; `None`: all.
    cookies: Option<Vec<String>>,
    digester: Digester,
}

/// The credential of one request, as digests.
#[derive(Clone)]
pub struct Credential {
    generations: Arc<Generations>,
    parts: Box<[Digest]>,
}

impl Credential {
    pub(super) fn parts(&self) -> &[Digest] {
        &self.parts
    }

    /// Whether it may be asked for.
    pub(super) fn fits(&self) -> bool {
        self.parts.len() <= MAX_PARTS
    }

    /// Ends its generation: what was learnt about it, and what was begun with it, no longer holds.
    pub fn end(&self) {
        self.generations.end(&self.parts);
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl CredentialRule {
    pub(super) fn new(cookies: Option<Vec<String>>, digester: Digester) -> Self {
        Self { cookies, digester }
    }

    /// The digest of the whole credential, of the bytes that the origin would be shown; `None` without a credential.
    pub(super) fn whole(&self, headers: &HeaderMap) -> Option<Digest> {
        let mut digest = self.digester.begin(WHOLE);
        let mut any = false;
        for value in headers.get_all(AUTHORIZATION) {
            (digest, any) = (digest.part(value.as_bytes()), true);
        }
        digest = digest.part(b"\0"); // no field value: what precedes is `Authorization`, what follows are cookies
        for piece in self.pieces(headers) {
            (digest, any) = (digest.part(piece), true);
        }
        any.then(|| digest.end())
    }

    /// The credential; `None` without one.
    pub(super) fn credential(
        &self,
        headers: &HeaderMap,
        generations: &Arc<Generations>,
    ) -> Option<Credential> {
        let authorization = headers.get_all(AUTHORIZATION).iter().map(|value| self.authorization(value));
        let mut parts: Vec<Digest> = authorization.collect();
        if self.cookies.is_some() {
            let pairs = cookies::pairs(headers).filter(|pair| self.names(pair));
            parts.extend(pairs.map(|p| self.digester.begin(COOKIE_PART).part(p.name).part(p.value).end()));
        } else if headers.contains_key(COOKIE) {
            let all = self.pieces(headers).fold(self.digester.begin(COOKIES_PART), |all, one| all.part(one));
            parts.push(all.end());
        }
        (!parts.is_empty()).then(|| Credential { generations: generations.clone(), parts: parts.into() })
    }

    /// The `Cookie` field for the origin: the bytes that came.
    pub(super) fn cookie_field(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let pieces: Vec<_> = self.pieces(headers).collect();
        if pieces.is_empty() {
            return None;
        }
        HeaderValue::from_bytes(&pieces.join(&b"; "[..])).ok()
    }

    /// The scheme's case and the space after it make no other credential.
    fn authorization(&self, value: &HeaderValue) -> Digest {
        let bytes = value.as_bytes();
        let at = bytes.iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len());
        let (scheme, rest) = bytes.split_at(at);
        let begun = self.digester.begin(AUTHORIZATION_PART);
        begun.part(&scheme.to_ascii_lowercase()).part(rest.trim_ascii()).end()
    }

    /// The configured cookies that are not empty, as they came; or the whole fields.
    fn pieces<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a [u8]> {
        let named = self.cookies.is_some();
        let pairs = named.then(|| cookies::pairs(headers).filter(|p| self.names(p)).map(|p| p.raw));
        let fields = (!named).then(|| headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes));
        pairs.into_iter().flatten().chain(fields.into_iter().flatten().filter(|f| !f.is_empty()))
    }

    fn names(&self, pair: &cookies::Pair<'_>) -> bool {
        let listed = self.cookies.as_ref().is_some_and(|c| c.iter().any(|n| n.as_bytes() == pair.name));
        listed && !pair.value.is_empty()
    }
}

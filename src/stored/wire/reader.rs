//! The payload of an entry, read part by part. Anybody may have written it.
//!
//! Invariant: a length is compared with what is there before anything is allocated for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{MAX_FIELDS, Received, Undecodable, bit};
use crate::clock::Now;
use crate::key::CacheKey;
use crate::policy::Freshness;
use crate::stored::{Member, Variants, WallMap};
use crate::tag::{MAX_TAG_BYTES, MAX_TAGS};

/// Reads a payload that anybody may have written.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

/// A moment after now is one by this much at most, where two clocks merely go at different speeds.
const DRIFT: Duration = Duration::from_secs(1);

impl<'a> Reader<'a> {
    pub(super) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Undecodable> {
        let (chunk, rest) = self.0.split_first_chunk::<N>().ok_or(Undecodable::Malformed("its length"))?;
        self.0 = rest;
        Ok(*chunk)
    }

    fn byte(&mut self) -> Result<u8, Undecodable> {
        self.chunk().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, Undecodable> {
        let byte = self.byte()?;
        if byte > 1 { Err(Undecodable::Malformed("a flag")) } else { Ok(byte == 1) }
    }

    fn count(&mut self) -> Result<usize, Undecodable> {
        self.chunk().map(u16::from_be_bytes).map(usize::from)
    }

    pub(super) fn number(&mut self) -> Result<u64, Undecodable> {
        self.chunk().map(u64::from_be_bytes)
    }

    fn span(&mut self) -> Result<Duration, Undecodable> {
        self.number().map(Duration::from_millis)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Undecodable> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Undecodable::Malformed("a length"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn short(&mut self) -> Result<&'a [u8], Undecodable> {
        let length = self.count()?;
        self.take(length)
    }

    fn long(&mut self) -> Result<&'a [u8], Undecodable> {
        let length = u32::from_be_bytes(self.chunk()?);
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// The end of something, where it has one.
    fn end(&mut self, given: bool, map: &WallMap) -> Result<Option<Duration>, Undecodable> {
        let (end, before) = map.to_mono(i64::from_be_bytes(self.chunk()?));
        if given && !before.is_zero() {
            return Err(Undecodable::Over);
        }
        Ok(given.then_some(end))
    }

    fn name(&mut self) -> Result<HeaderName, Undecodable> {
        HeaderName::from_lowercase(self.short()?).map_err(|_| Undecodable::Malformed("the name of a field"))
    }

    pub(super) fn response(&mut self, now: Now, map: &WallMap) -> Result<Received, Undecodable> {
        let status = StatusCode::from_u16(u16::from_be_bytes(self.chunk()?)).ok();
        // An interim response is no answer, and nothing stores one (RFC 9110 section 15.2).
        let status =
            status.filter(|status| !status.is_informational()).ok_or(Undecodable::Malformed("a status"))?;
        let freshness = self.freshness(now, map)?;
        let stored_wall_ms = self.number()?;
        let tags = self.tags()?;
        let headers = self.headers()?;
        // A copy: a piece would keep the whole payload for as long as itself.
        let body = Bytes::copy_from_slice(self.long()?);
        Ok(Received { status, headers, body, freshness, tags, stored_wall_ms })
    }

    fn freshness(&mut self, now: Now, map: &WallMap) -> Result<Freshness, Undecodable> {
        let flags = self.byte()?;
        let is = |bit: u8| flags & bit != 0;
        if flags & !(bit::MUST_REVALIDATE | bit::NO_CACHE | bit::IMMUTABLE | bit::LIFETIME | bit::ENDS) != 0 {
            return Err(Undecodable::Malformed("a flag"));
        }
        let (received, before) = map.to_mono(i64::from_be_bytes(self.chunk()?));
        if received > now.mono.saturating_add(DRIFT) {
            return Err(Undecodable::Future);
        }
        Ok(Freshness {
            received: received.min(now.mono),
            // What was received before this process's clock began was older by then.
            initial_age: self.span()?.saturating_add(before),
            lifetime: Some(self.span()?).filter(|_| is(bit::LIFETIME)),
            ends: self.end(is(bit::ENDS), map)?,
            stale_while_revalidate: self.span()?,
            stale_if_error: self.span()?,
            must_revalidate: is(bit::MUST_REVALIDATE),
            no_cache: is(bit::NO_CACHE),
            immutable: is(bit::IMMUTABLE),
        })
    }

    fn tags(&mut self) -> Result<Vec<Arc<str>>, Undecodable> {
        let malformed = Undecodable::Malformed("a tag");
        let count = self.count()?;
        if count > MAX_TAGS {
            return Err(malformed);
        }
        let mut tag = || {
            let tag = std::str::from_utf8(self.short()?).map_err(|_| malformed)?;
            if tag.len() > MAX_TAG_BYTES { Err(malformed) } else { Ok(tag.into()) }
        };
        (0..count).map(|_| tag()).collect()
    }

    fn headers(&mut self) -> Result<HeaderMap, Undecodable> {
        let malformed = Undecodable::Malformed("a field");
        let count = self.count()?;
        if count > MAX_FIELDS {
            return Err(malformed);
        }
        let mut headers = HeaderMap::new();
        for _ in 0..count {
            let name = self.name()?;
            let value = HeaderValue::from_bytes(self.long()?).map_err(|_| malformed)?;
            headers.try_append(name, value).map_err(|_| malformed)?;
        }
        Ok(headers)
    }

    pub(super) fn variants(&mut self, key: &CacheKey, map: &WallMap) -> Result<Variants, Undecodable> {
        let ends = self.flag()?;
        let until = self.end(ends, map)?;
        let count = self.count()?;
        let fields = (0..count).map(|_| self.name()).collect::<Result<_, _>>()?;
        let count = self.count()?;
        let members = (0..count).map(|_| self.member(key)).collect::<Result<_, _>>()?;
        Ok(Variants { fields, members, until })
    }

    fn member(&mut self, key: &CacheKey) -> Result<Member, Undecodable> {
        let place = key.variant_of_bytes(self.long()?).ok_or(Undecodable::Malformed("a variant"))?;
        let ticket = self.number()?;
        let (named, language) = (self.flag()?, self.short()?);
        if !named && !language.is_empty() {
            return Err(Undecodable::Malformed("a language"));
        }
        Ok(Member { place, ticket, language: named.then(|| language.into()) })
    }
}

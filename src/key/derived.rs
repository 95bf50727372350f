//! Keys made of other keys: a variant's with another value of one field, and those for what is found by a folded query.

use std::borrow::Cow;

use http::HeaderName;

use super::view::Reader;
use super::{CacheKey, MAX_KEY_BYTES, VARIANT, Writer};

/// Marks what lies beside the responses of a URL. No part of a key has this length.
pub(super) const SEARCH: [u8; 1] = [0xfe];

impl CacheKey {
    /// The value of a field by which this variant of `base` was selected; `Some(None)`: there was no such field. `None` where the
    /// field does not select.
    pub fn selected(&self, base: &Self, field: &HeaderName) -> Option<Option<&[u8]>> {
        let rest = self.bytes.get(base.len() + VARIANT.len()..)?;
        let mut reader = Reader { bytes: rest, at: 0 };
        while reader.at < rest.len() {
            let (name, value) = (reader.part()?, reader.maybe_part()?);
            if name == field.as_str().as_bytes() {
                return Some(value);
            }
        }
        None
    }

    /// The key of this variant of `base` if the request had `value` in `field`. `None` where `field` does not select.
    pub fn reselected(&self, base: &Self, field: &HeaderName, value: &[u8]) -> Option<Self> {
        let (head, rest) = self.bytes.split_at_checked(base.len() + VARIANT.len())?;
        let mut reader = Reader { bytes: rest, at: 0 };
        let mut writer = Writer(head.to_vec());
        let mut selects = false;
        while reader.at < rest.len() {
            let name = reader.part()?;
            let own = reader.maybe_part()?;
            let replaced = name == field.as_str().as_bytes();
            selects |= replaced;
            writer.part(name);
            writer.maybe(if replaced { Some(value) } else { own });
        }
        (selects && writer.0.len() <= MAX_KEY_BYTES).then(|| Self::from_bytes(writer.0))
    }

    /// The keyed query.
    pub fn query(&self) -> Option<Cow<'_, str>> {
        let mut reader = Reader { bytes: &self.bytes, at: 0 };
        reader.before_query()?;
        reader.maybe_part()?.map(String::from_utf8_lossy)
    }

    /// The key of what is known of this URL whatever its query: of a place beside all responses.
    pub fn without_query(&self) -> Option<Self> {
        let mut reader = Reader { bytes: &self.bytes, at: 0 };
        reader.before_query()?;
        let head = self.bytes.get(..reader.at)?;
        reader.maybe_part()?;
        let mut writer = Writer(head.to_vec());
        writer.maybe(None);
        writer.0.extend_from_slice(self.bytes.get(reader.at..)?);
        writer.0.extend_from_slice(&SEARCH);
        (writer.0.len() <= MAX_KEY_BYTES).then(|| Self::from_bytes(writer.0))
    }

    /// Of a key without query, the one of what lies under this rule for this folded query.
    pub fn searched(&self, rule: &str, folded: &str) -> Option<Self> {
        let mut writer = Writer(self.bytes.to_vec());
        writer.part(rule.as_bytes());
        writer.part(folded.as_bytes());
        (writer.0.len() <= MAX_KEY_BYTES).then(|| Self::from_bytes(writer.0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeyParts;
    use super::*;
    use http::header::{ACCEPT, ACCEPT_LANGUAGE};

    #[test]
    fn a_url_without_its_query_is_the_same_for_all_its_queries_and_is_no_url() {
        let of = |query: Option<&str>, role: &[u8]| {
            let parts = KeyParts { query, selecting: &[("role", Some(role))], ..KeyParts::PLAIN };
            CacheKey::new(&parts).unwrap()
        };
        let without = of(None, b"x").without_query().unwrap();
        assert_eq!(of(Some("a=1"), b"x").without_query().unwrap(), without);
        assert_ne!(of(Some("a=1"), b"y").without_query().unwrap(), without);
        assert_ne!(of(None, b"x"), without);
        assert_eq!(of(Some("a=1"), b"x").query().as_deref(), Some("a=1"));
        assert_eq!(of(None, b"x").query(), None);
        let searched = without.searched("params", "a=1").unwrap();
        assert_ne!(searched, without.searched("params a", "=1").unwrap());
        assert_eq!(without.describe(), "public route:r GET http://a/ role=x search");
        assert_eq!(searched.describe(), "public route:r GET http://a/ role=x search params a=1");
        let view = searched.view().unwrap();
        assert_eq!((view.url().as_str(), searched.base()), ("http://a/", searched.clone()));
    }

    #[test]
    fn a_variant_with_another_value_is_the_variant_of_a_request_with_that_value() {
        let parts = KeyParts { selecting: &[("role", None)], ..KeyParts::PLAIN };
        let key = CacheKey::new(&parts).unwrap();
        let of = |language: Option<&[u8]>| {
            key.variant(&[(ACCEPT, Some(b"x".to_vec())), (ACCEPT_LANGUAGE, language.map(<[u8]>::to_vec))])
                .unwrap()
        };
        for language in [None, Some(&b"de"[..]), Some(b"")] {
            assert_eq!(of(language).selected(&key, &ACCEPT_LANGUAGE), Some(language));
            assert_eq!(of(language).reselected(&key, &ACCEPT_LANGUAGE, b"en").unwrap(), of(Some(b"en")));
        }
        let other = HeaderName::from_static("x-other");
        assert!(of(None).selected(&key, &other).is_none() && key.selected(&key, &ACCEPT).is_none());
        assert!(
            of(None).reselected(&key, &other, b"en").is_none()
                && key.reselected(&key, &ACCEPT, b"").is_none()
        );
    }
}

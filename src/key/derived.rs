//! Keys made of other keys: a variant's, with another value of one field.

use http::HeaderName;

use super::view::Reader;
use super::{CacheKey, MAX_KEY_BYTES, Writer};

impl CacheKey {
    /// The key of this variant of `base` if the request had `value` in `field`. `None` where `field` does not select.
    pub fn reselected(&self, base: &Self, field: &HeaderName, value: &[u8]) -> Option<Self> {
        let (head, rest) = self.bytes.split_at_checked(base.len() + 4)?;
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
}

#[cfg(test)]
mod tests {
    use super::super::{KeyParts, Owner};
    use super::*;
    use http::header::{ACCEPT, ACCEPT_LANGUAGE};

    #[test]
    fn a_variant_with_another_value_is_the_variant_of_a_request_with_that_value() {
        let parts = KeyParts {
            https: false,
            authority: "a",
            owner: &Owner::Public,
            route: "r",
            method: "GET",
            path: "/",
            query: None,
            selecting: &[("role", None)],
        };
        let key = CacheKey::new(&parts).unwrap();
        let of = |language: Option<&[u8]>| {
            key.variant(&[(ACCEPT, Some(b"x".to_vec())), (ACCEPT_LANGUAGE, language.map(<[u8]>::to_vec))])
                .unwrap()
        };
        for language in [None, Some(&b"de"[..]), Some(b"")] {
            assert_eq!(of(language).reselected(&key, &ACCEPT_LANGUAGE, b"en").unwrap(), of(Some(b"en")));
        }
        let other = HeaderName::from_static("x-other");
        assert!(
            of(None).reselected(&key, &other, b"en").is_none()
                && key.reselected(&key, &ACCEPT, b"").is_none()
        );
    }
}

//! Which text may be an identity: not empty, at most 256 bytes, UTF-8, no control characters.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::http::cookies::Found;

/// The longest name of a tenant, a user or a role, in bytes.
pub const MAX_NAME: usize = 256;

/// What a source says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said<T> {
    /// Nothing.
    Nothing,
    /// Something that cannot be an identity.
    Unusable,
    /// This.
    Name(T),
}

impl<T> Said<T> {
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> Said<U> {
        match self {
            Self::Nothing => Said::Nothing,
            Self::Unusable => Said::Unusable,
            Self::Name(name) => Said::Name(f(name)),
        }
    }
}

/// Whether `name` may be an identity.
pub(super) fn usable(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control)
}

/// What these bytes say.
pub(super) fn said(bytes: &[u8]) -> Said<&str> {
    match std::str::from_utf8(bytes) {
        Ok("") => Said::Nothing,
        Ok(name) if usable(name) => Said::Name(name),
        _ => Said::Unusable,
    }
}

/// What a field says. Doubled, it says two things: unusable.
pub(super) fn said_by_field<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Said<&'a str> {
    match Found::among(headers.get_all(name).iter()) {
        Found::Absent => Said::Nothing,
        Found::Once(value) => said(value.as_bytes().trim_ascii()),
        Found::Several => Said::Unusable,
    }
}

/// What a decoded text says; `None` is one that cannot be decoded.
pub(super) fn said_decoded(text: Option<Cow<'_, str>>) -> Said<Cow<'_, str>> {
    match text {
        Some(text) if text.is_empty() => Said::Nothing,
        Some(text) if usable(&text) => Said::Name(text),
        _ => Said::Unusable,
    }
}

/// What a claim says: a string, or a whole number that is exact. Anything else says nothing: a number that had to be
/// rounded could be two identities.
pub(super) fn said_by_claim(claim: &serde_json::Value) -> Said<Arc<str>> {
    match claim {
        serde_json::Value::String(text) => said(text.as_bytes()).map(Arc::from),
        serde_json::Value::Number(number) if number.is_i64() || number.is_u64() => {
            Said::Name(Arc::from(number.to_string()))
        }
        _ => Said::Nothing,
    }
}

/// The claim at a dotted path. A name that itself has dots (`https://shop.example/tenant`) is found too: at every
/// level the shortest part of the path that leads on is taken.
pub(super) fn claim_at<'a>(claims: &'a serde_json::Value, path: &str) -> Option<&'a serde_json::Value> {
    let object = claims.as_object()?;
    if let Some(whole) = object.get(path) {
        return Some(whole);
    }
    path.match_indices('.').find_map(|(dot, _)| claim_at(object.get(&path[..dot])?, &path[dot + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn strings_and_whole_numbers_are_names_and_nothing_else_is() {
        assert_eq!(said_by_claim(&json!("acme")), Said::Name("acme".into()));
        assert_eq!(said_by_claim(&json!(42)), Said::Name("42".into()));
        assert_eq!(said_by_claim(&json!(-1)), Said::Name("-1".into()));
        assert_eq!(said_by_claim(&json!(u64::MAX)), Said::Name("18446744073709551615".into()));
        for nothing in [json!(true), json!(null), json!(1.5), json!(["a"]), json!({}), json!("")] {
            assert_eq!(said_by_claim(&nothing), Said::Nothing, "{nothing}");
        }
        let rounded: serde_json::Value = serde_json::from_str("18446744073709551617").unwrap();
        assert_eq!(said_by_claim(&rounded), Said::Nothing);
    }

    #[test]
    fn long_texts_and_control_characters_are_unusable() {
        assert_eq!(said(&[b'a'; MAX_NAME]), Said::Name(&*"a".repeat(MAX_NAME)));
        assert_eq!(said(&[b'a'; MAX_NAME + 1]), Said::Unusable);
        assert_eq!(said(b"a\tb"), Said::Unusable);
        assert_eq!(said("a\u{85}".as_bytes()), Said::Unusable);
        assert_eq!(said(b"\xff"), Said::Unusable);
    }

    #[test]
    fn a_dotted_path_reaches_into_objects_and_a_name_with_dots_is_found() {
        let claims = json!({"a": {"b": {"c": 1}}, "https://x.example/t": "u", "d.e": {"f": 2}, "d": 3});
        assert_eq!(claim_at(&claims, "a.b.c"), Some(&json!(1)));
        assert_eq!(claim_at(&claims, "https://x.example/t"), Some(&json!("u")));
        assert_eq!(claim_at(&claims, "d.e.f"), Some(&json!(2)));
        assert_eq!(claim_at(&claims, "a.x"), None);
        assert_eq!(claim_at(&claims, "d.x"), None);
    }
}

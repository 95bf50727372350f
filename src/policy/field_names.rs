//! The fields that `no-cache="…"` and `private="…"` name (RFC 9111 sections 5.2.2.4 and 5.2.2.7): the rest of the response
//! may be stored and shared, these reach only the client whose own request was made.
//!
//! Keeps: what cannot be followed to the letter is taken as if no field had been named, which both sections allow and
//! which is the stricter reading.

use http::{HeaderName, header};

use crate::http::fields::members;

/// More names than this are taken as the whole.
const MAX_NAMES: usize = 64;

/// Fields without which nobody could tell what the rest is, for whom, or for how long: a response cannot be had without
/// them.
const NEEDED: [HeaderName; 9] = [
    header::CACHE_CONTROL,
    header::EXPIRES,
    header::DATE,
    header::VARY,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("x-accel-expires"),
];

/// Fields that Larder puts in its own words.
const OWN: [HeaderName; 5] = [
    header::AGE,
    header::CONTENT_LENGTH,
    header::VIA,
    HeaderName::from_static("x-cache"),
    HeaderName::from_static("cache-status"),
];

/// The names in a list; `None` where it is none, or where the response cannot be had without one of them. Fields that
/// Larder puts in its own words are left out.
pub(super) fn field_names(list: &[u8]) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    let mut count = 0;
    for member in members(list) {
        let name = HeaderName::from_bytes(member).ok().filter(|name| !NEEDED.contains(name))?;
        count += 1;
        if count > MAX_NAMES {
            return None;
        }
        if !OWN.contains(&name) {
            names.push(name);
        }
    }
    (count > 0).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_they_are_and_larders_own_are_left_out() {
        assert_eq!(field_names(b" Set-Cookie ,,X-A").unwrap(), ["set-cookie", "x-a"]);
        assert_eq!(field_names(b"age, X-Cache, Via").unwrap(), [""; 0]);
        assert_eq!(field_names(b"X-Forwarded-For, Forwarded").unwrap(), ["x-forwarded-for", "forwarded"]);
        let many = (0..=MAX_NAMES).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(field_names(many.as_bytes()), None);
    }
}

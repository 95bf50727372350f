//! Which field of a response says how it is cached.
//!
//! The first that says something counts, and alone: the targeted fields in their order (RFC 9213 section 2.2),
//! `Surrogate-Control`, `X-Accel-Expires`, and then `Cache-Control` with `Expires`.

use http::{HeaderMap, HeaderName};

use super::cache_control::CacheControl;
use super::{surrogate, targeted};
use crate::clock::Now;

/// What a response says of its caching by Larder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Governing {
    /// The directives.
    pub directives: CacheControl,
    /// The fields that `no-cache` and `private` name: they are neither stored nor shared.
    pub withheld: Vec<HeaderName>,
    /// Whether `Expires` counts. It does not where another field than `Cache-Control` governs.
    pub expires: bool,
}

impl Governing {
    /// Reads the fields of a response.
    pub fn of(response: &HeaderMap, targets: &[HeaderName], received: Now) -> Self {
        if let Some((mut directives, withheld)) =
            targets.iter().find_map(|name| targeted::read(response, name))
        {
            // Stored without its targeted field, the rest would be governed by another one after the next 304.
            directives.private |= withheld.iter().any(|name| targets.contains(name));
            return Self { directives, withheld, expires: false };
        }
        if let Some(directives) =
            surrogate::control(response).or_else(|| surrogate::accelerated(response, received))
        {
            return Self { directives, withheld: Vec::new(), expires: false };
        }
        let (directives, withheld) = CacheControl::of_response(response);
        Self { directives, withheld, expires: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::time::Duration;

    #[test]
    fn rfc9213_2_2_the_first_field_that_says_something_governs_alone() {
        let fields = [
            ("larder-cache-control", "max-age=1", 1),
            ("cdn-cache-control", "max-age=2", 2),
            ("surrogate-control", "max-age=3", 3),
            ("x-accel-expires", "4", 4),
            ("cache-control", "max-age=5", 5),
        ];
        let targets =
            [HeaderName::from_static("larder-cache-control"), HeaderName::from_static("cdn-cache-control")];
        let now = Now { mono: Duration::ZERO, wall: Duration::from_secs(1_700_000_000) };
        let mut map = HeaderMap::new();
        for (name, value, seconds) in fields.into_iter().rev() {
            map.insert(name, HeaderValue::from_static(value));
            let governing = Governing::of(&map, &targets, now);
            assert_eq!(governing.directives.max_age, Some(Duration::from_secs(seconds)), "{name}");
            assert_eq!(governing.expires, name == "cache-control");
        }
        // An invalid or empty one is passed over, and without a list none is looked at.
        map.insert(
            "larder-cache-control",
            HeaderValue::from_static("max-age=1, private=\"x-a, cdn-cache-control\""),
        );
        let governing = Governing::of(&map, &targets, now);
        assert!(governing.directives.private, "without that field nobody could tell what the rest is");
        map.insert("larder-cache-control", HeaderValue::from_static("max-age=\"1\""));
        assert_eq!(Governing::of(&map, &targets, now).directives.max_age, Some(Duration::from_secs(2)));
        assert_eq!(Governing::of(&map, &[], now).directives.max_age, Some(Duration::from_secs(3)));
    }
}
